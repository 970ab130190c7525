//! The report as KCIDB takes it, the database of KernelCI and of CI systems like it.
//!
//! Each execution is a test, of the build that the caller names; a path tells file system, shape and
//! case. What the kernel does wrong is FAIL, known or not: a known deviation comes with the issue that
//! it is and the incident that says so, as KCIDB wants it. So a run is red if a test without an
//! incident is FAIL, ERROR or MISS.
//!
//! The schema is version 5.3 of kcidb-io. Its strings hold no NUL, and an excerpt of a log at most
//! 16384 characters.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{clean, problems};
use crate::history::History;
use crate::incomplete;
use crate::journal::Outcome;
use crate::plan::Plan;
use crate::verdict::{Problem, Verdict};

/// `log_excerpt`, `maxLength`: characters.
const EXCERPT: usize = 16384;

/// Which version of a find is told. A find has no history here.
const VERSION: u32 = 1;

/// What the database is to know the report by.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// The CI system that reports.
    pub(crate) origin: Origin,
    /// The build that was tested, as the database knows it: "maestro:65c0".
    pub(crate) build: String,
}

/// The name of a CI system, as KCIDB wants it.
#[derive(Clone, Debug)]
pub(crate) struct Origin(String);

impl Origin {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || !text.chars().all(plain) {
            return Err("KCIDB wants small letters, digits and '_'".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// Reads the id of a build: the CI system that made it, a colon, and what that calls it.
pub(crate) fn parse_build(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((origin, rest)) if Origin::parse(origin).is_ok() && !rest.is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err("KCIDB wants ORIGIN:ID".to_owned()),
    }
}

#[derive(Debug, Serialize)]
struct Report {
    version: Version,
    tests: Vec<KcidbTest>,
    issues: Vec<Issue>,
    incidents: Vec<Incident>,
}

#[derive(Debug, Serialize)]
struct Version {
    major: u32,
    minor: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Fail,
    Error,
    Miss,
    Pass,
    Skip,
}

#[derive(Debug, Serialize)]
struct KcidbTest {
    build_id: String,
    id: String,
    origin: String,
    environment: Environment,
    path: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    misc: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Environment {
    comment: String,
    misc: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Issue {
    id: String,
    version: u32,
    origin: String,
    comment: String,
    culprit: Culprit,
}

#[derive(Debug, Serialize)]
struct Culprit {
    code: bool,
}

#[derive(Debug, Serialize)]
struct Incident {
    id: String,
    origin: String,
    issue_id: String,
    issue_version: u32,
    test_id: String,
    present: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// The report of what was run, which was all run on one build.
pub(crate) fn json(histories: &[&History], submission: &Submission) -> anyhow::Result<Vec<u8>> {
    let mut kernels = histories.iter().map(|history| {
        let machine = &history.machine;
        (&machine.kernel, &machine.version)
    });
    if let Some(first) = kernels.next()
        && let Some(other) = kernels.find(|other| *other != first)
    {
        anyhow::bail!(
            "these runs are of two builds, {} and {}: report each by itself",
            first.0,
            other.0
        );
    }
    let mut report = Report {
        version: Version { major: 5, minor: 3 },
        tests: Vec::new(),
        issues: Vec::new(),
        incidents: Vec::new(),
    };
    for history in histories {
        report.add(history, submission);
    }
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    Ok(json)
}

impl Report {
    fn add(&mut self, history: &History, submission: &Submission) {
        for outcome in history.all_outcomes() {
            let run = history.source_of(&outcome.case).map_or(history, |source| &source.history);
            let name = format!("{}#{}", outcome.case, outcome.iteration + 1);
            let mut test = KcidbTest::of(run, submission, &outcome.case, &name, status(&outcome));
            test.comment = outcome.gist().map(|gist| clean::line(&gist));
            test.log_excerpt = excerpt(&outcome.problems);
            test.duration = Some(outcome.seconds);
            test.misc = notes(&outcome);
            if outcome.verdict == Verdict::XFail {
                self.link(&test, &outcome, submission);
            }
            self.tests.push(test);
        }
        for (number, problem) in (1..).zip(&history.troubles) {
            let name = format!("run/trouble-{number}");
            let mut test = KcidbTest::of(history, submission, &name, &name, Status::Fail);
            test.comment = Some(clean::line(&problem.title));
            test.log_excerpt = excerpt(std::slice::from_ref(problem));
            self.tests.push(test);
        }
        if let Some(incomplete) = history.incomplete() {
            let name = incomplete::NAME;
            let mut test = KcidbTest::of(history, submission, name, name, Status::Miss);
            test.comment = Some(clean::line(&incomplete.to_string()));
            self.tests.push(test);
        }
    }

    /// Says that what the test saw is known.
    fn link(&mut self, test: &KcidbTest, outcome: &Outcome, submission: &Submission) {
        let find = outcome.find.as_deref().unwrap_or("known-deviation");
        let origin = &submission.origin.0;
        let id = format!("{origin}:daxtests-{find}");
        if self.issues.iter().all(|issue| issue.id != id) {
            self.issues.push(Issue {
                id: id.clone(),
                version: VERSION,
                origin: origin.clone(),
                comment: format!("daxtests: {find}"),
                culprit: Culprit { code: true },
            });
        }
        self.incidents.push(Incident {
            id: format!("{}-{find}", test.id),
            origin: origin.clone(),
            issue_id: id,
            issue_version: VERSION,
            test_id: test.id.clone(),
            present: true,
            comment: outcome.reason.as_deref().map(clean::line),
        });
    }
}

impl KcidbTest {
    fn of(run: &History, asked: &Submission, path: &str, name: &str, status: Status) -> Self {
        let on = run.plan.as_ref().map_or("unknown".to_owned(), Plan::configuration);
        let seed = run.plan.as_ref().map_or(0, |plan| plan.seed);
        let began = run.began.map(humantime::format_rfc3339_millis);
        let began = began.map_or("unknown".to_owned(), |began| began.to_string());
        Self {
            build_id: asked.build.clone(),
            // The same again for the same run: what is sent twice is one test.
            id: format!("{}:daxtests-{began}-{seed}-{on}/{name}", asked.origin.0),
            origin: asked.origin.0.clone(),
            environment: environment(run, &on),
            path: format!(
                "daxtests.{}.{}",
                part(&on),
                path.split('/').map(part).collect::<Vec<_>>().join(".")
            ),
            status,
            comment: None,
            log_excerpt: None,
            duration: None,
            misc: BTreeMap::new(),
        }
    }
}

fn status(outcome: &Outcome) -> Status {
    match outcome.verdict {
        Verdict::Pass => Status::Pass,
        Verdict::Fail | Verdict::Hang | Verdict::XPass | Verdict::XFail => Status::Fail,
        Verdict::Error => Status::Error,
        Verdict::NotRun => Status::Skip,
    }
}

/// Text as a part of a path.
fn part(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    text.chars().map(plain).collect()
}

fn environment(run: &History, on: &str) -> Environment {
    let machine = &run.machine;
    let mut misc = BTreeMap::from([
        ("kernel", machine.kernel.clone()),
        ("kernel.version", machine.version.clone()),
        ("cpus", machine.cpus.to_string()),
        ("runner", machine.runner.clone()),
    ]);
    misc.extend(run.mkfs.clone().map(|mkfs| ("mkfs", mkfs)));
    misc.extend(run.mount.clone().map(|mount| ("mount", mount)));
    let silences: Vec<_> = run.silences().collect();
    if !silences.is_empty() {
        misc.insert("silenced", silences.join("; "));
    }
    for value in misc.values_mut() {
        *value = clean::line(value);
    }
    Environment { comment: clean::line(on), misc }
}

/// What the case measured, and the word that daxtests has for how it went.
fn notes(outcome: &Outcome) -> BTreeMap<String, String> {
    let notes = outcome.notes.iter().map(|(name, value)| (clean::line(name), clean::text(value)));
    let verdict = ("verdict".to_owned(), outcome.verdict.word().to_owned());
    notes.chain([verdict]).collect()
}

/// What went wrong, as much of it as fits.
fn excerpt(problems: &[Problem]) -> Option<String> {
    let text = clean::text(&problems::text(problems));
    (!text.is_empty()).then(|| text.chars().take(EXCERPT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_schema_wants_them() {
        assert!(Origin::parse("our_ci2").is_ok());
        for bad in ["", "Our", "a:b", "a-b"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
        assert!(parse_build("maestro:65c0/x86").is_ok());
        for bad in ["maestro", "maestro:", ":65c0", "Maestro:65c0"] {
            assert!(parse_build(bad).is_err(), "{bad}");
        }
        assert_eq!(part("xfs-stripe-4k,x.y"), "xfs-stripe-4k_x_y");
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        let problem = Problem::new(crate::verdict::Witness::Case, "é", "ü".repeat(20_000));
        assert_eq!(excerpt(&[problem]).unwrap().chars().count(), EXCERPT);
        assert_eq!(excerpt(&[]), None);
    }
}
