//! The arguments of a traced call, however the probe came to it.
//!
//! A kprobe finds them in the registers, a trampoline (fentry, fexit) lays them out one behind the
//! other. A kretprobe has none: what it needs is kept for it when the call begins.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext};

use crate::memory::{Lost, read};
use crate::ring::lose;
use crate::task::task;
use crate::under_way::ONLY_NEW;

/// Who has the arguments of a call.
pub(crate) trait Arguments {
    /// Argument `n`.
    fn argument(&self, n: usize) -> Result<u64, Lost>;
}

impl Arguments for ProbeContext {
    fn argument(&self, n: usize) -> Result<u64, Lost> {
        self.arg(n).ok_or(Lost)
    }
}

/// Read through memory and not through the context's types: the verifier then sees a number and
/// allows arithmetic on it.
fn laid_out(context: &impl EbpfContext, n: usize) -> Result<u64, Lost> {
    read(context.as_ptr() as u64 + n as u64 * 8)
}

impl Arguments for FEntryContext {
    fn argument(&self, n: usize) -> Result<u64, Lost> {
        laid_out(self, n)
    }
}

impl Arguments for FExitContext {
    fn argument(&self, n: usize) -> Result<u64, Lost> {
        laid_out(self, n)
    }
}

impl Arguments for RawTracePointContext {
    fn argument(&self, n: usize) -> Result<u64, Lost> {
        laid_out(self, n)
    }
}

/// The functions whose return needs an argument. tracer/src/calls.rs knows the number of `Fault`.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Scan = 0,
    PinBio = 1,
    PinBuffer = 2,
    Fsync = 3,
    Fault = 4,
}

/// The argument that a task's call is to be remembered by, until it returns.
#[map]
static CALLS: HashMap<u64, u64> = HashMap::with_max_entries(8192, 0);

fn key(call: Call) -> u64 {
    u64::from(task()) << 8 | call as u64
}

/// The call begins.
pub(crate) fn keep(call: Call, argument: u64) -> Result<(), Lost> {
    let key = key(call);
    if CALLS.insert(&key, &argument, ONLY_NEW).is_ok() {
        return Ok(());
    }
    // SAFETY: plain data that only its own task changes.
    if unsafe { CALLS.get(&key) }.is_some() {
        // The return of the earlier one was missed, which the kernel does not always count.
        lose();
    }
    CALLS.insert(&key, &argument, 0).map_err(|_| Lost)
}

/// It returns; none if its beginning was not seen.
pub(crate) fn kept(call: Call) -> Option<u64> {
    let key = key(call);
    // SAFETY: plain data that only its own task changes.
    let argument = unsafe { CALLS.get(&key) }.copied()?;
    let _ = CALLS.remove(&key);
    Some(argument)
}
