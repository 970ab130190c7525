//! The task that a probe runs in, and whether it is traced.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use crate::globals::{DETAIL, get};

pub(crate) fn task() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

pub(crate) fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The kernel's address of the current task.
pub(crate) fn current() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Only this process's breaks and operations are traced, if it is not 0. A map and not a global,
/// because the self-check comes before anybody else's work and must see its own.
#[map]
static PROCESS: Array<u32> = Array::with_max_entries(1, 0);

/// Whether this task's process is one that is traced.
pub(crate) fn wanted() -> bool {
    let wanted = PROCESS.get(0).copied().unwrap_or(0);
    wanted == 0 || wanted == process()
}

/// Whether what no rule needs is recorded too: a stack with every pin and break, faults that begin
/// while no break waits, and removals of pages that nobody uses. Always, if one process is traced:
/// that is somebody's close look, or the self-check.
pub(crate) fn in_detail() -> bool {
    get(&DETAIL) != 0 || PROCESS.get(0).is_some_and(|wanted| *wanted != 0)
}
