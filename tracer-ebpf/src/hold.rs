//! A task is held: it waits in a probe until it is let go, or its time is over.
//!
//! The wait is busy: a program may not sleep here. `protocol::hold` has the control page and says
//! what each word means; nobody is held unless a case has armed a slot for just this task.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use core::sync::atomic::AtomicU64;
use protocol::hold::{End, Slot, awaited, meets, over, slot, until};

use crate::repeat::repeat;
use crate::ring::{MAPPED, now};
use crate::task::task;

#[map]
static HOLDS: Array<Slot> = Array::with_max_entries(slot::COUNT as u32, MAPPED);

/// Turns of one loop: some milliseconds, and the kernel allows 1 << 23 (kernel/bpf/bpf_iter.c,
/// `BPF_MAX_LOOPS`).
const TURNS: u32 = 1 << 16;
/// How often that loop is begun anew. Together far longer than any deadline, which is what ends it.
const LOOPS: u32 = 1 << 20;

/// Who waits.
struct HeldThread {
    slot: u32,
    until: u64,
    /// A number of an [`End`].
    end: u64,
}

fn get(word: &AtomicU64) -> u64 {
    // SAFETY: the word is in the map; volatile, because user space writes it.
    unsafe { word.as_ptr().read_volatile() }
}

fn set(word: &AtomicU64, value: u64) {
    // SAFETY: as above; nobody else writes it.
    unsafe { word.as_ptr().write_volatile(value) };
}

/// Whether a task that waits for another to be stopped, too, has waited long enough.
fn has_come(after: u64) -> bool {
    awaited(after).and_then(|slot| HOLDS.get(slot)).is_some_and(|slot| get(&slot.arrived) != 0)
}

/// Looks once.
extern "C" fn turn(_: u64, standing: *mut HeldThread) -> i64 {
    // SAFETY: `repeat` hands over what `hold` has on its stack.
    let standing = unsafe { &mut *standing };
    standing.end = match HOLDS.get(standing.slot) {
        Some(slot) => {
            let goes = get(&slot.go) != 0 || has_come(get(&slot.after));
            over(goes, now(), standing.until)
        }
        // There is no such slot. The verifier does not know that there is.
        None => End::Deadline as u64,
    };
    i64::from(standing.end != 0)
}

/// Looks many times.
extern "C" fn turns(_: u64, standing: *mut HeldThread) -> i64 {
    // SAFETY: as above.
    let standing = unsafe { &mut *standing };
    repeat(TURNS, turn, standing);
    i64::from(standing.end != 0)
}

/// The current task has come to the function of slot `number`, which returned this.
#[expect(clippy::inline_always, reason = "each program needs a slot that the verifier knows")]
#[inline(always)]
fn hold(number: u32, returned: u64) -> u32 {
    let Some(slot) = HOLDS.get(number) else {
        return 0;
    };
    if get(&slot.on) == 0
        || get(&slot.task) != u64::from(task())
        || !meets(get(&slot.condition), returned)
    {
        return 0;
    }
    let seen = get(&slot.seen) + 1;
    set(&slot.seen, seen);
    if seen != get(&slot.nth) {
        return 0;
    }
    let arrived = now();
    // SAFETY: the helper has no preconditions.
    set(&slot.processor, u64::from(unsafe { bpf_get_smp_processor_id() }));
    set(&slot.arrived, arrived);
    let mut standing =
        HeldThread { slot: number, until: until(arrived, get(&slot.deadline)), end: 0 };
    repeat(LOOPS, turns, &mut standing);
    set(&slot.left, now());
    let end = if standing.end == 0 { End::Deadline as u64 } else { standing.end };
    set(&slot.end, end);
    0
}

/// A range of a file was unmapped.
#[fexit]
pub(crate) fn hold_unmap(_: FExitContext) -> u32 {
    hold(slot::UNMAP, 0)
}

/// The same by a kretprobe.
#[kretprobe]
pub(crate) fn hold_unmap_probe(_: RetProbeContext) -> u32 {
    hold(slot::UNMAP, 0)
}

/// A scan returns the busy page that it found.
#[fexit]
pub(crate) fn hold_scan(context: FExitContext) -> u32 {
    match context.ret::<u64>() {
        Ok(found) => hold(slot::SCAN, found),
        Err(_) => 0,
    }
}

/// The same by a kretprobe.
#[kretprobe]
pub(crate) fn hold_scan_probe(context: RetProbeContext) -> u32 {
    hold(slot::SCAN, context.ret())
}

/// A task is about to wait for a page.
#[fentry]
pub(crate) fn hold_wait(_: FEntryContext) -> u32 {
    hold(slot::WAIT, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_wait_probe(_: ProbeContext) -> u32 {
    hold(slot::WAIT, 0)
}

/// A fault begins.
#[fentry]
pub(crate) fn hold_fault(_: FEntryContext) -> u32 {
    hold(slot::FAULT, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_fault_probe(_: ProbeContext) -> u32 {
    hold(slot::FAULT, 0)
}

/// A page is about to be written back.
#[fentry]
pub(crate) fn hold_write(_: FEntryContext) -> u32 {
    hold(slot::WRITE, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_write_probe(_: ProbeContext) -> u32 {
    hold(slot::WRITE, 0)
}

/// What is mapped in a range is about to be taken away.
#[fentry]
pub(crate) fn hold_invalidate(_: FEntryContext) -> u32 {
    hold(slot::INVALIDATE, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_invalidate_probe(_: ProbeContext) -> u32 {
    hold(slot::INVALIDATE, 0)
}

/// Copies of blocks are about to become the file's own.
#[fentry]
pub(crate) fn hold_remap(_: FEntryContext) -> u32 {
    hold(slot::REMAP, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_remap_probe(_: ProbeContext) -> u32 {
    hold(slot::REMAP, 0)
}

/// Memory of the device is about to be accessed.
#[fentry]
pub(crate) fn hold_access(_: FEntryContext) -> u32 {
    hold(slot::ACCESS, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_access_probe(_: ProbeContext) -> u32 {
    hold(slot::ACCESS, 0)
}

/// A page is about to be entered in the mapping of its file.
#[fentry]
pub(crate) fn hold_enter(_: FEntryContext) -> u32 {
    hold(slot::ENTER, 0)
}

/// The same by a kprobe.
#[kprobe]
pub(crate) fn hold_enter_probe(_: ProbeContext) -> u32 {
    hold(slot::ENTER, 0)
}

/// Two files were compared.
#[fexit]
pub(crate) fn hold_compare(_: FExitContext) -> u32 {
    hold(slot::COMPARE, 0)
}

/// The same by a kretprobe.
#[kretprobe]
pub(crate) fn hold_compare_probe(_: RetProbeContext) -> u32 {
    hold(slot::COMPARE, 0)
}
