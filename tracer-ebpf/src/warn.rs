//! Warnings: every trap of a WARN or BUG, also one that printed before and keeps silent now.
//!
//! The function that looks a trap up is `notrace`, so no kprobe reaches it; a hardware breakpoint
//! does (but the kernel takes no stack for it: a precise event would have to sample call chains).
//! Where there is none, what prints a warning is traced instead.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::macros::{fentry, perf_event};
use aya_ebpf::programs::{FEntryContext, PerfEventContext};
use protocol::Kind;

use crate::layout::{Lost, argument};
use crate::ring::{emit, record, stack};

/// The kernel looks up what a trap at an address means.
#[perf_event]
pub(crate) fn trap(context: PerfEventContext) -> u32 {
    record!(|| {
        // SAFETY: the context of a perf event begins with the registers.
        let address = unsafe { (*context.as_ptr().cast::<pt_regs>()).rdi };
        at(address, -1)
    })
}

/// The same where the address is the second argument.
#[perf_event]
pub(crate) fn trap_second(context: PerfEventContext) -> u32 {
    record!(|| {
        // SAFETY: as above.
        let address = unsafe { (*context.as_ptr().cast::<pt_regs>()).rsi };
        at(address, -1)
    })
}

/// The kernel prints a warning; the third argument says from where.
#[fentry]
pub(crate) fn warned(context: FEntryContext) -> u32 {
    record!(|| at(argument(&context, 2)?, stack(&context)))
}

fn at(address: u64, trace: i32) -> Result<(), Lost> {
    emit(Kind::Warning, |event| {
        event.value = address as i64;
        event.stack = trace;
    })
}
