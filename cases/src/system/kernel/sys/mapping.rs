//! Mappings of files: made, read and written through, spliced, and unmapped, with faults as errors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::check::check;
use super::{fault, futex, protect, stores};
use crate::action::{PAGE, Span, Tracker};

/// A mapping of a file, and its range of addresses, which nothing else takes while this lives.
///
/// A task that uses the mapping while another unmaps it gets a fault there, and never touches other
/// memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    length: usize,
}

/// A part of a mapping for I/O that the kernel does by itself.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// Its first byte, in this process.
    pub(crate) address: u64,
    pub(super) length: u64,
    /// Keeps the range of addresses.
    _mapping: Arc<Mapping>,
}

impl Buffer {
    /// Its bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.length
    }
}

impl Mapping {
    /// Maps `span` of the file.
    pub(crate) fn new(fd: RawFd, span: Span, flags: libc::c_int) -> io::Result<Self> {
        // SAFETY: a null hint lets the kernel choose a free range; nothing is overwritten.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                span.len as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                span.at as libc::off_t,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address: address as usize, length: span.len as usize })
    }

    /// Unmaps the file; an inaccessible mapping of nothing takes its place.
    pub(crate) fn unmap(&self) -> io::Result<()> {
        // SAFETY: the range was mapped by `new` and is ours until `drop`, so nothing else is
        // replaced; only raw access below ever uses it, and that recovers from faults.
        let address = unsafe {
            libc::mmap(
                self.address as *mut _,
                self.length,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// mprotect(2) to `PROT_NONE`, and back.
    pub(crate) fn protect(&self) -> io::Result<()> {
        for access in [libc::PROT_NONE, libc::PROT_READ | libc::PROT_WRITE] {
            // SAFETY: the range stays mapped, and ours; only raw access uses it, which recovers from faults.
            check(unsafe { libc::mprotect(self.address as *mut _, self.length, access) }.into())?;
        }
        Ok(())
    }

    /// mremap(2) to other addresses, and back. What keeps these ones meanwhile is a mapping of the same.
    pub(crate) fn relocate(&self) -> io::Result<()> {
        let here = self.address as *mut libc::c_void;
        let (length, keeping) = (self.length, libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP);
        // SAFETY: the kernel chooses a free range, and the old one stays mapped, and ours.
        let there = unsafe {
            libc::mremap(here, length, length, keeping, std::ptr::null_mut::<libc::c_void>())
        };
        if there == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let back = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: what is replaced is ours; only raw access uses it, which recovers from faults.
        let moved = unsafe { libc::mremap(there, length, length, back, here) };
        if moved == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The address of `span`, if it lies inside.
    fn part(&self, span: Span) -> io::Result<*mut u8> {
        if span.end() > self.length as u64 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok((self.address + span.at as usize) as *mut u8)
    }

    /// Flushes it with `MS_SYNC`.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: msync does not access memory on the caller's behalf.
        check(unsafe { libc::msync(self.address as *mut _, self.length, libc::MS_SYNC) }.into())
            .map(drop)
    }

    /// Reads one byte of each page.
    pub(crate) fn touch(&self, span: Span) -> io::Result<()> {
        let from = self.part(span)?;
        for offset in (0..span.len).step_by(PAGE as usize) {
            let mut byte = 0u8;
            // SAFETY: `fault::copy` recovers from faults; the target is a byte of ours.
            unsafe { fault::copy(from.add(offset as usize), &raw mut byte, 1) }?;
        }
        Ok(())
    }

    /// `MADV_HWPOISON`; whether the thread was told with `SIGBUS`.
    pub(crate) fn poison(&self, span: Span) -> io::Result<bool> {
        let at = self.part(span)?;
        let (called, told) = fault::expecting(|| advise(at, span.len, libc::MADV_HWPOISON));
        called.map(|()| told)
    }

    /// `UFFDIO_WRITEPROTECT` of all of it.
    pub(crate) fn write_protect(&self) -> io::Result<()> {
        protect::write_protect(self.address as u64, self.length as u64)
    }

    /// `FUTEX_WAIT` for its first word.
    pub(crate) fn futex_wait(&self) -> io::Result<()> {
        let word = self.load(futex::WORD)?;
        let value = u32::from_ne_bytes(word.try_into().expect("it is a word"));
        futex::wait(self.part(futex::WORD)?, value)
    }

    /// `FUTEX_WAKE` of all who wait for its first word; how many did.
    pub(crate) fn futex_wake(&self) -> io::Result<u64> {
        futex::wake(self.part(futex::WORD)?)
    }

    /// Stores to it are told of from now on, those before are not.
    pub(crate) fn track(&self, by: Tracker) -> io::Result<()> {
        stores::track(self.address as u64, self.length as u64, by)
    }

    /// How many pages of `span` were stored to.
    pub(crate) fn stored_to(&self, span: Span, by: Tracker) -> io::Result<u64> {
        stores::stored_to(self.part(span)? as u64, span.len, by)
    }

    /// remap_file_pages(2): `span` shows what is in the mapped file from `at` on.
    pub(crate) fn remap(&self, span: Span, at: u64) -> io::Result<()> {
        let address = self.part(span)?.cast();
        let (len, page) = (span.len as usize, (at / PAGE) as usize);
        // SAFETY: the range stays mapped, and ours; only raw access uses it, which recovers from faults.
        check(unsafe { libc::remap_file_pages(address, len, 0, page, 0) }.into()).map(drop)
    }

    /// `MADV_SOFT_OFFLINE`.
    pub(crate) fn soft_offline(&self, span: Span) -> io::Result<()> {
        advise(self.part(span)?, span.len, libc::MADV_SOFT_OFFLINE)
    }

    /// Copies content out.
    pub(crate) fn load(&self, span: Span) -> io::Result<Vec<u8>> {
        let from = self.part(span)?;
        let mut bytes = vec![0; span.len as usize];
        // SAFETY: `fault::copy` recovers from faults; the target has `span.len` bytes.
        unsafe { fault::copy(from, bytes.as_mut_ptr(), bytes.len()) }?;
        Ok(bytes)
    }

    /// Fills with a byte.
    pub(crate) fn store(&self, span: Span, byte: u8) -> io::Result<()> {
        let to = self.part(span)?;
        // SAFETY: `fault::fill` recovers from faults; the target is file memory that nobody else in
        // this process holds a Rust reference to.
        unsafe { fault::fill(to, byte, span.len as usize) }
    }

    /// Pins `span` into a pipe.
    pub(crate) fn splice(&self, span: Span, pipe: BorrowedFd<'_>) -> io::Result<()> {
        let mut address = self.part(span)?.cast::<libc::c_void>();
        let mut left = span.len as usize;
        while left > 0 {
            let vector = libc::iovec { iov_base: address, iov_len: left };
            // SAFETY: one valid iovec; the kernel checks the range itself.
            let moved =
                check(unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const vector, 1, 0) } as _)?;
            left -= moved as usize;
            // SAFETY: still inside the range that `part` checked.
            address = unsafe { address.byte_add(moved as usize) };
        }
        Ok(())
    }

    /// `span` for I/O that the kernel does by itself.
    pub(crate) fn buffer(self: &Arc<Self>, span: Span) -> io::Result<Buffer> {
        let address = self.part(span)? as u64;
        Ok(Buffer { address, length: span.len, _mapping: Arc::clone(self) })
    }

    /// Synchronous positioned I/O with `span` as the buffer.
    pub(crate) fn transfer(&self, span: Span, fd: RawFd, at: u64, write: bool) -> io::Result<u64> {
        let address = self.part(span)?.cast::<libc::c_void>();
        let (length, at) = (span.len as usize, at as libc::off_t);
        // SAFETY: the kernel checks the range and reports EFAULT.
        let moved = unsafe {
            if write {
                libc::pwrite(fd, address, length, at)
            } else {
                libc::pread(fd, address, length, at)
            }
        };
        check(moved as _).map(|moved| moved as u64)
    }

    /// pwritev(2) of the first `length` bytes of each.
    pub(crate) fn gather(maps: [&Self; 2], length: u64, fd: RawFd, at: u64) -> io::Result<u64> {
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 2];
        for (map, vector) in maps.into_iter().zip(&mut vectors) {
            vector.iov_base = map.part(Span { at: 0, len: length })?.cast();
            vector.iov_len = length as usize;
        }
        // SAFETY: two valid iovecs; the kernel checks what they name, and reports EFAULT.
        let moved = unsafe { libc::pwritev(fd, vectors.as_ptr(), 2, at as libc::off_t) };
        check(moved as _).map(|moved| moved as u64)
    }
}

fn advise(at: *mut u8, len: u64, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: neither advice changes what the range holds; what comes of it is a fault.
    check(unsafe { libc::madvise(at.cast(), len as usize, advice) }.into()).map(drop)
}

/// Whether the kernel takes `MADV_HWPOISON` and `MADV_SOFT_OFFLINE`: it knows them, and we may.
pub(crate) fn can_poison() -> io::Result<()> {
    advise(std::ptr::null_mut(), 0, libc::MADV_HWPOISON)?;
    advise(std::ptr::null_mut(), 0, libc::MADV_SOFT_OFFLINE)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and with its last owner nobody is left to use it.
        unsafe { libc::munmap(self.address as *mut _, self.length) };
    }
}
