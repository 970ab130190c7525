//! A pin's life: what a task does to take it, what holds it meanwhile, and what lets it go.
//!
//! The controller prepares what a pin takes and keeps its side of it ([`KernelSystem::equip`]), and lets it
//! go ([`KernelSystem::let_go`]); the task takes it ([`Actor::pin`]) and collects the end of direct I/O.

mod direct;
mod remote;
mod zerocopy;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno as Raw;
use nix::fcntl::{FcntlArg, OFlag};

pub(super) use self::direct::Flight;
use self::remote::Peer;
use self::zerocopy::Connection;
use super::actor::Actor;
use super::bench::{HeldSlice, trouble};
use super::{KernelSystem, PATIENCE, task};
use crate::action::{Action, Content, Engine, MapId, PAGE, PinId, PinKind, Span, TaskId};
use crate::system::{Need, OpId, System as _, Tried, Trouble};

/// Who holds a pin.
#[derive(Debug)]
enum Holder {
    /// The only reader of the pipe.
    Pipe {
        reader: OwnedFd,
        len: u64,
    },
    Device(HeldSlice),
    /// Another process, and what it fills the pages with at release.
    Peer {
        line: OwnedFd,
        byte: u8,
    },
    /// A socket that is sending them.
    Socket(Connection),
    /// Read out of the pipe or the socket, or told by the peer, at release.
    Released(Content),
    /// The task keeps it.
    Task(TaskId),
}

impl Holder {
    /// Whether it is held on this side.
    fn is_ours(&self) -> bool {
        match self {
            Self::Pipe { .. } | Self::Peer { .. } | Self::Socket(_) => true,
            Self::Device(slice) => !slice.is_resumed(),
            Self::Released(_) | Self::Task(_) => false,
        }
    }
}

/// All pins of a case.
#[derive(Debug, Default)]
pub(super) struct HeldPins {
    holders: BTreeMap<PinId, Holder>,
    peer: Option<Peer>,
}

impl Actor {
    /// Pins `span` of a mapping, with what [`KernelSystem::equip`] sent along.
    pub(super) fn pin(
        &self,
        pin: PinId,
        map: MapId,
        span: Span,
        kind: PinKind,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mapping = self.mapping(map)?;
        match kind {
            PinKind::Splice => mapping.splice(span, sent(fds)?.as_fd()),
            PinKind::OwnPipe => {
                let ends = pipe(span.len)?;
                mapping.splice(span, ends[1].as_fd())?;
                self.tables().kept.extend(ends);
                Ok(())
            }
            PinKind::Direct { engine, direction, .. } => {
                let ends = (sent(fds)?, mapping.buffer(span)?);
                let flight = Flight::begin(engine, direction, ends, self.patience)?;
                self.tables().flights.insert(pin, flight);
                Ok(())
            }
            PinKind::Remote { direction, .. } => {
                remote::take(&sent(fds)?, &mapping.buffer(span)?, direction)
            }
            PinKind::Zerocopy => zerocopy::take(&sent(fds)?, &mapping.buffer(span)?),
        }
    }

    /// Waits for the end of direct I/O that was let go; the bytes transferred.
    pub(super) fn reap(&self, pin: PinId) -> io::Result<u64> {
        let flight = self.tables().flights.remove(&pin);
        flight.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?.reap()
    }
}

/// The descriptor that the controller sent along.
pub(super) fn sent(fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    fds.into_iter().next().ok_or_else(|| io::Error::other("the action came without its descriptor"))
}

/// Both ends of a pipe that can have all pages of `len` bytes.
fn pipe(len: u64) -> io::Result<[OwnedFd; 2]> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&writer, FcntlArg::F_SETPIPE_SZ(len.max(PAGE) as i32))?;
    Ok([reader, writer])
}

impl KernelSystem {
    /// Whether pages can be pinned so.
    pub(super) fn offers_pin(&mut self, kind: PinKind) -> Result<(), String> {
        match kind {
            PinKind::Splice | PinKind::OwnPipe => Ok(()),
            PinKind::Direct { engine, .. } => {
                self.offers(Need::HeldIo)?;
                match engine {
                    Engine::Aio => Ok(()),
                    Engine::Uring => self.offers(Need::Uring),
                }
            }
            PinKind::Remote { .. } => {
                if self.pins.peer.is_none() {
                    let peer = Peer::new(self.setup.patience)
                        .map_err(|error| format!("userfaultfd: {error}"))?;
                    self.pins.peer = Some(peer);
                }
                Ok(())
            }
            PinKind::Zerocopy => {
                Connection::open().map(drop).map_err(|error| format!("MSG_ZEROCOPY: {error}"))
            }
        }
    }

    /// What `action` of `task` needs to be sent along: our side of a pin or device stays here.
    pub(super) fn equip(&mut self, task: TaskId, action: &Action) -> Tried<Vec<OwnedFd>> {
        let (pin, len, kind) = match action {
            Action::Pin { pin, span, kind, .. } => (*pin, span.len, *kind),
            Action::DirectLoad { .. } => return Ok(vec![self.bench().slow()?]),
            _ => return Ok(Vec::new()),
        };
        let (ours, theirs) = match kind {
            PinKind::Splice => {
                let [reader, writer] = pipe(len).map_err(trouble("a pipe"))?;
                nix::fcntl::fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                    .map_err(|error| trouble("a pipe")(error.into()))?;
                (Holder::Pipe { reader, len }, Some(writer))
            }
            PinKind::OwnPipe => (Holder::Task(task), None),
            PinKind::Direct { byte, .. } => {
                let (slice, device) = self.bench().hold(len, byte)?;
                (Holder::Device(slice), Some(device))
            }
            PinKind::Remote { byte, .. } => {
                let Some(peer) = &self.pins.peer else {
                    return Err(Trouble::Machinery {
                        what: format!("a pin by {kind}"),
                        why: "it was not checked whether it is offered".to_owned(),
                    });
                };
                let [line, theirs] = peer.line().map_err(trouble("the peer"))?;
                (Holder::Peer { line, byte }, Some(theirs))
            }
            PinKind::Zerocopy => {
                let patience = self.setup.patience.of(PATIENCE);
                let (ours, theirs) =
                    Connection::filled(len, patience).map_err(trouble("a full connection"))?;
                (Holder::Socket(ours), Some(theirs))
            }
        };
        self.pins.holders.insert(pin, ours);
        Ok(theirs.into_iter().collect())
    }

    /// `pin` was refused, so nobody holds it. The pages that came before the one that could not be
    /// had may still lie in the pipe, and go with it.
    pub(super) fn refused(&mut self, pin: PinId) -> Tried<()> {
        if let Some(Holder::Device(slice)) = self.pins.holders.remove(&pin) {
            self.bench().give_back(slice).map_err(trouble("the held device"))?;
        }
        Ok(())
    }

    /// Whether any pin may still be held, `op` aside.
    pub(super) fn holds(&self, op: OpId) -> bool {
        let is_there = |task: &TaskId| self.tasks.get(task).is_some_and(|task| !task.gone);
        let held = self.pins.holders.values().any(|holder| match holder {
            // The pin goes with the process.
            Holder::Task(task) => is_there(task),
            other => other.is_ours(),
        });
        // What a script or a load has pinned, only its task knows.
        held || self.operations.iter().any(|(other, operation)| {
            *other != op
                && operation.done.is_none()
                && matches!(operation.action, Action::Run(_) | Action::DirectLoad { .. })
                && is_there(&operation.task)
        })
    }

    /// Whether the release of `pin` drops its references before it returns. The end of direct
    /// I/O comes in its own time, and a socket says that it is done just before it drops its own.
    pub(super) fn is_let_go_at_once(&self, pin: PinId) -> bool {
        matches!(self.pins.holders.get(&pin), Some(Holder::Pipe { .. } | Holder::Peer { .. }))
    }

    /// As [`crate::system::System::release`].
    pub(super) fn let_go(&mut self, pin: PinId) -> Tried<u64> {
        self.stirred += 1;
        let (patience, before) = (self.setup.patience.of(PATIENCE), task::now());
        let refuse = |why: &str| {
            let what = format!("the release of pin {}", pin.0);
            Err(Trouble::Machinery { what, why: why.to_owned() })
        };
        let Some(holder) = self.pins.holders.get_mut(&pin) else {
            return refuse("there is no such pin");
        };
        let content = match holder {
            Holder::Pipe { reader, len } => drain(reader, *len).map_err(trouble("a pipe"))?,
            Holder::Peer { line, byte } => remote::release(line, *byte, patience)?,
            Holder::Socket(connection) => connection.release(patience)?,
            Holder::Device(slice) => {
                slice.resume().map_err(trouble("the held device"))?;
                return Ok(before);
            }
            Holder::Task(_) => return refuse("its task keeps it"),
            Holder::Released(_) => return refuse("it was released before"),
        };
        // With the reader goes what is left in the pipe.
        *holder = Holder::Released(content);
        Ok(before)
    }

    /// Lets go of every pin that is held here. Whether there was one.
    pub(super) fn let_all_go(&mut self) -> Tried<bool> {
        let ours = self.pins.holders.iter().filter(|(_, holder)| holder.is_ours());
        let pins: Vec<_> = ours.map(|(pin, _)| *pin).collect();
        for pin in &pins {
            self.let_go(*pin)?;
        }
        Ok(!pins.is_empty())
    }

    /// Gives up all pins at the end of a case. Held I/O goes before anything else ends: a process
    /// with direct I/O in flight cannot end before it completes.
    pub(super) fn give_up(&mut self) {
        for holder in std::mem::take(&mut self.pins).holders.into_values() {
            if let Holder::Device(slice) = holder {
                let given = self.bench().give_back(slice);
                if let Err(error) = given {
                    eprintln!("a held device: {error}");
                }
            }
        }
    }

    /// As [`crate::system::System::transferred`].
    pub(super) fn content(&self, pin: PinId) -> Tried<Content> {
        match self.pins.holders.get(&pin) {
            Some(Holder::Released(content)) => Ok(content.clone()),
            Some(Holder::Device(slice)) => slice.content().map_err(trouble("the held device")),
            _ => Err(Trouble::Machinery {
                what: format!("the content of pin {}", pin.0),
                why: "it is not released".to_owned(),
            }),
        }
    }
}

fn drain(reader: &OwnedFd, len: u64) -> io::Result<Content> {
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match nix::unistd::read(reader, &mut bytes[filled..]) {
            Ok(0) | Err(Raw::EAGAIN) => break,
            Ok(count) => filled += count,
            Err(Raw::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Content::of(&bytes[..filled]))
}

#[cfg(test)]
mod tests {
    use crate::action::{
        Action, Direction, FileId, MapId, Medium, PinId, PinKind, Reply, Sharing, page, pages,
    };
    use crate::patience::Patience;
    use crate::system::kernel::{KernelSetup, Owner, open};
    use crate::system::{MAIN, Need, System};

    fn did(system: &mut dyn System, action: Action) -> Reply {
        let op = system.start(MAIN, action).unwrap();
        system.wait(op).unwrap().result.unwrap()
    }

    #[test]
    fn what_is_stored_before_the_release_goes_through_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, patience) = (folder.path().to_owned(), Patience::default());
        let setup = KernelSetup { directory, patience, spare: None };
        let mut system = open(&setup, Owner::here().unwrap(), Err("none".to_owned())).unwrap();
        let system = system.as_mut();
        let kinds = [
            PinKind::Splice,
            PinKind::Zerocopy,
            PinKind::Remote { direction: Direction::FromMemory, byte: b'z' },
            PinKind::Remote { direction: Direction::IntoMemory, byte: b'z' },
        ];
        // A kernel without it, or one that keeps it from this user.
        let kinds: Vec<_> = kinds
            .into_iter()
            .filter(|kind| match system.offers(Need::Pin(*kind)) {
                Ok(()) => true,
                Err(why) => {
                    let named =
                        why.starts_with("userfaultfd: ") || why.starts_with("MSG_ZEROCOPY: ");
                    assert!(named, "{kind}: {why}");
                    false
                }
            })
            .collect();
        let (file, map, name) = (FileId(1), MapId(1), "data".to_owned());
        let fill = vec![b'a'; kinds.len()];
        did(system, Action::Create { file, name, medium: Medium::Dax, fill });
        let span = pages(0, kinds.len() as u64);
        did(system, Action::Map { map, file, span, sharing: Sharing::Shared });
        for (number, kind) in (0..).zip(&kinds) {
            let (pin, span) = (PinId(number), page(number.into()));
            did(system, Action::Pin { pin, map, span, kind: *kind });
        }
        did(system, Action::Store { map, span, byte: b'x' });
        for (number, kind) in (0..).zip(&kinds) {
            system.release(PinId(number)).unwrap();
            let (seen, page) = (if kind.writes() { "z" } else { "x" }, page(number.into()));
            assert_eq!(system.transferred(PinId(number)).unwrap().to_string(), seen, "{kind}");
            match did(system, Action::Load { map, span: page }) {
                Reply::Content(content) => assert_eq!(content.to_string(), seen, "{kind}"),
                other => panic!("{other}"),
            }
        }
    }
}
