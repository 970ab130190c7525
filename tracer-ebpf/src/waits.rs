//! A break waits for its busy page, sleeps, is woken, and waits no longer.

use aya_ebpf::macros::{fentry, kprobe, map, perf_event, raw_tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::{FEntryContext, PerfEventContext, ProbeContext, RawTracePointContext};
use protocol::{Kind, flag};

use crate::call::Arguments;
use crate::globals::{
    INODE_LOCK, INODE_MAPPING, MAPPING_LOCK, PAGE_SIZE_OF, RWSEM_OWNER, TASK_STATE, WAIT_ENTRY,
    WAIT_OFFSET, get,
};
use crate::memory::{Lost, field, read};
use crate::page::TracedPage;
use crate::repeat::repeat;
use crate::ring::{emit, lose, page, record, stack};
use crate::task::{current, process, task};
use crate::under_way::{BREAKS, BreakUnderWay};

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
    /// Its `task_struct`.
    me: u64,
    /// Where it is queued while it sleeps for the page: a `list_head`.
    queued: u64,
}

const WAITERS_SIZE: u32 = 64;

#[map]
static WAITERS: Array<Waiter> = Array::with_max_entries(WAITERS_SIZE, 0);

/// A break waits no longer; `value` is what it returned, if it did.
pub(crate) fn stop_waiting(a_break: &BreakUnderWay, task: u32, value: i64) -> Result<(), Lost> {
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
    let Some(busy) = TracedPage::at(a_break.busy) else {
        return Ok(());
    };
    emit(Kind::WaitEnd, |event| {
        event.inode = a_break.busy_number;
        event.index = a_break.busy_index;
        event.value = value;
        page(event, busy);
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
    let task = task();
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
    let Some(busy) = TracedPage::at(a_break.busy) else {
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
        process: process(),
        page: busy.address,
        inode: a_break.busy_number,
        index: a_break.busy_index,
        me: current(),
        queued: a_break.queued,
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
    let task = task();
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
    let Some(busy) = TracedPage::at(a_break.busy) else {
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
    // Then the wait is over, or was woken, and it sleeps for another lock.
    if !is_queued(a_break.queued)? {
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

/// Whether the entry of a list is in one: one that is queued nowhere points to itself.
fn is_queued(entry: u64) -> Result<bool, Lost> {
    Ok(read::<u64>(entry)? != entry)
}

/// Whether a waiter sleeps for its page. A state of 0 is `TASK_RUNNING`: it runs, or is to.
fn sleeps(waiter: &Waiter) -> Result<bool, Lost> {
    Ok(field::<u32>(waiter.me, &TASK_STATE)? != 0 && is_queued(waiter.queued)?)
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
    let Some(woken) = TracedPage::at(address) else {
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
    let Some(busy) = TracedPage::at(waiter.page) else {
        return Ok(());
    };
    let counts = busy.settled_counts()?;
    // One that has gone meanwhile, and cannot be looked at, does not sleep either.
    let asleep = sleeps(&waiter).unwrap_or(false);
    emit(Kind::Sample, |event| {
        event.detail = if asleep { 0 } else { flag::ELSEWHERE };
        event.task = waiter.task;
        event.process = waiter.process;
        event.inode = waiter.inode;
        event.index = waiter.index;
        page(event, busy);
        event.refs = counts.refs;
        event.maps = counts.maps;
    })
}
