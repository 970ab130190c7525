//! The system calls that have no safe wrapper, and the only unsafe code of this crate.
#![expect(unsafe_code, reason = "memory maps, ioctls and statx are not safe by their types")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use protocol::hold::Slots;

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

    /// Reads the byte at an offset, so that its page is mapped.
    pub(crate) fn load(&self, at: usize) -> u8 {
        assert!(at < self.length, "the load is in the map");
        // SAFETY: the byte is in the map; the caller keeps the file that long.
        unsafe { self.start.as_ptr().cast::<u8>().add(at).read_volatile() }
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

/// Where the byte at an offset of a file is on its device, in bytes; none if it is nowhere.
pub(crate) fn physical(file: &File, at: u64) -> io::Result<Option<u64>> {
    let mut map =
        Fiemap { start: at, length: 1, flags: FIEMAP_FLAG_SYNC, room: 1, ..Fiemap::default() };
    // SAFETY: the structure has the room that `room` says.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut map) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // The extent may begin before it.
    Ok((map.mapped == 1 && map.logical <= at).then(|| map.physical + (at - map.logical)))
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

/// Numbers of 64 bits that the probes write, mapped.
#[derive(Debug)]
pub(crate) struct Counters {
    start: NonNull<libc::c_void>,
    numbers: usize,
}

// SAFETY: the map belongs to the process, not to a thread; all access is through volatile reads.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Counters {
    /// Maps an array of so many.
    pub(crate) fn new(array: BorrowedFd<'_>, numbers: usize) -> nix::Result<Self> {
        let length = NonZeroUsize::new(numbers * size_of::<u64>()).ok_or(nix::Error::EINVAL)?;
        // SAFETY: a new map at an address of the kernel's choice overlaps nothing.
        let start =
            unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, array, 0) }?;
        Ok(Self { start, numbers })
    }

    /// The sum of `count` of them from number `first` on.
    pub(crate) fn sum(&self, first: u32, count: u32) -> u64 {
        let numbers = first as usize..(first + count) as usize;
        assert!(numbers.end <= self.numbers, "the numbers are in the array");
        let start = self.start.as_ptr().cast::<u64>();
        // SAFETY: each is in the map; volatile, because the kernel writes them.
        numbers.map(|n| unsafe { start.add(n).read_volatile() }).fold(0, u64::wrapping_add)
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: nothing but this structure refers to the map. It cannot fail for what is mapped.
        let _ = unsafe { munmap(self.start, self.numbers * size_of::<u64>()) };
    }
}

/// The control page of holds, mapped.
#[derive(Debug)]
pub(crate) struct HoldPage(NonNull<Slots>);

// SAFETY: the map belongs to the process, not to a thread; all access is through atomics.
unsafe impl Send for HoldPage {}
// SAFETY: as above.
unsafe impl Sync for HoldPage {}

impl HoldPage {
    /// Maps the array.
    pub(crate) fn new(array: BorrowedFd<'_>) -> nix::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Slots>()).ok_or(nix::Error::EINVAL)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new map at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(None, length, rights, MapFlags::MAP_SHARED, array, 0) }?;
        Ok(Self(start.cast()))
    }

    pub(crate) fn slots(&self) -> &Slots {
        // SAFETY: the map is as long, page-aligned, and there as long as this structure; all of it
        // is atomics, which others may change.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for HoldPage {
    fn drop(&mut self) {
        // SAFETY: nothing but this structure refers to the map. It cannot fail for what is mapped.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Slots>()) };
    }
}

/// `struct perf_event_attr` in its first version: include/uapi/linux/perf_event.h.
#[repr(C)]
#[derive(Default)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    rest: [u64; 6],
}

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
/// `_IO('$', 0)` and `_IOW('$', 8, __u32)`.
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

/// Has a program run at the tracepoint with this number, whichever task comes there on whichever
/// processor, until what is returned is closed.
pub(crate) fn run_at_tracepoint(program: BorrowedFd<'_>, number: u64) -> io::Result<OwnedFd> {
    let event = PerfEvent {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEvent>() as u32,
        config: number,
        rest: [0; 6],
    };
    // All tasks on the first processor: to its program the kernel lets all processors come.
    let (any_task, cpu, no_group) = (-1, 0, -1);
    // SAFETY: the structure is as long as it says, and the kernel only reads it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const event,
            any_task,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, for nobody else.
    let link = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let calls = [
        (PERF_EVENT_IOC_SET_BPF, program.as_raw_fd() as libc::c_ulong),
        (PERF_EVENT_IOC_ENABLE, 0),
    ];
    for (call, argument) in calls {
        // SAFETY: both take a plain number.
        if unsafe { libc::ioctl(link.as_raw_fd(), call as _, argument) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(link)
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

/// Has `to` have all blocks of `from`, too: FICLONE, ioctl_ficlone(2).
pub(crate) fn share(from: &File, to: &File) -> io::Result<()> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct file_dedupe_range` with one `file_dedupe_range_info`: include/uapi/linux/fs.h.
#[repr(C)]
struct DedupeWhole {
    at: u64,
    length: u64,
    count: u16,
    reserved: [u16; 3],
    to: i64,
    to_at: u64,
    deduped: u64,
    status: i32,
    reserved_too: u32,
}

/// Has `to` share its first bytes with `from` if they are the same: FIDEDUPERANGE, ioctl_fideduperange(2).
pub(crate) fn dedupe(from: &File, to: &File, length: u64) -> io::Result<()> {
    let mut range = DedupeWhole {
        at: 0,
        length,
        count: 1,
        reserved: [0; 3],
        to: to.as_raw_fd().into(),
        to_at: 0,
        deduped: 0,
        status: 0,
        reserved_too: 0,
    };
    // The request encodes the size of the head alone, 24 bytes.
    let request = libc::_IOWR::<[u64; 3]>(0x94, 54);
    // SAFETY: the structure has the one range that it says it has, and outlives the call.
    let result = unsafe { libc::ioctl(from.as_raw_fd(), request as _, &raw mut range) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives a file blocks up to a length, and the length.
pub(crate) fn allocate(file: &File, length: u64) -> io::Result<()> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length as i64) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A line of a device-mapper table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DmTarget {
    /// Its first sector on the device.
    pub(crate) begin: u64,
    pub(crate) sectors: u64,
    pub(crate) kind: String,
    pub(crate) parameters: String,
}

/// `struct dm_ioctl`: include/uapi/linux/dm-ioctl.h.
const DM_HEAD: usize = 312;
/// `DM_TABLE_STATUS_CMD`, in the `_IOWR` form of 0xfd.
const DM_TABLE_STATUS: libc::c_ulong = libc::_IOWR::<[u8; DM_HEAD]>(0xfd, 12) as libc::c_ulong;
/// The table as it was loaded, and not the targets' state.
const DM_STATUS_TABLE_FLAG: u32 = 1 << 4;
/// The kernel's: there was more to tell than room.
const DM_BUFFER_FULL_FLAG: u32 = 1 << 8;

/// The live table of a device-mapper device.
pub(crate) fn device_mapper_table((major, minor): (u32, u32)) -> io::Result<Vec<DmTarget>> {
    let control = File::options().read(true).write(true).open("/dev/mapper/control")?;
    let mut room = 16 << 10;
    loop {
        let mut call = vec![0_u8; room];
        let mut put = |at: usize, bytes: &[u8]| call[at..at + bytes.len()].copy_from_slice(bytes);
        // Version 4.0.0, data_size, data_start; flags; dev.
        for (at, number) in [(0, 4), (12, room as u32), (16, DM_HEAD as u32)] {
            put(at, &number.to_ne_bytes());
        }
        put(28, &DM_STATUS_TABLE_FLAG.to_ne_bytes());
        put(40, &libc::makedev(major, minor).to_ne_bytes());
        // SAFETY: the kernel writes no more than data_size bytes, which is the buffer's length.
        let result =
            unsafe { libc::ioctl(control.as_raw_fd(), DM_TABLE_STATUS as _, call.as_mut_ptr()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        if word(&call, 28)? & DM_BUFFER_FULL_FLAG == 0 {
            return targets(&call);
        }
        room *= 2;
    }
}

fn word(call: &[u8], at: usize) -> io::Result<u32> {
    let bytes = call.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or_else(|| io::Error::other("the table is cut"))
}

/// Takes the answer apart: from data_start on, for each target a `struct dm_target_spec` (first
/// sector, length, status, where the next one is, counted from the first; type of 16 characters)
/// and its parameters as a terminated string.
fn targets(call: &[u8]) -> io::Result<Vec<DmTarget>> {
    let start = word(call, 16)? as usize;
    let mut targets = Vec::new();
    let mut at = start;
    for _ in 0..word(call, 20)? {
        let long = |at| {
            Ok::<_, io::Error>(u64::from(word(call, at)?) | u64::from(word(call, at + 4)?) << 32)
        };
        let text = |at: usize, most: usize| {
            let bytes = call.get(at..).unwrap_or_default();
            let end = bytes.iter().take(most).position(|byte| *byte == 0).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        targets.push(DmTarget {
            begin: long(at)?,
            sectors: long(at + 8)?,
            kind: text(at + 24, 16),
            parameters: text(at + 40, usize::MAX),
        });
        at = start + word(call, at + 20)? as usize;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_mapper_table_is_taken_apart() {
        let mut call = vec![0_u8; DM_HEAD];
        call[16..20].copy_from_slice(&(DM_HEAD as u32).to_ne_bytes());
        call[20..24].copy_from_slice(&2_u32.to_ne_bytes());
        let specs =
            [(0_u64, 16_u64, "linear", "259:0 8"), (16, 64, "striped", "2 8 259:0 0 259:1 0")];
        for (begin, sectors, kind, parameters) in specs {
            let mut spec = vec![0_u8; 40 + (parameters.len() + 1).next_multiple_of(8)];
            let next = (call.len() - DM_HEAD + spec.len()) as u32;
            spec[..8].copy_from_slice(&begin.to_ne_bytes());
            spec[8..16].copy_from_slice(&sectors.to_ne_bytes());
            spec[20..24].copy_from_slice(&next.to_ne_bytes());
            spec[24..24 + kind.len()].copy_from_slice(kind.as_bytes());
            spec[40..40 + parameters.len()].copy_from_slice(parameters.as_bytes());
            call.extend(spec);
        }
        let targets = targets(&call).unwrap();
        let told: Vec<_> = targets
            .iter()
            .map(|t| (t.begin, t.sectors, t.kind.as_str(), t.parameters.as_str()))
            .collect();
        assert_eq!(told, specs);
        assert!(super::targets(&call[..DM_HEAD + 20]).is_err());
    }
}
