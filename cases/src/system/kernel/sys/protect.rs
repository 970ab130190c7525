//! Mappings that userfaultfd(2) write-protects, and whose faults the kernel resolves.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::check::check;

// include/uapi/linux/userfaultfd.h.

/// `UFFD_USER_MODE_ONLY`.
const USER_MODE_ONLY: libc::c_int = 1;

/// `UFFD_API`.
const API: u64 = 0xaa;

/// `UFFD_FEATURE_WP_ASYNC`.
const WP_ASYNC: u64 = 1 << 15;

/// `UFFDIO_REGISTER_MODE_WP`.
const REGISTER_WP: u64 = 1 << 1;

/// `UFFDIO_WRITEPROTECT_MODE_WP`.
const PROTECT: u64 = 1;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    start: u64,
    len: u64,
    mode: u64,
}

nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, Api);
nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, Register);
nix::ioctl_readwrite!(uffdio_writeprotect, 0xaa, 0x06, WriteProtect);

/// What asks for it.
fn begin() -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) })?;
    // SAFETY: it was made just now, and nobody else knows of it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut api = Api { version: API, features: WP_ASYNC, ioctls: 0 };
    // SAFETY: the structure is the call's and outlives it.
    unsafe { uffdio_api(fd.as_raw_fd(), &raw mut api) }?;
    Ok(fd)
}

/// Whether the kernel does it: since v6.7.
pub(crate) fn can_write_protect() -> io::Result<()> {
    begin().map(drop)
}

/// Write-protects the mapped range, until the process ends.
pub(super) fn write_protect(start: u64, len: u64) -> io::Result<()> {
    let fd = begin()?;
    let mut register = Register { start, len, mode: REGISTER_WP, ioctls: 0 };
    // SAFETY: the structure is the call's and outlives it; what is mapped there stays as it is.
    unsafe { uffdio_register(fd.as_raw_fd(), &raw mut register) }?;
    let mut protect = WriteProtect { start, len, mode: PROTECT };
    // SAFETY: as above.
    unsafe { uffdio_writeprotect(fd.as_raw_fd(), &raw mut protect) }?;
    // With the descriptor the protection would go.
    let _ = fd.into_raw_fd();
    Ok(())
}
