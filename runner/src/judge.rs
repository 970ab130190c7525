//! From what was observed of a case to its verdict, in one step.
//!
//! First everything that went wrong is listed, whoever reports it; then it is measured against what
//! is known of the kernel. Nobody changes a verdict afterwards.

use cases::Ending;

use crate::alarm::alarms;
use crate::evidence::Evidence;
use crate::expected;
use crate::known::{Deviation, excuse};
use crate::verdict::{Problem, Verdict, Witness};
use crate::watch::ChildEnd;

/// What a case is measured against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure<'m> {
    /// The case's name.
    pub(crate) case: &'m str,
    /// Its golden transcript.
    pub(crate) golden: Option<&'m str>,
    /// Parts of the titles of what the kernel says because the case has it do so.
    pub(crate) provokes: &'static [&'static str],
    /// The deviations that are known of it here.
    pub(crate) known: &'m [&'m Deviation],
    /// Whether a case that cannot run is an error.
    pub(crate) require: bool,
    /// Whether the transcript of a case that went well becomes the golden one.
    pub(crate) bless: bool,
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
    /// The id of the find that decided it.
    pub(crate) find: Option<String>,
}

/// The verdict on a case.
pub(crate) fn judge(evidence: &Evidence, measure: &Measure) -> Judgement {
    let problems = problems(evidence, measure);
    let (verdict, reason) = observed(evidence, &problems);
    let judged = weigh(verdict, problems, reason, measure.known);
    match judged.verdict {
        // What is missing may be what nobody expects.
        Verdict::Pass | Verdict::NotRun | Verdict::XFail if evidence.log.lost > 0 => Judgement {
            verdict: Verdict::Error,
            reason: Some(format!(
                "the kernel log overflowed, {} records were lost; a larger log_buf_len helps",
                evidence.log.lost
            )),
            ..judged
        },
        Verdict::NotRun if measure.require => Judgement {
            verdict: Verdict::Error,
            reason: judged.reason.map(|reason| format!("required, but did not run: {reason}")),
            ..judged
        },
        _ => judged,
    }
}

/// The verdict on a case that nobody saw the end of: the machine went down, which may be known of it.
pub(crate) fn judge_died(problems: Vec<Problem>, known: &[&Deviation]) -> Judgement {
    weigh(Verdict::Fail, problems, None, known)
}

/// Whether anything speaks against the case, known or not: then its file system is looked at, too.
pub(crate) fn is_doubtful(evidence: &Evidence, measure: &Measure) -> bool {
    !evidence.is_content() || evidence.log.lost > 0 || !problems(evidence, measure).is_empty()
}

/// What is left of a verdict where deviations are known.
fn weigh(
    verdict: Verdict,
    problems: Vec<Problem>,
    reason: Option<String>,
    known: &[&Deviation],
) -> Judgement {
    let (verdict, entry) = excuse(verdict, &problems, known);
    let reason = match entry {
        Some(entry) => Some(entry.reason.clone()),
        None => reason,
    };
    Judgement { verdict, problems, reason, find: entry.map(|entry| entry.id.clone()) }
}

/// Everything that went wrong.
fn problems(evidence: &Evidence, measure: &Measure) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(said(evidence));
    problems.extend(left(evidence));
    let own = |title: &str| measure.provokes.iter().any(|part| title.contains(part));
    problems.extend(alarms(&evidence.log).into_iter().filter(|problem| !own(&problem.title)));
    problems.extend(transcript(evidence, measure));
    problems.extend(evidence.check.clone());
    // The case may not see a deviation each time that it happens; the rules do.
    problems.extend(evidence.found());
    problems.extend(
        evidence.watched.wedged.as_ref().map(|what| {
            Problem::new(Witness::Wedge, "the case left what only a reboot undoes", what)
        }),
    );
    problems
}

/// How the case went, all that speaks against it considered, and why if nothing does.
fn observed(evidence: &Evidence, problems: &[Problem]) -> (Verdict, Option<String>) {
    let well = |verdict, reason| match &evidence.watched.left {
        // What the case said of itself stands, unless it does not end.
        Some(left) if left.own => (Verdict::Hang, None),
        _ if problems.is_empty() => (verdict, reason),
        _ => (Verdict::Fail, reason),
    };
    match &evidence.watched.end {
        ChildEnd::Said(Ending::Pass) => well(Verdict::Pass, None),
        ChildEnd::Said(Ending::NotRun(why)) => well(Verdict::NotRun, Some(why.clone())),
        ChildEnd::Said(Ending::Fail(_)) => (Verdict::Fail, None),
        ChildEnd::Said(Ending::Hang(_)) | ChildEnd::Late(_) => (Verdict::Hang, None),
        ChildEnd::Said(Ending::Error(why)) => (Verdict::Error, Some(why.clone())),
        ChildEnd::Died(how) => {
            // An oops kills the task that ran into it: that is the kernel's failure.
            let oops = problems.iter().any(|problem| problem.witness == Witness::KernelLog);
            let verdict = if oops { Verdict::Fail } else { Verdict::Error };
            (verdict, Some(format!("the case's process: {how}")))
        }
        ChildEnd::Interrupted => well(Verdict::NotRun, Some("interrupted by the user".to_owned())),
    }
}

/// What the case itself, or its end, says.
fn said(evidence: &Evidence) -> Option<Problem> {
    let watched = &evidence.watched;
    let stacks = watched.stacks.as_deref().unwrap_or_default();
    match &watched.end {
        ChildEnd::Said(Ending::Fail(text)) => Some(Problem::new(Witness::Case, gist(text), text)),
        ChildEnd::Said(Ending::Hang(text)) => {
            Some(Problem::new(Witness::Case, gist(text), format!("{text}\n\n{stacks}")))
        }
        ChildEnd::Late(limit) => {
            let title = format!("did not return within {} s", limit.as_secs_f64());
            Some(Problem::new(Witness::Deadline, title, stacks))
        }
        ChildEnd::Died(_) if !watched.stderr.trim().is_empty() => {
            let last = watched.stderr.trim();
            Some(Problem::new(Witness::Stderr, "what it wrote to standard error", last))
        }
        _ => None,
    }
}

/// What it left running.
fn left(evidence: &Evidence) -> Option<Problem> {
    let left = evidence.watched.left.as_ref()?;
    let what = if left.own {
        "the case ended and its process did not"
    } else {
        "the case left tasks behind"
    };
    let stacks = evidence.watched.stacks.as_deref().unwrap_or_default();
    let waited = left.waited.as_secs_f64();
    let text = format!("{waited} s later there is still {}\n\n{stacks}", left.tasks);
    Some(Problem::new(Witness::Tasks, what, text))
}

/// How the transcript differs from what it must be: all of it of a case that passed, what there is
/// of one that failed.
fn transcript(evidence: &Evidence, measure: &Measure) -> Option<Problem> {
    let watched = &evidence.watched;
    let whole = match &watched.end {
        ChildEnd::Said(Ending::Pass) => !watched.left.as_ref().is_some_and(|left| left.own),
        ChildEnd::Said(Ending::Fail(_) | Ending::Hang(_))
        | ChildEnd::Late(_)
        | ChildEnd::Died(_) => false,
        ChildEnd::Said(Ending::NotRun(_) | Ending::Error(_)) | ChildEnd::Interrupted => {
            return None;
        }
    };
    if whole && measure.bless {
        return None;
    }
    let file = expected::file(measure.case);
    let (what, seen) = expected::compared(measure.case, &watched.transcript, &watched.observed);
    // What is observed is written before it is judged: the last line is what the case failed for,
    // and has been told.
    let seen = match watched.end {
        ChildEnd::Said(Ending::Fail(_)) => without_last_line(seen),
        _ => seen,
    };
    let Some(golden) = measure.golden else {
        return whole.then(|| {
            Problem::new(
                Witness::Transcript,
                format!("{file} has no entry for {}", measure.case),
                format!("--bless expected writes {what} there:\n\n{seen}"),
            )
        });
    };
    let difference = expected::difference(golden, seen, whole)?;
    let title = format!("{what} differs from {file}");
    Some(Problem::new(Witness::Transcript, title, difference))
}

fn without_last_line(text: &str) -> &str {
    let end = text.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
    &text[..end]
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
    use crate::fs::FsType;
    use crate::kmsg::{KernelLog, Record};
    use crate::known::Deviations;
    use crate::target::Target;
    use crate::trace::Traced;
    use crate::watch::{Left, Watched};
    use protocol::{How, Rule};
    use std::time::Duration;

    fn watched(end: ChildEnd) -> Watched {
        Watched {
            transcript: "a\nb\n".to_owned(),
            took: Duration::from_secs(1),
            ..Watched::of(end)
        }
    }

    const PLAIN: Measure<'_> = Measure {
        case: "pin/x",
        golden: None,
        provokes: &[],
        known: &[],
        require: false,
        bless: false,
    };

    fn judged(watched: &Watched, log: &str, golden: Option<&str>) -> Judgement {
        let mut evidence = Evidence::of(watched.clone());
        evidence.add_log(log_of(log, 0));
        judge(&evidence, &Measure { golden, ..PLAIN })
    }

    fn traced(text: &str) -> Option<Traced> {
        let (rule, text) = text.split_once(": ")?;
        let rule = *Rule::ALL.iter().find(|known| known.name() == rule).unwrap();
        Some(Traced::with(protocol::Finding {
            rule,
            how: *How::ALL.iter().find(|how| how.rule() == rule).unwrap(),
            tasks: vec![7],
            device: 0,
            inode: 131,
            page: 1,
            index: Some(2),
            function: None,
            events: Vec::new(),
            absence: false,
            text: text.to_owned(),
        }))
    }

    fn log_of(text: &str, lost: u64) -> KernelLog {
        let records =
            text.lines().map(|line| Record { time: 0, level: 4, text: line.to_owned() }).collect();
        KernelLog { records, lost }
    }

    #[test]
    fn what_the_tracer_finds_beside_a_known_failure_must_be_known_too() {
        let deviations = Deviations::built_in("6.1.0").unwrap();
        let target = Target { fs: FsType::Xfs, ..Target::reference() };
        let known = deviations.of(cases::find("livelock/aio-dio-punch").unwrap(), &target).unwrap();
        assert!(!known.is_empty());
        let failed = watched(ChildEnd::Said(Ending::Fail(
            "expected: it ends\nseen: it had not ended after 9 s".to_owned(),
        )));
        let judged = |finding: &str, lost| {
            let mut evidence = Evidence::of(failed.clone());
            evidence.add_log(log_of("", lost));
            evidence.traced = traced(finding);
            judge(&evidence, &Measure { golden: Some("a\nb\n"), known: &known, ..PLAIN })
        };
        assert_eq!(judged("", 0).verdict, Verdict::XFail);
        let unknown = "missed wait: task 7 freed the block of page 0x1 while it was pinned";
        let seen = judged(unknown, 0);
        assert_eq!((seen.verdict, seen.reason), (Verdict::Fail, None));
        let found = seen.problems.iter().find(|problem| problem.title == unknown).unwrap();
        let finding = found.finding.as_ref().unwrap();
        assert_eq!((finding.rule, &finding.tasks[..]), (Rule::MissedWait, &[7][..]));
        assert_eq!((finding.inode, finding.page, finding.index), (Some(131), Some(1), Some(2)));
        assert_eq!(judged("", 3).verdict, Verdict::Error);
    }

    #[test]
    fn what_the_tracer_finds_fails_a_case_that_was_content() {
        let mut evidence = Evidence::of(watched(ChildEnd::Said(Ending::Pass)));
        evidence.traced = traced("livelock: it spins");
        let measure = Measure { golden: Some("a\nb\n"), ..PLAIN };
        assert_eq!(judge(&evidence, &measure).verdict, Verdict::Fail);
        assert!(is_doubtful(&evidence, &measure));
    }

    #[test]
    fn a_case_that_did_as_expected_passes() {
        let seen = judged(&watched(ChildEnd::Said(Ending::Pass)), "", Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Pass);
        assert!(seen.problems.is_empty());
    }

    #[test]
    fn a_warning_fails_a_case_that_was_content() {
        let log = "WARNING: CPU: 0 PID: 1 at fs/dax.c:390 dax_disassociate_entry+0x1/0x2";
        let seen = judged(&watched(ChildEnd::Said(Ending::Pass)), log, Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "WARNING in dax_disassociate_entry");
    }

    #[test]
    fn a_different_or_missing_transcript_fails() {
        let passed = watched(ChildEnd::Said(Ending::Pass));
        let seen = judged(&passed, "", Some("a\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert!(seen.problems[0].text.contains("-c\n+b"));
        let seen = judged(&passed, "", None);
        assert_eq!(seen.verdict, Verdict::Fail);
        assert!(seen.problems[0].text.contains("--bless"));
    }

    #[test]
    fn a_failure_is_one_problem_if_it_began_as_expected() {
        let text = "expected: it waits\nseen: it returned\nlook at: the break".to_owned();
        let failed = watched(ChildEnd::Said(Ending::Fail(text)));
        let seen = judged(&failed, "", Some("a\nb\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems.len(), 1);
        assert_eq!(seen.problems[0].title, "expected: it waits; seen: it returned");
        // The last line is what it failed for.
        assert_eq!(judged(&failed, "", Some("a\nx\nc\n")).problems.len(), 1);
        assert_eq!(judged(&failed, "", Some("x\nb\n")).problems.len(), 2);
    }

    #[test]
    fn late_is_a_hang_and_death_is_an_error() {
        let late = judged(&watched(ChildEnd::Late(Duration::from_mins(1))), "", None);
        assert_eq!(late.verdict, Verdict::Hang);
        assert_eq!(late.problems[0].title, "did not return within 60 s");
        let died = judged(&watched(ChildEnd::Died("killed by SIGSEGV".to_owned())), "", None);
        assert_eq!(died.verdict, Verdict::Error);
        assert!(died.reason.unwrap().contains("SIGSEGV"));
    }

    #[test]
    fn what_lingers_is_a_problem_of_its_own() {
        let waited = Duration::from_secs(21);
        let left = Left { tasks: "task 7 (D)".to_owned(), waited, own: true };
        let text = "expected: it waits\nseen: it returned".to_owned();
        let failed =
            Watched { left: Some(left.clone()), ..watched(ChildEnd::Said(Ending::Fail(text))) };
        let seen = judged(&failed, "", Some("a\nb\nc\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "expected: it waits; seen: it returned");
        assert_eq!(seen.problems[1].title, "the case ended and its process did not");
        assert!(seen.problems[1].text.starts_with("21 s later there is still task 7 (D)"));

        let passed = Watched { left: Some(left.clone()), ..watched(ChildEnd::Said(Ending::Pass)) };
        assert_eq!(judged(&passed, "", Some("a\nb\n")).verdict, Verdict::Hang);
        let orphan = Watched {
            left: Some(Left { own: false, ..left }),
            ..watched(ChildEnd::Said(Ending::Pass))
        };
        let seen = judged(&orphan, "", Some("a\nb\n"));
        assert_eq!(seen.verdict, Verdict::Fail);
        assert_eq!(seen.problems[0].title, "the case left tasks behind");
    }

    #[test]
    fn a_log_with_a_hole_proves_nothing() {
        let passed = watched(ChildEnd::Said(Ending::Pass));
        let mut evidence = Evidence::of(passed);
        evidence.add_log(log_of("", 3));
        let seen = judge(&evidence, &Measure { golden: Some("a\nb\n"), ..PLAIN });
        assert_eq!(seen.verdict, Verdict::Error);
        assert!(seen.reason.unwrap().contains("3 records"));
    }

    #[test]
    fn required_cases_must_run() {
        let skipped = watched(ChildEnd::Said(Ending::NotRun("needs uring: disabled".to_owned())));
        let evidence = Evidence::of(skipped);
        assert_eq!(judge(&evidence, &PLAIN).verdict, Verdict::NotRun);
        let seen = judge(&evidence, &Measure { require: true, ..PLAIN });
        assert_eq!(seen.verdict, Verdict::Error);
        assert!(seen.reason.unwrap().contains("needs uring"));
    }

    #[test]
    fn what_cannot_be_undone_is_known_only_where_that_is_said() {
        let stuck = Watched {
            wedged: Some("task 7 (D)".to_owned()),
            ..watched(ChildEnd::Said(Ending::Hang("sent SIGKILL, did not return".to_owned())))
        };
        let deviations = Deviations::built_in("7.2.0").unwrap();
        let all = deviations.all();
        let wedging: Vec<_> = all.iter().filter(|known| known.wedges).collect();
        let evidence = Evidence::of(stuck);
        let measure = Measure { known: &wedging, ..PLAIN };
        assert_eq!(judge(&evidence, &measure).verdict, Verdict::XFail);
        assert_eq!(judge(&evidence, &PLAIN).verdict, Verdict::Hang);
    }
}
