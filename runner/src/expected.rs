//! What each case must show.
//!
//! A case that no axis expresses has its golden transcript in a file of its own. Of the cells of a
//! law one file has what is observed in each, a line a cell: `punch/splice/first: blocked; done`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use similar::TextDiff;

static TRANSCRIPTS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/transcripts.rs"));

/// Between a cell and what is observed in it.
const COLON: &str = ": ";

/// Between one observation and the next.
const SEMICOLON: &str = "; ";

/// What each case must show: its golden transcript, or what must be observed in it, a line each.
static GOLDEN: LazyLock<BTreeMap<String, Cow<'static, str>>> = LazyLock::new(|| {
    let mut golden = BTreeMap::new();
    for (name, text) in TRANSCRIPTS {
        if name.contains('/') {
            golden.insert((*name).to_owned(), Cow::Borrowed(*text));
            continue;
        }
        for (cell, observed) in text.lines().filter_map(|line| line.split_once(COLON)) {
            let observed = lines(observed.split(SEMICOLON));
            golden.insert(format!("{name}/{cell}"), Cow::Owned(observed));
        }
    }
    golden
});

/// What the case of this name must show.
pub(crate) fn of(case: &str) -> Option<&'static str> {
    GOLDEN.get(case).map(|text| &**text)
}

/// The law of the cell of this name.
fn law(case: &str) -> Option<&'static str> {
    cases::find(case)?.coordinate("law")
}

/// Where it stands what the case of this name must show, in `expected/` and without an extension.
pub(crate) fn name(case: &str) -> &str {
    law(case).unwrap_or(case)
}

/// The same, from the folder above.
pub(crate) fn file(case: &str) -> String {
    format!("expected/{}.out", name(case))
}

/// What was seen of the case of this name that is compared: in words, and a line each.
pub(crate) fn compared<'w>(
    case: &str,
    transcript: &'w str,
    observed: &'w str,
) -> (&'static str, &'w str) {
    match law(case) {
        Some(_) => ("what was observed", observed),
        None => ("the transcript", transcript),
    }
}

/// A cell's name within its law.
fn cell(case: &str) -> &str {
    case.split_once('/').map_or(case, |(_, cell)| cell)
}

/// What was observed, a line each.
pub(crate) fn lines<T: AsRef<str>>(observed: impl IntoIterator<Item = T>) -> String {
    observed.into_iter().fold(String::new(), |mut text, what| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", what.as_ref());
        text
    })
}

/// The file of a law, `contract`, once it says that `observed`, a line each, is seen in `case`.
/// The cells stand in the order of their names.
pub(crate) fn with_cell(contract: &str, case: &str, observed: &str) -> String {
    let cell = cell(case);
    let observed: Vec<_> = observed.lines().collect();
    let new = format!("{cell}{COLON}{}", observed.join(SEMICOLON));
    let name = |line: &&str| line.split_once(COLON).map_or(String::new(), |(of, _)| of.to_owned());
    let mut all: Vec<_> = contract.lines().filter(|line| name(line) != cell).collect();
    all.push(&new);
    all.sort_by_key(name);
    lines(all)
}

/// How `seen` differs from `golden`, as a unified diff. `whole` says that the case came to its
/// end; a case that stopped early need only have begun as expected.
pub(crate) fn difference(golden: &str, seen: &str, whole: bool) -> Option<String> {
    let same = if whole { golden == seen } else { golden.starts_with(seen) };
    if same {
        return None;
    }
    let diff = TextDiff::from_lines(golden, seen);
    Some(diff.unified_diff().context_radius(3).header("expected", "seen").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_some_cases_and_every_cell_has_a_line() {
        let all = cases::all();
        for (file, text) in TRANSCRIPTS {
            let cases: Vec<_> = all.iter().filter(|case| name(case.name) == *file).collect();
            assert!(!cases.is_empty(), "expected/{file}.out is no case's: remove it");
            assert!(text.ends_with('\n'), "expected/{file}.out is cut off");
            if cases[0].is_cell() {
                let mut cells: Vec<_> = cases.iter().map(|case| cell(case.name)).collect();
                let mut lines: Vec<_> =
                    text.lines().map(|line| line.split_once(COLON).unwrap().0).collect();
                assert!(lines.is_sorted(), "expected/{file}.out is in no order");
                lines.sort_unstable();
                cells.sort_unstable();
                // A cell that the reference has no means for is blessed on a kernel.
                assert_eq!(lines, cells, "expected/{file}.out: --bless expected writes it");
            }
        }
        for case in all {
            assert!(of(case.name).is_some(), "{}: --bless expected writes it", case.name);
        }
    }

    #[test]
    fn a_law_has_a_line_a_cell() {
        let case = "waits/punch/splice/unmapped";
        let text = with_cell("a/b/c: blocked\nz/b/c: done\n", case, "blocked\ndone\n");
        let new = "punch/splice/unmapped: blocked; done\n";
        assert_eq!(text, format!("a/b/c: blocked\n{new}z/b/c: done\n"));
        let text = with_cell(&text, case, "done\n");
        assert_eq!(text, "a/b/c: blocked\npunch/splice/unmapped: done\nz/b/c: done\n");
    }

    #[test]
    fn equal_is_equal() {
        assert_eq!(difference("a\nb\n", "a\nb\n", true), None);
        assert!(difference("a\nb\n", "a\n", true).is_some());
    }

    #[test]
    fn a_case_that_stopped_must_have_begun_as_expected() {
        assert_eq!(difference("a\nb\n", "a\n", false), None);
        assert!(difference("a\nb\n", "x\n", false).is_some());
    }

    #[test]
    fn the_diff_is_unified() {
        let diff = difference("a\nb\nc\n", "a\nB\nc\n", true).unwrap();
        assert_eq!(diff, "--- expected\n+++ seen\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    }
}
