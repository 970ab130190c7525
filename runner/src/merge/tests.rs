//! Journals of shards and of other runs, put together: what becomes one, what stays apart, what is
//! refused, and that nothing is lost or counted twice.

use super::*;
use crate::journal::Outcome;
use crate::machine::Machine;
use crate::plan;
use crate::rerun;
use crate::target::Target;
use crate::verdict::{Problem, Verdict, Witness};

const CASES: [&str; 7] = [
    "waits/punch/splice/mapped",
    "waits/punch/splice/unmapped",
    "waits/zero/splice/mapped",
    "race/retry",
    "race/canary",
    "fsync/pinned",
    "livelock/aio-dio-punch",
];

/// A whole run's plan.
fn whole() -> Plan {
    Plan { cases: CASES.map(str::to_owned).to_vec(), iterations: Some(2), ..plan::example() }
}

/// The plan of a share.
fn share(number: u32, of: u32) -> Plan {
    let shard = Shard { number, of };
    let selected = whole().cases;
    let cases = selected.iter().filter(|case| shard.has(case)).cloned().collect();
    Plan { cases, shard: Some(Share { shard, selected }), ..whole() }
}

fn machine(kernel: &str) -> Machine {
    Machine { kernel: kernel.to_owned(), ..Machine::default() }
}

fn outcome(case: &str, iteration: u64) -> Outcome {
    let bad = case == "race/canary" && iteration == 1;
    let problem = || Problem::new(Witness::Case, "expected: it waits", "text");
    Outcome {
        case: case.to_owned(),
        iteration,
        verdict: if bad { Verdict::Fail } else { Verdict::Pass },
        seconds: 0.5,
        reason: None,
        find: None,
        problems: bad.then(problem).into_iter().collect(),
        notes: Vec::new(),
        folder: bad.then(|| "cases/race/canary.2".into()),
    }
}

/// The journal of a run on `kernel` that does what `plan` says, up to `most` executions.
fn journal(plan: &Plan, kernel: &str, most: usize) -> Vec<Entry> {
    let mut history = History::default();
    let mut entries = Vec::new();
    let mut add = |history: &mut History, event| {
        let entry = Entry::now(event);
        history.add(&entry);
        entries.push(entry);
    };
    let begun = RunEvent::Begun { plan: plan.clone().into(), machine: machine(kernel) };
    add(&mut history, begun);
    let (mkfs, mount) = ("mkfs.xfs".to_owned(), "dax=always".to_owned());
    add(&mut history, RunEvent::Prepared { mkfs, mount });
    let all = (0..plan.iterations.unwrap_or(1))
        .flat_map(|iteration| plan.cases.iter().map(move |case| (case.clone(), iteration)));
    for (number, (case, iteration)) in all.enumerate() {
        if number > most {
            return entries;
        }
        let seed = plan.seed_of(&case, iteration);
        add(&mut history, RunEvent::CaseBegun { case: case.clone(), iteration, seed });
        if number == most {
            return entries;
        }
        add(&mut history, RunEvent::CaseEnded(Box::new(outcome(&case, iteration))));
    }
    let end = history.end(Exit::at_end(&history));
    add(&mut history, RunEvent::Ended(end));
    entries
}

const ALL: usize = usize::MAX;

/// Journals, each with the folder that it lies in.
fn named(journals: Vec<(&str, Vec<Entry>)>) -> Vec<(PathBuf, Vec<Entry>)> {
    journals.into_iter().map(|(folder, entries)| (folder.into(), entries)).collect()
}

fn shards(numbers: &[u32]) -> Vec<(PathBuf, Vec<Entry>)> {
    numbers
        .iter()
        .map(|number| (format!("s{number}").into(), journal(&share(*number, 3), "6.12", ALL)))
        .collect()
}

fn only(named: Vec<(PathBuf, Vec<Entry>)>) -> Suite {
    let mut suites = suites(named).unwrap();
    assert_eq!(suites.len(), 1);
    suites.remove(0)
}

fn refused(named: Vec<(PathBuf, Vec<Entry>)>) -> String {
    suites(named).unwrap_err().to_string()
}

/// Events without what may differ: when, and in which folder.
fn plain(entries: &[Entry]) -> Vec<RunEvent> {
    let mut events: Vec<_> = entries.iter().map(|entry| entry.event.clone()).collect();
    for event in &mut events {
        if let RunEvent::CaseEnded(outcome) = event
            && let Some(folder) = &outcome.folder
        {
            let start = folder.components().position(|part| part.as_os_str() == "cases").unwrap();
            outcome.folder = Some(folder.components().skip(start).collect());
        }
    }
    events
}

#[test]
fn all_shards_are_the_whole_run_in_whatever_order_they_are_named() {
    let one = journal(&whole(), "6.12", ALL);
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let suite = only(shards(&order));
        assert_eq!(plain(&suite.entries), plain(&one));
        assert_eq!(suite.history.incomplete(), None);
        assert_eq!(Exit::of(&suite.history), Exit::Unexpected, "a case fails");
        let failed = suite.history.outcomes.iter().find(|o| o.folder.is_some()).unwrap();
        let number = (1..=3).find(|number| Shard { number: *number, of: 3 }.has(&failed.case));
        let folder = format!("s{}/cases/race/canary.2", number.unwrap());
        assert_eq!(failed.folder.as_deref(), Some(Path::new(&folder)));
    }
}

#[test]
fn a_shard_that_is_missing_is_named_and_nothing_is_green_without_it() {
    for (given, why) in [
        (&[1, 3][..], "shard 2/3 is missing"),
        (&[2, 3], "shard 1/3 is missing"),
        (&[2], "shards 1/3 and 3/3 are missing"),
    ] {
        let suite = only(shards(given));
        let incomplete = suite.history.incomplete().unwrap();
        let had: usize = given.iter().map(|number| share(*number, 3).cases.len()).sum();
        assert_eq!(incomplete.why, why);
        assert_eq!((incomplete.finished, incomplete.planned), (2 * had as u64, Some(14)));
        assert_ne!(Exit::of(&suite.history), Exit::Expected);
        let Some(RunEvent::Ended(end)) = suite.entries.last().map(|entry| &entry.event) else {
            panic!("it has no end");
        };
        assert!(!end.complete && end.exit == 1);
    }
}

#[test]
fn a_share_that_has_no_case_is_not_missing() {
    let of = 40;
    let all: Vec<_> = (1..=of)
        .map(|number| share(number, of))
        .filter(|plan| !plan.cases.is_empty())
        .map(|plan| (format!("{:?}", plan.cases).into(), journal(&plan, "6.12", ALL)))
        .collect();
    assert!(all.len() <= CASES.len());
    assert_eq!(only(all).history.incomplete(), None);
}

#[test]
fn a_shard_that_was_cut_off_is_named_and_its_case_fails_once() {
    let mut given = shards(&[1, 3]);
    given.push(("s2".into(), journal(&share(2, 3), "6.12", 1)));
    let suite = only(given);
    let incomplete = suite.history.incomplete().unwrap();
    assert_eq!(incomplete.why, "s2: the journal breaks off before the end of the run");
    assert_eq!(suite.history.died(), None);
    let died: Vec<_> = suite
        .history
        .outcomes
        .iter()
        .filter(|outcome| outcome.problems.iter().any(|it| it.witness == Witness::Machine))
        .collect();
    assert_eq!(died.len(), 1);
    assert_eq!(died[0].case, share(2, 3).cases[1 % share(2, 3).cases.len()]);
}

#[test]
fn one_case_has_one_run_and_twice_is_refused() {
    let mut twice = shards(&[1, 2, 3]);
    twice.push(("again".into(), journal(&share(2, 3), "6.12", ALL)));
    let case = &share(2, 3).cases[0];
    assert_eq!(
        refused(twice),
        format!(
            "s2 and again both run {case} (xfs on Linux 6.12); name one of them, and see runner \
             compare for both"
        )
    );
    let one = || journal(&whole(), "6.12", ALL);
    assert!(refused(named(vec![("a", one()), ("b", one())])).starts_with("a and b both run "));
    assert_eq!(refused(named(vec![("a", one()), ("a", one())])), "a is named twice");
    // Of other cases it may be.
    let other = Plan { cases: vec!["evict/pinned".to_owned()], ..whole() };
    let suite = only(named(vec![("a", one()), ("b", journal(&other, "6.12", ALL))]));
    assert_eq!(suite.history.incomplete(), None);
    assert_eq!(suite.history.outcomes.len(), 16);
}

#[test]
fn kernels_and_file_systems_stay_apart() {
    let ext4 = |kernel| {
        let mut plan = whole();
        plan.target.fs = FsType::Ext4;
        journal(&plan, kernel, ALL)
    };
    let xfs = |kernel| journal(&whole(), kernel, ALL);
    let suites = suites(named(vec![
        ("a", xfs("6.12")),
        ("b", ext4("6.12")),
        ("c", xfs("7.2")),
        ("d", journal(&share(1, 3), "7.3", ALL)),
    ]))
    .unwrap();
    let names: Vec<_> = suites.iter().map(|suite| suite.history.name()).collect();
    assert_eq!(
        names,
        ["xfs on Linux 6.12", "ext4 on Linux 6.12", "xfs on Linux 7.2", "xfs on Linux 7.3"]
    );
    let incomplete: Vec<_> =
        suites.iter().filter_map(|suite| suite.history.incomplete()).map(|it| it.why).collect();
    assert_eq!(incomplete, ["shards 2/3 and 3/3 are missing"]);
}

#[test]
fn the_reference_is_the_same_on_any_kernel() {
    let on = |number, kernel| {
        let plan = Plan { target: Target::reference(), ..share(number, 2) };
        journal(&plan, kernel, ALL)
    };
    let suite = only(named(vec![("a", on(1, "6.8")), ("b", on(2, "6.11"))]));
    assert_eq!(suite.history.incomplete(), None);
}

#[test]
fn what_cannot_be_one_run_is_refused() {
    let first = || ("a", journal(&share(1, 2), "6.12", ALL));
    let mut other = share(2, 2);
    other.target.mkfs_options = vec!["-d".to_owned(), "agcount=2".to_owned()];
    // Its name says that it has options; that it is another follows from those of the first.
    let mut options = share(1, 2);
    options.target.mkfs_options = vec!["-d".to_owned(), "agcount=4".to_owned()];
    assert_eq!(
        refused(named(vec![
            ("a", journal(&options, "6.12", ALL)),
            ("b", journal(&other, "6.12", ALL))
        ])),
        "a and b made or mounted xfs-options on Linux 6.12 with other options; report them one by one"
    );
    let often = Plan { iterations: Some(9), ..share(2, 2) };
    assert_eq!(
        refused(named(vec![first(), ("b", journal(&often, "6.12", ALL))])),
        "a and b repeat the cases of xfs on Linux 6.12 differently; report them one by one"
    );
}

#[test]
fn what_failed_is_repeated_with_the_seed_that_it_had() {
    let of = 3;
    let with_seed = |number| Plan { seed: 100 + u64::from(number), ..share(number, of) };
    let given = (1..=of)
        .map(|number| (format!("s{number}").into(), journal(&with_seed(number), "6.12", ALL)))
        .collect();
    let suite = only(given);
    for case in CASES {
        let number = (1..=of).find(|number| Shard { number: *number, of }.has(case)).unwrap();
        let command = rerun::case(suite.history.plan_of(case).unwrap(), case, 0);
        assert!(command.contains(&format!("--seed {}", 100 + number)), "{command}");
    }
}

#[test]
fn a_journal_without_its_beginning_is_told_beside_the_others() {
    let mut headless = journal(&share(2, 3), "6.12", ALL);
    headless.remove(0);
    let suites = suites(vec![
        ("s1".into(), journal(&share(1, 3), "6.12", ALL)),
        ("s2".into(), headless),
        ("empty".into(), Vec::new()),
    ])
    .unwrap();
    let why: Vec<_> = suites.iter().map(|suite| suite.history.incomplete().unwrap().why).collect();
    assert_eq!(
        why,
        [
            "shards 2/3 and 3/3 are missing",
            "s2: the journal lacks its first line, which says what was planned; empty: the journal \
             is empty"
        ]
    );
    let results: usize = suites.iter().map(|suite| suite.history.outcomes.len()).sum();
    assert_eq!(results, 2 * (share(1, 3).cases.len() + share(2, 3).cases.len()));
}
