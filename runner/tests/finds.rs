//! `runner finds` with the journals of real runs: what it makes of them, and what it leaves alone.
//!
//! A run on the reference stands for one on a kernel: its journal is given a kernel's names.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The case by which the find `unmapped` counts as not seen, and the bug that makes it fail.
const CASE: &str = "waits/truncate-down/splice/unmapped";
const BUG: &str = "skip-unmapped";

fn runner(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner")).current_dir(folder).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The journal of a run of [`CASE`], as if it had been on XFS of `kernel`.
fn journal(folder: &Path, kernel: &str, arguments: &[&str]) -> PathBuf {
    let results = format!("results-{kernel}");
    let run = [&["--fs", "reference", "--results", &results, CASE], arguments].concat();
    assert!(runner(folder, &run).status.code().is_some_and(|code| code < 2));
    let path = folder.join(results).join("journal.jsonl");
    let mut lines: Vec<serde_json::Value> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines[0]["plan"]["target"]["fs"] = "xfs".into();
    lines[0]["machine"]["kernel"] = kernel.into();
    let text: Vec<_> = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text.concat()).unwrap();
    path
}

/// The cells of a find's row.
fn row(index: &str, id: &str) -> Vec<String> {
    let name = format!("[`{id}`]");
    let row = index.lines().find(|line| line.contains(&name)).unwrap();
    row.split('|').skip(5).map(|cell| cell.trim().to_owned()).filter(|c| !c.is_empty()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

#[test]
fn the_index_says_what_journals_say_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let passed = journal(folder.path(), "6.9.1-x", &[]);
    let failed = journal(folder.path(), "6.10.2-x", &["--variant", BUG]);
    let paths = [passed.to_str().unwrap(), failed.to_str().unwrap()];
    let index = stdout(&runner(folder.path(), &["finds", "index", paths[1], paths[0]]));
    assert!(index.contains("| XFS 6.9 | XFS 6.10 |"), "{index}");
    // A failure that no entry explains proves nothing of a find.
    assert_eq!(row(&index, "unmapped"), ["not seen", "undecided"]);
    assert_eq!(row(&index, "dedupe-errno"), ["not run", "not run"]);
    assert_eq!(row(&index, "zeros-stay-mapped"), ["-", "-"]);
    assert!(index.contains("| 6.10 | 6.10.2-x | "), "{index}");
}

#[test]
fn the_docs_are_brought_up_to_date_and_prose_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let docs = folder.path().join("docs");
    copy(&source, &docs);
    let read = |name: &str| fs::read_to_string(docs.join(name)).unwrap();
    let page = "finds/01-unmapped.md";
    let (before, index) = (read(page), read("finds.md"));
    // Nothing new: nothing is written.
    let said = stdout(&runner(folder.path(), &["finds", "index", "--update", "docs"]));
    assert_eq!(said, "");

    let path = journal(folder.path(), "6.9.1-x", &[]);
    let update = ["finds", "index", "--update", "docs", path.to_str().unwrap()];
    let said = stdout(&runner(folder.path(), &update));
    assert!(
        said.contains("wrote docs/finds/seen.json\n") && said.contains("wrote docs/finds.md\n")
    );
    let after = read(page);
    let prose = |text: &str| text.split_once("<!--").unwrap().1.to_owned();
    assert_ne!(after, before);
    assert_eq!(prose(&after), prose(&before));
    assert_eq!(row(&read("finds.md"), "unmapped").len(), row(&index, "unmapped").len() + 1);
    // Again, and it is as it was.
    assert_eq!(stdout(&runner(folder.path(), &update)), "");
    // From now on only this run counts.
    stdout(&runner(folder.path(), &[&update[..], &["--fresh"]].concat()));
    assert_eq!(row(&read("finds.md"), "unmapped"), ["not seen"]);

    // What daxtests did not make stays.
    fs::write(docs.join("finds.md"), "mine\n").unwrap();
    let refused = runner(folder.path(), &update);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "runner: docs/finds.md is not an index of finds; move it away\n"
    );
    assert_eq!(read("finds.md"), "mine\n");
}
