//! The traced device: which file system is on it, where, and which page is which block.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::blockmap::BlockMap;
use crate::survey::Point;
use crate::sys;
use crate::untraceable::{Error, FILE_SYSTEMS, PAGE, failed};

/// A mounted file system on a block device.
#[derive(Clone, Debug)]
pub struct TracedFs {
    /// The block device.
    pub path: PathBuf,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `xfs`, `ext4`.
    pub file_system: String,
    /// `super_block.s_dev`: the kernel's own encoding of the device number.
    pub number: u32,
    /// Where its blocks lie in memory.
    pub blocks: BlockMap,
    /// Blocks of an allocation group, where frees are told by group (XFS).
    pub group_blocks: u32,
}

impl TracedFs {
    /// Whether there is something to trace at `path`, as far as anybody may look.
    pub fn check(path: &Path) -> Result<(), Error> {
        Self::mount(path).map(|_| ())
    }

    /// The numbers of the device, and where what file system of it is mounted.
    fn mount(path: &Path) -> Result<((u32, u32), PathBuf, String), Error> {
        let status = fs::metadata(path).map_err(|_| Error::Missing(path.to_owned()))?;
        if !status.file_type().is_block_device() {
            return Err(Error::NotBlock(path.to_owned()));
        }
        let (major, minor) = (libc::major(status.rdev()), libc::minor(status.rdev()));
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let (mount, file_system) =
            mounted(&mounts, major, minor).ok_or_else(|| Error::NotMounted(path.to_owned()))?;
        if !FILE_SYSTEMS.contains(&file_system.as_str()) {
            return Err(Error::FileSystem { device: path.to_owned(), kind: file_system });
        }
        Ok(((major, minor), mount, file_system))
    }

    /// Looks the device up, and finds out where its blocks are in memory; with the blocks that were
    /// measured for that.
    pub(crate) fn find(path: &Path) -> Result<(Self, Vec<Point>), Error> {
        let ((major, minor), mount, file_system) = Self::mount(path)?;
        let mut raw = File::open(path).map_err(failed("opening", path))?;
        let pages = raw.seek(SeekFrom::End(0)).map_err(failed("measuring", path))? / PAGE;
        let group_blocks = if file_system == "xfs" { group_blocks(&raw, path)? } else { 0 };
        let (blocks, points) = BlockMap::find((major, minor), pages, &mount)?;
        let device = Self {
            path: path.to_owned(),
            mount,
            file_system,
            // include/linux/kdev_t.h: MINORBITS is 20.
            number: (major << 20) | minor,
            blocks,
            group_blocks,
        };
        Ok((device, points))
    }

    /// A new file on the mounted file system that is gone when it is closed.
    pub(crate) fn scratch(&self) -> Result<(File, PathBuf), Error> {
        let path = self.mount.join(format!(".tracer-{}", std::process::id()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed("creating", &path))?;
        let _ = fs::remove_file(&path);
        file.write_all(&[0x5a; PAGE as usize]).map_err(failed("writing", &path))?;
        file.sync_all().map_err(failed("syncing", &path))?;
        if !sys::is_dax(&file).map_err(failed("looking at", &path))? {
            return Err(Error::NotDax(self.mount.clone()));
        }
        Ok((file, path))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(failed("reading", path))
}

/// The mount point and type of the file system with this device number.
fn mounted(mounts: &str, major: u32, minor: u32) -> Option<(PathBuf, String)> {
    let number = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        if left.next()? != number {
            return None;
        }
        let mount = left.nth(1)?;
        Some((PathBuf::from(unescape(mount)), right.split(' ').next()?.to_owned()))
    })
}

/// `/proc/self/mountinfo` writes a blank as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// `sb_agblocks` of the XFS superblock: fs/xfs/libxfs/xfs_format.h, `struct xfs_dsb`.
fn group_blocks(raw: &File, path: &Path) -> Result<u32, Error> {
    let mut head = [0; 512];
    raw.read_exact_at(&mut head, 0).map_err(failed("reading", path))?;
    let word = |at: usize| {
        u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes are four bytes"))
    };
    let size = u64::from(word(4));
    if size != PAGE {
        return Err(Error::BlockSize { device: path.to_owned(), size });
    }
    Ok(word(84))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_device_number() {
        let mounts = "22 1 0:21 / /proc rw shared:5 - proc proc rw\n\
                      90 1 259:0 / /mnt/a\\040b rw,relatime - xfs /dev/pmem0 rw,dax=always\n";
        assert_eq!(mounted(mounts, 259, 0), Some((PathBuf::from("/mnt/a b"), "xfs".to_owned())));
        assert_eq!(mounted(mounts, 259, 1), None);
    }
}
