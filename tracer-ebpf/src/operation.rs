//! Operations on a file, from beginning to end, as far as a rule or a reader wants to know.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use protocol::{Kind, Operation};

use crate::layout::{
    DENTRY_INODE, FAULT_INDEX, FAULT_VMA, Inode, Lost, VMA_FILE, argument, field, wanted,
};
use crate::ring::{about, emit, record};

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

fn of_fault(context: &impl EbpfContext) -> Result<(Option<Inode>, u64), Lost> {
    if !wanted() {
        return Ok((None, 0));
    }
    let fault = argument(context, 0)?;
    let vma: u64 = field(fault, &FAULT_VMA)?;
    let file: u64 = field(vma, &VMA_FILE)?;
    Ok((Inode::of_file(file)?, field(fault, &FAULT_INDEX)?))
}

/// A fault of a DAX page.
#[fentry]
pub(crate) fn fault_begin(context: FEntryContext) -> u32 {
    record!(|| {
        let (inode, index) = of_fault(&context)?;
        operation(Kind::Begin, Operation::Fault, inode, (index, 1), 0)
    })
}

/// Its end. What a fault returns is no error number.
#[fexit]
pub(crate) fn fault_end(context: FExitContext) -> u32 {
    record!(|| {
        let (inode, index) = of_fault(&context)?;
        operation(Kind::End, Operation::Fault, inode, (index, 1), 0)
    })
}
