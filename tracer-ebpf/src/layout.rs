//! Where the kernel keeps what the probes read: offsets and addresses, filled in when loaded.
//!
//! Offsets come from the running kernel's BTF, so nothing here knows a kernel version. All reads
//! of kernel memory are in this file.

use core::ffi::c_void;
use core::ptr::read_volatile;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_loop, bpf_probe_read_kernel,
    bpf_probe_read_kernel_buf,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use protocol::segment::{MEMBERS, Segment, Stripes};

/// Something could not be read or recorded.
pub(crate) struct Lost;

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub(crate) static $name: $type = 0;
        )*
    };
}

globals! {
    /// The `dev_t` of the traced file system.
    DEVICE: u32,
    /// Whether to record for a reader what no rule needs; see [`in_detail`].
    DETAIL: u32,
    /// 1 if a DAX page is idle at one reference, 0 if at none.
    IDLE: u32,
    /// Address of the `struct page` of frame 0.
    PAGES: u64,
    /// How many of [`RANGE`] there are.
    RANGES: u32,
    /// How many of [`SEGMENT`] there are.
    SEGMENTS: u32,
    PAGE_SIZE_OF: u32,
    PAGE_FLAGS: u32,
    PAGE_REFS: u32,
    PAGE_MAPS: u32,
    PAGE_MAPPING: u32,
    PAGE_INDEX: u32,
    /// Bit of `page.flags` that marks a compound page's head; 64 if DAX pages are never compound.
    PAGE_HEAD_BIT: u32,
    FOLIO_LARGE_MAPS: u32,
    MAPPING_HOST: u32,
    MAPPING_LOCK: u32,
    INODE_NUMBER: u32,
    INODE_FLAGS: u32,
    INODE_SB: u32,
    INODE_MAPPING: u32,
    INODE_LOCK: u32,
    SB_DEVICE: u32,
    RWSEM_OWNER: u32,
    TASK_STATE: u32,
    FILE_INODE: u32,
    DENTRY_INODE: u32,
    XFS_INODE_VFS: u32,
    BIO_VECS: u32,
    BIO_COUNT: u32,
    PIPE_BUFFER_PAGE: u32,
    FAULT_VMA: u32,
    FAULT_INDEX: u32,
    VMA_FILE: u32,
    /// What a wait's variable is, counted from its page.
    WAIT_OFFSET: u32,
    /// Where a waiter has the list entry by which it is queued.
    WAIT_ENTRY: u32,
    /// Whether the removal hook has (entry, mapping, truncating) and not only the entry.
    REMOVE_HAS_MAPPING: u32,
    FREE_DEVICE: u32,
    FREE_GROUP: u32,
    FREE_BLOCK: u32,
    FREE_LENGTH: u32,
    /// Whether the free tracepoint gives a group and a 32-bit block in it (XFS).
    FREE_BY_GROUP: u32,
    GROUP_BLOCKS: u32,
}

/// Page frames of the traced device: first ones and lengths.
#[unsafe(no_mangle)]
static RANGE: [[u64; 2]; 8] = [[0; 2]; 8];

/// Where the device's blocks lie, as far as that is known.
#[unsafe(no_mangle)]
static SEGMENT: [Segment; 16] = [Segment {
    stripes: Stripes { begin: 0, pages: 0, skip: 0, chunk: 0, members: 0 },
    frames: [0; MEMBERS],
}; 16];

/// The frame of a block of the device, and how many from it on lie one behind the other; none if
/// that is not known.
pub(crate) fn place(block: u64) -> Option<(u64, u64)> {
    let mut search = Placing { block, frame: 0, row: 0 };
    match get(&SEGMENTS) as u32 {
        // Most devices: the verifier knows the number and leaves the other ways out.
        1 => {
            place_in(0, &raw mut search);
        }
        segments => repeat(segments, place_in, &mut search),
    }
    (search.frame != 0).then_some((search.frame, search.row))
}

/// The search for the segment that a block is in.
struct Placing {
    block: u64,
    frame: u64,
    row: u64,
}

extern "C" fn place_in(n: u64, search: *mut Placing) -> i64 {
    // SAFETY: `place` hands over its own.
    let search = unsafe { &mut *search };
    let Some(segment) = SEGMENT.get(n as usize) else {
        return 1;
    };
    // SAFETY: a reference is valid; volatile, because the loader and not the compiler knows it.
    let stripes = unsafe { read_volatile(&raw const segment.stripes) };
    let Some(spot) = stripes.locate(search.block) else {
        return 0;
    };
    if let Some(first) = segment.frames.get(spot.member).map(get64)
        && first != 0
    {
        search.frame = first + spot.page;
        search.row = spot.row;
    }
    1
}

/// Whether a page is one of the device's.
fn is_ours(frame: u64) -> bool {
    let mut search = Owning { frame, ours: false };
    match get(&RANGES) as u32 {
        1 => {
            is_in(0, &raw mut search);
        }
        ranges => repeat(ranges, is_in, &mut search),
    }
    search.ours
}

/// The search for the range that a frame is in.
struct Owning {
    frame: u64,
    ours: bool,
}

extern "C" fn is_in(n: u64, search: *mut Owning) -> i64 {
    // SAFETY: `is_ours` hands over its own.
    let search = unsafe { &mut *search };
    let Some([first, frames]) = RANGE.get(n as usize) else {
        return 1;
    };
    search.ours = search.frame.wrapping_sub(get64(first)) < get64(frames);
    search.ours.into()
}

/// The value of a global as it was set at load.
pub(crate) fn get(global: &'static u32) -> u64 {
    // SAFETY: a reference is valid; volatile, because the loader and not the compiler knows it.
    u64::from(unsafe { read_volatile(global) })
}

/// The same for a wide one.
pub(crate) fn get64(global: &'static u64) -> u64 {
    // SAFETY: as above.
    unsafe { read_volatile(global) }
}

/// Reads kernel memory; the helper turns a bad address into an error.
pub(crate) fn read<T>(address: u64) -> Result<T, Lost> {
    // SAFETY: the helper checks the address and copies.
    unsafe { bpf_probe_read_kernel(address as *const T) }.map_err(|_| Lost)
}

/// The same into memory that is too large for the stack.
pub(crate) fn read_to<T: Copy>(address: u64, to: &mut T) -> Result<(), Lost> {
    let to: *mut T = to;
    // SAFETY: the helper checks the address, and writes as many bytes as there are; what it can
    // read is a `T` that any bytes are, for it is asked for numbers only.
    unsafe {
        let bytes = core::slice::from_raw_parts_mut(to.cast::<u8>(), size_of::<T>());
        bpf_probe_read_kernel_buf(address as *const u8, bytes).map_err(|_| Lost)
    }
}

/// Reads the field at `offset` of the object at `address`.
pub(crate) fn field<T>(address: u64, offset: &'static u32) -> Result<T, Lost> {
    read(address + get(offset))
}

pub(crate) fn task() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

pub(crate) fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The kernel's address of the current task.
pub(crate) fn current() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Only this process's breaks and operations are traced, if it is not 0. A map and not a global,
/// because the self-check comes before anybody else's work and must see its own.
#[map]
static PROCESS: Array<u32> = Array::with_max_entries(1, 0);

/// Whether this task's process is one that is traced.
pub(crate) fn wanted() -> bool {
    let wanted = PROCESS.get(0).copied().unwrap_or(0);
    wanted == 0 || wanted == process()
}

/// Whether what no rule needs is recorded too: a stack with every pin and break, faults that begin
/// while no break waits, and removals of pages that nobody uses. Always, if one process is traced:
/// that is somebody's close look, or the self-check.
pub(crate) fn in_detail() -> bool {
    get(&DETAIL) != 0 || PROCESS.get(0).is_some_and(|wanted| *wanted != 0)
}

/// A file of the traced file system.
#[derive(Clone, Copy)]
pub(crate) struct Inode {
    pub(crate) address: u64,
    pub(crate) number: u64,
}

/// `S_DAX`: include/linux/fs.h, the same since Linux commit d475c6346a38 ("dax,ext2: replace XIP
/// read and write with DAX I/O") added it.
const S_DAX: u32 = 1 << 13;

impl Inode {
    /// The inode at `address`, if it is on the traced device.
    pub(crate) fn at(address: u64) -> Result<Option<Self>, Lost> {
        if address == 0 {
            return Ok(None);
        }
        let sb: u64 = field(address, &INODE_SB)?;
        let device: u32 = field(sb, &SB_DEVICE)?;
        if u64::from(device) != get(&DEVICE) {
            return Ok(None);
        }
        Ok(Some(Self { address, number: field(address, &INODE_NUMBER)? }))
    }

    /// The file behind a mapping, likewise.
    pub(crate) fn of_mapping(mapping: u64) -> Result<Option<Self>, Lost> {
        if mapping == 0 {
            return Ok(None);
        }
        Self::at(field(mapping, &MAPPING_HOST)?)
    }

    /// The file behind a `struct file`, likewise.
    pub(crate) fn of_file(file: u64) -> Result<Option<Self>, Lost> {
        Self::at(field(file, &FILE_INODE)?)
    }

    pub(crate) fn is_dax(self) -> Result<bool, Lost> {
        let flags: u32 = field(self.address, &INODE_FLAGS)?;
        Ok(flags & S_DAX != 0)
    }
}

/// A page of the traced device.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) address: u64,
    pub(crate) frame: u64,
}

/// Counts of a page, read without a lock.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) refs: i32,
    pub(crate) maps: i32,
}

impl Counts {
    /// Whether somebody besides the mappings uses the page.
    pub(crate) fn busy(self) -> bool {
        self.refs - self.maps > get(&IDLE) as i32
    }
}

impl Page {
    /// The page whose `struct page` is at `address`, if it is one of the traced device.
    pub(crate) fn at(address: u64) -> Option<Self> {
        let frame = address.wrapping_sub(get64(&PAGES)) / get(&PAGE_SIZE_OF).max(1);
        Self::numbered(frame)
    }

    /// The page with this frame number, likewise.
    pub(crate) fn numbered(frame: u64) -> Option<Self> {
        if !is_ours(frame) {
            return None;
        }
        Some(Self { address: get64(&PAGES) + frame * get(&PAGE_SIZE_OF), frame })
    }

    pub(crate) fn refs(self) -> Result<i32, Lost> {
        field(self.address, &PAGE_REFS)
    }

    /// All of its fields at once: one call of the helper costs more than what it copies.
    pub(crate) fn shot(self) -> Result<Shot, Lost> {
        read(self.address)
    }

    pub(crate) fn counts(self) -> Result<Counts, Lost> {
        if get(&IDLE) == 1 {
            // They are not mapped as far as the kernel counts.
            return Ok(Counts { refs: self.refs()?, maps: 0 });
        }
        self.shot()?.counts(self)
    }

    /// The counts, looked at again while they say "busy".
    ///
    /// GUP-fast takes a reference before it knows that it may, and drops it again at once. Such a
    /// reference is gone when one looks again; a pin is not.
    pub(crate) fn settled_counts(self) -> Result<Counts, Lost> {
        let mut counts = self.counts()?;
        for _ in 0..8 {
            if !counts.busy() {
                break;
            }
            counts = self.counts()?;
        }
        Ok(counts)
    }

    /// The file and the index the page is mapped at. A page shared by reflink has none.
    pub(crate) fn place(self) -> (u64, u64) {
        let place = || -> Result<(u64, u64), Lost> {
            let shot = self.shot()?;
            let Some(inode) = Inode::of_mapping(shot.mapping())? else {
                return Ok((0, 0));
            };
            Ok((inode.number, shot.index()))
        };
        place().unwrap_or((0, 0))
    }
}

/// What a `struct page` held at one moment: its first 64 bytes, which are all that counts.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shot([u64; 8]);

impl Shot {
    fn word(&self, offset: &'static u32) -> u64 {
        self.0[(get(offset) / 8 % 8) as usize]
    }

    fn half(&self, offset: &'static u32) -> i32 {
        (self.word(offset) >> (get(offset) % 8 * 8)) as i32
    }

    pub(crate) fn mapping(&self) -> u64 {
        self.word(&PAGE_MAPPING)
    }

    pub(crate) fn index(&self) -> u64 {
        self.word(&PAGE_INDEX)
    }

    pub(crate) fn counts(&self, page: Page) -> Result<Counts, Lost> {
        let refs = self.half(&PAGE_REFS);
        if get(&IDLE) == 1 {
            return Ok(Counts { refs, maps: 0 });
        }
        // The kernel stores counts of maps minus one.
        let head = get(&PAGE_HEAD_BIT);
        let maps = if head < 64 && self.word(&PAGE_FLAGS) >> head & 1 == 1 {
            field(page.address, &FOLIO_LARGE_MAPS)?
        } else {
            self.half(&PAGE_MAPS)
        };
        Ok(Counts { refs, maps: maps + 1 })
    }
}

/// A field of a tracepoint's record.
pub(crate) fn argument_at<T>(
    context: &aya_ebpf::programs::TracePointContext,
    offset: &'static u32,
) -> Result<T, Lost> {
    read(context.as_ptr() as u64 + get(offset))
}

/// A step of [`repeat`]: its number and the shared context; other than 0 ends the repetition.
pub(crate) type Turn<C> = extern "C" fn(u64, *mut C) -> i64;

/// Repeats a step in the kernel's own loop.
///
/// The verifier looks at the step once; a loop in the program it would walk through turn by turn.
pub(crate) fn repeat<C>(times: u32, step: Turn<C>, context: &mut C) {
    // SAFETY: the step takes the context that is handed over with it, and the helper calls it
    // before it returns.
    unsafe {
        bpf_loop(times, step as *mut c_void, core::ptr::from_mut(context).cast(), 0);
    }
}
