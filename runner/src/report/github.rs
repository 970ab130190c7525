//! What GitHub Actions shows of a run: an annotation for each failure, and a part of the job's
//! summary.
//!
//! Annotations are lines that Actions reads from either stream, so they go to standard error where
//! standard output is for programs. The summary is a file that the steps of a job append to.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use super::alike::{Alike, alike};
use super::{Format, clean};
use crate::exit::Exit;
use crate::history::History;
use crate::name;
use crate::print;
use crate::rerun;
use crate::verdict::Verdict;

/// How many failures the summary lists. Actions drops one of more than a mebibyte.
const ROWS: usize = 200;

/// How much of a failure's sentence stands in its row.
const GIST: usize = 300;

/// A job of GitHub Actions that this program runs in.
#[derive(Debug)]
pub(crate) struct Github {
    /// Where its summary goes, if Actions says so.
    summary: Option<PathBuf>,
}

impl Github {
    /// The job, if there is one: of what `GITHUB_ACTIONS` and `GITHUB_STEP_SUMMARY` say.
    pub(crate) fn of(actions: Option<OsString>, summary: Option<OsString>) -> Option<Self> {
        let is_set = |value: &OsString| !value.is_empty() && value != "false";
        let summary = summary.filter(|path| !path.is_empty()).map(PathBuf::from);
        actions.filter(is_set).map(|_| Self { summary })
    }

    /// Tells of runs that were printed as `format`.
    pub(crate) fn tell(&self, histories: &[&History], format: Format) {
        for line in annotations(histories) {
            match format {
                Format::Text => print::line(line),
                Format::Json | Format::Ktap => print::note(line),
            }
        }
        if let Err(why) = self.append(&markdown(histories)) {
            print::note(format_args!("{}: the job gets no summary: {why}", name::own()));
        }
    }

    /// Tells why there was no run.
    pub(crate) fn complain(why: &str) {
        print::note(annotation("daxtests could not run", why));
    }

    fn append(&self, text: &str) -> Result<(), String> {
        let path = self.summary.as_ref().ok_or("GITHUB_STEP_SUMMARY is not set")?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|why| format!("GITHUB_STEP_SUMMARY: {}: {why}", path.display()))
    }
}

/// A line for each thing that went wrong, what went wrong with the run as a whole first: Actions
/// shows ten of a step.
pub(super) fn annotations(histories: &[&History]) -> Vec<String> {
    let mut lines = Vec::new();
    for history in histories {
        let name = history.name();
        if let Some(incomplete) = history.incomplete() {
            lines.push(annotation(&format!("INCOMPLETE ({name})"), &incomplete.to_string()));
        }
        for problem in &history.troubles {
            lines.push(annotation(&format!("FAIL ({name})"), &problem.title));
        }
    }
    for history in histories {
        let name = history.name();
        for Alike { first, .. } in alike(&history.all_outcomes()) {
            if !first.verdict.needs_attention() {
                continue;
            }
            let mut text = first.gist().unwrap_or_default();
            if let Some(plan) = history.plan_of(&first.case) {
                text.push('\n');
                text.push_str(&rerun::case(plan, &first.case, first.iteration));
            }
            lines.push(annotation(&format!("{} {} ({name})", first.verdict, first.title()), &text));
        }
    }
    lines
}

/// A workflow command, in which some characters have to be written in another way.
fn annotation(title: &str, text: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = data(&clean::line(title)).replace(':', "%3A").replace(',', "%2C");
    format!("::error title={title}::{}", data(&clean::text(text)))
}

/// The part of the job's summary.
pub(super) fn markdown(histories: &[&History]) -> String {
    let all: Vec<_> = histories.iter().map(|history| history.all_outcomes()).collect();
    let used: Vec<_> = Verdict::ALL
        .into_iter()
        .filter(|verdict| all.iter().flatten().any(|outcome| outcome.verdict == *verdict))
        .collect();
    let good = Exit::of_all(histories.iter().copied()) == Exit::Expected;
    let mut text = format!(
        "## daxtests: {}\n\n| |{}\n|---|{}\n",
        if good { "all as expected" } else { "not as expected" },
        used.iter().fold(String::new(), |row, verdict| row + &format!(" {verdict} |")),
        "---:|".repeat(used.len()),
    );
    for (history, outcomes) in histories.iter().zip(&all) {
        let _ = write!(text, "| {} |", clean::cell(&history.name()));
        for verdict in &used {
            let count = outcomes.iter().filter(|outcome| outcome.verdict == *verdict).count();
            let _ = write!(text, " {count} |");
        }
        text.push('\n');
    }
    for history in histories {
        let wrong = history.incomplete().map(|incomplete| incomplete.to_string());
        let wrong = wrong.into_iter().chain(history.troubles.iter().map(|it| it.title.clone()));
        for line in wrong {
            let name = clean::cell(&history.name());
            let _ = writeln!(text, "\n**{name}: {}**", clean::cell(&line));
        }
        for what in history.silences() {
            let name = clean::cell(&history.name());
            let _ = writeln!(text, "\nNote: {name}: {}", clean::cell(&what));
        }
    }
    let rows: Vec<_> = histories
        .iter()
        .zip(&all)
        .flat_map(|(history, outcomes)| {
            let bad = alike(outcomes).into_iter();
            bad.filter(|alike| alike.first.verdict.needs_attention())
                .map(move |alike| row(history, &alike))
        })
        .collect();
    if !rows.is_empty() {
        text.push_str("\n| verdict | case | what | again |\n|---|---|---|---|\n");
        text.extend(rows.iter().take(ROWS).map(String::as_str));
    }
    if rows.len() > ROWS {
        let _ = writeln!(text, "\n{} more need attention: see the reports.", rows.len() - ROWS);
    }
    text.push('\n');
    text
}

fn row(history: &History, alike: &Alike<'_>) -> String {
    let outcome = alike.first;
    let gist = outcome.gist().unwrap_or_default();
    let mut short: String = gist.chars().take(GIST).collect();
    if short.len() < gist.len() {
        short.push_str("...");
    }
    let times = if alike.times > 1 { format!(" ({} times)", alike.times) } else { String::new() };
    let command = history.plan_of(&outcome.case).map_or(String::new(), |plan| {
        format!("`{}`", rerun::case(plan, &outcome.case, outcome.iteration).replace('|', "\\|"))
    });
    format!(
        "| {} | `{}`{times}<br>{} | {} | {command} |\n",
        outcome.verdict,
        outcome.title(),
        clean::cell(&history.name()),
        clean::cell(&short),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Outcome, RunEnd};
    use crate::plan;
    use crate::verdict::{Problem, Witness};

    fn history(verdict: Verdict, title: &str) -> History {
        let problems = vec![Problem::new(Witness::Case, title, "text")];
        let outcome = Outcome {
            case: "race/retry".to_owned(),
            iteration: 0,
            verdict,
            seconds: 1.0,
            reason: None,
            find: None,
            problems: if verdict == Verdict::Pass { Vec::new() } else { problems },
            notes: Vec::new(),
            folder: None,
        };
        let plan = plan::Plan { cases: vec!["race/retry".to_owned()], ..plan::example() };
        let exit = u8::from(verdict != Verdict::Pass);
        let ended = RunEnd { exit, planned: Some(1), finished: Some(1), complete: true };
        History {
            plan: Some(plan),
            outcomes: vec![outcome],
            ended: Some(ended),
            last: Some(std::time::SystemTime::UNIX_EPOCH),
            ..History::default()
        }
    }

    #[test]
    fn a_failure_is_an_annotation_of_one_line() {
        let bad = history(Verdict::Fail, "100% wrong:\r\n::error::x");
        assert_eq!(
            annotations(&[&bad]),
            [
                "::error title=FAIL race/retry (xfs)::100%25 wrong:%0D%0A::error::x%0Asudo runner --fs \
              xfs --dev /dev/pmem0 --seed 7 race/retry"
            ]
        );
        assert!(annotations(&[&history(Verdict::Pass, "")]).is_empty());
        let cut = History { ended: None, ..history(Verdict::Pass, "") };
        assert_eq!(
            annotations(&[&cut]),
            [
                "::error title=INCOMPLETE (xfs)::INCOMPLETE: 1 of 1: the journal breaks off before the \
              end of the run"
            ]
        );
    }

    #[test]
    fn the_summary_is_a_table_that_text_cannot_leave() {
        let bad = history(Verdict::Fail, "a | b <script>\nc");
        let text = markdown(&[&bad, &history(Verdict::Pass, "")]);
        assert_eq!(
            text,
            "## daxtests: not as expected\n\n\
             | | PASS | FAIL |\n\
             |---|---:|---:|\n\
             | xfs | 0 | 1 |\n\
             | xfs | 1 | 0 |\n\n\
             | verdict | case | what | again |\n\
             |---|---|---|---|\n\
             | FAIL | `race/retry`<br>xfs | a \\| b &lt;script> c | `sudo runner --fs xfs --dev \
             /dev/pmem0 --seed 7 race/retry` |\n\n"
        );
        let silent = vec![("lockdep <is>\noff".to_owned(), Some("race/retry".to_owned()))];
        let silent = History { silenced: silent, ..history(Verdict::Pass, "") };
        let text = markdown(&[&silent]);
        assert!(
            text.ends_with("|\n\nNote: xfs: since race/retry, lockdep &lt;is> off\n\n"),
            "{text}"
        );
        let good = markdown(&[&history(Verdict::Pass, "")]);
        assert!(good.starts_with("## daxtests: all as expected\n"), "{good}");
    }

    #[test]
    fn a_summary_stays_below_what_actions_takes() {
        let mut bad = history(Verdict::Fail, &"x".repeat(9_000));
        let first = bad.outcomes[0].clone();
        bad.outcomes = (0..2_000)
            .map(|number| Outcome { case: format!("race/number-{number}"), ..first.clone() })
            .collect();
        let text = markdown(&[&bad]);
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert!(text.contains("\n1800 more need attention: see the reports.\n"));
    }

    #[test]
    fn there_is_a_job_only_where_actions_says_so() {
        let of = |actions: Option<&str>, summary: Option<&str>| {
            Github::of(actions.map(OsString::from), summary.map(OsString::from))
        };
        for none in [None, Some(""), Some("false")] {
            assert!(of(none, Some("/tmp/x")).is_none());
        }
        let job = of(Some("true"), None).unwrap();
        assert_eq!(job.append("x").unwrap_err(), "GITHUB_STEP_SUMMARY is not set");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        let job = of(Some("true"), path.to_str()).unwrap();
        job.append("one\n").unwrap();
        job.append("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let job = of(Some("true"), Some("/proc/nowhere/x")).unwrap();
        assert!(job.append("x").unwrap_err().starts_with("GITHUB_STEP_SUMMARY: /proc/nowhere/x: "));
    }
}
