//! Whose turn it is, where several runners are at work on one machine.
//!
//! A machine has one kernel log, one switch that has each WARN_ON_ONCE warn once more, and one
//! flag for each of those. A warning that another run provokes would be blamed on this one's case;
//! worse, it would use up the warning that this one's case is to provoke, and the case would pass.
//! A message names its task at best, and a warning that was not printed names nobody. So no two
//! cases run at the same time: the kernel log is locked, and the runner that holds the lock runs its case.
//!
//! Devices, mounts and results are each run's own and need no turn.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// What is locked: the one thing that every runner of a machine reads, also in a container.
const LOG: &str = "/dev/kmsg";

/// Byte 0 is the end of the queue, byte 1 the turn. Who waits for the turn holds the queue, so that
/// who had the turn last does not get it again at once.
const QUEUE: i64 = 0;
const TURN: i64 = 1;

/// How often it is looked whether the turn came.
const INTERVAL: Duration = Duration::from_millis(20);

/// How the wait for the turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnWait {
    /// There was none: no other runner is at work.
    None,
    /// Another had its turn before. What it did is its own to tell.
    AnothersTurn,
    /// It was given up; it is somebody else's turn.
    GivenUp,
}

/// This run's place in the order of turns. The turn ends with the process at the latest.
#[derive(Debug)]
pub(crate) struct Turn {
    log: File,
    held: bool,
}

impl Turn {
    /// It is not this run's turn yet.
    pub(crate) fn new() -> io::Result<Self> {
        // An exclusive lock wants a descriptor to write to.
        Ok(Self { log: File::options().read(true).write(true).open(LOG)?, held: false })
    }

    /// Lets another runner have its turn, if one waits for it, and waits for the next of this one:
    /// until `patience` is at its end, which is an error, or the user wants to `stop`.
    pub(crate) fn next(
        &mut self,
        patience: Duration,
        stop: &mut dyn FnMut() -> bool,
    ) -> io::Result<TurnWait> {
        self.end()?;
        let begun = Instant::now();
        let mut waited = false;
        for byte in [QUEUE, TURN] {
            while !self.lock(byte)? {
                if stop() {
                    self.unlock(QUEUE)?;
                    return Ok(TurnWait::GivenUp);
                }
                if begun.elapsed() > patience {
                    self.unlock(QUEUE)?;
                    let seconds = patience.as_secs_f64();
                    return Err(io::Error::other(format!(
                        "another runner on this machine has had its turn for {seconds} s"
                    )));
                }
                waited = true;
                std::thread::sleep(INTERVAL);
            }
        }
        self.unlock(QUEUE)?;
        self.held = true;
        Ok(if waited { TurnWait::AnothersTurn } else { TurnWait::None })
    }

    /// Whether it is this run's turn.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Ends this run's turn.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.held = false;
        self.unlock(TURN)
    }

    /// Takes a lock, if nobody has it.
    fn lock(&self, byte: i64) -> io::Result<bool> {
        match self.set(byte, libc::F_WRLCK) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self, byte: i64) -> io::Result<()> {
        Ok(self.set(byte, libc::F_UNLCK)?)
    }

    /// A lock of this open file: another run has another, and a child that inherits it has the same.
    fn set(&self, byte: i64, kind: libc::c_int) -> nix::Result<()> {
        let lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(self.log.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not the kernel's log, which other tests, and other runners, may have their turn at.
    fn turn(file: &tempfile::NamedTempFile) -> Turn {
        Turn { log: file.reopen().unwrap(), held: false }
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn nobody_waits_who_is_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut turn = turn(&file);
        for _ in 0..2 {
            assert_eq!(turn.next(LONG, &mut || false).unwrap(), TurnWait::None);
            assert!(turn.is_held());
        }
    }

    #[test]
    fn two_take_turns_however_quick_one_of_them_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut first, mut second) = (turn(&file), turn(&file));
        first.next(LONG, &mut || false).unwrap();
        let log = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    second.next(LONG, &mut || false).unwrap();
                    log.lock().unwrap().push(2);
                }
                second.end().unwrap();
            });
            // The other is in the queue when nobody else can be.
            let probe = turn(&file);
            while probe.lock(QUEUE).unwrap() {
                probe.unlock(QUEUE).unwrap();
                std::thread::yield_now();
            }
            assert_eq!(first.next(LONG, &mut || false).unwrap(), TurnWait::AnothersTurn);
            log.lock().unwrap().push(1);
            first.end().unwrap();
        });
        assert_eq!(log.lock().unwrap()[0], 2, "the first had its turn again at once");
    }

    #[test]
    fn a_wait_can_be_given_up_and_has_a_deadline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut first, mut second) = (turn(&file), turn(&file));
        first.next(LONG, &mut || false).unwrap();
        assert_eq!(second.next(LONG, &mut || true).unwrap(), TurnWait::GivenUp);
        let late = second.next(Duration::ZERO, &mut || false).unwrap_err();
        assert!(late.to_string().starts_with("another runner on this machine"), "{late}");
        assert!(!second.is_held());
        first.end().unwrap();
        assert_eq!(second.next(LONG, &mut || false).unwrap(), TurnWait::None);
    }
}
