//! A run that the user interrupts, as a terminal does it: the signal is for all of its processes.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// No case is under way for longer than this before it begins.
const BEGINNING: Duration = Duration::from_mins(2);

fn runner(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs `cases` on the reference, and interrupts them `times` once so many have begun.
fn interrupted(folder: &Path, cases: &[&str], begun: usize, times: usize) -> ExitStatus {
    let arguments = [&["--fs", "reference", "--results", "results"], cases].concat();
    let mut run = runner(folder, &arguments).process_group(0).spawn().expect("it starts");
    let since = Instant::now();
    while events(folder, "case-begun").len() < begun {
        assert!(
            run.try_wait().expect("it is ours").is_none(),
            "it ended before {begun} cases had begun"
        );
        assert!(since.elapsed() < BEGINNING, "{begun} cases do not begin");
        std::thread::yield_now();
    }
    for _ in 0..times {
        killpg(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).expect("it is there");
        // Two that come at once are one.
        std::thread::sleep(Duration::from_millis(20));
    }
    run.wait().expect("it is ours")
}

/// The cases of all events of a kind, as the journal has them so far, with their verdicts.
fn events(folder: &Path, kind: &str) -> Vec<(String, String)> {
    events_in(&folder.join("results"), kind)
}

fn events_in(results: &Path, kind: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(results.join("journal.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .filter(|line: &serde_json::Value| line["event"] == kind)
        .map(|line| (word(&line["case"]), word(&line["verdict"])))
        .collect()
}

#[test]
fn no_case_is_blamed_for_it() {
    let cases = ["waits/punch/splice/*", "waits/collapse/splice/*"];
    for begun in 1..10 {
        let folder = tempfile::tempdir().unwrap();
        let ended = interrupted(folder.path(), &cases, begun, 1);
        assert_eq!(ended.code(), Some(130));
        for (case, verdict) in events(folder.path(), "case-ended") {
            assert!(verdict != "ERROR" && verdict != "FAIL", "{case}: {verdict}, after {begun}");
        }
        let resumed = runner(folder.path(), &["--resume", "results"]).status().unwrap();
        assert_eq!(resumed.code(), Some(0), "interrupted after {begun}");
    }
}

#[test]
fn a_case_that_was_cut_short_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let cases = ["race/fsync-beside-punch", "race/retry", "waits/punch/splice/mapped"];
    let ended = interrupted(folder.path(), &cases, 1, 2);
    assert_eq!(ended.code(), Some(130));
    let cut = events(folder.path(), "case-cut");
    assert_eq!(cut.len(), 1, "nothing was cut short");
    assert!(events(folder.path(), "case-ended").iter().all(|ended| ended.0 != cut[0].0));
    let resumed = runner(folder.path(), &["--resume", "results"]).status().unwrap();
    assert_eq!(resumed.code(), Some(0));
    let passed = |ended: &(String, String)| ended.0 == cut[0].0 && ended.1 == "PASS";
    assert!(events(folder.path(), "case-ended").iter().any(passed), "{} was left out", cut[0].0);
}

#[test]
fn what_it_did_not_come_to_counts_as_failed_last() {
    let folder = tempfile::tempdir().unwrap();
    let cases = ["waits/punch/splice/*"];
    interrupted(folder.path(), &cases, 2, 1);
    let ended = events(folder.path(), "case-ended").len();
    let again = ["--fs", "reference", "--results", "results", "--last-failed"];
    assert_eq!(runner(folder.path(), &again).status().unwrap().code(), Some(0));
    let all = runner(folder.path(), &["--list", "--format", "json", cases[0]]);
    let all = { all }.stdout(Stdio::piped()).output().unwrap().stdout;
    let all: serde_json::Value = serde_json::from_slice(&all).unwrap();
    let all = all.as_array().map_or_else(|| all["cases"].as_array().unwrap().len(), Vec::len);
    assert_eq!(events(folder.path(), "case-ended").len(), all - ended);
}

/// The link leads to it from its first case on, and it goes on there, whatever it is called by.
#[test]
fn a_run_among_others_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = ["waits/punch/splice/*", "waits/collapse/splice/*"];
    let arguments = [&["--fs", "reference", "--runs", "runs"], &cases[..]].concat();
    let latest = folder.path().join("runs/latest");
    let first = runner(folder.path(), &arguments).status().expect("it starts");
    assert_eq!(first.code(), Some(0));
    // The journal behind the link is the first run's until the second begins a case.
    let link = || fs::read_link(&latest).expect("a link");
    let before = link();
    let results = folder.path().join("runs");
    let newest = || {
        let names = fs::read_dir(&results).expect("runs").map(|entry| entry.expect("a name"));
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.retain(|name| name.to_string_lossy().ends_with("-reference"));
        names.sort();
        names.pop().expect("a run")
    };
    let mut run = runner(folder.path(), &arguments).process_group(0).spawn().expect("it starts");
    let since = Instant::now();
    while link() == before || events_in(&latest, "case-begun").len() < 3 {
        assert!(run.try_wait().expect("it is ours").is_none(), "it ended early");
        assert!(since.elapsed() < BEGINNING, "it does not begin");
        std::thread::yield_now();
    }
    killpg(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).expect("it is there");
    assert_eq!(run.wait().expect("it is ours").code(), Some(130));
    assert_eq!(link().as_os_str(), newest());
    let cut = events_in(&latest, "case-ended").len();
    let resumed = runner(folder.path(), &["--resume", "runs/latest"]).status().expect("it starts");
    assert_eq!(resumed.code(), Some(0));
    assert_eq!(link().as_os_str(), newest());
    let first = events_in(&results.join(before), "case-ended").len();
    let second = events_in(&latest, "case-ended").len();
    assert!(cut < first && second == first, "{cut} {first} {second}");
}
