//! A pin's life on the reference: how it is taken, what holds it, and what lets it go.

use nix::libc;
use reference::sync::Arc;
use reference::{Answer, Dropper, Errno, Failure, Pins, Ring, Task, Transfer};

use super::actor::{Commons, Worker};
use crate::action::{Content, MapId, PinEnd, PinId, PinKind, Span};

/// A pin that the case can release, in each of its states.
#[derive(Debug)]
pub(super) enum PinState {
    /// In something that lets go of it when it is told to.
    Held { pins: Pins, kind: PinKind },
    /// In direct I/O that the device withholds.
    Direct(Transfer),
    /// In direct I/O that the device may complete.
    Submitted(Arc<Ring>),
    /// Gone; what went through it.
    Over(Content),
    /// A process has it for itself.
    OwnPipe(u32, Option<Pins>),
}

impl Worker {
    /// Pins bytes of a mapping.
    pub(super) fn pin(&self, map: MapId, span: Span, write: bool) -> Answer<Pins> {
        let vma = self.vma(map)?;
        let span = (span.at, span.len);
        self.shared.fs.pin(&self.task, &self.process.mm, &vma, span, write)
    }

    /// Pins bytes of a mapping, to be let go by the name `pin`.
    pub(super) fn take(&self, pin: PinId, map: MapId, span: Span, kind: PinKind) -> Answer<()> {
        let (direction, byte) = (kind.direction(), kind.byte());
        let pins = self.pin(map, span, kind.writes())?;
        let held = match kind.end() {
            PinEnd::Release => PinState::Held { pins, kind },
            PinEnd::Device => {
                PinState::Direct(Transfer { pins, direction, byte, tag: 0, ring: Arc::default() })
            }
            PinEnd::Process => PinState::OwnPipe(self.process.number, Some(pins)),
        };
        self.shared.pins.with(|pins| pins.insert(pin, held));
        Ok(())
    }

    /// Takes the pins that the process keeps to itself.
    pub(super) fn process_pins(&self) -> Vec<Pins> {
        self.shared.pins.with(|pins| {
            pins.values_mut()
                .filter_map(|pin| match pin {
                    PinState::OwnPipe(process, held) if *process == self.process.number => {
                        held.take()
                    }
                    _ => None,
                })
                .collect()
        })
    }

    /// Waits for the end of direct I/O that was let go; the bytes transferred.
    pub(super) fn reap(&self, pin: PinId) -> Answer<u64> {
        let ring = self.shared.pins.with(|pins| match pins.get(&pin) {
            Some(PinState::Direct(transfer)) => Some(Arc::clone(&transfer.ring)),
            Some(PinState::Submitted(ring)) => Some(Arc::clone(ring)),
            _ => None,
        });
        let (_, bytes) = ring.ok_or(Failure::Errno(Errno(libc::ENOENT)))?.reap(&self.task)?;
        self.shared.pins.with(|pins| pins.insert(pin, PinState::Over(Content::of(&bytes))));
        Ok(bytes.len() as u64)
    }
}

impl Commons {
    /// Has `hand` let go of a pin. Whether that can be done from here.
    pub(super) fn let_go(&self, hand: &Task, pin: PinId) -> bool {
        let put = |state| self.pins.with(|pins| pins.insert(pin, state));
        match self.pins.with(|pins| pins.remove(&pin)) {
            Some(PinState::Held { pins, kind }) => {
                let moved = self.fs.transfer(hand, &pins, kind.direction(), kind.byte());
                let content = Content::of(&moved);
                // unpin_user_page() is the device's way, whoever takes it.
                let dropper = if kind.is_reference() { Dropper::Process } else { Dropper::Device };
                self.fs.unpin(hand, &pins, dropper);
                put(PinState::Over(content));
                true
            }
            Some(PinState::Direct(transfer)) => {
                put(PinState::Submitted(Arc::clone(&transfer.ring)));
                self.fs.device.submit(transfer);
                true
            }
            Some(other) => {
                put(other);
                false
            }
            None => false,
        }
    }

    /// What went through a pin that is gone.
    pub(super) fn content(&self, pin: PinId) -> Option<Content> {
        self.pins.with(|pins| match pins.get(&pin) {
            Some(PinState::Over(content)) => Some(content.clone()),
            _ => None,
        })
    }
}
