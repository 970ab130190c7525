//! The break itself: its beginning and end, its scans, its waits and what it removes.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, map, perf_event, raw_tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_ebpf::programs::{
    FEntryContext, FExitContext, PerfEventContext, ProbeContext, RawTracePointContext,
    RetProbeContext,
};
use protocol::{Kind, flag};

use crate::call::{Arguments, Call, keep, kept};
use crate::layout::{
    self, Counts, INODE_LOCK, INODE_MAPPING, Inode, Lost, MAPPING_HOST, MAPPING_LOCK, PAGE_SIZE_OF,
    Page, REMOVE_HAS_MAPPING, RWSEM_OWNER, TASK_STATE, WAIT_ENTRY, WAIT_OFFSET, XFS_INODE_VFS,
    current, field, get, in_detail, read, repeat, wanted,
};
use crate::ring::{about, emit, lose, page, record, stack, stack_if_wanted};

/// A break under way, by task.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Break {
    inode: u64,
    number: u64,
    /// The second file of a reflink, or 0.
    second: u64,
    second_number: u64,
    /// Address of the page that the last scan found busy, or 0.
    busy: u64,
    busy_index: u64,
    /// The file whose scan that was.
    busy_inode: u64,
    busy_number: u64,
    /// Address of the entry by which it is queued while it waits, or 0.
    queued: u64,
    waiting: u32,
    /// The beginning was seen.
    whole: u32,
}

impl Break {
    /// One whose beginning was not seen.
    fn unseen(inode: Inode) -> Self {
        Self {
            inode: inode.address,
            number: inode.number,
            second: 0,
            second_number: 0,
            busy: 0,
            busy_index: 0,
            busy_inode: 0,
            busy_number: 0,
            queued: 0,
            waiting: 0,
            whole: 0,
        }
    }
}

/// `BPF_NOEXIST`: include/uapi/linux/bpf.h.
const ONLY_NEW: u64 = 1;

#[map]
static BREAKS: HashMap<u32, Break> = HashMap::with_max_entries(1024, 0);

/// How many breaks wait for the page at an address.
#[map]
static WAITED: HashMap<u64, u32> = HashMap::with_max_entries(1024, 0);

/// The tasks of waiting breaks, each in the place that its number gives it, and then whether two
/// ever met in one. Not a count: there is no addition here that two processors could not spoil for
/// each other.
#[map]
static WAITING: Array<[u64; PLACES / 2 + 1]> = Array::with_max_entries(1, 0);

const PLACES: usize = 16;

fn waiting(task: u32, waits: bool) -> Result<(), Lost> {
    let all = WAITING.get_ptr_mut(0).ok_or(Lost)?.cast::<u32>();
    let after = if waits { task } else { 0 };
    // SAFETY: both pointers are into the map's element; volatile, because other processors change
    // it too.
    unsafe {
        let (place, crowded) = (all.add(task as usize % PLACES), all.add(PLACES));
        let before = place.read_volatile();
        if before == task || (waits && before == 0) {
            place.write_volatile(after);
        } else if crowded.read_volatile() == 0 {
            // From now on somebody always waits.
            crowded.write_volatile(1);
            if !waits {
                // Two came at once, and the other left first: nobody seemed to wait then.
                return Err(Lost);
            }
        }
    }
    Ok(())
}

/// Whether any break waits.
pub(crate) fn somebody_waits() -> bool {
    // SAFETY: as above.
    let all = WAITING.get_ptr(0).map(|all| unsafe { all.read_volatile() });
    all.is_none_or(|all| all.iter().any(|word| *word != 0))
}

/// What the sampler looks at: a fixed table, because a timer's program cannot walk a hash.
#[repr(C)]
#[derive(Clone, Copy)]
struct Waiter {
    task: u32,
    process: u32,
    page: u64,
    inode: u64,
    index: u64,
}

const WAITERS_SIZE: u32 = 64;

#[map]
static WAITERS: Array<Waiter> = Array::with_max_entries(WAITERS_SIZE, 0);

fn begin(context: &impl StackIdContext, first: Inode, second: Option<Inode>) -> Result<(), Lost> {
    let task = layout::task();
    let new = Break {
        second: second.map_or(0, |inode| inode.address),
        second_number: second.map_or(0, |inode| inode.number),
        whole: 1,
        ..Break::unseen(first)
    };
    if BREAKS.insert(&task, &new, ONLY_NEW).is_err() {
        // SAFETY: the map's values are plain data that only their own task changes.
        if unsafe { BREAKS.get(&task) }.is_some_and(|old| old.whole != 0) {
            // The return of the earlier one was missed.
            lose();
        }
        BREAKS.insert(&task, &new, 0).map_err(|_| Lost)?;
    }
    let trace = stack_if_wanted(context);
    emit(Kind::BreakBegin, |event| {
        about(event, first);
        event.stack = trace;
    })?;
    if let Some(second) = second {
        emit(Kind::BreakBegin, |event| {
            about(event, second);
            event.stack = trace;
        })?;
    }
    Ok(())
}

fn dax_inode(address: u64) -> Result<Option<Inode>, Lost> {
    match Inode::at(address)? {
        Some(inode) if inode.is_dax()? => Ok(Some(inode)),
        _ => Ok(None),
    }
}

/// A break function whose first argument is the inode.
#[kprobe]
pub(crate) fn break_begin(context: ProbeContext) -> u32 {
    record!(|| try_break_begin(&context))
}

fn try_break_begin(context: &(impl Arguments + StackIdContext)) -> Result<(), Lost> {
    if !wanted() {
        return Ok(());
    }
    match dax_inode(context.argument(0)?)? {
        Some(inode) => begin(context, inode, None),
        None => Ok(()),
    }
}

/// `xfs_break_layouts`, which is called for leases alone too: then its third argument is 0
/// (`BREAK_WRITE`).
#[kprobe]
pub(crate) fn break_begin_xfs(context: ProbeContext) -> u32 {
    record!(|| {
        let reason: u32 = context.arg(2).ok_or(Lost)?;
        if reason == 0 {
            return Ok(());
        }
        try_break_begin(&context)
    })
}

/// Reflink locks two files and breaks the layouts of both.
#[kprobe]
pub(crate) fn break_begin_two(context: ProbeContext) -> u32 {
    record!(|| try_break_begin_two(&context))
}

fn try_break_begin_two(context: &ProbeContext) -> Result<(), Lost> {
    if !wanted() {
        return Ok(());
    }
    let vfs = get(&XFS_INODE_VFS);
    let one: u64 = context.arg(0).ok_or(Lost)?;
    let two: u64 = context.arg(1).ok_or(Lost)?;
    // One after the other: taken as a pair, the compiler copies a register that was never set, and
    // the verifier refuses it.
    let Some(first) = dax_inode(one + vfs)? else {
        return Ok(());
    };
    if one == two {
        return begin(context, first, None);
    }
    let Some(second) = dax_inode(two + vfs)? else {
        return Ok(());
    };
    begin(context, first, Some(second))
}

/// The end of any of them.
#[kretprobe]
pub(crate) fn break_end(context: RetProbeContext) -> u32 {
    record!(|| end(i64::from(context.ret::<i32>())))
}

/// The break that file systems share, where they share one.
#[fentry]
pub(crate) fn break_layout_begin(context: FEntryContext) -> u32 {
    record!(|| try_break_begin(&context))
}

/// Its end.
#[fexit]
pub(crate) fn break_layout_end(context: FExitContext) -> u32 {
    record!(|| end(i64::from(context.ret::<i32>().map_err(|_| Lost)?)))
}

/// The last break of a file's life, which nothing interrupts and which returns nothing.
#[fentry]
pub(crate) fn break_final_begin(context: FEntryContext) -> u32 {
    record!(|| try_break_begin(&context))
}

/// Its end.
#[fexit]
pub(crate) fn break_final_end(_: FExitContext) -> u32 {
    record!(|| end(0))
}

/// The same as [`break_final_begin`] by a kprobe.
#[kprobe]
pub(crate) fn break_final_begin_probe(context: ProbeContext) -> u32 {
    record!(|| try_break_begin(&context))
}

/// The same as [`break_final_end`] by a kretprobe.
#[kretprobe]
pub(crate) fn break_final_end_probe(_: RetProbeContext) -> u32 {
    record!(|| end(0))
}

fn end(value: i64) -> Result<(), Lost> {
    let task = layout::task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let Some(&ended) = (unsafe { BREAKS.get(&task) }) else {
        return Ok(());
    };
    stop_waiting(&ended, task, value)?;
    let _ = BREAKS.remove(&task);
    if ended.whole == 0 {
        return Ok(());
    }
    if ended.second != 0 {
        emit(Kind::BreakEnd, |event| {
            event.inode = ended.second_number;
            event.value = value;
        })?;
    }
    emit(Kind::BreakEnd, |event| {
        event.inode = ended.number;
        event.value = value;
    })
}

fn stop_waiting(a_break: &Break, task: u32, value: i64) -> Result<(), Lost> {
    if a_break.waiting == 0 {
        return Ok(());
    }
    if waiting(task, false).is_err() {
        lose();
    }
    // SAFETY: plain data; a count that races with another break's is repaired by its next wait.
    match unsafe { WAITED.get(&a_break.busy) } {
        Some(&count) if count > 1 => {
            let _ = WAITED.insert(&a_break.busy, &(count - 1), 0);
        }
        _ => {
            let _ = WAITED.remove(&a_break.busy);
        }
    }
    if let Some(waiter) = WAITERS.get_ptr_mut(task % WAITERS_SIZE) {
        // SAFETY: the pointer is to an element of the map.
        unsafe {
            if (*waiter).task == task {
                (*waiter).task = 0;
            }
        }
    }
    let Some(busy) = Page::at(a_break.busy) else {
        return Ok(());
    };
    emit(Kind::WaitEnd, |event| {
        event.inode = a_break.busy_number;
        event.index = a_break.busy_index;
        event.value = value;
        page(event, busy);
    })
}

/// The file that is scanned, if it is one to look at: most often that of the task's break, which
/// was looked at when it began.
fn scanned(a_break: Option<&Break>, mapping: u64) -> Result<Option<Inode>, Lost> {
    if mapping == 0 {
        return Ok(None);
    }
    let host = field(mapping, &MAPPING_HOST)?;
    match a_break {
        Some(a_break) if a_break.inode == host => {
            Ok(Some(Inode { address: host, number: a_break.number }))
        }
        _ if wanted() => dax_inode(host),
        _ => Ok(None),
    }
}

/// A scan begins, and with that a wait of its break is over, whatever the task sleeps for then.
fn begin_scan() -> Result<(), Lost> {
    let task = layout::task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let Some(&found) = (unsafe { BREAKS.get(&task) }) else {
        return Ok(());
    };
    if found.waiting == 0 {
        return Ok(());
    }
    stop_waiting(&found, task, 0)?;
    BREAKS.insert(&task, &Break { waiting: 0, ..found }, 0).map_err(|_| Lost)
}

/// The scan is called.
#[fentry]
pub(crate) fn scan_begin(_: FEntryContext) -> u32 {
    record!(begin_scan)
}

/// It returns the busy page that it found.
#[fexit]
pub(crate) fn scan_end(context: FExitContext) -> u32 {
    record!(|| {
        let found = context.ret::<u64>().map_err(|_| Lost)?;
        try_scan(&context, context.argument(0)?, found)
    })
}

/// The same as [`scan_begin`] by a kprobe.
#[kprobe]
pub(crate) fn scan_begin_probe(context: ProbeContext) -> u32 {
    record!(|| {
        keep(Call::Scan, context.argument(0)?)?;
        begin_scan()
    })
}

/// The same as [`scan_end`] by a kretprobe.
#[kretprobe]
pub(crate) fn scan_end_probe(context: RetProbeContext) -> u32 {
    record!(|| match kept(Call::Scan) {
        Some(mapping) => try_scan(&context, mapping, context.ret()),
        None => Ok(()),
    })
}

fn try_scan(context: &impl StackIdContext, mapping: u64, found: u64) -> Result<(), Lost> {
    let task = layout::task();
    let found = Page::at(found);
    // SAFETY: the map's values are plain data that only their own task changes.
    let begun = unsafe { BREAKS.get(&task) }.copied();
    let Some(inode) = scanned(begun.as_ref(), mapping)? else {
        return Ok(());
    };
    let mut a_break = begun.unwrap_or(Break::unseen(inode));
    stop_waiting(&a_break, task, 0)?;
    let fresh = a_break.busy == 0;
    a_break.waiting = 0;
    a_break.busy = 0;
    let Some(busy) = found else {
        if a_break.whole == 0 {
            let _ = BREAKS.remove(&task);
        } else if !fresh {
            BREAKS.insert(&task, &a_break, 0).map_err(|_| Lost)?;
        }
        return emit(Kind::Scan, |event| about(event, inode));
    };
    let counts = busy.counts()?;
    let (_, index) = busy.place();
    a_break.busy = busy.address;
    a_break.busy_index = index;
    a_break.busy_inode = inode.address;
    a_break.busy_number = inode.number;
    BREAKS.insert(&task, &a_break, 0).map_err(|_| Lost)?;
    let trace = stack(context);
    emit(Kind::Scan, |event| {
        about(event, inode);
        page(event, busy);
        event.index = index;
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.stack = trace;
    })
}

/// A wait for a variable begins; it is the break's if the variable belongs to its busy page.
#[fentry]
pub(crate) fn wait_begin(context: FEntryContext) -> u32 {
    record!(|| try_wait(&context))
}

/// The same as [`wait_begin`] by a kprobe.
#[kprobe]
pub(crate) fn wait_begin_probe(context: ProbeContext) -> u32 {
    record!(|| try_wait(&context))
}

fn try_wait(context: &impl Arguments) -> Result<(), Lost> {
    let task = layout::task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let Some(&found) = (unsafe { BREAKS.get(&task) }) else {
        return Ok(());
    };
    let mut a_break = found;
    let variable = context.argument(1)?;
    // Any variable of the page: a break that waits for the wrong one waits as well.
    if a_break.busy == 0 || variable.wrapping_sub(a_break.busy) >= get(&PAGE_SIZE_OF) {
        return Ok(());
    }
    let Some(busy) = Page::at(a_break.busy) else {
        return Ok(());
    };
    waiting(task, true)?;
    a_break.waiting = 1;
    a_break.queued = context.argument(0)? + get(&WAIT_ENTRY);
    BREAKS.insert(&task, &a_break, 0).map_err(|_| Lost)?;
    // SAFETY: plain data.
    let others = unsafe { WAITED.get(&a_break.busy) }.map_or(0, |&count| count);
    let _ = WAITED.insert(&a_break.busy, &(others + 1), 0);
    let waiter = Waiter {
        task,
        process: layout::process(),
        page: busy.address,
        inode: a_break.busy_number,
        index: a_break.busy_index,
    };
    let _ = WAITERS.set(task % WAITERS_SIZE, &waiter, 0);
    let counts = busy.counts()?;
    emit(Kind::WaitBegin, |event| {
        event.inode = a_break.busy_number;
        event.index = a_break.busy_index;
        page(event, busy);
        event.refs = counts.refs;
        event.maps = counts.maps;
    })
}

/// The processor turns to another task; of interest if a waiting break gives it up by itself.
#[raw_tracepoint]
pub(crate) fn switch_away(context: RawTracePointContext) -> u32 {
    record!(|| try_switch(&context))
}

fn try_switch(context: &RawTracePointContext) -> Result<(), Lost> {
    if !somebody_waits() {
        return Ok(());
    }
    let task = layout::task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let Some(&a_break) = (unsafe { BREAKS.get(&task) }) else {
        return Ok(());
    };
    if a_break.waiting == 0 {
        return Ok(());
    }
    let preempted = context.argument(0)?;
    let me = current();
    let state: u32 = field(me, &TASK_STATE)?;
    if preempted & 1 != 0 || state == 0 {
        return Ok(());
    }
    let Some(busy) = Page::at(a_break.busy) else {
        return Ok(());
    };
    let mapping: u64 = field(a_break.busy_inode, &INODE_MAPPING)?;
    let mut held = 0;
    if owner(mapping + get(&MAPPING_LOCK))? == me {
        held |= flag::INVALIDATE_LOCK;
    }
    if owner(a_break.busy_inode + get(&INODE_LOCK))? == me {
        held |= flag::INODE_LOCK;
    }
    // An entry that is queued nowhere points to itself. Then the wait is over, or was woken, and it
    // sleeps for another lock.
    if read::<u64>(a_break.queued)? == a_break.queued {
        held |= flag::ELSEWHERE;
    }
    let counts = busy.counts()?;
    emit(Kind::Sleep, |event| {
        event.inode = a_break.busy_number;
        event.index = a_break.busy_index;
        page(event, busy);
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.detail = held;
    })
}

/// The task that holds a read-write semaphore for writing, or something else.
///
/// The low bits are flags: kernel/locking/rwsem.c, `RWSEM_OWNER_FLAGS_MASK`.
fn owner(semaphore: u64) -> Result<u64, Lost> {
    let owner: u64 = field(semaphore, &RWSEM_OWNER)?;
    Ok(if owner & 1 == 0 { owner & !7 } else { 0 })
}

/// Somebody wakes the waiters of a variable.
#[fentry]
pub(crate) fn wake_up(context: FEntryContext) -> u32 {
    record!(|| try_wake(&context))
}

fn try_wake(context: &FEntryContext) -> Result<(), Lost> {
    if !somebody_waits() {
        return Ok(());
    }
    let variable = context.argument(0)?;
    let address = variable.wrapping_sub(get(&WAIT_OFFSET));
    let Some(woken) = Page::at(address) else {
        return Ok(());
    };
    // SAFETY: plain data.
    if unsafe { WAITED.get(&address) }.is_none() {
        return Ok(());
    }
    let counts = woken.counts()?;
    let trace = stack(context);
    emit(Kind::Wake, |event| {
        page(event, woken);
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.stack = trace;
    })
}

/// A mapping entry loses its page.
#[kprobe]
pub(crate) fn remove_entry(context: ProbeContext) -> u32 {
    record!(|| try_remove(&context, |n| context.arg(n as usize).ok_or(Lost)))
}

/// The same where it is a function of its own: a kprobe would cost more.
#[fentry]
pub(crate) fn remove_entry_fast(context: FEntryContext) -> u32 {
    record!(|| try_remove(&context, |n| match n {
        // A pointer to nothing in particular is a number to the verifier, too.
        0 => Ok(context.arg(0)),
        _ => context.argument(n as usize),
    }))
}

/// Bits of a DAX mapping entry, after the bit that makes it a value.
///
/// Linux fs/dax.c, "DAX pagecache entries use XArray value entries".
mod entry {
    pub(super) const PMD: u64 = 1 << 1;
    pub(super) const ZERO_PAGE: u64 = 1 << 2;
    pub(super) const EMPTY: u64 = 1 << 3;
    pub(super) const SHIFT: u32 = 4;
}

/// Pages of a huge entry, each counted on its own where idle is one reference.
const HUGE: u32 = 512;

/// The search for a busy page in a huge entry.
struct Search {
    first: u64,
    found: u64,
}

extern "C" fn look(n: u64, search: *mut Search) -> i64 {
    // SAFETY: `repeat` hands over the context it was given.
    let search = unsafe { &mut *search };
    let frame = search.first + n;
    let Some(page) = Page::numbered(frame) else {
        return 1;
    };
    if page.settled_counts().is_ok_and(Counts::busy) {
        search.found = frame;
        return 1;
    }
    0
}

fn try_remove(
    context: &impl StackIdContext,
    argument: impl Fn(u64) -> Result<u64, Lost>,
) -> Result<(), Lost> {
    let value = argument(0)? >> 1;
    if value & (entry::ZERO_PAGE | entry::EMPTY) != 0 {
        return Ok(());
    }
    let Some(first) = Page::numbered(value >> entry::SHIFT) else {
        return Ok(());
    };
    let pages = if value & entry::PMD != 0 && get(&layout::IDLE) == 1 { HUGE } else { 1 };
    let mut search = Search { first: first.frame, found: 0 };
    if pages > 1 {
        repeat(pages, look, &mut search);
    }
    let worst = Page::numbered(search.found).unwrap_or(first);
    let counts = worst.settled_counts()?;
    // First of all, for a file's pages are removed one by one.
    if !counts.busy() && !in_detail() {
        return Ok(());
    }
    let task = layout::task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let breaking = unsafe { BREAKS.get(&task) }.is_some();
    let (mut number, index) = first.place();
    let mut detail = 0;
    if get(&REMOVE_HAS_MAPPING) != 0 {
        let mapping = argument(1)?;
        let truncating = argument(2)?;
        if let Some(inode) = Inode::of_mapping(mapping)? {
            number = inode.number;
        }
        if truncating & 1 != 0 {
            detail = flag::BREAK;
        }
    } else if breaking {
        detail = flag::BREAK | flag::UNENDED;
    }
    let trace = if counts.busy() { stack(context) } else { -1 };
    emit(Kind::Remove, |event| {
        event.inode = number;
        event.index = index + (worst.frame - first.frame);
        page(event, worst);
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.detail = detail;
        event.stack = trace;
    })
}

/// A timer: looks at the pages that breaks wait for, because a break that waits is silent.
#[perf_event]
pub(crate) fn sample_waiters(_: PerfEventContext) -> u32 {
    record!(try_sample)
}

fn try_sample() -> Result<(), Lost> {
    let mut failed = 0;
    repeat(WAITERS_SIZE, sample, &mut failed);
    if failed == 0 { Ok(()) } else { Err(Lost) }
}

extern "C" fn sample(slot: u64, failed: *mut u32) -> i64 {
    if sample_one(slot as u32).is_err() {
        // SAFETY: `repeat` hands over the context it was given.
        unsafe { *failed = 1 };
    }
    0
}

fn sample_one(slot: u32) -> Result<(), Lost> {
    let Some(&waiter) = WAITERS.get(slot) else {
        return Ok(());
    };
    if waiter.task == 0 {
        return Ok(());
    }
    let Some(busy) = Page::at(waiter.page) else {
        return Ok(());
    };
    let counts = busy.settled_counts()?;
    emit(Kind::Sample, |event| {
        event.task = waiter.task;
        event.process = waiter.process;
        event.inode = waiter.inode;
        event.index = waiter.index;
        page(event, busy);
        event.refs = counts.refs;
        event.maps = counts.maps;
    })
}
