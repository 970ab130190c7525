//! Interleavings in which two files share blocks, or are about to.

use super::{STOOD, punch};
use crate::action::{Action, MapId, page, pages};
use crate::case::case;
use crate::origin;
use crate::system::{HoldPoint, Kinship, MAIN};
use crate::test::{Checked, File, Test};

case! {
    /// As directed/scan-again, in the second of two files that a reflink has locked: the break must look
    /// again there, too, and find the page that stays pinned.
    scan_again_second: "directed/scan-again-second",
    groups: [], needs: [Reflink, Hold(ScanFoundBusy)], limit: 180, origin: origin::RACE,
}
fn scan_again_second(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let [source, data] = t.files_in_order([("source", "xy"), ("data", "ab")])?;
        let map = t.map(data)?;
        let first = t.pin(map, page(0))?;
        let last = t.pin(map, page(1))?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(breaker, HoldPoint::ScanFoundBusy)?;
        let clone = Action::Clone { from: source.id, span: pages(0, 2), to: data.id, at: 0 };
        let op = t.begin_as(breaker, clone)?;
        t.arrived(&hold)?;
        t.release(first)?;
        let stood = t.go(&hold)?;
        t.blocked(&op)?;
        t.ends_with(&op, last)?;
        t.transferred(last, "b")?;
        t.reads(data, "xy")?;
        Ok(stood)
    })
}

case! {
    /// Dedupe has compared two pages when somebody stores to the first through a mapping. The store waits
    /// until they share their block, or the other file would get what was stored.
    store_in_dedupe: "directed/store-in-dedupe",
    groups: [], needs: [Reflink, Hold(Compared)], limit: 180, origin: origin::DEDUPE,
}
fn store_in_dedupe(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let source = t.file("source", "a")?;
        let data = t.file("data", "a")?;
        let map = t.map(source)?;
        // The page table lets it pass, unless the dedupe sees to that.
        t.run(Action::Store { map, span: page(0), byte: b'a' })?;
        let sharer = t.spawn(MAIN, Kinship::Thread)?;
        let storer = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(sharer, HoldPoint::Compared)?;
        let dedupe = Action::Dedupe { from: source.id, span: page(0), to: data.id, at: 0 };
        let op = t.begin_as(sharer, dedupe)?;
        t.arrived(&hold)?;
        let store = t.begin_as(storer, Action::Store { map, span: page(0), byte: b'b' })?;
        t.waits_for_held(&store, &hold)?;
        let stood = t.go(&hold)?;
        t.finished(&op)?;
        t.finished(&store)?;
        t.reads(data, "a")?;
        t.reads(source, "b")?;
        t.loads(map, page(0), "b")?;
        Ok(stood)
    })
}

/// Two files that share both of their pages, of which `other` has the first one mapped.
struct Siblings {
    data: File,
    other: File,
    map: MapId,
}

impl Siblings {
    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let data = t.file("data", "ab")?;
        let other = t.file("other", "..")?;
        t.run(Action::Clone { from: data.id, span: pages(0, 2), to: other.id, at: 0 })?;
        let map = t.map(data)?;
        let theirs = t.map(other)?;
        t.loads(theirs, page(0), "a")?;
        Ok(Self { data, other, map })
    }

    /// `data` has its pages whatever became of `other`, and a punch of it waits for a pin.
    fn is_kept(&self, t: &mut Test<'_>) -> Checked {
        t.reads(self.other, "")?;
        t.reads(self.data, "ab")?;
        let pin = t.pin(self.map, page(0))?;
        let op = t.begin(punch(self.data, page(0)))?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "a")?;
        t.reads(self.data, ".b")
    }

    fn truncate(&self) -> Action {
        Action::Truncate { file: self.other.id, size: 0 }
    }

    fn fault(&self) -> Action {
        Action::Touch { map: self.map, span: page(0) }
    }
}

/// `held` is held at `point` when `meets` comes.
fn siblings(
    t: &mut Test<'_>,
    (held, point): (fn(&Siblings) -> Action, HoldPoint),
    meets: fn(&Siblings) -> Action,
) -> Checked {
    t.until(STOOD, |t| {
        let siblings = Siblings::new(t)?;
        let first = t.spawn(MAIN, Kinship::Thread)?;
        let second = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(first, point)?;
        let held = t.begin_as(first, held(&siblings))?;
        t.arrived(&hold)?;
        let met = t.begin_as(second, meets(&siblings))?;
        // Whether it waits for the one that is held is open.
        t.rests(&met)?;
        let stood = t.go(&hold)?;
        t.finished(&held)?;
        t.finished(&met)?;
        t.loads(siblings.map, page(0), "a")?;
        siblings.is_kept(t)?;
        Ok(stood)
    })
}

case! {
    /// A page that two files share, and that both have mapped, is about to be entered by a fault of one
    /// when the other is truncated. The first one keeps it.
    truncate_sibling: "directed/sibling-truncated-in-fault",
    groups: [], needs: [Reflink, Hold(PageFound)], limit: 180, origin: origin::COW,
}
fn truncate_sibling(t: &mut Test<'_>) -> Checked {
    siblings(t, (Siblings::fault, HoldPoint::PageFound), Siblings::truncate)
}

case! {
    /// The other way round: a truncate of one has found that nobody has pinned the page when a fault of
    /// the other enters it.
    fault_sibling: "directed/sibling-faults-in-truncate",
    groups: [], needs: [Reflink, Hold(ScanFoundNone)], limit: 180, origin: origin::COW,
}
fn fault_sibling(t: &mut Test<'_>) -> Checked {
    siblings(t, (Siblings::truncate, HoldPoint::ScanFoundNone), Siblings::fault)
}
