//! Results folders of this run, of the one before and of somebody else: what is moved, and what stays.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;
use crate::machine::Machine;
use crate::plan;

/// All that is below `folder`, sorted; a folder ends with a slash.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(top: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                found.push(format!("{name}/"));
                walk(top, &path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// A run that came to `cases`, each of which left a file.
fn ran(results: &Results, cases: &[&str]) {
    results.check().unwrap();
    let mut journal = results.begin().unwrap();
    let mut say = |event| journal.append(&Entry::now(event)).unwrap();
    say(RunEvent::Begun { plan: plan::example().into(), machine: Machine::default() });
    for case in cases {
        say(RunEvent::CaseBegun { case: (*case).to_owned(), iteration: 1, seed: 0 });
        results.begin_case(case, 1).unwrap();
        let inside = Results::inside(case, 1);
        results.write(&inside, CaseFile::Problems, case.as_bytes()).unwrap();
    }
    results.write_junit(b"<report/>").unwrap();
}

fn refusal(folder: &Path) -> String {
    let before = tree(folder);
    let error = Results::at(folder).check().unwrap_err().to_string();
    assert_eq!(Results::at(folder).claim().unwrap_err().to_string(), error);
    assert_eq!(tree(folder), before);
    error
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("cases/src")).unwrap();
    fs::write(folder.path().join("cases/src/lib.rs"), "").unwrap();
    let expected = format!(
        "{} is not empty and daxtests did not make it; name another folder for the results",
        folder.path().display()
    );
    assert_eq!(refusal(folder.path()), expected);
    // A journal of that name is not enough.
    fs::write(folder.path().join(journal::NAME), "{\"event\":\"begun\"}\n").unwrap();
    assert_eq!(refusal(folder.path()), expected);
}

#[test]
fn a_journal_proves_what_was_copied_without_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    ran(&results, &["pin/a"]);
    fs::remove_file(folder.path().join(MARKER)).unwrap();
    results.check().unwrap();
}

#[test]
fn a_run_moves_the_one_before_out_of_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    let at = |name: &str| fs::metadata(folder.path().join(name)).unwrap().ino();
    ran(&results, &["pin/a", "pin/b"]);
    let first = at("cases/pin/a.2");
    ran(&results, &["pin/b"]);
    // Not file by file, which takes minutes where the folder is not a local one.
    assert_eq!(at("previous/cases/pin/a.2"), first);
    assert_eq!(
        tree(folder.path()),
        [
            ".daxtests-results",
            "cases/",
            "cases/pin/",
            "cases/pin/b.2/",
            "cases/pin/b.2/problems.txt",
            "journal.jsonl",
            "junit.xml",
            "previous/",
            "previous/.daxtests-results",
            "previous/cases/",
            "previous/cases/pin/",
            "previous/cases/pin/a.2/",
            "previous/cases/pin/a.2/problems.txt",
            "previous/cases/pin/b.2/",
            "previous/cases/pin/b.2/problems.txt",
            "previous/journal.jsonl",
            "previous/junit.xml",
        ]
    );
    ran(&results, &["race/c"]);
    let kept: Vec<_> = tree(folder.path()).into_iter().filter(|f| f.contains(".2/p")).collect();
    assert_eq!(kept, ["cases/race/c.2/problems.txt", "previous/cases/pin/b.2/problems.txt"]);
}

#[test]
fn a_run_that_came_to_nothing_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    ran(&results, &["pin/a"]);
    for _ in 0..2 {
        ran(&results, &[]);
        let begun = |entry: &Entry| matches!(&entry.event, RunEvent::CaseBegun { .. });
        assert!(results.last_entries().unwrap().iter().any(begun));
        assert!(folder.path().join("previous/cases/pin/a.2/problems.txt").exists());
    }
}

#[test]
fn what_the_journal_does_not_name_stays() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    ran(&results, &["pin/a"]);
    let at = |name: &str| folder.path().join(name);
    let foreign = ["notes", "cases/notes", "cases/pin/a.2/notes", "cases/pin/b.2/problems.txt"];
    fs::create_dir(at("cases/pin/b.2")).unwrap();
    for name in foreign {
        fs::write(at(name), "mine").unwrap();
    }
    // Nor does a name lead out of the folder, or through a link.
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/problems.txt"), "mine").unwrap();
    symlink(at("elsewhere"), at("cases/pin/c.2")).unwrap();
    let mut journal = Journal::resume(&at(journal::NAME)).unwrap().0;
    for case in ["../../elsewhere", "pin/c"] {
        let case = case.to_owned();
        journal.append(&Entry::now(RunEvent::CaseBegun { case, iteration: 1, seed: 0 })).unwrap();
    }
    drop(journal);
    for _ in 0..3 {
        ran(&results, &["pin/a"]);
    }
    for name in foreign.into_iter().chain(["elsewhere/problems.txt"]) {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "mine", "{name}");
    }
    assert!(fs::symlink_metadata(at("cases/pin/c.2")).unwrap().is_symlink());
}

#[test]
fn what_lies_in_our_files_place_is_not_replaced() {
    for (name, kind) in [
        ("junit.xml", "regular file"),
        ("report.html", "regular file"),
        ("cases", "folder"),
        ("previous", "folder"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Results::at(folder.path()).claim().unwrap();
        let link = folder.path().join(name);
        symlink("/nowhere", &link).unwrap();
        assert_eq!(
            refusal(folder.path()),
            format!("{} is not a {kind}; daxtests did not make it, move it away", link.display())
        );
    }
}

#[test]
fn another_runners_results_are_not_moved() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    ran(&results, &["pin/a"]);
    let lock = journal::lock(&folder.path().join(journal::NAME)).unwrap();
    let before = tree(folder.path());
    let error = results.begin().unwrap_err().to_string();
    assert!(error.contains("is being written by another runner"), "{error}");
    assert_eq!(tree(folder.path()), before);
    drop(lock);
}

#[test]
fn a_report_does_not_go_over_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::at(folder.path());
    results.claim().unwrap();
    let journal = folder.path().join(journal::NAME);
    assert_eq!(
        results.open_other(&journal).unwrap_err().to_string(),
        format!("{} is one of the results themselves; name another file", journal.display())
    );
    results.open_other(&folder.path().join("junit.xml")).unwrap();
    results.open_other(&folder.path().join("other.xml")).unwrap();
}

#[test]
fn a_folder_of_a_case_says_which_case_it_is() {
    for (folder, case) in [
        ("target/results/6.12-xfs/cases/waits/punch/splice/mapped", "waits/punch/splice/mapped"),
        ("/r/cases/race/retry.2/", "race/retry"),
    ] {
        assert_eq!(Results::case_of(Path::new(folder)).unwrap(), case);
    }
    let error = Results::case_of(Path::new("/r")).unwrap_err().to_string();
    assert!(error.starts_with("/r is no folder of a case"), "{error}");
}
