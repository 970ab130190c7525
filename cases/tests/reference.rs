//! Every case on the reference: it must pass, print what real file systems print, and break no
//! rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cases::system::reference::{Reference, ReferenceSetup};
use cases::{Case, Ending, Telling, all, perform};
use protocol::event::Counting;
use rayon::prelude::*;

mod waiting;

/// What came of a case on the reference.
struct CaseRun {
    ending: Ending,
    transcript: String,
    observed: Vec<String>,
    findings: Vec<String>,
}

fn run(case: &Case, config: &ReferenceSetup) -> CaseRun {
    let mut system = Reference::new(config);
    let (mut transcript, mut observed, mut found) = (String::new(), Vec::new(), Vec::new());
    let ending = perform(case, &mut system, config.seed, &mut |report| match report {
        Telling::Line(line) => {
            transcript.push_str(&line);
            transcript.push('\n');
        }
        Telling::Observed(what) => observed = what,
        Telling::Found(what) => found.push(what.to_string()),
        Telling::Note { .. } => {}
    });
    let findings = system.findings().iter().map(ToString::to_string).chain(found).collect();
    CaseRun { ending, transcript, observed, findings }
}

fn expected() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected")
}

/// The contracts of the laws, by the names of their cells.
fn contracts() -> BTreeMap<String, String> {
    let mut contracts = BTreeMap::new();
    for law in &cases::axes()["law"] {
        let text = std::fs::read_to_string(expected().join(law).with_extension("out"))
            .expect("each law has a file");
        for line in text.lines() {
            let (cell, observed) = line.split_once(": ").expect("a cell, and what is observed");
            contracts.insert(format!("{law}/{cell}"), observed.to_owned());
        }
    }
    contracts
}

/// What is wrong with a case on one shape.
fn wrong_with(case: &Case, shape: Counting, contracts: &BTreeMap<String, String>) -> Vec<String> {
    let begin = std::time::Instant::now();
    let seen = run(case, &ReferenceSetup { shape, ..ReferenceSetup::default() });
    eprintln!("{shape:?} {} {:?} {:?}", case.name, begin.elapsed(), seen.ending);
    let mut wrong = Vec::new();
    match &seen.ending {
        Ending::NotRun(_) => return wrong,
        Ending::Pass => {}
        ending => wrong.push(format!("{ending:?}\n{}", seen.transcript)),
    }
    let (seen_as, golden) = if case.is_cell() {
        (seen.observed.join("; "), contracts.get(case.name).cloned())
    } else {
        let path = expected().join(case.name).with_extension("out");
        (seen.transcript, std::fs::read_to_string(path).ok())
    };
    if golden.as_ref() != Some(&seen_as) {
        wrong.push(format!("seen\n{seen_as}\nexpected\n{golden:?}"));
    }
    if !seen.findings.is_empty() {
        wrong.push(format!("{:?}", seen.findings));
    }
    wrong
}

#[test]
fn every_case_passes_on_both_shapes() {
    let contracts = contracts();
    let runs: Vec<_> = [Counting::IdleAtOne, Counting::IdleAtZero]
        .into_iter()
        .flat_map(|shape| all().into_iter().map(move |case| (shape, case)))
        .collect();
    let judge = |(shape, case): (Counting, &'static Case)| {
        let wrong = wrong_with(case, shape, &contracts);
        (!wrong.is_empty()).then(|| format!("{shape:?} {}: {}", case.name, wrong.join("\n")))
    };
    let wrong: Vec<_> =
        waiting::pool().install(|| runs.into_par_iter().filter_map(judge).collect());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
