//! System calls that wait in the kernel with the pages pinned, each in a thread of its own.

use std::io;
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A call, and what it transfers.
pub(super) type WaitingCall = JoinHandle<io::Result<u64>>;

/// Begins `call`, and returns once it waits for whoever can read from `asked`. One that comes to an end instead
/// has pinned nothing.
pub(super) fn until_it_waits(
    asked: &impl AsFd,
    call: impl FnOnce() -> io::Result<u64> + Send + 'static,
) -> io::Result<WaitingCall> {
    let (over, ends) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let call = std::thread::spawn(move || {
        let moved = call();
        drop(ends);
        moved
    });
    if first_of(asked, &over)? {
        return Ok(call);
    }
    joined(call)?;
    Err(io::Error::from_raw_os_error(libc::EFAULT))
}

/// The bytes that a call transferred which is over, or about to be.
pub(super) fn joined(call: WaitingCall) -> io::Result<u64> {
    call.join().map_err(|_| io::Error::other("the call panicked"))?
}

/// Waits until the first can be read from, or the second has no writer any more; whether it is the first.
pub(super) fn first_of(one: &impl AsFd, other: &impl AsFd) -> io::Result<bool> {
    let mut events = [one.as_fd(), other.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    while let Err(error) = poll(&mut events, PollTimeout::NONE) {
        if error != nix::errno::Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(events[0].revents().is_some_and(|seen| seen.contains(PollFlags::POLLIN)))
}
