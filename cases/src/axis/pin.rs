//! Pins: each kind by name, how long it lasts, and what its holder sees.
//!
//! What is known of a kind whoever takes it stands in [`crate::kind`].

use super::value::{Value, value};
use crate::action::{Action, Direction, Engine, MapId, PinId, PinKind, Span, TaskId};
use crate::origin;
use crate::system::Need;
use crate::test::{Checked, Op, Test};

/// What all kinds of pins have in common, those that must be refused included.
pub(crate) trait AnyPin: Value {
    /// All kinds of its axis.
    const EACH: &'static [Self];

    /// Whether the page is written through it.
    fn writes(&self) -> bool;

    /// Whether the process that took it cannot end before it does.
    fn is_in_flight(&self) -> bool;
}

/// A kind of pin that lasts until it is released.
#[derive(Debug)]
pub(crate) struct Pin {
    name: &'static str,
    phrase: &'static str,
    needs: &'static [Need],
    origin: Option<&'static str>,
    kind: PinKind,
}

/// What a page gets, where it is written.
const DEVICE: u8 = b'z';

const fn direct(engine: Engine, direction: Direction) -> PinKind {
    PinKind::Direct { engine, direction, byte: DEVICE }
}

const fn remote(direction: Direction) -> PinKind {
    PinKind::Remote { direction, byte: DEVICE }
}

/// All of them.
pub(crate) const ALL: &[Pin] =
    &[SPLICE, AIO_READ, AIO_WRITE, URING_READ, URING_WRITE, VM_READ, VM_WRITE, ZEROCOPY];

/// One that is read and one that is written, by different means, where more would show no more.
pub(crate) const PAIR: &[Pin] = &[SPLICE, AIO_READ];

pub(crate) const SPLICE: Pin =
    Pin { name: "splice", phrase: "vmsplice", needs: &[], origin: None, kind: PinKind::Splice };

const AIO_READ: Pin = Pin {
    name: "aio-read",
    phrase: "an AIO direct read",
    needs: &[Need::Pin(direct(Engine::Aio, Direction::IntoMemory))],
    origin: Some(origin::LIVELOCK),
    kind: direct(Engine::Aio, Direction::IntoMemory),
};

const AIO_WRITE: Pin = Pin {
    name: "aio-write",
    phrase: "an AIO direct write",
    needs: &[Need::Pin(direct(Engine::Aio, Direction::FromMemory))],
    origin: Some(origin::LIVELOCK),
    kind: direct(Engine::Aio, Direction::FromMemory),
};

const URING_READ: Pin = Pin {
    name: "uring-read",
    phrase: "an io_uring direct read",
    needs: &[Need::Pin(direct(Engine::Uring, Direction::IntoMemory))],
    origin: Some(origin::LIVELOCK),
    kind: direct(Engine::Uring, Direction::IntoMemory),
};

const URING_WRITE: Pin = Pin {
    name: "uring-write",
    phrase: "an io_uring direct write",
    needs: &[Need::Pin(direct(Engine::Uring, Direction::FromMemory))],
    origin: Some(origin::LIVELOCK),
    kind: direct(Engine::Uring, Direction::FromMemory),
};

const VM_READ: Pin = Pin {
    name: "vm-read",
    phrase: "process_vm_readv by another process",
    needs: &[Need::Pin(remote(Direction::FromMemory))],
    origin: None,
    kind: remote(Direction::FromMemory),
};

const VM_WRITE: Pin = Pin {
    name: "vm-write",
    phrase: "process_vm_writev by another process",
    needs: &[Need::Pin(remote(Direction::IntoMemory))],
    origin: None,
    kind: remote(Direction::IntoMemory),
};

const ZEROCOPY: Pin = Pin {
    name: "zerocopy",
    phrase: "a MSG_ZEROCOPY send",
    needs: &[Need::Pin(PinKind::Zerocopy)],
    origin: None,
    kind: PinKind::Zerocopy,
};

value!(Pin, "pin");

impl AnyPin for Pin {
    const EACH: &'static [Self] = ALL;

    fn writes(&self) -> bool {
        self.kind.writes()
    }

    fn is_in_flight(&self) -> bool {
        self.kind.is_reaped()
    }
}

/// A pin that is held.
#[derive(Clone, Debug)]
pub(crate) struct HeldPin {
    pub(crate) id: PinId,
    kind: PinKind,
    task: TaskId,
    pub(crate) span: Span,
    /// What its holder must have seen in the end, a letter a page.
    seen: String,
}

impl Pin {
    /// Lets `task` pin `span` of `map`, which holds `content`.
    pub(crate) fn take(
        &self,
        t: &mut Test<'_>,
        task: TaskId,
        map: MapId,
        span: Span,
        content: &[u8],
    ) -> Checked<HeldPin> {
        let id = t.pin_as(task, map, span, self.kind)?;
        let given = self.writes().then(|| self.kind.byte());
        let seen = content.iter().map(|byte| char::from(given.unwrap_or(*byte))).collect();
        Ok(HeldPin { id, kind: self.kind, task, span, seen })
    }
}

impl HeldPin {
    /// Lets go of it, although others may still be held.
    pub(crate) fn release(&self, t: &mut Test<'_>) -> Checked<u64> {
        let before = t.release(self.id)?;
        self.reap(t)?;
        Ok(before)
    }

    /// Lets go of it, the last one, with which `op` must finish: no sooner, and because of it.
    pub(crate) fn ends(&self, t: &mut Test<'_>, op: &Op) -> Checked {
        if !self.kind.is_reaped() {
            return t.ends_with(op, self.id);
        }
        let released = self.release(t)?;
        let done = t.finished(op)?;
        crate::test::waited(op, &done, released)
    }

    fn reap(&self, t: &mut Test<'_>) -> Checked {
        if self.kind.is_reaped() { t.reap_as(self.task, self.id, self.span.len) } else { Ok(()) }
    }

    /// The pages it wrote, and what they hold once it is gone.
    pub(crate) fn leaves(&self, content: &mut [u8]) {
        if self.kind.writes() {
            let first = (self.span.at / crate::action::PAGE) as usize;
            content[first..first + self.seen.len()].fill(self.kind.byte());
        }
    }

    /// Its holder must have seen the pages as they were when they were pinned.
    pub(crate) fn saw(&self, t: &mut Test<'_>) -> Checked {
        t.transferred(self.id, &self.seen)
    }
}

/// A kind of pin that must be refused, since a break could wait for it for good.
#[derive(Debug)]
pub(crate) struct Refused {
    name: &'static str,
    phrase: &'static str,
    needs: &'static [Need],
    origin: Option<&'static str>,
    /// Asks for it.
    pub(crate) ask: fn(MapId, Span) -> Action,
}

value!(Refused, "pin");

impl AnyPin for Refused {
    const EACH: &'static [Self] = REFUSED;

    fn writes(&self) -> bool {
        true
    }

    fn is_in_flight(&self) -> bool {
        false
    }
}

/// All that must be refused.
pub(crate) const REFUSED: &[Refused] = &[Refused {
    name: "uring-buffer",
    phrase: "an io_uring registered buffer",
    needs: &[Need::Uring],
    origin: Some(origin::LONGTERM),
    ask: |map, span| Action::PinLongterm { map, span },
}];
