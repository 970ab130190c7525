//! io_uring: a ring for one transfer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check::check;
use super::mapping::Buffer;

/// A ring for one transfer.
pub(crate) struct Uring(io_uring::IoUring);

impl Uring {
    /// io_uring_setup(2).
    pub(crate) fn new() -> io::Result<Self> {
        io_uring::IoUring::new(4).map(Self)
    }

    /// Submits one transfer between `buffer`, to be kept until it is over, and `offset` of `fd`.
    pub(crate) fn submit(
        &mut self,
        fd: BorrowedFd<'_>,
        buffer: &Buffer,
        offset: u64,
        write: bool,
    ) -> io::Result<()> {
        let target = io_uring::types::Fd(fd.as_raw_fd());
        let (address, bytes) = (buffer.address, buffer.length);
        let entry = if write {
            io_uring::opcode::Write::new(target, address as *const u8, bytes as u32)
                .offset(offset)
                .build()
        } else {
            io_uring::opcode::Read::new(target, address as *mut u8, bytes as u32)
                .offset(offset)
                .build()
        };
        // SAFETY: the kernel checks the range, which is a mapping's and nobody's memory as long as
        // whoever submits keeps the buffer, as `submit` demands.
        unsafe { self.0.submission().push(&entry) }.map_err(io::Error::other)?;
        self.0.submit().map(drop)
    }

    /// The transfer's result: bytes, or an error.
    pub(crate) fn complete(&mut self) -> io::Result<u64> {
        self.0.submit_and_wait(1)?;
        let entry = self.0.completion().next().ok_or_else(|| io::Error::other("no completion"))?;
        check(entry.result().into())
            .map(|bytes| bytes as u64)
            .map_err(|_| io::Error::from_raw_os_error(-entry.result()))
    }

    /// Registers a fixed buffer.
    pub(crate) fn register(&self, buffer: &Buffer) -> io::Result<()> {
        let (address, bytes) = (buffer.address, buffer.length);
        let vector = libc::iovec { iov_base: address as *mut _, iov_len: bytes as usize };
        // SAFETY: the kernel checks the range; the registration ends with the ring.
        unsafe { self.0.submitter().register_buffers(&[vector]) }
    }
}
