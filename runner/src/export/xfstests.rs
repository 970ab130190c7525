//! A case as a test of xfstests: a program below `src/`, a test that runs it, and the test's golden
//! output.
//!
//! The form is that of xfstests' README, its script `new`, `common/preamble` and `common/rc`. The
//! two lists that name each program (`src/Makefile`, `.gitignore`) are the checkout's own, and
//! whoever sends the patch adds the line.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use nix::errno::Errno;

use super::requirement::{Requirement, only_on};
use super::{Recorded, c};
use crate::target::DAX;
use crate::wrap;

/// A file that is to be made.
struct TestFile {
    path: PathBuf,
    mode: u32,
    text: String,
}

/// What was made in a checkout.
#[derive(Debug)]
pub(crate) struct Added {
    /// The files.
    pub(crate) files: Vec<PathBuf>,
    /// The program's name, which the checkout's lists of programs lack.
    pub(crate) program: String,
}

/// Adds the test to the checkout in `folder`, whose files stay as they are.
///
/// # Errors
///
/// If `folder` is no checkout of xfstests, or a file of the name is there.
pub(super) fn add(
    recorded: &Recorded,
    requirements: &[Requirement],
    source: String,
    folder: &Path,
) -> anyhow::Result<Added> {
    check(folder, &recorded.name)?;
    let program = program(&recorded.name);
    let tests = folder.join("tests").join(only_on(requirements).map_or("generic", |fs| fs.name));
    let number = free_number(&tests)?;
    let files = [
        TestFile { path: source_of(folder, &program), mode: 0o644, text: source },
        TestFile {
            path: tests.join(&number),
            mode: 0o755,
            text: test(recorded, requirements, &number, &program),
        },
        TestFile { path: tests.join(format!("{number}.out")), mode: 0o644, text: golden(&number) },
    ];
    let mut made = Vec::new();
    for file in &files {
        if let Err(error) = write(file) {
            // A part of a test is none. What is removed was made here.
            for path in &made {
                let _ = fs::remove_file(path);
            }
            return Err(error).with_context(|| file.path.display().to_string());
        }
        made.push(file.path.clone());
    }
    Ok(Added { files: made, program })
}

/// Checks that the program of this name can be added to the checkout in `folder`.
///
/// # Errors
///
/// As [`add`].
pub(super) fn check(folder: &Path, name: &str) -> anyhow::Result<()> {
    for part in ["common/preamble", "src/Makefile", "tests/generic"] {
        ensure!(
            folder.join(part).exists(),
            "{} is no checkout of xfstests: it has no {part}",
            folder.display()
        );
    }
    let source = source_of(folder, &program(name));
    if fs::symlink_metadata(&source).is_ok() {
        let there = std::io::Error::from(Errno::EEXIST);
        return Err(there).with_context(|| source.display().to_string());
    }
    Ok(())
}

/// What the program of a case is called there.
fn program(name: &str) -> String {
    format!("t_dax_{}", name.replace(['/', '-'], "_"))
}

fn source_of(folder: &Path, program: &str) -> PathBuf {
    folder.join("src").join(format!("{program}.c"))
}

fn write(file: &TestFile) -> std::io::Result<()> {
    let mut to =
        OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&file.path)?;
    to.write_all(file.text.as_bytes()).inspect_err(|_| {
        let _ = fs::remove_file(&file.path);
    })
}

/// The number after the last test: gaps are those of tests that were dropped.
fn free_number(tests: &Path) -> anyhow::Result<String> {
    let mut last = 0;
    for entry in fs::read_dir(tests).with_context(|| tests.display().to_string())? {
        let name = entry.with_context(|| tests.display().to_string())?.file_name();
        let number = name.to_str().and_then(|name| name.split('.').next()?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(format!("{:03}", last + 1))
}

fn golden(number: &str) -> String {
    format!("QA output created by {number}\nSilence is golden\n")
}

/// Each with its end.
fn lines(of: impl Iterator<Item = String>) -> String {
    of.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// The script.
fn test(recorded: &Recorded, requirements: &[Requirement], number: &str, program: &str) -> String {
    let rows: Vec<_> = requirements.iter().map(|one| one.row()).collect();
    let groups: BTreeSet<_> = rows.iter().filter_map(|row| row.group).collect();
    let requires: BTreeSet<_> = rows.iter().filter_map(|row| row.line).collect();
    let mount = c::mount(&recorded.deeds);
    let shares = groups.contains("clone") || groups.contains("dedupe");
    let imports = if shares { ". ./common/reflink\n\n" } else { "" };
    // Tests in tests/ext4 run on its forerunners, too.
    let excluded = match only_on(requirements) {
        Some(fs) if fs.name == "ext4" => "_exclude_fs ext2\n_exclude_fs ext3\n\n",
        _ => "",
    };
    let about = lines(wrap::lines(&recorded.about, 76).iter().map(|line| format!("# {line}")));
    let groups: Vec<_> = ["auto", "quick", "dax", "mmap"].into_iter().chain(groups).collect();
    let groups = groups.join(" ");
    let fixes = lines(recorded.fixes.iter().map(|fix| fixed_by(fix)));
    let requires = lines(requires.iter().map(ToString::to_string));
    format!(
        "#! /bin/bash\n\
         # SPDX-License-Identifier: GPL-2.0\n\
         # Copyright (c) YEAR YOUR NAME HERE.  All Rights Reserved.\n\
         #\n\
         # FS QA Test {number}\n\
         #\n\
         {about}\
         #\n\
         . ./common/preamble\n\
         _begin_fstest {groups}\n\
         \n\
         {fixes}\
         {imports}\
         {excluded}\
         _require_scratch\n\
         _require_scratch_dax_mountopt \"{DAX}\"\n\
         _require_test_program \"{program}\"\n\
         {requires}\
         \n\
         _scratch_mkfs >> $seqres.full 2>&1\n\
         _scratch_mount \"-o {mount}\" >> $seqres.full 2>&1\n\
         \n\
         $here/src/{program} $SCRATCH_MNT > $tmp.said 2>&1\n\
         case $? in\n\
         0)\t;;\n\
         2)\t_notrun \"$(head -n 1 $tmp.said)\" ;;\n\
         *)\tcat $tmp.said ;;\n\
         esac\n\
         \n\
         echo \"Silence is golden\"\n\
         status=0\n\
         exit\n"
    )
}

/// `cee91fa13a8e ("fs/dax: return ..."), in v6.15` as xfstests says it.
fn fixed_by(fix: &str) -> String {
    let (id, rest) = fix.split_once(' ').unwrap_or((fix, ""));
    let title = rest.split_once("(\"").and_then(|(_, rest)| rest.rsplit_once("\")"));
    match title {
        Some((title, _)) => format!("_fixed_by_kernel_commit {id} \\\n\t\"{title}\"\n"),
        None => format!("_fixed_by_kernel_commit {id}\n"),
    }
}
