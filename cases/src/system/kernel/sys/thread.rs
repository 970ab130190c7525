//! What a thread or process is and has used: fork, pidfd, signals, rusage.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check::check;

/// Minor and major faults of the calling thread so far.
pub(crate) fn faults() -> u64 {
    let usage = thread_usage();
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// How often the calling thread has gone to sleep of its own will.
pub(crate) fn sleeps() -> u64 {
    thread_usage().ru_nvcsw as u64
}

fn thread_usage() -> libc::rusage {
    // SAFETY: all-zero is a valid rusage, and getrusage fills it; it cannot fail for
    // RUSAGE_THREAD.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    }
}

/// pidfd_open(2): a descriptor that can be read from once the process has ended, all its threads
/// included.
pub(crate) fn process(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: it was made just now, with FD_CLOEXEC, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// fork(2). The child closes its copies of `closing`, asks to be killed with its parent, does
/// `child` and ends with the code that this returns; nothing that called this goes on in it.
///
/// Of the parent's threads the child has this one only. A lock that another held at this moment
/// is never released in the child: `child` takes none but those that the caller holds.
pub(crate) fn fork(
    closing: &[BorrowedFd<'_>],
    child: impl FnOnce() -> i32,
) -> io::Result<libc::pid_t> {
    // SAFETY: glibc makes its allocator usable in the child, which is all that the child shares
    // with threads that it does not have, and is asked for above.
    let pid = check(unsafe { libc::fork() }.into())?;
    if pid != 0 {
        return Ok(pid as libc::pid_t);
    }
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    for descriptor in closing {
        // SAFETY: their owner is borrowed by a frame to which the child does not return, so in the
        // child it is never dropped: each is closed once, here.
        unsafe { libc::close(descriptor.as_raw_fd()) };
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
    // SAFETY: `_exit` does not return and runs no handlers.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to one thread.
pub(crate) fn kill_thread(pid: i32, tid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}
