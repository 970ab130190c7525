//! userfaultfd(2): what is done about ranges of memory, whatever for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// `struct uffdio_copy`.
#[repr(C)]
struct Copy {
    to: u64,
    from: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

/// `UFFDIO_REGISTER_MODE_MISSING`.
const MISSING: u64 = 1;

nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, Api);
nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, Register);
nix::ioctl_readwrite!(uffdio_copy, 0xaa, 0x03, Copy);

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

/// Whether the kernel itself can be made to wait for memory, and whether this user may do that.
pub(crate) fn can_withhold() -> io::Result<()> {
    open(libc::O_NONBLOCK, 0).map(drop)
}

/// Withholds a mapped range that nobody has touched.
pub(crate) fn withhold(fd: &OwnedFd, start: u64, len: u64) -> io::Result<()> {
    register(fd, start, len, MISSING)
}

/// Provides a range that is withheld, whole pages of the process that made `fd`, and wakes who waits for it.
pub(crate) fn provide(fd: BorrowedFd<'_>, start: u64, bytes: &[u8]) -> io::Result<()> {
    let (from, len) = (bytes.as_ptr() as u64, bytes.len() as u64);
    let mut copy = Copy { to: start, from, len, mode: 0, copied: 0 };
    // SAFETY: the source outlives the call, and the kernel writes only where memory is missing, in a range
    // that is registered with the descriptor.
    unsafe { uffdio_copy(fd.as_raw_fd(), &raw mut copy) }?;
    Ok(())
}
