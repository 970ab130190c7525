//! What meets a read(2) or a write(2) that is in its copy.
//!
//! On a DAX file both copy between the caller's memory and the block itself, and a fault of a mapping takes
//! no lock that they hold. A case holds them there, in the middle: most of their memory is withheld by
//! userfaultfd(2). That takes no probe, and a program without daxtests can do it as well.
//!
//! What is written and what is stored have no byte in common. So it does not matter which of the two counts as
//! the first, and whether one waits for the other: the file has both, and nobody else has either.

use crate::action::{Action, MapId, PAGE, Reply, SECTOR, Sharing, Span, page, pages};
use crate::case::case;
use crate::directed::STOOD;
use crate::huge::FILLED;
use crate::origin;
use crate::system::{Kinship, MAIN};
use crate::test::{Checked, File, Test};

/// What of page 0 is written and read: all but the first two sectors.
const PART: Span = Span { at: 2 * SECTOR, len: PAGE - 2 * SECTOR };

fn write(data: File) -> Action {
    Action::Write { file: data.id, span: PART, byte: b'w' }
}

fn read(data: File) -> Action {
    Action::Read { file: data.id, span: PART }
}

fn store(map: MapId, span: Span) -> Action {
    Action::Store { map, span, byte: b's' }
}

/// `action` is held in its copy, and others happen meanwhile, one after the other. Its answer, and whether it
/// stood there until they had returned, or waited for it.
fn while_copying(
    t: &mut Test<'_>,
    action: Action,
    meanwhile: impl IntoIterator<Item = Action>,
) -> Checked<(Reply, bool)> {
    let user = t.spawn(MAIN, Kinship::Thread)?;
    let hold = t.hold_in_copy(user)?;
    let op = t.begin_as(user, action)?;
    t.arrived(&hold)?;
    let mut others = Vec::new();
    for other in meanwhile {
        let other = t.begin(other)?;
        t.settled(&other)?;
        others.push(other);
    }
    let stood = t.go(&hold)?;
    let reply = t.finished(&op)?;
    for other in &others {
        t.finished(other)?;
    }
    let reply = reply.result.expect("it succeeded");
    Ok((reply, stood))
}

/// A file that shares with another one, mapped, and one that lies before both.
struct Neighbours {
    /// It has a page of "n", and grows by one more: it is given what lies behind its own, if that is free.
    before: File,
    data: File,
    other: File,
    map: MapId,
}

impl Neighbours {
    /// Of two pages, "ab", the second is shared.
    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let before = t.file("before", "n.")?;
        let data = t.file("data", "ab")?;
        let other = t.file("other", "..")?;
        t.run(Action::Clone { from: data.id, span: page(1), to: other.id, at: PAGE })?;
        Ok(Self { before, data, other, map: t.map(data)? })
    }

    /// All of a file that can be mapped by a huge page is shared.
    fn huge(t: &mut Test<'_>) -> Checked<Self> {
        let before = t.file("before", "n.")?;
        let all = Span { at: 0, len: 2 << 20 };
        let data = t.huge_file("data", all.len, FILLED)?;
        let other = t.file("other", "")?;
        t.run(Action::Clone { from: data.id, span: all, to: other.id, at: 0 })?;
        Ok(Self { before, data, other, map: t.map(data)? })
    }

    /// `spans` are stored to, and what that frees can be used again, and is.
    fn stored_to<const N: usize>(&self, spans: [Span; N]) -> impl Iterator<Item = Action> {
        let (map, before) = (self.map, self.before.id);
        spans.into_iter().map(move |span| store(map, span)).chain([
            Action::Fsync { file: self.data.id, data_only: false },
            Action::Write { file: before, span: page(1), byte: b'n' },
        ])
    }

    /// The file that grew has what it had, and what was written to it.
    fn before_is_whole(&self, t: &mut Test<'_>) -> Checked {
        t.reads(self.before, "nn")
    }
}

/// The second page, which is shared, and then the first: the pages around a shared one have blocks prepared
/// for them.
const SECOND_FIRST: [Span; 2] = [Span { at: PAGE, len: SECTOR }, Span { at: 0, len: SECTOR }];

case! {
    /// write(2) copies to a page when a store through a mapping moves that page to another block. What was
    /// written is in the file, and in nobody else's.
    store_moves_written: "copy/store-moves-written",
    groups: ["quick"], needs: [Reflink, HoldInCopy], limit: 180, origin: origin::COW,
}
fn store_moves_written(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let files = Neighbours::new(t)?;
        let (_, stood) = while_copying(t, write(files.data), files.stored_to(SECOND_FIRST))?;
        files.before_is_whole(t)?;
        t.reads(files.data, "[sawwwwww][sbbbbbbb]")?;
        t.reads(files.other, ".b")?;
        Ok(stood)
    })
}

case! {
    /// read(2) copies from a page when a store through a mapping moves that page to another block. It reads
    /// what the file holds, and nothing of anybody else's.
    store_moves_read: "copy/store-moves-read",
    groups: ["quick"], needs: [Reflink, HoldInCopy], limit: 180, origin: origin::COW,
}
fn store_moves_read(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let files = Neighbours::new(t)?;
        let (reply, stood) = while_copying(t, read(files.data), files.stored_to(SECOND_FIRST))?;
        t.same("the read got", Ok(reply), "a")?;
        files.before_is_whole(t)?;
        t.reads(files.data, "[saaaaaaa][sbbbbbbb]")?;
        t.reads(files.other, ".b")?;
        Ok(stood)
    })
}

case! {
    /// write(2) copies to a page that is shared when a store through a mapping to another page of the same
    /// 2 MiB faults, of which a huge page could be made. What was written is in the file, and in nobody
    /// else's.
    huge_fault: "copy/huge-fault-beside-write",
    groups: ["quick"], needs: [Reflink, HoldInCopy], limit: 180, origin: origin::COW,
}
fn huge_fault(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let files = Neighbours::huge(t)?;
        let (_, stood) = while_copying(t, write(files.data), files.stored_to([page(100)]))?;
        files.before_is_whole(t)?;
        for (span, holds) in [(page(0), "[hhwwwwww]"), (page(99), "h"), (page(100), "s")] {
            t.reads_at(files.data, span, holds)?;
            t.reads_at(files.other, span, "h")?;
        }
        Ok(stood)
    })
}

/// A file of two pages, "ab", that shares both with another one, and a mapping of it.
fn sharers(t: &mut Test<'_>) -> Checked<(File, File, MapId)> {
    let data = t.file("data", "ab")?;
    let other = t.file("other", "..")?;
    t.run(Action::Clone { from: data.id, span: pages(0, 2), to: other.id, at: 0 })?;
    let map = t.map_as(MAIN, data, Sharing::Shared)?;
    Ok((data, other, map))
}

case! {
    /// write(2) copies to a page that is shared when that is read through a mapping. Afterwards the mapping
    /// shows what was written.
    load: "copy/load-in-write",
    groups: ["quick"], needs: [Reflink, HoldInCopy], limit: 180, origin: origin::COW,
}
fn load(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let (data, other, map) = sharers(t)?;
        let touch = Action::Touch { map, span: page(0) };
        let (_, stood) = while_copying(t, write(data), [touch])?;
        t.reads(data, "[aawwwwww]b")?;
        t.loads(map, pages(0, 2), "[aawwwwww]b")?;
        t.reads(other, "ab")?;
        Ok(stood)
    })
}

case! {
    /// write(2) copies to a page that is shared when a store through a mapping goes to a sector of it. Nothing
    /// of what was written is lost, nor what was stored.
    store_in_write: "copy/store-in-write",
    groups: ["quick"], needs: [Reflink, HoldInCopy], limit: 180, origin: origin::COW,
}
fn store_in_write(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let (data, other, map) = sharers(t)?;
        let sector = Span { at: 0, len: SECTOR };
        let (_, stood) = while_copying(t, write(data), [store(map, sector)])?;
        t.reads(data, "[sawwwwww]b")?;
        t.loads(map, pages(0, 2), "[sawwwwww]b")?;
        t.reads(other, "ab")?;
        Ok(stood)
    })
}
