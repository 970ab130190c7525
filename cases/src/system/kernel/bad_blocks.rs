//! Blocks that persistent memory cannot read, as its driver is told through sysfs.
//!
//! Whoever writes a whole block mends it. The driver of memory that the kernel was told of on its command line
//! believes that at once; others ask the device.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::sys::Aligned;

/// Bytes of what sysfs counts in.
const SECTOR: u64 = 512;

/// Where a device lists them: a sector and a count in each line.
fn list(device: &Path) -> PathBuf {
    Path::new("/sys/class/block").join(device.file_name().unwrap_or_default()).join("badblocks")
}

/// Bytes of the device that are bad: where, and how many.
pub(super) fn known(device: &Path) -> io::Result<Vec<(u64, u64)>> {
    let text = fs::read_to_string(list(device))?;
    let bytes = |word: &str| word.parse::<u64>().ok().map(|sectors| sectors * SECTOR);
    let of_line = |line: &str| {
        let (at, len) = line.split_once(' ')?;
        Some((bytes(at)?, bytes(len)?))
    };
    Ok(text.lines().filter_map(of_line).collect())
}

/// Adds some bytes of the device, in whole sectors.
pub(super) fn add(device: &Path, at: u64, len: u64) -> io::Result<()> {
    fs::write(list(device), format!("{} {}", at / SECTOR, len / SECTOR))
}

/// Writes zeros wherever the device has any. One that lists none is left alone.
pub(super) fn mend(device: &Path) -> io::Result<()> {
    for (at, len) in known(device).unwrap_or_default() {
        let zeros = Aligned::filled(len as usize, 0);
        let device = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(device)?;
        device.write_all_at(&zeros, at)?;
    }
    Ok(())
}
