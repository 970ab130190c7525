//! The file system under test: made, mounted with DAX, unmounted, checked.
//!
//! Everything that may never return runs in a process of its own with a deadline.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};

use crate::kmsg::Kmsg;
use crate::plan::Fs;
use crate::signature::LABEL;
use crate::tool::{self, Tool};
use crate::verdict::{Problem, Witness};

/// Huge mappings need extents that begin at a multiple of this.
const HUGE: u64 = 2 << 20;

/// The mount option that makes every file a DAX file. Linux commit 8d6c3446ec23 ("fs/xfs: Make
/// DAX mount option a tri-state") and 9cb20f94afcd ("fs/ext4: Make DAX mount option a
/// tri-state"), in v5.8.
const OPTIONS: &str = "dax=always";

/// Why there is no usable file system.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tool(#[from] tool::Error),
    #[error("cannot mount {dev} on {on} with -o {OPTIONS}: {why}{log}{hint}")]
    Mount { dev: PathBuf, on: PathBuf, why: nix::errno::Errno, log: String, hint: &'static str },
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("a file on {0} is not a DAX file (statx reports no STATX_ATTR_DAX)")]
    NotDax(PathBuf),
}

/// A file system on a device.
#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    fs: Fs,
    dev: PathBuf,
    reflink: bool,
    point: PathBuf,
    /// How long a tool may take.
    patience: Duration,
}

/// What part of the time for umount it may be busy.
const BUSY: u32 = 6;

impl FileSystem {
    /// A file system of kind `fs` on `dev`, to be mounted on `point`; no tool may take longer
    /// than `patience`.
    pub(crate) fn new(
        fs: Fs,
        dev: &Path,
        reflink: bool,
        point: PathBuf,
        patience: Duration,
    ) -> Self {
        Self { fs, dev: dev.to_owned(), reflink, point, patience }
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// The options it is mounted with.
    pub(crate) fn options() -> &'static str {
        OPTIONS
    }

    /// The command that makes it.
    pub(crate) fn mkfs(&self) -> Tool {
        self.made_by().arg(&self.dev)
    }

    /// The command that says whether it could be made on `path`, and writes nothing.
    pub(crate) fn try_on(&self, path: &Path) -> Tool {
        self.made_by().arg(if self.fs == Fs::Ext4 { "-n" } else { "-N" }).arg(path)
    }

    fn made_by(&self) -> Tool {
        // A block must be a page: xfs and ext4 refuse DAX otherwise.
        let block =
            nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        match self.fs {
            // The stripe unit makes XFS align large extents to 2 MiB.
            Fs::Xfs | Fs::Reference => Tool::new("mkfs.xfs")
                .args(["-f", "-q", "-L", LABEL])
                .arg("-b")
                .arg(format!("size={block}"))
                .arg("-d")
                .arg(format!("su={HUGE},sw=1"))
                .arg("-m")
                .arg(format!("reflink={}", u8::from(self.reflink))),
            // As xfstests and ndctl do it: the allocator prefers multiples of the stride. The
            // tables are written at once, so that no kernel thread writes them later.
            Fs::Ext4 => Tool::new("mkfs.ext4")
                .args(["-F", "-q", "-L", LABEL])
                .arg("-b")
                .arg(block.to_string())
                .arg("-E")
                .arg(format!(
                    "stride={0},stripe_width={0},lazy_itable_init=0,lazy_journal_init=0",
                    HUGE / block.cast_unsigned()
                )),
        }
    }

    /// Makes it, overwriting the device.
    pub(crate) fn make(&self) -> Result<(), Error> {
        self.mkfs().run(self.patience)?;
        Ok(())
    }

    /// Mounts it and checks that a file on it is a DAX file.
    pub(crate) fn mount(&self, kmsg: &mut Kmsg) -> Result<(), Error> {
        mount(Some(&self.dev), &self.point, Some(self.fs.name()), MsFlags::empty(), Some(OPTIONS))
            .map_err(|why| Error::Mount {
                dev: self.dev.clone(),
                on: self.point.clone(),
                why,
                log: said(kmsg),
                hint: self.hint(why),
            })?;
        let probe = self.point.join(".daxtests-probe");
        let is_dax = is_dax(&probe);
        let _ = fs::remove_file(&probe);
        match is_dax {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NotDax(self.point.clone())),
            Err(why) => Err(Error::Io { path: probe, why }),
        }
    }

    /// What may help where the kernel refused to mount it with `why`. XFS has DAX and reflink
    /// together on whole devices only; on a partition it logs that they "cannot work with
    /// multi-partitions", and older kernels cannot have both at all.
    fn hint(&self, why: nix::errno::Errno) -> &'static str {
        if self.fs == Fs::Xfs && self.reflink && why == nix::errno::Errno::EINVAL {
            "; if it cannot have reflink here, run with --no-reflink"
        } else {
            ""
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
        let tool = match self.fs {
            Fs::Xfs | Fs::Reference => Tool::new("xfs_repair").arg("-n"),
            Fs::Ext4 => Tool::new("e2fsck").arg("-fn"),
        }
        .arg(&self.dev);
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

/// The kernel's own words for why a mount failed.
fn said(kmsg: &mut Kmsg) -> String {
    let Ok(log) = kmsg.drain() else {
        return String::new();
    };
    let said: Vec<_> = log.records.into_iter().map(|record| record.text).collect();
    if said.is_empty() { String::new() } else { format!("; the kernel says: {}", said.join("; ")) }
}

fn is_dax(path: &Path) -> std::io::Result<bool> {
    let file = File::create(path)?;
    let stat = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes_mask.contains(StatxAttributes::DAX)
        && stat.stx_attributes.contains(StatxAttributes::DAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_tells_what_is_ours() {
        for (fs, reflink, words) in [
            (Fs::Xfs, true, "-L daxtests -b size=4096 -d su=2097152,sw=1 -m reflink=1 /dev/pmem0"),
            (Fs::Xfs, false, "reflink=0"),
            (Fs::Ext4, true, "-L daxtests -b 4096 -E stride=512,stripe_width=512,"),
        ] {
            let made = FileSystem::new(
                fs,
                Path::new("/dev/pmem0"),
                reflink,
                "/mnt".into(),
                Duration::from_secs(1),
            );
            let line = made.mkfs().line();
            assert!(line.contains(words), "{line}");
        }
    }
}
