//! The run on a terminal, or as plain lines where there is none.
//!
//! Colours follow the terminal and NO_COLOR (crate anstream); the progress bar is only there on
//! a terminal (crate indicatif).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regex::Regex;

use super::alike::{Alike, alike};
use super::{Reporter, clean};
use crate::exit::Exit;
use crate::history::History;
use crate::journal::{Entry, Outcome, RunEvent};
use crate::judge::gist;
use crate::plan::Plan;
use crate::print;
use crate::rerun;
use crate::verdict::{Problem, Verdict};

/// How many lines of a problem are shown; its folder and the journal have all.
const LINES: usize = 60;

/// Lines of a kernel report that say little at first sight: registers, code bytes, modules, and
/// the frames that the unwinder doubts.
static REGISTERS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^\[[ 0-9.]+\]\s*(?:(?:R[ABCD]X|R[SD]I|R[BS]P|R\d\d|[CDEFGS]S|CR\d|DR\d|PKRU|Code|RIP: 0033)\b.*|Modules linked in: .*|Hardware name: .*| \? .*|</?TASK>)$",
    )
    .expect("it is tested")
});

/// A case that runs longer than this is named slow while it runs.
const SLOW: Duration = Duration::from_secs(15);

/// Shows the run to a person.
#[derive(Debug)]
pub(crate) struct Terminal {
    bar: ProgressBar,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self { bar }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| print::line(text));
    }

    fn begin(&mut self, plan: &Plan) {
        if let Some(iterations) = plan.iterations {
            let length = iterations.saturating_mul(plan.cases.len() as u64);
            self.bar.set_length(length);
            self.bar.set_style(
                ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}")
                    .expect("the template is right"),
            );
        } else {
            self.bar.set_style(
                ProgressStyle::with_template("{pos} {wide_msg}").expect("the template is right"),
            );
        }
    }
}

impl Reporter for Terminal {
    fn entry(&mut self, entry: &Entry, history: &History) {
        match &entry.event {
            RunEvent::Begun { plan, .. } => {
                self.begin(plan);
                self.say(&headline(plan, history));
            }
            RunEvent::Resumed { .. } => {
                if let Some(plan) = &history.plan {
                    self.begin(plan);
                    self.bar.set_position(history.outcomes.len() as u64);
                    self.say(&headline(plan, history));
                    self.say(&format!("resumed after {} results", history.outcomes.len()));
                }
            }
            RunEvent::CaseBegun { case, .. } => self.bar.set_message(case.clone()),
            RunEvent::CaseEnded(outcome) => {
                self.bar.inc(1);
                self.say(&result(outcome));
            }
            RunEvent::CaseCut { case, .. } => self.say(&format!("    CUT  {case}")),
            RunEvent::Trouble(problem) => {
                let text = indent(&problem_text(problem));
                self.say(&format!("{} {}", word(Verdict::Fail), text.trim_start()));
            }
            RunEvent::Wedged { why } => {
                let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
                self.say(&format!("{red}the machine needs a reboot:{red:#} {why}"));
            }
            RunEvent::Silenced { what } => self.say(&format!("note: {what}")),
            RunEvent::Down { why } => self.say(&format!("the machine went down: {why}")),
            RunEvent::Interrupted => self.say("interrupted"),
            RunEvent::Prepared { .. } | RunEvent::Lacking { .. } | RunEvent::Ended(_) => {}
        }
    }

    fn tick(&mut self, case: &str, age: Duration) {
        let word = if age > SLOW { " (slow)" } else { "" };
        self.bar.set_message(format!("{case} {} s{word}", age.as_secs()));
    }

    fn finish(&mut self, history: &History, folder: &Path) {
        self.bar.finish_and_clear();
        // Of a run that could not even begin, main says why.
        if !history.all_outcomes().is_empty() || Exit::of(history) == Exit::NeedsReboot {
            print::line(summary(history, folder));
        }
    }

    fn timeline(&mut self, timeline: &str) {
        print::line(format_args!("\n{timeline}"));
    }
}

/// The summaries of runs that are told together, and their sum.
pub(crate) fn summaries(histories: &[&History]) -> String {
    // Their sources know their folders.
    let nowhere = Path::new("");
    if let [one] = histories {
        return summary(one, nowhere);
    }
    let bold = Style::new().bold();
    let mut text = String::new();
    for history in histories {
        let _ = writeln!(text, "\n{bold}{}{bold:#}{}", history.name(), summary(history, nowhere));
    }
    let outcomes: Vec<_> = histories.iter().flat_map(|history| history.all_outcomes()).collect();
    let bad = histories.iter().filter(|history| Exit::of(history) != Exit::Expected).count();
    let how = match bad {
        0 => "all as expected".to_owned(),
        n => format!("{n} not as expected"),
    };
    let _ = write!(text, "\n{} suites, {how}: {}", histories.len(), counted(&outcomes));
    text
}

fn headline(plan: &Plan, history: &History) -> String {
    let devices: Vec<_> = plan.target.devices.iter().map(|dev| dev.display().to_string()).collect();
    let on = match devices.len() {
        0 => String::new(),
        _ => format!(" on {}", devices.join(" and ")),
    };
    let cases = match plan.cases.len() {
        1 => "1 case".to_owned(),
        n => format!("{n} cases"),
    };
    let kernel = match plan.target.fs.row() {
        None => String::new(),
        Some(_) => format!(", Linux {}", history.machine.kernel),
    };
    format!(
        "daxtests {}: {cases}, {}{on}{kernel}, seed {}",
        history.machine.runner,
        plan.target.name(),
        plan.seed
    )
}

fn style(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::Pass => AnsiColor::Green,
        Verdict::Fail | Verdict::Hang | Verdict::Error | Verdict::XPass => AnsiColor::Red,
        Verdict::XFail | Verdict::NotRun => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

fn word(verdict: Verdict) -> String {
    let style = style(verdict);
    format!("{style}{verdict:>8}{style:#}")
}

fn result(outcome: &Outcome) -> String {
    let mut text =
        format!("{} {:>8.3} s  {}", word(outcome.verdict), outcome.seconds, outcome.title());
    if let Some(reason) = &outcome.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    if outcome.verdict.needs_attention() {
        for problem in &outcome.problems {
            text.push('\n');
            text.push_str(&indent(&problem_text(problem)));
        }
        for (name, value) in &outcome.notes {
            text.push('\n');
            text.push_str(&indent(&format!("{name}: {value}")));
        }
    }
    text
}

fn problem_text(problem: &Problem) -> String {
    // The title of a failure is made of its text's first lines, which are easier to read.
    let mut lines =
        if gist(&problem.text) == problem.title { Vec::new() } else { vec![problem.title.clone()] };
    let margin = if lines.is_empty() { "" } else { "  " };
    let body: Vec<_> =
        problem.text.trim_end().lines().filter(|line| !REGISTERS.is_match(line)).collect();
    for line in body.iter().take(LINES) {
        let style = match line.as_bytes().first() {
            Some(b'+') => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Some(b'-') => Style::new().fg_color(Some(AnsiColor::Red.into())),
            _ => Style::new(),
        };
        lines.push(format!("{margin}{style}{line}{style:#}"));
    }
    if body.len() > LINES {
        lines.push(format!("{margin}({} more lines)", body.len() - LINES));
    }
    lines.join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("           {line}")).collect::<Vec<_>>().join("\n")
}

/// How many results there are and how they are distributed.
fn counted(outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.verdict).or_default() += 1;
    }
    let counted: Vec<_> = Verdict::ALL
        .iter()
        .filter_map(|verdict| Some((verdict, counts.get(verdict)?)))
        .map(|(verdict, count)| {
            let style = style(*verdict);
            format!("{style}{count} {verdict}{style:#}")
        })
        .collect();
    let seconds = outcomes.iter().fold(0.0, |sum, o| sum + o.seconds);
    let results = match outcomes.len() {
        1 => "1 result".to_owned(),
        n => format!("{n} results"),
    };
    let counted =
        if counted.is_empty() { String::new() } else { format!(": {}", counted.join(", ")) };
    format!("{results} in {seconds:.1} s{counted}")
}

/// The summary of a run whose results lie in `folder`.
pub(crate) fn summary(history: &History, folder: &Path) -> String {
    let outcomes = history.all_outcomes();
    let mut lines = vec![String::new(), counted(&outcomes)];
    lines.extend(rates(&outcomes));
    lines.extend(attention(history, &outcomes, folder));
    lines.extend(history.silences().map(|what| format!("Note: {what}")));
    match &history.sources[..] {
        [] => lines.extend(stopped(history, folder)),
        sources => lines.extend(sources.iter().filter_map(|it| stopped(&it.history, &it.folder))),
    }
    let folders: Vec<_> = match &history.sources[..] {
        [] => vec![folder.display().to_string()],
        sources => sources.iter().map(|source| source.folder.display().to_string()).collect(),
    };
    lines.push(format!("Results: {}", folders.join(", ")));
    lines.join("\n")
}

/// What is left to do for a run that stopped early.
fn stopped(run: &History, folder: &Path) -> Option<String> {
    let resume = run.plan.as_ref().and_then(|plan| rerun::resume(plan, folder));
    if let Some(why) = &run.wedged {
        let then = resume.map_or(String::new(), |resume| format!("; after it: {resume}"));
        Some(format!("The machine needs a reboot ({why}){then}"))
    } else if run.interrupted {
        let then = resume.map_or(String::new(), |resume| format!("; to go on: {resume}"));
        Some(format!("Interrupted{then}"))
    } else {
        None
    }
}

fn attention(history: &History, outcomes: &[Outcome], folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(incomplete) = history.incomplete() {
        let red = style(Verdict::Fail);
        lines.push(format!("    {red}{incomplete}{red:#}"));
    }
    for problem in &history.troubles {
        lines.push(format!("{} {}", word(Verdict::Fail), problem.title));
    }
    for Alike { first: outcome, times: count, .. } in alike(outcomes) {
        if !outcome.verdict.needs_attention() {
            continue;
        }
        let gist = outcome.gist().map_or(String::new(), |gist| format!(": {}", clean::line(&gist)));
        let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
        lines.push(format!("{} {}{gist}{times}", word(outcome.verdict), outcome.title()));
        if let Some(plan) = history.plan_of(&outcome.case) {
            let command = rerun::case(plan, &outcome.case, outcome.iteration);
            lines.push(format!("         {command}"));
        }
        if let Some(inside) = &outcome.folder {
            lines.push(format!("         {}", folder.join(inside).display()));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "These need attention:".to_owned());
    }
    lines
}

/// How often each case went as expected, if they ran several times. A known deviation is, and a
/// pass that is not known is not.
fn rates(outcomes: &[Outcome]) -> Vec<String> {
    if outcomes.iter().all(|outcome| outcome.iteration == 0) {
        return Vec::new();
    }
    let mut by_case: BTreeMap<&str, BTreeMap<Verdict, usize>> = BTreeMap::new();
    for outcome in outcomes {
        *by_case.entry(&outcome.case).or_default().entry(outcome.verdict).or_default() += 1;
    }
    by_case
        .into_iter()
        .filter_map(|(case, counts)| {
            let sum = |wanted: &dyn Fn(Verdict) -> bool| -> usize {
                counts.iter().filter(|(verdict, _)| wanted(**verdict)).map(|(_, n)| n).sum()
            };
            let ran = sum(&|verdict| verdict != Verdict::NotRun);
            let good = sum(&|verdict| verdict != Verdict::NotRun && !verdict.needs_attention());
            if ran == 0 {
                return None;
            }
            let each: Vec<_> = Verdict::ALL
                .iter()
                .filter_map(|verdict| Some(format!("{} {}", counts.get(verdict)?, verdict.word())))
                .collect();
            #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
            let rate = 100.0 * good as f64 / ran as f64;
            let each = each.join(", ");
            Some(format!("  {good:>5} of {ran} as expected ({rate:.1} %)  {case}: {each}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::RunEnd;
    use crate::plan;
    use crate::verdict::Witness;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn outcome(case: &str, iteration: u64, verdict: Verdict) -> Outcome {
        Outcome {
            case: case.to_owned(),
            iteration,
            verdict,
            seconds: 1.25,
            reason: None,
            find: None,
            problems: if verdict == Verdict::Fail {
                vec![Problem::new(Witness::Case, "expected: it waits; seen: it returned", "text")]
            } else {
                Vec::new()
            },
            notes: Vec::new(),
            folder: None,
        }
    }

    #[test]
    fn the_summary_says_how_to_run_what_needs_attention() {
        let history = History {
            plan: Some(plan::example()),
            outcomes: vec![
                outcome("waits/truncate-down/splice/mapped", 0, Verdict::Pass),
                outcome("race/retry", 0, Verdict::Fail),
            ],
            ended: Some(RunEnd { exit: 1, planned: None, finished: None, complete: true }),
            ..History::default()
        };
        assert_eq!(
            plain(&summary(&history, Path::new("daxtests-results"))),
            "\n2 results in 2.5 s:     1 PASS,     1 FAIL\n".replace("    1", "1")
                + "These need attention:\n    \
                FAIL race/retry: expected: it waits; seen: it returned\n         \
                sudo runner --fs xfs --dev /dev/pmem0 --seed 7 race/retry\n\
                Results: daxtests-results"
        );
    }

    #[test]
    fn registers_are_left_to_the_file() {
        let problem = Problem::new(
            Witness::Case,
            "WARNING in dax_disassociate_entry",
            "[   45.838489] WARNING: CPU: 0 PID: 260 at fs/dax.c:390 dax_disassociate_entry+0x86/0xb0\n\
             [   45.845414] Modules linked in: xfs\n\
             [   45.860994] RIP: 0010:dax_disassociate_entry+0x86/0xb0\n\
             [   45.860994] Code: c2 01 48\n\
             [   45.864884] RAX: ffd2f75e44c003c0 RBX: 000000000013020f RCX: 0000000000000002\n\
             [   45.865209] FS:  00007f5c04cc5c00(0000) GS:ff17beff3ca00000(0000)\n\
             [   45.868332]  __dax_invalidate_entry+0x94/0x140\n\
             [   45.872281]  ? arch_exit_to_user_mode_prepare.constprop.0+0x75/0xa0\n\
             [   45.872856] RIP: 0033:0x7f5c04dbf9f0\n",
        );
        let text = plain(&problem_text(&problem));
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn iterations_have_a_rate() {
        let outcomes =
            [outcome("race/retry", 0, Verdict::Pass), outcome("race/retry", 1, Verdict::Fail)];
        assert_eq!(
            rates(&outcomes),
            ["      1 of 2 as expected (50.0 %)  race/retry: 1 PASS, 1 FAIL"]
        );
        assert!(rates(&outcomes[..1]).is_empty());
    }

    #[test]
    fn one_pass_too_many_does_not_make_the_rest_unexpected() {
        let verdict = |n| if n == 7 { Verdict::XPass } else { Verdict::XFail };
        let outcomes: Vec<_> = (0..20).map(|n| outcome("race/retry", n, verdict(n))).collect();
        assert_eq!(
            rates(&outcomes),
            ["     19 of 20 as expected (95.0 %)  race/retry: 1 XPASS, 19 XFAIL"]
        );
    }

    #[test]
    fn a_run_that_was_cut_off_says_so() {
        let history = History {
            plan: Some(plan::example()),
            outcomes: vec![outcome("waits/truncate-down/splice/mapped", 0, Verdict::Pass)],
            ..History::default()
        };
        let text = plain(&summary(&history, Path::new("daxtests-results")));
        assert!(text.contains("\n    INCOMPLETE: 1 of 2: "), "{text}");
    }
}
