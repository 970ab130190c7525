//! The control page of holds, borrowed from the process that has the probes.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use protocol::hold::Slots;

use super::check::check;
use super::process;

/// The page, mapped.
#[derive(Debug)]
pub(crate) struct HoldPage(*mut Slots);

impl HoldPage {
    /// Maps what process `of` has as its descriptor `number`.
    pub(crate) fn borrow(of: libc::pid_t, number: RawFd) -> io::Result<Self> {
        let process = process(of)?;
        // SAFETY: no memory is involved.
        let fd =
            check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })?;
        // SAFETY: it was made just now, with FD_CLOEXEC, and nobody else knows of it.
        let array = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Slots>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                array.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(start.cast()))
    }

    /// What is on it.
    pub(crate) fn slots(&self) -> &Slots {
        // SAFETY: the map is as long, page-aligned, and there as long as this structure; all of it
        // is atomics, which others may change.
        unsafe { &*self.0 }
    }
}

impl Drop for HoldPage {
    fn drop(&mut self) {
        // SAFETY: nothing but this structure refers to the map. It cannot fail for what is mapped.
        unsafe { libc::munmap(self.0.cast(), size_of::<Slots>()) };
    }
}
