//! Linux native AIO.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check::check;
use super::mapping::Buffer;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct IoEvent {
    /// What `submit` was given.
    pub(crate) data: u64,
    object: u64,
    /// Bytes or a negative errno.
    pub(crate) result: i64,
    result2: i64,
}

/// An AIO context of this process.
#[derive(Debug)]
pub(crate) struct Aio(u64);

impl Aio {
    /// io_setup(2).
    pub(crate) fn new(depth: u32) -> io::Result<Self> {
        let mut context = 0u64;
        // SAFETY: the kernel writes the context's number.
        check(unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) })?;
        Ok(Self(context))
    }

    /// Submits one transfer between `buffer`, to be kept until it is over, and `offset` of `fd`.
    pub(crate) fn submit(
        &self,
        fd: BorrowedFd<'_>,
        buffer: &Buffer,
        offset: u64,
        write: bool,
        data: u64,
    ) -> io::Result<()> {
        let iocb = Iocb {
            data,
            opcode: u16::from(write),
            fd: fd.as_raw_fd() as u32,
            buffer: buffer.address,
            bytes: buffer.length,
            offset: offset as i64,
            ..Iocb::default()
        };
        let list = [&raw const iocb];
        // SAFETY: one valid iocb, copied by the kernel before it returns.
        check(unsafe { libc::syscall(libc::SYS_io_submit, self.0, 1, list.as_ptr()) }).map(drop)
    }

    /// At least one completion.
    pub(crate) fn complete(&self) -> io::Result<Vec<IoEvent>> {
        self.completions(1)
    }

    /// What is there without waiting.
    pub(crate) fn completed(&self) -> io::Result<Vec<IoEvent>> {
        self.completions(0)
    }

    fn completions(&self, least: i64) -> io::Result<Vec<IoEvent>> {
        let mut events = [IoEvent::default(); 64];
        // SAFETY: room for 64 events, no time limit.
        let count = check(unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.0,
                least,
                events.len(),
                events.as_mut_ptr(),
                std::ptr::null::<libc::timespec>(),
            )
        })?;
        Ok(events[..count as usize].to_vec())
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: the context is ours.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}
