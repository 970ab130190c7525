//! Warnings: every WARN or BUG, also one that printed before and keeps silent now.
//!
//! What prints a warning, and what ends a task, can be traced as any function. A WARN_ON_ONCE that
//! printed before does not come there, but its trap is looked up all the same. The function that
//! does is `notrace`, so no kprobe reaches it; a hardware breakpoint does (but the kernel takes no
//! stack for it: a precise event would have to sample call chains), and an emulated processor asks
//! a lot for one. So it is set once the kernel has warned: before, nothing can be silent.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::macros::{fentry, perf_event};
use aya_ebpf::programs::{FEntryContext, PerfEventContext};
use protocol::Kind;

use crate::call::Arguments;
use crate::memory::{Lost, read};
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
    record!(|| at(context.argument(2)?, stack(&context)))
}

/// The kernel ends a task that ran into a BUG or worse; the second argument has its registers.
#[fentry]
pub(crate) fn died(context: FEntryContext) -> u32 {
    record!(|| {
        let registers = context.argument(1)? as *const pt_regs;
        // SAFETY: nothing is dereferenced, only an address taken.
        let address = read(unsafe { &raw const (*registers).rip } as u64)?;
        at(address, stack(&context))
    })
}

fn at(address: u64, trace: i32) -> Result<(), Lost> {
    emit(Kind::Warning, |event| {
        event.value = address as i64;
        event.stack = trace;
    })
}
