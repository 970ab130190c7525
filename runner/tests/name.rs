//! The program under another name, as a package installs it: what it prints names it so, and each
//! manual page that it cites is there. And its version.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

/// A folder with the program under the name of the installed one.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    symlink(RUNNER, folder.path().join("daxtests")).unwrap();
    folder
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let folder = program.parent().unwrap();
    Command::new(program).args(arguments).current_dir(folder).output().unwrap()
}

fn said(program: &Path, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
    text
}

#[test]
fn it_is_called_what_the_user_calls_it() {
    let folder = installed();
    let daxtests = folder.path().join("daxtests");
    assert!(said(&daxtests, &["--version"]).starts_with("daxtests "));
    for arguments in [&["--help"][..], &["fuzz", "--help"], &["finds", "explain", "--help"]] {
        let help = said(&daxtests, arguments);
        assert!(help.contains("Usage: daxtests "), "{help}");
        assert!(!help.contains("runner"), "{help}");
    }
    for (arguments, line) in [
        (
            &["--sed"][..],
            "daxtests: unexpected argument '--sed' found; tip: a similar argument exists: '--seed' (see daxtests --help)\n",
        ),
        (
            &["--fs", "xfs", "fuzz"],
            "daxtests: fuzz is a command, not a case: put it first, as in daxtests fuzz --help\n",
        ),
        (&["finds", "mail", "?"], "daxtests: there is no find ?; daxtests finds list shows all\n"),
    ] {
        let output = run(&daxtests, arguments);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
        assert_eq!(output.status.code(), Some(2));
    }
    let script = said(&daxtests, &["completions", "bash"]);
    assert!(script.contains("\"daxtests\" -- ") && !script.contains("runner"), "{script}");
}

/// `daxtests\-report(1)` and the like.
fn cited(page: &str) -> BTreeSet<String> {
    let pages = regex::Regex::new(r"([a-z]+(?:\\-[a-z]+)*)\(1\)").unwrap();
    pages.captures_iter(page).map(|found| found[1].replace('\\', "")).collect()
}

#[test]
fn every_page_that_is_cited_exists() {
    let folder = installed();
    for program in [Path::new(RUNNER), &folder.path().join("daxtests")] {
        let name = program.file_name().unwrap().to_str().unwrap();
        let pages = folder.path().join(name).with_extension("pages");
        said(program, &["man", "--output", pages.to_str().unwrap()]);
        let there: BTreeSet<_> = fs::read_dir(&pages)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert!(there.contains(&format!("{name}-finds-mail")), "{there:?}");
        assert!(there.iter().all(|page| page.starts_with(name)), "{there:?}");
        assert!(cited(&said(program, &["man"])).contains(&format!("{name}-report")));
        for page in &there {
            let text = fs::read_to_string(pages.join(page).with_extension("1")).unwrap();
            assert!(cited(&text).is_subset(&there), "{page}: {:?}", cited(&text));
        }
    }
}

#[test]
fn a_shell_is_told_what_can_be_named() {
    let folder = installed();
    // As the script of bash asks.
    for (words, offer) in [
        (["daxtests", "waits/punch/splice/m"], "waits/punch/splice/mapped"),
        (["daxtests", "--group=qui"], "quick"),
        (["daxtests", "--variant=skip-u"], "skip-unmapped"),
        (["daxtests", "--shape=strip"], "stripe"),
    ] {
        let output = Command::new(folder.path().join("daxtests"))
            .arg("--")
            .args(words)
            .env("DAXTESTS_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "1")
            .env("_CLAP_IFS", "\n")
            .output()
            .unwrap();
        let offers = String::from_utf8(output.stdout).unwrap();
        assert!(offers.lines().any(|line| line.ends_with(offer)), "{words:?}: {offers}");
    }
}

#[test]
fn the_version_has_the_commit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git =
        Command::new("git").args(["rev-parse", "--show-prefix", "HEAD"]).current_dir(root).output();
    let head = git.ok().filter(|output| output.status.success());
    let head = head.map(|output| String::from_utf8(output.stdout).unwrap());
    // Of a copy of the source within somebody else's repository, HEAD is not ours.
    let commit = head.as_deref().and_then(|said| said.strip_prefix('\n')).map(|head| &head[..12]);
    let version = format!("{} ({})", env!("CARGO_PKG_VERSION"), commit.unwrap_or("unknown"));
    assert_eq!(said(Path::new(RUNNER), &["--version"]), format!("runner {version}\n"));
}
