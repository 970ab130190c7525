//! What the probes count, in one array that user space maps.
//!
//! It is mapped and not asked for by bpf(2), because as long as a task is in that call the kernel
//! runs no kprobe's program on its processor (kernel/bpf/syscall.c, `bpf_disable_instrumentation`),
//! also if the task is preempted there: who asked what was missed would be the cause of it.

/// Processors that count on their own; those of higher numbers share.
pub const PROCESSORS: u32 = 4096;

/// How many numbers of 64 bits the array has.
pub const LENGTH: u32 = LOST_LAST + 1;

/// What was lost, on each processor.
pub const LOST: u32 = 0;

/// Extents that were freed and whose pages are not known, on each processor.
pub const UNPLACED: u32 = PROCESSORS;

/// Calls that a probe with a stand-in saw, on each processor.
pub const SEEN: u32 = 2 * PROCESSORS;

/// Calls of which the stand-in knew that, on each processor.
pub const SEEN_TWICE: u32 = 3 * PROCESSORS;

/// When something was last lost, in nanoseconds.
pub const LOST_LAST: u32 = 4 * PROCESSORS;
