//! A break scans the file for a busy page.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use protocol::Kind;

use crate::call::{Arguments, Call, keep, kept};
use crate::globals::MAPPING_HOST;
use crate::inode::{TracedInode, dax_inode};
use crate::memory::{Lost, field};
use crate::page::TracedPage;
use crate::ring::{about, emit, page, record, stack};
use crate::task::{task, wanted};
use crate::under_way::{BREAKS, BreakUnderWay};
use crate::waits::stop_waiting;

/// The file that is scanned, if it is one to look at: most often that of the task's break, which
/// was looked at when it began.
fn scanned(a_break: Option<&BreakUnderWay>, mapping: u64) -> Result<Option<TracedInode>, Lost> {
    if mapping == 0 {
        return Ok(None);
    }
    let host = field(mapping, &MAPPING_HOST)?;
    match a_break {
        Some(a_break) if a_break.inode == host => {
            Ok(Some(TracedInode { address: host, number: a_break.number }))
        }
        _ if wanted() => dax_inode(host),
        _ => Ok(None),
    }
}

/// A scan begins, and with that a wait of its break is over, whatever the task sleeps for then.
fn begin_scan() -> Result<(), Lost> {
    let task = task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let Some(&found) = (unsafe { BREAKS.get(&task) }) else {
        return Ok(());
    };
    if found.waiting == 0 {
        return Ok(());
    }
    stop_waiting(&found, task, 0)?;
    BREAKS.insert(&task, &BreakUnderWay { waiting: 0, ..found }, 0).map_err(|_| Lost)
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
    let task = task();
    let found = TracedPage::at(found);
    // SAFETY: the map's values are plain data that only their own task changes.
    let begun = unsafe { BREAKS.get(&task) }.copied();
    let Some(inode) = scanned(begun.as_ref(), mapping)? else {
        return Ok(());
    };
    let mut a_break = begun.unwrap_or(BreakUnderWay::unseen(inode));
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
    let (_, index) = busy.mapped_at();
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
