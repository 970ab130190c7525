//! KTAP, the kernel's test protocol (Documentation/dev-tools/ktap.rst), for kernel test robots.
//!
//! A reader must not take output that was cut off for a run that went well, so the plan comes
//! first and its last test is `run`: the run as a whole, which fails with what went wrong outside
//! of cases and if it is incomplete. Where nobody knows beforehand how many cases will run
//! (`--duration`), they are the subtests of `cases`, which need no plan; kunit.py cannot read a
//! plan that comes late. A run that is resumed tells the boots before it again.

use std::io::Write;
use std::path::Path;

use super::{Reporter, clean};
use crate::exit::Exit;
use crate::history::History;
use crate::incomplete;
use crate::journal::{Entry, Outcome, RunEvent};
use crate::merge::Suite;
use crate::plan::Plan;
use crate::print;
use crate::verdict::{Problem, Verdict};

/// The test that stands for the run as a whole.
const RUN: &str = "run";
/// The test that the cases are subtests of, if their number is not known.
const CASES: &str = "cases";

/// Prints the run as KTAP.
#[derive(Debug)]
pub(crate) struct Ktap<W = print::Stdout> {
    out: W,
    /// Whether the cases are subtests; none before the run has begun.
    nested: Option<bool>,
    /// The number of the last case.
    number: usize,
    /// Whether one of them was `not ok`.
    failed: bool,
    /// Whether this is all that will be told. Who bails out says that nothing follows.
    alone: bool,
}

impl Ktap {
    pub(crate) fn new() -> Self {
        Self::to(print::Stdout)
    }
}

impl<W: Write> Ktap<W> {
    /// Prints to `out`.
    pub(crate) fn to(out: W) -> Self {
        Self { out, nested: None, number: 0, failed: false, alone: true }
    }

    fn say(&mut self, line: &str) {
        // Whoever stopped reading does not want more; the journal has it all.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    /// The indentation of the cases.
    fn margin(&self) -> &'static str {
        if self.nested == Some(true) { "  " } else { "" }
    }

    /// Without a plan, which a journal may lack, nobody knows how many cases come.
    fn begin(&mut self, plan: Option<&Plan>) {
        self.say("KTAP version 1");
        if let Some(planned) = plan.and_then(incomplete::planned) {
            self.nested = Some(false);
            self.say(&format!("1..{}", planned.saturating_add(1)));
        } else {
            self.nested = Some(true);
            self.say("1..2");
            self.say("  KTAP version 1");
            self.say(&format!("  # Subtest: {CASES}"));
        }
    }

    fn tell(&mut self, entry: &Entry) {
        if self.nested.is_none() && !matches!(entry.event, RunEvent::Begun { .. }) {
            self.begin(None);
        }
        let margin = self.margin();
        match &entry.event {
            RunEvent::Begun { plan, machine } => {
                self.begin(Some(plan));
                let margin = self.margin();
                let on = format!(
                    "{} on Linux {}, seed {}",
                    plan.target.name(),
                    machine.kernel,
                    plan.seed
                );
                self.say(&format!("{margin}# {}", clean::line(&on)));
            }
            RunEvent::Resumed { machine } => {
                let on = clean::line(&machine.kernel);
                self.say(&format!("{margin}# resumed on Linux {on}"));
            }
            RunEvent::Silenced { what } => {
                self.say(&format!("{margin}# note: {}", clean::line(what)));
            }
            RunEvent::CaseEnded(outcome) => self.case(outcome),
            RunEvent::Trouble(problem) => self.problem(problem),
            _ => {}
        }
    }

    /// All of a run that is over.
    fn whole(&mut self, suite: &Suite) {
        self.resume(&suite.entries);
        let seed = suite.history.plan.as_ref().map(|plan| plan.seed);
        for source in &suite.history.sources {
            let own = source.history.plan.as_ref().map(|plan| plan.seed);
            if let Some(other) = own.filter(|_| own != seed) {
                let from = clean::line(&source.folder.display().to_string());
                self.say(&format!("{}# {from}: seed {other}", self.margin()));
            }
        }
        self.finish(&suite.history, Path::new(""));
    }

    fn case(&mut self, outcome: &Outcome) {
        for problem in &outcome.problems {
            self.problem(problem);
        }
        self.number += 1;
        self.failed |= outcome.verdict.needs_attention();
        let line = line(self.number, outcome);
        self.say(&format!("{}{line}", self.margin()));
    }

    fn problem(&mut self, problem: &Problem) {
        let margin = self.margin();
        self.say(&format!("{margin}# {}", clean::line(&problem.title)));
        for line in clean::text(&problem.text).lines() {
            self.say(&format!("{margin}#   {}", clean::line(line)));
        }
    }

    /// The last test: the run as a whole.
    fn run(&mut self, number: usize, history: &History) {
        let mut failures: Vec<_> = history
            .troubles
            .iter()
            .zip(1..)
            .map(|(problem, n)| (format!("trouble-{n}"), problem.title.clone()))
            .collect();
        failures.extend(history.incomplete().map(|incomplete| {
            let name = incomplete::NAME.trim_start_matches("run/");
            (name.to_owned(), incomplete.to_string())
        }));
        if failures.is_empty() {
            self.say(&format!("ok {number} {RUN}"));
            return;
        }
        self.say("  KTAP version 1");
        self.say(&format!("  # Subtest: {RUN}"));
        self.say(&format!("  1..{}", failures.len()));
        for ((name, gist), n) in failures.iter().zip(1..) {
            self.say(&format!("  not ok {n} {name} # FAIL {}", diagnostic(gist)));
        }
        self.say(&format!("not ok {number} {RUN}"));
    }
}

impl<W: Write> Reporter for Ktap<W> {
    fn resume(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.tell(entry);
        }
    }

    fn entry(&mut self, entry: &Entry, _history: &History) {
        self.tell(entry);
    }

    fn finish(&mut self, history: &History, _folder: &Path) {
        if let Some(died) = history.died() {
            self.case(&died);
        }
        match self.nested {
            Some(true) => {
                let result = if self.failed { "not ok" } else { "ok" };
                self.say(&format!("{result} 1 {CASES}"));
                self.run(2, history);
            }
            Some(false) => self.run(self.number + 1, history),
            // Not even the beginning could be written down.
            None => {
                self.say("KTAP version 1");
                self.say("1..1");
                self.run(1, history);
            }
        }
        if let (Some(why), true) = (&history.wedged, self.alone) {
            self.say(&format!("Bail out! the machine needs a reboot: {}", clean::line(why)));
        }
    }
}

/// Prints suites: one as the run that it is, several as tests with subtests.
pub(crate) fn retell(suites: &[Suite]) {
    // Whoever stopped reading does not want more; another failure is kept.
    let _ = write_suites(&mut print::Stdout, suites);
}

pub(super) fn write_suites(out: &mut impl Write, suites: &[Suite]) -> std::io::Result<()> {
    if let [one] = suites {
        let mut ktap = Ktap::to(out);
        ktap.whole(one);
        return Ok(());
    }
    writeln!(out, "KTAP version 1\n1..{}", suites.len())?;
    for (suite, number) in suites.iter().zip(1..) {
        let mut text = Vec::new();
        let mut ktap = Ktap { alone: false, ..Ktap::to(&mut text) };
        ktap.whole(suite);
        let name = clean::line(&suite.history.name());
        for (line, at) in String::from_utf8_lossy(&text).lines().zip(0..) {
            writeln!(out, "  {line}")?;
            if at == 0 {
                writeln!(out, "  # Subtest: {name}")?;
            }
        }
        let bad = Exit::of(&suite.history) != Exit::Expected;
        writeln!(out, "{} {number} {name}", if bad { "not ok" } else { "ok" })?;
    }
    out.flush()
}

fn line(number: usize, outcome: &Outcome) -> String {
    let result = if outcome.verdict.needs_attention() { "not ok" } else { "ok" };
    // Each word that is no directive keeps the text that follows from being taken for one.
    let word = match outcome.verdict {
        Verdict::Pass => "",
        Verdict::NotRun => "SKIP",
        Verdict::Hang => "TIMEOUT",
        Verdict::XFail | Verdict::Error | Verdict::Fail | Verdict::XPass => outcome.verdict.word(),
    };
    let line = format!("{result} {number} {}", outcome.title());
    if word.is_empty() {
        return line;
    }
    let gist = diagnostic(&outcome.gist().unwrap_or_default());
    format!("{line} # {word} {gist}").trim_end().to_owned()
}

/// Text after a directive. kunit.py finds "# SKIP" wherever it stands.
fn diagnostic(text: &str) -> String {
    clean::line(text).replace(" # ", " - ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan;
    use crate::verdict::Witness;

    fn outcome(verdict: Verdict, iteration: u64, reason: Option<&str>) -> Outcome {
        Outcome {
            case: "waits/punch/splice/mapped".to_owned(),
            iteration,
            verdict,
            seconds: 1.0,
            reason: reason.map(str::to_owned),
            find: None,
            problems: Vec::new(),
            notes: Vec::new(),
            folder: None,
        }
    }

    #[test]
    fn verdicts_have_their_directives() {
        for (verdict, reason, expected) in [
            (Verdict::Pass, None, "ok 1 waits/punch/splice/mapped"),
            (
                Verdict::NotRun,
                Some("needs uring"),
                "ok 1 waits/punch/splice/mapped # SKIP needs uring",
            ),
            (Verdict::Hang, None, "not ok 1 waits/punch/splice/mapped # TIMEOUT"),
            (Verdict::Fail, Some("skips x"), "not ok 1 waits/punch/splice/mapped # FAIL skips x"),
            (
                Verdict::XPass,
                Some("a # SKIP"),
                "not ok 1 waits/punch/splice/mapped # XPASS a - SKIP",
            ),
        ] {
            assert_eq!(line(1, &outcome(verdict, 0, reason)), expected);
        }
    }

    #[test]
    fn iterations_have_names_of_their_own() {
        let second = outcome(Verdict::Pass, 1, None);
        assert_eq!(line(2, &second), "ok 2 waits/punch/splice/mapped (iteration 2)");
    }

    fn told(plan: Plan, events: Vec<RunEvent>) -> String {
        let mut ktap = Ktap::to(Vec::new());
        let machine = Machine { kernel: "6.12".to_owned(), ..Machine::default() };
        let mut history = History::default();
        for event in std::iter::once(RunEvent::Begun { plan: plan.into(), machine }).chain(events) {
            let entry = Entry::now(event);
            history.add(&entry);
            ktap.entry(&entry, &history);
        }
        ktap.finish(&history, Path::new("results"));
        String::from_utf8(ktap.out).unwrap()
    }

    #[test]
    fn what_went_wrong_outside_of_cases_fails_the_run() {
        let trouble = RunEvent::Trouble(Problem::new(
            Witness::Case,
            "xfs_repair found damage",
            "bad\rok 9 x",
        ));
        let text =
            told(plan::example(), vec![trouble, RunEvent::Wedged { why: "task 1".to_owned() }]);
        assert_eq!(
            text,
            "KTAP version 1\n\
             1..3\n\
             # xfs on Linux 6.12, seed 7\n\
             # xfs_repair found damage\n\
             #   bad ok 9 x\n  \
               KTAP version 1\n  \
               # Subtest: run\n  \
               1..2\n  \
               not ok 1 trouble-1 # FAIL xfs_repair found damage\n  \
               not ok 2 incomplete # FAIL INCOMPLETE: 0 of 2: the machine needs a reboot: task 1\n\
             not ok 1 run\n\
             Bail out! the machine needs a reboot: task 1\n"
        );
    }

    #[test]
    fn an_open_end_needs_no_late_plan() {
        let plan = Plan { iterations: None, until_fail: true, ..plan::example() };
        let text = told(plan, vec![RunEvent::CaseEnded(Box::new(outcome(Verdict::Fail, 0, None)))]);
        assert!(
            text.starts_with(
                "KTAP version 1\n1..2\n  KTAP version 1\n  # Subtest: cases\n  # xfs on Linux \
                 6.12, seed 7\n  not ok 1 waits/punch/splice/mapped # FAIL\nnot ok 1 cases\n"
            ),
            "{text}"
        );
    }
}
