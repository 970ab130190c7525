//! What the command says to input that it cannot use: one clear line and exit code 2, and nothing
//! is touched. And what it says where it cannot print.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A short run of one case.
const RUN: [&str; 3] = ["--fs", "reference", "waits/punch/splice/mapped"];

fn runner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE")
        .env_remove("GITHUB_ACTIONS");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    runner(folder).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Everything below `folder` with its content.
fn all(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let content = kind.is_file().then(|| fs::read(&path).unwrap());
            if kind.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, content));
        }
    }
    found.sort();
    found
}

/// A folder as a user may stand in: a clone, results of an earlier run, and traps.
fn stage() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("clone/cases/src")).unwrap();
    fs::write(at("clone/cases/src/lib.rs"), "mine").unwrap();
    fs::write(at("file"), "mine").unwrap();
    symlink("nowhere/else", at("dangling")).unwrap();
    for (runs, target) in [("led", "../clone"), ("waylaid", "")] {
        fs::create_dir(at(runs)).unwrap();
        fs::write(at(runs).join(".daxtests-runs"), "").unwrap();
        match target {
            "" => fs::write(at(runs).join("latest"), "mine").unwrap(),
            target => symlink(target, at(runs).join("latest")).unwrap(),
        }
    }
    fs::create_dir(at("none-yet")).unwrap();
    fs::write(at("none-yet/.daxtests-runs"), "").unwrap();
    fs::create_dir_all(at("blessed")).unwrap();
    symlink("file", at("blessed/waits.out")).unwrap();
    fs::create_dir(at("waiting")).unwrap();
    for pipe in ["pipe", "waiting/journal.jsonl"] {
        nix::unistd::mkfifo(&at(pipe), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let arguments = ["--results", "good", "--variant", "no-break"];
    let output = run(folder.path(), &[&RUN[..], &arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    folder
}

#[test]
fn each_is_one_line_and_touches_nothing() {
    let folder = stage();
    let base = folder.path().canonicalize().unwrap();
    let base = base.display();
    let foreign = "is not empty and daxtests did not make it; name another folder for the results";
    let no_journal = "is not a regular file, so it is no journal";
    let moved = "daxtests did not make it, move it away";
    let none = "No such file or directory (os error 2)";
    let rows: &[(&[&str], String)] = &[
        // Results.
        (&["--results", "."], format!(". {foreign}")),
        (&["--results", "clone"], format!("clone {foreign}")),
        (&["--results", "file"], "file is not a folder".to_owned()),
        (&["--results", "file/x"], "file/x: Not a directory (os error 20)".to_owned()),
        (&["--results", "/proc/x"], format!("/proc/x: cannot create a file in /proc: {none}")),
        (
            &["--results", "-"],
            "invalid value '-' for '--results <DIR>': name a folder (see runner --help)".to_owned(),
        ),
        (&["--results", "waiting", "--last-failed"], format!("waiting/journal.jsonl {no_journal}")),
        (&["--results", "good", "--last-failed", "-x", "waits"], "nothing is selected".to_owned()),
        (&["--results", "none", "--last-failed"], format!("none/journal.jsonl: {none}")),
        (
            &["--shard", "3/2"],
            "invalid value '3/2' for '--shard <I/N>': say I/N, such as 1/3, with I from 1 to N (see runner --help)".to_owned(),
        ),
        // The JUnit report.
        (&["--junit", "clone"], "clone is a folder; name a file".to_owned()),
        (&["--junit", "none/x.xml"], format!("none/x.xml: there is no folder {}", "none")),
        (&["--junit", "dangling"], format!("dangling: there is no folder {base}/nowhere")),
        (&["--junit", "pipe"], "pipe: nobody reads this pipe".to_owned()),
        (&["--junit", "/proc/x"], format!("/proc/x: cannot create a file in /proc: {none}")),
        (
            &["--results", "good", "--junit", "good/journal.jsonl"],
            "good/journal.jsonl is one of the results themselves; name another file".to_owned(),
        ),
        (
            &["--junit", "-", "--format", "json"],
            "--junit - and --format would both write to standard output".to_owned(),
        ),
        // Transcripts.
        (
            &["--bless", "-"],
            "invalid value '-' for '--bless <DIR>': name a folder (see runner --help)".to_owned(),
        ),
        (&["--bless", "/proc/x"], format!("/proc/x: cannot create a file in /proc: {none}")),
        (&["--bless", "file"], format!("file: {base}/file is not a folder")),
        (&["--bless", "blessed"], format!("blessed/waits.out is not a regular file; {moved}")),
        // What the reference does not have.
        (
            &["--dev", "/dev/pmem0"],
            "the reference has no --dev: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        (
            &["--trace"],
            "the reference has no --trace: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        (
            &["--force"],
            "the reference has no --force: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        (
            &["--known", "file"],
            "the reference has no --known: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        (
            &["--no-reflink"],
            "the reference has no --no-reflink: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        // Names.
        (&["waits"], "no case matches \"waits\"; did you mean -g waits?".to_owned()),
        (&["-g", "rac"], "no case is in group \"rac\"; did you mean race?".to_owned()),
        (
            &["-x", "nosuch"],
            "nothing to exclude: no case or group matches \"nosuch\"; --list shows all".to_owned(),
        ),
        (
            &["--exclude-file", "file"],
            "file:1: nothing to exclude: no case or group matches \"mine\"; --list shows all"
                .to_owned(),
        ),
        (&["--exclude-file", "none"], format!("none: {none}")),
        (
            &["variants"],
            "variants is a command, not a case: put it first, as in runner variants --help"
                .to_owned(),
        ),
    ];
    let before = all(folder.path());
    for (arguments, line) in rows {
        let output = run(folder.path(), &[&RUN[..], arguments].concat());
        assert_eq!(stderr(&output), format!("runner: {line}\n"), "{arguments:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert_eq!(all(folder.path()), before, "{arguments:?}");
    }
}

#[test]
fn so_is_what_other_commands_are_given() {
    let folder = stage();
    let none = "No such file or directory (os error 2)";
    let foreign = "is not empty and daxtests did not make it; name another folder for the results";
    let no_journal = "is not a regular file, so it is no journal";
    let rows: &[(&[&str], String)] = &[
        (&["report", "waiting"], format!("waiting/journal.jsonl {no_journal}")),
        (&["--resume", "waiting"], format!("waiting/journal.jsonl {no_journal}")),
        (&["compare", "good", "waiting"], format!("NEW: waiting/journal.jsonl {no_journal}")),
        (
            &["man", "--output", "-"],
            "invalid value '-' for '--output <FOLDER>': name a folder (see runner --help)"
                .to_owned(),
        ),
        (
            &["fuzz", "--fs", "reference", "--results", "-"],
            "invalid value '-' for '--results <DIR>': name a folder (see runner --help)".to_owned(),
        ),
        (
            &["explore", "--fs", "reference", "--results", "-"],
            "invalid value '-' for '--results <DIR>': name a folder (see runner --help)".to_owned(),
        ),
        (&["variants", "--table", "pipe"], "pipe: nobody reads this pipe".to_owned()),
        (
            &["variants", "--table", "-"],
            "-: the table is read and replaced; name a regular file".to_owned(),
        ),
        (&["variants", "--table", "none/x"], "none/x: there is no folder none".to_owned()),
        (
            &["report", "good", "--junit", "one", "--html", "./one"],
            "--junit and --html would both write to one".to_owned(),
        ),
        (
            &["--fs", "ext4", "--dev", "x", "--no-reflink"],
            "ext4 has no reflink: --no-reflink is for --fs xfs".to_owned(),
        ),
        (&["--list", "--format", "ktap"], "--list is printed as text or json".to_owned()),
        (
            &["--list", "--results", "good"],
            "--list has no results: --results and --runs go with --list --last-failed only"
                .to_owned(),
        ),
        (&["report", "none"], format!("none/journal.jsonl: {none}")),
        (&["report", "good", "good"], "good is named twice".to_owned()),
        (&["report", "good", "none"], format!("none/journal.jsonl: {none}")),
        (
            &["report", "good", "--junit", "-", "--html", "-"],
            "--junit and --html would both write to standard output".to_owned(),
        ),
        (
            &["report", "good", "--html", "-", "--format", "ktap"],
            "a report and --format would both write to standard output".to_owned(),
        ),
        (
            &["report", "good", "--html", "good/journal.jsonl"],
            "good/journal.jsonl is one of the results themselves; name another file".to_owned(),
        ),
        (&["compare", "good", "none"], format!("NEW: none: {none}")),
        (&["compare", "clone", "good"], format!("OLD: clone/journal.jsonl: {none}")),
        (
            &["compare", "file", "good"],
            "OLD: file: its journal does not say what was run".to_owned(),
        ),
        (
            &["finds", "mail", "unmaped"],
            "there is no find unmaped; did you mean unmapped?".to_owned(),
        ),
        (&["finds", "mail", "999"], "there is no find 999; runner finds list shows all".to_owned()),
        (&["finds", "index", "none"], format!("none: {none}")),
        (
            &["finds", "index", "good"],
            "good: it is a run on the reference, which says nothing of a kernel".to_owned(),
        ),
        (
            &["finds", "index", "--update", "clone"],
            "clone/finds: there is no such folder; name the docs of daxtests' source".to_owned(),
        ),
        (&["--fs", "xfs", "--dev", "x", "--known", "none"], format!("none: {none}")),
        (
            &["--fs", "xfs", "--dev", "x", "--known", "file"],
            "file: line 1: key with no value, expected `=`".to_owned(),
        ),
        (&["report", "good", "--junit", "clone"], "clone is a folder; name a file".to_owned()),
        (&["--resume", "clone"], format!("clone/journal.jsonl: {none}")),
        (&["fuzz", "--fs", "reference", "--results", "clone"], format!("clone {foreign}")),
        (
            &["fuzz", "--fs", "reference", "--dev", "/dev/pmem0"],
            "the reference has no --dev: use it with --fs xfs or --fs ext4".to_owned(),
        ),
        (&["fuzz", "--fs", "reference", "--replay", "none"], format!("none: {none}")),
        (
            &["fuzz", "--fs", "reference", "--replay", "file"],
            "file is not a program of the fuzzer: expected value at line 1 column 1".to_owned(),
        ),
    ];
    are_refused(folder.path(), rows);
}

#[test]
fn so_is_a_folder_of_runs() {
    let folder = stage();
    let moved = "daxtests did not make it, move it away";
    let none = "No such file or directory (os error 2)";
    let rows: &[(&[&str], String)] = &[
        (
            &["--runs", "clone"],
            "clone is not empty and daxtests did not make it for runs; name another folder".to_owned(),
        ),
        (
            &["--runs", "good"],
            "good is not empty and daxtests did not make it for runs; name another folder".to_owned(),
        ),
        (&["--runs", "file"], "file is not a folder".to_owned()),
        (&["--runs", "/proc/x"], format!("/proc/x: cannot create a file in /proc: {none}")),
        (&["--runs", "led"], format!("led/latest is not a link to a run beside it; {moved}")),
        (&["--runs", "waylaid"], format!("waylaid/latest is not a link to a run beside it; {moved}")),
        (&["--runs", "none-yet", "--last-failed"], "no run in none-yet has come to a case".to_owned()),
        (
            &["--results", "none-yet"],
            "none-yet holds the runs of --runs; name a folder in it, or another folder for the results"
                .to_owned(),
        ),
        (
            &["--runs", "none-yet", "--junit", "none-yet/x.xml"],
            "none-yet/x.xml is one of the results themselves; name another file".to_owned(),
        ),
        (
            &["--runs", "x", "--keep", "0"],
            "invalid value '0' for '--keep <N>': 0 is not in 1..18446744073709551615 (see runner --help)"
                .to_owned(),
        ),
    ];
    let runs: Vec<_> =
        rows.iter().map(|(typed, line)| ([&RUN[..], typed].concat(), line.clone())).collect();
    let runs: Vec<_> = runs.iter().map(|(typed, line)| (&typed[..], line.clone())).collect();
    are_refused(folder.path(), &runs);
    let others: &[(&[&str], String)] = &[
        (&["compare", "none-yet"], "no run in none-yet has come to a case".to_owned()),
        (
            &["compare", "good"],
            "good: it does not have a run and one before; name the runs to compare".to_owned(),
        ),
        (
            &["compare"],
            "daxtests-results: it does not have a run and one before; name the runs to compare"
                .to_owned(),
        ),
        (&["report", "led"], format!("led/latest is not a link to a run beside it; {moved}")),
        (&["--resume", "none-yet/latest"], "no run in none-yet has come to a case".to_owned()),
    ];
    are_refused(folder.path(), others);
}

#[test]
fn so_is_what_is_to_be_shrunk() {
    let folder = stage();
    let rows: &[(&[&str], String)] = &[
        (
            &["export", "waits/punch/splice/mapped", "--minimize"],
            "say where it fails: --fs xfs or --fs ext4 with --dev PATH, or --fs reference with --variant NAME"
                .to_owned(),
        ),
        (
            &["export", "waits/punch/splice/mapped", "--minimize", "--fs", "reference"],
            "the reference is right: name a bug for it with --variant".to_owned(),
        ),
        (
            &["export", "waits/punch/splice/mapped", "--fs", "xfs"],
            "only what is shrunk runs somewhere: add --minimize".to_owned(),
        ),
        (
            &["export", "waits/punch/splice/mapped", "--minimize", "--fs", "xfs", "--dev", "file"],
            "file is not a block device".to_owned(),
        ),
        (
            &["export", "waits/punch/splice/mapped", "--xfstests", "clone", "--minimize", "--fs", "reference", "--variant", "no-break"],
            "clone is no checkout of xfstests: it has no common/preamble".to_owned(),
        ),
        (
            &["export", "race/retry", "--minimize", "--fs", "reference", "--variant", "no-break"],
            "race/retry cannot be shrunk: it goes on beside the rest: run a script of 2 steps".to_owned(),
        ),
        (
            &["export", "file", "--minimize", "--fs", "reference", "--variant", "no-break"],
            "file is not a program of the fuzzer: expected value at line 1 column 1".to_owned(),
        ),
    ];
    are_refused(folder.path(), rows);
}

#[test]
fn so_is_what_would_be_no_report_for_kcidb() {
    let folder = stage();
    let rows: &[(&[&str], String)] = &[
        (
            &["report", "good", "--html", "-", "--kcidb", "-", "--kcidb-build", "a:b", "--kcidb-origin", "a"],
            "--html and --kcidb would both write to standard output".to_owned(),
        ),
        (
            &["report", "good", "--kcidb", "one", "--kcidb-build", "a", "--kcidb-origin", "a"],
            "invalid value 'a' for '--kcidb-build <ORIGIN:ID>': KCIDB wants ORIGIN:ID (see runner --help)".to_owned(),
        ),
    ];
    are_refused(folder.path(), rows);
}

/// Each of the command lines is refused with its line, and nothing in the folder is touched.
fn are_refused(folder: &Path, rows: &[(&[&str], String)]) {
    let before = all(folder);
    for (arguments, line) in rows {
        let output = run(folder, arguments);
        assert_eq!(stderr(&output), format!("runner: {line}\n"), "{arguments:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(all(folder), before, "{arguments:?}");
    }
}

/// Nothing that was typed is passed over. These are clap's own errors.
#[test]
fn what_would_have_no_effect_is_refused() {
    let folder = stage();
    let before = all(folder.path());
    let given: &[&[&str]] = &[
        &["--seed", "1"],
        &["--iterations", "2"],
        &["--duration", "1m"],
        &["--until-fail"],
        &["--require"],
        &["--timeout-factor", "2"],
        &["--bless", "x"],
        &["--trace"],
        &["--variant", "no-break"],
        &["--force"],
        &["--no-reflink"],
    ];
    let mut rows: Vec<Vec<&str>> = Vec::new();
    for arguments in given {
        rows.push([&["--list"], *arguments].concat());
        rows.push([&["--resume", "good"], *arguments].concat());
    }
    for arguments in [&["--junit", "x"][..], &["--fs", "xfs"], &["--dev", "x"]] {
        rows.push([&["--list"], arguments].concat());
    }
    for arguments in
        [&["--results", "x"][..], &["--runs", "x"], &["-g", "race"], &["-x", "race"], &["race/*"]]
    {
        rows.push([&["--resume", "good"], arguments].concat());
    }
    for arguments in [&["--seed", "1"][..], &["--steps", "3"], &["--results", "x"]] {
        rows.push([&["fuzz", "--fs", "reference", "--replay", "x"], arguments].concat());
    }
    for arguments in
        [&["nosuch"][..], &["-g", "race"], &["--resume", "good"], &["--format", "json"]]
    {
        rows.push([&["--list-shapes"], arguments].concat());
    }
    rows.push(vec!["fuzz", "--against-variant", "no-break", "--force"]);
    for row in &rows {
        let output = run(folder.path(), row);
        let said = stderr(&output);
        assert!(said.contains("cannot be used with"), "{row:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{row:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{row:?}");
    }
    for (row, line) in [
        (
            &["fuzz", "--fs", "reference", "--steps", "0"][..],
            "invalid value '0' for '--steps <N>': 0 is not in 1..18446744073709551615",
        ),
        (
            &["fuzz", "--fs", "reference", "--duration", "0s"],
            "invalid value '0s' for '--duration <TIME>': the duration must be longer than 0",
        ),
        (
            &["--fs", "reference", "--duration", "0s"],
            "invalid value '0s' for '--duration <TIME>': the duration must be longer than 0",
        ),
        (
            &["--fs", "reference", "--variant", "skip-unmaped"],
            "invalid value 'skip-unmaped' for '--variant <NAME>': did you mean \
             skip-unmapped? `runner variants` shows all",
        ),
    ] {
        let output = run(folder.path(), row);
        assert_eq!(stderr(&output), format!("runner: {line} (see runner --help)\n"), "{row:?}");
        assert_eq!(output.status.code(), Some(2), "{row:?}");
    }
    assert_eq!(all(folder.path()), before);
}

#[test]
fn a_full_standard_output_is_told() {
    let folder = stage();
    for arguments in [
        &["--list"][..],
        &["--list", "--format", "json"],
        &["--help"],
        &["--version"],
        &["fuzz", "--help"],
        &["man"],
        &["completions", "bash"],
        &["report", "good"],
        &["report", "good", "--junit", "-"],
        &["--fs", "reference", "waits/punch/splice/mapped"],
        &["--fs", "reference", "waits/punch/splice/mapped", "--format", "json"],
        &["--fs", "reference", "waits/punch/splice/mapped", "--format", "ktap"],
        &["--fs", "reference", "waits/punch/splice/mapped", "--junit", "-"],
        &["fuzz", "--fs", "reference", "--duration", "100ms"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = runner(folder.path()).args(arguments).stdout(full).output().unwrap();
        let said = stderr(&output);
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("runner: "), "{arguments:?}: {said}");
        assert!(last.ends_with(": No space left on device (os error 28)"), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert!(folder.path().join("daxtests-results/junit.xml").exists());
}

#[test]
fn who_has_read_enough_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--list"][..],
        &["man"],
        &RUN,
        &["--fs", "reference", "-g", "interrupted", "--format", "ktap"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = runner(folder.path()).args(arguments).stdout(writer).output().unwrap();
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_broken_standard_error_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = runner(folder.path());
    let status = command.args([&RUN[..], &["waits"]].concat()).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn the_report_goes_where_it_is_wanted() {
    let folder = stage();
    let at = |name: &str| folder.path().join(name);
    symlink("target.xml", at("link.xml")).unwrap();
    let written = run(folder.path(), &["report", "good", "--junit", "link.xml"]);
    assert_eq!(written.status.code(), Some(1), "{}", stderr(&written));
    assert!(fs::symlink_metadata(at("link.xml")).unwrap().is_symlink());
    let xml = fs::read_to_string(at("target.xml")).unwrap();
    assert!(xml.starts_with("<?xml"), "{xml}");
    assert_eq!(xml, fs::read_to_string(at("good/junit.xml")).unwrap());
    for name in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let printed = run(folder.path(), &["report", "good", "--junit", name]);
        assert_eq!(stdout(&printed), xml, "{name}");
        assert!(stderr(&printed).contains("1 result in"), "{name}: {}", stderr(&printed));
    }
    assert!(!at("-").exists());
    let printed = run(folder.path(), &[&RUN[..], &["--junit", "-"]].concat());
    assert!(stdout(&printed).starts_with("<?xml"), "{}", stdout(&printed));
    assert!(stdout(&printed).trim_end().ends_with("</testsuites>"), "{}", stdout(&printed));
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn a_link_in_place_of_the_report_is_left_alone() {
    let folder = stage();
    let junit = folder.path().join("good/junit.xml");
    fs::remove_file(&junit).unwrap();
    symlink("../file", &junit).unwrap();
    let output = run(folder.path(), &["report", "good"]);
    assert_eq!(
        stderr(&output),
        "runner: good/junit.xml is not a regular file; daxtests did not make it, move it away; to \
         report elsewhere: --junit PATH\n"
    );
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "mine");
}

#[test]
fn a_run_of_what_failed_keeps_what_it_came_from() {
    let folder = stage();
    let at = |name: &str| folder.path().join(name);
    let problems =
        fs::read_to_string(at("good/cases/waits/punch/splice/mapped/problems.txt")).unwrap();
    // Without the bug it passes, so that nothing stays of it but the evidence.
    let again = run(folder.path(), &["--fs", "reference", "--results", "good", "--last-failed"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(stdout(&again).starts_with("daxtests 0.1.0: 1 case, "), "{}", stdout(&again));
    let kept = at("good/previous/cases/waits/punch/splice/mapped/problems.txt");
    assert_eq!(fs::read_to_string(kept).unwrap(), problems);
    let report = run(folder.path(), &["report", "good/previous"]);
    assert_eq!(report.status.code(), Some(1), "{}", stderr(&report));
    let third = run(folder.path(), &["--fs", "reference", "--results", "good", "--last-failed"]);
    assert_eq!(stderr(&third), "runner: no case of the last run in good needs attention\n");
    assert!(at("good/previous/journal.jsonl").exists());
}

#[test]
fn the_summary_says_how_to_run_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--variant", "no-break", "--require", "--timeout-factor", "2", "--seed", "7"];
    let output = run(folder.path(), &[&RUN[..], &arguments].concat());
    let said = stdout(&output);
    let command = format!(
        "{} --fs reference --variant no-break --require --timeout-factor 2 --seed 7 \
         waits/punch/splice/mapped",
        shlex::try_quote(env!("CARGO_BIN_EXE_runner")).unwrap()
    );
    assert!(
        said.lines().any(|line| line.trim_start().trim_start_matches("sudo ") == command),
        "{said}"
    );
    let vm = ["--called-as", "./ci/vm --kernel 6.12 --fs xfs"];
    let output = run(folder.path(), &[&RUN[..], &arguments, &vm].concat());
    let command = "./ci/vm --kernel 6.12 --fs xfs --variant no-break --require --timeout-factor 2 \
                   --seed 7 waits/punch/splice/mapped";
    assert!(
        stdout(&output).lines().any(|line| line.trim_start() == command),
        "{}",
        stdout(&output)
    );
}

#[test]
fn arguments_can_be_checked_alone() {
    let folder = tempfile::tempdir().unwrap();
    let good = ["--check", "--fs", "xfs", "--dev", "/dev/nowhere", "--iterations", "3", "waits/**"];
    let output = run(folder.path(), &good);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let output = run(folder.path(), &[&good[..], &["-x", "nosuch"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(all(folder.path()).is_empty());
}

/// A `target/` that is carried elsewhere must look at the `expected/` beside it.
#[test]
fn the_build_looks_at_no_absolute_path() {
    let out = Path::new(env!("OUT_DIR"));
    let said = fs::read_to_string(out.parent().unwrap().join("output")).unwrap();
    let watched: Vec<_> =
        said.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=")).collect();
    assert!(watched.contains(&"../expected"), "{said}");
    assert!(watched.iter().all(|path| Path::new(path).is_relative()), "{said}");
    let table = fs::read_to_string(out.join("transcripts.rs")).unwrap();
    assert!(!table.contains("include"), "{table}");
}

/// What a user does with a folder of runs, from the first run to the comparison.
#[test]
fn a_folder_of_runs_takes_the_place_of_results() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let names = || {
        let names = fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.contains("-reference"));
        names.sort();
        names
    };
    let go = |arguments: &[&str], code| {
        let output = run(folder.path(), arguments);
        let said = format!("{arguments:?}: {}{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    let begin = |more: &[&str], code| go(&[&RUN[..], &["--runs", "runs"], more].concat(), code);
    begin(&[], 0);
    begin(&["--variant", "no-break"], 1);
    // Those two are on other systems.
    let alone = go(&["compare", "runs"], 2);
    assert!(alone.contains("is on reference-no-break; name the runs to compare"), "{alone}");
    let said = begin(&["--keep", "2"], 0);
    let left = names();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(said.contains(&format!("Results: runs/{}", left[1])), "{said}");
    assert_eq!(fs::read_link(runs.join("latest")).unwrap(), Path::new(&left[1]));
    begin(&[], 0);
    let said = go(&["compare", "runs"], 0);
    assert!(said.contains(&left[1]) && said.contains(&names()[2]), "{said}");
    for named in ["runs", "runs/latest"] {
        fs::remove_file(runs.join("latest/junit.xml")).unwrap();
        go(&["report", named], 0);
        assert!(runs.join("latest/junit.xml").exists(), "{named}");
        let said = go(&[&RUN[..2], &["--runs", named, "--last-failed", "--list"]].concat(), 2);
        let refused = ["needs attention", "cannot be used with"];
        assert!(refused.iter().any(|words| said.contains(words)), "{said}");
        go(&["--resume", named], 0);
    }
    begin(&["--variant", "no-break"], 1);
    let said = begin(&["--last-failed"], 0);
    assert!(said.contains("1 result"), "{said}");
}
