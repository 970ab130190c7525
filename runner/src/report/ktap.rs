//! KTAP, the kernel's test protocol (Documentation/dev-tools/ktap.rst), for kernel test robots.

use std::io::Write as _;

use super::Reporter;
use crate::history::History;
use crate::journal::{Entry, Event, Outcome};
use crate::print;
use crate::verdict::Verdict;

/// Prints the run as KTAP.
#[derive(Debug, Default)]
pub(crate) struct Ktap {
    number: usize,
}

impl Ktap {
    fn say(line: &str) {
        // Whoever stopped reading does not want more; the journal has it all.
        let _ = writeln!(print::Stdout, "{line}");
    }
}

impl Reporter for Ktap {
    fn entry(&mut self, entry: &Entry, history: &History) {
        match &entry.event {
            Event::Begun { plan, machine } => {
                Self::say("KTAP version 1");
                Self::say(&format!("# {} on Linux {}", plan.fs.name(), machine.kernel));
                if let Some(iterations) = plan.iterations {
                    Self::say(&format!("1..{}", plan.cases.len() as u64 * iterations));
                }
            }
            Event::CaseEnded(outcome) => {
                self.number += 1;
                for problem in &outcome.problems {
                    Self::say(&format!("# {}", problem.title));
                    for line in problem.text.lines() {
                        Self::say(&format!("#   {line}"));
                    }
                }
                Self::say(&line(self.number, outcome));
            }
            Event::Wedged { why } => {
                Self::say(&format!("Bail out! the machine needs a reboot: {why}"));
            }
            Event::Ended { .. }
                if history.plan.as_ref().is_some_and(|p| p.iterations.is_none()) =>
            {
                Self::say(&format!("1..{}", self.number));
            }
            _ => {}
        }
    }
}

fn line(number: usize, outcome: &Outcome) -> String {
    let result = if outcome.verdict.needs_attention() { "not ok" } else { "ok" };
    let directive = match outcome.verdict {
        Verdict::NotRun => "SKIP",
        Verdict::XFail => "XFAIL",
        Verdict::Hang => "TIMEOUT",
        Verdict::Error => "ERROR",
        _ => "",
    };
    let gist = outcome.gist().unwrap_or_default().replace('\n', " ");
    let mut line = format!("{result} {number} {}", outcome.case);
    if !directive.is_empty() || !gist.is_empty() {
        line = format!("{line} # {directive} {gist}").replace("#  ", "# ");
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_their_directives() {
        let outcome = |verdict, reason: Option<&str>| Outcome {
            case: "pin/punch-waits".to_owned(),
            iteration: 0,
            verdict,
            seconds: 1.0,
            reason: reason.map(str::to_owned),
            problems: Vec::new(),
            notes: Vec::new(),
            folder: None,
        };
        for (verdict, reason, expected) in [
            (Verdict::Pass, None, "ok 1 pin/punch-waits"),
            (Verdict::NotRun, Some("needs uring"), "ok 1 pin/punch-waits # SKIP needs uring"),
            (Verdict::Hang, None, "not ok 1 pin/punch-waits # TIMEOUT"),
            (Verdict::Fail, Some("x"), "not ok 1 pin/punch-waits # x"),
        ] {
            assert_eq!(line(1, &outcome(verdict, reason)), expected);
        }
    }
}
