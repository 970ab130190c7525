//! What write(2) leaves of a file where it does not do all that it was asked to, and where it takes
//! other blocks than those that were there.
//!
//! On a DAX file it copies straight into the blocks, so what a block held before shows wherever it was
//! given to the file and not filled. A buffer that ends before the write does is a mapping that goes on
//! behind the end of its file. One case has read(2) fail in that way.

use nix::libc;

use crate::action::{
    Action, Direction, MapId, Mode, PAGE, Reply, SECTOR, Sharing, Span, page, pages,
};
use crate::case::case;
use crate::origin;
use crate::system::{Errno, MAIN};
use crate::test::{Checked, File, Test, answer, fail};

/// A buffer of one page of "w", and nothing behind.
pub(crate) fn short_buffer(t: &mut Test<'_>) -> Checked<MapId> {
    let source = t.file("source", "w")?;
    t.map_span(MAIN, source, pages(0, 16), Sharing::Shared)
}

/// Writes to `span` of `file` what `map` has from `buffer` on.
fn write(
    t: &mut Test<'_>,
    file: File,
    span: Span,
    (map, buffer): (MapId, u64),
) -> Checked<Result<u64, Errno>> {
    let direction = Direction::FromMemory;
    let action = Action::DirectIo { file: file.id, span, map, buffer, direction };
    let words = t.names.say(&action);
    t.say(&words);
    match t.quietly(MAIN, action)? {
        Ok(Reply::Count(count)) => Ok(Ok(count)),
        Err(errno) => Ok(Err(errno)),
        other => fail("a write says how much it wrote", &answer(&other), ""),
    }
}

/// A write whose buffer cannot be read at all fails.
pub(crate) fn fails(t: &mut Test<'_>, file: File, span: Span, map: MapId) -> Checked {
    let written = write(t, file, span, (map, PAGE))?;
    if written != Err(Errno(libc::EFAULT)) {
        let seen = written.map_or_else(|errno| errno.to_string(), |count| format!("{count} bytes"));
        return fail("the write: EFAULT", &seen, "");
    }
    t.say("it failed: EFAULT");
    Ok(())
}

case! {
    /// A write behind the end of a file that fails, because its buffer cannot be read, leaves the file as
    /// long as it was.
    failed: "write/failed-behind-end",
    groups: ["quick"], needs: [], limit: 120, origin: origin::WRITE,
}
fn failed(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "")?;
    let buffer = short_buffer(t)?;
    fails(t, data, page(2), buffer)?;
    t.reads(data, "")
}

/// What takes luck: how far the kernel gets with a buffer that ends is its own affair.
const SECTORS: &str = "did the write end with the buffer";

case! {
    /// A read of a hole into memory that is none fails; it does not say that the file ends there.
    read_nowhere: "write/hole-to-bad-buffer",
    groups: ["quick"], needs: [], limit: 120, origin: origin::WRITE,
}
fn read_nowhere(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "..")?;
    let map = short_buffer(t)?;
    let direction = Direction::IntoMemory;
    let action = Action::DirectIo { file: data.id, span: page(0), map, buffer: PAGE, direction };
    t.refused_as(MAIN, action, libc::EFAULT)?;
    t.reads(data, "..")
}

case! {
    /// A page that two files share is written to itself: a mapping of it is the buffer. The mapping shows
    /// what is written next.
    itself: "write/shared-onto-itself",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW,
}
fn itself(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "a")?;
    let other = t.file("other", ".")?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    let map = t.map(data)?;
    let written = write(t, data, page(0), (map, 0))?;
    if written != Ok(PAGE) {
        return fail("the write: 4096 bytes", &format!("{written:?}"), "");
    }
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.reads(data, "w")?;
    t.loads(map, page(0), "w")?;
    t.reads(other, "a")
}

case! {
    /// A write to a part of a page that two files share ends early, with its buffer: the file has what was
    /// written, and around it what it had.
    short: "write/short-to-shared",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW,
}
fn short(t: &mut Test<'_>) -> Checked {
    t.until(SECTORS, |t| {
        let data = t.file("data", "a")?;
        let other = t.file("other", ".")?;
        t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
        let map = short_buffer(t)?;
        let span = Span { at: SECTOR, len: 4 * SECTOR };
        let written = write(t, data, span, (map, PAGE - 2 * SECTOR))?;
        if written != Ok(2 * SECTOR) {
            return Ok(false);
        }
        t.reads(data, "[awwaaaaa]")?;
        t.reads(other, "a")?;
        Ok(true)
    })
}

case! {
    /// Writes beside shared pages fail and end early, and then that part of the file is punched: it holds
    /// zeros, and nothing that was prepared for the writes.
    punched: "write/punch-after-short",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW_EDGES,
}
fn punched(t: &mut Test<'_>) -> Checked {
    t.until(SECTORS, |t| {
        let data = t.file("data", "a...............................")?;
        let other = t.file("other", ".")?;
        t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
        t.run(Action::Write { file: data.id, span: page(0), byte: b'b' })?;
        let map = short_buffer(t)?;
        fails(t, data, page(5), map)?;
        if write(t, data, pages(1, 10), (map, 0))? != Ok(PAGE) {
            return Ok(false);
        }
        t.reads(data, "bw.*30")?;
        t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: pages(6, 5) })?;
        t.reads(data, "bw.*30")?;
        t.reads(other, "a")?;
        Ok(true)
    })
}

case! {
    /// A file ends in a mapped page, beside one that it shares, and grows. The mapping shows that page as
    /// the file has it, and a punch waits for a pin of it.
    tail: "write/grow-beside-shared",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::ZERO_SHARED,
}
fn tail(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "ab")?;
    let other = t.file("other", ".")?;
    t.run(Action::Truncate { file: data.id, size: PAGE + 4 * SECTOR })?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: Span { at: PAGE + SECTOR, len: SECTOR }, byte: b's' })?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.run(Action::Write { file: data.id, span: page(3), byte: b'd' })?;
    t.reads(data, "w[bsbb....].d")?;
    t.loads(map, page(1), "[bsbb....]")?;
    let pin = t.pin(map, page(1))?;
    let op = t.begin(Action::Fallocate { file: data.id, mode: Mode::Punch, span: page(1) })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "[bsbb....]")?;
    t.reads(data, "w..d")?;
    t.reads(other, "a")
}
