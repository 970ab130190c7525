//! Pins of another process's memory: process_vm_readv(2) and process_vm_writev(2).
//!
//! The kernel pins the pages of the other process, and copies then. What it copies to or from is
//! memory that userfaultfd(2) withholds: the copy waits there, and the pages stay pinned, until
//! the memory is provided. That it waits is an event, and so is its end; nothing here takes time.
//!
//! A process of the case's own, the *peer*, does all of that, a thread for each pin. It is made
//! before there is any pin, has no file of the file system under test, and maps none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::call::{WaitingCall, joined, until_it_waits};
use super::{Holder, Means, Pages, Prepared, sent};
use crate::action::{Content, Direction, PAGE};
use crate::patience::Patience;
use crate::system::kernel::actor::Actor;
use crate::system::kernel::bench::trouble;
use crate::system::kernel::sys::{Withheld, fork};
use crate::system::kernel::{GRACE, KernelSystem, kill, proc, wire};
use crate::system::{Errno, Tried, Trouble};

/// By the peer.
pub(super) struct Remote {
    pub(super) direction: Direction,
    /// What the peer's memory is filled with at the release.
    pub(super) byte: u8,
}

impl Means for Remote {
    fn offered(&self, kernel: &mut KernelSystem) -> Result<(), String> {
        if kernel.pins.peer.is_none() {
            let peer = Peer::new(kernel.setup.patience)
                .map_err(|error| format!("userfaultfd: {error}"))?;
            kernel.pins.peer = Some(peer);
        }
        Ok(())
    }

    fn prepare(&self, kernel: &mut KernelSystem, _len: u64) -> Tried<Prepared> {
        let Some(peer) = &kernel.pins.peer else {
            return Err(Trouble::Machinery {
                what: "a pin of another process's memory".to_owned(),
                why: "it was not checked whether it is offered".to_owned(),
            });
        };
        let [ours, theirs] = peer.line().map_err(trouble("the peer"))?;
        let holder = Line { ours, byte: self.byte };
        Ok(Prepared { holder: Some(Box::new(holder)), theirs: vec![theirs] })
    }

    /// Has the peer pin the pages, which are this process's.
    fn take(&self, _actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        let (line, buffer) = (sent(fds)?, pages.mapping.buffer(pages.span)?);
        let pid = nix::unistd::getpid().as_raw();
        let (address, len, direction) = (buffer.address, buffer.len(), self.direction);
        wire::send(line.as_fd(), &PeerTransfer { pid, address, len, direction }, &[])?;
        match wire::receive::<Result<(), Errno>>(line.as_fd(), true)? {
            Some((Ok(()), _)) => Ok(()),
            Some((Err(errno), _)) => Err(io::Error::from_raw_os_error(errno.0)),
            None => Err(io::Error::other("the peer is gone")),
        }
    }
}

/// The case's end of a pin, and what the peer's memory is filled with at its release.
#[derive(Debug)]
struct Line {
    ours: OwnedFd,
    byte: u8,
}

impl Holder for Line {
    /// Provides the memory, and waits for the end of the transfer: the pages are not pinned any more
    /// then.
    fn release(&mut self, patience: Duration) -> Tried<Option<Content>> {
        let what = "the end of a process_vm transfer";
        wire::send(self.ours.as_fd(), &self.byte, &[]).map_err(trouble(what))?;
        if !wire::readable_until(&self.ours, Instant::now() + patience)? {
            let (what, seconds) = (what.to_owned(), patience.as_secs());
            return Err(Trouble::Stuck { what, seconds, state: String::new() });
        }
        let broken = |why: String| Err(Trouble::Machinery { what: what.to_owned(), why });
        let ended = wire::receive::<Result<Content, Errno>>(self.ours.as_fd(), true);
        match ended.map_err(trouble(what))? {
            Some((Ok(content), _)) => Ok(Some(content)),
            Some((Err(errno), _)) => broken(errno.to_string()),
            None => broken("the peer is gone".to_owned()),
        }
    }

    fn drops_at_once(&self) -> bool {
        true
    }
}

/// What a thread of the peer is asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct PeerTransfer {
    pid: i32,
    address: u64,
    len: u64,
    direction: Direction,
}

/// The process that pins, as the case sees it.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    pid: i32,
    /// How long to wait for its end.
    grace: Duration,
}

impl Peer {
    /// Makes it, if the kernel offers what it needs.
    fn new(patience: Patience) -> io::Result<Self> {
        drop(Withheld::new(0, PAGE)?);
        let (ours, theirs) = wire::pair()?;
        let pid = fork(&[ours.as_fd()], || {
            // For stacks and the kernel log only.
            let _ = nix::sys::prctl::set_name(c"peer");
            serve(&theirs)
        })?;
        Ok(Self { socket: ours, pid, grace: patience.of(GRACE) })
    }

    /// Both ends of a pin: the case's, and one for the task whose memory is to be pinned.
    fn line(&self) -> io::Result<[OwnedFd; 2]> {
        let (ours, theirs) = wire::pair()?;
        wire::send(self.socket.as_fd(), &(), &[theirs.as_raw_fd()])?;
        Ok([ours.try_clone()?, ours])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        kill(self.pid);
        if !proc::ends(self.pid, Instant::now() + self.grace) {
            eprintln!("the peer, process {}, does not end", self.pid);
        }
    }
}

/// The peer: a thread for each line that comes, until the case is gone. Returns the exit code.
fn serve(socket: &OwnedFd) -> i32 {
    loop {
        match wire::receive::<()>(socket.as_fd(), true) {
            Ok(Some(((), lines))) => {
                for line in lines {
                    std::thread::spawn(move || {
                        if let Err(error) = hold(&line) {
                            eprintln!("a pin of the peer's ended: {error}");
                        }
                    });
                }
            }
            Ok(None) => return 0,
            Err(error) => {
                eprintln!("the peer ended: {error}");
                return 1;
            }
        }
    }
}

/// One pin, from its beginning to its end. Nothing is released if nobody asks for it.
fn hold(line: &OwnedFd) -> io::Result<()> {
    let Some((transfer, _)) = wire::receive::<PeerTransfer>(line.as_fd(), true)? else {
        return Ok(());
    };
    let waiting = match Waiting::begin(transfer) {
        Ok(waiting) => waiting,
        Err(error) => return wire::send(line.as_fd(), &Err::<(), _>(errno(&error)), &[]),
    };
    wire::send(line.as_fd(), &Ok::<_, Errno>(()), &[])?;
    let Some((byte, _)) = wire::receive::<u8>(line.as_fd(), true)? else {
        return Ok(());
    };
    let content = waiting.end(byte).map_err(|error| errno(&error));
    wire::send(line.as_fd(), &content, &[])
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A transfer that waits for its own side.
struct Waiting {
    memory: Arc<Withheld>,
    /// Does it.
    transfer: WaitingCall,
}

impl Waiting {
    /// Returns once the pages are pinned.
    fn begin(transfer: PeerTransfer) -> io::Result<Self> {
        let memory = Arc::new(Withheld::new(0, transfer.len)?);
        let lent = Arc::clone(&memory);
        let transfer = until_it_waits(memory.asked(), move || {
            let PeerTransfer { pid, address, direction, .. } = transfer;
            sys::transfer(&lent, pid, address, direction)
        })?;
        Ok(Self { memory, transfer })
    }

    /// Lets it go on with memory full of `byte`: what the memory holds in the end.
    fn end(self, byte: u8) -> io::Result<Content> {
        self.memory.provide(byte)?;
        let moved = joined(self.transfer)?;
        let bytes = self.memory.bytes();
        if moved != bytes.len() as u64 {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(Content::of(bytes))
    }
}

mod sys {
    //! Transfers between memory that is withheld and another process's.

    #![allow(unsafe_code, reason = "calls that have no safe wrapper")]

    use std::io;

    use crate::action::Direction;
    use crate::system::kernel::sys::Withheld;

    /// Moves memory of process `pid` to `memory`, or what is there to that; how many bytes.
    pub(super) fn transfer(
        memory: &Withheld,
        pid: i32,
        address: u64,
        direction: Direction,
    ) -> io::Result<u64> {
        let len = memory.len() as usize;
        let own = libc::iovec { iov_base: memory.address() as *mut _, iov_len: len };
        let other = libc::iovec { iov_base: address as *mut _, iov_len: len };
        let call = match direction {
            Direction::FromMemory => libc::process_vm_readv,
            Direction::IntoMemory => libc::process_vm_writev,
        };
        // SAFETY: the own side is ours for as long as `memory` lives and is read by nobody before the end of
        // this; the other side is mapped by the caller for such transfers.
        let moved = unsafe { call(pid, &raw const own, 1, &raw const other, 1, 0) };
        u64::try_from(moved).map_err(|_| io::Error::last_os_error())
    }
}
