//! Tells the crate the commit that it is built from, and looks again when HEAD has moved.
//!
//! Only the folder's own repository counts: a copy of the source within somebody else's has no commit. What
//! is changed and not committed is not told, for that would take a look at each build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// As many digits as the kernel's own commits are cited with; git's short form depends on what else a
/// repository has.
const DIGITS: usize = 12;

/// Where this package lies in the repository, as git tells it.
const HERE: &str = "program/";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let head = head();
    let commit = head.as_ref().map_or("unknown", |head| &head.commit[..DIGITS]);
    println!("cargo::rustc-env=DAXTESTS_COMMIT={commit}");
    for path in head.iter().flat_map(|head| &head.files) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// What HEAD is.
struct Head {
    /// The whole hash.
    commit: String,
    /// What changes when it moves. Relative, for a `target/` may be carried into another folder.
    files: Vec<PathBuf>,
}

fn head() -> Option<Head> {
    let said = git(&["rev-parse", "--show-prefix", "HEAD"])?;
    let (prefix, commit) = said.split_once('\n')?;
    if prefix != HERE || commit.len() < DIGITS {
        return None;
    }
    let file = |name: &str| {
        git(&["rev-parse", "--path-format=relative", "--git-path", name]).map(PathBuf::from)
    };
    let mut files = Vec::from_iter(file("HEAD"));
    // On a branch, HEAD moves with it.
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]) {
        let branch = file(&branch)?;
        // A packed one has no file until it moves. Cargo takes a file that is not there as changed each time,
        // but a folder with all that is in it.
        files.extend(branch.ancestors().find(|path| path.exists()).map(Path::to_owned));
    }
    Some(Head { commit: commit.to_owned(), files })
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim_end().to_owned())
}
