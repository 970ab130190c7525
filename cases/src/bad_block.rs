//! Files with a page that cannot be read, for its device has a bad block there: what else must work, and what
//! a failure must leave alone.

use nix::libc;

use crate::action::{
    Action, Direction, FileId, PAGE, Reply, SECTOR, Sharing, Span, Whole, page, pages,
};
use crate::case::case;
use crate::lifecycle::{checked, sharing};
use crate::origin;
use crate::system::{Errno, MAIN};
use crate::test::{Checked, Ending, File, Stop, Test, answer, fail};

/// Files on a new file system, of a page each, of which the last cannot be read.
fn spoiled<const N: usize>(t: &mut Test<'_>, named: [(&str, &str); N]) -> Checked<[File; N]> {
    t.run(Action::Whole(Whole::Make))?;
    let mut files = [File { id: FileId(0), pages: 0 }; N];
    for ((name, fill), file) in named.into_iter().zip(&mut files) {
        *file = t.file_on_spare(name, fill)?;
        t.run(Action::Fsync { file: file.id, data_only: false })?;
    }
    t.run(Action::SpoilBlocks { file: files[N - 1].id, span: page(0) })?;
    Ok(files)
}

/// Writing the page mends it, and the file system is consistent.
fn mended<const N: usize>(t: &mut Test<'_>, files: [File; N]) -> Checked {
    let bad = files[N - 1];
    t.run(Action::Write { file: bad.id, span: page(0), byte: b'm' })?;
    t.reads(bad, "m")?;
    checked(t, &files)
}

case! {
    /// A page of a file cannot be read, for the device has a bad block there. A write to a part of it fails,
    /// as a read does: with EIO. A write of the whole page mends it.
    write_bad: "lifecycle/write-to-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks], limit: 240, origin: origin::BAD_BLOCKS,
}
fn write_bad(t: &mut Test<'_>) -> Checked {
    let [data] = spoiled(t, [("data", "a")])?;
    t.refused_as(MAIN, Action::Read { file: data.id, span: page(0) }, libc::EIO)?;
    let span = Span { at: SECTOR, len: SECTOR };
    t.refused_as(MAIN, Action::Write { file: data.id, span, byte: b'w' }, libc::EIO)?;
    mended(t, [data])
}

case! {
    /// Dedupe compares what the files hold: if one of them cannot be read it fails, and does not say that
    /// they hold the same.
    dedupe_bad: "lifecycle/dedupe-of-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks, Reflink], limit: 240, origin: origin::BAD_BLOCKS,
}
fn dedupe_bad(t: &mut Test<'_>) -> Checked {
    let [data, other] = spoiled(t, [("data", "a"), ("other", "b")])?;
    let dedupe = Action::Dedupe { from: data.id, span: page(0), to: other.id, at: 0 };
    t.refused_as(MAIN, dedupe, libc::EIO)?;
    t.reads(data, "a")?;
    mended(t, [data, other])
}

case! {
    /// A page cannot be read, for the device has a bad block there, and a write to it fails, because its buffer
    /// cannot be read. Nothing was written, so the page cannot be read now either.
    failed_to_bad: "lifecycle/failed-write-to-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks], limit: 240, origin: origin::RECOVERY_WRITE,
}
fn failed_to_bad(t: &mut Test<'_>) -> Checked {
    stays_bad(t, PAGE)
}

case! {
    /// A write to such a page ends after a few bytes, with its buffer. The rest of the page cannot be read
    /// now either.
    short_to_bad: "lifecycle/short-write-to-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks], limit: 240, origin: origin::RECOVERY_WRITE,
}
fn short_to_bad(t: &mut Test<'_>) -> Checked {
    stays_bad(t, PAGE - SECTOR)
}

/// A write from a buffer that ends before it has a page does not mend a page that is bad.
fn stays_bad(t: &mut Test<'_>, buffer: u64) -> Checked {
    let [source, data] = spoiled(t, [("source", "w"), ("data", "a")])?;
    let read = Action::Read { file: data.id, span: page(0) };
    t.refused_as(MAIN, read.clone(), libc::EIO)?;
    let map = t.map_span(MAIN, source, pages(0, 16), Sharing::Shared)?;
    let direction = Direction::FromMemory;
    let write = Action::DirectIo { file: data.id, span: page(0), map, buffer, direction };
    let words = t.names.say(&write);
    t.say(&words);
    // It may meet the bad block first.
    let written = t.whatever(MAIN, write)?;
    t.note("the write", &answer(&written));
    t.refused_as(MAIN, read, libc::EIO)?;
    t.run(Action::Unmap { map })?;
    mended(t, [source, data])
}

case! {
    /// A page that two files share cannot be read. A write of all of it to one of them needs nothing of what
    /// it held, so it succeeds.
    write_over: "lifecycle/write-over-shared-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks, Reflink], limit: 240, origin: origin::BAD_BLOCKS,
}
fn write_over(t: &mut Test<'_>) -> Checked {
    let [copy, data] = spoiled(t, [("copy", "c"), ("data", "d")])?;
    t.run(Action::Clone { from: data.id, span: page(0), to: copy.id, at: 0 })?;
    t.run(Action::Write { file: copy.id, span: page(0), byte: b'w' })?;
    t.reads(copy, "w")?;
    t.refused_as(MAIN, Action::Read { file: data.id, span: page(0) }, libc::EIO)?;
    mended(t, [copy, data])
}

/// Pages of a file of which dedupe is asked about one in the middle.
const MANY: &str = "aaaaaaaaaaaaaaaa";

case! {
    /// Dedupe compares what it is asked about, and finds that it differs, although a page behind it cannot be
    /// read.
    dedupe_before: "lifecycle/dedupe-before-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks, Reflink], limit: 240, origin: origin::BAD_BLOCKS,
}
fn dedupe_before(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", MANY)?;
    let other = t.file_on_spare("other", &MANY.replace('a', "b"))?;
    for file in [data, other] {
        t.run(Action::Fsync { file: file.id, data_only: false })?;
    }
    t.run(Action::SpoilBlocks { file: data.id, span: page(12) })?;
    let dedupe = Action::Dedupe { from: data.id, span: page(8), to: other.id, at: page(8).at };
    let words = t.names.say(&dedupe);
    match t.quietly(MAIN, dedupe)? {
        Ok(Reply::Count(0)) => {}
        Ok(reply) => return fail(&format!("{words}: they differ"), &reply.to_string(), ""),
        Err(errno) => return fail(&format!("{words}: they differ"), &errno.to_string(), ""),
    }
    t.say(&format!("{words}: they differ"));
    t.reads(other, "b*16")?;
    // What checks the file system reads more than it needs.
    t.run(Action::Write { file: data.id, span: page(12), byte: b'm' })?;
    checked(t, &[data, other])
}

case! {
    /// A truncate into the middle of a page that cannot be read cuts the file off, or fails and changes
    /// nothing. What was cut off does not come back.
    truncate: "lifecycle/truncate-into-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks], limit: 240, origin: origin::BAD_BLOCKS,
}
fn truncate(t: &mut Test<'_>) -> Checked {
    let [bad] = spoiled(t, [("bad", "abcd")])?;
    let truncate = Action::Truncate { file: bad.id, size: SECTOR };
    let words = t.names.say(&truncate);
    let truncated = t.quietly(MAIN, truncate)?;
    let said = truncated.as_ref().map_or_else(Errno::to_string, |_| "success".to_owned());
    t.note(&words, &said);
    let size = t.size(bad)?;
    let expected = if truncated.is_ok() { SECTOR } else { pages(0, 4).len };
    if size != expected {
        let expected = format!("{words}, {said}: the file has {expected} bytes");
        return fail(&expected, &format!("{size} bytes"), "");
    }
    t.say(&format!("{words}: done, or it failed and changed nothing"));
    let rest = if truncated.is_ok() {
        if let Err(errno) =
            t.quietly(MAIN, Action::Truncate { file: bad.id, size: pages(0, 4).len })?
        {
            return fail("the file can be made longer", &errno.to_string(), "");
        }
        "\"...\""
    } else {
        "\"bcd\""
    };
    let read = Action::Read { file: bad.id, span: pages(1, 3) };
    let seen = t.quietly(MAIN, read)?;
    let seen = seen.map_or_else(|errno| errno.to_string(), |reply| reply.to_string());
    if seen != rest {
        return fail(&format!("pages 1..4 of bad read {rest}"), &seen, "");
    }
    t.say("what was cut off does not come back");
    t.run(Action::Write { file: bad.id, span: page(0), byte: b'm' })?;
    checked(t, &[bad])
}

case! {
    /// A page cannot be read, for the device has a bad block there, though not from its first byte on. A write
    /// of all of it that begins in the middle of the page before it succeeds, as one that is aligned does.
    write_up_to: "lifecycle/write-up-to-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks], limit: 240, origin: origin::RECOVERY_WRITE,
}
fn write_up_to(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "abc")?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    let bad = Span { at: PAGE + PAGE / 2, len: PAGE / 2 };
    t.run(Action::SpoilBlocks { file: data.id, span: bad })?;
    t.refused_as(MAIN, Action::Read { file: data.id, span: page(1) }, libc::EIO)?;
    let span = Span { at: PAGE / 2, len: PAGE + PAGE / 2 };
    t.run(Action::Write { file: data.id, span, byte: b'w' })?;
    t.reads(data, "[aaaawwww]wc")?;
    checked(t, &[data])
}

case! {
    /// A write to a page that two files share prepares the block behind its own for the next page. That block
    /// cannot be read, and nothing of it need be: a store to the next page, which is copied there, succeeds.
    store_copies: "lifecycle/store-copies-to-bad-block",
    groups: ["quick"], needs: [Spare, BadBlocks, Reflink], limit: 240, origin: origin::BAD_BLOCKS,
}
fn store_copies(t: &mut Test<'_>) -> Checked {
    let [data, copy] = sharing(t, "abcd")?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    let block = t.blocks(data)?[0] + 1;
    for file in [data, copy] {
        if t.ask(Action::FindBlock { file: file.id, block })? != 0 {
            return Err(Stop(Ending::NotRun("not exercised: the block has data".to_owned())));
        }
    }
    t.run(Action::SpoilBlock { file: data.id, block })?;
    let map = t.map(data)?;
    t.loads(map, pages(0, 4), "wbcd")?;
    t.run(Action::Store { map, span: page(1), byte: b's' })?;
    let went = t.blocks(data)?[1] == block;
    t.note("the store went to that block", &went);
    t.run(Action::Unmap { map })?;
    t.reads(data, "wscd")?;
    t.reads(copy, "abcd")?;
    checked(t, &[data, copy])
}
