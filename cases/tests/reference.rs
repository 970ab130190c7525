//! Every case on the reference: it must pass, print what real file systems print, and break no
//! rule.

use std::path::Path;

use cases::system::reference::{Config, Reference};
use cases::{Case, Ending, Report, all, perform};
use protocol::event::Shape;

/// Runs a case; how it ended, its transcript, and what the rules found.
fn run(case: &Case, config: &Config) -> (Ending, String, Vec<String>) {
    let mut system = Reference::new(config);
    let mut transcript = String::new();
    let ending = perform(case, &mut system, config.seed, &mut |report| {
        if let Report::Line(line) = report {
            transcript.push_str(&line);
            transcript.push('\n');
        }
    });
    let findings = system.findings().iter().map(ToString::to_string).collect();
    (ending, transcript, findings)
}

fn golden(case: &Case) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected").join(case.name);
    std::fs::read_to_string(path.with_extension("out")).ok()
}

#[test]
fn every_case_passes_on_both_shapes() {
    let mut wrong = Vec::new();
    for shape in [Shape::IdleAtOne, Shape::IdleAtZero] {
        for case in all() {
            let begin = std::time::Instant::now();
            let (ending, transcript, findings) = run(case, &Config { shape, ..Config::default() });
            eprintln!("{shape:?} {} {:?} {:?}", case.name, begin.elapsed(), ending);
            match &ending {
                Ending::NotRun(_) => continue,
                Ending::Pass => {}
                _ => wrong.push(format!("{shape:?} {}: {ending:?}\n{transcript}", case.name)),
            }
            if let Some(expected) = golden(case)
                && expected != transcript
            {
                wrong.push(format!(
                    "{shape:?} {}: transcript\n{transcript}\nexpected\n{expected}",
                    case.name
                ));
            }
            if !findings.is_empty() {
                wrong.push(format!("{shape:?} {}: {findings:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
