//! Runs as one HTML file: what needs attention first and open, with all there is to know about it;
//! what is known folded away below; what went well as a line each.
//!
//! It needs nothing from anywhere, so it can be sent around: style and script are in it. The script
//! only filters and copies. Links lead to the files of the results, relative to where the page lies.
//! What is alike is told once, with how often it was seen.

mod evidence;
mod result;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf, absolute};

use tracer::timeline::svg::escape;

use super::alike::{Alike, alike};
use crate::exit::Exit;
use crate::history::History;
use crate::journal::Outcome;
use crate::plan::Keep;
use crate::results::Results;
use crate::verdict::{Problem, Verdict};
use result::Allowance;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Results that need no attention, in the order in which their groups stand, and what those are
/// called.
const QUIET: [(Verdict, &str); 3] = [
    (Verdict::XFail, "known deviations (XFAIL)"),
    (Verdict::NotRun, "not run (NOTRUN)"),
    (Verdict::Pass, "passed (PASS)"),
];

/// A result, and the run that it is of.
#[derive(Clone, Copy)]
struct ShownResult<'t> {
    history: &'t History,
    alike: Alike<'t>,
    /// What that run is called, where there are several.
    suite: Option<&'t str>,
}

/// The page about `histories`, to lie in `folder`.
pub(crate) fn page(histories: &[&History], folder: &Path) -> String {
    let names: Vec<_> = histories.iter().map(|history| history.name()).collect();
    let title = match &names[..] {
        [one] => one.clone(),
        several => format!("{} suites", several.len()),
    };
    let outcomes: Vec<_> = histories.iter().map(|history| history.all_outcomes()).collect();
    let results: Vec<ShownResult<'_>> = histories
        .iter()
        .zip(&outcomes)
        .zip(&names)
        .flat_map(|((history, outcomes), name)| {
            let suite = (histories.len() > 1).then_some(name.as_str());
            alike(outcomes).into_iter().map(move |alike| ShownResult { history, alike, suite })
        })
        .collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>daxtests: {title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>daxtests</h1>\n",
        title = escape(&title),
    );
    conclusion(&mut out, histories, &results);
    for ((history, name), outcomes) in histories.iter().zip(&names).zip(&outcomes) {
        head(&mut out, history, name, outcomes);
    }
    filter(&mut out, &results);
    of_the_runs(&mut out, histories, &names);
    attention(&mut out, &results, folder);
    for (verdict, title) in QUIET {
        quiet(&mut out, verdict, title, &results, folder);
    }
    let _ = writeln!(out, "<script>{SCRIPT}</script></body></html>");
    out
}

/// Whether all is well, in a line.
fn conclusion(out: &mut String, histories: &[&History], results: &[ShownResult<'_>]) {
    let good = Exit::of_all(histories.iter().copied()) == Exit::Expected;
    let bad: usize = results
        .iter()
        .filter(|told| told.alike.first.verdict.needs_attention())
        .map(|told| told.alike.times)
        .sum();
    let text = match (good, bad) {
        (true, _) => "All as expected".to_owned(),
        (false, 0) => "Not as expected, outside of cases".to_owned(),
        (false, 1) => "1 result needs attention".to_owned(),
        (false, n) => format!("{n} results need attention"),
    };
    let class = if good { "good" } else { "not" };
    let _ = writeln!(out, "<p class=\"conclusion {class}\">{text}</p>");
}

/// What a run was, and how many of its results are what.
fn head(out: &mut String, history: &History, name: &str, outcomes: &[Outcome]) {
    let _ = writeln!(out, "<div class=\"run\"><strong>{}</strong>", escape(name));
    out.push_str("<span class=\"counts\">");
    for (verdict, count) in counts(outcomes.iter().map(|outcome| (outcome.verdict, 1))) {
        let _ = write!(out, "<span class=\"{verdict}\">{count} {verdict}</span>");
    }
    out.push_str("</span>\n<details><summary class=\"dim\">");
    if let Some(began) = history.began {
        let date = humantime::format_rfc3339_seconds(began).to_string();
        let _ = write!(out, "{} UTC, ", date.replace('T', " ").trim_end_matches('Z'));
    }
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let _ = writeln!(out, "cases took {seconds:.0} s; how it was run</summary><dl>");
    for (what, value) in facts(history) {
        let _ = writeln!(out, "<dt>{what}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl></details></div>\n");
}

/// How often each verdict was given, in the order of summaries.
fn counts(all: impl Iterator<Item = (Verdict, usize)>) -> Vec<(Verdict, usize)> {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for (verdict, count) in all {
        *counts.entry(verdict).or_default() += count;
    }
    Verdict::ALL.iter().filter_map(|verdict| Some((*verdict, *counts.get(verdict)?))).collect()
}

/// Machine, target and options; where runs differ that were put together, each value.
fn facts(history: &History) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, String)> = Vec::new();
    for run in history.runs() {
        for (what, value) in facts_of(run) {
            match all.iter_mut().find(|(known, _)| *known == what) {
                None => all.push((what, value)),
                Some((_, known)) if known.split("; ").any(|part| part == value) => {}
                Some((_, known)) => {
                    known.push_str("; ");
                    known.push_str(&value);
                }
            }
        }
    }
    all.extend(options(history).map(|options| ("options", options)));
    if !history.sources.is_empty() {
        let folders: Vec<_> =
            history.sources.iter().map(|source| source.folder.display().to_string()).collect();
        all.push(("results", folders.join("; ")));
    }
    all
}

fn facts_of(run: &History) -> Vec<(&'static str, String)> {
    let machine = &run.machine;
    let mut facts = vec![
        ("kernel", format!("{} {}", machine.kernel, machine.version)),
        ("machine", format!("{}, {} processors", machine.arch, machine.cpus)),
    ];
    if let Some(plan) = &run.plan {
        let target = &plan.target;
        let devices = target.devices.iter().map(|dev| dev.display().to_string());
        facts.push(("shape", target.shapes.join(", ")));
        facts.push(("devices", devices.collect::<Vec<_>>().join(", ")));
        facts.extend(run.mkfs.clone().map(|mkfs| ("made by", mkfs)));
        facts.extend(run.mount.clone().map(|mount| ("mounted with", mount)));
        facts.push(("variant", plan.variant.clone().unwrap_or_default()));
        facts.push(("seed", plan.seed.to_string()));
    }
    facts.push(("runner", machine.runner.clone()));
    if run.resumed > 0 {
        facts.push(("resumed", format!("{} times", run.resumed)));
    }
    facts.extend(run.silenced.iter().map(|(what, since)| match since {
        Some(case) => ("not told by the kernel", format!("{what} (since {case})")),
        None => ("not told by the kernel", what.clone()),
    }));
    facts.retain(|(_, value)| !value.trim().is_empty());
    facts
}

/// What else was asked for: of runs that were put together, what one would have been asked for.
fn options(history: &History) -> Option<String> {
    let plan = history.plan.as_ref()?;
    let mut options = vec![format!("{} cases", plan.cases.len())];
    match (plan.iterations, plan.duration, plan.until_fail) {
        (Some(1), None, false) | (None, ..) => {}
        (Some(n), ..) => options.push(format!("--iterations {n}")),
    }
    if let Some(time) = plan.duration {
        options.push(format!("--duration {}", humantime::format_duration(time)));
    }
    let trace = match plan.trace {
        Some(Keep::All) => "--trace",
        Some(Keep::Failed) => "--trace=failed",
        None => "",
    };
    let factor = format!("--timeout-factor {}", plan.timeout_factor);
    #[expect(clippy::float_cmp, reason = "the default, as it was given")]
    let stretched = plan.timeout_factor != 1.0;
    for (given, word) in [
        (plan.until_fail, "--until-fail"),
        (plan.require, "--require"),
        (stretched, factor.as_str()),
        (plan.trace.is_some(), trace),
    ] {
        if given {
            options.push(word.to_owned());
        }
    }
    options.extend(plan.known.iter().map(|file| format!("--known {}", file.path.display())));
    options.extend(plan.shard.iter().map(|share| format!("--shard {}", share.shard)));
    Some(options.join(", "))
}

/// The bar that the script brings to life.
fn filter(out: &mut String, results: &[ShownResult<'_>]) {
    out.push_str(
        "<nav id=\"filter\" hidden><input type=\"search\" placeholder=\"Filter: words of a name or \
         text\" aria-label=\"Filter\">",
    );
    let all = results.iter().map(|told| (told.alike.first.verdict, told.alike.times));
    for (verdict, count) in counts(all) {
        let _ = write!(
            out,
            "<button type=\"button\" aria-pressed=\"false\" data-show=\"{verdict}\">{verdict} \
             {count}</button>"
        );
    }
    out.push_str("<output class=\"dim\"></output></nav>\n");
}

/// What is wrong with the runs as a whole.
fn of_the_runs(out: &mut String, histories: &[&History], names: &[String]) {
    for (history, name) in histories.iter().zip(names) {
        let suite = match histories.len() {
            1 => String::new(),
            _ => format!("<span class=\"suite\">{}</span>", escape(name)),
        };
        if let Some(incomplete) = history.incomplete() {
            let text = escape(&incomplete.to_string());
            let _ = writeln!(
                out,
                "<div class=\"problem incomplete\"><strong>{text}</strong> {suite}</div>"
            );
        }
        for problem in &history.troubles {
            let _ = writeln!(
                out,
                "<div class=\"problem trouble\"><strong>{}</strong> {suite}{}</div>",
                escape(&problem.title),
                text(problem),
            );
        }
    }
}

/// What is known of a problem beside its title.
fn text(problem: &Problem) -> String {
    let text = problem.text.trim();
    if text.is_empty() || text == problem.title.trim() {
        return String::new();
    }
    format!("<pre>{}</pre>", escape(&evidence::shortened(text, "the journal")))
}

/// What needs attention, open.
fn attention(out: &mut String, results: &[ShownResult<'_>], folder: &Path) {
    let bad: Vec<_> =
        results.iter().filter(|told| told.alike.first.verdict.needs_attention()).collect();
    if bad.is_empty() {
        return;
    }
    out.push_str("<section class=\"attention\"><h2>Needs attention</h2>\n");
    let mut allowance = Allowance::default();
    for told in bad {
        result::open(out, told, folder, &mut allowance);
    }
    out.push_str("</section>\n");
}

/// A group of results that need none, folded away.
fn quiet(
    out: &mut String,
    verdict: Verdict,
    title: &str,
    results: &[ShownResult<'_>],
    folder: &Path,
) {
    let group: Vec<_> = results.iter().filter(|told| told.alike.first.verdict == verdict).collect();
    if group.is_empty() {
        return;
    }
    let count: usize = group.iter().map(|told| told.alike.times).sum();
    // "1 known deviation".
    let title =
        if count == 1 { title.replacen("deviations", "deviation", 1) } else { title.into() };
    let _ = writeln!(out, "<details class=\"group\"><summary>{count} {title}</summary>");
    if verdict == Verdict::XFail {
        for told in group {
            result::known(out, told, folder);
        }
    } else {
        out.push_str("<ul class=\"quiet\">\n");
        for told in group {
            result::line(out, told, folder);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</details>\n");
}

/// Where the files of a result are: for this program, and for a page in `folder`.
fn folder_of(told: &ShownResult<'_>, folder: &Path) -> (PathBuf, String) {
    let outcome = told.alike.first;
    let inside = Results::inside(&outcome.case, outcome.iteration);
    let path = match told.history.source_of(&outcome.case) {
        Some(source) => source.folder.join(inside),
        None => folder.join(inside),
    };
    let link = match (absolute(&path), absolute(folder)) {
        (Ok(to), Ok(from)) => pathdiff::diff_paths(to, from),
        _ => None,
    };
    let link = link.unwrap_or_else(|| path.clone());
    (path, address(&link))
}

/// A path as part of an address.
fn address(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
