//! Two runs side by side: what fails now and did not, what no longer does, what was not run.
//!
//! A case that ran several times has several verdicts; it fails if one of them needs attention.
//! Times are told and never judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::clean::{self, cell};
use crate::exit::Exit;
use crate::history::History;
use crate::journal::{self, Outcome};
use crate::results::Results;
use crate::runs::Runs;
use crate::verdict::Verdict;

/// A case is slower if it takes this many times as long as before, ...
const SLOWER: f64 = 2.0;

/// ... and this many seconds longer.
const LONGER: f64 = 1.0;

/// In what form a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON document, for programs.
    Json,
    /// For a pull request or a mail.
    Markdown,
}

/// How a case of the new run differs from the same case of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Shift {
    /// It needs attention and did not, or was not there.
    NewlyFailing,
    /// The new run was to run it and has no result of it.
    NoResult,
    /// It no longer needs attention.
    NewlyPassing,
    /// Its verdicts differ within a run.
    Flaky,
    /// Another verdict, and neither needs attention: it is not run any more, for example.
    Changed,
    /// The same verdict, later.
    Slower,
    /// Only the new run has it.
    New,
    /// Only the old run has it.
    Gone,
}

impl Shift {
    const ALL: [Self; 8] = [
        Self::NewlyFailing,
        Self::NoResult,
        Self::NewlyPassing,
        Self::Flaky,
        Self::Changed,
        Self::Slower,
        Self::New,
        Self::Gone,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::NewlyFailing => "newly failing",
            Self::NoResult => "planned, but without a result",
            Self::NewlyPassing => "newly passing",
            Self::Flaky => "flaky",
            Self::Changed => "another verdict",
            Self::Slower => "slower",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }

    /// Whether the new run is worse for it.
    fn is_bad(self) -> bool {
        matches!(self, Self::NewlyFailing | Self::NoResult)
    }
}

/// One case in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    case: String,
    change: Shift,
    /// How often it ended how, in the old run.
    old: BTreeMap<&'static str, usize>,
    /// And in the new one.
    new: BTreeMap<&'static str, usize>,
    /// Medians, in seconds; absent for a run that has no result of it.
    old_seconds: Option<f64>,
    new_seconds: Option<f64>,
    /// What is the matter with it now, in a line.
    gist: Option<String>,
}

/// What a run was.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Side {
    path: String,
    kernel: String,
    version: String,
    target: Option<String>,
    seed: Option<u64>,
    results: usize,
    /// What the run lacks, in words.
    incomplete: Option<String>,
    /// What went wrong outside of cases.
    troubles: Vec<String>,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    old: Side,
    new: Side,
    /// Cases that differ, in the order of [`Shift`] and then of their names.
    changes: Vec<Row>,
    /// Cases that need attention in both runs and that are not flaky.
    still_failing: Vec<String>,
    /// How many cases are as before and need no attention.
    unchanged: usize,
}

/// The run in a results folder, or in a journal.
pub(crate) fn read(path: &Path) -> anyhow::Result<History> {
    let entries = if path.is_dir() {
        Results::at(&Runs::results(path)?).last_entries()?
    } else {
        journal::read(path)?.0
    };
    let history = History::of(&entries);
    ensure!(history.plan.is_some(), "{}: its journal does not say what was run", path.display());
    ensure!(!history.all_outcomes().is_empty(), "{}: no case has a result", path.display());
    Ok(history)
}

/// The last run in a folder, and the one with which it is compared: of runs, the last before it on the
/// same file system and shape; of results, that in `previous/`.
pub(crate) fn last_two(folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
    if let Some(runs) = Runs::of(folder) {
        return runs.last_two();
    }
    let results = Results::at(folder);
    let previous = results.previous();
    ensure!(
        results.has_results() && previous.has_results(),
        "{}: it does not have a run and one before; name the runs to compare",
        folder.display()
    );
    Ok([previous.folder().to_owned(), folder.to_owned()])
}

/// Reads and compares two runs.
pub(crate) fn of(old: &Path, new: &Path) -> anyhow::Result<Comparison> {
    let (before, after) = (read(old).context("OLD")?, read(new).context("NEW")?);
    Ok(compare((old, &before), (new, &after)))
}

fn compare((old, before): (&Path, &History), (new, after): (&Path, &History)) -> Comparison {
    let (a, b) = (by_case(before), by_case(after));
    let planned: BTreeSet<&str> =
        after.plan.iter().flat_map(|plan| &plan.cases).map(String::as_str).collect();
    let names: BTreeSet<&str> =
        a.keys().chain(b.keys()).map(String::as_str).chain(planned.iter().copied()).collect();
    let (mut changes, mut still_failing, mut unchanged) = (Vec::new(), Vec::new(), 0);
    for name in names {
        let (old, new) = (a.get(name), b.get(name));
        match change(old, new, planned.contains(name)) {
            Some(change) => changes.push(Row {
                case: name.to_owned(),
                change,
                old: old.map(counts).unwrap_or_default(),
                new: new.map(counts).unwrap_or_default(),
                old_seconds: old.map(median),
                new_seconds: new.map(median),
                gist: new.and_then(gist),
            }),
            None if new.is_some_and(fails) => still_failing.push(name.to_owned()),
            None => unchanged += 1,
        }
    }
    changes.sort_by_key(|row| row.change);
    Comparison { old: side(old, before), new: side(new, after), changes, still_failing, unchanged }
}

/// All results of one case. Never empty.
type Outcomes = Vec<Outcome>;

fn by_case(history: &History) -> BTreeMap<String, Outcomes> {
    let mut found: BTreeMap<String, Outcomes> = BTreeMap::new();
    for outcome in history.all_outcomes() {
        found.entry(outcome.case.clone()).or_default().push(outcome);
    }
    found
}

fn change(old: Option<&Outcomes>, new: Option<&Outcomes>, planned: bool) -> Option<Shift> {
    let (old, new) = match (old, new) {
        (None, None) => return Some(Shift::NoResult),
        (Some(_), None) => return Some(if planned { Shift::NoResult } else { Shift::Gone }),
        (None, Some(new)) => {
            return Some(if fails(new) { Shift::NewlyFailing } else { Shift::New });
        }
        (Some(old), Some(new)) => (old, new),
    };
    let mixed = |ends: &Outcomes| counts(ends).len() > 1;
    match (fails(old), fails(new)) {
        (false, true) => Some(Shift::NewlyFailing),
        _ if mixed(old) || mixed(new) => Some(Shift::Flaky),
        (true, false) => Some(Shift::NewlyPassing),
        (true, true) => None,
        (false, false) if counts(old).keys().ne(counts(new).keys()) => Some(Shift::Changed),
        (false, false) => {
            let (old, new) = (median(old), median(new));
            (new >= old * SLOWER && new - old >= LONGER).then_some(Shift::Slower)
        }
    }
}

fn fails(ends: &Outcomes) -> bool {
    ends.iter().any(|outcome| outcome.verdict.needs_attention())
}

fn counts(ends: &Outcomes) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for outcome in ends {
        *counts.entry(outcome.verdict.word()).or_default() += 1;
    }
    counts
}

fn median(ends: &Outcomes) -> f64 {
    let mut seconds: Vec<f64> = ends.iter().map(|outcome| outcome.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// What the first execution that needs attention says; else the first that is no plain pass.
fn gist(ends: &Outcomes) -> Option<String> {
    let first = |wanted: &dyn Fn(Verdict) -> bool| ends.iter().find(|o| wanted(o.verdict));
    let outcome =
        first(&Verdict::needs_attention).or_else(|| first(&|verdict| verdict != Verdict::Pass))?;
    outcome.gist().map(|gist| clean::line(&gist))
}

fn side(path: &Path, history: &History) -> Side {
    Side {
        path: path.display().to_string(),
        kernel: history.machine.kernel.clone(),
        version: history.machine.version.clone(),
        target: history.plan.as_ref().map(|plan| plan.target.name()),
        seed: history.plan.as_ref().map(|plan| plan.seed),
        results: history.all_outcomes().len(),
        incomplete: history.incomplete().map(|incomplete| incomplete.to_string()),
        troubles: history.troubles.iter().map(|problem| problem.title.clone()).collect(),
    }
}

impl Comparison {
    /// Unexpected if something fails that did not, or if the new run does not show that nothing
    /// does.
    pub(crate) fn exit(&self) -> Exit {
        let worse = self.changes.iter().any(|row| row.change.is_bad())
            || self.new.incomplete.is_some()
            || self.new_troubles().next().is_some();
        if worse { Exit::Unexpected } else { Exit::Expected }
    }

    /// What goes wrong outside of cases now, and did not.
    fn new_troubles(&self) -> impl Iterator<Item = &String> {
        self.new.troubles.iter().filter(|title| !self.old.troubles.contains(title))
    }

    /// What it says in `form`.
    pub(crate) fn text(&self, form: Form) -> String {
        match form {
            Form::Json => {
                serde_json::to_string_pretty(self).expect("it has string keys only") + "\n"
            }
            Form::Text => self.plain(),
            Form::Markdown => self.markdown(),
        }
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for (name, side) in [("old", &self.old), ("new", &self.new)] {
            let _ = writeln!(text, "{name}: {}", side.line());
        }
        for line in self.troubles_in_words() {
            let _ = writeln!(text, "{line}");
        }
        for (change, rows) in self.groups() {
            let _ = writeln!(text, "{} ({}):", change.words(), rows.len());
            for row in rows {
                let gist = row.gist.as_ref().map_or(String::new(), |gist| format!(": {gist}"));
                let _ = writeln!(text, "    {}  {}{gist}", row.case, row.verdicts());
            }
        }
        let _ = writeln!(text, "{}", self.rest());
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::from("| | run |\n|---|---|\n");
        for (name, side) in [("old", &self.old), ("new", &self.new)] {
            let _ = writeln!(text, "| {name} | {} |", cell(&side.line()));
        }
        for line in self.troubles_in_words() {
            let _ = writeln!(text, "\n**{}**", cell(&line));
        }
        for (change, rows) in self.groups() {
            let _ = writeln!(
                text,
                "\n### {} ({})\n\n| case | old → new | what |\n|---|---|---|",
                change.words(),
                rows.len()
            );
            for row in rows {
                let gist = cell(row.gist.as_deref().unwrap_or_default());
                let _ = writeln!(text, "| `{}` | {} | {gist} |", row.case, row.verdicts());
            }
        }
        let _ = writeln!(text, "\n{}", self.rest());
        text
    }

    fn groups(&self) -> impl Iterator<Item = (Shift, Vec<&Row>)> {
        Shift::ALL.into_iter().filter_map(|change| {
            let rows: Vec<_> = self.changes.iter().filter(|row| row.change == change).collect();
            (!rows.is_empty()).then_some((change, rows))
        })
    }

    fn troubles_in_words(&self) -> Vec<String> {
        let mut lines: Vec<_> =
            self.new_troubles().map(|title| format!("new, outside of cases: {title}")).collect();
        for (name, side) in [("old", &self.old), ("new", &self.new)] {
            lines.extend(side.incomplete.as_ref().map(|why| format!("the {name} run is {why}")));
        }
        lines
    }

    fn rest(&self) -> String {
        let failing = match self.still_failing.as_slice() {
            [] => String::new(),
            names => format!("; still failing: {}", names.join(", ")),
        };
        format!("{} unchanged{failing}", self.unchanged)
    }
}

impl Side {
    fn line(&self) -> String {
        let target = self.target.as_ref().map_or(String::new(), |target| format!(", {target}"));
        let kernel = if self.kernel.is_empty() { "no kernel" } else { &self.kernel };
        format!("{}: {kernel}{target}, {} results", self.path, self.results)
    }
}

impl Row {
    /// "PASS → 3 PASS, 1 FAIL", and the times if they are what differs.
    fn verdicts(&self) -> String {
        let said = |counts: &BTreeMap<&str, usize>| match counts.iter().collect::<Vec<_>>()[..] {
            [] => "-".to_owned(),
            [(word, 1)] => (*word).to_owned(),
            _ => counts
                .iter()
                .map(|(word, count)| format!("{count} {word}"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let times = match (self.change, self.old_seconds, self.new_seconds) {
            (Shift::Slower, Some(old), Some(new)) => format!(" ({old:.1} s → {new:.1} s)"),
            _ => String::new(),
        };
        format!("{} → {}{times}", said(&self.old), said(&self.new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, RunEvent};
    use crate::machine::Machine;
    use crate::plan;
    use crate::verdict::{Problem, Witness};

    /// A run of `cases`, each with its verdict and seconds; what is planned beyond them has none.
    fn run(cases: &[(&str, Verdict, f64)], planned: &[&str], ends: bool) -> History {
        let mut history = History::default();
        let mut plan = plan::example();
        plan.cases = cases.iter().map(|(name, ..)| *name).chain(planned.iter().copied()).fold(
            Vec::new(),
            |mut names, name| {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                names
            },
        );
        let most = cases.iter().map(|(name, ..)| cases.iter().filter(|c| c.0 == *name).count());
        plan.iterations = Some(most.max().unwrap_or(1) as u64);
        let mut add = |event| history.add(&Entry::now(event));
        add(RunEvent::Begun { plan: plan.into(), machine: Machine::default() });
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for (case, verdict, seconds) in cases {
            let iteration = seen.entry(case).or_default();
            let problem = Problem::new(Witness::Case, format!("{case} | seen"), "at length");
            let (case, problems) = ((*case).to_owned(), vec![problem]);
            add(RunEvent::CaseBegun { case: case.clone(), iteration: *iteration, seed: 1 });
            add(RunEvent::CaseEnded(Box::new(Outcome {
                case,
                iteration: *iteration,
                verdict: *verdict,
                seconds: *seconds,
                reason: None,
                find: None,
                problems: if verdict.needs_attention() { problems } else { Vec::new() },
                notes: Vec::new(),
                folder: None,
            })));
            *iteration += 1;
        }
        if ends {
            let end = history.end(Exit::at_end(&history));
            history.add(&Entry::now(RunEvent::Ended(end)));
        }
        history
    }

    fn compared(old: &History, new: &History) -> Comparison {
        compare((Path::new("old"), old), (Path::new("new"), new))
    }

    fn changes(comparison: &Comparison) -> Vec<(&str, Shift)> {
        comparison.changes.iter().map(|row| (row.case.as_str(), row.change)).collect()
    }

    use Verdict::{Fail, NotRun, Pass, XFail, XPass};

    #[test]
    fn a_run_is_as_itself() {
        let run = run(&[("a", Pass, 1.0), ("b", XFail, 1.0), ("c", NotRun, 0.0)], &[], true);
        let same = compared(&run, &run);
        assert!(same.changes.is_empty());
        assert_eq!((same.unchanged, same.exit()), (3, Exit::Expected));
    }

    #[test]
    fn each_kind_of_change_is_told_apart() {
        let old = run(
            &[
                ("broke", Pass, 1.0),
                ("excused", XFail, 1.0),
                ("gone", Pass, 1.0),
                ("mended", Fail, 1.0),
                ("slow", Pass, 1.0),
                ("slow-but-short", Pass, 0.1),
                ("still", Fail, 1.0),
                ("dropped", Pass, 1.0),
            ],
            &[],
            true,
        );
        let new = run(
            &[
                ("broke", Fail, 1.0),
                ("excused", XPass, 1.0),
                ("fresh", Pass, 1.0),
                ("fresh-and-bad", Fail, 1.0),
                ("mended", Pass, 1.0),
                ("slow", Pass, 2.5),
                ("slow-but-short", Pass, 0.9),
                ("still", Fail, 1.0),
                ("dropped", NotRun, 0.0),
            ],
            &[],
            true,
        );
        let comparison = compared(&old, &new);
        assert_eq!(
            changes(&comparison),
            [
                ("broke", Shift::NewlyFailing),
                ("excused", Shift::NewlyFailing),
                ("fresh-and-bad", Shift::NewlyFailing),
                ("mended", Shift::NewlyPassing),
                ("dropped", Shift::Changed),
                ("slow", Shift::Slower),
                ("fresh", Shift::New),
                ("gone", Shift::Gone),
            ]
        );
        assert_eq!(comparison.still_failing, ["still"]);
        assert_eq!((comparison.unchanged, comparison.exit()), (1, Exit::Unexpected));
        assert_eq!(compared(&new, &new).exit(), Exit::Expected, "what fails in both is not new");
    }

    #[test]
    fn verdicts_that_differ_within_a_run_are_flaky() {
        let sometimes = run(&[("a", Pass, 1.0), ("a", Fail, 1.0)], &[], true);
        let never = run(&[("a", Pass, 1.0), ("a", Pass, 1.0)], &[], true);
        assert_eq!(changes(&compared(&sometimes, &never)), [("a", Shift::Flaky)]);
        assert_eq!(changes(&compared(&sometimes, &sometimes)), [("a", Shift::Flaky)]);
        // Whatever it will be called: it failed, and never did before.
        assert_eq!(changes(&compared(&never, &sometimes)), [("a", Shift::NewlyFailing)]);
    }

    #[test]
    fn a_run_that_was_cut_off_is_no_good_news() {
        let old = run(&[("a", Pass, 1.0), ("b", Pass, 1.0)], &[], true);
        let cut = run(&[("a", Pass, 1.0)], &["b"], false);
        let comparison = compared(&old, &cut);
        assert_eq!(changes(&comparison), [("b", Shift::NoResult)]);
        assert_eq!(comparison.exit(), Exit::Unexpected);
        assert!(comparison.text(Form::Text).contains("the new run is INCOMPLETE: 1 of 2"));
        // The other way round everything is there.
        assert_eq!(compared(&cut, &old).exit(), Exit::Expected);
    }

    #[test]
    fn trouble_outside_of_cases_is_a_failure() {
        let old = run(&[("a", Pass, 1.0)], &[], true);
        let mut new = old.clone();
        new.troubles.push(Problem::new(Witness::Check, "xfs_repair found damage", ""));
        assert_eq!(compared(&old, &new).exit(), Exit::Unexpected);
        assert_eq!(compared(&new, &new).exit(), Exit::Expected);
    }

    #[test]
    fn every_form_tells_what_broke() {
        let old = run(&[("group/case", Pass, 1.0)], &[], true);
        let new = run(&[("group/case", Fail, 1.0)], &[], true);
        let comparison = compared(&old, &new);
        for form in [Form::Text, Form::Json, Form::Markdown] {
            assert!(comparison.text(form).contains("group/case"), "{form:?}");
        }
        let document: serde_json::Value =
            serde_json::from_str(&comparison.text(Form::Json)).unwrap();
        assert_eq!(document["changes"][0]["change"], "newly-failing");
        // A bar would end the cell.
        assert!(comparison.markdown().contains("| PASS → FAIL | group/case \\| seen |"));
    }
}
