//! One result on the page: open with all its evidence, folded, or a line.

use std::fmt::Write as _;
use std::path::Path;

use protocol::Rule;
use tracer::timeline::svg::{self, escape};

use super::evidence::{ShownFiles, files, picture, shortened};
use super::{ShownResult, folder_of};
use crate::case_file::CaseFile;
use crate::journal::Outcome;
use crate::judge::gist;
use crate::report::clean;
use crate::rerun;
use crate::verdict::{Problem, Verdict, Witness};

/// How much evidence a page carries. What is beyond it is left to the files, which are linked: a
/// page must open at once, also that of a kernel on which everything fails.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Results that are open.
    open: usize,
    /// Bytes of evidence.
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { open: 40, bytes: 4 << 20 }
    }
}

impl Allowance {
    /// Whether `text` is still granted.
    fn take(&mut self, text: &str) -> bool {
        let granted = text.len() <= self.bytes;
        if granted {
            self.bytes -= text.len();
        }
        granted
    }
}

/// A result that needs attention.
pub(super) fn open(
    out: &mut String,
    told: &ShownResult<'_>,
    folder: &Path,
    allowance: &mut Allowance,
) {
    let outcome = told.alike.first;
    let is_open = allowance.open > 0;
    allowance.open = allowance.open.saturating_sub(1);
    let (path, link) = folder_of(told, folder);
    let evidence = ShownFiles::read(&path, &outcome.case);
    let mut body = String::new();
    introduction(&mut body, told);
    let mut details = String::new();
    problems(&mut details, outcome, &evidence);
    shown(&mut details, outcome, &evidence);
    if let Some(picture) = picture(&path) {
        let _ = writeln!(details, "<div class=\"picture\">{picture}</div>{}", legend());
    }
    if allowance.take(&details) {
        body.push_str(&details);
    } else {
        for problem in &outcome.problems {
            let _ = writeln!(body, "<p>{}</p>", escape(&problem.title));
        }
        body.push_str("<p class=\"dim\">The page is full; the files have the rest.</p>\n");
    }
    notes(&mut body, outcome);
    links(&mut body, &evidence.files, &link);
    folded(out, told, is_open, &body);
}

/// A known deviation: what it is, and where to look.
pub(super) fn known(out: &mut String, told: &ShownResult<'_>, folder: &Path) {
    let outcome = told.alike.first;
    let (path, link) = folder_of(told, folder);
    let mut body = String::new();
    introduction(&mut body, told);
    for problem in &outcome.problems {
        let _ = writeln!(body, "<p>{}</p>", escape(&problem.title));
    }
    notes(&mut body, outcome);
    links(&mut body, &files(&path), &link);
    folded(out, told, false, &body);
}

/// A result that nobody needs to look at.
pub(super) fn line(out: &mut String, told: &ShownResult<'_>, folder: &Path) {
    let outcome = told.alike.first;
    let (path, link) = folder_of(told, folder);
    let mut what = outcome.gist().unwrap_or_default();
    let traced = outcome.notes.iter().find(|(name, _)| name == "trace");
    if let Some((_, text)) = traced.filter(|_| what.is_empty()) {
        what.clone_from(text);
    }
    if !what.is_empty() {
        what = format!(" <span class=\"dim\">{}</span>", escape(&clean::line(&what)));
    }
    let picture = CaseFile::TimelineSvg.name();
    let timeline = if path.join(picture).is_file() {
        format!(" <a href=\"{link}/{picture}\">timeline</a>")
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "<li {data}>{badge}<span class=\"what\">{title}{suite}{times}{what}{timeline}</span><span \
         class=\"seconds\">{seconds:.2} s</span></li>",
        data = data(told),
        badge = badge(outcome.verdict),
        title = escape(&outcome.title()),
        suite = suite(told),
        times = times(told),
        seconds = told.alike.seconds,
    );
}

fn folded(out: &mut String, told: &ShownResult<'_>, is_open: bool, body: &str) {
    let outcome = told.alike.first;
    let gist = headline(outcome).map_or(String::new(), |gist| {
        format!("<span class=\"gist\">{}</span>", escape(&clean::line(&gist)))
    });
    let _ = writeln!(
        out,
        "<details class=\"case\" {data}{open}><summary>{badge}<span class=\"name\">{title}</span>\
         {suite}{times}{gist}</summary><div>\n{body}</div></details>",
        data = data(told),
        open = if is_open { " open" } else { "" },
        badge = badge(outcome.verdict),
        title = escape(&outcome.title()),
        suite = suite(told),
        times = times(told),
    );
}

fn data(told: &ShownResult<'_>) -> String {
    let outcome = told.alike.first;
    format!(
        "data-case=\"{}\" data-verdict=\"{}\" data-times=\"{}\"",
        escape(&outcome.title()),
        outcome.verdict,
        told.alike.times
    )
}

fn badge(verdict: Verdict) -> String {
    format!("<span class=\"badge {verdict}\">{verdict}</span>")
}

fn suite(told: &ShownResult<'_>) -> String {
    told.suite
        .map_or(String::new(), |suite| format!(" <span class=\"suite\">{}</span>", escape(suite)))
}

fn times(told: &ShownResult<'_>) -> String {
    match told.alike.times {
        1 => String::new(),
        n => format!(" <span class=\"dim\">{n} times</span>"),
    }
}

/// What the case is about, and how to do it again.
fn introduction(out: &mut String, told: &ShownResult<'_>) {
    let outcome = told.alike.first;
    // The journal may be of another version, which has other cases.
    if let Some(case) = cases::find(&outcome.case) {
        let _ = writeln!(out, "<p class=\"intent\">{}</p>", escape(&case.description()));
    }
    let mut facts = vec![format!("{:.2} s", told.alike.seconds)];
    if let Some(plan) = told.history.plan_of(&outcome.case) {
        let command = rerun::case(plan, &outcome.case, outcome.iteration);
        let _ = writeln!(
            out,
            "<div class=\"command\"><code>{}</code><button type=\"button\" class=\"copy\" hidden>\
             copy</button></div>",
            unbroken(&command)
        );
        facts.push(format!("seed {}", plan.seed.wrapping_add(outcome.iteration)));
    }
    facts.extend(outcome.find.iter().map(|find| format!("find {find}")));
    let _ = writeln!(out, "<p class=\"dim\">{}</p>", escape(&facts.join(", ")));
    let told = headline(outcome);
    if let Some(reason) = outcome.reason.as_ref().filter(|it| Some(*it) != told.as_ref()) {
        let _ = writeln!(out, "<p>{}</p>", escape(reason));
    }
}

/// A command whose words are not broken where a line ends: a browser breaks `--seed` behind its
/// hyphens.
fn unbroken(command: &str) -> String {
    let words = command.split(' ').map(|word| format!("<span>{}</span>", escape(word)));
    words.collect::<Vec<_>>().join(" ")
}

/// What went wrong, each thing once: what a section of the page shows at length has its title here.
fn problems(out: &mut String, outcome: &Outcome, evidence: &ShownFiles) {
    let warned = outcome.problems.iter().any(|problem| problem.witness == Witness::KernelLog);
    let told = headline(outcome);
    for problem in &outcome.problems {
        let below = match problem.witness {
            Witness::KernelLog => !evidence.log.trim().is_empty(),
            Witness::Transcript => evidence.comparison.is_some(),
            _ => false,
        };
        // The tracer sees the warning that the kernel prints.
        let again = warned && problem.finding.as_ref().is_some_and(|it| it.rule == Rule::Warning);
        let mut text = if below { String::new() } else { text_of(problem, evidence) };
        if let Some(finding) = &problem.finding {
            text = format!("<p class=\"dim\"><code>{}</code></p>{text}", escape(&finding.fields()));
        }
        let title = if told.as_ref() == Some(&problem.title) {
            String::new()
        } else {
            format!("<strong>{}</strong>", escape(&problem.title))
        };
        if title.is_empty() && text.is_empty() {
            continue;
        }
        let _ = if again {
            writeln!(
                out,
                "<details><summary class=\"dim\">the warning, as the tracer saw it</summary>\
                 {title}{text}</details>"
            )
        } else {
            writeln!(out, "<div class=\"problem\">{title}{text}</div>")
        };
    }
}

/// The line that a result is known by: the first thing that went wrong, or why it is what it is.
/// What else went wrong has a line of its own.
fn headline(outcome: &Outcome) -> Option<String> {
    match (outcome.verdict, outcome.problems.first()) {
        (Verdict::Fail | Verdict::Hang, Some(first)) => Some(first.title.clone()),
        _ => outcome.gist(),
    }
}

/// A problem's text without what its title says, and without the stacks, if they are shown apart.
fn text_of(problem: &Problem, evidence: &ShownFiles) -> String {
    let stacks = evidence.stacks.trim();
    let text =
        if stacks.is_empty() { problem.text.clone() } else { problem.text.replace(stacks, "") };
    let mut lines = text.trim().lines().peekable();
    let makes_title = gist(&problem.text) == problem.title;
    if makes_title || lines.peek().is_some_and(|line| line.trim() == problem.title.trim()) {
        lines.next();
        while makes_title && lines.next_if(|line| line.starts_with("seen: ")).is_some() {}
    }
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    format!("<pre>{}</pre>", escape(&shortened(text, CaseFile::Problems.name())))
}

/// What the files tell.
fn shown(out: &mut String, outcome: &Outcome, evidence: &ShownFiles) {
    let has = |witness| outcome.problems.iter().any(|problem| problem.witness == witness);
    if let Some(comparison) = &evidence.comparison {
        let (how, state) = if comparison.differs {
            ("expected (-) and seen (+)", " open")
        } else {
            ("as expected", "")
        };
        let _ = writeln!(
            out,
            "<details{state}><summary>{}, {how}</summary><pre>{}</pre></details>",
            comparison.what, comparison.lines
        );
    }
    let open = "open";
    let log = if has(Witness::KernelLog) { open } else { "" };
    for (title, file, text, state) in [
        ("transcript", CaseFile::Transcript, &evidence.transcript, ""),
        ("kernel log", CaseFile::KernelLog, &evidence.log, log),
        ("stacks", CaseFile::Stacks, &evidence.stacks, open),
        ("standard error", CaseFile::Stderr, &evidence.stderr, ""),
    ] {
        if text.trim().is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "<details {state}><summary>{title}, {}</summary><pre>{}</pre></details>",
            match text.lines().count() {
                1 => "1 line".to_owned(),
                n => format!("{n} lines"),
            },
            escape(&shortened(text, file.name())),
        );
    }
}

fn notes(out: &mut String, outcome: &Outcome) {
    if outcome.notes.is_empty() {
        return;
    }
    out.push_str("<dl>");
    for (name, value) in &outcome.notes {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

fn links(out: &mut String, files: &[CaseFile], link: &str) {
    if files.is_empty() {
        return;
    }
    out.push_str("<p class=\"files\">");
    for file in files {
        let name = file.name();
        let _ = write!(out, "<a href=\"{link}/{name}\">{name}</a>");
    }
    out.push_str("</p>\n");
}

fn legend() -> String {
    let mut out = String::from("<p class=\"legend\">");
    for (letter, colour, what) in svg::MARKS {
        let _ = write!(out, "<span><i style=\"background:{colour}\">{letter}</i>{what}</span>");
    }
    for (class, what) in svg::BARS {
        let _ = write!(out, "<span><b class=\"{class}\"></b>{what}</span>");
    }
    out.push_str(
        "<span>One column per event, so that a long wait does not squeeze the rest; a dashed ring \
         is around what a violation rests on. Hover for details.</span></p>",
    );
    out
}
