//! Operations on a file, from beginning to end, as far as a rule or a reader wants to know.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{fentry, fexit, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use protocol::{Kind, Operation};

use crate::layout::{
    DENTRY_INODE, FAULT_INDEX, FAULT_VMA, Inode, Lost, VMA_FILE, argument, field, in_detail, task,
    wanted,
};
use crate::ring::{about, emit, record};
use crate::work::somebody_waits;

fn operation(
    kind: Kind,
    operation: Operation,
    inode: Option<Inode>,
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

fn of_file(context: &impl EbpfContext) -> Result<Option<Inode>, Lost> {
    if !wanted() {
        return Ok(None);
    }
    Inode::of_file(argument(context, 0)?)
}

/// fsync(2), fdatasync(2), msync(2).
#[fentry]
pub(crate) fn fsync_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let start = argument(&context, 1)? / 4096;
        let end = argument(&context, 2)? / 4096;
        operation(
            Kind::Begin,
            Operation::Fsync,
            of_file(&context)?,
            (start, end.saturating_sub(start) + 1),
            0,
        )
    })
}

/// Its end.
#[fexit]
pub(crate) fn fsync_end(context: FExitContext) -> u32 {
    record!(|| {
        let value = context.ret::<i32>().map_err(|_| Lost)?;
        operation(Kind::End, Operation::Fsync, of_file(&context)?, (0, 0), i64::from(value))
    })
}

/// fallocate(2).
#[fentry]
pub(crate) fn fallocate_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let (start, length) = (argument(&context, 2)?, argument(&context, 3)?);
        operation(
            Kind::Begin,
            Operation::Fallocate,
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
        operation(Kind::End, Operation::Fallocate, of_file(&context)?, (0, 0), i64::from(value))
    })
}

fn of_dentry(context: &impl EbpfContext) -> Result<Option<Inode>, Lost> {
    if !wanted() {
        return Ok(None);
    }
    Inode::at(field(argument(context, 1)?, &DENTRY_INODE)?)
}

/// A change of size.
#[fentry]
pub(crate) fn truncate_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let size = argument(&context, 2)?;
        operation(
            Kind::Begin,
            Operation::Truncate,
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
        operation(Kind::End, Operation::Truncate, of_dentry(&context)?, (0, 0), i64::from(value))
    })
}

/// Tasks in a fault whose beginning was recorded, so that its end is too.
#[map]
static FAULTING: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// Whether there ever was one of a task with such a number: most have none, and the search for it
/// would be the dearest part of a fault's end.
#[map]
static FAULTED: Array<u32> = Array::with_max_entries(64, 0);

fn of_fault(context: &impl EbpfContext) -> Result<Option<(Inode, u64)>, Lost> {
    if !wanted() {
        return Ok(None);
    }
    let fault = argument(context, 0)?;
    let vma: u64 = field(fault, &FAULT_VMA)?;
    let file: u64 = field(vma, &VMA_FILE)?;
    let Some(inode) = Inode::of_file(file)? else {
        return Ok(None);
    };
    Ok(Some((inode, field(fault, &FAULT_INDEX)?)))
}

/// A fault of a DAX page. A rule asks only for those that a waiting break may hold up.
#[fentry]
pub(crate) fn fault_begin(context: FEntryContext) -> u32 {
    record!(|| {
        if !in_detail() && !somebody_waits() {
            return Ok(());
        }
        let Some((inode, index)) = of_fault(&context)? else {
            return Ok(());
        };
        FAULTING.insert(&task(), &1, 0).map_err(|_| Lost)?;
        FAULTED.set(task() % 64, &1, 0).map_err(|_| Lost)?;
        operation(Kind::Begin, Operation::Fault, Some(inode), (index, 1), 0)
    })
}

/// Its end. What a fault returns is no error number.
#[fexit]
pub(crate) fn fault_end(context: FExitContext) -> u32 {
    record!(|| {
        if FAULTED.get(task() % 64).is_none_or(|faulted| *faulted == 0)
            || FAULTING.remove(&task()).is_err()
        {
            return Ok(());
        }
        let Some((inode, index)) = of_fault(&context)? else {
            return Ok(());
        };
        operation(Kind::End, Operation::Fault, Some(inode), (index, 1), 0)
    })
}
