//! Pins: pages that direct I/O or a pipe takes hold of, and lets go.
//!
//! The holder is the bio or the pipe: the same object is at hand where the pages are taken and
//! where they are released, so that the rules know which pin went.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, map};
use aya_ebpf::maps::{HashMap, PerCpuArray};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use protocol::{Kind, counters};

use crate::call::{Arguments, Call, keep, kept};
use crate::globals::{BIO_COUNT, BIO_VECS, PAGE_SIZE_OF, PIPE_BUFFER_PAGE, get};
use crate::inode::TracedInode;
use crate::memory::{Lost, field, read, read_to};
use crate::page::{Shot, TracedPage};
use crate::repeat::repeat;
use crate::ring::{count, emit, page, record, stack_if_wanted};

/// `struct bio_vec`: include/linux/bvec.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct BioVec {
    page: u64,
    length: u32,
    offset: u32,
}

/// Pages and segments of one bio that are looked at; what is beyond counts as a lost record.
const TURNS: u32 = 4096;

/// `GUP_PIN_COUNTING_BIAS`: what `FOLL_PIN` adds to the references of a small page.
const PIN_BIAS: i32 = 1024;

/// What a pin or unpin record says of its page.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct PageNote {
    mapping: u64,
    refs: i32,
    maps: i32,
}

/// Pages in a row of which the same is to be told: one record speaks for all of them.
#[repr(C)]
#[derive(Clone, Copy)]
struct PageRun {
    kind: u32,
    trace: i32,
    holder: u64,
    /// The first page's frame and index.
    frame: u64,
    index: u64,
    pages: u64,
    told: PageNote,
    /// The file of `told.mapping`, once that was looked up.
    inode: u64,
    mapping: u64,
}

impl PageRun {
    fn new(kind: Kind, holder: u64, trace: i32) -> Self {
        let told = PageNote { mapping: 0, refs: 0, maps: 0 };
        Self {
            kind: kind as u32,
            trace,
            holder,
            frame: 0,
            index: 0,
            pages: 0,
            told,
            inode: 0,
            mapping: 0,
        }
    }

    fn unpins(&self) -> bool {
        self.kind == Kind::Unpin as u32
    }

    /// One more page; tells of those before it if it is unlike them.
    fn add(&mut self, pinned: TracedPage, shot: &Shot) -> Result<(), Lost> {
        let counts = shot.counts(pinned)?;
        let refs = match self.unpins() {
            true if counts.refs >= PIN_BIAS => counts.refs - PIN_BIAS,
            true => counts.refs - 1,
            false => counts.refs,
        };
        let told = PageNote { mapping: shot.mapping(), refs, maps: counts.maps };
        let index = shot.index();
        if self.pages != 0
            && pinned.frame == self.frame + self.pages
            && (index == self.index + self.pages || told.mapping == 0)
            && told == self.told
        {
            self.pages += 1;
            return Ok(());
        }
        self.tell()?;
        self.frame = pinned.frame;
        self.index = index;
        self.pages = 1;
        self.told = told;
        Ok(())
    }

    /// Tells of what was added since the last time.
    #[inline(never)]
    fn tell(&mut self) -> Result<(), Lost> {
        if self.pages == 0 {
            return Ok(());
        }
        let Some(first) = TracedPage::numbered(self.frame) else {
            return Err(Lost);
        };
        let pages = self.pages;
        self.pages = 0;
        if self.mapping != self.told.mapping {
            // A page that is on its way out may name a file that is gone.
            let file = TracedInode::of_mapping(self.told.mapping).unwrap_or(None);
            self.inode = file.map_or(0, |inode| inode.number);
            self.mapping = self.told.mapping;
        }
        let inode = self.inode;
        let index = if inode == 0 { 0 } else { self.index };
        emit(if self.unpins() { Kind::Unpin } else { Kind::Pin }, |event| {
            page(event, first);
            event.inode = inode;
            event.index = index;
            event.count = pages;
            event.value = self.holder as i64;
            event.refs = self.told.refs;
            event.maps = self.told.maps;
            event.stack = self.trace;
        })
    }
}

/// The walk through a bio's pages.
#[repr(C)]
#[derive(Clone, Copy)]
struct Walk {
    row: PageRun,
    /// Address of the next segment, and how many there are from it on.
    segments: u64,
    left: u64,
    /// Frame of the next page of this segment, and how many there are from it on.
    frame: u64,
    pages: u64,
    failed: u64,
    shots: [Shot; AT_ONCE],
}

/// Pages of a segment that are read at once: one call of the helper costs more than what it copies.
const AT_ONCE: usize = 8;

/// One walk for each of the programs that may walk at the same time, on each processor; the kernel
/// lets no program run into itself there.
///
/// Not on the stack, where the verifier follows each number from turn to turn and, depending on
/// where the kernel lies in memory, finds no end: what a map holds is unknown to it from the first.
#[map]
static WALKS: PerCpuArray<Walk> = PerCpuArray::with_max_entries(3, 0);

extern "C" fn turn(_: u64, program: *mut u32) -> i64 {
    // SAFETY: `repeat` hands over the context it was given, the number of the program's own walk.
    let Some(walk) = WALKS.get_ptr_mut(unsafe { *program }) else {
        return 1;
    };
    // SAFETY: the pointer is to this processor's and this program's own element.
    let walk = unsafe { &mut *walk };
    if let Ok(more) = walk.turn() {
        return i64::from(!more);
    }
    walk.failed = 1;
    1
}

impl Walk {
    /// Takes the next page or turns to the next segment; says whether there is more.
    fn turn(&mut self) -> Result<bool, Lost> {
        if self.pages == 0 {
            if self.left == 0 {
                return Ok(false);
            }
            let segment: BioVec = read(self.segments)?;
            self.left -= 1;
            self.segments += size_of::<BioVec>() as u64;
            let (offset, length) = (u64::from(segment.offset), u64::from(segment.length));
            // A segment is contiguous: all of it is of this device, or nothing is.
            if let Some(first) = TracedPage::at(segment.page) {
                self.frame = first.frame + offset / 4096;
                self.pages = (offset % 4096 + length).div_ceil(4096);
            }
            return Ok(true);
        }
        let Some(first) = TracedPage::numbered(self.frame) else {
            return Err(Lost);
        };
        let together =
            self.pages >= AT_ONCE as u64 && get(&PAGE_SIZE_OF) == size_of::<Shot>() as u64;
        let count = if together {
            read_to(first.address, &mut self.shots)?;
            AT_ONCE as u64
        } else {
            read_to(first.address, &mut self.shots[0])?;
            1
        };
        for (n, shot) in (0..count).zip(&self.shots) {
            if let Some(pinned) = TracedPage::numbered(self.frame + n) {
                self.row.add(pinned, shot)?;
            }
        }
        self.frame += count;
        self.pages -= count;
        Ok(true)
    }
}

/// The walks of who sees an unpin, who sees a pin, and who stands in for the first.
const UNPINS: u32 = 0;
const PINS: u32 = 1;
const STANDS_IN: u32 = 2;

fn of_bio(walk: u32, context: &impl StackIdContext, bio: u64) -> Result<(), Lost> {
    let kind = if walk == PINS { Kind::Pin } else { Kind::Unpin };
    let count: u16 = field(bio, &BIO_COUNT)?;
    if count == 0 {
        return Ok(());
    }
    let segments: u64 = field(bio, &BIO_VECS)?;
    let first: BioVec = read(segments)?;
    if TracedPage::at(first.page).is_none() {
        // A buffer is mapped from one file or from none: the first page speaks for all.
        return Ok(());
    }
    let trace = stack_if_wanted(context);
    let mut program = walk;
    let Some(walk) = WALKS.get_ptr_mut(program) else {
        return Err(Lost);
    };
    // SAFETY: the pointer is to this processor's and this program's own element.
    let fresh = unsafe { &mut *walk };
    // Not in one, which would be made on the stack.
    fresh.row = PageRun::new(kind, bio, trace);
    fresh.segments = segments;
    fresh.left = u64::from(count);
    fresh.pages = 0;
    fresh.failed = 0;
    repeat(TURNS, turn, &mut program);
    // SAFETY: as above; the turns are over.
    let walk = unsafe { &mut *walk };
    walk.row.tell()?;
    if walk.failed == 0 && walk.left == 0 && walk.pages == 0 { Ok(()) } else { Err(Lost) }
}

/// Direct I/O has put the user's pages into a bio.
#[fexit]
pub(crate) fn pin_bio(context: FExitContext) -> u32 {
    record!(|| of_bio(PINS, &context, context.argument(0)?))
}

/// A bio lets its pages go.
#[fentry]
pub(crate) fn unpin_bio(context: FEntryContext) -> u32 {
    record!(|| of_bio(UNPINS, &context, context.argument(0)?))
}

/// Direct I/O is about to put them there.
#[kprobe]
pub(crate) fn pin_bio_begin_probe(context: ProbeContext) -> u32 {
    record!(|| keep(Call::PinBio, context.argument(0)?))
}

/// The same as [`pin_bio`] by a kretprobe.
#[kretprobe]
pub(crate) fn pin_bio_probe(context: RetProbeContext) -> u32 {
    record!(|| match kept(Call::PinBio) {
        Some(bio) => of_bio(PINS, &context, bio),
        None => Ok(()),
    })
}

/// Bios whose release [`unpin_bio_probe`] saw and [`unpin_bio_stand_in`] did not come to yet.
#[map]
static RELEASED: HashMap<u64, u64> = HashMap::with_max_entries(8192, 0);

/// The same as [`unpin_bio`] by a kprobe, which has a stand-in: it is no task's only, and in an
/// interrupt that came while another kprobe was at work it does not run.
#[kprobe]
pub(crate) fn unpin_bio_probe(context: ProbeContext) -> u32 {
    record!(|| {
        let bio = context.argument(0)?;
        if RELEASED.insert(&bio, &1, 0).is_err() {
            // Then it is the stand-in's.
            return Ok(());
        }
        count(counters::SEEN);
        of_bio(UNPINS, &context, bio)
    })
}

/// Comes after it in the same call, and does its work if it did not.
///
/// Where a task was preempted in here it does not run for others, so that it misses calls, too;
/// those that both miss are what is left of its misses without those of which the first one knew.
#[fentry]
pub(crate) fn unpin_bio_stand_in(context: FEntryContext) -> u32 {
    record!(|| {
        let bio = context.argument(0)?;
        if RELEASED.remove(&bio).is_ok() {
            count(counters::SEEN_TWICE);
            return Ok(());
        }
        of_bio(STANDS_IN, &context, bio)
    })
}

fn of_pipe(kind: Kind, context: &(impl Arguments + StackIdContext)) -> Result<(), Lost> {
    let pipe = context.argument(0)?;
    let buffer = context.argument(1)?;
    let address: u64 = field(buffer, &PIPE_BUFFER_PAGE)?;
    let Some(pinned) = TracedPage::at(address) else {
        return Ok(());
    };
    let trace = stack_if_wanted(context);
    let mut row = PageRun::new(kind, pipe, trace);
    row.add(pinned, &pinned.shot()?)?;
    row.tell()
}

/// vmsplice puts a user's page into a pipe.
#[fentry]
pub(crate) fn pin_pipe(context: FEntryContext) -> u32 {
    record!(|| of_pipe(Kind::Pin, &context))
}

/// A pipe lets a page go.
#[fentry]
pub(crate) fn unpin_pipe(context: FEntryContext) -> u32 {
    record!(|| of_pipe(Kind::Unpin, &context))
}

/// The same as [`pin_pipe`] by a kprobe.
#[kprobe]
pub(crate) fn pin_pipe_probe(context: ProbeContext) -> u32 {
    record!(|| of_pipe(Kind::Pin, &context))
}

/// The same as [`unpin_pipe`] by a kprobe.
#[kprobe]
pub(crate) fn unpin_pipe_probe(context: ProbeContext) -> u32 {
    record!(|| of_pipe(Kind::Unpin, &context))
}

/// The pages of a user's buffer that get_user_pages_fast took, at most.
const BUFFER: u32 = 1024;

/// The walk through the array that get_user_pages_fast filled in.
#[repr(C)]
#[derive(Clone, Copy)]
struct ArrayWalk {
    row: PageRun,
    pages: u64,
    failed: u64,
}

/// On each processor one, for the reason that [`WALKS`] gives.
#[map]
static BUFFERS: PerCpuArray<ArrayWalk> = PerCpuArray::with_max_entries(1, 0);

extern "C" fn next(n: u64, _: *mut u32) -> i64 {
    let Some(buffer) = BUFFERS.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: the pointer is to this processor's own element, which only one program uses.
    let buffer = unsafe { &mut *buffer };
    let Ok(address) = read::<u64>(buffer.pages + n * 8) else {
        buffer.failed = 1;
        return 1;
    };
    if let Some(pinned) = TracedPage::at(address)
        && pinned.shot().and_then(|shot| buffer.row.add(pinned, &shot)).is_err()
    {
        buffer.failed = 1;
        return 1;
    }
    0
}

/// Pages of a user's buffer were taken; by whom they are held is not known here.
fn of_buffer(context: &impl StackIdContext, pages: u64, count: i32) -> Result<(), Lost> {
    if count <= 0 || TracedPage::at(read(pages)?).is_none() {
        return Ok(());
    }
    let trace = stack_if_wanted(context);
    let Some(buffer) = BUFFERS.get_ptr_mut(0) else {
        return Err(Lost);
    };
    let fresh = ArrayWalk { row: PageRun::new(Kind::Pin, 0, trace), pages, failed: 0 };
    // SAFETY: the pointer is to this processor's own element.
    unsafe { buffer.write(fresh) };
    repeat((count as u32).min(BUFFER), next, &mut 0);
    // SAFETY: as above; the turns are over.
    let buffer = unsafe { &mut *buffer };
    buffer.row.tell()?;
    if buffer.failed == 0 && count as u32 <= BUFFER { Ok(()) } else { Err(Lost) }
}

/// get_user_pages_fast returns how many it took.
#[fexit]
pub(crate) fn pin_buffer(context: FExitContext) -> u32 {
    record!(|| {
        let count = context.ret::<i32>().map_err(|_| Lost)?;
        of_buffer(&context, context.argument(3)?, count)
    })
}

/// It is called, and told where to put the pages.
#[kprobe]
pub(crate) fn pin_buffer_begin_probe(context: ProbeContext) -> u32 {
    record!(|| keep(Call::PinBuffer, context.argument(3)?))
}

/// The same as [`pin_buffer`] by a kretprobe.
#[kretprobe]
pub(crate) fn pin_buffer_probe(context: RetProbeContext) -> u32 {
    record!(|| match kept(Call::PinBuffer) {
        Some(pages) => of_buffer(&context, pages, context.ret()),
        None => Ok(()),
    })
}
