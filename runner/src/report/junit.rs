//! The JUnit report, made from the journal alone.
//!
//! Written with junit-report, and then made to keep to Jenkins' schema (junit-10.xsd of its xunit
//! plugin), and, where no case failed twice, to that of Ant's JUnit task. What Jenkins' does not allow
//! is left out: `file`, which GitLab reads, may not stand at a test case, and it links to a file of the
//! repository that the job is of, which is not this one. What the cases measured is in the suite's
//! `system-out`, where both want it.
//!
//! A case is one test case, however often it ran ([`repeated`]).
//!
//! junit-report puts text into CDATA sections and leaves it to the caller that the text may stand
//! there.

mod refine;
mod repeated;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use junit_report::{
    ReportBuilder, TestCase, TestCaseBuilder, TestResult, TestSuite, TestSuiteBuilder,
};

use super::{clean, problems};
use crate::history::History;
use crate::incomplete;
use crate::journal::Outcome;
use crate::plan::Plan;
use crate::verdict::{Problem, Verdict, Witness};
use refine::{Addition, Rerun};
use repeated::Repeated;

/// The report of what was run, a suite each.
pub(crate) fn xml(histories: &[&History]) -> anyhow::Result<Vec<u8>> {
    let (suites, additions): (Vec<_>, Vec<_>) =
        histories.iter().map(|history| suite(history)).unzip();
    let report = ReportBuilder::new().add_testsuites(suites).build();
    let mut plain = Vec::new();
    report.write_xml(&mut plain).map_err(|error| anyhow::anyhow!("the JUnit report: {error}"))?;
    refine::refine(std::str::from_utf8(&plain)?, additions)
}

/// A run, and what junit-report cannot say of it.
fn suite(history: &History) -> (TestSuite, Addition) {
    let place = package(history);
    let mut suite = TestSuiteBuilder::new(&clean::line(&history.name()));
    suite.testsuite.package.clone_from(&place);
    let began = history.began.unwrap_or(SystemTime::UNIX_EPOCH);
    suite.set_timestamp(began.into());
    let mut notes = String::new();
    let outcomes = history.all_outcomes();
    let mut reruns = Vec::new();
    for repeated in Repeated::all(&outcomes) {
        suite.add_testcase(case(&repeated, &place));
        reruns.push(repeated.further().map(|outcome| rerun(&repeated, outcome)).collect());
    }
    for outcome in &outcomes {
        if !outcome.verdict.needs_attention() && !outcome.notes.is_empty() {
            let _ = writeln!(notes, "{}\n{}", outcome.title(), self::notes(outcome, "    "));
        }
    }
    for (number, problem) in (1..).zip(&history.troubles) {
        let name = format!("trouble-{number}");
        suite.add_testcase(of_the_run(&name, Verdict::Fail.word(), problem, &place));
    }
    if let Some(incomplete) = history.incomplete() {
        let name = incomplete::NAME.trim_start_matches("run/");
        let problem = Problem::new(Witness::Run, incomplete.to_string(), "");
        suite.add_testcase(of_the_run(name, "INCOMPLETE", &problem, &place));
    }
    suite.set_system_out(&cdata(&notes));
    let suite = suite.build();
    let skipped = suite.skipped();
    let mut properties = properties(history);
    // Of all runs together.
    properties.push(("results", results(&outcomes)));
    (suite, Addition { properties, skipped, reruns })
}

/// The package of all classes. A dot ends a package's name, so a kernel's release has none.
fn package(history: &History) -> String {
    let on = history.plan.as_ref().map_or("unknown".to_owned(), Plan::configuration);
    let kernel = match history.machine.kernel.as_str() {
        "" => "unknown",
        release => release,
    };
    clean::line(&format!("linux-{}.{on}", kernel.replace('.', "_")))
}

/// What was run on what. Where runs differ that were put together, each is told.
fn properties(history: &History) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, String)> = Vec::new();
    for run in history.runs() {
        for property in properties_of(run) {
            // Beside its like.
            let like = all.iter().rposition(|(name, _)| *name == property.0);
            if !all.contains(&property) {
                all.insert(like.map_or(all.len(), |at| at + 1), property);
            }
        }
    }
    all
}

fn properties_of(history: &History) -> Vec<(&'static str, String)> {
    let machine = &history.machine;
    let mut properties = vec![
        ("kernel", machine.kernel.clone()),
        ("kernel.version", machine.version.clone()),
        ("kernel.arch", machine.arch.clone()),
        ("cpus", machine.cpus.to_string()),
        ("runner", machine.runner.clone()),
        ("resumed", history.resumed.to_string()),
    ];
    if let Some(plan) = &history.plan {
        properties.push(("filesystem", plan.target.fs.name().to_owned()));
        if !plan.target.shapes.is_empty() {
            properties.push(("shape", plan.target.shapes.join(",")));
        }
        properties.push(("seed", plan.seed.to_string()));
        properties.push(("timeout-factor", plan.timeout_factor.to_string()));
        let devices = plan.target.devices.iter().map(|dev| dev.display().to_string());
        properties.extend(devices.map(|dev| ("device", dev)));
        properties.extend(plan.variant.clone().map(|variant| ("variant", variant)));
    }
    properties.extend(history.mkfs.clone().map(|mkfs| ("mkfs", mkfs)));
    properties.extend(history.mount.clone().map(|mount| ("mount", mount)));
    properties.extend(history.silences().map(|what| ("silenced", what)));
    for (_, value) in &mut properties {
        *value = clean::line(value);
    }
    properties
}

/// How many executions came to each verdict.
fn results(outcomes: &[Outcome]) -> String {
    let counts = Verdict::ALL.iter().filter_map(|verdict| {
        let count = outcomes.iter().filter(|outcome| outcome.verdict == *verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.word()))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn case(repeated: &Repeated<'_>, place: &str) -> TestCase {
    let outcome = repeated.worst();
    let (group, short) = outcome.case.split_once('/').unwrap_or(("", &outcome.case));
    let name = clean::line(short);
    let time = Duration::try_from_secs_f64(repeated.seconds()).unwrap_or_default();
    let time = time.try_into().unwrap_or_default();
    let kind = outcome.verdict.word();
    let gist = clean::line(&repeated.gist());
    let mut case = match outcome.verdict {
        Verdict::Pass => TestCaseBuilder::success(&name, time),
        Verdict::Fail | Verdict::Hang | Verdict::XPass => {
            TestCaseBuilder::failure(&name, time, kind, &gist)
        }
        Verdict::Error => TestCaseBuilder::error(&name, time, kind, &gist),
        // Its message alone tells why: the type is not in both schemas.
        Verdict::NotRun | Verdict::XFail => {
            TestCaseBuilder::skipped_with_cause(&name, kind, &format!("{kind}: {gist}"))
        }
    };
    case.set_classname(&clean::line(&format!("{place}.{group}")));
    if outcome.verdict.needs_attention() {
        case.set_trace(&cdata(&evidence(repeated, outcome)));
    }
    let mut case = case.build();
    // The builder gives what was skipped no time and no text, but a known deviation ran.
    case.time = time;
    if let TestResult::SkippedWithCause { cause, .. } = &mut case.result {
        *cause = Some(cdata(&problems::text(&outcome.problems)));
    }
    case
}

/// A failure that is not the first of its case.
fn rerun(repeated: &Repeated<'_>, outcome: &Outcome) -> Rerun {
    Rerun {
        element: match outcome.verdict {
            Verdict::Error => "rerunError",
            _ => "rerunFailure",
        },
        kind: outcome.verdict.word(),
        message: clean::line(&outcome.gist().unwrap_or_default()),
        text: clean::text(&evidence(repeated, outcome)),
    }
}

/// What is wrong with an execution, and what was seen.
fn evidence(repeated: &Repeated<'_>, outcome: &Outcome) -> String {
    format!("{}{}{}", repeated.head(outcome), problems::text(&outcome.problems), notes(outcome, ""))
}

fn notes(outcome: &Outcome, margin: &str) -> String {
    outcome.notes.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{margin}{name}: {value}");
        text
    })
}

/// A failure that no case is to blame for.
fn of_the_run(name: &str, kind: &str, problem: &Problem, place: &str) -> TestCase {
    let time = Duration::ZERO.try_into().unwrap_or_default();
    let mut case = TestCaseBuilder::failure(name, time, kind, &clean::line(&problem.title));
    case.set_classname(&format!("{place}.run"));
    case.set_trace(&cdata(&problem.text));
    case.build()
}

/// Text for a CDATA section, which "]]>" would end.
fn cdata(text: &str) -> String {
    clean::text(text).replace("]]>", "]]]]><![CDATA[>")
}

#[cfg(test)]
pub(super) mod tests;
