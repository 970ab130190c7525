//! The file system under test: made, mounted with DAX, unmounted, checked.
//!
//! Everything that may never return runs in a process of its own with a deadline.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cases::system::kernel::{choose_dax, is_dax};
use nix::mount::{MsFlags, mount};

use crate::fs::FsRow;
use crate::kmsg::Kmsg;
use crate::shape::{DmTable, REALTIME};
use crate::target::Target;
use crate::tool::{self, Tool};
use crate::verdict::{Problem, Witness};

/// Why there is no usable file system.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tool(#[from] tool::Error),
    #[error("cannot mount {dev} on {on} with -o {options}: {why}{log}{hint}")]
    Mount {
        dev: PathBuf,
        on: PathBuf,
        options: String,
        why: nix::errno::Errno,
        log: String,
        hint: &'static str,
    },
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("a file on {0} is not a DAX file (statx reports no STATX_ATTR_DAX)")]
    NotDax(PathBuf),
}

/// A file system on a device.
#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    row: &'static FsRow,
    target: Target,
    dev: PathBuf,
    /// What XFS has its files on, if not on that.
    realtime: Option<PathBuf>,
    point: PathBuf,
    /// How long a tool may take.
    patience: Duration,
}

/// What free space holds before the first case: a value that no case writes.
const MARKER: u8 = 0xda;

/// How many folders are filled: more than a small file system has groups.
const FOLDERS: u32 = 8;

/// Bytes in each of them.
const FILLED: usize = 1 << 20;

/// What part of the time for umount it may be busy.
const BUSY: u32 = 6;

impl FileSystem {
    /// What `target` says, to be mounted on `point`; no tool may take longer than `patience`.
    pub(crate) fn new(
        row: &'static FsRow,
        target: &Target,
        point: PathBuf,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let dev = target.device()?.to_owned();
        Ok(Self { row, target: target.clone(), dev, realtime: None, point, patience })
    }

    /// Puts it, or its files, on another device: what device-mapper made of the target's.
    pub(crate) fn put_on(&mut self, dm_table: DmTable, dev: PathBuf) {
        match dm_table {
            DmTable::Realtime => self.realtime = Some(dev),
            DmTable::Concat | DmTable::Stripe(_) => self.dev = dev,
        }
    }

    /// Words with the realtime device in its place.
    fn filled(&self, words: impl IntoIterator<Item = String>) -> Vec<String> {
        let node = self.realtime.as_deref().unwrap_or(Path::new(""));
        let fill = |word: String| word.replace(REALTIME, &node.display().to_string());
        words.into_iter().map(fill).collect()
    }

    /// The device that it is on.
    pub(crate) fn device(&self) -> &Path {
        &self.dev
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// The options it is mounted with.
    pub(crate) fn options(&self) -> String {
        self.filled(self.target.mount()).join(",")
    }

    /// The command that makes it.
    pub(crate) fn mkfs(&self) -> Tool {
        let realtime = self.realtime.as_deref();
        self.target.mkfs(self.row, realtime).arg(&self.dev)
    }

    /// The command that says whether it could be made on `path`, and writes nothing.
    pub(crate) fn try_on(&self, path: &Path) -> Tool {
        self.target.mkfs(self.row, None).arg(self.row.try_on).arg(path)
    }

    /// Makes it, overwriting the device.
    pub(crate) fn make(&self) -> Result<(), Error> {
        self.mkfs().run(self.patience)?;
        Ok(())
    }

    /// Mounts it and checks that a file on it is a DAX file.
    pub(crate) fn mount(&self, kmsg: &mut Kmsg) -> Result<(), Error> {
        let (flags, data) = split(&self.filled(self.target.mount()));
        mount(Some(&self.dev), &self.point, Some(self.row.name), flags, Some(data.as_str()))
            .map_err(|why| Error::Mount {
                dev: self.dev.clone(),
                on: self.point.clone(),
                options: self.options(),
                why,
                log: said(kmsg),
                hint: self.hint(why),
            })?;
        if self.target.is_per_file() {
            File::open(&self.point)
                .and_then(|point| choose_dax(&point, true))
                .map_err(|why| Error::Io { path: self.point.clone(), why })?;
        }
        let probe = self.point.join(".daxtests-probe");
        let has_dax = File::create(&probe).and_then(|file| is_dax(&file));
        let _ = fs::remove_file(&probe);
        match has_dax {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotDax(self.point.clone())),
            Err(why) => Err(Error::Io { path: probe, why }),
        }
    }

    /// Fills with [`MARKER`] what is given to the first files, and frees it again: what a block held
    /// before shows if a file shows it. What the cases themselves give back is as good from then on.
    ///
    /// Not all free space: to write a gigabyte takes an emulated machine longer than many a run. A
    /// file system spreads folders over its groups, and files begin where their folder's group
    /// does.
    pub(crate) fn fill(&self) -> Result<(), Error> {
        let folder = self.point.join(".daxtests-fill");
        let filled = fill(&folder);
        let removed = fs::remove_dir_all(&folder);
        // Else the space may not be free yet when the first case begins.
        let synced = File::open(&self.point).and_then(|point| Ok(rustix::fs::syncfs(point)?));
        filled.and(removed).and(synced).map_err(|why| Error::Io { path: folder, why })
    }

    /// What may help where the kernel refused to mount it with `why`.
    fn hint(&self, why: nix::errno::Errno) -> &'static str {
        match self.row.hint {
            Some((option, hint))
                if why == nix::errno::Errno::EINVAL && self.mkfs().line().contains(option) =>
            {
                hint
            }
            _ => "",
        }
    }

    /// Unmounts it. What was just killed may hold it a little longer.
    pub(crate) fn unmount(&self) -> Result<(), Error> {
        let until = Instant::now() + self.patience / BUSY;
        loop {
            let left = self.patience;
            match Tool::new("umount").arg(&self.point).run(left) {
                Ok(_) => return Ok(()),
                Err(tool::Error::Failed { text, .. })
                    if text.contains("busy") && Instant::now() < until =>
                {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Checks it, unmounted. A complaint is a problem; so is a checker that cannot be run.
    pub(crate) fn check(&self) -> Result<Option<Problem>, Error> {
        let (program, options) = self.row.check.split_first().expect("every file system has one");
        let shaped = self.filled(self.target.check_options());
        let tool = Tool::new(*program).args(options.iter().copied()).args(shaped).arg(&self.dev);
        let output = tool.output(self.patience)?;
        if output.status.success() {
            return Ok(None);
        }
        Ok(Some(Problem::new(
            Witness::Check,
            format!("{} finds the file system inconsistent", tool.line()),
            format!("{}\n{}", tool::status_words(output.status), output.text),
        )))
    }
}

/// Options as mount(2) takes them: those that are of every file system are flags.
fn split(options: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in options {
        match option.as_str() {
            "noatime" => flags |= MsFlags::MS_NOATIME,
            "nodiratime" => flags |= MsFlags::MS_NODIRATIME,
            "relatime" => flags |= MsFlags::MS_RELATIME,
            "strictatime" => flags |= MsFlags::MS_STRICTATIME,
            "sync" => flags |= MsFlags::MS_SYNCHRONOUS,
            "dirsync" => flags |= MsFlags::MS_DIRSYNC,
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// The kernel's own words for why a mount failed.
fn said(kmsg: &mut Kmsg) -> String {
    let Ok(log) = kmsg.drain() else {
        return String::new();
    };
    let said: Vec<_> = log.records.into_iter().map(|record| record.text).collect();
    if said.is_empty() { String::new() } else { format!("; the kernel says: {}", said.join("; ")) }
}

/// Makes folders in a new one, each with a file of [`MARKER`].
fn fill(folder: &Path) -> std::io::Result<()> {
    fs::create_dir(folder)?;
    let bytes = vec![MARKER; FILLED];
    for number in 0..FOLDERS {
        let folder = folder.join(number.to_string());
        fs::create_dir(&folder)?;
        let mut file = File::create_new(folder.join("filled"))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_file_system_has_is_a_flag() {
        let options = ["dax=always", "noatime", "inode64"].map(str::to_owned);
        assert_eq!(split(&options), (MsFlags::MS_NOATIME, "dax=always,inode64".to_owned()));
    }
}
