//! What the kernel itself copies or zeroes in DAX files is flushed from the processor's caches, at the
//! latest by the next fsync: else a power failure loses it.
//!
//! No mapping is stored through here, so nothing is dirty, and what an fsync must write back is nothing.
//! The block that copy-on-write gave the file is new, though, and what it holds was on the medium before
//! in another.

use crate::action::{Action, Mode, PAGE, SECTOR, Span, page, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, File, Test};

/// Where to look if what was copied was not flushed.
const COPY: &str =
    "the copy of what is shared: a power failure loses it, although it was on the medium before";

/// A part in the middle of the first page.
const PART: Span = Span { at: 2 * SECTOR, len: SECTOR };

/// What is before it in the page.
const BEFORE: Span = Span { at: 0, len: PART.at };

/// What is behind it.
const BEHIND: Span = Span { at: PART.at + PART.len, len: PAGE - PART.at - PART.len };

/// A file of two pages on the medium, which another shares.
fn shared(t: &mut Test<'_>) -> Checked<File> {
    let data = t.file("data", "ab")?;
    let other = t.file("other", "")?;
    t.run(Action::Clone { from: data.id, span: pages(0, 2), to: other.id, at: 0 })?;
    for file in [data, other] {
        t.run(Action::Fsync { file: file.id, data_only: false })?;
    }
    t.forget_flushes()?;
    Ok(data)
}

/// `action` has a page of a shared file copied. Once an fsync has returned, all of `spans`, of a page each, was
/// flushed, or is still where it was.
fn flushed_after(
    t: &mut Test<'_>,
    action: impl FnOnce(File) -> Action,
    spans: &[Span],
) -> Checked<File> {
    let data = shared(t)?;
    let blocks = t.blocks(data)?;
    t.run(action(data))?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    for span in spans {
        t.flushed_or_left(data, *span, blocks[(span.at / PAGE) as usize], COPY)?;
    }
    Ok(data)
}

case! {
    /// write(2) to part of a page that another file shares copies the rest of it to a new block. After an
    /// fsync that is on the medium.
    write_part: "flush/write-part-of-shared",
    groups: ["quick"], needs: [Reflink, Flushes], limit: 180, origin: origin::FSYNC,
}
fn write_part(t: &mut Test<'_>) -> Checked {
    let write = |data: File| Action::Write { file: data.id, span: PART, byte: b'w' };
    let data = flushed_after(t, write, &[BEFORE, BEHIND])?;
    t.reads(data, "[aawaaaaa]b")
}

case! {
    /// Pages that another file shares are unshared, which copies them to new blocks. After an fsync they are
    /// on the medium.
    unshare: "flush/unshare",
    groups: ["quick"], needs: [Reflink, Flushes], limit: 180, origin: origin::FSYNC,
}
fn unshare(t: &mut Test<'_>) -> Checked {
    let span = pages(0, 2);
    let unshare = |data: File| Action::Fallocate { file: data.id, mode: Mode::Unshare, span };
    let data = flushed_after(t, unshare, &[page(0), page(1)])?;
    t.reads(data, "ab")
}

case! {
    /// Part of a page that another file shares is punched, which copies the rest of it to a new block. After
    /// an fsync that and the zeros are on the medium.
    punch_part: "flush/punch-part-of-shared",
    groups: ["quick"], needs: [Reflink, Flushes], limit: 180, origin: origin::FSYNC,
}
fn punch_part(t: &mut Test<'_>) -> Checked {
    let punch = |data: File| Action::Fallocate { file: data.id, mode: Mode::Punch, span: PART };
    let data = flushed_after(t, punch, &[page(0)])?;
    t.reads(data, "[aa.aaaaa]b")
}

case! {
    /// A file is truncated within a page that another file shares, which copies what is left of that to a new
    /// block. After an fsync that is on the medium.
    truncate_part: "flush/truncate-in-shared",
    groups: ["quick"], needs: [Reflink, Flushes], limit: 180, origin: origin::FSYNC,
}
fn truncate_part(t: &mut Test<'_>) -> Checked {
    let truncate = |data: File| Action::Truncate { file: data.id, size: PART.at };
    let data = flushed_after(t, truncate, &[BEFORE])?;
    t.reads(data, "a")
}

case! {
    /// A store to a page that another file shares copies it to a new block. After an fsync all of that is on
    /// the medium: the page is dirty.
    store: "flush/store-to-shared",
    groups: ["quick"], needs: [Reflink, Flushes], limit: 180, origin: origin::FSYNC,
}
fn store(t: &mut Test<'_>) -> Checked {
    let data = shared(t)?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: PART, byte: b's' })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.flushed(data, page(0), COPY)?;
    t.reads(data, "[aasaaaaa]b")
}

case! {
    /// Part of a page that nobody shares is punched. After an fsync the zeros are on the medium.
    punch_own: "flush/punch-part",
    groups: ["quick"], needs: [Flushes], limit: 180, origin: origin::FSYNC,
}
fn punch_own(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "ab")?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.forget_flushes()?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: PART })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.flushed(
        data,
        PART,
        "what zeroes part of a block: a power failure brings back what was there",
    )?;
    t.reads(data, "[aa.aaaaa]b")
}
