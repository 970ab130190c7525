//! Loops in the kernel's own helper.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;

/// A step of [`repeat`]: its number and the shared context; other than 0 ends the repetition.
pub(crate) type RepeatBody<C> = extern "C" fn(u64, *mut C) -> i64;

/// Repeats a step in the kernel's own loop.
///
/// The verifier looks at the step once; a loop in the program it would walk through turn by turn.
pub(crate) fn repeat<C>(times: u32, step: RepeatBody<C>, context: &mut C) {
    // SAFETY: the step takes the context that is handed over with it, and the helper calls it
    // before it returns.
    unsafe {
        bpf_loop(times, step as *mut c_void, core::ptr::from_mut(context).cast(), 0);
    }
}

/// The same; a single turn, of which a device most often needs no more, is taken here.
///
/// The verifier knows the number, which is set at load, and leaves the other way out.
#[expect(clippy::inline_always, reason = "the step must be known where it is called")]
#[inline(always)]
pub(crate) fn once_or_repeat<C>(times: u32, step: RepeatBody<C>, context: &mut C) {
    match times {
        1 => {
            step(0, core::ptr::from_mut(context));
        }
        times => repeat(times, step, context),
    }
}
