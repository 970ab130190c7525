//! Whether a device may be overwritten.
//!
//! It may if nobody uses it and it carries nothing, or a file system that daxtests made.
//! `--force` takes a device that carries something else, never one in use. Nothing here writes.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::signature::{self, Carries};

/// Why a device is not taken. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("{0} is not a block device")]
    NoBlockDevice(PathBuf),
    #[error("{dev} is mounted on {on}; unmount it first")]
    Mounted { dev: PathBuf, on: String },
    #[error("{dev} is in use by {by}")]
    Held { dev: PathBuf, by: String },
    #[error("{0} is held open exclusively by another process or by the kernel")]
    Exclusive(PathBuf),
    #[error("{0} has partitions; daxtests takes a whole device only if it is blank")]
    Partitioned(PathBuf),
    #[error("{0} does not support DAX (its queue/dax is not 1)")]
    NoDax(PathBuf),
    #[error("{dev} carries {what}; --force overwrites it")]
    Foreign { dev: PathBuf, what: String },
}

/// Checks that `dev` may be overwritten. What has to be asked may take as long as `patience`.
pub(crate) fn check(dev: &Path, force: bool, patience: Duration) -> Result<(), Refusal> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |why| Refusal::Io { path, why }
    };
    let metadata = fs::metadata(dev).map_err(io(dev))?;
    if !metadata.file_type().is_block_device() {
        return Err(Refusal::NoBlockDevice(dev.to_owned()));
    }
    let number = DeviceNumber::of(metadata.rdev());
    let sysfs = PathBuf::from(format!("/sys/dev/block/{number}"));
    let sysfs = fs::canonicalize(&sysfs).map_err(io(&sysfs))?;
    let parts = partitions(&sysfs);

    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(io(Path::new("/proc/self/mountinfo")))?;
    for number in std::iter::once(&number).chain(parts.iter().map(|(number, _)| number)) {
        if let Some(on) = mount_point(&mounts, *number) {
            return Err(Refusal::Mounted { dev: dev.to_owned(), on });
        }
    }
    for folder in std::iter::once(&sysfs).chain(parts.iter().map(|(_, folder)| folder)) {
        if let Some(by) = holder(folder) {
            return Err(Refusal::Held { dev: dev.to_owned(), by });
        }
    }
    // O_EXCL on a block device without O_CREAT: EBUSY if it is in use by the system, a mount in
    // another namespace included (open(2)).
    File::options().read(true).custom_flags(nix::fcntl::OFlag::O_EXCL.bits()).open(dev).map_err(
        |why| {
            if why.raw_os_error() == Some(Errno::EBUSY as i32) {
                Refusal::Exclusive(dev.to_owned())
            } else {
                io(dev)(why)
            }
        },
    )?;
    if !supports_dax(&sysfs) {
        return Err(Refusal::NoDax(dev.to_owned()));
    }
    // Linux Documentation/ABI/stable/sysfs-block: size is in 512-byte sectors whatever the
    // device's own are.
    let size = number_in(&sysfs.join("size")).unwrap_or(0) * 512;
    if force {
        return Ok(());
    }
    if !parts.is_empty() {
        return Err(Refusal::Partitioned(dev.to_owned()));
    }
    match signature::look(dev, size, patience).map_err(io(dev))? {
        Carries::Nothing | Carries::Ours => Ok(()),
        Carries::Foreign(what) => Err(Refusal::Foreign { dev: dev.to_owned(), what }),
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DeviceNumber {
    major: u64,
    minor: u64,
}

impl DeviceNumber {
    fn of(raw: u64) -> Self {
        Self { major: nix::sys::stat::major(raw), minor: nix::sys::stat::minor(raw) }
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

fn partitions(sysfs: &Path) -> Vec<(DeviceNumber, PathBuf)> {
    let Ok(entries) = fs::read_dir(sysfs) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("partition").exists())
        .filter_map(|folder| {
            let number = fs::read_to_string(folder.join("dev")).ok()?;
            let (major, minor) = number.trim().split_once(':')?;
            let number = DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? };
            Some((number, folder))
        })
        .collect()
}

/// Where `number` is mounted. Linux, Documentation/filesystems/proc.rst, 3.5: the third field is
/// the device, the fifth the mount point.
fn mount_point(mountinfo: &str, number: DeviceNumber) -> Option<String> {
    let number = number.to_string();
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next()? == number).then_some(())?;
        fields.nth(1).map(|path| path.replace("\\040", " "))
    })
}

fn holder(sysfs: &Path) -> Option<String> {
    let mut names: Vec<String> = fs::read_dir(sysfs.join("holders"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    (!names.is_empty()).then(|| names.join(", "))
}

fn supports_dax(sysfs: &Path) -> bool {
    // A partition's queue is its parent's.
    [sysfs.join("queue/dax"), sysfs.join("../queue/dax")]
        .iter()
        .any(|path| number_in(path) == Some(1))
}

fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_block_device_is_refused() {
        let refusal = check(Path::new("/dev/null"), true, Duration::ZERO).unwrap_err();
        assert_eq!(refusal.to_string(), "/dev/null is not a block device");
        let refusal = check(Path::new("/nonexistent/pmem0"), false, Duration::ZERO).unwrap_err();
        assert!(refusal.to_string().starts_with("/nonexistent/pmem0: "), "{refusal}");
    }

    #[test]
    fn mounts_are_found_by_number() {
        let mountinfo = "22 1 0:20 / /sys rw - sysfs sysfs rw\n\
            31 22 259:0 / /mnt/a\\040b rw,relatime shared:1 - xfs /dev/pmem0 rw,dax=always\n";
        let number = |major, minor| DeviceNumber { major, minor };
        assert_eq!(mount_point(mountinfo, number(259, 0)).as_deref(), Some("/mnt/a b"));
        assert_eq!(mount_point(mountinfo, number(259, 1)), None);
        assert_eq!(mount_point(mountinfo, number(59, 0)), None);
    }
}
