//! The JUnit report, made from the journal alone.
//!
//! Written with junit-report in the form that Jenkins' schema (junit-10.xsd of its xunit plugin)
//! accepts. That crate puts text into CDATA sections and leaves it to the caller that the text
//! may stand there.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use junit_report::{ReportBuilder, TestCase, TestCaseBuilder, TestSuiteBuilder};

use crate::history::History;
use crate::journal::Outcome;
use crate::verdict::{Problem, Verdict};

/// The report of `history`.
pub(crate) fn xml(history: &History) -> anyhow::Result<Vec<u8>> {
    let mut xml = Vec::new();
    report(history)
        .write_xml(&mut xml)
        .map_err(|error| anyhow::anyhow!("the JUnit report: {error}"))?;
    Ok(xml)
}

fn report(history: &History) -> junit_report::Report {
    let mut suite = TestSuiteBuilder::new(&attribute(&suite_name(history)));
    let began = history.began.unwrap_or(SystemTime::UNIX_EPOCH);
    suite.set_timestamp(began.into());
    suite.set_system_out(&cdata(&environment(history)));
    for outcome in history.all_outcomes() {
        suite.add_testcase(case(&outcome));
    }
    for (number, problem) in history.troubles.iter().enumerate() {
        suite.add_testcase(trouble(number, problem));
    }
    if let Some(why) = &history.wedged {
        let problem = Problem::new("the machine needs a reboot", why);
        suite.add_testcase(trouble(history.troubles.len(), &problem));
    }
    ReportBuilder::new().add_testsuite(suite.build()).build()
}

fn suite_name(history: &History) -> String {
    let fs = history.plan.as_ref().map_or("unknown", |plan| plan.fs.name());
    if history.machine.kernel.is_empty() {
        fs.to_owned()
    } else {
        format!("{fs} on Linux {}", history.machine.kernel)
    }
}

fn environment(history: &History) -> String {
    let machine = &history.machine;
    let mut text = format!(
        "kernel: {} {} {}\nprocessors: {}\nrunner: {}\n",
        machine.kernel, machine.version, machine.arch, machine.cpus, machine.runner
    );
    if let Some(plan) = &history.plan {
        let _ = writeln!(text, "file system: {}", plan.fs.name());
        if let Some(dev) = &plan.dev {
            let _ = writeln!(text, "device: {}", dev.display());
        }
        let _ = writeln!(text, "seed: {}", plan.seed);
    }
    for (name, value) in [("mkfs", &history.mkfs), ("mount options", &history.mount)] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    let _ = writeln!(text, "resumed: {} times", history.resumed);
    text
}

fn case(outcome: &Outcome) -> TestCase {
    let (group, short) = outcome.case.split_once('/').unwrap_or(("", outcome.case.as_str()));
    let name = if outcome.iteration == 0 {
        short.to_owned()
    } else {
        format!("{short} (iteration {})", outcome.iteration + 1)
    };
    let name = attribute(&name);
    let time = Duration::from_secs_f64(outcome.seconds.max(0.0)).try_into().unwrap_or_default();
    let kind = outcome.verdict.word();
    let gist = attribute(&outcome.gist().unwrap_or_default());
    let mut case = match outcome.verdict {
        Verdict::Pass => TestCaseBuilder::success(&name, time),
        Verdict::Fail | Verdict::Hang | Verdict::XPass => {
            TestCaseBuilder::failure(&name, time, kind, &gist)
        }
        Verdict::Error => TestCaseBuilder::error(&name, time, kind, &gist),
        Verdict::NotRun | Verdict::XFail => TestCaseBuilder::skipped_with_cause(&name, kind, &gist),
    };
    case.set_classname(&attribute(group));
    let problems = problems(outcome);
    if outcome.verdict.needs_attention() {
        case.set_trace(&cdata(&problems));
    }
    let mut out = String::new();
    for (name, value) in &outcome.notes {
        let _ = writeln!(out, "{name}: {value}");
    }
    if outcome.verdict == Verdict::XFail {
        out.push_str(&problems);
    }
    if !out.is_empty() {
        case.set_system_out(&cdata(&out));
    }
    let mut case = case.build();
    // The builder gives what was skipped no time, but a known deviation ran.
    case.time = time;
    case
}

fn problems(outcome: &Outcome) -> String {
    outcome
        .problems
        .iter()
        .map(|problem| format!("{}\n\n{}\n", problem.title, problem.text.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

fn trouble(number: usize, problem: &Problem) -> TestCase {
    let mut case = TestCaseBuilder::failure(
        &format!("outside of cases, {}", number + 1),
        Duration::ZERO.try_into().unwrap_or_default(),
        Verdict::Fail.word(),
        &attribute(&problem.title),
    );
    case.set_classname("run");
    case.set_trace(&cdata(&problem.text));
    case.build()
}

/// Text without what XML 1.0 cannot hold (its production \[2\], Char), colours included.
fn clean(text: &str) -> String {
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c < ' ' => char::REPLACEMENT_CHARACTER,
            '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

fn attribute(text: &str) -> String {
    clean(text).replace('\n', " ")
}

/// Text for a CDATA section, which "]]>" would end.
fn cdata(text: &str) -> String {
    clean(text).replace("]]>", "]]]]><![CDATA[>")
}

#[cfg(test)]
mod tests;
