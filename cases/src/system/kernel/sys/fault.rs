//! Memory access that turns a fault into `EFAULT`: what stands behind a mapping may be gone.
//!
//! The only state here is where the thread goes on after a fault.

use std::cell::Cell;
use std::io;

use super::check::check;

thread_local! {
    /// Where the thread goes on after a fault in `copy` or `fill`; 0: not recoverable.
    static RECOVERY: Cell<usize> = const { Cell::new(0) };
    static FAULTED: Cell<bool> = const { Cell::new(false) };
    /// Whether a call is under way that the kernel may answer with a signal.
    static EXPECTING: Cell<bool> = const { Cell::new(false) };
}

/// Continues behind a faulting `copy` or `fill`; any other SIGBUS or SIGSEGV ends the process.
extern "C" fn on_fault(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if EXPECTING.get() {
        // It was raised by the call and not by an access, so nothing is to be repeated.
        FAULTED.set(true);
        return;
    }
    let recovery = RECOVERY.get();
    if recovery == 0 {
        // SAFETY: restoring the default action and returning repeats the fault, which then kills.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    FAULTED.set(true);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passed a valid context to this SA_SIGINFO handler.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] = recovery as i64 };
}

extern "C" fn on_nudge(_: libc::c_int) {}

/// Installs the handlers that a task needs: faults are recovered from, and `SIGUSR1` interrupts
/// a system call without restarting it.
pub(crate) fn install_handlers() -> io::Result<()> {
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        handle(signal, on_fault as *const () as usize, libc::SA_SIGINFO | libc::SA_NODEFER)?;
    }
    handle(libc::SIGUSR1, on_nudge as *const () as usize, 0)
}

fn handle(signal: libc::c_int, handler: usize, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction; the handlers are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()).into()).map(drop)
    }
}

/// Makes a call; also whether the kernel raised a `SIGBUS` or `SIGSEGV` by it.
pub(super) fn expecting<T>(call: impl FnOnce() -> T) -> (T, bool) {
    EXPECTING.set(true);
    let answer = call();
    EXPECTING.set(false);
    (answer, FAULTED.replace(false))
}

fn recovered() -> io::Result<()> {
    RECOVERY.set(0);
    if FAULTED.replace(false) { Err(io::Error::from_raw_os_error(libc::EFAULT)) } else { Ok(()) }
}

/// Copies `count` bytes with user-mode accesses; a fault becomes `EFAULT`.
///
/// # Safety
/// `to` must be valid for writing `count` bytes or be file memory.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, count: usize) -> io::Result<()> {
    let slot = RECOVERY.with(Cell::as_ptr);
    // SAFETY: the handler continues at the label with all registers as the fault left them,
    // which is what the clobbers below allow.
    unsafe {
        std::arch::asm!(
            "lea {goal}, [rip + 2f]",
            "mov qword ptr [{slot}], {goal}",
            "rep movsb",
            "2:",
            goal = out(reg) _,
            slot = in(reg) slot,
            inout("rsi") from => _,
            inout("rdi") to => _,
            inout("rcx") count => _,
        );
    }
    recovered()
}

/// Fills `count` bytes with user-mode accesses; a fault becomes `EFAULT`.
///
/// # Safety
/// `to` must be file memory, or valid for writing `count` bytes.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn fill(to: *mut u8, byte: u8, count: usize) -> io::Result<()> {
    let slot = RECOVERY.with(Cell::as_ptr);
    // SAFETY: as in `copy`.
    unsafe {
        std::arch::asm!(
            "lea {goal}, [rip + 2f]",
            "mov qword ptr [{slot}], {goal}",
            "rep stosb",
            "2:",
            goal = out(reg) _,
            slot = in(reg) slot,
            in("al") byte,
            inout("rdi") to => _,
            inout("rcx") count => _,
        );
    }
    recovered()
}
