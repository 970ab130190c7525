//! Ioctls of files: reflink, dedupe, exchanged blocks, and which blocks a file has or nobody has.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use super::check::check;
use crate::action::{PAGE, Span};

/// `struct file_clone_range`.
#[repr(C)]
struct CloneRange {
    from: i64,
    at: u64,
    len: u64,
    to_at: u64,
}

/// `FICLONERANGE`.
pub(crate) fn clone_range(from: RawFd, span: Span, to: RawFd, at: u64) -> io::Result<()> {
    let range = CloneRange { from: from.into(), at: span.at, len: span.len, to_at: at };
    let request = libc::_IOW::<CloneRange>(0x94, 13);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(to, request as _, &raw const range) }.into()).map(drop)
}

/// `struct file_dedupe_range` with one `file_dedupe_range_info`.
#[repr(C)]
struct DedupeRange {
    at: u64,
    len: u64,
    count: u16,
    reserved1: u16,
    reserved2: u32,
    to: i64,
    to_at: u64,
    deduped: u64,
    status: i32,
    reserved: u32,
}

/// `FIDEDUPERANGE`; the bytes deduplicated.
pub(crate) fn dedupe_range(from: RawFd, span: Span, to: RawFd, at: u64) -> io::Result<u64> {
    let mut range = DedupeRange {
        at: span.at,
        len: span.len,
        count: 1,
        reserved1: 0,
        reserved2: 0,
        to: to.into(),
        to_at: at,
        deduped: 0,
        status: 0,
        reserved: 0,
    };
    // The request encodes the size of the head alone, 24 bytes.
    let request = libc::_IOWR::<[u64; 3]>(0x94, 54);
    // SAFETY: head and one info, as `count` says.
    check(unsafe { libc::ioctl(from, request as _, &raw mut range) }.into())?;
    match range.status {
        0 => Ok(range.deduped),
        1 => Ok(0),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// `struct xfs_bstime`.
#[repr(C)]
#[derive(Default)]
struct BulkstatTime {
    seconds: i64,
    nanoseconds: i32,
}

/// `struct xfs_bstat`, of which `XFS_IOC_SWAPEXT` reads the inode's last changes.
#[repr(C)]
#[derive(Default)]
struct Bulkstat {
    before: [u64; 5],
    accessed: BulkstatTime,
    modified: BulkstatTime,
    changed: BulkstatTime,
    after: [u64; 6],
}

/// `struct xfs_swapext`.
#[repr(C)]
struct SwapExtents {
    version: i64,
    target: i64,
    donor: i64,
    at: i64,
    len: i64,
    pad: [u8; 16],
    stat: Bulkstat,
}

/// `XFS_IOC_SWAPEXT`: all of both files, which are as long. The kernel refuses it if the first was changed since
/// we looked.
pub(crate) fn swap_extents(one: &File, other: &File) -> io::Result<()> {
    let meta = one.metadata()?;
    let swap = SwapExtents {
        version: 0,
        target: one.as_raw_fd().into(),
        donor: other.as_raw_fd().into(),
        at: 0,
        len: meta.size() as i64,
        pad: [0; 16],
        stat: Bulkstat {
            modified: BulkstatTime { seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() as i32 },
            changed: BulkstatTime { seconds: meta.ctime(), nanoseconds: meta.ctime_nsec() as i32 },
            ..Bulkstat::default()
        },
    };
    let request = libc::_IOWR::<SwapExtents>(u32::from(b'X'), 109);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(one.as_raw_fd(), request as _, &raw const swap) }.into()).map(drop)
}

/// `struct xfs_exchange_range`.
#[repr(C)]
struct ExchangeRange {
    first: i32,
    pad: u32,
    first_at: u64,
    second_at: u64,
    len: u64,
    flags: u64,
}

/// `XFS_EXCHANGE_RANGE_TO_EOF`
const TO_END: u64 = 1;

/// `XFS_IOC_EXCHANGE_RANGE`: all of both files, and how long they are.
pub(crate) fn exchange_range(one: &File, other: &File) -> io::Result<()> {
    let exchange = ExchangeRange {
        first: one.as_raw_fd(),
        pad: 0,
        first_at: 0,
        second_at: 0,
        len: 0,
        flags: TO_END,
    };
    let request = libc::_IOW::<ExchangeRange>(u32::from(b'X'), 129);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(other.as_raw_fd(), request as _, &raw const exchange) }.into())
        .map(drop)
}

/// `struct move_extent`.
#[repr(C)]
struct MoveExtents {
    reserved: u32,
    donor: u32,
    at: u64,
    donor_at: u64,
    count: u64,
    moved: u64,
}

/// `EXT4_IOC_MOVE_EXT`: all blocks of `file`, which must move all together.
pub(crate) fn move_extents(file: &File, donor: &File) -> io::Result<()> {
    let count = file.metadata()?.size().div_ceil(PAGE);
    let donor = donor.as_raw_fd().cast_unsigned();
    let mut what = MoveExtents { reserved: 0, donor, at: 0, donor_at: 0, count, moved: 0 };
    let request = libc::_IOWR::<MoveExtents>(u32::from(b'f'), 15);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request as _, &raw mut what) }.into())?;
    if what.moved == count {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} of {count} blocks were moved", what.moved)))
    }
}

/// `EXT4_IOC_SWAP_BOOT`.
pub(crate) fn swap_boot(file: &File) -> io::Result<()> {
    let request = libc::_IO(u32::from(b'f'), 17);
    // SAFETY: it takes no argument.
    check(unsafe { libc::ioctl(file.as_raw_fd(), request as _) }.into()).map(drop)
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [FiemapExtent; 64],
}

/// Whether what is dirty is written back first. A DAX file has its blocks without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dirty {
    WrittenBack,
    LeftAlone,
}

/// Calls `each` with every extent of `span`, by `FS_IOC_FIEMAP`, until it answers `false`.
fn extents(
    fd: RawFd,
    span: Span,
    dirty: Dirty,
    mut each: impl FnMut(&FiemapExtent) -> bool,
) -> io::Result<()> {
    const SYNC: u32 = 1;
    const LAST: u32 = 1;
    let mut start = span.at;
    while start < span.end() {
        let none = FiemapExtent {
            logical: 0,
            physical: 0,
            length: 0,
            reserved64: [0; 2],
            flags: 0,
            reserved: [0; 3],
        };
        let mut map = Fiemap {
            start,
            length: span.end() - start,
            flags: if dirty == Dirty::WrittenBack { SYNC } else { 0 },
            mapped: 0,
            count: 64,
            reserved: 0,
            extents: [none; 64],
        };
        // The request encodes the size of the head alone, 32 bytes.
        let request = libc::_IOWR::<[u64; 4]>(u32::from(b'f'), 11);
        // SAFETY: `count` says how many extents there is room for.
        check(unsafe { libc::ioctl(fd, request as _, &raw mut map) }.into())?;
        let extents = &map.extents[..(map.mapped as usize).min(64)];
        if !extents.iter().all(&mut each) {
            break;
        }
        match extents.last() {
            Some(extent) if extent.flags & LAST == 0 => start = extent.logical + extent.length,
            _ => break,
        }
    }
    Ok(())
}

/// The device's page behind each page of `span`, 0 for a hole.
pub(crate) fn blocks(fd: RawFd, span: Span) -> io::Result<Vec<u64>> {
    let mut blocks = vec![0; (span.len / PAGE) as usize];
    extents(fd, span, Dirty::WrittenBack, |extent| {
        let first = extent.logical.max(span.at);
        let last = (extent.logical + extent.length).min(span.end());
        for at in (first..last).step_by(PAGE as usize) {
            blocks[((at - span.at) / PAGE) as usize] =
                (extent.physical + at - extent.logical) / PAGE;
        }
        true
    })?;
    Ok(blocks)
}

/// The block of a page of a file, if it has one that was written.
pub(crate) fn written_block(fd: RawFd, index: u64) -> io::Result<Option<u64>> {
    Ok(written_blocks(fd, index, 1)?[0])
}

/// The same of so many pages from one on.
pub(crate) fn written_blocks(fd: RawFd, first: u64, count: usize) -> io::Result<Vec<Option<u64>>> {
    const UNWRITTEN: u32 = 0x800;
    let span = Span { at: first * PAGE, len: count as u64 * PAGE };
    let mut blocks = vec![None; count];
    extents(fd, span, Dirty::LeftAlone, |extent| {
        let within = extent.logical..extent.logical + extent.length;
        for (at, block) in (span.at..).step_by(PAGE as usize).zip(&mut blocks) {
            if within.contains(&at) && extent.flags & UNWRITTEN == 0 {
                *block = Some((extent.physical + at - extent.logical) / PAGE);
            }
        }
        true
    })?;
    Ok(blocks)
}

/// The index plus 1 of the file's page at the device's page `block`, or 0.
pub(crate) fn find_block(fd: RawFd, block: u64) -> io::Result<u64> {
    let mut found = 0;
    extents(fd, Span { at: 0, len: i64::MAX as u64 }, Dirty::WrittenBack, |extent| {
        let first = extent.physical / PAGE;
        if (first..first + extent.length / PAGE).contains(&block) {
            found = extent.logical / PAGE + block - first + 1;
        }
        found == 0
    })?;
    Ok(found)
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Fsxattr {
    xflags: u32,
    rest: [u32; 6],
}

/// What `FS_IOC_FSGETXATTR` says of a file or a folder in `fsx_xflags`.
pub(crate) fn xflags(fd: RawFd) -> io::Result<u32> {
    let mut attributes = Fsxattr::default();
    let request = libc::_IOR::<Fsxattr>(u32::from(b'X'), 31);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(fd, request as _, &raw mut attributes) }.into())?;
    Ok(attributes.xflags)
}

/// Whether the file system counts the page `block` of `device` as free.
pub(crate) fn is_free(fd: RawFd, device: u64, block: u64) -> io::Result<bool> {
    Ok(free_one(fd, device, &[block])?.is_some())
}

/// A device as the kernel hands it out: `new_encode_dev` of include/linux/kdev_t.h.
fn encode(device: u64) -> u32 {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    (minor & 0xff | major << 8 | (minor & !0xff) << 12) as u32
}

/// `struct fsmap`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Fsmap {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

/// `struct fsmap_head` with room for records.
#[repr(C)]
struct FsmapHead {
    iflags: u32,
    oflags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [Fsmap; 2],
    records: [Fsmap; Self::ROOM],
}

impl FsmapHead {
    const ROOM: usize = 256;
}

/// The first of these pages of `device`, which is one of the file system's, that it counts as free,
/// if any, by `FS_IOC_GETFSMAP`.
pub(crate) fn free_one(fd: RawFd, device: u64, blocks: &[u64]) -> io::Result<Option<u64>> {
    const SPECIAL_OWNER: u32 = 0x10;
    const FREE: u64 = 1;
    const LAST: u32 = 0x20;
    let device = encode(device);
    let mut map = Box::new(FsmapHead {
        iflags: 0,
        oflags: 0,
        count: FsmapHead::ROOM as u32,
        entries: 0,
        reserved: [0; 6],
        // From the start of the device: records that begin before the first key are left out.
        keys: [
            Fsmap::default(),
            Fsmap {
                device: u32::MAX,
                flags: u32::MAX,
                physical: u64::MAX,
                owner: u64::MAX,
                offset: u64::MAX,
                ..Fsmap::default()
            },
        ],
        records: [Fsmap::default(); FsmapHead::ROOM],
    });
    // The request encodes the size of the head alone, 192 bytes.
    let request = libc::_IOWR::<[u64; 24]>(u32::from(b'X'), 59);
    loop {
        // SAFETY: `count` says how many records there is room for.
        check(unsafe { libc::ioctl(fd, request as _, &raw mut *map) }.into())?;
        let records = &map.records[..(map.entries as usize).min(FsmapHead::ROOM)];
        let Some(last) = records.last().copied() else { return Ok(None) };
        // Free space always has a record; without a reverse map what is in use may have none.
        let is_free = |block: &&u64| {
            let at = **block * PAGE;
            records.iter().any(|record| {
                record.device == device
                    && (record.physical..record.physical + record.length).contains(&at)
                    && record.flags & SPECIAL_OWNER != 0
                    && record.owner == FREE
            })
        };
        if let Some(block) = blocks.iter().find(is_free) {
            return Ok(Some(*block));
        }
        if last.flags & LAST != 0 {
            return Ok(None);
        }
        map.keys[0] = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size is part of the request's number, and the kernel reads the times where it has them.
    #[test]
    fn the_structure_is_the_kernels() {
        assert_eq!(size_of::<Fsxattr>(), 28);
        assert_eq!(size_of::<SwapExtents>(), 192);
        assert_eq!(size_of::<ExchangeRange>(), 40);
        assert_eq!(std::mem::offset_of!(Bulkstat, modified), 56);
        assert_eq!(std::mem::offset_of!(Bulkstat, changed), 72);
    }
}

/// `struct cachestat_range`.
#[repr(C)]
struct CacheStatRange {
    at: u64,
    len: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    written_back: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// cachestat(2), since v6.5: how many pages of all of a file are in the page cache, or were.
pub(crate) fn cached(file: &File) -> io::Result<u64> {
    let all = CacheStatRange { at: 0, len: 0 };
    let mut found = CacheStat::default();
    // SAFETY: both structures are the call's and outlive it.
    check(unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const all, &raw mut found, 0)
    })?;
    Ok(found.cached + found.evicted)
}

/// include/uapi/asm-generic/unistd.h.
const SYS_CACHESTAT: libc::c_long = 451;
