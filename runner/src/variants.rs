//! What catches each bug that can be put into the reference: the test of the tester.

use std::collections::{BTreeMap, BTreeSet};

use cases::system::reference::{Reference, ReferenceSetup};
use cases::{Case, Ending, Telling, all, perform};
use protocol::Rule;
use rayon::prelude::*;
use reference::Variant;
use serde::Serialize;

use crate::exit::Exit;
use crate::print;

/// What catches a variant, as programs read it.
#[derive(Debug, Serialize)]
struct Caught<'r> {
    variant: String,
    about: &'static str,
    /// The cases that fail by their own word.
    cases: &'r [&'static str],
    /// The rules that are broken, by their identifiers, and in which cases' runs.
    rules: BTreeMap<&'static str, &'r [&'static str]>,
}

/// The cases that fail on a variant, and the rules that it breaks, with the cases in whose run.
type Catchers = (Vec<&'static str>, BTreeMap<Rule, Vec<&'static str>>);

impl<'r> Caught<'r> {
    fn of((variant, (failed, broken)): (&Variant, &'r Catchers)) -> Self {
        let rules = broken.iter().map(|(rule, cases)| (rule.id(), &cases[..])).collect();
        Self { variant: variant.to_string(), about: variant.about(), cases: failed, rules }
    }
}

/// Names the variants.
pub(crate) fn list() -> Exit {
    for variant in Variant::ALL {
        print::line(variant);
    }
    Exit::Expected
}

/// Runs every case on every variant and tells what caught it; with `first`, only until one does.
pub(crate) fn show(first: bool, json: bool) -> Exit {
    let mut exit = Exit::Expected;
    let rows: Vec<_> = Variant::ALL.par_iter().map(|variant| row(*variant, first)).collect();
    if json {
        print::json(&Variant::ALL.iter().zip(&rows).map(Caught::of).collect::<Vec<_>>());
        let missed = rows.iter().any(|(failed, broken)| failed.is_empty() && broken.is_empty());
        return if missed { Exit::Unexpected } else { Exit::Expected };
    }
    for (variant, (failed, broken)) in Variant::ALL.iter().zip(rows) {
        print::line(format_args!("{variant}: {}", variant.about()));
        say("cases that fail", &failed);
        for (rule, cases) in &broken {
            say(&format!("rule \"{rule}\""), cases);
        }
        if failed.is_empty() && broken.is_empty() {
            print::line(format_args!("    nothing catches it"));
            exit = Exit::Unexpected;
        }
    }
    exit
}

/// What catches a variant.
fn row(variant: Variant, first: bool) -> Catchers {
    let mut failed = Vec::new();
    let mut broken: BTreeMap<Rule, Vec<_>> = BTreeMap::new();
    for case in all() {
        let mut system = Reference::new(&with(variant));
        let (fails, mut rules) = outcome(case, &mut system);
        if fails {
            failed.push(case.name);
        }
        rules.extend(system.findings().iter().map(|finding| finding.rule));
        for rule in rules {
            broken.entry(rule).or_default().push(case.name);
        }
        if first && !(failed.is_empty() && broken.is_empty()) {
            break;
        }
    }
    (failed, broken)
}

/// The reference with a bug.
pub(crate) fn with(variant: Variant) -> ReferenceSetup {
    ReferenceSetup { variant: Some(variant), ..ReferenceSetup::default() }
}

/// Whether a case fails by its own word, whatever the rules find in its run.
pub(crate) fn fails(case: &Case, system: &mut Reference) -> bool {
    outcome(case, system).0
}

/// The same, and the rules of oracles that are broken in its run.
///
/// That something was not written back, or went to a file that is not the case's, no case can see
/// by itself: there the oracle's word is its own.
fn outcome(case: &Case, system: &mut Reference) -> (bool, BTreeSet<Rule>) {
    let mut found = BTreeSet::new();
    let ending = perform(case, system, ReferenceSetup::default().seed, &mut |report| {
        if let Telling::Found(what) = report {
            found.insert(what.rule());
        }
    });
    let fails = matches!(ending, Ending::Fail(_) | Ending::Hang(_));
    let unseen = [Rule::Durable, Rule::Bystanders];
    (fails || unseen.iter().any(|rule| found.contains(rule)), found)
}

/// A row of the matrix: how many, and the first of them by name.
fn say(what: &str, cases: &[&str]) {
    const SHOWN: usize = 4;
    if cases.is_empty() {
        return;
    }
    let shown = cases.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = cases.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    print::line(format_args!("    {what}: {shown}{more}"));
}
