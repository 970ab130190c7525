//! A case as a program for somebody who has no daxtests: one C file, readable, with the
//! expectation as its exit code; alone, or as a test of xfstests.
//!
//! A case is written down as it runs on the reference ([`cases::record`]), whose answers are what a
//! kernel must answer. What cannot be said in C yet is refused with its reason: a program that
//! leaves something out would prove nothing.

mod c;
mod xfstests;

use std::path::Path;

use anyhow::bail;
use cases::{Case, Deed, Ending};

use c::Reader;

use crate::judge::gist;
use crate::known::Deviations;

pub(crate) use xfstests::Added;

/// The seed of the recording; a case that is exported draws no lots.
const SEED: u64 = 1;

/// The case beside those of the law `durable` in which only the oracle sees what fsync leaves out.
const ONLY_DURABLE: &str = "fsync/part-written-beside-shared";

/// A program, and what it is to be run on.
#[derive(Debug)]
pub(crate) struct Program {
    /// In C.
    pub(crate) text: String,
    /// The mount option with which a file system has the files of the case.
    pub(crate) mount: &'static str,
}

/// The C program of `case`.
pub(crate) fn c(case: &Case) -> anyhow::Result<Program> {
    let deeds = deeds(case)?;
    Ok(Program { text: program(case, &deeds, Reader::Anybody)?, mount: c::mount(&deeds) })
}

/// Adds `case` as a test to the checkout of xfstests in `folder`.
pub(crate) fn xfstests(case: &Case, folder: &Path) -> anyhow::Result<Added> {
    let deeds = deeds(case)?;
    let program = program(case, &deeds, Reader::Xfstests)?;
    let deviations = Deviations::built_in("")?;
    let fixes: Vec<_> = deviations
        .finds_in(case)
        .flat_map(|find| find.fixed_by.iter().map(String::as_str))
        .collect();
    xfstests::add(case, &deeds, program, &fixes, folder)
}

fn program(case: &Case, deeds: &[Deed], reader: Reader) -> anyhow::Result<String> {
    match c::program(case, deeds, reader) {
        Ok(text) => Ok(text),
        Err(why) => bail!("{} cannot be exported: {why}", case.name),
    }
}

/// What `case` does, written down.
fn deeds(case: &Case) -> anyhow::Result<Vec<Deed>> {
    if case.group() == "durable" || case.name == ONLY_DURABLE {
        // It would say that all is well whatever fsync does.
        bail!(
            "{} cannot be exported: what was written back is not to be seen by a program",
            case.name
        );
    }
    match cases::record(case, SEED) {
        Ok(deeds) => Ok(deeds),
        Err(Ending::NotRun(why)) => {
            bail!("{} cannot be exported: it does not run on the reference: {why}", case.name)
        }
        Err(Ending::Fail(why) | Ending::Hang(why) | Ending::Error(why)) => {
            bail!("{} does not pass on the reference: {}", case.name, gist(&why))
        }
        Err(Ending::Pass) => unreachable!("what passes is written down"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What stands for all: a cell of each law that can be exported, and cases that no axis
    /// expresses.
    const SAMPLE: [&str; 14] = [
        "waits/punch/splice/unmapped",
        "waits/truncate-down/splice/other-process",
        "waits/collapse/splice/unlinked",
        "interrupted/punch/splice/handled",
        "interrupted/punch/splice/kill",
        "several/punch/splice/231",
        "progress/punch/splice/fault",
        "refused/punch/uring-buffer/mapped",
        "evict/own-pin-at-exit",
        "waits/punch/vm-read/unmapped",
        "waits/punch/vm-write/other-process",
        "reflink/dedupe-signal",
        "history/dedupe-two-extents-differ",
        "exchange/move-extents-refused",
    ];

    #[test]
    fn a_compiler_has_nothing_to_say() {
        for name in SAMPLE {
            let text = c(cases::find(name).unwrap()).unwrap().text;
            let mut gcc = Command::new("gcc")
                .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
                .args(["-S", "-o", "/dev/null", "-xc", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            gcc.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let said = gcc.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success(), "{name}: {errors}\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_its_reason() {
        for (name, words) in [
            ("waits/punch/aio-read/mapped", "a device that holds it"),
            ("race/retry", "script"),
            ("durable/punch/splice/mapped", "not to be seen"),
            (ONLY_DURABLE, "not to be seen"),
            ("waits/punch/splice/huge", "does not run on the reference"),
        ] {
            let error = c(cases::find(name).unwrap()).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    /// A folder with what makes it a checkout.
    fn checkout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for part in ["common", "src", "tests/generic"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        for file in
            ["common/preamble", "src/Makefile", "tests/generic/102", "tests/generic/102.out"]
        {
            std::fs::write(folder.path().join(file), "theirs").unwrap();
        }
        folder
    }

    #[test]
    fn a_test_of_xfstests_says_what_it_needs_and_which_commit_mends_it() {
        let folder = checkout();
        let case = cases::find("waits/punch/splice/unmapped").unwrap();
        let added = xfstests(case, folder.path()).unwrap();
        assert_eq!(added.program, "t_dax_waits_punch_splice_unmapped");
        let names: Vec<_> =
            added.files.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        let expected =
            [&format!("src/{}.c", added.program), "tests/generic/103", "tests/generic/103.out"];
        assert_eq!(names, expected.map(Path::new));
        let script = std::fs::read_to_string(&added.files[1]).unwrap();
        for words in [
            "# FS QA Test 103\n",
            "_begin_fstest auto quick dax mmap punch\n",
            "_require_xfs_io_command \"fpunch\"\n",
            "_fixed_by_kernel_commit cee91fa13a8e \\\n\t\"fs/dax: return unmapped busy pages from dax_layout_busy_page_range()\"\n",
            "$here/src/t_dax_waits_punch_splice_unmapped $SCRATCH_MNT",
        ] {
            assert!(script.contains(words), "{words}\n{script}");
        }
        assert!(script.lines().all(|line| line.len() <= 80), "{script}");
        assert!(!script.contains("common/reflink"), "{script}");
        let shell = Command::new("bash").arg("-n").arg(&added.files[1]).status().unwrap();
        assert!(shell.success());
        assert_eq!(
            std::fs::read_to_string(&added.files[2]).unwrap(),
            "QA output created by 103\nSilence is golden\n"
        );
        // The next is the next, and what is there stays.
        let next = xfstests(cases::find("reflink/dedupe-signal").unwrap(), folder.path()).unwrap();
        assert!(next.files[1].ends_with("tests/generic/104"));
        let script = std::fs::read_to_string(&next.files[1]).unwrap();
        for line in [". ./common/reflink", "_require_scratch_dedupe"] {
            assert!(script.lines().any(|has| has == line), "{line}\n{script}");
        }
        let error = format!("{:#}", xfstests(case, folder.path()).unwrap_err());
        assert!(error.contains("File exists"), "{error}");
        assert!(!folder.path().join("tests/generic/105").exists());
        assert_eq!(std::fs::read(folder.path().join("tests/generic/102")).unwrap(), b"theirs");
    }

    #[test]
    fn what_is_no_checkout_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let case = cases::find("waits/punch/splice/unmapped").unwrap();
        let error = xfstests(case, folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("is no checkout of xfstests: it has no common/preamble"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_case_is_exported_or_refused() {
        let mut exported = 0;
        // A case that pins by splice says the same as those that pin otherwise.
        for case in cases::all().iter().filter(|case| !matches!(case.group(), "race" | "livelock"))
        {
            if case.coordinate("pin").is_none_or(|pin| matches!(pin, "splice" | "vm-write")) {
                exported += usize::from(c(case).is_ok());
            }
        }
        assert!(exported > 100, "{exported}");
    }
}
