//! From what was seen of a case to its verdict.

use cases::{Case, Ending};

use crate::alarm::alarms;
use crate::expected;
use crate::kmsg::Log;
use crate::known::{Known, excuse};
use crate::verdict::{Problem, Verdict};
use crate::watch::{End, Watched};

/// All that is known about one execution of a case.
pub(crate) struct Evidence<'e> {
    /// The case.
    pub(crate) case: &'e Case,
    /// What was seen of it.
    pub(crate) watched: &'e Watched,
    /// What the kernel logged meanwhile.
    pub(crate) log: &'e Log,
    /// What the check of the file system said afterwards, if it was made.
    pub(crate) check: Option<&'e Problem>,
    /// What was traced of it.
    pub(crate) traced: &'e [Problem],
    /// Its golden transcript.
    pub(crate) golden: Option<&'e str>,
}

/// What follows from the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// What went wrong.
    pub(crate) problems: Vec<Problem>,
    /// Why it is NOTRUN, XFAIL, XPASS or ERROR.
    pub(crate) reason: Option<String>,
}

impl Evidence<'_> {
    /// The verdict, where the deviations `known` apply. `require` makes NOTRUN an error;
    /// `bless` takes the transcript of a case that went well for the golden one.
    pub(crate) fn judge(&self, known: &[&Known], require: bool, bless: bool) -> Judgement {
        let mut problems = Vec::new();
        let (mut verdict, reason) = self.said(&mut problems);
        let alarms = alarms(self.log);
        if matches!(self.watched.end, End::Died(_)) && !alarms.is_empty() {
            // An oops kills the task that ran into it: that is the kernel's failure.
            verdict = Verdict::Fail;
        }
        problems.extend(alarms);
        for (rule, text) in &self.watched.findings {
            match problems.iter_mut().find(|problem| problem.title == *rule) {
                Some(problem) => problem.text = format!("{}\n{text}", problem.text),
                None => problems.push(Problem::new(rule, text)),
            }
        }
        if let Some(problem) = self.transcript(verdict, bless) {
            problems.push(problem);
        }
        problems.extend(self.check.cloned());
        // The case may not see a deviation each time that it happens; the tracer did.
        problems.extend_from_slice(self.traced);
        if let Some(wedged) = &self.watched.wedged
            && !known.iter().any(|known| known.wedges)
        {
            problems.push(Problem::new("the case leaves what cannot be undone", wedged));
        }
        if matches!(verdict, Verdict::Pass | Verdict::NotRun) && !problems.is_empty() {
            verdict = Verdict::Fail;
        }
        let (verdict, entry) = excuse(verdict, &problems, known);
        let reason = match (verdict, entry) {
            (Verdict::XFail | Verdict::XPass, Some(entry)) => Some(entry.reason.clone()),
            _ => reason,
        };
        match verdict {
            // What is missing may be what nobody expects.
            Verdict::Pass | Verdict::NotRun | Verdict::XFail if self.log.lost > 0 => Judgement {
                verdict: Verdict::Error,
                problems,
                reason: Some(format!(
                    "the kernel log overflowed, {} records were lost; a larger log_buf_len helps",
                    self.log.lost
                )),
            },
            Verdict::NotRun if require => Judgement {
                verdict: Verdict::Error,
                problems,
                reason: reason.map(|reason| format!("not run, but required to: {reason}")),
            },
            _ => Judgement { verdict, problems, reason },
        }
    }

    /// What the case itself and its process say.
    fn said(&self, problems: &mut Vec<Problem>) -> (Verdict, Option<String>) {
        let stacks = self.watched.stacks.as_deref().unwrap_or_default();
        let (verdict, reason) = self.ended(problems, stacks);
        let Some(left) = &self.watched.left else {
            return (verdict, reason);
        };
        let what = if left.own {
            "the case ended and its process did not"
        } else {
            "the case leaves tasks behind"
        };
        let text =
            format!("{} s later there is still {}\n\n{stacks}", left.waited.as_secs(), left.tasks);
        problems.push(Problem::new(what, text));
        // What the case said of itself stands.
        match verdict {
            Verdict::Pass | Verdict::NotRun if left.own => (Verdict::Hang, None),
            other => (other, reason),
        }
    }

    /// How the case ended.
    fn ended(&self, problems: &mut Vec<Problem>, stacks: &str) -> (Verdict, Option<String>) {
        match &self.watched.end {
            End::Said(Ending::Pass) => (Verdict::Pass, None),
            End::Said(Ending::NotRun(why)) => (Verdict::NotRun, Some(why.clone())),
            End::Said(Ending::Fail(text)) => {
                problems.push(Problem::new(gist(text), text));
                (Verdict::Fail, None)
            }
            End::Said(Ending::Hang(text)) => {
                problems.push(Problem::new(gist(text), format!("{text}\n\n{stacks}")));
                (Verdict::Hang, None)
            }
            End::Said(Ending::Error(why)) => (Verdict::Error, Some(why.clone())),
            End::Late(limit) => {
                problems
                    .push(Problem::new(format!("not back within {} s", limit.as_secs()), stacks));
                (Verdict::Hang, None)
            }
            End::Died(how) => {
                let last = self.watched.stderr.trim();
                let reason = format!("the case's process: {how}");
                if !last.is_empty() {
                    problems.push(Problem::new("what it wrote to standard error", last));
                }
                (Verdict::Error, Some(reason))
            }
            End::Interrupted => (Verdict::NotRun, Some("interrupted by the user".to_owned())),
        }
    }

    fn transcript(&self, verdict: Verdict, bless: bool) -> Option<Problem> {
        let whole = match verdict {
            Verdict::Pass => true,
            Verdict::Fail | Verdict::Hang => false,
            _ => return None,
        };
        if whole && bless {
            return None;
        }
        let name = self.case.name;
        let Some(golden) = self.golden else {
            return whole.then(|| {
                Problem::new(
                    format!("no transcript expected/{name}.out"),
                    format!(
                        "--bless DIR writes what the case printed to DIR/{name}.out:\n\n{}",
                        self.watched.transcript
                    ),
                )
            });
        };
        let difference = expected::difference(golden, &self.watched.transcript, whole)?;
        Some(Problem::new(format!("the transcript differs from expected/{name}.out"), difference))
    }
}

/// How long a title may be.
const TITLE: usize = 200;

/// The part of a failure's text that says what it is: "expected: ...; seen: ...".
pub(crate) fn gist(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let said: Vec<_> = lines
        .enumerate()
        .take_while(|(index, line)| *index == 0 || line.starts_with("seen: "))
        .map(|(_, line)| line.trim())
        .collect();
    let mut title: String = said.join("; ");
    if title.chars().count() > TITLE {
        title = title.chars().take(TITLE).collect();
        title.push_str("...");
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmsg::Record;
    use crate::known::Deviations;
    use crate::plan::Fs;
    use crate::watch::Left;
    use std::time::Duration;

    fn watched(end: End) -> Watched {
        Watched {
            end,
            transcript: "a\nb\n".to_owned(),
            notes: Vec::new(),
            findings: Vec::new(),
            stderr: String::new(),
            took: Duration::from_secs(1),
            stacks: None,
            left: None,
            wedged: None,
        }
    }

    fn judge(watched: &Watched, log: &str, golden: Option<&str>) -> Judgement {
        let log = log_of(log, 0);
        let case = cases::all()[0];
        let evidence = Evidence { case, watched, log: &log, check: None, traced: &[], golden };
        evidence.judge(&[], false, false)
    }

    fn log_of(text: &str, lost: u64) -> Log {
        let records =
            text.lines().map(|line| Record { time: 0, level: 4, text: line.to_owned() }).collect();
        Log { records, lost }
    }

    #[test]
    fn what_the_tracer_finds_beside_a_known_failure_must_be_known_too() {
        let deviations = Deviations::built_in("6.1.0").unwrap();
        let known = deviations.of("livelock/aio-dio-punch", Fs::Xfs).unwrap();
        assert!(!known.is_empty());
        let failed = watched(End::Said(Ending::Fail(
            "expected: it ends\nseen: it had not ended after 9 s".to_owned(),
        )));
        let judged = |finding: &str, lost| {
            let traced: Vec<_> = Some(finding)
                .filter(|title| !title.is_empty())
                .map(|title| Problem::traced(title, ""))
                .into_iter()
                .collect();
            Evidence {
                case: cases::all()[0],
                watched: &failed,
                log: &log_of("", lost),
                check: None,
                traced: &traced,
                golden: Some("a\nb\n"),
            }
            .judge(&known, false, false)
        };
        assert_eq!(judged("", 0).verdict, Verdict::XFail);
        let unknown = "missed wait: task 7 freed the block of page 0x1 while it was pinned";
        let seen = judged(unknown, 0);
        assert_eq!((seen.verdict, seen.reason), (Verdict::Fail, None));
        assert!(seen.problems.iter().any(|problem| problem.title == unknown));
        assert_eq!(judged("", 3).verdict, Verdict::Error);
    }

    #[test]
    fn what_the_tracer_finds_fails_a_case_that_was_content() {
        let passed = watched(End::Said(Ending::Pass));
        let traced = [Problem::traced("livelock: it spins", "")];
        let (case, log, golden) = (cases::all()[0], log_of("", 0), Some("a\nb\n"));
        let evidence =
            Evidence { case, watched: &passed, log: &log, check: None, traced: &traced, golden };
        assert_eq!(evidence.judge(&[], false, false).verdict, Verdict::Fail);
    }

    #[test]
    fn a_case_that_did_as_expected_passes() {
        let seen = judge(&watched(End::Said(Ending::Pass)), "", Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Pass);
        assert!(seen.problems.is_empty());
    }

    #[test]
    fn a_warning_fails_a_case_that_was_content() {
        let log = "WARNING: CPU: 0 PID: 1 at fs/dax.c:390 dax_disassociate_entry+0x1/0x2";
        let seen = judge(&watched(End::Said(Ending::Pass)), log, Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "WARNING in dax_disassociate_entry");
    }

    #[test]
    fn a_different_or_missing_transcript_fails() {
        let passed = watched(End::Said(Ending::Pass));
        let seen = judge(&passed, "", Some("a\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert!(seen.problems[0].text.contains("-c\n+b"));
        let seen = judge(&passed, "", None);
        assert_eq!(seen.verdict, Verdict::Fail);
        assert!(seen.problems[0].text.contains("--bless"));
    }

    #[test]
    fn a_failure_is_one_problem_if_it_began_as_expected() {
        let text = "expected: it waits\nseen: it returned\nlook at: the break".to_owned();
        let failed = watched(End::Said(Ending::Fail(text)));
        let seen = judge(&failed, "", Some("a\nb\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems.len(), 1);
        assert_eq!(seen.problems[0].title, "expected: it waits; seen: it returned");
        assert_eq!(judge(&failed, "", Some("x\n")).problems.len(), 2);
    }

    #[test]
    fn late_is_a_hang_and_death_is_an_error() {
        let late = judge(&watched(End::Late(Duration::from_mins(1))), "", None);
        assert_eq!(late.verdict, Verdict::Hang);
        assert_eq!(late.problems[0].title, "not back within 60 s");
        let died = judge(&watched(End::Died("killed by SIGSEGV".to_owned())), "", None);
        assert_eq!(died.verdict, Verdict::Error);
        assert!(died.reason.unwrap().contains("SIGSEGV"));
    }

    #[test]
    fn what_lingers_is_a_problem_of_its_own() {
        let waited = Duration::from_secs(21);
        let left = Left { tasks: "task 7 (D)".to_owned(), waited, own: true };
        let text = "expected: it waits\nseen: it returned".to_owned();
        let failed = Watched { left: Some(left.clone()), ..watched(End::Said(Ending::Fail(text))) };
        let seen = judge(&failed, "", Some("a\nb\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "expected: it waits; seen: it returned");
        assert_eq!(seen.problems[1].title, "the case ended and its process did not");
        assert!(seen.problems[1].text.starts_with("21 s later there is still task 7 (D)"));

        let passed = Watched { left: Some(left.clone()), ..watched(End::Said(Ending::Pass)) };
        assert_eq!(judge(&passed, "", Some("a\nb\n")).verdict, Verdict::Hang);
        let orphan =
            Watched { left: Some(Left { own: false, ..left }), ..watched(End::Said(Ending::Pass)) };
        let seen = judge(&orphan, "", Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "the case leaves tasks behind");
    }

    #[test]
    fn a_log_with_a_hole_proves_nothing() {
        let passed = watched(End::Said(Ending::Pass));
        let seen = Evidence {
            case: cases::all()[0],
            watched: &passed,
            log: &Log { records: Vec::new(), lost: 3 },
            check: None,
            traced: &[],
            golden: Some("a\nb\n"),
        }
        .judge(&[], false, false);
        assert_eq!(seen.verdict, Verdict::Error);
        assert!(seen.reason.unwrap().contains("3 records"));
    }

    #[test]
    fn required_cases_must_run() {
        let skipped = watched(End::Said(Ending::NotRun("needs uring: disabled".to_owned())));
        let log = Log::default();
        let evidence = Evidence {
            case: cases::all()[0],
            watched: &skipped,
            log: &log,
            check: None,
            traced: &[],
            golden: None,
        };
        assert_eq!(evidence.judge(&[], false, false).verdict, Verdict::NotRun);
        assert_eq!(evidence.judge(&[], true, false).verdict, Verdict::Error);
    }
}
