//! Which device has the data of a file: XFS may have a second one for that, its realtime device.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::stat::{major, minor};

use super::sys;

/// Of files, and of folders in which every new file is one: `FS_XFLAG_REALTIME` and
/// `FS_XFLAG_RTINHERIT` of linux/fs.h.
const REALTIME: u32 = 0x1 | 0x100;

/// The device with the blocks of a file, or of the files of a folder, as `st_dev` has it.
pub(super) fn device(file: &File) -> io::Result<u64> {
    let dev = file.metadata()?.dev();
    let flags = match sys::xflags(file.as_raw_fd()) {
        Err(why) if why.raw_os_error() == Some(libc::ENOTTY) => 0,
        flags => flags?,
    };
    if flags & REALTIME == 0 {
        return Ok(dev);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let node = realtime(&mounts, &format!("{}:{}", major(dev), minor(dev)));
    let node = node.ok_or_else(|| io::Error::other("no mount names the realtime device"))?;
    Ok(fs::metadata(node)?.rdev())
}

/// The realtime device of a file system on `dev`, as `/proc/self/mountinfo` has it (proc(5)).
fn realtime<'m>(mounts: &'m str, dev: &str) -> Option<&'m str> {
    let of_dev = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(dev));
    of_dev
        .filter_map(|line| line.rsplit(' ').next())
        .find_map(|options| options.split(',').find_map(|option| option.strip_prefix("rtdev=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_names_the_second_device() {
        let mounts = "36 35 98:0 / /mnt rw - xfs /dev/a rw,rtdev=/dev/b\n\
                      37 35 259:0 / /m rw,relatime shared:1 - xfs /dev/pmem0 rw,dax=always,rtdev=/dev/dm-0,noquota\n\
                      38 35 259:1 / /n rw - xfs /dev/pmem1 rw,noquota\n";
        assert_eq!(realtime(mounts, "259:0"), Some("/dev/dm-0"));
        assert_eq!(realtime(mounts, "259:1"), None);
        assert_eq!(realtime(mounts, "259:2"), None);
    }
}
