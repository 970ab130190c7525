//! Races against the break in which the case chooses the interleaving.
//!
//! A task is held at a point of the break, the case does what must meet that window, and lets it
//! go: what is a matter of luck in `race` happens in each round. What is checked must hold in any
//! order, so a failure is one whether or not the task stood; that all went well shows something
//! only if it did. If it went on by itself, or did not come by, the case tries again, and in the
//! end is not exercised.

mod two_files;

use nix::libc;

use crate::action::{
    Action, Direction, MapId, Mode, PAGE, PinId, PinKind, Reply, SECTOR, Span, TaskId, page, pages,
};
use crate::case::case;
use crate::huge::FILLED;
use crate::kind;
use crate::origin;
use crate::system::{HoldPoint, Kinship, MAIN};
use crate::test::{Checked, File, Test, answer, fail};
use crate::write::short_buffer;

/// What must come true for a case to have shown something.
pub(crate) const STOOD: &str = "did the task stand until it was let go";

fn punch(file: File, span: Span) -> Action {
    Action::Fallocate { file: file.id, mode: Mode::Punch, span }
}

fn fsync(file: File) -> Action {
    Action::Fsync { file: file.id, data_only: false }
}

case! {
    /// Race B of 2018: the scan finds a busy page, which goes idle before the break waits for it;
    /// the page behind it stays pinned. The break must look again and find that one.
    scan_again: "directed/scan-again",
    groups: [], needs: [Hold(ScanFoundBusy)], limit: 180, origin: origin::RACE,
}
fn scan_again(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "ab")?;
        let map = t.map(data)?;
        let first = t.pin(map, page(0))?;
        let last = t.pin(map, page(1))?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(breaker, HoldPoint::ScanFoundBusy)?;
        let op = t.begin_as(breaker, punch(data, pages(0, 2)))?;
        t.arrived(&hold)?;
        t.release(first)?;
        let stood = t.go(&hold)?;
        t.blocked(&op)?;
        t.ends_with(&op, last)?;
        t.reads(data, "..")?;
        Ok(stood)
    })
}

case! {
    /// The last pin goes when the break has found it and has not queued itself for the wake-up yet.
    /// Nobody wakes it later, so it must look again before it sleeps.
    wake_before_sleep: "directed/wake-before-sleep",
    groups: [], needs: [Hold(WaitEntered)], limit: 180, origin: origin::RACE,
}
fn wake_before_sleep(t: &mut Test<'_>) -> Checked {
    released_before_sleep(t, PinKind::Splice)
}

fn released_before_sleep(t: &mut Test<'_>, kind: PinKind) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "a")?;
        let map = t.map(data)?;
        let pin = t.pin_as(MAIN, map, page(0), kind)?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(breaker, HoldPoint::WaitEntered)?;
        let op = t.begin_as(breaker, punch(data, page(0)))?;
        t.arrived(&hold)?;
        t.release(pin)?;
        let stood = t.go(&hold)?;
        t.finished(&op)?;
        t.transferred(pin, "a")?;
        t.reads(data, ".")?;
        Ok(stood)
    })
}

case! {
    /// The same with a pin that another process has, which reads the page.
    wake_before_sleep_vm: "directed/wake-before-sleep-vm-read",
    groups: [], needs: [Hold(WaitEntered)], pins: kind::VM_READ.kind, limit: 180,
    origin: origin::RACE,
}
fn wake_before_sleep_vm(t: &mut Test<'_>) -> Checked {
    released_before_sleep(t, kind::VM_READ.kind)
}

case! {
    /// The same with a pin that the buffer of a socket has.
    wake_before_sleep_zerocopy: "directed/wake-before-sleep-zerocopy",
    groups: [], needs: [Hold(WaitEntered)], pins: kind::ZEROCOPY.kind, limit: 180,
    origin: origin::RACE,
}
fn wake_before_sleep_zerocopy(t: &mut Test<'_>) -> Checked {
    released_before_sleep(t, kind::ZEROCOPY.kind)
}

/// A file with one page, which holds "b", is not written back, and is pinned.
fn dirty_and_pinned(t: &mut Test<'_>) -> Checked<(File, MapId, PinId)> {
    let data = t.file("data", "a")?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(0), byte: b'b' })?;
    let pin = t.pin(map, page(0))?;
    Ok((data, map, pin))
}

case! {
    /// A pinned page is punched while fsync writes it back and has its entry locked. The break must
    /// wait for the entry and then for the pin: who skips the entry misses the pin.
    entry_locked: "directed/entry-locked",
    groups: [], needs: [Hold(EntryLocked)], limit: 180,
    origin: origin::LOCKED,
}
fn entry_locked(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let (data, _, pin) = dirty_and_pinned(t)?;
        let syncer = t.spawn(MAIN, Kinship::Thread)?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(syncer, HoldPoint::EntryLocked)?;
        let sync = t.begin_as(syncer, fsync(data))?;
        t.arrived(&hold)?;
        let op = t.begin_as(breaker, punch(data, page(0)))?;
        t.waits_for_held(&op, &hold)?;
        let stood = t.go(&hold)?;
        t.finished(&sync)?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "b")?;
        t.reads(data, ".")?;
        Ok(stood)
    })
}

case! {
    /// The same when the punch has unmapped the page before fsync locks its entry: the break that
    /// looks now finds an entry which was not locked when it began.
    locked_after_unmapping: "directed/locked-after-unmapping",
    groups: [], needs: [Hold(Unmapped), Hold(EntryLocked)], limit: 180,
    origin: origin::LOCKED,
}
fn locked_after_unmapping(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let (data, _, pin) = dirty_and_pinned(t)?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let syncer = t.spawn(MAIN, Kinship::Thread)?;
        let order = t.order([
            (breaker, HoldPoint::Unmapped, punch(data, page(0))),
            (syncer, HoldPoint::EntryLocked, fsync(data)),
        ])?;
        let [op, sync] = &order.ops;
        t.waits_for_held(op, &order.last)?;
        let stood = t.end_order(&order)?;
        t.finished(sync)?;
        t.blocked(op)?;
        t.ends_with(op, pin)?;
        t.transferred(pin, "b")?;
        t.reads(data, ".")?;
        Ok(stood)
    })
}

case! {
    /// A pinned page is stored to while fsync writes it back and has made it clean. The store is a
    /// new one: the page is dirty again, and the next fsync writes it back.
    store_while_written: "directed/store-while-written",
    groups: [], needs: [Hold(EntryLocked)], limit: 180,
    origin: origin::LOCKED,
}
fn store_while_written(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let (data, map, pin) = dirty_and_pinned(t)?;
        let syncer = t.spawn(MAIN, Kinship::Thread)?;
        let storer = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(syncer, HoldPoint::EntryLocked)?;
        let sync = t.begin_as(syncer, fsync(data))?;
        t.arrived(&hold)?;
        let store = t.begin_as(storer, Action::Store { map, span: page(0), byte: b'c' })?;
        t.rests(&store)?;
        let stood = t.go(&hold)?;
        t.finished(&sync)?;
        t.finished(&store)?;
        t.run(fsync(data))?;
        t.release(pin)?;
        t.transferred(pin, "c")?;
        t.reads(data, "c")?;
        Ok(stood)
    })
}

/// Somebody wants a mapped page whose punch is held at `point`: `want` must wait until the page is
/// gone, and then finds a hole.
fn newcomer(t: &mut Test<'_>, point: HoldPoint, want: fn(MapId, PinId) -> Action) -> Checked {
    newcomer_after(t, point, |_, _, newcomer| Ok(newcomer), want)
}

/// The same when something is done to the mapping first, which may bring another newcomer.
fn newcomer_after(
    t: &mut Test<'_>,
    point: HoldPoint,
    first: fn(&mut Test<'_>, MapId, TaskId) -> Checked<TaskId>,
    want: fn(MapId, PinId) -> Action,
) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "ab")?;
        let map = t.map(data)?;
        // In the page table, which an unmapping that does not happen leaves as it is.
        t.loads(map, page(0), "a")?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let newcomer = t.spawn(MAIN, Kinship::Thread)?;
        let pin = t.new_pin_id();
        let hold = t.hold(breaker, point)?;
        let op = t.begin_as(breaker, punch(data, page(0)))?;
        t.arrived(&hold)?;
        let newcomer = first(t, map, newcomer)?;
        let wanted = t.begin_as(newcomer, want(map, pin))?;
        t.waits_for_held(&wanted, &hold)?;
        let stood = t.go(&hold)?;
        t.finished(&op)?;
        let got = t.finished(&wanted)?;
        if matches!(want(map, pin), Action::Pin { .. }) {
            t.release(pin)?;
            t.transferred(pin, ".")?;
        } else {
            t.same("the load got", got.result, ".")?;
        }
        t.reads(data, ".b")?;
        Ok(stood)
    })
}

fn a_pin(map: MapId, pin: PinId) -> Action {
    Action::Pin { pin, map, span: page(0), kind: PinKind::Splice }
}

fn a_load(map: MapId, _: PinId) -> Action {
    Action::Load { map, span: page(0) }
}

case! {
    /// A page is to be pinned when the break has unmapped it and has not looked yet whether it is
    /// busy. Whoever pins it must fault, and the fault waits for the break.
    pin_before_scan: "directed/pin-before-scan",
    groups: [], needs: [Hold(Unmapped)], limit: 180, origin: origin::RACE,
}
fn pin_before_scan(t: &mut Test<'_>) -> Checked {
    newcomer(t, HoldPoint::Unmapped, a_pin)
}

case! {
    /// Race A of 2018: a page is to be pinned when the break has found it idle and has not removed
    /// it yet. A pin that is granted now is one of a page that is about to be freed.
    pin_after_scan: "directed/pin-after-scan",
    groups: [], needs: [Hold(ScanFoundNone)], limit: 180, origin: origin::RACE,
}
fn pin_after_scan(t: &mut Test<'_>) -> Checked {
    newcomer(t, HoldPoint::ScanFoundNone, a_pin)
}

case! {
    /// A mapped page is read when the break has unmapped it and has not looked yet whether it is
    /// busy. The fault waits for the break, or it would map again what was unmapped.
    fault_before_scan: "directed/fault-before-scan",
    groups: [], needs: [Hold(Unmapped)], limit: 180, origin: origin::RACE,
}
fn fault_before_scan(t: &mut Test<'_>) -> Checked {
    newcomer(t, HoldPoint::Unmapped, a_load)
}

case! {
    /// A mapped page is read when the break has found it idle and has not removed it yet. The fault
    /// waits for the break, or it would map a page that is about to be freed.
    fault_after_scan: "directed/fault-after-scan",
    groups: [], needs: [Hold(ScanFoundNone)], limit: 180, origin: origin::RACE,
}
fn fault_after_scan(t: &mut Test<'_>) -> Checked {
    newcomer(t, HoldPoint::ScanFoundNone, a_load)
}

case! {
    /// A process is forked when the break has unmapped a page and has not looked yet whether it is
    /// busy. The child has no way to the page that the break does not know of: its fault waits.
    fork_before_scan: "directed/fork-before-scan",
    groups: [], needs: [Hold(Unmapped)], limit: 180, origin: origin::RACE,
}
fn fork_before_scan(t: &mut Test<'_>) -> Checked {
    newcomer_after(t, HoldPoint::Unmapped, |t, _, _| t.fork(), a_load)
}

case! {
    /// mprotect(2) takes all access to a mapping, and gives it back, when the break has unmapped a page
    /// of it and has not looked yet whether it is busy. That does not map the page: the next fault waits.
    protect_before_scan: "directed/protect-before-scan",
    groups: [], needs: [Hold(Unmapped)], limit: 180, origin: origin::RACE,
}
fn protect_before_scan(t: &mut Test<'_>) -> Checked {
    let protect = |t: &mut Test<'_>, map, newcomer| {
        t.run(Action::Protect { map })?;
        Ok(newcomer)
    };
    newcomer_after(t, HoldPoint::Unmapped, protect, a_load)
}

case! {
    /// mremap(2) moves a mapping when the break has unmapped a page of it and has not looked yet whether
    /// it is busy. No page comes with it that the break took away: the next fault waits.
    move_before_scan: "directed/move-before-scan",
    groups: [], needs: [Hold(Unmapped)], limit: 180, origin: origin::RACE,
}
fn move_before_scan(t: &mut Test<'_>) -> Checked {
    let relocate = |t: &mut Test<'_>, map, newcomer| {
        t.run(Action::Move { map })?;
        Ok(newcomer)
    };
    newcomer_after(t, HoldPoint::Unmapped, relocate, a_load)
}

/// A fault of a page is held at `point` while the page is punched: the punch waits for it, for it has
/// the page or is about to, and takes it away again.
fn break_in_fault(t: &mut Test<'_>, point: HoldPoint) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "ab")?;
        let map = t.map(data)?;
        let loader = t.spawn(MAIN, Kinship::Thread)?;
        let breaker = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(loader, point)?;
        let load = t.begin_as(loader, Action::Touch { map, span: page(0) })?;
        t.arrived(&hold)?;
        let op = t.begin_as(breaker, punch(data, page(0)))?;
        t.waits_for_held(&op, &hold)?;
        let stood = t.go(&hold)?;
        t.finished(&load)?;
        t.finished(&op)?;
        t.loads(map, pages(0, 2), ".b")?;
        t.reads(data, ".b")?;
        Ok(stood)
    })
}

case! {
    /// A page is punched while a fault has begun to map it. The punch waits for the fault, or the page
    /// would be mapped when it is free.
    break_at_fault: "directed/punch-in-fault",
    groups: [], needs: [Hold(FaultEntered)], limit: 180, origin: origin::HOLES,
}
fn break_at_fault(t: &mut Test<'_>) -> Checked {
    break_in_fault(t, HoldPoint::FaultEntered)
}

case! {
    /// The same when the fault has looked up the block of the page, and enters it next.
    break_at_entry: "directed/punch-before-entry",
    groups: [], needs: [Hold(PageFound)], limit: 180, origin: origin::HOLES,
}
fn break_at_entry(t: &mut Test<'_>) -> Checked {
    break_in_fault(t, HoldPoint::PageFound)
}

case! {
    /// A page is read through a mapping and pinned after write(2) has given it a block, and before it
    /// has taken away the zeros that were mapped there until then. The page is none of those: it
    /// stays known, and a punch waits for the pin.
    pin_in_write: "directed/pin-in-write",
    groups: [], needs: [Hold(WriteAllocated)], limit: 180, origin: origin::INVALIDATE,
}
fn pin_in_write(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", ".b")?;
        let map = t.map(data)?;
        let writer = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(writer, HoldPoint::WriteAllocated)?;
        let write =
            t.begin_as(writer, Action::Write { file: data.id, span: page(0), byte: b'w' })?;
        t.arrived(&hold)?;
        let pin = t.pin(map, page(0))?;
        let stood = t.go(&hold)?;
        t.finished(&write)?;
        let op = t.begin(punch(data, page(0)))?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "w")?;
        t.reads(data, ".b")?;
        Ok(stood)
    })
}

/// A page that two files share is mapped, and written by write(2), which is held when it has written
/// its copy. Does what `meanwhile` says then, and has `check` look afterwards.
fn while_copied(
    t: &mut Test<'_>,
    meanwhile: fn(MapId) -> Action,
    check: fn(&mut Test<'_>, File, MapId) -> Checked,
) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "ab")?;
        let other = t.file("other", "..")?;
        t.run(Action::Clone { from: data.id, span: pages(0, 2), to: other.id, at: 0 })?;
        let map = t.map(data)?;
        let writer = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(writer, HoldPoint::CopyWritten)?;
        let write =
            t.begin_as(writer, Action::Write { file: data.id, span: page(0), byte: b'w' })?;
        t.arrived(&hold)?;
        let op = t.begin(meanwhile(map))?;
        // Whether it waits for the write is open.
        t.settled(&op)?;
        t.is_open(&op);
        let stood = t.go(&hold)?;
        t.finished(&write)?;
        t.finished(&op)?;
        check(t, data, map)?;
        t.reads(other, "ab")?;
        Ok(stood)
    })
}

case! {
    /// A shared page is read through a mapping when write(2) has written its copy and has not made it the
    /// file's. Afterwards the mapping shows what was written.
    load_in_copy: "directed/load-in-copy",
    groups: [], needs: [Reflink, Hold(CopyWritten)], limit: 180, origin: origin::COW,
}
fn load_in_copy(t: &mut Test<'_>) -> Checked {
    while_copied(
        t,
        |map| Action::Touch { map, span: page(0) },
        |t, data, map| {
            t.reads(data, "wb")?;
            t.loads(map, pages(0, 2), "wb")
        },
    )
}

case! {
    /// A sector of a shared page is stored to when write(2) has written its copy and has not made it the
    /// file's. Of what was written nothing else is lost.
    store_in_copy: "directed/store-in-copy",
    groups: [], needs: [Reflink, Hold(CopyWritten)], limit: 180, origin: origin::COW,
}
fn store_in_copy(t: &mut Test<'_>) -> Checked {
    while_copied(
        t,
        |map| Action::Store { map, span: Span { at: SECTOR, len: SECTOR }, byte: b's' },
        |t, data, map| {
            let seen = answer(&t.quietly(MAIN, Action::Read { file: data.id, span: page(0) })?);
            // Either may come first.
            let right = ["\"w\"", "\"[wswwwwww]\""];
            if !right.contains(&seen.as_str()) {
                return fail("page 0 of data reads \"w\" or \"[wswwwwww]\"", &seen, "");
            }
            t.say("the page has what was written, and perhaps what was stored");
            let shown = answer(&t.quietly(MAIN, Action::Load { map, span: page(0) })?);
            if shown != seen {
                return fail("the mapping shows what the file has", &shown, "");
            }
            t.reads_part(data, page(1))
        },
    )
}

case! {
    /// A page that two files share is stored to while a write(2) to it and to the page before fails, for its
    /// buffer cannot be read. What was stored is in the file.
    store_in_failing: "directed/store-in-failing-write",
    groups: [], needs: [Reflink, Hold(FaultEntered), Hold(CopyWritten)], limit: 180, origin: origin::COW,
}
fn store_in_failing(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let data = t.file("data", "ab")?;
        let other = t.file("other", "..")?;
        t.run(Action::Clone { from: data.id, span: pages(0, 2), to: other.id, at: 0 })?;
        let buffer = short_buffer(t)?;
        let map = t.map(data)?;
        let writer = t.spawn(MAIN, Kinship::Thread)?;
        let storer = t.spawn(MAIN, Kinship::Thread)?;
        let write = Action::DirectIo {
            file: data.id,
            span: pages(0, 2),
            map: buffer,
            buffer: PAGE,
            direction: Direction::FromMemory,
        };
        let store = Action::Store { map, span: page(1), byte: b's' };
        let order = t.order([
            (writer, HoldPoint::FaultEntered, write),
            (storer, HoldPoint::CopyWritten, store),
        ])?;
        let [write, store] = &order.ops;
        // Whether it waits for the store is open.
        t.rests(write)?;
        let kept = t.end_order(&order)?;
        t.failed(write, libc::EFAULT)?;
        t.finished(store)?;
        t.reads(data, "as")?;
        t.loads(map, pages(0, 2), "as")?;
        t.reads(other, "ab")?;
        Ok(kept)
    })
}

/// A file that shares pages with another one, and what is stored to it.
struct Sharers {
    data: File,
    other: File,
    /// What the other one holds.
    holds: &'static str,
    /// One after the other.
    stored: &'static [Span],
}

/// `action` of page 0 of a file is held when it has found a block, and is about to copy; stores take that
/// block from the file meanwhile, and another file grows, which is given it, if the kernel does that. Has
/// `check` look afterwards.
fn while_moved(
    t: &mut Test<'_>,
    sharers: fn(&mut Test<'_>) -> Checked<Sharers>,
    action: fn(File) -> Action,
    check: fn(&mut Test<'_>, File, &Reply) -> Checked,
) -> Checked {
    t.until(STOOD, |t| {
        // It lies before the others, so what it grows by comes from where the next one has page 0.
        let before = t.file("before", "n.")?;
        let Sharers { data, other, holds, stored } = sharers(t)?;
        let map = t.map(data)?;
        let user = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(user, HoldPoint::BlockFound)?;
        let op = t.begin_as(user, action(data))?;
        t.arrived(&hold)?;
        let mut stores = Vec::new();
        for span in stored {
            let storer = t.spawn(MAIN, Kinship::Thread)?;
            let store = t.begin_as(storer, Action::Store { map, span: *span, byte: b's' })?;
            // Whether it waits for the other is open.
            t.settled(&store)?;
            t.is_open(&store);
            stores.push(store);
        }
        // So that what was freed can be used again.
        t.run(fsync(data))?;
        t.run(Action::Write { file: before.id, span: page(1), byte: b'n' })?;
        let stood = t.go(&hold)?;
        let done = t.finished(&op)?;
        for store in &stores {
            t.finished(store)?;
        }
        t.reads(before, "nn")?;
        t.reads(other, holds)?;
        if let Ok(reply) = &done.result {
            check(t, data, reply)?;
        }
        Ok(stood)
    })
}

/// Of two pages the second is shared, and stored to first.
fn second_shared(t: &mut Test<'_>) -> Checked<Sharers> {
    const STORED: &[Span] = &[Span { at: PAGE, len: SECTOR }, Span { at: 0, len: SECTOR }];
    let data = t.file("data", "ab")?;
    let other = t.file("other", "..")?;
    t.run(Action::Clone { from: data.id, span: page(1), to: other.id, at: PAGE })?;
    Ok(Sharers { data, other, holds: ".b", stored: STORED })
}

/// A file that can be mapped by huge pages is shared; the store goes to a page of it.
fn huge_shared(t: &mut Test<'_>) -> Checked<Sharers> {
    const STORED: &[Span] = &[Span { at: 100 * PAGE, len: PAGE }];
    let all = Span { at: 0, len: 2 << 20 };
    let data = t.huge_file("data", all.len, FILLED)?;
    let other = t.file("other", "")?;
    t.run(Action::Clone { from: data.id, span: all, to: other.id, at: 0 })?;
    Ok(Sharers { data, other, holds: "h*512", stored: STORED })
}

/// `seen` must be one of these.
fn is_one_of(t: &mut Test<'_>, what: &str, right: [&str; 2], seen: &str) -> Checked {
    let [one, other] = right;
    if !right.contains(&seen) {
        return fail(&format!("{what} {one} or {other}"), seen, "");
    }
    t.say(&format!("{what} what it must, with the store or without"));
    Ok(())
}

case! {
    /// write(2) has found the block of a page and is about to copy to it when a store through a mapping moves
    /// the page to another block. What was written is in the file, and in nobody else's.
    moved_from_write: "directed/store-moves-written",
    groups: [], needs: [Reflink, Hold(BlockFound)], limit: 180, origin: origin::COW,
}
fn moved_from_write(t: &mut Test<'_>) -> Checked {
    while_moved(
        t,
        second_shared,
        |data| Action::Write { file: data.id, span: page(0), byte: b'w' },
        |t, data, _| {
            let seen = answer(&t.quietly(MAIN, Action::Read { file: data.id, span: page(0) })?);
            is_one_of(t, "page 0 of data reads", ["\"w\"", "\"[swwwwwww]\""], &seen)
        },
    )
}

case! {
    /// read(2) has found the block of a page and is about to copy from it when a store through a mapping moves
    /// the page to another block. It reads what the file holds, and nothing of anybody else's.
    moved_from_read: "directed/store-moves-read",
    groups: [], needs: [Reflink, Hold(BlockFound)], limit: 180, origin: origin::COW,
}
fn moved_from_read(t: &mut Test<'_>) -> Checked {
    while_moved(
        t,
        second_shared,
        |data| Action::Read { file: data.id, span: page(0) },
        |t, _, reply| is_one_of(t, "it reads", ["\"a\"", "\"[saaaaaaa]\""], &reply.to_string()),
    )
}

case! {
    /// write(2) has a block for its copy of a page that is shared, and is about to copy to it, when a store
    /// through a mapping to another page of the same 2 MiB faults. What was written is in the file, and in
    /// nobody else's.
    huge_fault_in_write: "directed/huge-fault-beside-write",
    groups: [], needs: [Reflink, Huge, Hold(BlockFound)], limit: 180, origin: origin::COW,
}
fn huge_fault_in_write(t: &mut Test<'_>) -> Checked {
    while_moved(
        t,
        huge_shared,
        |data| Action::Write { file: data.id, span: page(0), byte: b'w' },
        |t, data, _| {
            let seen = answer(&t.quietly(MAIN, Action::Read { file: data.id, span: page(0) })?);
            if seen != "\"w\"" {
                return fail("page 0 of data reads \"w\"", &seen, "");
            }
            t.say("page 0 of data has what was written");
            Ok(())
        },
    )
}
