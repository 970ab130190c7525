//! Memory that userfaultfd(2) withholds, all of it or all but its beginning: whoever comes to that part, the
//! kernel included, waits until it is provided.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::check::check;
use super::userfault;
use crate::action::PAGE;

/// The part that is withheld, of whichever process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct WithheldRange {
    start: u64,
    len: u64,
}

impl WithheldRange {
    /// Provides all of it, filled with `byte`; `events` are those of its memory.
    pub(crate) fn provide(self, events: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
        userfault::provide(events, self.start, &vec![byte; self.len as usize])
    }
}

/// Memory of this process.
#[derive(Debug)]
pub(crate) struct Withheld {
    mapped: usize,
    /// Bytes from there to the first of the memory.
    skipped: usize,
    len: usize,
    range: WithheldRange,
    events: OwnedFd,
}

impl Withheld {
    /// `len` bytes, of which the first `there` are not withheld.
    pub(crate) fn new(there: u64, len: u64) -> io::Result<Self> {
        // Not UFFD_USER_MODE_ONLY: it is the kernel that must wait.
        let events = userfault::open(libc::O_NONBLOCK, 0)?;
        let before = there.next_multiple_of(PAGE);
        let withheld = len.saturating_sub(there).next_multiple_of(PAGE);
        let (access, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let all = (before + withheld) as usize;
        // SAFETY: a null hint lets the kernel choose a free range; nothing is overwritten.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), all, access, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = Self {
            mapped: mapped as usize,
            skipped: (before - there) as usize,
            len: len as usize,
            range: WithheldRange { start: mapped as u64 + before, len: withheld },
            events,
        };
        userfault::withhold(&memory.events, memory.range.start, withheld)?;
        Ok(memory)
    }

    /// Its first byte.
    pub(crate) fn address(&self) -> u64 {
        (self.mapped + self.skipped) as u64
    }

    /// Its length.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// What is withheld.
    pub(crate) fn range(&self) -> WithheldRange {
        self.range
    }

    /// Can be read from once somebody waits for the memory.
    pub(crate) fn asked(&self) -> &OwnedFd {
        &self.events
    }

    /// Provides what is withheld, filled with `byte`.
    pub(crate) fn provide(&self, byte: u8) -> io::Result<()> {
        self.range.provide(self.events.as_fd(), byte)
    }

    /// Fills what is not withheld.
    pub(crate) fn fill_beginning(&mut self, byte: u8) {
        let there = self.range.start as usize - self.mapped - self.skipped;
        // SAFETY: the range is ours, and nobody has a reference to it.
        unsafe { std::ptr::write_bytes(self.address() as *mut u8, byte, there) };
    }

    /// write(2) of it, or read(2) into it; how many bytes.
    pub(crate) fn transfer(&mut self, fd: RawFd, at: u64, write: bool) -> io::Result<u64> {
        let (address, at) = (self.address() as *mut libc::c_void, at as libc::off_t);
        // SAFETY: the range is ours, and nobody has a reference to it.
        let moved = unsafe {
            if write {
                libc::pwrite(fd, address, self.len, at)
            } else {
                libc::pread(fd, address, self.len, at)
            }
        };
        check(moved as _).map(|moved| moved as u64)
    }

    /// What it holds, once it is provided and whoever waited for it is done.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is ours, and nobody writes to it any more.
        unsafe { std::slice::from_raw_parts(self.address() as *const u8, self.len) }
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        let all = (self.range.start + self.range.len) as usize - self.mapped;
        // SAFETY: the range is ours, and with its last owner nobody is left to use it.
        unsafe { libc::munmap(self.mapped as *mut _, all) };
    }
}
