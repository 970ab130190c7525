//! A pin's life: what a task does to take it, what holds it meanwhile, and what lets it go.
//!
//! The controller prepares what a pin takes and keeps its side of it ([`KernelSystem::equip`]), and lets it
//! go ([`KernelSystem::let_go`]); the task takes it ([`Actor::pin`]) and collects the end of direct I/O.
//! How each kind does that, a file of its own says.

mod call;
mod direct;
mod fuse;
mod pipe;
mod remote;
mod zerocopy;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::direct::Flight;
use self::remote::Peer;
use super::actor::Actor;
use super::bench::trouble;
use super::sys::Mapping;
use super::{KernelSystem, PATIENCE, task};
use crate::action::{Action, Content, MapId, PinId, PinKind, Span, TaskId};
use crate::system::{OpId, Tried, Trouble};

/// How pages are pinned in one way.
trait Means {
    /// Whether pages can be pinned so here; why not.
    fn offered(&self, _kernel: &mut KernelSystem) -> Result<(), String> {
        Ok(())
    }

    /// The controller's part, before there is a pin of `len` bytes.
    fn prepare(&self, kernel: &mut KernelSystem, len: u64) -> Tried<Prepared>;

    /// The task's part: pins the pages.
    fn take(&self, actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()>;
}

/// What a pin takes.
#[derive(Default)]
struct Prepared {
    /// Who holds it; nobody here if its task keeps it.
    holder: Option<Box<dyn Holder>>,
    /// What the task takes it with.
    theirs: Vec<OwnedFd>,
}

/// The controller's side of a pin.
trait Holder: Debug + Send {
    /// Lets go of it. What went through it, if that is known then: else once its task has reaped it.
    fn release(&mut self, patience: Duration) -> Tried<Option<Content>>;

    /// Whether the references are dropped before [`Self::release`] returns.
    fn drops_at_once(&self) -> bool;

    /// What went through it, once its task has reaped it.
    fn content(&self) -> Tried<Option<Content>> {
        Ok(None)
    }

    /// Gives back what only the controller can.
    fn give_up(self: Box<Self>, _kernel: &mut KernelSystem) -> io::Result<()> {
        Ok(())
    }
}

/// The pages of one pin.
struct Pages {
    pin: PinId,
    mapping: Arc<Mapping>,
    span: Span,
}

/// How far a pin is.
#[derive(Debug)]
enum PinStage {
    Held(Box<dyn Holder>),
    /// Let go, and to be reaped.
    Ending(Box<dyn Holder>),
    /// What went through it.
    Released(Content),
    /// The task keeps it.
    Kept(TaskId),
}

/// All pins of a case.
#[derive(Debug, Default)]
pub(super) struct HeldPins {
    stages: BTreeMap<PinId, PinStage>,
    peer: Option<Peer>,
}

fn means(kind: PinKind) -> Box<dyn Means> {
    match kind {
        PinKind::Splice => Box::new(pipe::Splice),
        PinKind::OwnPipe => Box::new(pipe::OwnPipe),
        PinKind::Direct { engine, direction, byte } => {
            Box::new(direct::Direct { engine, direction, byte })
        }
        PinKind::Remote { direction, byte } => Box::new(remote::Remote { direction, byte }),
        PinKind::Zerocopy => Box::new(zerocopy::Zerocopy),
        PinKind::Tee => Box::new(pipe::Tee),
        PinKind::Fuse { direction, byte } => Box::new(fuse::Fuse { direction, byte }),
    }
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
        means(kind).take(self, &Pages { pin, mapping, span }, fds)
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

impl KernelSystem {
    /// Whether pages can be pinned so.
    pub(super) fn offers_pin(&mut self, kind: PinKind) -> Result<(), String> {
        means(kind).offered(self)
    }

    /// What `action` of `task` needs to be sent along: our side of a pin or device stays here.
    pub(super) fn equip(&mut self, task: TaskId, action: &Action) -> Tried<Vec<OwnedFd>> {
        let (pin, len, kind) = match action {
            Action::Pin { pin, span, kind, .. } => (*pin, span.len, *kind),
            Action::DirectLoad { .. } => return Ok(vec![self.bench().slow()?]),
            _ => return self.equip_held(task, action),
        };
        let prepared = means(kind).prepare(self, len)?;
        let stage = prepared.holder.map_or(PinStage::Kept(task), PinStage::Held);
        self.pins.stages.insert(pin, stage);
        Ok(prepared.theirs)
    }

    /// `pin` was refused, so nobody holds it. The pages that came before the one that could not be
    /// had may still lie in the pipe, and go with it.
    pub(super) fn refused(&mut self, pin: PinId) -> Tried<()> {
        match self.pins.stages.remove(&pin) {
            Some(PinStage::Held(holder) | PinStage::Ending(holder)) => {
                holder.give_up(self).map_err(trouble("the held device"))
            }
            _ => Ok(()),
        }
    }

    /// Whether any pin may still be held, `op` aside.
    pub(super) fn holds(&self, op: OpId) -> bool {
        let is_there = |task: &TaskId| self.tasks.get(task).is_some_and(|task| !task.gone);
        let held = self.pins.stages.values().any(|stage| match stage {
            // The pin goes with the process.
            PinStage::Kept(task) => is_there(task),
            PinStage::Held(_) => true,
            PinStage::Ending(_) | PinStage::Released(_) => false,
        });
        // What a script or a load has pinned, only its task knows.
        held || self.operations.iter().any(|(other, operation)| {
            *other != op
                && operation.done.is_none()
                && matches!(operation.action, Action::Run(_) | Action::DirectLoad { .. })
                && is_there(&operation.task)
        })
    }

    /// Whether the release of `pin` drops its references before it returns.
    pub(super) fn is_let_go_at_once(&self, pin: PinId) -> bool {
        matches!(self.pins.stages.get(&pin), Some(PinStage::Held(holder)) if holder.drops_at_once())
    }

    /// As [`crate::system::System::release`].
    pub(super) fn let_go(&mut self, pin: PinId) -> Tried<u64> {
        self.stirred += 1;
        let (patience, before) = (self.setup.patience.of(PATIENCE), task::now());
        let refuse = |why: &str| {
            let what = format!("the release of pin {}", pin.0);
            Err(Trouble::Machinery { what, why: why.to_owned() })
        };
        let holder = match self.pins.stages.get_mut(&pin) {
            Some(PinStage::Held(holder)) => holder,
            Some(PinStage::Kept(_)) => return refuse("its task keeps it"),
            Some(PinStage::Ending(_) | PinStage::Released(_)) => {
                return refuse("it was released before");
            }
            None => return refuse("there is no such pin"),
        };
        let content = holder.release(patience)?;
        if let Some(PinStage::Held(holder)) = self.pins.stages.remove(&pin) {
            // With a holder that is done goes what it has left, as the rest in a pipe.
            let stage = content.map_or(PinStage::Ending(holder), PinStage::Released);
            self.pins.stages.insert(pin, stage);
        }
        Ok(before)
    }

    /// Lets go of every pin that is held here. Whether there was one.
    pub(super) fn let_all_go(&mut self) -> Tried<bool> {
        let held = self.pins.stages.iter().filter(|(_, stage)| matches!(stage, PinStage::Held(_)));
        let pins: Vec<_> = held.map(|(pin, _)| *pin).collect();
        for pin in &pins {
            self.let_go(*pin)?;
        }
        Ok(!pins.is_empty())
    }

    /// Gives up all pins at the end of a case. Held I/O goes before anything else ends: a process
    /// with direct I/O in flight cannot end before it completes.
    pub(super) fn give_up(&mut self) {
        for stage in std::mem::take(&mut self.pins).stages.into_values() {
            if let PinStage::Held(holder) | PinStage::Ending(holder) = stage
                && let Err(error) = holder.give_up(self)
            {
                eprintln!("a held device: {error}");
            }
        }
    }

    /// As [`crate::system::System::transferred`].
    pub(super) fn content(&self, pin: PinId) -> Tried<Content> {
        let content = match self.pins.stages.get(&pin) {
            Some(PinStage::Released(content)) => Some(content.clone()),
            Some(PinStage::Ending(holder)) => holder.content()?,
            _ => None,
        };
        content.ok_or_else(|| Trouble::Machinery {
            what: format!("the content of pin {}", pin.0),
            why: "it is not released".to_owned(),
        })
    }
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
            PinKind::Tee,
            PinKind::Remote { direction: Direction::FromMemory, byte: b'z' },
            PinKind::Remote { direction: Direction::IntoMemory, byte: b'z' },
            PinKind::Fuse { direction: Direction::FromMemory, byte: b'z' },
            PinKind::Fuse { direction: Direction::IntoMemory, byte: b'z' },
        ];
        // A kernel without it, or one that keeps it from this user.
        let kinds: Vec<_> = kinds
            .into_iter()
            .filter(|kind| match system.offers(Need::Pin(*kind)) {
                Ok(()) => true,
                Err(why) => {
                    let named = ["userfaultfd: ", "MSG_ZEROCOPY: ", "FUSE: ", "no fuse: "];
                    assert!(named.iter().any(|name| why.starts_with(name)), "{kind}: {why}");
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
            if kind.is_reaped() {
                did(system, Action::Reap { pin: PinId(number) });
            }
            let (seen, page) = (if kind.writes() { "z" } else { "x" }, page(number.into()));
            assert_eq!(system.transferred(PinId(number)).unwrap().to_string(), seen, "{kind}");
            match did(system, Action::Load { map, span: page }) {
                Reply::Content(content) => assert_eq!(content.to_string(), seen, "{kind}"),
                other => panic!("{other}"),
            }
        }
    }
}
