//! What the folder of a result holds, as a page can show it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use similar::{ChangeTag, TextDiff};
use tracer::timeline::svg::escape;

use crate::case_file::CaseFile;
use crate::expected;

/// How many lines of a text are shown; its file has all.
const LINES: usize = 300;

/// The files of a result that a page shows.
#[derive(Debug, Default)]
pub(super) struct ShownFiles {
    /// Those that are there.
    pub(super) files: Vec<CaseFile>,
    /// What the case did, unless that is what is compared.
    pub(super) transcript: String,
    /// What was expected and what was seen, line by line.
    pub(super) comparison: Option<Diff>,
    pub(super) log: String,
    pub(super) stacks: String,
    pub(super) stderr: String,
}

/// What was expected beside what was seen.
#[derive(Debug)]
pub(super) struct Diff {
    /// "the transcript", "what was observed".
    pub(super) what: &'static str,
    pub(super) differs: bool,
    /// Each line marked, as HTML.
    pub(super) lines: String,
}

impl ShownFiles {
    /// What is in `folder`, the folder of `case`.
    pub(super) fn read(folder: &Path, case: &str) -> Self {
        let text = |file: CaseFile| {
            let bytes = fs::read(folder.join(file.name())).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let transcript = text(CaseFile::Transcript);
        let expected = text(CaseFile::Expected);
        let observed = text(CaseFile::Observed);
        let (what, seen) = expected::compared(case, &transcript, &observed);
        let comparison = (!expected.is_empty()).then(|| Diff {
            what,
            differs: expected != seen,
            lines: compared(&expected, seen),
        });
        let compared = comparison.is_some() && transcript == seen;
        Self {
            files: files(folder),
            comparison,
            log: text(CaseFile::KernelLog),
            stacks: text(CaseFile::Stacks),
            stderr: text(CaseFile::Stderr),
            transcript: if compared { String::new() } else { transcript },
        }
    }
}

/// The files that are in the folder of a case.
pub(super) fn files(folder: &Path) -> Vec<CaseFile> {
    CaseFile::ALL.into_iter().filter(|file| folder.join(file.name()).is_file()).collect()
}

/// The picture in the folder of a case.
pub(super) fn picture(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(CaseFile::TimelineSvg.name())).ok()
}

/// What is missing from `seen`, and what is in it although nobody expects it.
fn compared(expected: &str, seen: &str) -> String {
    let diff = TextDiff::from_lines(expected, seen);
    let mut out = String::new();
    for (change, number) in diff.iter_all_changes().zip(0..) {
        if number == LINES {
            let more = diff.iter_all_changes().count() - LINES;
            let _ = writeln!(out, "({more} more lines)");
            break;
        }
        let line = escape(change.value().trim_end_matches('\n'));
        let _ = match change.tag() {
            ChangeTag::Equal => writeln!(out, "  {line}"),
            ChangeTag::Delete => writeln!(out, "<del>- {line}</del>"),
            ChangeTag::Insert => writeln!(out, "<ins>+ {line}</ins>"),
        };
    }
    out
}

/// The first lines of `text`; `whole` has them all.
pub(super) fn shortened(text: &str, whole: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    if lines.len() <= LINES {
        return lines.join("\n");
    }
    let more = lines.len() - LINES;
    format!("{}\n({more} more lines in {whole})", lines[..LINES].join("\n"))
}
