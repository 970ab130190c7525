//! Journals that were cut, and results that were copied in part: `runner report` tells what is left,
//! says that it is not all, and never that it could not run.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A run of a few cases that all pass.
const RUN: [&str; 5] = ["--fs", "reference", "waits/punch/**", "--results", "whole"];

/// Whom root must become to be kept from a folder: nobody.
const NOBODY: u32 = 65534;

fn runner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("GITHUB_ACTIONS");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    runner(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A journal, and what is to be said of it.
type Cut = (&'static str, String, &'static str);

/// Journals cut from that of a whole run.
fn cut(journal: &str) -> Vec<Cut> {
    let first = journal.find('\n').unwrap() + 1;
    let head: String = journal.split_inclusive('\n').take(5).collect();
    let beginning = "the journal lacks its first line";
    vec![
        ("head", head, "the journal breaks off"),
        ("empty", String::new(), "the journal is empty"),
        ("beheaded", journal[first..].to_owned(), beginning),
        ("damaged", journal[49..].to_owned(), beginning),
    ]
}

/// A folder with a whole run, and its journal.
fn stage() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &RUN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let journal = fs::read_to_string(folder.path().join("whole/journal.jsonl")).unwrap();
    (folder, journal)
}

/// Reports the results in `name`, which are incomplete because of `why`; what it noted.
fn is_told(folder: &Path, name: &str, why: &str) -> String {
    let output = run(folder, &["report", name, "--junit", "c.xml"]);
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{name}: {noted}");
    assert!(said.contains("INCOMPLETE: ") && said.contains(why), "{name}: {said}");
    let xml = fs::read_to_string(folder.join("c.xml")).unwrap();
    assert!(xml.contains(".run\"") && xml.contains("name=\"incomplete\""), "{name}: {xml}");
    let output = run(folder, &["report", name, "--format", "ktap"]);
    assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
    let ktap = text(&output.stdout);
    assert!(ktap.starts_with("KTAP version 1\n"), "{name}: {ktap}");
    assert!(ktap.contains("\n  # Subtest: run\n  1..1\n  not ok 1 incomplete # FAIL "), "{ktap}");
    noted
}

#[test]
fn a_cut_journal_is_told_as_incomplete() {
    let (folder, journal) = stage();
    for (name, cut, why) in cut(&journal) {
        let results = folder.path().join(name);
        fs::create_dir(&results).unwrap();
        fs::write(results.join(".daxtests-results"), "").unwrap();
        fs::write(results.join("journal.jsonl"), cut).unwrap();
        assert_eq!(is_told(folder.path(), name, why), "", "{name}");
        for report in ["junit.xml", "report.html"] {
            assert!(results.join(report).exists(), "{name}: {report} is not rebuilt");
        }
    }
}

/// As they are when they were copied without hidden files.
#[test]
fn results_without_their_marker_are_told() {
    let (folder, journal) = stage();
    for (name, cut, why) in cut(&journal) {
        let results = folder.path().join(name);
        fs::create_dir(&results).unwrap();
        fs::write(results.join("journal.jsonl"), &cut).unwrap();
        fs::write(results.join("junit.xml"), "old").unwrap();
        let noted = is_told(folder.path(), name, why);
        if name == "head" {
            assert_eq!(noted, "", "its journal says whose it is");
            continue;
        }
        assert_eq!(
            noted,
            format!(
                "runner: the reports in {name} are not rebuilt: nothing says that daxtests made \
                 {name}\n"
            )
        );
        assert_eq!(fs::read_to_string(results.join("junit.xml")).unwrap(), "old", "{name}");
        let output = run(folder.path(), &["report", name]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(why), "{name}: {}", text(&output.stdout));
    }
}

#[test]
fn a_folder_that_nobody_can_write_to_is_told() {
    let (folder, _) = stage();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    mode(&folder.path().join("whole"), 0o555);
    let mut command = runner(folder.path());
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = match command.args(["report", "whole"]).output() {
        Ok(output) => output,
        Err(why) => return eprintln!("skipped: nobody may not run the runner: {why}"),
    };
    mode(&folder.path().join("whole"), 0o755);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(" PASS"), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.starts_with("runner: the reports in whole are not rebuilt: whole: "), "{said}");
    assert!(said.ends_with(": Permission denied (os error 13)\n"), "{said}");
}

#[test]
fn what_is_no_journal_is_still_refused() {
    let (folder, _) = stage();
    let journal = folder.path().join("whole/journal.jsonl");
    fs::write(&journal, "these\nare\nnotes\n").unwrap();
    let output = run(folder.path(), &["report", "whole"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("runner: whole/journal.jsonl: line 1: "), "{said}");
}
