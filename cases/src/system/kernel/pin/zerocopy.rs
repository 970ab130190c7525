//! Pins of pages that a socket is to send: send(2) with MSG_ZEROCOPY, to a peer that does not read.
//!
//! TCP keeps the pages until the peer has acknowledged them, and a peer whose window is full gets none.
//! Over loopback nobody else keeps them, since what arrives there is a copy (`skb_orphan_frags_rx()`).
//! That the window is full, and that the kernel is done with the pages, is asked and not timed.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Holder, Means, Pages, Prepared, sent};
use crate::action::{Content, PAGE};
use crate::patience::pause;
use crate::system::kernel::actor::Actor;
use crate::system::kernel::bench::trouble;
use crate::system::kernel::{KernelSystem, PATIENCE};
use crate::system::{Tried, Trouble};

/// To a peer that does not read.
pub(super) struct Zerocopy;

impl Means for Zerocopy {
    fn offered(&self, _kernel: &mut KernelSystem) -> Result<(), String> {
        Connection::open().map(drop).map_err(|error| format!("MSG_ZEROCOPY: {error}"))
    }

    fn prepare(&self, kernel: &mut KernelSystem, len: u64) -> Tried<Prepared> {
        let patience = kernel.setup.patience.of(PATIENCE);
        let (ours, theirs) =
            Connection::filled(len, patience).map_err(trouble("a full connection"))?;
        Ok(Prepared { holder: Some(Box::new(ours)), theirs: vec![theirs] })
    }

    fn take(&self, _actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        let (socket, buffer) = (sent(fds)?, pages.mapping.buffer(pages.span)?);
        // A page that could not be had ends it early.
        if sys::send(&socket, &buffer)? < buffer.len() {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
        let (_, unsent) = sys::queued(&socket)?;
        if unsent < buffer.len() {
            return Err(io::Error::other("pages were sent to a peer whose window was full"));
        }
        Ok(())
    }
}

/// Bytes that the peer takes without being read; the kernel doubles them.
const WINDOW: usize = 16 << 10;

/// Bytes of a segment: a window is full once it has no room for one.
const SEGMENT: u32 = 1 << 10;

/// Segments that must lie before the pages, so that no probe of the window reaches those.
const AHEAD: u64 = 2 * SEGMENT as u64;

/// The case's side of a pin: both ends of a connection, whose sending end the task has as well.
#[derive(Debug)]
struct Connection {
    sender: TcpStream,
    receiver: TcpStream,
    /// Bytes that fill the window, and wait before the pages.
    filler: u64,
    /// Bytes of the pages.
    len: u64,
}

impl Connection {
    /// One that can send pages, with nothing in it.
    fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&listener, sockopt::RcvBuf, &WINDOW)?;
        setsockopt(&listener, sockopt::TcpMaxSeg, &SEGMENT)?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let (receiver, _) = listener.accept()?;
        setsockopt(&sender, sockopt::SndBuf, &WINDOW)?;
        setsockopt(&sender, sys::ZeroCopy, &true)?;
        sender.set_nonblocking(true)?;
        Ok(Self { sender, receiver, filler: 0, len: 0 })
    }

    /// One whose window is full and that has room for `len` bytes behind that; the end of the task.
    fn filled(len: u64, patience: Duration) -> io::Result<(Self, OwnedFd)> {
        let mut connection = Self { len, ..Self::open()? };
        connection.fill(patience)?;
        let room = usize::try_from(2 * len).map_err(io::Error::other)? + (1 << 20);
        setsockopt(&connection.sender, sockopt::SndBufForce, &room)?;
        let theirs = connection.sender.as_fd().try_clone_to_owned()?;
        Ok((connection, theirs))
    }

    fn fill(&mut self, patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match self.sender.write(&[0; PAGE as usize]) {
                Ok(count) => self.filler += count as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if is_full(&self.sender)? {
                        return Ok(());
                    }
                    if begun.elapsed() > patience {
                        return Err(io::Error::other(
                            "the window of a peer that does not read stays open",
                        ));
                    }
                    std::thread::sleep(pause(begun.elapsed()));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Holder for Connection {
    /// Reads all of it, and waits until the kernel is done with the pages: what they held.
    fn release(&mut self, patience: Duration) -> Tried<Option<Content>> {
        let what = "the end of a MSG_ZEROCOPY send";
        let stuck = || {
            let (what, seconds) = (what.to_owned(), patience.as_secs());
            Err(Trouble::Stuck { what, seconds, state: String::new() })
        };
        let mut bytes = vec![0; (self.filler + self.len) as usize];
        self.receiver.set_read_timeout(Some(patience)).map_err(trouble(what))?;
        match self.receiver.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return stuck(),
            read => read.map_err(trouble(what))?,
        }
        let begun = Instant::now();
        while !sys::is_done(&self.sender).map_err(trouble(what))? {
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return stuck();
            }
            // POLLERR, which is always asked for.
            let mut events = [PollFd::new(self.sender.as_fd(), PollFlags::empty())];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut events, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(trouble(what)(errno.into())),
            }
        }
        Ok(Some(Content::of(&bytes[self.filler as usize..])))
    }

    // It says that it is done just before it drops its references.
    fn drops_at_once(&self) -> bool {
        false
    }
}

/// Whether the peer has taken all that was sent, and has no room for the rest.
fn is_full(sender: &TcpStream) -> io::Result<bool> {
    let (unacknowledged, unsent) = sys::queued(sender)?;
    Ok(unacknowledged == unsent && unsent >= AHEAD)
}

mod sys {
    //! What MSG_ZEROCOPY needs of sockets: Documentation/networking/msg_zerocopy.rst.

    #![allow(unsafe_code, reason = "raw memory, and calls that have no safe wrapper")]

    use std::io;
    use std::os::fd::{AsFd, AsRawFd};

    use nix::errno::Errno;
    use nix::sys::socket::sockopt::SetBool;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};

    use crate::system::kernel::sys::Buffer;

    /// Whether send(2) heeds MSG_ZEROCOPY.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct ZeroCopy;

    nix::setsockopt_impl!(ZeroCopy, libc::SOL_SOCKET, libc::SO_ZEROCOPY, bool, SetBool);

    /// `SO_EE_ORIGIN_ZEROCOPY`.
    const ZEROCOPY: u8 = 5;

    nix::ioctl_read_bad!(siocoutq, libc::TIOCOUTQ, libc::c_int);
    // SIOCOUTQNSD.
    nix::ioctl_read_bad!(siocoutqnsd, 0x894b, libc::c_int);

    /// Bytes that the peer has not acknowledged, and those of them that were not sent.
    pub(super) fn queued(socket: &impl AsRawFd) -> io::Result<(u64, u64)> {
        let (mut unacknowledged, mut unsent) = (0, 0);
        // SAFETY: the kernel writes one integer to each.
        unsafe {
            siocoutq(socket.as_raw_fd(), &raw mut unacknowledged)?;
            siocoutqnsd(socket.as_raw_fd(), &raw mut unsent)?;
        }
        Ok((unacknowledged as u64, unsent as u64))
    }

    /// Sends `buffer` without a copy; how many bytes of it.
    pub(super) fn send(socket: &impl AsRawFd, buffer: &Buffer) -> io::Result<u64> {
        let (start, flags) = (buffer.address as *const libc::c_void, libc::MSG_ZEROCOPY);
        // SAFETY: the buffer is mapped as long as it lives. The kernel reads it later, too, and keeps
        // the pages for that by itself.
        let sent = unsafe { libc::send(socket.as_raw_fd(), start, buffer.len() as usize, flags) };
        u64::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Whether the kernel has said since this was asked last that it is done with pages that were
    /// sent.
    pub(super) fn is_done(socket: &impl AsFd) -> io::Result<bool> {
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_fd().as_raw_fd();
        let said = match recvmsg::<SockaddrIn>(fd, &mut [], Some(&mut space), flags) {
            Ok(said) => said,
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        for message in said.cmsgs()? {
            if let ControlMessageOwned::Ipv4RecvErr(error, _) = message
                && error.ee_origin == ZEROCOPY
            {
                return match error.ee_errno {
                    0 => Ok(true),
                    errno => Err(io::Error::from_raw_os_error(errno as i32)),
                };
            }
        }
        Ok(false)
    }
}
