//! Pins by vmsplice(2): a pipe has the pages until it is read or closed.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};

use super::{Holder, Means, Pages, Prepared, sent};
use crate::action::{Content, PAGE};
use crate::system::Tried;
use crate::system::kernel::KernelSystem;
use crate::system::kernel::actor::Actor;
use crate::system::kernel::bench::trouble;

/// Into a pipe that only the controller reads.
pub(super) struct Splice;

impl Means for Splice {
    fn prepare(&self, _kernel: &mut KernelSystem, len: u64) -> Tried<Prepared> {
        let [reader, writer] = pipe(len).map_err(trouble("a pipe"))?;
        let holder = PipeReader::new(reader, len).map_err(trouble("a pipe"))?;
        Ok(Prepared { holder: Some(Box::new(holder)), theirs: vec![writer] })
    }

    fn take(&self, _actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        pages.mapping.splice(pages.span, sent(fds)?.as_fd())
    }
}

/// The same, by way of another pipe, whose own references are dropped before anything else is done.
pub(super) struct Tee;

impl Means for Tee {
    fn prepare(&self, kernel: &mut KernelSystem, len: u64) -> Tried<Prepared> {
        Splice.prepare(kernel, len)
    }

    fn take(&self, _actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        let [reader, writer] = pipe(pages.span.len)?;
        pages.mapping.splice(pages.span, writer.as_fd())?;
        let len = pages.span.len as usize;
        match nix::fcntl::tee(reader, sent(fds)?, len, SpliceFFlags::SPLICE_F_NONBLOCK)? {
            moved if moved == len => Ok(()),
            moved => Err(io::Error::other(format!("tee moved {moved} bytes of {len}"))),
        }
    }
}

/// Into a pipe that the task keeps.
pub(super) struct OwnPipe;

impl Means for OwnPipe {
    fn prepare(&self, _kernel: &mut KernelSystem, _len: u64) -> Tried<Prepared> {
        Ok(Prepared::default())
    }

    fn take(&self, actor: &Actor, pages: &Pages, _fds: Vec<OwnedFd>) -> io::Result<()> {
        let ends = pipe(pages.span.len)?;
        pages.mapping.splice(pages.span, ends[1].as_fd())?;
        actor.tables().kept.extend(ends);
        Ok(())
    }
}

/// The only reader of a pipe.
#[derive(Debug)]
struct PipeReader {
    reader: OwnedFd,
    len: u64,
}

impl PipeReader {
    /// One that never waits for what is not there.
    fn new(reader: OwnedFd, len: u64) -> io::Result<Self> {
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { reader, len })
    }
}

impl Holder for PipeReader {
    fn release(&mut self, _patience: Duration) -> Tried<Option<Content>> {
        drain(&self.reader, self.len).map(Some).map_err(trouble("a pipe"))
    }

    fn drops_at_once(&self) -> bool {
        true
    }
}

/// Both ends of a pipe that can have all pages of `len` bytes.
fn pipe(len: u64) -> io::Result<[OwnedFd; 2]> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(len.max(PAGE) as i32))?;
    Ok([reader, writer])
}

fn drain(reader: &OwnedFd, len: u64) -> io::Result<Content> {
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match nix::unistd::read(reader, &mut bytes[filled..]) {
            Ok(0) | Err(Errno::EAGAIN) => break,
            Ok(count) => filled += count,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Content::of(&bytes[..filled]))
}
