//! Three shards of a run on the reference, reported as one, against the same run undivided: every
//! report tells the same, apart from times and from where the files lie.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use regex::Regex;

/// Cases of which some fail, for the bug that the reference is given.
const RUN: [&str; 8] = [
    "--fs",
    "reference",
    "--variant",
    "skip-unmapped",
    "--seed",
    "7",
    "waits/punch/**",
    "interrupted/punch/**",
];

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("GITHUB_ACTIONS")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Without what differs between two runs of the same: times, and the folders of results.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, instead) in [
        (r#" (time|timestamp)="[^"]*""#, ""),
        (r#""(time|seconds)":("[^"]*"|[0-9.e-]+),?"#, ""),
        (r"\b\d+(\.\d+)? s\b", "S s"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE"),
        (r"(whole|s[123])/cases/", "cases/"),
        (r"(<dt>results</dt><dd>|Results: )[^<\n]*", "$1"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}

/// A folder with a whole run and its three shards.
fn stage() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(folder.path(), &[&RUN[..], &["--results", "whole"]].concat());
    assert_eq!(whole.status.code(), Some(1), "{}", text(&whole.stderr));
    for number in 1..=3 {
        let (shard, results) = (format!("{number}/3"), format!("s{number}"));
        let words = ["--shard", &shard, "--results", &results];
        let output = run(folder.path(), &[&RUN[..], &words].concat());
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    }
    folder
}

#[test]
fn three_shards_are_told_as_the_whole_run() {
    let folder = stage();
    let at = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for format in ["text", "json", "ktap"] {
        let told = |folders: &[&str]| {
            let output = run(folder.path(), &[&["report", "--format", format], folders].concat());
            assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
            plain(&text(&output.stdout))
        };
        let whole = told(&["whole"]);
        assert!(whole.lines().count() > 10, "{whole}");
        // In whatever order they are named.
        assert_eq!(told(&["s3", "s1", "s2"]), whole, "{format}");
    }
    for (folders, name) in [(&["whole"][..], "one"), (&["s1", "s2", "s3"], "merged")] {
        let (xml, html) = (format!("{name}.xml"), format!("{name}.html"));
        let words = ["--junit", &xml, "--html", &html];
        let output = run(folder.path(), &[&["report"], folders, &words].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    }
    assert_eq!(plain(&at("merged.xml")), plain(&at("one.xml")));
    assert_eq!(plain(&at("merged.html")), plain(&at("one.html")));
    assert!(at("merged.xml").contains("<failure"));
}

#[test]
fn what_lies_in_a_shards_folder_tells_of_the_shard() {
    let folder = stage();
    let at = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (xml, html) = (at("s2/junit.xml"), at("s2/report.html"));
    let output = run(folder.path(), &["report", "s2"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains(": shards 1/3 and 3/3 are missing\n"), "{said}");
    assert_eq!((at("s2/junit.xml"), at("s2/report.html")), (xml, html));
    // Told together with others, it is not written to.
    fs::remove_file(folder.path().join("s2/junit.xml")).unwrap();
    let output = run(folder.path(), &["report", "s1", "s2", "--junit", "-"]);
    assert!(text(&output.stdout).contains("shard 3/3 is missing"), "{}", text(&output.stdout));
    assert!(!folder.path().join("s2/junit.xml").exists());
}

#[test]
fn a_result_is_never_counted_twice() {
    let folder = stage();
    for (folders, words) in [
        (&["s1", "s2", "s1"][..], "s1 is named twice"),
        (&["whole", "s1"], "whole and s1 both run "),
    ] {
        let output = run(folder.path(), &[&["report"], folders].concat());
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
