//! What the case and its tasks say to each other.
//!
//! One sequenced-packet socket per task; a message is JSON, and may carry descriptors.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno as Raw;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair,
    sockopt,
};
// Unlike nix it hands received descriptors over with their ownership.
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags, recvmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bench::trouble;
use crate::action::{Action, FileId};
use crate::oracle::{BystanderSpec, Inspection, View};
use crate::system::{Done, Errno, Kinship, Tried};

/// The largest message: the content of a few MiB, sector by sector.
const LARGEST: usize = 1 << 19;

/// To a task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TaskRequest {
    /// Do this and report it under the number.
    Do(u32, Action),
    /// Make a new task that talks over the descriptor sent along.
    Spawn(Kinship),
    /// Do a round of the control experiment and report it under the number.
    Control(u32),
    /// Look at files of the case, and at some that nobody touches.
    Inspect(Vec<Inspection>, Vec<BystanderSpec>),
    /// Make a file that nobody touches, and look at it.
    Bystand(BystanderSpec),
    /// Close and unmap all that the process has.
    LetGo,
}

/// A file of the file system under test that was made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MadeFile {
    /// Which.
    pub(crate) file: FileId,
    /// By what the kernel knows it.
    pub(crate) inode: u64,
}

/// From a task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    /// It is there.
    Hello { pid: i32, tid: i32 },
    /// The numbered action ended, and made this file.
    Done(u32, Done, Option<MadeFile>),
    /// What was seen in files.
    Inspected(Result<View, Errno>),
    /// It could not make a new task.
    NoSpawn(Errno),
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { pid, tid } => write!(f, "task {tid} of process {pid} is there"),
            Self::Done(number, Done { result: Ok(_), .. }, _) => write!(f, "{number} is done"),
            Self::Done(number, Done { result: Err(errno), .. }, _) => {
                write!(f, "{number} was refused: {errno}")
            }
            Self::Inspected(Ok(_)) => f.write_str("it looked at the files"),
            Self::Inspected(Err(errno)) => write!(f, "it could not look at the files: {errno}"),
            Self::NoSpawn(errno) => write!(f, "no new task: {errno}"),
        }
    }
}

/// Two ends of a new socket.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    for end in [&a, &b] {
        // Beyond the system's limit, which root may exceed; if it cannot, a large message fails loudly.
        let _ = setsockopt(end, sockopt::SndBufForce, &(2 * LARGEST));
    }
    Ok((a, b))
}

/// Sends one message.
pub(crate) fn send(to: BorrowedFd<'_>, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(&bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message; `None` when the other end is gone. With `wait` unset, `WouldBlock` when there is
/// none yet.
pub(crate) fn receive<T: DeserializeOwned>(
    from: BorrowedFd<'_>,
    wait: bool,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let wait = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    // Nearly all messages are short: a buffer for the largest would cost more than the rest of it.
    // Without room for descriptors none is installed by a peek.
    let (mut none, peek) = (RecvAncillaryBuffer::default(), RecvFlags::PEEK | RecvFlags::TRUNC);
    let length = take(from, &mut [], &mut none, peek | wait)?.map_or(0, |message| message.bytes);
    let mut bytes = vec![0; length.min(LARGEST)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = match length {
        0 => None,
        _ => take(from, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC | wait)?,
    };
    let Some(message) = message else {
        return Ok(None);
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let (length, truncated) = (message.bytes, message.flags.contains(ReturnFlags::TRUNC));
    if length == 0 {
        return Ok(None);
    }
    if truncated {
        return Err(io::Error::other("a message was longer than the largest there is"));
    }
    Ok(Some((serde_json::from_slice(&bytes[..length])?, fds)))
}

/// recvmsg(2); `None` when the other end was killed with a message of ours unread.
fn take(
    from: BorrowedFd<'_>,
    bytes: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    flags: RecvFlags,
) -> io::Result<Option<RecvMsg>> {
    loop {
        match recvmsg(from, &mut [IoSliceMut::new(bytes)], control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => return Ok(Some(other?)),
        }
    }
}

/// Whether there is something to hear, having waited at most `wait`.
pub(super) fn readable(socket: &impl AsFd, wait: Duration) -> Tried<bool> {
    let limit = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], limit) {
        Ok(0) | Err(Raw::EINTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) => Err(trouble("poll")(error.into())),
    }
}

/// The same, whatever signals come.
pub(super) fn readable_until(socket: &impl AsFd, until: Instant) -> Tried<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if readable(socket, left)? {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_comes_whole_and_with_its_descriptors() {
        let (a, b) = pair().unwrap();
        let words = ["", "short", &"long".repeat(LARGEST / 8)];
        for (count, word) in words.iter().enumerate() {
            let sent = vec![a.as_raw_fd(); count];
            send(a.as_fd(), word, &sent).unwrap();
            let (got, fds) = receive::<String>(b.as_fd(), false).unwrap().unwrap();
            assert!(got == *word && fds.len() == count);
        }
        let empty = receive::<String>(b.as_fd(), false).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert!(receive::<String>(b.as_fd(), true).unwrap().is_none());
    }
}
