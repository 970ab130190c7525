//! All reports against the same journals: random runs, which end as planned, are interrupted,
//! wedge the machine, cannot go on or are killed, are resumed or not, and lose lines. Each report
//! must tell the same verdicts and failures, and each is red exactly when the exit code is not 0.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;
use roxmltree::Document;

use super::{Reporter as _, github, html, json, junit, kcidb, ktap, terminal};
use crate::exit::Exit;
use crate::history::History;
use crate::incomplete;
use crate::journal::{Entry, Outcome, RunEvent};
use crate::machine::Machine;
use crate::merge::{self, Suite};
use crate::plan::{self, Plan};
use crate::shard::{Shard, Share};
use crate::target::Target;
use crate::verdict::{Problem, Verdict, Witness};

/// Texts that one format or another could take for its own.
const TEXTS: [&str; 12] = [
    "expected: it waits; seen: it returned",
    "skips what it should not",
    "todo",
    "a # SKIP b",
    "x\rok 1 y\r\nnot ok 2 z",
    "<b>&\"'</b>",
    "\u{1b}[31mred\u{1b}[0m \u{0}\u{b}\u{85}\u{2028}end",
    "]]>",
    "1..3",
    "first\nBail out!",
    "KTAP version 1",
    "# Subtest: cases",
];

/// What the kernel may not report. Each begins with a word of its own.
const SILENCES: [&str; 3] = [
    "lockdep has switched itself off, and reports nothing",
    "KASAN | has <b>reported</b> # SKIP",
    "WARN_ON_ONCE\nwarns once: \u{1b}[31m]]>",
];

/// How one boot's part of a run comes to its end, if it is not the plan that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Interrupted,
    /// Twice, which cuts a case short.
    InterruptedInCase,
    Wedged,
    CouldNotGoOn,
    /// Also in the middle of a case.
    CouldNotGoOnInCase,
    Killed,
    KilledInCase,
}

#[derive(Clone, Debug)]
struct Story {
    plan: Plan,
    /// What each execution comes to, over and over.
    verdicts: Vec<(Verdict, &'static str)>,
    /// After how many executions what happens to each boot.
    fates: Vec<(usize, Fate)>,
    /// After how many executions something outside of cases goes wrong.
    trouble: Option<usize>,
    /// In which execution the kernel falls silent, and about what; in none: before the first.
    silences: Vec<(usize, &'static str)>,
    /// After how many executions the time is over, or something fails at last.
    patience: usize,
}

/// A run as it was written down.
struct WrittenRun {
    entries: Vec<Entry>,
    /// Whether the last boot had the time to end it.
    finished: bool,
    /// Whether all was as expected, by what was done and not by what was written.
    good: bool,
}

impl Story {
    fn play(&self) -> WrittenRun {
        let machine = Machine { kernel: "6.12.1-x".to_owned(), cpus: 2, ..Machine::default() };
        let mut history = History::default();
        let mut entries = Vec::new();
        let mut emit = |history: &mut History, event| {
            let entry = Entry::now(event);
            history.add(&entry);
            entries.push(entry);
        };
        emit(
            &mut history,
            RunEvent::Begun { plan: self.plan.clone().into(), machine: machine.clone() },
        );
        let silenced = |number| {
            let its = self.silences.iter().filter(move |(at, _)| *at == number);
            its.map(|(_, what)| RunEvent::Silenced { what: (*what).to_owned() })
        };
        silenced(0).for_each(|event| emit(&mut history, event));
        let mut fates = self.fates.iter().copied();
        let mut finished = false;
        let mut good = false;
        for boot in 0..=self.fates.len() {
            if boot > 0 {
                emit(&mut history, RunEvent::Resumed { machine: machine.clone() });
                if let Some(died) = history.died() {
                    emit(&mut history, RunEvent::CaseEnded(Box::new(died)));
                }
            }
            let fate = fates.next();
            let mut ran = 0;
            let exit = loop {
                if let Some((_, fate)) = fate.filter(|(after, _)| *after == ran) {
                    match fate {
                        Fate::Interrupted => emit(&mut history, RunEvent::Interrupted),
                        Fate::InterruptedInCase => {
                            if let Some((case, iteration)) = self.next(&history) {
                                let begun =
                                    RunEvent::CaseBegun { case: case.clone(), iteration, seed: 1 };
                                emit(&mut history, begun);
                                emit(&mut history, RunEvent::CaseCut { case, iteration });
                            }
                            emit(&mut history, RunEvent::Interrupted);
                        }
                        Fate::Wedged => {
                            emit(&mut history, RunEvent::Wedged { why: "task 1".to_owned() });
                        }
                        _ => {}
                    }
                    if matches!(fate, Fate::CouldNotGoOnInCase | Fate::KilledInCase)
                        && let Some((case, iteration)) = self.next(&history)
                    {
                        emit(&mut history, RunEvent::CaseBegun { case, iteration, seed: 1 });
                    }
                    break match fate {
                        Fate::Interrupted | Fate::InterruptedInCase => Some(Exit::Interrupted),
                        Fate::Wedged => Some(Exit::NeedsReboot),
                        Fate::CouldNotGoOn | Fate::CouldNotGoOnInCase => Some(Exit::CouldNotRun),
                        Fate::Killed | Fate::KilledInCase => None,
                    };
                }
                let Some((case, iteration)) = self.next(&history) else {
                    break Some(Exit::at_end(&history));
                };
                emit(&mut history, RunEvent::CaseBegun { case: case.clone(), iteration, seed: 1 });
                let number = history.outcomes.len();
                silenced(number + 1).for_each(|event| emit(&mut history, event));
                let ended = self.outcome(case, iteration, number);
                emit(&mut history, RunEvent::CaseEnded(Box::new(ended)));
                ran += 1;
                if self.trouble == Some(history.outcomes.len()) {
                    let problem =
                        Problem::new(Witness::Case, "xfs_repair found damage", "evidence");
                    emit(&mut history, RunEvent::Trouble(problem));
                }
            };
            finished = exit.is_some();
            good = matches!(exit, Some(Exit::Expected | Exit::Unexpected))
                && history.outcomes.iter().all(|o| !o.verdict.needs_attention())
                && history.troubles.is_empty();
            if let Some(exit) = exit {
                let end = history.end(exit);
                emit(&mut history, RunEvent::Ended(end));
                if matches!(exit, Exit::Expected | Exit::Unexpected) {
                    break;
                }
            }
        }
        WrittenRun { entries, finished, good }
    }

    /// What runs next, if the plan wants anything to.
    fn next(&self, history: &History) -> Option<(String, u64)> {
        let plan = &self.plan;
        let done = history.outcomes.len();
        let failed = history.outcomes.iter().any(|o| o.verdict.needs_attention())
            || !history.troubles.is_empty();
        let (iteration, index) = history.next();
        if plan.iterations.is_some_and(|n| iteration >= n)
            || done > 0 && plan.until_fail && failed
            || done > 0 && plan.duration.is_some() && done >= self.patience
        {
            return None;
        }
        Some((plan.cases[index].clone(), iteration))
    }

    fn outcome(&self, case: String, iteration: u64, number: usize) -> Outcome {
        let (mut verdict, text) = self.verdicts[number % self.verdicts.len()];
        if number > self.patience {
            verdict = Verdict::Fail;
        }
        let failed = !matches!(verdict, Verdict::Pass | Verdict::NotRun);
        Outcome {
            case,
            iteration,
            verdict,
            // A sum of such does not come out even.
            seconds: 0.1 + f64::from(u32::try_from(iteration).unwrap()) / 1000.0,
            reason: (verdict != Verdict::Pass).then(|| text.to_owned()),
            find: (verdict == Verdict::XFail).then(|| "unmapped".to_owned()),
            problems: if failed {
                vec![Problem::new(Witness::Case, text, text)]
            } else {
                Vec::new()
            },
            notes: vec![("rounds".to_owned(), text.to_owned())],
            folder: None,
        }
    }
}

fn stories() -> impl Strategy<Value = Story> {
    let fate = select(
        &[
            Fate::Interrupted,
            Fate::InterruptedInCase,
            Fate::Wedged,
            Fate::CouldNotGoOn,
            Fate::CouldNotGoOnInCase,
            Fate::Killed,
            Fate::KilledInCase,
        ][..],
    );
    let verdict = prop_oneof![
        4 => Just(Verdict::Pass),
        1 => Just(Verdict::XFail),
        1 => select(&Verdict::ALL[..]),
    ];
    // Most are all green until something happens to the run as a whole.
    let verdicts = prop_oneof![
        Just(vec![(Verdict::Pass, "")]),
        prop::collection::vec((verdict, select(&TEXTS[..])), 1..6),
    ];
    let limits = (prop::option::of(1..4_u64), any::<bool>(), any::<bool>());
    let fates = prop::collection::vec((0..5_usize, fate), 0..3);
    let trouble = prop::option::weighted(0.2, 1..6_usize);
    let silences = prop::collection::vec((0..5_usize, select(&SILENCES[..])), 0..4);
    (1..4_usize, limits, verdicts, fates, (trouble, silences), 1..8_usize, any::<bool>()).prop_map(
        |(
            cases,
            (iterations, timed, until_fail),
            verdicts,
            fates,
            (trouble, silences),
            patience,
            reference,
        )| {
            let open = timed || until_fail;
            let plan = Plan {
                target: if reference { Target::reference() } else { plan::example().target },
                cases: ["waits/punch/splice/mapped", "race/retry", "fsync/pinned"][..cases]
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect(),
                iterations: iterations.or((!open).then_some(1)),
                duration: timed.then_some(Duration::from_mins(1)),
                until_fail,
                ..plan::example()
            };
            Story { plan, verdicts, fates, trouble, silences, patience }
        },
    )
}

/// What a report tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    verdicts: BTreeMap<String, usize>,
    /// The cases that need attention.
    cases: BTreeSet<String>,
    troubles: usize,
    incomplete: Option<String>,
    /// The first word of each.
    silenced: BTreeSet<String>,
}

impl Reading {
    fn take(&mut self, verdict: &str, title: &str) {
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
        let verdict = Verdict::ALL.iter().find(|known| known.word() == verdict).unwrap();
        if verdict.needs_attention() {
            self.cases.insert(title.split(" (iteration").next().unwrap().to_owned());
        }
    }

    /// Takes what `silence` matches: what the kernel does not report, perhaps since when.
    fn hear(&mut self, silence: &str, text: &str) {
        let words = format!("{silence}(?:since [-a-z/]+, )?([A-Za-z_]+)");
        self.silenced.extend(pattern(&words).captures_iter(text).map(|it| it[1].to_owned()));
    }

    fn is_red(&self) -> bool {
        !self.cases.is_empty() || self.troubles > 0 || self.incomplete.is_some()
    }
}

/// The pattern of this text. Each is made once: that takes longer than to read a report.
fn pattern(text: &str) -> &'static Regex {
    static KNOWN: Mutex<BTreeMap<String, &'static Regex>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known.entry(text.to_owned()).or_insert_with(|| Box::leak(Box::new(Regex::new(text).unwrap())))
}

fn of_terminal(text: &str) -> Reading {
    let text = anstream::adapter::strip_str(text).to_string();
    let mut told = Reading::default();
    let head = pattern(r"(?m)^\d+ results? in [\d.]+ s(?:: (.*))?$").captures(&text).unwrap();
    for (_, [count, verdict]) in pattern(r"(\d+) +([A-Z]+)")
        .captures_iter(head.get(1).map_or("", |counts| counts.as_str()))
        .map(|found| found.extract())
    {
        told.verdicts.insert(verdict.to_owned(), count.parse().unwrap());
    }
    told.hear("(?m)^Note: ", &text);
    let Some((_, attention)) = text.split_once("These need attention:\n") else { return told };
    for line in attention.lines() {
        if let Some(found) = pattern(r"^ +([A-Z]+) ([a-z]+(?:/[-a-z]+)+)").captures(line) {
            told.cases.insert(found[2].to_owned());
        } else if line.trim_start().starts_with("INCOMPLETE: ") {
            told.incomplete = Some(line.trim().to_owned());
        } else if line.trim_start().starts_with("FAIL ") {
            told.troubles += 1;
        }
    }
    told
}

fn of_junit(xml: &str) -> Reading {
    let document = Document::parse(xml).unwrap();
    junit::tests::keeps_to_the_schemas(&document);
    let mut told = Reading::default();
    for property in document.descendants().filter(|node| node.attribute("name") == Some("silenced"))
    {
        told.hear("^", property.attribute("value").unwrap());
    }
    let results = document.descendants().find(|node| node.attribute("name") == Some("results"));
    let results = results.and_then(|node| node.attribute("value")).unwrap();
    let counts = pattern(r"(\d+) ([A-Z]+)").captures_iter(results).map(|found| found.extract().1);
    let results: BTreeMap<_, usize> =
        counts.map(|[count, verdict]| (verdict.to_owned(), count.parse().unwrap())).collect();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let class = case.attribute("classname").unwrap();
        let (place, group) = class.rsplit_once('.').unwrap();
        assert!(place.starts_with("linux-") && place.matches('.').count() == 1, "{class}");
        let name = case.attribute("name").unwrap();
        let child = case.first_element_child();
        match (group, child) {
            ("run", Some(failure)) if name == "incomplete" => {
                told.incomplete = failure.attribute("message").map(str::to_owned);
            }
            ("run", Some(_)) => told.troubles += 1,
            (_, None) => told.take("PASS", name),
            (_, Some(_)) => {
                for child in case.children().filter(roxmltree::Node::is_element) {
                    let message = child.attribute("message").unwrap_or_default();
                    let verdict = child.attribute("type").or(message.split(':').next()).unwrap();
                    told.take(verdict, &format!("{group}/{name}"));
                }
            }
        }
    }
    // Of what needs no attention, one stands for all that came to the same.
    for verdict in Verdict::ALL {
        let (listed, counted) = (told.verdicts.get(verdict.word()), results.get(verdict.word()));
        assert!(listed <= counted, "{verdict:?}: {listed:?} of {counted:?}");
        assert!(listed == counted || !verdict.needs_attention(), "{verdict:?}: {xml}");
    }
    told.verdicts = results;
    told
}

/// What a KTAP reader that knows nothing of daxtests makes of it.
struct KtapReader {
    told: Reading,
    red: bool,
}

fn of_ktap(text: &str) -> KtapReader {
    let result = pattern(r"^( *)(ok|not ok) (\d+) ([^#]*?)(?: # ([A-Z]+) ?(.*))?$");
    let mut told = Reading::default();
    told.hear("(?m)^ *# note: ", text);
    let mut plans: BTreeMap<usize, u64> = BTreeMap::new();
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    let mut red = false;
    let mut names = BTreeSet::new();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("KTAP version 1"));
    for line in lines {
        assert!(!line.contains('\r'));
        let indent = line.len() - line.trim_start().len();
        if line.trim_start() == "KTAP version 1" {
            assert_eq!(indent, 2, "{line}");
            counts.insert(indent, 0);
            plans.remove(&indent);
        } else if let Some(plan) = line.trim_start().strip_prefix("1..") {
            assert_eq!(counts.get(&indent).copied().unwrap_or(0), 0, "a late plan: {text}");
            plans.insert(indent, plan.parse().unwrap());
        } else if let Some(found) = result.captures(line) {
            let count = counts.entry(indent).or_default();
            *count += 1;
            assert_eq!(found[3], count.to_string(), "{text}");
            assert!(plans.get(&indent).is_none_or(|plan| *count <= *plan), "{text}");
            let bad = &found[2] == "not ok";
            red |= bad && indent == 0;
            let word = found.get(5).map_or("", |word| word.as_str());
            let word = match word {
                "SKIP" => "NOTRUN",
                "TIMEOUT" => "HANG",
                "" => "PASS",
                other => other,
            };
            let name = &found[4];
            if name == "incomplete" {
                told.incomplete = Some(found[6].to_owned());
            } else if name.starts_with("trouble-") {
                told.troubles += 1;
            } else if name.contains('/') {
                assert!(names.insert(name.to_owned()), "{name} twice: {text}");
                told.take(word, name);
            }
        } else {
            let known = line.trim_start().starts_with('#') || line.starts_with("Bail out!");
            assert!(known, "{line:?}");
        }
    }
    red |= plans[&0] != counts.get(&0).copied().unwrap_or(0);
    KtapReader { told, red }
}

/// Both the story and whether it says that all is well.
fn of_json(text: &str) -> (Reading, bool) {
    let mut told = Reading::default();
    let mut open = None;
    let mut exit = None;
    let mut last = None;
    let begun = text.lines().next().is_some_and(|line| line.contains("\"event\":\"begun\""));
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let title = || {
            let case = event["case"].as_str().unwrap();
            format!("{case} (iteration {})", event["iteration"])
        };
        match event["event"].as_str().unwrap() {
            "case-begun" => open = Some(title()),
            "case-ended" => {
                open = None;
                told.take(event["verdict"].as_str().unwrap(), &title());
            }
            "case-cut" => open = None,
            "trouble" => told.troubles += 1,
            "silenced" => told.hear("^", event["what"].as_str().unwrap()),
            "ended" => exit = event["exit"].as_u64().zip(event["complete"].as_bool()),
            "resumed" => exit = None,
            _ => {}
        }
        last = event["event"].as_str().map(str::to_owned);
    }
    if let Some(title) = open {
        told.take("FAIL", &title);
    }
    (told, begun && last.as_deref() == Some("ended") && exit == Some((0, true)))
}

fn of_html(text: &str) -> Reading {
    let mut told = Reading::default();
    let result = pattern("data-case=\"([^\"]*)\" data-verdict=\"([A-Z]+)\" data-times=\"(\\d+)\"");
    for (_, [title, verdict, times]) in result.captures_iter(text).map(|found| found.extract()) {
        for _ in 0..times.parse().unwrap() {
            told.take(verdict, title);
        }
    }
    told.troubles = text.matches("class=\"problem trouble\"").count();
    told.incomplete = pattern("class=\"problem incomplete\"><strong>([^<]*)<")
        .captures(text)
        .map(|found| found[1].to_owned());
    let silent = pattern("(?s)<dt>not told by the kernel</dt><dd>(.*?)</dd>").captures(text);
    if let Some(silent) = silent {
        told.hear("(?:^|; )", &silent[1]);
    }
    told
}

/// What the job's summary on GitHub tells, and whether it says that all is well.
fn of_github(history: &History) -> (Reading, bool) {
    let text = github::markdown(&[history]);
    let mut told = Reading::default();
    let mut tables = text.split("\n\n").filter(|part| part.starts_with("| "));
    let counts: Vec<Vec<&str>> =
        tables.next().unwrap().lines().map(|row| row.split('|').map(str::trim).collect()).collect();
    for (verdict, count) in counts[0].iter().zip(&counts[2]).skip(2).filter(|it| !it.0.is_empty()) {
        told.verdicts.insert((*verdict).to_owned(), count.parse().unwrap());
    }
    let row = pattern(r"(?m)^\| [A-Z]+ \| `([a-z]+(?:/[-a-z]+)+)");
    told.cases.extend(row.captures_iter(&text).map(|found| found[1].to_owned()));
    for found in pattern(r"(?m)^\*\*[^:]*: (.*)\*\*$").captures_iter(&text) {
        if found[1].starts_with("INCOMPLETE: ") {
            told.incomplete = Some(found[1].to_owned());
        } else {
            told.troubles += 1;
        }
    }
    told.hear("(?m)^Note: [^:]*: ", &text);
    (told, text.starts_with("## daxtests: all as expected\n"))
}

/// What GitHub's annotations tell: what is wrong, and nothing else.
fn of_annotations(history: &History) -> Reading {
    let annotation = pattern(r"^::error title=([A-Z]+) (.*?) ?\([^():]*\)::(.*)$");
    let mut told = Reading::default();
    for line in github::annotations(&[history]) {
        let [word, title, text] = annotation.captures(&line).unwrap().extract().1;
        match (word, title) {
            ("INCOMPLETE", _) => told.incomplete = Some(text.to_owned()),
            (_, "") => told.troubles += 1,
            (verdict, title) => told.take(verdict, title),
        }
    }
    told
}

/// What KCIDB is told, and whether it finds anything wrong that is not known.
fn of_kcidb(history: &History) -> (Reading, bool) {
    let submission = kcidb::Submission {
        origin: kcidb::Origin::parse("ours").unwrap(),
        build: "ours:1".to_owned(),
    };
    let json = kcidb::json(&[history], &submission).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let known: BTreeSet<String> = list(&report["incidents"])
        .iter()
        .map(|incident| incident["test_id"].as_str().unwrap().to_owned())
        .collect();
    let mut told = Reading::default();
    let mut red = false;
    let mut ids = BTreeSet::new();
    for test in list(&report["tests"]) {
        let id = test["id"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} twice");
        let bad = !matches!(test["status"].as_str().unwrap(), "PASS" | "SKIP");
        red |= bad && !known.contains(id);
        let name = id.split_once('/').unwrap().1;
        let comment = test["comment"].as_str();
        match name.split('#').next().unwrap() {
            incomplete::NAME => told.incomplete = comment.map(str::to_owned),
            trouble if trouble.starts_with("run/") => told.troubles += 1,
            case => told.take(test["misc"]["verdict"].as_str().unwrap(), case),
        }
        if let Some(silent) = test["environment"]["misc"]["silenced"].as_str() {
            told.hear("(?:^|; )", silent);
        }
    }
    (told, red)
}

/// What is printed of a run that is told again, as KTAP and as JSON.
fn retold(entries: &[Entry]) -> (String, String) {
    let suites: Vec<Suite> = merge::suites(vec![("run".into(), entries.to_vec())]).unwrap();
    let (mut ktap, mut json) = (Vec::new(), Vec::new());
    ktap::write_suites(&mut ktap, &suites).unwrap();
    json::write_suites(&mut json, &suites);
    (String::from_utf8(ktap).unwrap(), String::from_utf8(json).unwrap())
}

/// Checks that programs are told what people are, as KTAP and as JSON.
fn programs_are_told(ktap: &str, json: &str, told: &Reading, whole: bool) {
    let ktap = of_ktap(ktap);
    assert_eq!(ktap.red, told.is_red(), "{:?}", ktap.told);
    if whole {
        assert_eq!(&ktap.told, told);
    }
    let (mut json, well) = of_json(json);
    assert_eq!(well, !told.is_red(), "{json:?}");
    json.incomplete.clone_from(&told.incomplete);
    assert_eq!(&json, told);
}

/// What the reporters printed that watched the last boot.
fn watched(entries: &[Entry], finished: bool) -> (String, String) {
    let resumed = entries.iter().rposition(|e| matches!(e.event, RunEvent::Resumed { .. }));
    let (before, live) = entries.split_at(resumed.unwrap_or(0));
    let mut history = History::of(before);
    let (mut ktap_out, mut json_out) = (Vec::new(), Vec::new());
    let mut ktap = ktap::Ktap::to(&mut ktap_out);
    let mut json = json::Json::to(&mut json_out);
    ktap.resume(before);
    json.resume(before);
    for entry in live {
        history.add(entry);
        ktap.entry(entry, &history);
        json.entry(entry, &history);
    }
    if finished {
        ktap.finish(&history, Path::new("results"));
        json.finish(&history, Path::new("results"));
    }
    (String::from_utf8(ktap_out).unwrap(), String::from_utf8(json_out).unwrap())
}

/// Whether the run counts as good, after all reports were found to agree about it.
fn agree(entries: &[Entry], finished: bool) -> bool {
    let history = History::of(entries);
    let good = Exit::of(&history) == Exit::Expected;
    let folder = Path::new("/nonexistent");
    let junit = String::from_utf8(junit::xml(&[&history]).unwrap()).unwrap();
    let told = of_junit(&junit);
    assert_eq!(told.is_red(), !good, "{told:?}");
    assert_eq!(of_terminal(&terminal::summary(&history, folder)), told);
    assert_eq!(of_html(&html::page(&[&history], folder)), told);
    assert_eq!(of_github(&history), (told.clone(), good));
    let annotated = of_annotations(&history);
    let (verdicts, silenced) = (told.verdicts.clone(), told.silenced.clone());
    assert_eq!(Reading { verdicts, silenced, ..annotated }, told);
    let (of_kcidb, red) = of_kcidb(&history);
    assert_eq!((of_kcidb, red), (told.clone(), !good));
    let (ktap, json) = retold(entries);
    programs_are_told(&ktap, &json, &told, true);
    if matches!(entries.first().map(|e| &e.event), Some(RunEvent::Begun { .. })) {
        let (ktap, json) = watched(entries, finished);
        programs_are_told(&ktap, &json, &told, finished);
    }
    // For whoever has a validator at hand: xmllint --schema FILE DIR/*.xml.
    if let Some(folder) = std::env::var_os("DAXTESTS_JUNIT") {
        let file = tempfile::Builder::new().suffix(".xml").tempfile_in(folder).unwrap();
        std::fs::write(file.keep().unwrap().1, junit).unwrap();
    }
    good
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_reports_tell_the_same(story in stories()) {
        let run = story.play();
        prop_assert_eq!(agree(&run.entries, run.finished), run.good);
    }

    #[test]
    fn shards_that_are_put_together_are_told_the_same_and_green_only_together(
        story in stories(),
        // What happens to each of the others, if its journal is there at all.
        others in prop::collection::vec(prop::option::weighted(0.9, stories()), 2),
    ) {
        let selected = story.plan.cases.clone();
        let of = u32::try_from(selected.len()).unwrap();
        let stories = std::iter::once(Some(&story)).chain(others.iter().map(Option::as_ref));
        let mut good = true;
        let mut runs = Vec::new();
        for ((number, case), other) in (1..).zip(&selected).zip(stories) {
            let Some(other) = other else {
                good = false;
                continue;
            };
            let share = Share { shard: Shard { number, of }, selected: selected.clone() };
            let plan = Plan { cases: vec![case.clone()], shard: Some(share), ..story.plan.clone() };
            let run = Story { plan, ..other.clone() }.play();
            good &= run.good;
            runs.push((format!("shard-{number}").into(), run.entries));
        }
        let suites = merge::suites(runs).unwrap();
        prop_assert_eq!(suites.len(), 1);
        prop_assert_eq!(agree(&suites[0].entries, true), good);
    }

    #[test]
    fn a_journal_that_was_cut_is_never_green(story in stories(), at in any::<prop::sample::Index>()) {
        let run = story.play();
        let at = at.index(run.entries.len());
        prop_assert!(!agree(&run.entries[..at], false));
    }

    #[test]
    fn a_journal_that_lacks_a_line_is_not_better_for_it(
        story in stories(),
        at in any::<prop::sample::Index>(),
    ) {
        let run = story.play();
        let mut entries = run.entries;
        entries.remove(at.index(entries.len()));
        let good = Exit::of(&History::of(&entries)) == Exit::Expected;
        prop_assert!(!good || run.good);
    }
}

#[test]
fn a_journal_without_its_beginning_is_incomplete() {
    let story = Story {
        plan: plan::example(),
        verdicts: vec![(Verdict::Pass, "")],
        fates: Vec::new(),
        trouble: None,
        silences: vec![(0, SILENCES[0]), (1, SILENCES[1])],
        patience: 9,
    };
    let entries = story.play().entries;
    assert!(agree(&entries, true));
    for entries in [&entries[..0], &entries[1..]] {
        assert!(!agree(entries, false));
        let incomplete = History::of(entries).incomplete().unwrap();
        assert_eq!(incomplete.planned, None);
        assert!(incomplete.why.starts_with("the journal "), "{incomplete}");
    }
}

#[test]
fn the_missing_are_counted() {
    let plan = Plan { iterations: Some(40), ..plan::example() };
    let story = Story {
        plan,
        verdicts: vec![(Verdict::Pass, "")],
        fates: vec![(77, Fate::Killed)],
        trouble: None,
        silences: vec![(0, SILENCES[0]), (1, SILENCES[1])],
        patience: 99,
    };
    let entries = story.play().entries;
    // What the first boot left.
    let cut = entries.iter().position(|e| matches!(e.event, RunEvent::Resumed { .. })).unwrap();
    let incomplete = History::of(&entries[..cut]).incomplete().unwrap();
    assert_eq!((incomplete.finished, incomplete.planned), (77, Some(80)));
    assert!(incomplete.to_string().starts_with("INCOMPLETE: 77 of 80: "));
    assert!(agree(&entries, true), "it was resumed and came to its end");
    assert_eq!(incomplete::NAME, "run/incomplete");
}
