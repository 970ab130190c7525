//! Stores through `MAP_SYNC` mappings. Each that faults has its file system write out what says where the
//! page is, before it returns.

use crate::action::{Action, PAGE, Reply, SECTOR, Sharing, Span, Whole, page};
use crate::case::case;
use crate::huge::{FILLED, MAPPED};
use crate::origin;
use crate::system::{Kinship, MAIN};
use crate::test::{Checked, Test, fail};

/// A huge page.
const HUGE: Span = Span { at: 0, len: 2 << 20 };

/// The last small page of it.
const LAST: u64 = HUGE.len / PAGE - 1;

/// The first sector of a mapping.
const FIRST_SECTOR: Span = Span { at: 0, len: SECTOR };

case! {
    /// A store through a `MAP_SYNC` mapping to the page in which the file ends returns, although another
    /// mapping has a huge page there.
    at_end: "huge/sync-store-at-end",
    groups: ["quick"], needs: [Huge, MapSync], limit: 180, origin: origin::MAP_SYNC,
}
fn at_end(t: &mut Test<'_>) -> Checked {
    t.until(MAPPED, |t| {
        let data = t.huge_file("data", HUGE.len, FILLED)?;
        t.run(Action::Truncate { file: data.id, size: HUGE.len - SECTOR })?;
        t.run(Action::Fsync { file: data.id, data_only: false })?;
        let map = t.map(data)?;
        let touched = t.run(Action::Touch { map, span: HUGE })?;
        t.note("touching it took", &touched);
        if touched != Reply::Count(1) {
            return Ok(false);
        }
        let other = t.fork()?;
        let theirs = t.map_span(other, data, page(LAST), Sharing::Sync)?;
        let store = Action::Store { map: theirs, span: FIRST_SECTOR, byte: b's' };
        let store = t.begin_as(other, store)?;
        t.settled(&store)?;
        t.finished(&store)?;
        t.loads(map, page(LAST), "[shhhhhh.]")?;
        Ok(true)
    })
}

case! {
    /// Two files shared a huge page; one of them is empty now, and has had it mapped. A store through a
    /// `MAP_SYNC` mapping to the last page of the other goes there.
    once_shared: "huge/sync-store-once-shared",
    groups: ["quick"], needs: [Huge, MapSync, Reflink], limit: 180, origin: origin::MAP_SYNC,
}
fn once_shared(t: &mut Test<'_>) -> Checked {
    t.until(MAPPED, |t| {
        let big = t.huge_file("big", HUGE.len, FILLED)?;
        t.run(Action::Write { file: big.id, span: page(LAST), byte: b'l' })?;
        let whole = Span { at: 0, len: HUGE.len - SECTOR };
        t.run(Action::Truncate { file: big.id, size: whole.len })?;
        let small = t.file("small", "")?;
        t.run(Action::Clone { from: big.id, span: whole, to: small.id, at: 0 })?;
        let map = t.map(big)?;
        let touched = t.run(Action::Touch { map, span: HUGE })?;
        t.note("touching it took", &touched);
        if touched != Reply::Count(1) {
            return Ok(false);
        }
        let theirs = t.map_span(MAIN, small, page(LAST), Sharing::Shared)?;
        t.loads(theirs, page(0), "[lllllll.]")?;
        for map in [theirs, map] {
            t.run(Action::Unmap { map })?;
        }
        t.run(Action::Truncate { file: big.id, size: 0 })?;
        let map = t.map_span(MAIN, small, page(LAST), Sharing::Sync)?;
        t.run(Action::Store { map, span: FIRST_SECTOR, byte: b's' })?;
        t.reads_at(small, page(0), "h")?;
        t.reads_at(small, page(LAST), "[sllllll]")?;
        Ok(true)
    })
}

case! {
    /// Nothing changes a file while its file system is frozen: a store through a `MAP_SYNC` mapping waits for
    /// the thaw, although the page was stored to before.
    to_frozen: "lifecycle/sync-store-to-frozen",
    groups: ["quick"], needs: [Spare, MapSync], limit: 240, origin: origin::FREEZE,
}
fn to_frozen(t: &mut Test<'_>) -> Checked {
    waits_for_thaw(t, Sharing::Sync)
}

case! {
    /// A store through a mapping waits for the thaw of its file system, although the page was stored to
    /// before.
    plain_to_frozen: "lifecycle/store-to-frozen",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::FREEZE,
}
fn plain_to_frozen(t: &mut Test<'_>) -> Checked {
    waits_for_thaw(t, Sharing::Shared)
}

/// A store to a page that was a hole until it was stored to waits for the thaw.
fn waits_for_thaw(t: &mut Test<'_>, sharing: Sharing) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", ".")?;
    let map = t.map_as(MAIN, data, sharing)?;
    t.run(Action::Store { map, span: page(0), byte: b'a' })?;
    // It has the same page tables, so the next store faults only if the freeze had a hand in it.
    let other = t.spawn(MAIN, Kinship::Thread)?;
    t.run(Action::Whole(Whole::Freeze))?;
    let store = t.begin_as(other, Action::Store { map, span: page(0), byte: b'b' })?;
    if t.settled(&store)? {
        t.quietly(MAIN, Action::Whole(Whole::Thaw))?.ok();
        return fail(
            "a store to a frozen file system waits until it thaws",
            "it did not wait",
            "sync_filesystem, and whether it writes the page back",
        );
    }
    t.blocked(&store)?;
    t.run(Action::Whole(Whole::Thaw))?;
    t.finished(&store)?;
    t.reads(data, "b")
}
