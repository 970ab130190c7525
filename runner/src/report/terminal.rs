//! The run on a terminal, or as plain lines where there is none.
//!
//! Colours follow the terminal and NO_COLOR (crate anstream); the progress bar is only there on
//! a terminal (crate indicatif).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regex::Regex;

use super::Reporter;
use crate::history::History;
use crate::journal::{Entry, Event, Outcome};
use crate::judge::gist;
use crate::plan::{Fs, Plan};
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
            Event::Begun { plan, .. } => {
                self.begin(plan);
                self.say(&headline(plan, history));
            }
            Event::Resumed { .. } => {
                if let Some(plan) = &history.plan {
                    self.begin(plan);
                    self.bar.set_position(history.outcomes.len() as u64);
                    self.say(&headline(plan, history));
                    self.say(&format!("resumed after {} results", history.outcomes.len()));
                }
            }
            Event::CaseBegun { case, .. } => self.bar.set_message(case.clone()),
            Event::CaseEnded(outcome) => {
                self.bar.inc(1);
                self.say(&result(outcome));
            }
            Event::Trouble(problem) => {
                let text = indent(&problem_text(problem));
                self.say(&format!("{} {}", word(Verdict::Fail), text.trim_start()));
            }
            Event::Wedged { why } => {
                let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
                self.say(&format!("{red}the machine needs a reboot:{red:#} {why}"));
            }
            Event::Down { why } => self.say(&format!("the machine went down: {why}")),
            Event::Interrupted => self.say("interrupted"),
            Event::Prepared { .. } | Event::Ended { .. } => {}
        }
    }

    fn tick(&mut self, case: &str, age: Duration) {
        let word = if age > SLOW { " (slow)" } else { "" };
        self.bar.set_message(format!("{case} {} s{word}", age.as_secs()));
    }

    fn finish(&mut self, history: &History, folder: &Path) {
        self.bar.finish_and_clear();
        if !history.outcomes.is_empty() {
            print_summary(history, folder);
        }
    }

    fn timeline(&mut self, timeline: &str) {
        print::line(format_args!("\n{timeline}"));
    }
}

/// The summary of a run.
pub(crate) fn print_summary(history: &History, folder: &Path) {
    print::line(summary(history, folder));
}

fn headline(plan: &Plan, history: &History) -> String {
    let on = plan.dev.as_ref().map_or(String::new(), |dev| format!(" on {}", dev.display()));
    let cases = match plan.cases.len() {
        1 => "1 case".to_owned(),
        n => format!("{n} cases"),
    };
    let kernel = match plan.fs {
        Fs::Reference => String::new(),
        Fs::Xfs | Fs::Ext4 => format!(", Linux {}", history.machine.kernel),
    };
    format!(
        "daxtests {}: {cases}, {}{on}{kernel}, seed {}",
        history.machine.runner,
        plan.fs.name(),
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

fn name(outcome: &Outcome) -> String {
    if outcome.iteration == 0 {
        outcome.case.clone()
    } else {
        format!("{} (iteration {})", outcome.case, outcome.iteration + 1)
    }
}

fn result(outcome: &Outcome) -> String {
    let mut text =
        format!("{} {:>8.3} s  {}", word(outcome.verdict), outcome.seconds, name(outcome));
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

fn summary(history: &History, folder: &Path) -> String {
    let outcomes = history.all_outcomes();
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for outcome in &outcomes {
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
    let mut lines = vec![String::new()];
    let results = match outcomes.len() {
        1 => "1 result".to_owned(),
        n => format!("{n} results"),
    };
    lines.push(format!("{results} in {seconds:.1} s: {}", counted.join(", ")));
    lines.extend(rates(&outcomes));
    lines.extend(attention(history, &outcomes, folder));
    let resume = history.plan.as_ref().and_then(|plan| rerun::resume(plan, folder));
    if let Some(why) = &history.wedged {
        let then = resume.map_or(String::new(), |resume| format!("; after it: {resume}"));
        lines.push(format!("The machine needs a reboot ({why}){then}"));
    } else if history.interrupted {
        let then = resume.map_or(String::new(), |resume| format!("; to go on: {resume}"));
        lines.push(format!("Interrupted{then}"));
    }
    lines.push(format!("Results: {}", folder.display()));
    lines.join("\n")
}

fn attention(history: &History, outcomes: &[Outcome], folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for problem in &history.troubles {
        lines.push(format!("{} {}", word(Verdict::Fail), problem.title));
    }
    // Of what went wrong the same way several times, the first is shown.
    let mut alike: Vec<(&Outcome, usize)> = Vec::new();
    for outcome in outcomes.iter().filter(|o| o.verdict.needs_attention()) {
        let same = |(first, _): &&mut (&Outcome, usize)| {
            (&first.case, first.verdict, first.gist())
                == (&outcome.case, outcome.verdict, outcome.gist())
        };
        match alike.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => alike.push((outcome, 1)),
        }
    }
    for (outcome, count) in alike {
        let gist = outcome.gist().map_or(String::new(), |gist| format!(": {gist}"));
        let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
        lines.push(format!("{} {}{gist}{times}", word(outcome.verdict), name(outcome)));
        if let Some(plan) = &history.plan {
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

/// The pass rate of each case that ran several times.
fn rates(outcomes: &[Outcome]) -> Vec<String> {
    let mut by_case: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let (passed, all) = by_case.entry(&outcome.case).or_default();
        if outcome.verdict == Verdict::Pass {
            *passed += 1;
        }
        if outcome.verdict != Verdict::NotRun {
            *all += 1;
        }
    }
    if outcomes.iter().all(|outcome| outcome.iteration == 0) {
        return Vec::new();
    }
    by_case
        .into_iter()
        .filter(|(_, (_, all))| *all > 0)
        .map(|(case, (passed, all))| {
            #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
            let rate = 100.0 * passed as f64 / all as f64;
            format!("  {passed:>5} of {all} passed ({rate:.1} %)  {case}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

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
            problems: if verdict == Verdict::Fail {
                vec![Problem::new("expected: it waits; seen: it returned", "text")]
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
                outcome("pin/truncate-down-waits", 0, Verdict::Pass),
                outcome("race/retry", 0, Verdict::Fail),
            ],
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
    fn iterations_have_a_pass_rate() {
        let outcomes =
            [outcome("race/retry", 0, Verdict::Pass), outcome("race/retry", 1, Verdict::Fail)];
        assert_eq!(rates(&outcomes), ["      1 of 2 passed (50.0 %)  race/retry"]);
        assert!(rates(&outcomes[..1]).is_empty());
    }
}
