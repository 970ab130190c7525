//! Pins: how long each lasts, and what its holder sees.
//!
//! What is known of a kind, its name included, stands in [`crate::kind`].

use super::value::{Value, value};
use crate::action::{Action, MapId, PinId, PinKind, Span, TaskId};
use crate::kind::{self, CATALOGUE, CatalogueKind};
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    known: CatalogueKind,
    needs: [Need; 1],
}

/// All of them.
pub(crate) const ALL: &[Pin] = &all();

/// One that is read and one that is written, by different means, where more would show no more.
pub(crate) const PAIR: &[Pin] = &[SPLICE, Pin::new(kind::AIO_READ)];

pub(crate) const SPLICE: Pin = Pin::new(kind::SPLICE);

const fn all() -> [Pin; CATALOGUE.len()] {
    let mut all = [SPLICE; CATALOGUE.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = Pin::new(CATALOGUE[i]);
        i += 1;
    }
    all
}

impl Value for Pin {
    const AXIS: &'static str = "pin";

    fn name(&self) -> &'static str {
        self.known.name
    }

    fn phrase(&self) -> &'static str {
        self.known.phrase
    }

    fn needs(&self) -> &[Need] {
        match self.known.kind {
            PinKind::Splice => &[],
            _ => &self.needs,
        }
    }

    fn origin(&self) -> Option<&'static str> {
        self.known.origin
    }
}

impl AnyPin for Pin {
    const EACH: &'static [Self] = ALL;

    fn writes(&self) -> bool {
        self.known.kind.writes()
    }

    fn is_in_flight(&self) -> bool {
        self.known.kind.is_reaped()
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
    const fn new(known: CatalogueKind) -> Self {
        Self { known, needs: [Need::Pin(known.kind)] }
    }

    /// Lets `task` pin `span` of `map`, which holds `content`.
    pub(crate) fn take(
        &self,
        t: &mut Test<'_>,
        task: TaskId,
        map: MapId,
        span: Span,
        content: &[u8],
    ) -> Checked<HeldPin> {
        let kind = self.known.kind;
        let id = t.pin_as(task, map, span, kind)?;
        let given = kind.writes().then(|| kind.byte());
        let seen = content.iter().map(|byte| char::from(given.unwrap_or(*byte))).collect();
        Ok(HeldPin { id, kind, task, span, seen })
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
