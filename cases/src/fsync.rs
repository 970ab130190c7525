//! fsync of a file some of whose pages are pinned neither waits for the pin, nor fails because
//! of it, nor skips what was dirty.
//!
//! Of a page-cache file the device tells: it is read around the cache. A DAX file reads as it was
//! stored to whether it was written back or not; that fsync skips no page of it is for the oracle
//! *durable* to say ([`crate::oracle`]), which sees what the kernel flushes.

use crate::action::{Action, Direction, Engine, Medium, PAGE, PinId, SECTOR, Span, page, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, File, Test};
use crate::write::{fails, short_buffer};

/// Both kinds of fsync return, with success, while the pin is held.
fn syncs(t: &mut Test<'_>, file: File) -> Checked {
    for data_only in [false, true] {
        let op = t.begin(Action::Fsync { file: file.id, data_only })?;
        t.finished(&op)?;
    }
    Ok(())
}

/// Dirties every page through a mapping, one of them pinned for reading, and syncs.
fn under_read_pin(t: &mut Test<'_>, medium: Medium) -> Checked {
    let data = t.file_on(medium, "data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: pages(0, 4), byte: b'x' })?;
    let pin = t.pin(map, page(2))?;
    syncs(t, data)?;
    t.stored(data, pages(0, 4), "xxxx")?;
    // Dirty again under the same pin: the page must be written again.
    t.run(Action::Store { map, span: pages(1, 2), byte: b'y' })?;
    syncs(t, data)?;
    t.stored(data, pages(0, 4), "xyyx")?;
    t.release(pin)?;
    t.transferred(pin, "y")?;
    t.reads(data, "xyyx")
}

case! {
    /// fsync of a DAX file with a page pinned for reading returns, succeeds, and writes back all.
    read_pin: "fsync/under-read-pin",
    groups: ["quick"], needs: [], limit: 180, origin: origin::WRITEBACK,
}
fn read_pin(t: &mut Test<'_>) -> Checked {
    under_read_pin(t, Medium::Dax)
}

case! {
    /// fsync of a page-cache file with a page pinned for reading returns, succeeds, and writes
    /// all.
    read_pin_page_cache: "fsync/under-read-pin-page-cache",
    groups: ["quick"], needs: [PageCache], limit: 240, origin: origin::WRITEBACK,
}
fn read_pin_page_cache(t: &mut Test<'_>) -> Checked {
    under_read_pin(t, Medium::PageCache)
}

/// Ends direct I/O into memory of `expected` bytes and syncs what it brought.
fn land(t: &mut Test<'_>, data: File, pin: PinId, bytes: u64) -> Checked {
    t.release(pin)?;
    t.reap(pin, bytes)?;
    syncs(t, data)
}

/// Dirties every page, one of them the target of direct I/O in flight, and syncs.
fn under_write_pin(t: &mut Test<'_>, medium: Medium) -> Checked {
    let data = t.file_on(medium, "data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: pages(0, 4), byte: b'x' })?;
    let pin = t.pin_direct(map, page(2), Engine::Aio, Direction::IntoMemory, b'z')?;
    syncs(t, data)?;
    t.stored(data, pages(0, 2), "xx")?;
    t.stored(data, page(3), "x")?;
    land(t, data, pin, PAGE)?;
    t.stored(data, pages(0, 4), "xxzx")?;
    t.reads(data, "xxzx")
}

case! {
    /// fsync of a DAX file into which direct I/O is in flight returns, succeeds, and writes back
    /// what was stored; what the I/O brought is there. Whether a later fsync writes that, too, is
    /// open: a kernel keeps no record of what DMA brings to a page that it has written back.
    write_pin: "fsync/under-write-pin",
    groups: ["quick"], needs: [HeldIo], limit: 180, origin: origin::WRITEBACK,
}
fn write_pin(t: &mut Test<'_>) -> Checked {
    under_write_pin(t, Medium::Dax)
}

case! {
    /// fsync of a page-cache file into which direct I/O is in flight returns and succeeds; a
    /// later one writes what the I/O brought.
    write_pin_page_cache: "fsync/under-write-pin-page-cache",
    groups: ["quick"], needs: [HeldIo, PageCache], limit: 240, origin: origin::WRITEBACK,
}
fn write_pin_page_cache(t: &mut Test<'_>) -> Checked {
    under_write_pin(t, Medium::PageCache)
}

/// One half of a page is written by direct I/O in flight, the other by the CPU; both survive.
fn mixed(t: &mut Test<'_>, medium: Medium) -> Checked {
    let half = PAGE / 2;
    let data = t.file_on(medium, "data", "abcd")?;
    let map = t.map(data)?;
    let dma = Span { at: 2 * PAGE, len: half };
    let cpu = Span { at: 2 * PAGE + half, len: half };
    let pin = t.pin_direct(map, dma, Engine::Aio, Direction::IntoMemory, b'z')?;
    t.run(Action::Store { map, span: cpu, byte: b'y' })?;
    syncs(t, data)?;
    land(t, data, pin, half)?;
    t.stored(data, pages(0, 4), "ab[zzzzyyyy]d")?;
    t.loads(map, page(2), "[zzzzyyyy]")?;
    t.reads(data, "ab[zzzzyyyy]d")
}

case! {
    /// One part of a DAX page is written by direct I/O in flight and another by the CPU, with
    /// fsync in between: neither is overwritten. That fsync writes both is shown on the reference
    /// only.
    mixed_page: "fsync/mixed-page",
    groups: ["quick"], needs: [HeldIo], limit: 180, origin: origin::WRITEBACK,
}
fn mixed_page(t: &mut Test<'_>) -> Checked {
    mixed(t, Medium::Dax)
}

case! {
    /// One part of a page-cache page is written by direct I/O in flight and another by the CPU,
    /// with fsync in between: neither is lost.
    mixed_page_cache: "fsync/mixed-page-page-cache",
    groups: ["quick"], needs: [HeldIo, PageCache], limit: 240, origin: origin::WRITEBACK,
}
fn mixed_page_cache(t: &mut Test<'_>) -> Checked {
    mixed(t, Medium::PageCache)
}

case! {
    /// A page that was stored to is written back by fsync although a part of it was written with
    /// write(2) since. It shares its block with nobody, but lies beside a page that did: copy-on-write
    /// of that one may have prepared a block for this one, too.
    part_written: "fsync/part-written-beside-shared",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::COW_EDGES,
}
fn part_written(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "aaaaaaaa")?;
    let other = t.file("other", ".")?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(5), byte: b'x' })?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'b' })?;
    let part = Span { at: 5 * PAGE, len: SECTOR };
    t.run(Action::Write { file: data.id, span: part, byte: b'y' })?;
    syncs(t, data)?;
    t.reads(data, "baaaa[yxxxxxxx]aa")?;
    t.reads(other, "a")
}

case! {
    /// A page that was stored to is written back by fsync although a write(2) to it failed since, because its
    /// buffer could not be read. It lies beside a page that another file shares.
    write_failed: "fsync/failed-write-beside-shared",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::WRITE,
}
fn write_failed(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "aaaaaaaa")?;
    let other = t.file("other", ".")?;
    let buffer = short_buffer(t)?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(5), byte: b'x' })?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'b' })?;
    fails(t, data, page(5), buffer)?;
    syncs(t, data)?;
    t.reads(data, "baaaaxaa")?;
    t.reads(other, "a")
}
