//! io_uring: a ring for one transfer, or for one request that is cancelled.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::check::check;
use super::mapping::Buffer;
use crate::action::Span;

/// How long a worker is given at most to begin what is to be cancelled, in milliseconds: what is
/// cancelled then, it has begun.
const LONGEST_HEAD_START: u64 = 512;

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

    /// Has `fd`'s blocks changed by fallocate(2), and cancels that once it runs; what comes of it.
    pub(crate) fn cancelled_fallocate(
        &mut self,
        fd: BorrowedFd<'_>,
        mode: i32,
        span: Span,
    ) -> io::Result<()> {
        let target = io_uring::types::Fd(fd.as_raw_fd());
        self.cancelled(
            &io_uring::opcode::Fallocate::new(target, span.len).offset(span.at).mode(mode).build(),
        )
    }

    /// Has a file opened with `O_TRUNC`, and cancels that once it runs; what comes of it.
    pub(crate) fn cancelled_open_truncate(&mut self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let target = io_uring::types::Fd(libc::AT_FDCWD);
        let flags = libc::O_WRONLY | libc::O_TRUNC | libc::O_CLOEXEC;
        let open = io_uring::opcode::OpenAt::new(target, path.as_ptr()).flags(flags).build();
        self.cancelled(&open)
    }

    /// Has `request` done, whose memory lives until this returns, and cancels it once it runs.
    fn cancelled(&mut self, request: &io_uring::squeue::Entry) -> io::Result<()> {
        const REQUEST: u64 = 1;
        // Milliseconds. On a busy machine a worker takes long to get there.
        let mut head_start = 1;
        loop {
            let request = request.clone().user_data(REQUEST);
            // SAFETY: what it refers to is the caller's, and it is over when this returns.
            unsafe { self.0.submission().push(&request) }.map_err(io::Error::other)?;
            self.0.submit()?;
            std::thread::sleep(Duration::from_millis(head_start));
            let cancel = io_uring::opcode::AsyncCancel::new(REQUEST).build();
            // SAFETY: it has no buffer.
            unsafe { self.0.submission().push(&cancel) }.map_err(io::Error::other)?;
            let mut result = None;
            let mut was_cancelled = None;
            while result.is_none() || was_cancelled.is_none() {
                self.0.submit_and_wait(1)?;
                for entry in self.0.completion() {
                    let of =
                        if entry.user_data() == REQUEST { &mut result } else { &mut was_cancelled };
                    *of = Some(entry.result());
                }
            }
            match (result, was_cancelled) {
                // What no worker has begun yet is taken off its list, and what one has only just
                // taken is not begun either: io_wq_submit_work() of io_uring/io_uring.c. It is tried
                // again, if there is any hope.
                (Some(result), canceled)
                    if (canceled == Some(0) || result == -libc::ECANCELED)
                        && head_start < LONGEST_HEAD_START =>
                {
                    head_start *= 2;
                }
                (Some(result), _) if result < 0 => {
                    return Err(io::Error::from_raw_os_error(-result));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Registers a fixed buffer.
    pub(crate) fn register(&self, buffer: &Buffer) -> io::Result<()> {
        let (address, bytes) = (buffer.address, buffer.length);
        let vector = libc::iovec { iov_base: address as *mut _, iov_len: bytes as usize };
        // SAFETY: the kernel checks the range; the registration ends with the ring.
        unsafe { self.0.submitter().register_buffers(&[vector]) }
    }
}
