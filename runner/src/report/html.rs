//! The run as one HTML file: the table of cases, and each traced one's timeline as a picture.
//!
//! It needs nothing from anywhere, so it can be sent around.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tracer::timeline::svg::{self, escape};

use crate::history::History;
use crate::journal::Outcome;
use crate::results::Results;
use crate::verdict::{Problem, Verdict};

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--text:#24292f;--dim:#59636e;--line:#d8dee4;--soft:#f6f8fa;\
--good:#1a7f37;--bad:#cf222e;--bad-soft:#ffebe9;--link:#0969da}\
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--text:#e6edf3;--dim:#9198a1;--line:#30363d;\
--soft:#161b22;--good:#3fb950;--bad:#ff7b72;--bad-soft:#2d1517;--link:#4493f8}}\
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1.5rem;\
background:var(--page);color:var(--text)}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:0 0 .5rem}p{margin:.4rem 0}\
p.where,.dim{color:var(--dim)}p.counts{font-weight:600;margin:.8rem 0 1.2rem}p.counts span{margin-right:1rem}\
table{border-collapse:collapse;width:100%}th{text-align:left;color:var(--dim);font-weight:600}\
td,th{padding:.25rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
td.case{white-space:nowrap}td.seconds,th.seconds{text-align:right;font-variant-numeric:tabular-nums}\
tr.attention{background:var(--bad-soft)}\
.verdict{font-weight:700}.PASS,.XFAIL{color:var(--good)}.NOTRUN{color:var(--dim)}\
.FAIL,.HANG,.XPASS,.ERROR{color:var(--bad)}a{color:var(--link);text-decoration:none}\
a:hover{text-decoration:underline}\
section{margin:2.5rem 0;border-top:2px solid var(--line);padding-top:1rem}\
.picture{overflow-x:auto;border:1px solid var(--line);border-radius:6px;margin:.8rem 0 .4rem}\
.picture svg{display:block}\
pre{background:var(--soft);padding:.8rem;overflow:auto;font:12px/1.4 ui-monospace,monospace;\
max-height:32rem;border-radius:6px}\
.problem{border-left:4px solid var(--bad);padding:.1rem 0 .1rem .8rem;margin:.6rem 0}\
.problem strong{font-weight:600}details>summary{color:var(--dim);cursor:pointer}\
.legend{color:var(--dim);font-size:12px;display:flex;flex-wrap:wrap;gap:.2rem 1rem;align-items:center}\
.legend i{display:inline-block;width:16px;height:16px;border-radius:8px;margin-right:.3rem;color:#fff;\
font:600 10px/16px system-ui,sans-serif;text-align:center;vertical-align:middle}\
.legend b{display:inline-block;width:22px;height:12px;border-radius:2px;margin-right:.3rem;\
vertical-align:middle}\
.legend .operation{background:#e3e7eb}.legend .break{background:#b6d7f5}\
.legend .wait{background:#f7d070}.legend .pinned{background:#f3b8b1}\
@media(prefers-color-scheme:dark){.legend .operation{background:#3d444d}.legend .break{background:#1f4f7d}\
.legend .wait{background:#7d5a0c}.legend .pinned{background:#7d2b25}}\
@media print{.picture{overflow:visible}details{display:none}}";

/// The page. `folder` is the results folder, where the pictures are.
pub(crate) fn page(history: &History, folder: &Path) -> String {
    let fs = history.plan.as_ref().map_or(String::new(), |plan| plan.target.name());
    let machine = &history.machine;
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>daxtests: {fs} on {kernel}</title>\
         <style>{STYLE}</style></head><body>\n<h1>daxtests on {fs}</h1>\n<p \
         class=\"where\">Linux {kernel}, {arch}, {cpus} processors; {mount}</p>\n",
        kernel = escape(&machine.kernel),
        arch = escape(&machine.arch),
        cpus = machine.cpus,
        mount = escape(history.mount.as_deref().unwrap_or("not mounted")),
    );
    let outcomes = history.all_outcomes();
    counts(&mut out, &outcomes);
    of_the_run(&mut out, history);
    out.push_str(
        "<table><tr><th>case</th><th>verdict</th><th class=\"seconds\">seconds</th><th>what</th>\
         </tr>\n",
    );
    for outcome in &outcomes {
        let what = outcome.gist().unwrap_or_else(|| note(outcome));
        let name = escape(&outcome.title());
        let name = if has_section(outcome, folder) {
            format!("<a href=\"#{}\">{name}</a>", escape(&id(outcome)))
        } else {
            name
        };
        let _ = writeln!(
            out,
            "<tr{attention}><td class=\"case\">{name}</td><td class=\"verdict {verdict}\">{verdict}\
             </td><td class=\"seconds\">{seconds:.2}</td><td>{what}</td></tr>",
            attention = if outcome.verdict.needs_attention() { " class=\"attention\"" } else { "" },
            verdict = outcome.verdict.word(),
            seconds = outcome.seconds,
            what = escape(&what),
        );
    }
    out.push_str("</table>\n");
    for outcome in outcomes.iter().filter(|outcome| has_section(outcome, folder)) {
        section(&mut out, outcome, folder);
    }
    out.push_str("</body></html>\n");
    out
}

/// What is wrong with the run as a whole.
fn of_the_run(out: &mut String, history: &History) {
    if let Some(incomplete) = history.incomplete() {
        let text = escape(&incomplete.to_string());
        let _ = writeln!(out, "<div class=\"problem incomplete\"><strong>{text}</strong></div>");
    }
    for problem in &history.troubles {
        push_problem(out, problem, "problem trouble");
    }
}

/// How many cases ended how, in the order in which the verdicts first appear.
fn counts(out: &mut String, outcomes: &[Outcome]) {
    let mut counts: Vec<(Verdict, usize)> = Vec::new();
    for outcome in outcomes {
        match counts.iter_mut().find(|(verdict, _)| *verdict == outcome.verdict) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome.verdict, 1)),
        }
    }
    out.push_str("<p class=\"counts\">");
    for (verdict, count) in counts {
        let _ = write!(out, "<span class=\"{word}\">{count} {word}</span>", word = verdict.word());
    }
    out.push_str("</p>\n");
}

fn picture(outcome: &Outcome, folder: &Path) -> Option<String> {
    let inside = folder.join(Results::inside(&outcome.case, outcome.iteration));
    fs::read_to_string(inside.join("timeline.svg")).ok()
}

fn has_section(outcome: &Outcome, folder: &Path) -> bool {
    let quiet = matches!(outcome.verdict, Verdict::Pass | Verdict::NotRun);
    !quiet || !outcome.problems.is_empty() || picture(outcome, folder).is_some()
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

fn note(outcome: &Outcome) -> String {
    outcome
        .notes
        .iter()
        .find(|(name, _)| name == "trace")
        .map_or(String::new(), |(_, text)| text.clone())
}

fn id(outcome: &Outcome) -> String {
    format!("{}-{}", outcome.case.replace('/', "-"), outcome.iteration + 1)
}

fn section(out: &mut String, outcome: &Outcome, folder: &Path) {
    let _ = writeln!(
        out,
        "<section id=\"{}\"><h2>{} <span class=\"verdict {verdict}\">{verdict}</span></h2>",
        escape(&id(outcome)),
        escape(&outcome.title()),
        verdict = outcome.verdict.word(),
    );
    if let Some(reason) = &outcome.reason {
        let _ = writeln!(out, "<p>{}</p>", escape(reason));
    }
    for problem in &outcome.problems {
        push_problem(out, problem, "problem");
    }
    if let Some(picture) = picture(outcome, folder) {
        let _ = writeln!(out, "<div class=\"picture\">{picture}</div>{}", legend());
    }
    out.push_str("</section>\n");
}

fn push_problem(out: &mut String, problem: &Problem, class: &str) {
    let _ = writeln!(out, "<div class=\"{class}\"><strong>{}</strong>", escape(&problem.title));
    if problem.text.trim() != problem.title.trim() && !problem.text.trim().is_empty() {
        let _ = writeln!(
            out,
            "<details><summary>evidence</summary><pre>{}</pre></details>",
            escape(&problem.text)
        );
    }
    out.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Witness;

    fn outcome(verdict: Verdict, problems: Vec<Problem>) -> Outcome {
        Outcome {
            case: "waits/punch/splice/mapped".to_owned(),
            iteration: 0,
            verdict,
            seconds: 0.1,
            reason: None,
            find: None,
            problems,
            notes: Vec::new(),
            folder: None,
        }
    }

    #[test]
    fn a_failure_has_a_section_and_a_quiet_case_only_a_row() {
        let history = History {
            outcomes: vec![
                outcome(
                    Verdict::Fail,
                    vec![Problem::new(Witness::Case, "a <b> went wrong", "at length")],
                ),
                Outcome { iteration: 1, ..outcome(Verdict::Pass, Vec::new()) },
            ],
            ..History::default()
        };
        let page = page(&history, Path::new("/nonexistent"));
        assert!(
            page.contains("<span class=\"FAIL\">1 FAIL</span><span class=\"PASS\">1 PASS</span>")
        );
        assert!(page.contains("<strong>a &lt;b&gt; went wrong</strong>"));
        assert_eq!(page.matches("<section").count(), 1);
        assert!(page.contains("<td class=\"case\">waits/punch/splice/mapped (iteration 2)</td>"));
    }
}
