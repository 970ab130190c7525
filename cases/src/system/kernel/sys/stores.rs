//! Which pages of a range the process has stored to, as the kernel tells it through /proc.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt as _;

use super::protect;
use crate::action::{PAGE, Tracker};

/// Bit 55 of an entry of `/proc/PID/pagemap` (Documentation/admin-guide/mm/soft-dirty.rst).
const SOFT_DIRTY: u64 = 1 << 55;

/// What has `/proc/PID/clear_refs` clear that bit.
const CLEAR_SOFT_DIRTY: &str = "4";

// include/uapi/linux/fs.h.

/// `PM_SCAN_WP_MATCHING`: what is reported is write-protected.
const SCAN_PROTECTS: u64 = 1;

/// `PM_SCAN_CHECK_WPASYNC`.
const SCAN_CHECKS: u64 = 1 << 1;

/// `PAGE_IS_WRITTEN`.
const WRITTEN: u64 = 1 << 1;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct ScanArgs {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

nix::ioctl_readwrite!(pagemap_scan, b'f', 16, ScanArgs);

/// From now on stores to the mapped range are to be told of; those before are forgotten.
pub(super) fn track(start: u64, len: u64, by: Tracker) -> io::Result<()> {
    match by {
        Tracker::SoftDirty => fs::write("/proc/self/clear_refs", CLEAR_SOFT_DIRTY),
        Tracker::Scan => {
            protect::watch(start, len)?;
            scan(start, len, SCAN_PROTECTS, &mut []).map(drop)
        }
    }
}

/// How many pages of the mapped range were stored to.
pub(super) fn stored_to(start: u64, len: u64, by: Tracker) -> io::Result<u64> {
    match by {
        Tracker::SoftDirty => soft_dirty(start, len),
        Tracker::Scan => {
            let mut regions = vec![Region::default(); (len / PAGE) as usize];
            let found = scan(start, len, 0, &mut regions)?;
            Ok(regions[..found].iter().map(|region| (region.end - region.start) / PAGE).sum())
        }
    }
}

fn soft_dirty(start: u64, len: u64) -> io::Result<u64> {
    let mut entries = vec![0; (len / PAGE * 8) as usize];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, start / PAGE * 8)?;
    let entries = entries
        .chunks_exact(8)
        .map(|entry| u64::from_ne_bytes(entry.try_into().expect("an entry has eight bytes")));
    Ok(entries.filter(|entry| entry & SOFT_DIRTY != 0).count() as u64)
}

/// `PAGEMAP_SCAN` for pages that were written; how many of `regions` it filled.
fn scan(start: u64, len: u64, flags: u64, regions: &mut [Region]) -> io::Result<usize> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let vec = if regions.is_empty() { 0 } else { regions.as_mut_ptr() as u64 };
    let mut scan = ScanArgs {
        size: size_of::<ScanArgs>() as u64,
        flags: flags | SCAN_CHECKS,
        start,
        end: start + len,
        vec,
        vec_len: regions.len() as u64,
        category_mask: WRITTEN,
        return_mask: WRITTEN,
        ..ScanArgs::default()
    };
    // SAFETY: the structure and the regions are the caller's and outlive the call, which writes no more
    // regions than `vec_len`; of what is mapped it changes the protection at most.
    let found = unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut scan) }?;
    Ok(found as usize)
}

/// Whether the kernel does it: always, since v6.7, or never.
pub(crate) fn can_track(by: Tracker) -> io::Result<()> {
    let page = super::Aligned::filled(PAGE as usize, 0);
    let at = page.as_ptr() as u64;
    match by {
        // A page that was just written to; without CONFIG_MEM_SOFT_DIRTY none is soft-dirty.
        Tracker::SoftDirty if soft_dirty(at, PAGE)? == 0 => Err(io::ErrorKind::Unsupported.into()),
        Tracker::SoftDirty => Ok(()),
        Tracker::Scan => scan(at, 0, 0, &mut []).map(drop),
    }
}
