//! A pin's life on the controller's side: what holds it, and what lets it go.
//!
//! How a task takes it is [`super::flight`]'s.

mod remote;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno as Raw;
use nix::fcntl::{FcntlArg, OFlag};

use self::remote::Peer;
use super::bench::{HeldSlice, trouble};
use super::sys::Mapping;
use super::{Kernel, PATIENCE, task};
use crate::action::{Action, Content, Engine, PAGE, PinId, PinKind, Span, TaskId};
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
    /// Read out of the pipe, or told by the peer, at release.
    Released(Content),
    /// The task keeps it.
    Task(TaskId),
}

/// All pins of a case.
#[derive(Debug, Default)]
pub(super) struct Pins {
    holders: BTreeMap<PinId, Holder>,
    peer: Option<Peer>,
}

/// Takes a pin of which its task keeps nothing, with what [`Kernel::equip`] sent along.
pub(super) fn take(
    mapping: &Arc<Mapping>,
    span: Span,
    kind: PinKind,
    sent: &OwnedFd,
) -> io::Result<()> {
    match kind {
        PinKind::Splice => mapping.splice(span, sent.as_fd()),
        PinKind::Remote { direction, .. } => remote::take(sent, &mapping.buffer(span)?, direction),
        PinKind::OwnPipe | PinKind::Direct { .. } => {
            Err(io::Error::other("its task keeps a part of this pin"))
        }
    }
}

impl Kernel {
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
                    let peer = Peer::new(self.config.patience)
                        .map_err(|error| format!("userfaultfd: {error}"))?;
                    self.pins.peer = Some(peer);
                }
                Ok(())
            }
        }
    }

    /// What `action` of `task` needs to be sent along: our side of a pin or device stays here.
    pub(super) fn equip(&mut self, task: TaskId, action: &Action) -> Tried<Vec<OwnedFd>> {
        match action {
            Action::Pin { pin, kind: PinKind::OwnPipe, .. } => {
                self.pins.holders.insert(*pin, Holder::Task(task));
                Ok(Vec::new())
            }
            Action::Pin { pin, span, kind: PinKind::Splice, .. } => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
                    .map_err(|error| trouble("a pipe")(error.into()))?;
                let size = span.len.max(PAGE) as i32;
                for command in [FcntlArg::F_SETPIPE_SZ(size), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)]
                {
                    nix::fcntl::fcntl(&reader, command)
                        .map_err(|error| trouble("a pipe's size")(error.into()))?;
                }
                self.pins.holders.insert(*pin, Holder::Pipe { reader, len: span.len });
                Ok(vec![writer])
            }
            Action::Pin { pin, span, kind: PinKind::Direct { byte, .. }, .. } => {
                let (slice, device) = self.bench().hold(span.len, *byte)?;
                self.pins.holders.insert(*pin, Holder::Device(slice));
                Ok(vec![device])
            }
            Action::Pin { pin, kind: kind @ PinKind::Remote { .. }, .. } => {
                let Some(peer) = &self.pins.peer else {
                    return Err(Trouble::Machinery {
                        what: format!("a pin by {kind}"),
                        why: "it was not checked whether it is offered".to_owned(),
                    });
                };
                let [line, theirs] = peer.line().map_err(trouble("the peer"))?;
                self.pins.holders.insert(*pin, Holder::Peer { line, byte: kind.byte() });
                Ok(vec![theirs])
            }
            Action::DirectLoad { .. } => Ok(vec![self.bench().slow()?]),
            _ => Ok(Vec::new()),
        }
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
        let held = self.pins.holders.values().any(|holder| match holder {
            Holder::Pipe { .. } | Holder::Peer { .. } => true,
            // The pin goes with the process.
            Holder::Task(task) => self.tasks.get(task).is_some_and(|task| !task.gone),
            Holder::Device(slice) => !slice.is_resumed(),
            Holder::Released(_) => false,
        });
        // What a script or a load has pinned, only its task knows.
        held || self.operations.iter().any(|(other, operation)| {
            *other != op
                && operation.done.is_none()
                && matches!(operation.action, Action::Run(_) | Action::DirectLoad { .. })
                && self.tasks.get(&operation.task).is_some_and(|task| !task.gone)
        })
    }

    /// Whether the release of `pin` drops its references before it returns. The end of direct
    /// I/O comes in its own time.
    pub(super) fn is_let_go_at_once(&self, pin: PinId) -> bool {
        matches!(self.pins.holders.get(&pin), Some(Holder::Pipe { .. } | Holder::Peer { .. }))
    }

    /// As [`crate::system::System::release`].
    pub(super) fn let_go(&mut self, pin: PinId) -> Tried<u64> {
        self.stirred += 1;
        let unknown = |why: &str| {
            Err(Trouble::Machinery {
                what: format!("the release of pin {}", pin.0),
                why: why.to_owned(),
            })
        };
        match self.pins.holders.remove(&pin) {
            Some(Holder::Pipe { reader, len }) => {
                let before = task::now();
                let content = drain(&reader, len).map_err(trouble("a pipe"))?;
                drop(reader);
                self.pins.holders.insert(pin, Holder::Released(content));
                Ok(before)
            }
            Some(Holder::Device(mut slice)) => {
                let before = task::now();
                slice.resume().map_err(trouble("the held device"))?;
                self.pins.holders.insert(pin, Holder::Device(slice));
                Ok(before)
            }
            Some(Holder::Peer { line, byte }) => {
                let before = task::now();
                let content = remote::release(&line, byte, self.config.patience.of(PATIENCE))?;
                self.pins.holders.insert(pin, Holder::Released(content));
                Ok(before)
            }
            Some(kept @ Holder::Task(_)) => {
                self.pins.holders.insert(pin, kept);
                unknown("its task keeps it")
            }
            Some(over @ Holder::Released(_)) => {
                self.pins.holders.insert(pin, over);
                unknown("it was released before")
            }
            None => unknown("there is no such pin"),
        }
    }

    /// Lets go of every pin that is held here. Whether there was one.
    pub(super) fn let_all_go(&mut self) -> Tried<bool> {
        let held = |holder: &Holder| match holder {
            Holder::Pipe { .. } | Holder::Peer { .. } => true,
            Holder::Device(slice) => !slice.is_resumed(),
            Holder::Released(_) | Holder::Task(_) => false,
        };
        let pins: Vec<_> = self
            .pins
            .holders
            .iter()
            .filter(|(_, holder)| held(holder))
            .map(|(pin, _)| *pin)
            .collect();
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
