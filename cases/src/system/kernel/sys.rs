//! The system calls that have no safe wrapper elsewhere.
//!
//! All `unsafe` of the kernel back end is here. Each function does one call, checks what the
//! kernel says and hands errors on as `io::Error`; none keeps state but the fault recovery
//! slot of its thread.

#![allow(
    unsafe_code,
    reason = "this module is where the kernel back end touches raw memory and calls"
)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::action::{PAGE, Span};

/// Turns `-1` into the error that the C library left.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A mapping of a file, and its range of addresses, which nothing else takes while this lives.
///
/// Whoever uses the mapping while another task unmaps it meets a fault there, and nobody's memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    length: usize,
}

/// A part of a mapping for I/O that the kernel does by itself.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    address: u64,
    length: u64,
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
            // SAFETY: `copy` recovers from faults; the target is a byte of ours.
            unsafe { copy(from.add(offset as usize), &raw mut byte, 1) }?;
        }
        Ok(())
    }

    /// Copies content out.
    pub(crate) fn load(&self, span: Span) -> io::Result<Vec<u8>> {
        let from = self.part(span)?;
        let mut bytes = vec![0; span.len as usize];
        // SAFETY: `copy` recovers from faults; the target has `span.len` bytes.
        unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) }?;
        Ok(bytes)
    }

    /// Fills with a byte.
    pub(crate) fn store(&self, span: Span, byte: u8) -> io::Result<()> {
        let to = self.part(span)?;
        // SAFETY: `fill` recovers from faults; the target is file memory that nobody else in
        // this process holds a Rust reference to.
        unsafe { fill(to, byte, span.len as usize) }
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
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and with its last owner nobody is left to use it.
        unsafe { libc::munmap(self.address as *mut _, self.length) };
    }
}

thread_local! {
    /// Where the thread goes on after a fault in `copy` or `fill`; 0: not recoverable.
    static RECOVERY: Cell<usize> = const { Cell::new(0) };
    static FAULTED: Cell<bool> = const { Cell::new(false) };
}

/// Continues behind a faulting `copy` or `fill`; any other SIGBUS or SIGSEGV ends the process.
extern "C" fn on_fault(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let recovery = RECOVERY.get();
    if recovery == 0 {
        // SAFETY: restoring the default action and returning repeats the fault, which then kills.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    FAULTED.set(true);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passed a valid context to this SA_SIGINFO handler.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] = recovery as i64 };
}

extern "C" fn on_nudge(_: libc::c_int) {}

/// Installs the handlers that a task needs: faults are recovered from, and `SIGUSR1` interrupts
/// a system call without restarting it.
pub(crate) fn install_handlers() -> io::Result<()> {
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        handle(signal, on_fault as *const () as usize, libc::SA_SIGINFO | libc::SA_NODEFER)?;
    }
    handle(libc::SIGUSR1, on_nudge as *const () as usize, 0)
}

fn handle(signal: libc::c_int, handler: usize, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction; the handlers are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()).into()).map(drop)
    }
}

fn recovered() -> io::Result<()> {
    RECOVERY.set(0);
    if FAULTED.replace(false) { Err(io::Error::from_raw_os_error(libc::EFAULT)) } else { Ok(()) }
}

/// Copies `count` bytes with user-mode accesses; a fault becomes `EFAULT`.
///
/// # Safety
/// `to` must be valid for writing `count` bytes or be file memory.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(from: *const u8, to: *mut u8, count: usize) -> io::Result<()> {
    let slot = RECOVERY.with(Cell::as_ptr);
    // SAFETY: the handler continues at the label with all registers as the fault left them,
    // which is what the clobbers below allow.
    unsafe {
        std::arch::asm!(
            "lea {goal}, [rip + 2f]",
            "mov qword ptr [{slot}], {goal}",
            "rep movsb",
            "2:",
            goal = out(reg) _,
            slot = in(reg) slot,
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") count => _,
        );
    }
    recovered()
}

/// Fills `count` bytes with user-mode accesses; a fault becomes `EFAULT`.
///
/// # Safety
/// `to` must be file memory, or valid for writing `count` bytes.
#[cfg(target_arch = "x86_64")]
unsafe fn fill(to: *mut u8, byte: u8, count: usize) -> io::Result<()> {
    let slot = RECOVERY.with(Cell::as_ptr);
    // SAFETY: as in `copy`.
    unsafe {
        std::arch::asm!(
            "lea {goal}, [rip + 2f]",
            "mov qword ptr [{slot}], {goal}",
            "rep stosb",
            "2:",
            goal = out(reg) _,
            slot = in(reg) slot,
            in("al") byte,
            inout("rdi") to => _,
            inout("rcx") count => _,
        );
    }
    recovered()
}

/// Minor and major faults of the calling thread so far.
pub(crate) fn faults() -> u64 {
    let usage = thread_usage();
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// How often the calling thread has gone to sleep of its own will.
pub(crate) fn sleeps() -> u64 {
    thread_usage().ru_nvcsw as u64
}

fn thread_usage() -> libc::rusage {
    // SAFETY: all-zero is a valid rusage, and getrusage fills it; it cannot fail for
    // RUSAGE_THREAD.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    }
}

/// Memory shared by a process and all that descend from it, as cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells(usize);

impl Cells {
    /// How many there are.
    pub(crate) const COUNT: usize = 8192;

    /// Maps them, all 0. They live as long as the process.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::COUNT * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(address as usize))
    }

    /// The cell with this number.
    pub(crate) fn cell(self, number: u32) -> &'static AtomicU64 {
        let number = number as usize;
        assert!(number < Self::COUNT, "a case uses fewer than {} cells", Self::COUNT);
        // SAFETY: in range, aligned, mapped for good and only ever used as an atomic.
        unsafe { &*(self.0 as *const AtomicU64).add(number) }
    }
}

/// pidfd_open(2): a descriptor that can be read from once the process has ended, all its threads
/// included.
pub(crate) fn process(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: it was made just now, with FD_CLOEXEC, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// fork(2). The child closes its copies of `closing`, asks to be killed with its parent, does
/// `child` and ends with the code that this returns; nothing that called this goes on in it.
///
/// Of the parent's threads the child has this one only. A lock that another held at this moment
/// is never given back in the child: `child` takes none but those that the caller holds.
pub(crate) fn fork(
    closing: &[BorrowedFd<'_>],
    child: impl FnOnce() -> i32,
) -> io::Result<libc::pid_t> {
    // SAFETY: glibc makes its allocator usable in the child, which is all that the child shares
    // with threads that it does not have, and is asked for above.
    let pid = check(unsafe { libc::fork() }.into())?;
    if pid != 0 {
        return Ok(pid as libc::pid_t);
    }
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    for descriptor in closing {
        // SAFETY: their owner is borrowed by a frame to which the child does not return, so in the
        // child it is never dropped: each is closed once, here.
        unsafe { libc::close(descriptor.as_raw_fd()) };
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
    // SAFETY: `_exit` does not return and runs no handlers.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to one thread.
pub(crate) fn kill_thread(pid: i32, tid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// A page-aligned buffer for direct I/O.
pub(crate) struct Aligned {
    address: *mut u8,
    layout: std::alloc::Layout,
}

impl Aligned {
    /// `count` bytes of `byte`.
    pub(crate) fn filled(count: usize, byte: u8) -> Self {
        let layout = std::alloc::Layout::from_size_align(count.max(1), PAGE as usize)
            .expect("a page is a valid alignment");
        // SAFETY: the layout's size is not 0.
        let address = unsafe { std::alloc::alloc(layout) };
        if address.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // SAFETY: just allocated with that size.
        unsafe { address.write_bytes(byte, layout.size()) };
        Self { address, layout }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: allocated, initialised, and owned by `self`.
        unsafe { std::slice::from_raw_parts(self.address, self.layout.size()) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.layout.size()) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.address, self.layout) };
    }
}

// File system ioctls.

/// `struct file_clone_range`.
#[repr(C)]
struct CloneRange {
    from: i64,
    at: u64,
    len: u64,
    to_at: u64,
}

/// `FICLONERANGE`.
pub(crate) fn clone_range(from: RawFd, span: Span, to: RawFd, at: u64) -> io::Result<()> {
    let range = CloneRange { from: from.into(), at: span.at, len: span.len, to_at: at };
    let request = libc::_IOW::<CloneRange>(0x94, 13);
    // SAFETY: the structure is the one the request names.
    check(unsafe { libc::ioctl(to, request as _, &raw const range) }.into()).map(drop)
}

/// `struct file_dedupe_range` with one `file_dedupe_range_info`.
#[repr(C)]
struct DedupeRange {
    at: u64,
    len: u64,
    count: u16,
    reserved1: u16,
    reserved2: u32,
    to: i64,
    to_at: u64,
    deduped: u64,
    status: i32,
    reserved: u32,
}

/// `FIDEDUPERANGE`; the bytes deduplicated.
pub(crate) fn dedupe_range(from: RawFd, span: Span, to: RawFd, at: u64) -> io::Result<u64> {
    let mut range = DedupeRange {
        at: span.at,
        len: span.len,
        count: 1,
        reserved1: 0,
        reserved2: 0,
        to: to.into(),
        to_at: at,
        deduped: 0,
        status: 0,
        reserved: 0,
    };
    // The request encodes the size of the head alone, 24 bytes.
    let request = libc::_IOWR::<[u64; 3]>(0x94, 54);
    // SAFETY: head and one info, as `count` says.
    check(unsafe { libc::ioctl(from, request as _, &raw mut range) }.into())?;
    match range.status {
        0 => Ok(range.deduped),
        1 => Ok(0),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [FiemapExtent; 64],
}

/// Calls `each` with every extent of `span`, by `FS_IOC_FIEMAP`, until it answers `false`.
fn extents(fd: RawFd, span: Span, mut each: impl FnMut(&FiemapExtent) -> bool) -> io::Result<()> {
    const SYNC: u32 = 1;
    const LAST: u32 = 1;
    let mut start = span.at;
    while start < span.end() {
        let none = FiemapExtent {
            logical: 0,
            physical: 0,
            length: 0,
            reserved64: [0; 2],
            flags: 0,
            reserved: [0; 3],
        };
        let mut map = Fiemap {
            start,
            length: span.end() - start,
            flags: SYNC,
            mapped: 0,
            count: 64,
            reserved: 0,
            extents: [none; 64],
        };
        // The request encodes the size of the head alone, 32 bytes.
        let request = libc::_IOWR::<[u64; 4]>(u32::from(b'f'), 11);
        // SAFETY: `count` says how many extents there is room for.
        check(unsafe { libc::ioctl(fd, request as _, &raw mut map) }.into())?;
        let extents = &map.extents[..(map.mapped as usize).min(64)];
        if !extents.iter().all(&mut each) {
            break;
        }
        match extents.last() {
            Some(extent) if extent.flags & LAST == 0 => start = extent.logical + extent.length,
            _ => break,
        }
    }
    Ok(())
}

/// The device's page behind each page of `span`, 0 for a hole.
pub(crate) fn places(fd: RawFd, span: Span) -> io::Result<Vec<u64>> {
    let mut places = vec![0; (span.len / PAGE) as usize];
    extents(fd, span, |extent| {
        let first = extent.logical.max(span.at);
        let last = (extent.logical + extent.length).min(span.end());
        for at in (first..last).step_by(PAGE as usize) {
            places[((at - span.at) / PAGE) as usize] =
                (extent.physical + at - extent.logical) / PAGE;
        }
        true
    })?;
    Ok(places)
}

/// The index plus 1 of the file's page at the device's page `place`, or 0.
pub(crate) fn find_place(fd: RawFd, place: u64) -> io::Result<u64> {
    let mut found = 0;
    extents(fd, Span { at: 0, len: i64::MAX as u64 }, |extent| {
        let first = extent.physical / PAGE;
        if (first..first + extent.length / PAGE).contains(&place) {
            found = extent.logical / PAGE + place - first + 1;
        }
        found == 0
    })?;
    Ok(found)
}

/// `struct fsmap`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Fsmap {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

/// `struct fsmap_head` with room for records.
#[repr(C)]
struct FsmapHead {
    iflags: u32,
    oflags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [Fsmap; 2],
    records: [Fsmap; Self::ROOM],
}

impl FsmapHead {
    const ROOM: usize = 256;
}

/// Whether the file system counts the device's page `place` as free, by `FS_IOC_GETFSMAP`.
pub(crate) fn is_free(fd: RawFd, place: u64) -> io::Result<bool> {
    const SPECIAL_OWNER: u32 = 0x10;
    const FREE: u64 = 1;
    const LAST: u32 = 0x20;
    let at = place * PAGE;
    let mut map = Box::new(FsmapHead {
        iflags: 0,
        oflags: 0,
        count: FsmapHead::ROOM as u32,
        entries: 0,
        reserved: [0; 6],
        // From the start of the device: records that begin before the first key are left out.
        keys: [
            Fsmap::default(),
            Fsmap {
                device: u32::MAX,
                flags: u32::MAX,
                physical: u64::MAX,
                owner: u64::MAX,
                offset: u64::MAX,
                ..Fsmap::default()
            },
        ],
        records: [Fsmap::default(); FsmapHead::ROOM],
    });
    // The request encodes the size of the head alone, 192 bytes.
    let request = libc::_IOWR::<[u64; 24]>(u32::from(b'X'), 59);
    loop {
        // SAFETY: `count` says how many records there is room for.
        check(unsafe { libc::ioctl(fd, request as _, &raw mut *map) }.into())?;
        let records = &map.records[..(map.entries as usize).min(FsmapHead::ROOM)];
        let Some(last) = records.last().copied() else { return Ok(false) };
        // Free space always has a record; without a reverse map what is in use may have none.
        if records.iter().any(|record| {
            (record.physical..record.physical + record.length).contains(&at)
                && record.flags & SPECIAL_OWNER != 0
                && record.owner == FREE
        }) {
            return Ok(true);
        }
        if last.flags & LAST != 0 {
            return Ok(false);
        }
        map.keys[0] = last;
    }
}

// Linux native AIO.

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

// io_uring.

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

// device-mapper.

/// `struct dm_ioctl` with one target behind it.
///
/// The layout is ABI: Linux include/uapi/linux/dm-ioctl.h.
#[repr(C)]
struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    target: DmTarget,
}

/// `struct dm_target_spec` with its parameters behind it.
#[repr(C)]
struct DmTarget {
    start: u64,
    sectors: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
    parameters: [u8; 128],
}

const DM_HEAD: usize = std::mem::offset_of!(DmIoctl, target);
const _: () = assert!(DM_HEAD == 312);

/// What to do with a device-mapper device.
pub(crate) enum Dm<'a> {
    /// Makes it.
    Create,
    /// Gives it one linear target of `sectors` on `device` (as `major:minor`) from `offset`.
    Load { device: &'a str, offset: u64, sectors: u64 },
    /// Withholds I/O from now on: neither flushes nor freezes.
    Suspend,
    /// Lets I/O through.
    Resume,
    /// Removes it.
    Remove,
}

/// Performs `what` on the device called `name`; its minor number.
pub(crate) fn device_mapper(control: BorrowedFd<'_>, name: &str, what: &Dm<'_>) -> io::Result<u32> {
    const SUSPEND: u32 = 1 << 1;
    const SKIP_LOCKFS: u32 = 1 << 10;
    const NOFLUSH: u32 = 1 << 11;
    // SAFETY: all-zero is a valid dm_ioctl.
    let mut call: DmIoctl = unsafe { std::mem::zeroed() };
    call.version = [4, 0, 0];
    call.data_size = size_of::<DmIoctl>() as u32;
    call.data_start = DM_HEAD as u32;
    put(&mut call.name, name)?;
    let number = match what {
        Dm::Create => 3,
        Dm::Remove => 4,
        Dm::Suspend => {
            call.flags = SUSPEND | SKIP_LOCKFS | NOFLUSH;
            6
        }
        Dm::Resume => 6,
        Dm::Load { device, offset, sectors } => {
            call.target_count = 1;
            call.target.sectors = *sectors;
            call.target.next = size_of::<DmTarget>() as u32;
            put(&mut call.target.kind, "linear")?;
            put(&mut call.target.parameters, &format!("{device} {offset}"))?;
            9
        }
    };
    let request = libc::_IOWR::<[u8; DM_HEAD]>(0xfd, number);
    // SAFETY: head and target as `data_size` and `data_start` say.
    check(unsafe { libc::ioctl(control.as_raw_fd(), request as _, &raw mut call) }.into())?;
    Ok(((call.device & 0xff) | ((call.device >> 12) & 0xf_ff00)) as u32)
}

fn put(field: &mut [u8], text: &str) -> io::Result<()> {
    if text.len() >= field.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}
