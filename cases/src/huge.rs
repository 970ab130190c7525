//! Huge mappings, where more than one is at stake. What holds for a page inside a single one is a
//! place of the cells.

use crate::action::{Action, MapId, Mode, PinId, Reply, Sharing, Span, Tracker, page};
use crate::case::case;
use crate::mapping::tells_of_store;
use crate::origin;
use crate::system::MAIN;
use crate::test::{Checked, File, Test};

/// A file of two huge pages.
pub(crate) const FILE: Span = Span { at: 0, len: 2 * (2 << 20) };

/// What each of its pages holds.
pub(crate) const FILLED: u8 = b'h';

case! {
    /// A page of each of two huge mappings is pinned: punching both waits for the second when the
    /// first has gone.
    two_mappings_punch: "huge/two-mappings-punch",
    groups: ["quick"], needs: [Huge], limit: 180, origin: origin::PMD,
}
fn two_mappings_punch(t: &mut Test<'_>) -> Checked {
    let map = |t: &mut Test<'_>, file| {
        let map = t.map(file)?;
        Ok((map, (file, map)))
    };
    mapped(t, map, |t, (data, map)| {
        let first = t.pin(map, page(511))?;
        let second = t.pin(map, page(513))?;
        let op = t.begin(Action::Fallocate { file: data.id, mode: Mode::Punch, span: FILE })?;
        t.blocked(&op)?;
        t.release(first)?;
        t.blocked(&op)?;
        t.ends_with(&op, second)?;
        t.transferred(second, "h")?;
        t.reads(data, ".*1024")
    })
}

case! {
    /// A huge page of a file is shared in parts only, for another file that shared all of it has got a page
    /// of its own since. Pins of its pages are waited for, whatever was read beside them. Kernels that get
    /// it wrong stop at a BUG_ON() once the file is gone, so this runs only if it is asked for.
    shared_in_parts: "huge/shared-in-parts-punch-waits",
    groups: ["dangerous"], needs: [Huge, Reflink], limit: 180, origin: origin::COW,
}
fn shared_in_parts(t: &mut Test<'_>) -> Checked {
    beside_pin(t, |map| Action::Touch { map, span: page(200) })
}

case! {
    /// Pins in a huge page that is shared in parts only are waited for, whatever was stored beside them.
    /// Kernels that get it wrong stop at a BUG_ON() once the file is gone, so this runs only if it is asked
    /// for.
    stored_in_parts: "huge/stored-in-parts-punch-waits",
    groups: ["dangerous"], needs: [Huge, Reflink], limit: 180, origin: origin::COW,
}
fn stored_in_parts(t: &mut Test<'_>) -> Checked {
    beside_pin(t, |map| Action::Store { map, span: page(200), byte: b's' })
}

/// Two files that share a huge page, and a mapping of the second, which has it mapped as such.
struct SharedHuge {
    data: File,
    copy: File,
    map: MapId,
}

impl SharedHuge {
    /// None if a page table has it in small pages.
    fn new(t: &mut Test<'_>) -> Checked<Option<Self>> {
        let all = Span { at: 0, len: 2 << 20 };
        let data = t.huge_file("data", all.len, FILLED)?;
        let copy = t.huge_file("copy", all.len, b'c')?;
        t.run(Action::Clone { from: data.id, span: all, to: copy.id, at: 0 })?;
        let map = t.map(copy)?;
        let touched = t.run(Action::Touch { map, span: all })?;
        t.note("touching it took", &touched);
        Ok((touched == Reply::Count(1)).then_some(Self { data, copy, map }))
    }

    /// A punch of page 100 of the second file waits for its pin.
    fn punch_waits(&self, t: &mut Test<'_>, pin: PinId) -> Checked {
        let (mode, span) = (Mode::Punch, page(100));
        let op = t.begin(Action::Fallocate { file: self.copy.id, mode, span })?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "h")
    }
}

/// Does `act` beside a pinned page of a huge page that is shared in parts only, then punches that page.
fn beside_pin(t: &mut Test<'_>, act: fn(MapId) -> Action) -> Checked {
    t.until(MAPPED, |t| {
        let Some(it) = SharedHuge::new(t)? else { return Ok(false) };
        t.run(Action::Write { file: it.data.id, span: page(9), byte: b'w' })?;
        t.run(Action::Unmap { map: it.map })?;
        let map = t.map(it.copy)?;
        let pin = t.pin(map, page(100))?;
        t.run(act(map))?;
        it.punch_waits(t, pin)?;
        Ok(true)
    })
}

case! {
    /// Two files share a huge page, and one of them has it mapped as such, and a page of it once more by
    /// itself. Pins of the others are waited for. Kernels that get it wrong stop at a BUG_ON() once the file
    /// is gone, so this runs only if it is asked for.
    mapped_small: "huge/shared-and-mapped-twice-punch-waits",
    groups: ["dangerous"], needs: [Huge, Reflink], limit: 180, origin: origin::COW,
}
fn mapped_small(t: &mut Test<'_>) -> Checked {
    t.until(MAPPED, |t| {
        let Some(it) = SharedHuge::new(t)? else { return Ok(false) };
        let pin = t.pin(it.map, page(100))?;
        let small = t.map_span(MAIN, it.copy, page(200), Sharing::Shared)?;
        t.run(Action::Touch { map: small, span: page(0) })?;
        it.punch_waits(t, pin)?;
        Ok(true)
    })
}

case! {
    /// Two files share a huge page, and one page of it has been read through the first. The second is read
    /// through a mapping of its own.
    small_first: "huge/shared-and-mapped-small",
    groups: ["quick"], needs: [Huge, Reflink], limit: 180, origin: origin::COW,
}
fn small_first(t: &mut Test<'_>) -> Checked {
    let all = Span { at: 0, len: 2 << 20 };
    let small = t.huge_file("small", all.len, FILLED)?;
    let big = t.huge_file("big", all.len, b'c')?;
    t.run(Action::Clone { from: small.id, span: all, to: big.id, at: 0 })?;
    let map = t.map_span(MAIN, small, page(0), Sharing::Shared)?;
    t.loads(map, page(0), "h")?;
    t.run(Action::Unmap { map })?;
    let map = t.map(big)?;
    t.loads(map, all, "h*512")?;
    let pin = t.pin(map, page(100))?;
    let op = t.begin(Action::Fallocate { file: big.id, mode: Mode::Punch, span: page(100) })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "h")?;
    t.reads(small, "h*512")
}

case! {
    /// Who asks which pages were stored to since he asked last, by `PAGEMAP_SCAN`, is told of a store to a
    /// huge page, as of one to a page that is mapped by itself.
    scanned: "huge/scan-tells-of-store",
    groups: ["quick"], needs: [Huge, PagemapScan], limit: 180, origin: origin::PAGEMAP_SCAN,
}
fn scanned(t: &mut Test<'_>) -> Checked {
    let map = |t: &mut Test<'_>, file| {
        let map = t.map(file)?;
        Ok((map, (file, map)))
    };
    mapped(t, map, |t, (data, map)| {
        let small = t.map_span(MAIN, data, page(600), Sharing::Shared)?;
        t.run(Action::Store { map: small, span: page(0), byte: b's' })?;
        tells_of_store(t, small, page(0), Tracker::Scan)?;
        tells_of_store(t, map, page(5), Tracker::Scan)
    })
}

/// What a case needs of an allocator and of page tables that it does not control.
pub(crate) const MAPPED: &str = "was the file mapped by huge pages";

/// Does `check` with what `map` made of a file of two huge pages, filled through the mapping. That
/// the kernel can map huge pages does not say that the blocks of this file lie so that it does.
pub(crate) fn mapped<M>(
    t: &mut Test<'_>,
    map: impl Fn(&mut Test<'_>, File) -> Checked<(MapId, M)>,
    check: impl Fn(&mut Test<'_>, M) -> Checked,
) -> Checked {
    t.until(MAPPED, |t| {
        let file = t.huge_file("data", FILE.len, b'g')?;
        let (map, made) = map(t, file)?;
        let filled = t.run(Action::Store { map, span: FILE, byte: FILLED })?;
        t.note("filling it took", &filled);
        if filled != Reply::Count(2) {
            return Ok(false);
        }
        check(t, made)?;
        Ok(true)
    })
}
