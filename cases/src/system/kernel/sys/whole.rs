//! Ioctls that are about a whole file system, and online scrub.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::check::check;

fn call<T>(file: &File, request: libc::Ioctl, argument: *const T) -> io::Result<()> {
    // SAFETY: each caller passes what its request names.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request, argument) }.into()).map(drop)
}

/// `FIFREEZE`.
pub(crate) fn freeze(root: &File) -> io::Result<()> {
    call(root, libc::_IOWR::<libc::c_int>(u32::from(b'X'), 119) as _, std::ptr::null::<()>())
}

/// `FITHAW`.
pub(crate) fn thaw(root: &File) -> io::Result<()> {
    call(root, libc::_IOWR::<libc::c_int>(u32::from(b'X'), 120) as _, std::ptr::null::<()>())
}

/// `XFS_FSOP_GOING_FLAGS_NOLOGFLUSH` and `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const NO_LOG_FLUSH: u32 = 2;

/// `XFS_IOC_GOINGDOWN`, which is `EXT4_IOC_SHUTDOWN`, too.
pub(crate) fn shut_down(root: &File) -> io::Result<()> {
    let how = NO_LOG_FLUSH;
    call(root, libc::_IOR::<u32>(u32::from(b'X'), 125) as _, &raw const how)
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct GrowData {
    blocks: u64,
    inodes_percent: u32,
}

/// `XFS_IOC_FSGROWFSDATA`; `inodes_percent` is what mkfs chose for a file system of less than 1 TiB.
pub(crate) fn grow_xfs(root: &File, blocks: u64) -> io::Result<()> {
    let data = GrowData { blocks, inodes_percent: 25 };
    call(root, libc::_IOW::<GrowData>(u32::from(b'X'), 110) as _, &raw const data)
}

/// `EXT4_IOC_RESIZE_FS`.
pub(crate) fn grow_ext4(root: &File, blocks: u64) -> io::Result<()> {
    call(root, libc::_IOW::<u64>(u32::from(b'f'), 16) as _, &raw const blocks)
}

/// `struct xfs_scrub_metadata`.
#[repr(C)]
struct Scrub {
    what: u32,
    flags: u32,
    inode: u64,
    generation: u32,
    group: u32,
    reserved: [u64; 5],
}

/// `XFS_SCRUB_TYPE_RMAPBT`.
const REVERSE_MAP: u32 = 9;

/// `XFS_SCRUB_TYPE_BNOBT`, of free space, the reverse map, and `XFS_SCRUB_TYPE_REFCNTBT`.
const OF_GROUPS: [u32; 3] = [5, REVERSE_MAP, 10];

/// `XFS_SCRUB_TYPE_INODE` and `XFS_SCRUB_TYPE_BMBTD`.
const OF_FILES: [u32; 2] = [11, 12];

/// `XFS_SCRUB_IFLAG_REPAIR`: repair it if need be.
const REPAIR: u32 = 1;

/// `XFS_SCRUB_OFLAG_CORRUPT`, and `XCORRUPT`: two structures contradict each other.
const CORRUPT: u32 = 1 << 1 | 1 << 4;

/// `XFS_IOC_SCRUB_METADATA` of all that has to do with the blocks of a file; whether any is corrupt.
pub(crate) fn scrub(file: &File) -> io::Result<bool> {
    let mut corrupt = scrub_file(file, 0)?;
    for what in OF_GROUPS {
        for group in 0.. {
            match scrub_one(file, what, group, 0) {
                Ok(seen) => corrupt |= seen,
                // There is no such structure, or no such group.
                Err(why)
                    if why.raw_os_error() == Some(libc::ENOENT)
                        || group > 0 && why.raw_os_error() == Some(libc::EINVAL) =>
                {
                    break;
                }
                Err(why) => return Err(why),
            }
        }
    }
    Ok(corrupt)
}

/// The same of a file's inode and extent map, which are to be repaired if they are corrupt.
pub(crate) fn repair(file: &File) -> io::Result<bool> {
    scrub_file(file, REPAIR)
}

fn scrub_file(file: &File, flags: u32) -> io::Result<bool> {
    let mut corrupt = false;
    for what in OF_FILES {
        corrupt |= scrub_one(file, what, 0, flags)?;
    }
    Ok(corrupt)
}

fn scrub_one(file: &File, what: u32, group: u32, flags: u32) -> io::Result<bool> {
    let mut scrub = Scrub { what, flags, inode: 0, generation: 0, group, reserved: [0; 5] };
    call(file, libc::_IOWR::<Scrub>(u32::from(b'X'), 60) as _, &raw mut scrub)?;
    Ok(scrub.flags & CORRUPT != 0)
}

/// `struct xfs_bulkstat_req` of one inode.
#[repr(C)]
struct BulkStat {
    inode: u64,
    flags: u32,
    room: u32,
    found: u32,
    group: u32,
    reserved: [u64; 5],
    /// `struct xfs_bulkstat`.
    stat: [u64; 24],
}

/// Bytes of its head alone, which is what the number of the ioctl has.
const BULK_HEAD: usize = 64;

/// `XFS_IOC_BULKSTAT` of the first inode from `inode` on; how many were found.
pub(crate) fn bulkstat(root: &File, inode: u64) -> io::Result<u64> {
    let (flags, room, found, group) = (0, 1, 0, 0);
    let mut request =
        BulkStat { inode, flags, room, found, group, reserved: [0; 5], stat: [0; 24] };
    call(root, libc::_IOR::<[u8; BULK_HEAD]>(u32::from(b'X'), 127) as _, &raw mut request)?;
    Ok(request.found.into())
}
