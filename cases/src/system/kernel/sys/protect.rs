//! Mappings that userfaultfd(2) write-protects, and whose faults the kernel resolves.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use super::userfault;

// include/uapi/linux/userfaultfd.h.

/// `UFFD_USER_MODE_ONLY`.
const USER_MODE_ONLY: libc::c_int = 1;

/// `UFFD_FEATURE_WP_ASYNC`.
const WP_ASYNC: u64 = 1 << 15;

/// `UFFDIO_REGISTER_MODE_WP`.
const REGISTER_WP: u64 = 1 << 1;

/// `UFFDIO_WRITEPROTECT_MODE_WP`.
const PROTECT: u64 = 1;

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

nix::ioctl_readwrite!(uffdio_writeprotect, 0xaa, 0x06, WriteProtect);

fn begin() -> io::Result<OwnedFd> {
    userfault::open(USER_MODE_ONLY, WP_ASYNC)
}

/// Whether the kernel does it: since v6.7.
pub(crate) fn can_write_protect() -> io::Result<()> {
    begin().map(drop)
}

/// Pages of the mapped range can be write-protected from now on, until the process ends.
pub(super) fn watch(start: u64, len: u64) -> io::Result<RawFd> {
    let fd = begin()?;
    userfault::register(&fd, start, len, REGISTER_WP)?;
    // With the descriptor the protection would go.
    Ok(fd.into_raw_fd())
}

/// Write-protects the mapped range, until the process ends.
pub(super) fn write_protect(start: u64, len: u64) -> io::Result<()> {
    let fd = watch(start, len)?;
    let mut protect = WriteProtect { start, len, mode: PROTECT };
    // SAFETY: the structure is the call's and outlives it; what is mapped stays as it is.
    unsafe { uffdio_writeprotect(fd, &raw mut protect) }?;
    Ok(())
}
