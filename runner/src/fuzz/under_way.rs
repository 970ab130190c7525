//! The program that runs now, on disk before it begins: a kernel that stops takes nothing along.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::OFlag;

use crate::output::{self, PathKind};
use crate::print;

use super::keep::{self, Kept};
use super::program::Program;

/// What the file is called. It is there only while programs run.
const NAME: &str = "under-way.json";

/// What a program shows within which the machine stopped, or the runner.
const STOPPED: &str = "stopped";

/// The file.
#[derive(Debug)]
pub(crate) struct UnderWay {
    path: PathBuf,
    file: File,
}

impl UnderWay {
    /// Begins one in a folder for results. One that is there was not ended: its program is kept, and
    /// said to be, with the command that runs it again, which `again` knows.
    pub(crate) fn begin(folder: &Path, again: &dyn Fn(&Path) -> String) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        output::free_or(&path, PathKind::File)?;
        match fs::metadata(&path) {
            Ok(there) if there.len() > 0 => recover(&path, folder, again)?,
            Err(why) if why.kind() != ErrorKind::NotFound => {
                return Err(why).with_context(|| path.display().to_string());
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .with_context(|| path.display().to_string())?;
        Ok(Self { path, file })
    }

    /// `program` begins.
    pub(crate) fn set(&self, program: &Program) -> anyhow::Result<()> {
        let text = serde_json::to_vec(program)?;
        let write = || {
            self.file.write_all_at(&text, 0)?;
            self.file.set_len(text.len() as u64)?;
            self.file.sync_data()
        };
        write().with_context(|| self.path.display().to_string())
    }

    /// All programs have ended.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// Keeps the program of a run that did not come to its end.
fn recover(path: &Path, folder: &Path, again: &dyn Fn(&Path) -> String) -> anyhow::Result<()> {
    let program = match keep::read(path) {
        Ok(program) => program,
        Err(why) => {
            // It did not run yet.
            print::line(format_args!(
                "the last run stopped while it wrote a program down: {why:#}"
            ));
            return Ok(());
        }
    };
    let evidence = "The run did not come to its end: the kernel stopped, or the runner was killed.";
    let kept = Kept { program: &program, kind: STOPPED, evidence }.write(folder)?;
    print::line(format_args!(
        "the last run stopped within a program: the kernel did, or the runner was killed\n\
         replay: {}",
        again(&kept)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_ran_when_the_machine_stopped_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let again = |path: &Path| path.display().to_string();
        let mut long = Program::of_a_refusal();
        long.steps.extend(long.steps.clone());
        let program = Program::of_a_refusal();
        let under_way = UnderWay::begin(folder.path(), &again).unwrap();
        under_way.set(&long).unwrap();
        under_way.set(&program).unwrap();
        drop(under_way);
        let next = UnderWay::begin(folder.path(), &again).unwrap();
        let kept = keep::read(&folder.path().join("stopped-0.json")).unwrap();
        assert_eq!(kept, program);
        next.end().unwrap();
        assert_eq!(names(folder.path()), ["stopped-0.json", "stopped-0.rs", "stopped-0.txt"]);
        // One that came to its end leaves nothing, nor does one that came to no program.
        UnderWay::begin(folder.path(), &again).unwrap().end().unwrap();
        drop(UnderWay::begin(folder.path(), &again).unwrap());
        UnderWay::begin(folder.path(), &again).unwrap().end().unwrap();
        assert_eq!(names(folder.path()).len(), 3);
    }
}
