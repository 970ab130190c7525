//! What a mapping shows: the file, whatever was there when it was first looked at.

use crate::action::{Action, Mode, PAGE, SECTOR, Sharing, Span, page, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, File, Test, fail};

case! {
    /// What write(2) puts where a mapping has read zeros shows in that mapping, in each of two
    /// pages of blocks that were never written.
    write_shows: "mapping/write-to-unwritten-shows",
    groups: ["quick"], needs: [], limit: 120, origin: origin::INVALIDATE,
}
fn write_shows(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: pages(1, 3) })?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Zero, span: pages(2, 2) })?;
    t.loads(map, pages(1, 3), "...")?;
    t.run(Action::Write { file: data.id, span: page(2), byte: b'x' })?;
    t.loads(map, pages(1, 3), ".x.")?;
    t.run(Action::Write { file: data.id, span: page(3), byte: b'y' })?;
    t.reads(data, "a.xy")?;
    t.loads(map, pages(1, 3), ".xy")
}

/// A file that ends in the middle of its second page, and a mapping that has stored behind the end.
fn stored_behind_end(t: &mut Test<'_>) -> Checked<File> {
    let data = t.file("data", "ab")?;
    let map = t.map(data)?;
    t.run(Action::Truncate { file: data.id, size: PAGE + SECTOR })?;
    let span = Span { at: PAGE + 2 * SECTOR, len: SECTOR };
    t.run(Action::Store { map, span, byte: b'z' })?;
    t.reads(data, "ab")?;
    Ok(data)
}

case! {
    /// What a mapping stored behind the end of a file, in its last page, is not in the file when a
    /// write further on makes that longer.
    write_behind_end: "mapping/stored-behind-end-write",
    groups: ["quick"], needs: [], limit: 120, origin: origin::BEHIND_END,
}
fn write_behind_end(t: &mut Test<'_>) -> Checked {
    let data = stored_behind_end(t)?;
    t.run(Action::Write { file: data.id, span: page(2), byte: b'c' })?;
    t.reads(data, "a[b.......]c")
}

case! {
    /// The same when truncate makes it longer.
    truncate_behind_end: "mapping/stored-behind-end-truncate",
    groups: ["quick"], needs: [], limit: 120, origin: origin::BEHIND_END,
}
fn truncate_behind_end(t: &mut Test<'_>) -> Checked {
    let data = stored_behind_end(t)?;
    t.run(Action::Truncate { file: data.id, size: 2 * PAGE })?;
    t.reads(data, "a[b.......]")
}

case! {
    /// The same when fallocate makes it longer.
    allocate_behind_end: "mapping/stored-behind-end-allocate",
    groups: ["quick"], needs: [], limit: 120, origin: origin::BEHIND_END,
}
fn allocate_behind_end(t: &mut Test<'_>) -> Checked {
    let data = stored_behind_end(t)?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Allocate, span: page(2) })?;
    t.reads(data, "a[b.......].")
}

case! {
    /// A mapping whose pages are write-protected, so that one can ask which are written, is unmapped by a
    /// break. It can be read, and stored to, as before.
    write_protected: "mapping/write-protected",
    groups: ["quick"], needs: [WriteProtect], limit: 120, origin: origin::WRITE_PROTECT,
}
fn write_protected(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    // Who spins is killed with its process.
    let other = t.fork()?;
    let map = t.map_as(other, data, Sharing::Shared)?;
    t.run_as(other, Action::Touch { map, span: pages(0, 4) })?;
    t.run_as(other, Action::WriteProtect { map })?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: page(3) })?;
    for action in
        [Action::Touch { map, span: pages(0, 4) }, Action::Store { map, span: page(1), byte: b's' }]
    {
        let op = t.begin_as(other, action)?;
        t.settled(&op)?;
        t.finished(&op)?;
    }
    t.reads(data, "asc.")
}

case! {
    /// cachestat(2) of a DAX file of which pages were mapped finds nothing in the page cache, and nothing that
    /// was there. Kernels that take what is mapped for what was evicted stop, so this runs only if it is asked
    /// for.
    cachestat: "mapping/cachestat",
    groups: ["dangerous"], needs: [CacheStat], limit: 120, origin: origin::CACHESTAT,
}
fn cachestat(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "ab..")?;
    let map = t.map(data)?;
    // A block, and the zeros of a hole.
    t.loads(map, pages(0, 4), "ab..")?;
    let cached = t.ask(Action::CacheStat { file: data.id })?;
    if cached != 0 {
        return fail("cachestat finds no page", &cached.to_string(), "");
    }
    t.say("cachestat finds no page");
    Ok(())
}
