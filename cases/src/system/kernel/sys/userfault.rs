//! userfaultfd(2): what is done about ranges of memory, whatever for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check::check;

// include/uapi/linux/userfaultfd.h.

/// `UFFD_API`.
const API: u64 = 0xaa;

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

nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, Api);
nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, Register);

/// A new descriptor with `features`.
pub(crate) fn open(flags: libc::c_int, features: u64) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | flags) })?;
    // SAFETY: it was made just now, and nobody else knows of it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut api = Api { version: API, features, ioctls: 0 };
    // SAFETY: the structure is the call's and outlives it.
    unsafe { uffdio_api(fd.as_raw_fd(), &raw mut api) }?;
    Ok(fd)
}

/// Registers a mapped range for faults of this `mode`.
pub(crate) fn register(fd: &OwnedFd, start: u64, len: u64, mode: u64) -> io::Result<()> {
    let mut register = Register { start, len, mode, ioctls: 0 };
    // SAFETY: the structure is the call's and outlives it; what is mapped stays as it is.
    unsafe { uffdio_register(fd.as_raw_fd(), &raw mut register) }?;
    Ok(())
}
