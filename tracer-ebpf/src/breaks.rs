//! A break begins and ends.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use protocol::Kind;

use crate::call::Arguments;
use crate::globals::{XFS_INODE_VFS, get};
use crate::inode::{TracedInode, dax_inode};
use crate::memory::Lost;
use crate::ring::{about, emit, lose, record, stack_if_wanted};
use crate::task::{task, wanted};
use crate::under_way::{BREAKS, BreakUnderWay, ONLY_NEW};
use crate::waits::stop_waiting;

fn begin(
    context: &impl StackIdContext,
    first: TracedInode,
    second: Option<TracedInode>,
) -> Result<(), Lost> {
    let task = task();
    let new = BreakUnderWay {
        second: second.map_or(0, |inode| inode.address),
        second_number: second.map_or(0, |inode| inode.number),
        whole: 1,
        ..BreakUnderWay::unseen(first)
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
    let task = task();
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
