//! The user's wish to end: SIGINT and its like, read from a descriptor instead of handled, so
//! that nothing is cut short at an arbitrary place.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Whether a signal of this number is one of them.
pub(crate) fn is_wish(signal: i32) -> bool {
    SIGNALS.iter().any(|wish| *wish as i32 == signal)
}

/// How often the user asked to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    fd: SignalFd,
    count: u32,
}

impl Interrupt {
    /// Blocks the signals, in this thread and in those it starts from now on, and listens.
    pub(crate) fn listen() -> nix::Result<Self> {
        let set: SigSet = SIGNALS.into_iter().collect();
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd, count: 0 })
    }

    /// Undoes, in a child of the runner, what it inherited.
    pub(crate) fn forget() -> nix::Result<()> {
        SIGNALS.into_iter().collect::<SigSet>().thread_unblock()
    }

    /// How often they have asked so far.
    pub(crate) fn count(&mut self) -> u32 {
        while let Ok(Some(_)) = self.fd.read_signal() {
            self.count += 1;
        }
        self.count
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
