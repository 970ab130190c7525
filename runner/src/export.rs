//! A case as a program for somebody who has no daxtests: one C file, readable, with the
//! expectation as its exit code; alone, or as a test of xfstests.
//!
//! A case is written down as it runs on the reference ([`cases::record`]), whose answers are what a
//! kernel must answer. What cannot be said in C yet is refused with its reason: a program that
//! leaves something out would prove nothing.

mod bare;
mod c;
mod pin;
mod replay;
mod requirement;
pub(crate) mod shortest;
mod xfstests;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use cases::system::Need;
use cases::{Case, Deed, Ending};

use c::Audience;
use requirement::Requirement;

use self::shortest::ShortestRequest;
use self::xfstests::Added;
use crate::exit::Exit;
use crate::judge::gist;
use crate::known::Deviations;
use crate::print;

/// The seed of the recording; a case that is exported draws no lots.
const SEED: u64 = 1;

const WRITTEN_BACK: &str = "what was written back is not to be seen by a program";
const BLOCK_KEPT: &str = "whether a pinned page keeps its block is not to be seen by a program";
const ITS_CHOICE: &str = "what must come of it depends on what the kernel chooses";

/// Cases beside those of the law `durable` in which a program would not see what some kernel does wrong, or
/// would demand more than the case does, and why.
const NOT_SAID: &[(&str, &str)] = &[
    ("lifecycle/truncate-into-bad-block", ITS_CHOICE),
    ("fsync/part-written-beside-shared", WRITTEN_BACK),
    ("reflink/cow-fault-under-pin", BLOCK_KEPT),
    ("reflink/cow-write-under-pin", BLOCK_KEPT),
];

/// A program, and what it is to be run on.
#[derive(Debug)]
pub(crate) struct ExportedProgram {
    /// In C.
    pub(crate) text: String,
    /// The mount option with which a file system has the files of the case.
    pub(crate) mount: &'static str,
}

/// What can be exported.
#[derive(Clone, Debug)]
pub(crate) enum Exportable {
    /// A case.
    Case(&'static Case),
    /// A program of the fuzzer, by the file that it is in.
    Replay(PathBuf),
}

impl Exportable {
    /// What it is called.
    fn name(&self) -> String {
        match self {
            Self::Case(case) => case.name.to_owned(),
            Self::Replay(path) => replay::name(path),
        }
    }
}

/// Something that ran on the reference, written down.
#[derive(Debug)]
struct Recorded {
    name: String,
    /// A case, or a program of the fuzzer.
    what: &'static str,
    /// What it is about, in sentences.
    about: String,
    needs: Vec<Need>,
    deeds: Vec<Deed>,
    /// The kernel commits that mend what it shows.
    fixes: Vec<String>,
}

impl Recorded {
    fn of(what: &Exportable) -> anyhow::Result<Self> {
        match what {
            Exportable::Case(case) => Self::case(case),
            Exportable::Replay(path) => replay::record(path),
        }
    }

    fn case(case: &Case) -> anyhow::Result<Self> {
        let deviations = Deviations::built_in("")?;
        let fixes = deviations.finds_in(case).flat_map(|find| find.fixed_by.iter().cloned());
        Ok(Self {
            name: case.name.to_owned(),
            what: "case",
            about: case.description().clone(),
            needs: case.needs.to_vec(),
            deeds: deeds(case)?,
            fixes: fixes.collect(),
        })
    }

    fn c(&self) -> anyhow::Result<ExportedProgram> {
        Ok(ExportedProgram { text: self.program(Audience::Anybody)?, mount: c::mount(&self.deeds) })
    }

    /// Adds it as a test to the checkout of xfstests in `folder`.
    fn xfstests(&self, folder: &Path) -> anyhow::Result<Added> {
        let program = self.program(Audience::Xfstests)?;
        let requirements = Requirement::all(self).map_err(|why| refusal(&self.name, &why))?;
        xfstests::add(self, &requirements, program, folder)
    }

    fn program(&self, reader: Audience) -> anyhow::Result<String> {
        c::program(self, reader).map_err(|why| refusal(&self.name, &why))
    }
}

/// The C program of a case.
pub(crate) fn c(case: &Case) -> anyhow::Result<ExportedProgram> {
    Recorded::case(case)?.c()
}

/// What to export.
#[derive(Clone, Debug)]
pub(crate) struct ExportRequest {
    /// A case or a program.
    pub(crate) what: Exportable,
    /// The checkout of xfstests to which it is added as a test; none: it is printed as a C program.
    pub(crate) xfstests: Option<PathBuf>,
    /// Where it is shrunk first.
    pub(crate) shortest: Option<ShortestRequest>,
}

/// Exports as `request` says.
pub(crate) fn run(request: &ExportRequest) -> anyhow::Result<Exit> {
    let tell = |recorded: &Recorded| match &request.xfstests {
        None => {
            print::document(&recorded.c()?.text);
            Ok(())
        }
        Some(folder) => {
            let added = recorded.xfstests(folder)?;
            for file in &added.files {
                print::document(&format!("{}\n", file.display()));
            }
            print::note(format_args!(
                "add {0} to LINUX_TARGETS in src/Makefile and /src/{0} to .gitignore",
                added.program
            ));
            Ok(())
        }
    };
    // Before the device is touched.
    if let Some(folder) = &request.xfstests {
        xfstests::check(folder, &request.what.name())?;
    }
    if let Some(shortest) = &request.shortest {
        return shortest::shrink(&request.what, shortest, tell);
    }
    tell(&Recorded::of(&request.what)?)?;
    Ok(Exit::Expected)
}

fn refusal(name: &str, why: &str) -> anyhow::Error {
    anyhow!("{name} cannot be exported: {why}")
}

/// What `case` does, written down.
fn deeds(case: &Case) -> anyhow::Result<Vec<Deed>> {
    let refused = NOT_SAID.iter().find(|(name, _)| *name == case.name).map(|(_, why)| *why);
    // The program would say that all is well whatever the kernel does.
    if let Some(why) = refused.or((case.group() == "durable").then_some(WRITTEN_BACK)) {
        return Err(refusal(case.name, why));
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

    use cases::action::Mode;
    use rayon::prelude::*;

    use super::*;
    use crate::fuzz::keep;

    /// What stands for all: a cell of each law that can be exported, and cases that no axis
    /// expresses.
    const SAMPLE: [&str; 24] = [
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
        "interrupted/dedupe/splice/handled",
        "history/dedupe-two-extents-differ",
        "exchange/move-extents-refused",
        "lifecycle/sync-store-to-shared",
        "mapping/write-protected",
        "mapping/cachestat",
        "waits/truncate-down/aio-write/mapped",
        "waits/punch/aio-read/other-process",
        "copy/store-moves-written",
        "copy/store-moves-read",
        "copy/huge-fault-beside-write",
        "huge/sync-store-at-end",
        "huge/sync-store-once-shared",
    ];

    /// For each requirement a case that has it, what `lacking.c` calls it, and what the program says
    /// where it is missing.
    const LACKING: &[(Requirement, &str, &str, &str)] = &[
        (
            Requirement::Fallocate(Mode::Allocate),
            "mapping/stored-behind-end-allocate",
            "fallocate",
            "fallocate(2): Operation not supported",
        ),
        (
            Requirement::Fallocate(Mode::Punch),
            "waits/punch/splice/mapped",
            "fallocate",
            "fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: Operation not supported",
        ),
        (
            Requirement::Fallocate(Mode::Zero),
            "waits/zero/splice/mapped",
            "fallocate",
            "fallocate(2) with FALLOC_FL_ZERO_RANGE: Operation not supported",
        ),
        (
            Requirement::Fallocate(Mode::Collapse),
            "waits/collapse/splice/mapped",
            "fallocate",
            "fallocate(2) with FALLOC_FL_COLLAPSE_RANGE: Operation not supported",
        ),
        (
            Requirement::Fallocate(Mode::Insert),
            "waits/insert/splice/mapped",
            "fallocate",
            "fallocate(2) with FALLOC_FL_INSERT_RANGE: Operation not supported",
        ),
        (
            Requirement::Fallocate(Mode::Unshare),
            "waits/unshare/splice/mapped",
            "fallocate",
            "fallocate(2) with FALLOC_FL_UNSHARE_RANGE: Operation not supported",
        ),
        (
            Requirement::Clone,
            "reflink/cow-write-mapped",
            "clone",
            "reflink (FICLONERANGE): Operation not supported",
        ),
        (
            Requirement::Dedupe,
            "interrupted/dedupe/splice/handled",
            "dedupe",
            "dedupe (FIDEDUPERANGE): Operation not supported",
        ),
        (
            Requirement::DirectIo,
            "deadlock/dio-self-buffer-read-distinct",
            "direct-io",
            "direct I/O: Invalid argument",
        ),
        (
            Requirement::MapSync,
            "waits/punch/splice/sync",
            "map-sync",
            "MAP_SYNC: Operation not supported",
        ),
        (
            Requirement::SwapExtents,
            "exchange/swapext-pinned",
            "swap-extents",
            "XFS_IOC_SWAPEXT: Inappropriate ioctl for device",
        ),
        (
            Requirement::ExchangeRange,
            "waits/exchange/splice/mapped",
            "exchange-range",
            "XFS_IOC_EXCHANGE_RANGE: Operation not supported",
        ),
        (
            Requirement::SwapBoot,
            "exchange/swap-boot-mapped",
            "swap-boot",
            "EXT4_IOC_SWAP_BOOT: Inappropriate ioctl for device",
        ),
        (
            Requirement::MoveExtents,
            "exchange/move-extents-refused",
            "move-extents",
            "EXT4_IOC_MOVE_EXT: Inappropriate ioctl for device",
        ),
        (
            Requirement::WithoutDax,
            "exchange/move-extents-refused",
            "without-dax",
            "files without DAX (mount -o dax=inode): Operation not supported",
        ),
        (
            Requirement::WithoutDax,
            "exchange/move-extents-refused",
            "flags",
            "a DAX flag in each file: Inappropriate ioctl for device",
        ),
        (
            Requirement::RegisteredBuffer,
            "refused/punch/uring-buffer/mapped",
            "io_uring",
            "buffers registered with io_uring: Operation not permitted",
        ),
        (
            Requirement::Peer,
            "waits/punch/vm-read/mapped",
            "userfaultfd",
            "userfaultfd(2): Operation not permitted",
        ),
        (
            Requirement::Peer,
            "waits/punch/vm-write/mapped",
            "peer",
            "access to another process's memory (process_vm_readv(2)): Operation not permitted",
        ),
        (
            Requirement::HeldIo,
            "waits/punch/aio-read/mapped",
            "held",
            "a device that holds direct I/O (dm-linear, loop): Function not implemented",
        ),
        (
            Requirement::HoldInCopy,
            "copy/store-moves-written",
            "userfaultfd",
            "userfaultfd(2): Operation not permitted",
        ),
        (
            Requirement::Whole,
            "lifecycle/sync-store-to-hole",
            "a mount point",
            "the mount point of a file system of its own: Invalid argument",
        ),
        (
            Requirement::BadBlocks,
            "lifecycle/write-to-bad-block",
            "bad-blocks",
            "a list of bad blocks of the device, which is empty (/sys/class/block/*/badblocks): No such file or directory",
        ),
        (
            Requirement::WriteProtect,
            "mapping/write-protected",
            "userfaultfd",
            "userfaultfd(2) with UFFD_FEATURE_WP_ASYNC: Operation not permitted",
        ),
        (
            Requirement::CacheStat,
            "mapping/cachestat",
            "cachestat",
            "cachestat(2): Function not implemented",
        ),
        (
            Requirement::SoftDirty,
            "mapping/soft-dirty-again",
            "soft-dirty",
            "soft-dirty pages (CONFIG_MEM_SOFT_DIRTY): Operation not supported",
        ),
    ];

    fn text(what: &Exportable) -> anyhow::Result<String> {
        Ok(Recorded::of(what)?.c()?.text)
    }

    fn xfstests(what: &Exportable, folder: &Path) -> anyhow::Result<Added> {
        Recorded::of(what)?.xfstests(folder)
    }

    fn exportable(case: &str) -> Exportable {
        Exportable::Case(cases::find(case).unwrap())
    }

    /// Has gcc make `output` of a text.
    fn gcc(words: &[&str], output: &Path, text: &str) {
        let mut gcc = Command::new("gcc")
            .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"])
            .args(words)
            .arg("-o")
            .arg(output)
            .args(["-xc", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        gcc.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = gcc.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{errors}\n{text}");
    }

    /// Where a file system or a machine cannot do what a case needs, nothing can be said about the
    /// kernel, and the program must not.
    #[test]
    fn what_is_missing_is_no_fault_of_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let (library, program) = (folder.path().join("lacking.so"), folder.path().join("program"));
        gcc(&["-shared", "-fPIC"], &library, include_str!("export/lacking.c"));
        let tried = tempfile::tempdir().unwrap();
        // What each program takes.
        let all = [
            ("dax", "DAX files (mount -o dax=always): Operation not supported"),
            ("page-size", "pages of 4096 bytes: Operation not supported"),
        ]
        .map(|(lacks, says)| (None, "waits/punch/splice/mapped", lacks, says));
        let rows =
            LACKING.iter().map(|(one, case, lacks, says)| (Some(*one), *case, *lacks, *says));
        for (requirement, name, lacks, says) in rows.chain(all) {
            let case = cases::find(name).unwrap();
            if let Some(requirement) = requirement {
                let all = Requirement::all(&Recorded::case(case).unwrap()).unwrap();
                assert!(all.contains(&requirement), "{name}: {requirement:?}");
            }
            let text = c(case).unwrap().text;
            // Blocks and inodes that are given back go to the files of the case, which are then
            // not where it wants them.
            let (_, tries) = text.split_once("static void check_needs(void)").unwrap();
            assert!(!tries.split_once("\n}\n").unwrap().0.contains("close("), "{name}");
            gcc(&[], &program, &text);
            let end = Command::new(&program)
                .arg(tried.path())
                .env("LD_PRELOAD", &library)
                .env("LACKS", lacks)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&end.stderr);
            assert_eq!(said, format!("cannot run: needs {says}\n"), "{name}");
            assert_eq!(end.status.code(), Some(2), "{name}: {said}");
            assert_eq!(std::fs::read_dir(tried.path()).unwrap().count(), 0, "{name}");
        }
    }

    #[test]
    fn a_compiler_has_nothing_to_say() {
        for name in SAMPLE {
            let text = c(cases::find(name).unwrap()).unwrap().text;
            gcc(&["-S"], Path::new("/dev/null"), &text);
        }
    }

    /// A program of the fuzzer is one in C, or refused with its reason.
    #[test]
    fn programs_of_the_fuzzer_are_exported_or_refused() {
        let reasons = [
            "pins by direct I/O",
            "huge files",
            "a load is not exported",
            "overlaps its own buffer",
        ];
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected/corpus");
        let mut exported = 0;
        for (path, _) in keep::read_all(&[corpus]).unwrap() {
            match text(&Exportable::Replay(path.clone())) {
                Ok(text) => {
                    if exported % 8 == 0 {
                        gcc(&["-S"], Path::new("/dev/null"), &text);
                    }
                    exported += 1;
                    assert!(text.contains("\texpect"), "{}", path.display());
                }
                Err(why) => {
                    let why = why.to_string();
                    assert!(reasons.iter().any(|reason| why.contains(reason)), "{why}");
                }
            }
        }
        assert!(exported > 30, "{exported}");
    }

    #[test]
    fn a_program_of_the_fuzzer_demands_what_the_reference_does() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected/corpus");
        for (name, has) in [
            ("no-unmap", "expect_blocked(&operations"),
            ("leak-lock-on-signal", "interrupt(&operations"),
            ("dedupe-one-extent", "expect(dedupe_range(fd"),
        ] {
            let path = corpus.join(name).with_extension("json");
            let text = text(&Exportable::Replay(path)).unwrap();
            assert!(text.contains(has), "{name}: {has}\n{text}");
        }
    }

    /// The reference waits where a case lets the kernel choose, shares where a dedupe may find that
    /// it cannot, and gives the file that is made first the lower inode number.
    #[test]
    fn what_a_case_allows_its_program_does_not_forbid() {
        for (name, has, has_not) in [
            ("reflink/source-pinned", "settle(&operations", "expect_blocked(&operations"),
            ("reflink/source-pinned", "in_order(&fd1, &fd2);", "in_order(&fd2"),
            ("evict/own-pin-at-exit", "settle(&operations", "expect_blocked(&operations"),
            ("waits/punch/splice/mapped", "expect_blocked(&operations", "\tsettle(&operations"),
            ("waits/dedupe/splice/mapped", ", SOME);", ", 8192);"),
            ("history/dedupe-two-extents-differ", ", 0), 0, \"dedupe", "SOME,"),
        ] {
            let text = c(cases::find(name).unwrap()).unwrap().text;
            assert!(text.contains(has), "{name}: {has}\n{text}");
            assert!(!text.contains(has_not), "{name}: {has_not}\n{text}");
        }
    }

    /// What is done to a device or a file system is undone, and what a case takes either way for right is not
    /// looked at.
    #[test]
    fn what_is_spoiled_is_mended_whatever_comes_of_it() {
        for (name, parts) in [
            (
                "lifecycle/failed-write-to-bad-block",
                &["expect(spoil(", "\t(void)direct(", "mount_again(\"dax=always\")", "\n\tmend();"]
                    [..],
            ),
            ("lifecycle/sync-store-to-frozen", &["freeze()", "thaw()", "\n\tthaw();"]),
        ] {
            let text = c(cases::find(name).unwrap()).unwrap().text;
            let mut rest = text.split_once("static void run(void)").unwrap().1;
            for part in parts {
                rest = rest.split_once(part).unwrap_or_else(|| panic!("{name}: {part}\n{text}")).1;
            }
            gcc(&["-S"], Path::new("/dev/null"), &text);
        }
    }

    /// What happens while a copy is held has its order, and may wait for the copy.
    #[test]
    fn a_copy_is_held_while_others_go_on() {
        let text = c(cases::find("copy/store-moves-read").unwrap()).unwrap().text;
        let (_, run) = text.split_once("static void run(void)").unwrap();
        let mut rest = run;
        for line in [
            "expect_asked(&buffer",
            "\"store s to bytes 0..512 of the map of data\"",
            "settle(&operations",
            "\"write n to page 1 of before\"",
            "settle(&operations",
            "provide(&buffer",
            "expect_end(&operations",
        ] {
            rest = rest.split_once(line).unwrap_or_else(|| panic!("{line}\n{run}")).1;
        }
        assert!(text.contains("\treturn read_into(&buffer5, fd2, 1024, \"aaaaaa\", "), "{text}");
    }

    #[test]
    fn what_takes_luck_is_tried_more_than_once() {
        for (name, attempts) in [
            // On a stripe it shows nothing unless the pages of both files lie in a row.
            ("history/dedupe-eight-pages-differ", 8),
            ("waits/punch/splice/mapped", 1),
        ] {
            let text = c(cases::find(name).unwrap()).unwrap().text;
            let (run, end) = text.split_once("int main(").unwrap();
            assert_eq!(end.contains("as it must be"), attempts == 1, "{name}\n{text}");
            let again = format!("for (attempt = 0; attempt < {attempts}; attempt++)");
            assert!(end.contains(&again), "{name}: {again}\n{text}");
            assert_eq!(run.contains(&again), attempts > 1, "{name}\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_its_reason() {
        for (name, words) in [
            ("waits/punch/uring-read/mapped", "requests of io_uring"),
            ("race/retry", "script"),
            ("durable/punch/splice/mapped", "not to be seen"),
            ("fsync/part-written-beside-shared", "what was written back is not to be seen"),
            ("reflink/cow-fault-under-pin", "whether a pinned page keeps its block is not to be"),
            ("reflink/cow-write-under-pin", "whether a pinned page keeps its block is not to be"),
            ("waits/punch/splice/huge", "too long to be written down"),
            ("directed/scan-again", "does not run on the reference"),
            ("lifecycle/truncate-into-bad-block", "what the kernel chooses"),
            ("exchange/range-with-cached-pinned", "more than one outcome is right"),
        ] {
            let error = c(cases::find(name).unwrap()).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    /// A folder with what makes it a checkout.
    fn checkout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for part in ["common", "src", "tests/generic", "tests/xfs", "tests/ext4"] {
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
        let case = exportable("waits/punch/splice/unmapped");
        let added = xfstests(&case, folder.path()).unwrap();
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
        let next =
            xfstests(&exportable("interrupted/dedupe/splice/handled"), folder.path()).unwrap();
        assert!(next.files[1].ends_with("tests/generic/104"));
        let script = std::fs::read_to_string(&next.files[1]).unwrap();
        for line in [". ./common/reflink", "_require_scratch_dedupe"] {
            assert!(script.lines().any(|has| has == line), "{line}\n{script}");
        }
        let error = format!("{:#}", xfstests(&case, folder.path()).unwrap_err());
        assert!(error.contains("File exists"), "{error}");
        assert!(!folder.path().join("tests/generic/105").exists());
        assert_eq!(std::fs::read(folder.path().join("tests/generic/102")).unwrap(), b"theirs");
    }

    /// The script of the test that `case` is added as, and its number.
    fn script(case: &str) -> (String, String) {
        let folder = checkout();
        let added = xfstests(&exportable(case), folder.path()).unwrap();
        let number = added.files[1].strip_prefix(folder.path()).unwrap().display().to_string();
        (std::fs::read_to_string(&added.files[1]).unwrap(), number)
    }

    #[test]
    fn a_test_of_xfstests_asks_for_what_it_needs() {
        let folders = [
            ("exchange/swapext-pinned", "tests/xfs/001", "_require_xfs_io_command \"swapext\""),
            ("exchange/swap-boot-mapped", "tests/ext4/001", "_exclude_fs ext3"),
            ("exchange/move-extents-refused", "tests/ext4/001", "_require_dax_iflag"),
            ("refused/punch/uring-buffer/mapped", "tests/generic/103", "_require_io_uring"),
            ("deadlock/dio-self-buffer-read-same", "tests/generic/103", "_require_odirect"),
            (
                "waits/collapse/splice/mapped",
                "tests/generic/103",
                "_require_xfs_io_command \"fcollapse\"",
            ),
            ("history/punch-part-of-shared-page", "tests/generic/103", "_require_scratch_reflink"),
        ];
        for (case, path, line) in folders {
            let (script, number) = script(case);
            assert_eq!(number, path, "{case}");
            assert!(script.lines().any(|has| has == line), "{line}\n{script}");
            assert_eq!(script.contains("_exclude_fs"), path.contains("ext4"), "{script}");
        }
        // _require_scratch_dax_mountopt takes a mount with dax=inode for one without DAX.
        let (script, _) = script("exchange/move-extents-refused");
        for line in [
            "_require_scratch_dax_mountopt \"dax=always\"",
            "_scratch_mount \"-o dax=inode\" >> $seqres.full 2>&1",
        ] {
            assert!(script.lines().any(|has| has == line), "{line}\n{script}");
        }
    }

    #[test]
    fn what_is_no_checkout_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let case = exportable("waits/punch/splice/unmapped");
        let error = xfstests(&case, folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("is no checkout of xfstests: it has no common/preamble"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_case_is_exported_or_refused() {
        // A case that pins by splice says the same as those that pin otherwise.
        let is_exported = |case: &Case| {
            let Ok(recorded) = Recorded::case(case) else { return false };
            if recorded.c().is_err() {
                return false;
            }
            // Each is shown to be looked for, but for those that say so when they are done.
            for one in Requirement::all(&recorded).unwrap() {
                if !matches!(one, Requirement::ShutDown | Requirement::Huge) {
                    assert!(LACKING.iter().any(|(shown, ..)| *shown == one), "{one:?}");
                }
            }
            true
        };
        let exported = cases::all()
            .into_par_iter()
            .filter(|case| !matches!(case.group(), "race" | "livelock"))
            .filter(|case| matches!(case.coordinate("pin"), None | Some("splice" | "vm-write")))
            .filter(|case| is_exported(case))
            .count();
        assert!(exported > 100, "{exported}");
    }
}
