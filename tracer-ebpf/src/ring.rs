//! The ring that takes records to user space, and the count of those that did not fit.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, RingBuf, StackTrace};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_log_ebpf::{debug, trace};
use protocol::event::loss_mark;
use protocol::{Event, Kind, counters};

use crate::globals::{DEVICE, get};
use crate::inode::TracedInode;
use crate::memory::Lost;
use crate::page::TracedPage;
use crate::task::{in_detail, process, task};

/// Resized when loaded.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// `BPF_F_MMAPABLE`: include/uapi/linux/bpf.h.
pub(crate) const MAPPED: u32 = 1 << 10;

#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(counters::LENGTH, MAPPED);

/// One more on this processor's part of a counter.
pub(crate) fn count(counter: u32) {
    // SAFETY: the helper has no preconditions.
    let processor = unsafe { bpf_get_smp_processor_id() } % counters::PROCESSORS;
    if let Some(count) = COUNTERS.get_ptr_mut(counter + processor) {
        // SAFETY: the pointer is to an element of the map that no other processor changes.
        unsafe { *count += 1 };
    }
}

#[map]
pub(crate) static STACKS: StackTrace = StackTrace::with_max_entries(8192, 0);

/// `BPF_F_FAST_STACK_CMP`: stacks with equal hashes are taken for equal, so that one more
/// recording of a known stack costs no comparison.
const FAST_COMPARISON: u64 = 1 << 9;

/// One more is lost: a record that found no room or could not be made, or a return that was missed,
/// because a task entered a function again that it was still in.
///
/// Every record carries a mark of the last loss, so it is known between which records something is
/// missing. One for all processors, because a task that lost a record on one may write its next one
/// on another. It is not made from a count, for two processors could spoil each other's additions,
/// and one that is late take a loss back: it is made from the time, which no loss shares.
pub(crate) fn lose() {
    count(counters::LOST);
    if let Some(losses) = COUNTERS.get_ptr_mut(counters::LOST_LAST) {
        // SAFETY: the pointer is to the element of the map; volatile, because other processors
        // change it too.
        unsafe { losses.write_volatile(now()) };
    }
}

/// What all records carry until something is lost again.
fn losses() -> u16 {
    let Some(last) = COUNTERS.get_ptr(counters::LOST_LAST) else {
        return 0;
    };
    // SAFETY: the pointer is to an element of the map; volatile, as above.
    loss_mark(unsafe { last.read_volatile() })
}

pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Runs a probe and counts what it could not record.
macro_rules! record {
    ($probe:expr) => {
        $crate::ring::recorded(file!(), line!(), $probe)
    };
}
pub(crate) use record;

/// See [`record!`]; the place is that of the probe.
pub(crate) fn recorded(
    file: &'static str,
    line: u32,
    probe: impl FnOnce() -> Result<(), Lost>,
) -> u32 {
    if probe().is_err() {
        lose();
        // Off unless the tracer is asked for it: the level is a constant to the verifier, which
        // then drops what is below it.
        debug!((), "{}:{}: a record of task {} is lost", file, line, task());
    }
    0
}

/// A kernel stack's number, or a negative one if it could not be taken.
pub(crate) fn stack(context: &impl StackIdContext) -> i32 {
    context.get_stackid(&STACKS, FAST_COMPARISON).map_or(-1, |number| number as i32)
}

/// The same where it is of use only if something goes wrong later, for walking a stack is slow.
pub(crate) fn stack_if_wanted(context: &impl StackIdContext) -> i32 {
    if in_detail() { stack(context) } else { -1 }
}

/// Writes one event of the current task; `fill` sets what is its own.
pub(crate) fn emit(kind: Kind, fill: impl FnOnce(&mut Event)) -> Result<(), Lost> {
    let Some(mut slot) = EVENTS.reserve::<Event>(0) else {
        return Err(Lost);
    };
    let mut event = Event {
        time: now(),
        task: task(),
        process: process(),
        device: get(&DEVICE) as u32,
        stack: -1,
        kind: kind as u16,
        // SAFETY: the helper has no preconditions.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        // After the slot is taken: what was lost before this record is in the number.
        lost: losses(),
        ..Event::default()
    };
    fill(&mut event);
    trace!((), "kind {} of task {}, page {:x}", event.kind, event.task, event.page);
    slot.write(event);
    // User space looks at the ring on its own clock: waking it for each record would cost the
    // traced task more than the record.
    slot.submit(u64::from(BPF_RB_NO_WAKEUP));
    Ok(())
}

/// Fills in a file.
pub(crate) fn about(event: &mut Event, inode: TracedInode) {
    event.inode = inode.number;
}

/// Fills in a page.
pub(crate) fn page(event: &mut Event, page: TracedPage) {
    event.page = page.frame;
}
