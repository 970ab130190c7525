//! What a mapping shows: the file, whatever was there when it was first looked at.

use crate::action::{
    Action, MapId, Medium, Mode, PAGE, SECTOR, Sharing, Span, TaskId, Tracker, page, pages,
};
use crate::case::case;
use crate::origin;
use crate::system::MAIN;
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

/// Two files that share a page.
fn sharing(t: &mut Test<'_>) -> Checked<[File; 2]> {
    let data = t.file("data", "a")?;
    let other = t.file("other", ".")?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    Ok([data, other])
}

/// Two files that share a page, and two mappings of the first.
struct TwiceMapped {
    data: File,
    other: File,
    maps: [MapId; 2],
}

impl TwiceMapped {
    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let files = sharing(t)?;
        Self::of(t, files, MAIN)
    }

    /// The files are mapped by `task`.
    fn of(t: &mut Test<'_>, [data, other]: [File; 2], task: TaskId) -> Checked<Self> {
        let [first, second] = [Sharing::Shared; 2].map(|sharing| t.map_as(task, data, sharing));
        Ok(Self { data, other, maps: [first?, second?] })
    }

    /// Who waits for a word in one of the mappings is woken through the other.
    fn wakes(&self, t: &mut Test<'_>) -> Checked {
        let [first, second] = self.maps;
        let wait = t.begin(Action::FutexWait { map: first })?;
        t.blocked(&wait)?;
        let wake = Action::FutexWake { map: second };
        let words = t.names.say(&wake);
        let woken = t.ask(wake)?;
        t.say(&format!("{words}: {woken}"));
        if woken != 1 {
            let expected = format!("{words}: 1 is woken");
            return fail(&expected, &woken.to_string(), "by what the kernel tells the page");
        }
        t.finished(&wait).map(drop)
    }
}

case! {
    /// A page that two files share is mapped twice, and one write to a file in the page cache takes
    /// something from either mapping.
    gather: "mapping/shared-twice-in-a-write",
    groups: ["quick"], needs: [Reflink, PageCache], limit: 120, origin: origin::COW,
}
fn gather(t: &mut Test<'_>) -> Checked {
    let files = sharing(t)?;
    let cached = t.file_on(Medium::PageCache, "cached", ".")?;
    // Who spins is killed with its process.
    let other = t.fork()?;
    let it = TwiceMapped::of(t, files, other)?;
    let span = Span { at: 0, len: 2 * SECTOR };
    let op = t.begin_as(other, Action::Gather { file: cached.id, span, maps: it.maps })?;
    t.settled(&op)?;
    t.finished(&op)?;
    t.reads(cached, "[aa......]")
}

case! {
    /// Two files shared a page, and a store has copied it. Who waits for a word of the copy is woken,
    /// through whichever mapping.
    futex_copied: "mapping/futex-in-copied",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW,
}
fn futex_copied(t: &mut Test<'_>) -> Checked {
    let it = TwiceMapped::new(t)?;
    t.run(Action::Store { map: it.maps[0], span: page(0), byte: b's' })?;
    it.wakes(t)?;
    t.reads(it.data, "s")?;
    t.reads(it.other, "a")
}

case! {
    /// Two files shared a page, either had it mapped, and one of them has given it up. Who waits for a
    /// word of it is woken, through whichever mapping.
    futex_shared: "mapping/futex-in-once-shared",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW,
}
fn futex_shared(t: &mut Test<'_>) -> Checked {
    let it = TwiceMapped::new(t)?;
    let theirs = t.map(it.other)?;
    t.loads(it.maps[0], page(0), "a")?;
    t.loads(theirs, page(0), "a")?;
    t.run(Action::Truncate { file: it.other.id, size: 0 })?;
    it.wakes(t)?;
    t.reads(it.data, "a")
}

case! {
    /// Who asks which pages of a mapping were stored to since he asked last, by the bit soft-dirty, is told of
    /// a page that was stored to before as well.
    soft_dirty: "mapping/soft-dirty-again",
    groups: ["quick"], needs: [SoftDirty], limit: 120, origin: origin::SOFT_DIRTY,
}
fn soft_dirty(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "ab")?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(1), byte: b'x' })?;
    tells_of_store(t, map, page(1), Tracker::SoftDirty)
}

/// A store to a page of a mapping, which was stored to before, is told of.
pub(crate) fn tells_of_store(t: &mut Test<'_>, map: MapId, span: Span, by: Tracker) -> Checked {
    t.run(Action::Track { map, by })?;
    t.run(Action::Store { map, span, byte: b's' })?;
    let asked = Action::StoredTo { map, span, by };
    let words = t.names.say(&asked);
    let seen = t.ask(asked)?;
    t.say(&format!("{words}: {seen}"));
    if seen == 0 {
        return fail(&format!("{words}: it is told of"), "it is not", "");
    }
    Ok(())
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
