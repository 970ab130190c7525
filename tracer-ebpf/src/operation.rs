//! Operations on a file, from beginning to end, as far as a rule or a reader wants to know.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};
use protocol::{Kind, OperationKind};

use crate::call::{Arguments, Call, keep, kept};
use crate::globals::{DENTRY_INODE, FAULT_INDEX, FAULT_VMA, VMA_FILE};
use crate::inode::TracedInode;
use crate::memory::{Lost, field};
use crate::ring::{about, emit, record};
use crate::task::{in_detail, task, wanted};
use crate::waits::somebody_waits;

fn operation(
    kind: Kind,
    operation: OperationKind,
    inode: Option<TracedInode>,
    (index, count): (u64, u64),
    value: i64,
) -> Result<(), Lost> {
    let Some(inode) = inode else {
        return Ok(());
    };
    emit(kind, |event| {
        about(event, inode);
        event.detail = operation as u16;
        event.index = index;
        event.count = count;
        event.value = value;
    })
}

fn of_file(context: &impl Arguments) -> Result<Option<TracedInode>, Lost> {
    if !wanted() {
        return Ok(None);
    }
    TracedInode::of_file(context.argument(0)?)
}

fn begin_fsync(context: &impl Arguments, inode: Option<TracedInode>) -> Result<(), Lost> {
    let start = context.argument(1)? / 4096;
    let end = context.argument(2)? / 4096;
    let pages = (start, end.saturating_sub(start) + 1);
    operation(Kind::Begin, OperationKind::Fsync, inode, pages, 0)
}

fn end_fsync(inode: Option<TracedInode>, value: i32) -> Result<(), Lost> {
    operation(Kind::End, OperationKind::Fsync, inode, (0, 0), i64::from(value))
}

/// fsync(2), fdatasync(2), msync(2).
#[fentry]
pub(crate) fn fsync_begin(context: FEntryContext) -> u32 {
    record!(|| begin_fsync(&context, of_file(&context)?))
}

/// Its end.
#[fexit]
pub(crate) fn fsync_end(context: FExitContext) -> u32 {
    record!(|| end_fsync(of_file(&context)?, context.ret::<i32>().map_err(|_| Lost)?))
}

/// The same as [`fsync_begin`] by a kprobe.
#[kprobe]
pub(crate) fn fsync_begin_probe(context: ProbeContext) -> u32 {
    record!(|| {
        let Some(inode) = of_file(&context)? else {
            return Ok(());
        };
        keep(Call::Fsync, context.argument(0)?)?;
        begin_fsync(&context, Some(inode))
    })
}

/// The same as [`fsync_end`] by a kretprobe.
#[kretprobe]
pub(crate) fn fsync_end_probe(context: RetProbeContext) -> u32 {
    record!(|| match kept(Call::Fsync) {
        Some(file) => end_fsync(TracedInode::of_file(file)?, context.ret()),
        None => Ok(()),
    })
}

/// fallocate(2).
#[fentry]
pub(crate) fn fallocate_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let (start, length) = (context.argument(2)?, context.argument(3)?);
        operation(
            Kind::Begin,
            OperationKind::Fallocate,
            of_file(&context)?,
            (start / 4096, length.div_ceil(4096)),
            0,
        )
    })
}

/// Its end.
#[fexit]
pub(crate) fn fallocate_end(context: FExitContext) -> u32 {
    record!(|| {
        let value = context.ret::<i32>().map_err(|_| Lost)?;
        operation(Kind::End, OperationKind::Fallocate, of_file(&context)?, (0, 0), i64::from(value))
    })
}

fn of_dentry(context: &impl Arguments) -> Result<Option<TracedInode>, Lost> {
    if !wanted() {
        return Ok(None);
    }
    TracedInode::at(field(context.argument(1)?, &DENTRY_INODE)?)
}

/// A change of size.
#[fentry]
pub(crate) fn truncate_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let size = context.argument(2)?;
        operation(
            Kind::Begin,
            OperationKind::Truncate,
            of_dentry(&context)?,
            (size / 4096, u64::MAX),
            0,
        )
    })
}

/// Its end.
#[fexit]
pub(crate) fn truncate_end(context: FExitContext) -> u32 {
    record!(|| {
        let value = context.ret::<i32>().map_err(|_| Lost)?;
        operation(
            Kind::End,
            OperationKind::Truncate,
            of_dentry(&context)?,
            (0, 0),
            i64::from(value),
        )
    })
}

/// Whether a fault of a task with such a number was ever recorded: most were not, and to look for
/// one would be the dearest part of a fault's end.
#[map]
static FAULTED: Array<u32> = Array::with_max_entries(64, 0);

/// The file and the index of the fault described at an address.
fn of_fault(fault: u64) -> Result<Option<(TracedInode, u64)>, Lost> {
    let vma: u64 = field(fault, &FAULT_VMA)?;
    let file: u64 = field(vma, &VMA_FILE)?;
    let Some(inode) = TracedInode::of_file(file)? else {
        return Ok(None);
    };
    Ok(Some((inode, field(fault, &FAULT_INDEX)?)))
}

/// A rule asks only for the faults that a waiting break may hold up.
fn begin_fault(context: &impl Arguments) -> Result<(), Lost> {
    if !wanted() || (!in_detail() && !somebody_waits()) {
        return Ok(());
    }
    let fault = context.argument(0)?;
    let Some((inode, index)) = of_fault(fault)? else {
        return Ok(());
    };
    keep(Call::Fault, fault)?;
    FAULTED.set(task() % 64, &1, 0).map_err(|_| Lost)?;
    operation(Kind::Begin, OperationKind::Fault, Some(inode), (index, 1), 0)
}

/// What a fault returns is no error number.
fn end_fault() -> Result<(), Lost> {
    if FAULTED.get(task() % 64).is_none_or(|faulted| *faulted == 0) {
        return Ok(());
    }
    match kept(Call::Fault).map(of_fault).transpose()?.flatten() {
        Some((inode, index)) => {
            operation(Kind::End, OperationKind::Fault, Some(inode), (index, 1), 0)
        }
        None => Ok(()),
    }
}

/// A fault of a DAX page.
#[fentry]
pub(crate) fn fault_begin(context: FEntryContext) -> u32 {
    record!(|| begin_fault(&context))
}

/// Its end.
#[fexit]
pub(crate) fn fault_end(_: FExitContext) -> u32 {
    record!(end_fault)
}

/// The same as [`fault_begin`] by a kprobe.
#[kprobe]
pub(crate) fn fault_begin_probe(context: ProbeContext) -> u32 {
    record!(|| begin_fault(&context))
}

/// The same as [`fault_end`] by a kretprobe.
#[kretprobe]
pub(crate) fn fault_end_probe(_: RetProbeContext) -> u32 {
    record!(end_fault)
}
