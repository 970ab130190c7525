//! The system calls that have no safe wrapper, and the only unsafe code of this crate.
#![expect(unsafe_code, reason = "memory maps, ioctls and statx are not safe by their types")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A shared, writable map of the beginning of a file.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the map belongs to the process, not to a thread; all access is through volatile reads.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub(crate) fn new(file: &File, length: NonZeroUsize) -> nix::Result<Self> {
        // SAFETY: a new map at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file.as_fd(),
                0,
            )
        }?;
        Ok(Self { start, length: length.get() })
    }

    /// Reads the first byte, so that its page is mapped.
    pub(crate) fn touch(&self) -> u8 {
        // SAFETY: the map is at least one byte long; the caller keeps the file that long.
        unsafe { self.start.as_ptr().cast::<u8>().read_volatile() }
    }

    /// Writes the byte at an offset, so that its page is mapped and dirty.
    pub(crate) fn store(&self, at: usize) {
        assert!(at < self.length, "the store is in the map");
        // SAFETY: the byte is in the map; the caller keeps the file that long.
        unsafe { self.start.as_ptr().cast::<u8>().add(at).write_volatile(1) };
    }

    /// Writes a part of the map to the beginning of a file.
    pub(crate) fn write_to(&self, file: &File, at: usize, length: usize) -> io::Result<()> {
        assert!(at + length <= self.length, "the part is in the map");
        // SAFETY: the part is in the map, and the kernel only reads it.
        let written = unsafe {
            libc::pwrite(
                file.as_raw_fd(),
                self.start.as_ptr().cast::<u8>().add(at).cast(),
                length,
                0,
            )
        };
        match usize::try_from(written) {
            Ok(written) if written == length => Ok(()),
            Ok(_) => Err(io::Error::other("it took a part only")),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn address(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Puts the first `length` bytes into a pipe: its page stays pinned until the pipe is read.
    pub(crate) fn splice(&self, pipe: impl AsFd, length: usize) -> io::Result<usize> {
        let segment = libc::iovec { iov_base: self.start.as_ptr(), iov_len: length };
        // SAFETY: the segment lies in the map and the kernel only reads it.
        let spliced = unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &raw const segment, 1, 0) };
        usize::try_from(spliced).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the map is this object's own, and nothing points into it.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// `FS_IOC_FIEMAP` with room for one extent: include/uapi/linux/fiemap.h.
#[repr(C)]
#[derive(Default)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    logical: u64,
    physical: u64,
    extent_length: u64,
    reserved64: [u64; 2],
    extent_flags: u32,
    reserved32: [u32; 3],
}

/// `_IOWR('f', 11, struct fiemap)`, whose size is that of the head alone.
const FS_IOC_FIEMAP: libc::c_ulong = 0xc020_660b;
const FIEMAP_FLAG_SYNC: u32 = 1;

/// Where the first byte of a file is on its device, in bytes; none if it is nowhere.
pub(crate) fn physical(file: &File) -> io::Result<Option<u64>> {
    let mut map = Fiemap { length: 1, flags: FIEMAP_FLAG_SYNC, room: 1, ..Fiemap::default() };
    // SAFETY: the structure has the room that `room` says.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut map) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((map.mapped == 1).then_some(map.physical))
}

/// `STATX_ATTR_DAX`: include/uapi/linux/stat.h.
const STATX_ATTR_DAX: u64 = 0x0020_0000;

/// Whether the file is mapped directly.
pub(crate) fn is_dax(file: &File) -> io::Result<bool> {
    // SAFETY: all-zero is a valid value of the structure.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a terminated string, the result a structure of the right type.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_BASIC_STATS,
            &raw mut status,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status.stx_attributes & STATX_ATTR_DAX != 0)
}

/// Puts the calling thread before others of its scheduling class.
pub(crate) fn hurry() -> io::Result<()> {
    // SAFETY: plain numbers; 0 is the calling thread (on Linux a nice value is a thread's own).
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the blocks of a part of a file away; its length stays.
pub(crate) fn punch(file: &File, at: usize, length: usize) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain numbers.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), mode, at as i64, length as i64) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
