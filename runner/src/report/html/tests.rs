//! The structure of the page: what comes first, what is open, what is told once, and how large it
//! gets. That it is well-formed is checked by a parser of XML, which is stricter than a browser.

use std::fs;

use roxmltree::{Document, Node};

use super::*;
use crate::case_file::CaseFile;
use crate::plan;
use crate::verdict::Witness;

fn outcome(case: &str, verdict: Verdict, problems: Vec<Problem>) -> Outcome {
    Outcome {
        case: case.to_owned(),
        iteration: 0,
        verdict,
        seconds: 1.0,
        reason: matches!(verdict, Verdict::XFail | Verdict::NotRun).then(|| "because".to_owned()),
        find: None,
        problems,
        notes: Vec::new(),
        folder: None,
    }
}

fn failed(case: &str, title: &str) -> Outcome {
    outcome(case, Verdict::Fail, vec![Problem::new(Witness::Case, title, "at length")])
}

fn history(outcomes: Vec<Outcome>) -> History {
    History { plan: Some(plan::example()), outcomes, ..History::default() }
}

/// The page's elements. A script and a style sheet are text to HTML, and markup to XML.
fn elements(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1.rsplit_once("<script>").unwrap().0;
    let body =
        body.replace(" hidden>", ">").replace(" open>", ">").replace("<details >", "<details>");
    let body = body.replace("aria-label=\"Filter\">", "aria-label=\"Filter\"/>");
    format!("<body>{body}</body>")
}

/// All results in the order of the page: verdict, title, and whether they can be seen at once.
fn results(page: &str) -> Vec<(String, String)> {
    let text = elements(page);
    let document = Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let of = |node: Node<'_, '_>| {
        let value = |name| node.attribute(name).unwrap().to_owned();
        (value("data-verdict"), value("data-case"))
    };
    document.descendants().filter(|node| node.has_attribute("data-case")).map(of).collect()
}

fn nowhere() -> &'static Path {
    Path::new("/nonexistent")
}

#[test]
fn what_failed_comes_first_and_open_and_the_rest_is_folded() {
    let history = history(vec![
        outcome("waits/punch/splice/mapped", Verdict::Pass, Vec::new()),
        outcome("race/retry", Verdict::XFail, Vec::new()),
        failed("race/canary", "a <b> went wrong"),
        outcome("fsync/pinned", Verdict::NotRun, Vec::new()),
        outcome("evict/pinned", Verdict::XPass, Vec::new()),
    ]);
    let page = page(&[&history], nowhere());
    let order: Vec<_> = results(&page).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(order, ["FAIL", "XPASS", "XFAIL", "NOTRUN", "PASS"]);
    assert_eq!(page.matches("data-times=\"1\" open>").count(), 2);
    assert_eq!(page.matches("<details class=\"group\">").count(), 3);
    assert!(page.contains("<span class=\"gist\">a &lt;b&gt; went wrong</span>"));
    assert!(page.contains("<p class=\"conclusion not\">2 results need attention</p>"));
    let words = "sudo runner --fs xfs --dev /dev/pmem0 --seed 7 race/canary".split(' ');
    let command: Vec<_> = words.map(|word| format!("<span>{word}</span>")).collect();
    assert!(page.contains(&format!("<code>{}</code>", command.join(" "))), "{page}");
}

#[test]
fn a_known_deviation_does_not_look_like_a_pass() {
    let verdicts = [Verdict::Pass, Verdict::XFail, Verdict::XPass, Verdict::NotRun, Verdict::Fail];
    for (at, verdict) in verdicts.iter().enumerate() {
        let rule = |verdict: &Verdict| {
            let style = STYLE.lines().find(|line| line.contains(&format!(".badge.{verdict}")));
            style.unwrap().split_once('{').unwrap().1.to_owned()
        };
        for other in &verdicts[at + 1..] {
            assert_ne!(rule(verdict), rule(other), "{verdict} looks like {other}");
        }
    }
}

#[test]
fn the_page_needs_nothing_from_anywhere() {
    let page = page(&[&history(vec![failed("race/canary", "x")])], nowhere());
    for word in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("name=\"viewport\" content=\"width=device-width,initial-scale=1\""));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn what_happened_many_times_is_told_once() {
    let outcomes =
        (0..30).map(|iteration| Outcome { iteration, ..failed("race/canary", "it returned") });
    let mut outcomes: Vec<_> = outcomes.collect();
    outcomes.push(Outcome { iteration: 30, ..failed("race/canary", "something else") });
    outcomes.extend((0..9).map(|iteration| Outcome {
        iteration,
        ..outcome("race/retry", Verdict::Pass, Vec::new())
    }));
    let page = page(&[&history(outcomes)], nowhere());
    let titles: Vec<_> = results(&page).into_iter().map(|(_, title)| title).collect();
    assert_eq!(titles, ["race/canary", "race/canary (iteration 31)", "race/retry"]);
    for times in [30, 1, 9] {
        assert!(page.contains(&format!("data-times=\"{times}\"")), "{times}");
    }
    assert!(page.contains("data-show=\"FAIL\">FAIL 31</button>"), "{page}");
}

/// A results folder with the evidence of one case.
fn folder(case: &str, files: &[(CaseFile, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join(Results::inside(case, 0));
    fs::create_dir_all(&inside).unwrap();
    for (file, text) in files {
        fs::write(inside.join(file.name()), text).unwrap();
    }
    folder
}

#[test]
fn evidence_is_shown_once_and_its_files_are_linked() {
    let stacks = "task 7 (D) in xfs_break_dax_layouts\n  stack of task 7";
    let warning = "WARNING: CPU: 0 PID: 1 at fs/dax.c:390 dax_disassociate_entry+0x1/0x2";
    let folder = folder(
        "race/canary",
        &[
            (CaseFile::Expected, "a\nb\nc\n"),
            (CaseFile::Transcript, "a\nB\n"),
            (CaseFile::KernelLog, &format!("[1.0] {warning}\n")),
            (CaseFile::Stacks, stacks),
        ],
    );
    let hung = outcome(
        "race/canary",
        Verdict::Hang,
        vec![
            Problem::new(
                Witness::Case,
                "expected: it ends; seen: it had not ended",
                format!("expected: it ends\nseen: it had not ended\n\n{stacks}"),
            ),
            Problem::new(
                Witness::KernelLog,
                "WARNING in dax_disassociate_entry",
                format!("[1.0] {warning}"),
            ),
            Problem::new(Witness::Transcript, "the transcript differs", "-b\n+B"),
        ],
    );
    let page = page(&[&history(vec![hung])], folder.path());
    for (what, times) in [
        ("stack of task 7", 1),
        ("fs/dax.c:390", 1),
        ("<del>- b</del>", 1),
        ("<ins>+ B</ins>", 1),
        ("<strong>the transcript differs</strong>", 1),
        ("href=\"cases/race/canary/kernel.log\"", 1),
        ("href=\"cases/race/canary/stacks.txt\"", 1),
    ] {
        assert_eq!(page.matches(what).count(), times, "{what}: {page}");
    }
    // What the case is about.
    let about = escape(&cases::find("race/canary").unwrap().description());
    assert!(page.contains(&about));
}

#[test]
fn a_page_elsewhere_links_to_where_the_files_are() {
    let folder = folder("race/canary", &[(CaseFile::Problems, "x")]);
    let there = folder.path().join("my results");
    fs::create_dir_all(&there).unwrap();
    fs::rename(folder.path().join("cases"), there.join("cases")).unwrap();
    let mut merged = history(vec![failed("race/canary", "x")]);
    let source = history(vec![failed("race/canary", "x")]);
    merged.sources.push(crate::history::Source { folder: there, history: source });
    let page = page(&[&merged], &folder.path().join("pages"));
    let link = "href=\"../my%20results/cases/race/canary/problems.txt\"";
    assert!(page.contains(link), "{page}");
}

#[test]
fn several_suites_are_told_apart() {
    let one = history(vec![failed("race/canary", "x")]);
    let mut other = history(vec![outcome("race/canary", Verdict::Pass, Vec::new())]);
    other.machine.kernel = "7.2".to_owned();
    let page = page(&[&one, &other], nowhere());
    assert!(page.contains("<title>daxtests: 2 suites</title>"));
    assert!(page.contains("<strong>xfs on Linux 7.2</strong>"));
    assert!(page.contains(" <span class=\"suite\">xfs on Linux 7.2</span>"));
    assert_eq!(results(&page).len(), 2);
}

/// A kernel on which everything fails, with a picture each: a page must open at once all the same.
#[test]
fn a_page_stays_small() {
    let picture = "<svg>".to_owned() + &"<path/>".repeat(5_000) + "</svg>";
    let log = "a line of a kernel log\n".repeat(2_000);
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<_> = cases::all();
    let outcomes: Vec<_> = all.iter().map(|case| failed(case.name, "it returned")).collect();
    for case in all.iter().take(300) {
        let inside = folder.path().join(Results::inside(case.name, 0));
        fs::create_dir_all(&inside).unwrap();
        fs::write(inside.join(CaseFile::TimelineSvg.name()), &picture).unwrap();
        fs::write(inside.join(CaseFile::KernelLog.name()), &log).unwrap();
    }
    let count = outcomes.len();
    let page = page(&[&history(outcomes)], folder.path());
    assert_eq!(results(&page).len(), count);
    assert!(page.len() < 8 << 20, "{} bytes", page.len());
    assert!(page.matches("data-times=\"1\" open>").count() <= 40);
    assert!(page.contains("The page is full; the files have the rest."));
}
