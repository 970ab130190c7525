//! A break waits for a pin, and for nothing else.

use nix::libc;

use crate::action::{
    Action, Direction, Engine, FileId, MapId, Mode, PAGE, PinId, PinKind, Reply, Sharing, Span,
    page, pages,
};
use crate::case::{case, origin};
use crate::system::{MAIN, Signal};
use crate::test::{Checked, File, Op, Test, waited};

/// An operation that gives pages of a file away, and what the file "abcd" becomes.
struct Change {
    action: fn(FileId) -> Action,
    after: &'static str,
}

/// Each takes page 2 away, moves it, or changes its size. All of them must break the layout.
const TRUNCATE_DOWN: Change =
    Change { action: |file| Action::Truncate { file, size: PAGE }, after: "a" };
const TRUNCATE_UP: Change =
    Change { action: |file| Action::Truncate { file, size: 6 * PAGE }, after: "abcd.." };
const OPEN_TRUNCATE: Change = Change { action: |file| Action::OpenTruncate { file }, after: "" };
const PUNCH: Change = Change {
    action: |file| Action::Fallocate { file, mode: Mode::Punch, span: pages(1, 2) },
    after: "a..d",
};
const ZERO: Change = Change {
    action: |file| Action::Fallocate { file, mode: Mode::Zero, span: pages(1, 2) },
    after: "a..d",
};
const COLLAPSE: Change = Change {
    action: |file| Action::Fallocate { file, mode: Mode::Collapse, span: pages(1, 2) },
    after: "ad",
};
const INSERT: Change = Change {
    action: |file| Action::Fallocate { file, mode: Mode::Insert, span: pages(1, 2) },
    after: "a..bcd",
};

/// One page pinned: the operation is seen to wait; released, it finishes; the pinned bytes
/// stand until then.
fn waits(t: &mut Test<'_>, change: &Change) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin((change.action)(data.id))?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, change.after)
}

/// Releases `pin`, the last one, after which `op` must finish; its holder must have seen
/// `content`.
fn ends_with_the_pin(t: &mut Test<'_>, op: &Op, pin: PinId, content: &str) -> Checked {
    t.ends_with(op, pin)?;
    t.transferred(pin, content)
}

case! {
    /// Truncating a pinned page away waits until the pin is gone; until then the page's content
    /// stands.
    truncate_down_waits: "pin/truncate-down-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn truncate_down_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &TRUNCATE_DOWN)
}

case! {
    /// Extending a file with a pinned page waits too: any change of size breaks the layout.
    truncate_up_waits: "pin/truncate-up-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn truncate_up_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &TRUNCATE_UP)
}

case! {
    /// open(2) with O_TRUNC of a file with a pinned page waits.
    open_truncate_waits: "pin/open-truncate-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn open_truncate_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &OPEN_TRUNCATE)
}

case! {
    /// Punching a hole over a pinned page waits.
    punch_waits: "pin/punch-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn punch_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &PUNCH)
}

case! {
    /// Zeroing a range with a pinned page, which may replace its blocks, waits.
    zero_waits: "pin/zero-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn zero_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &ZERO)
}

case! {
    /// Collapsing a range with a pinned page, which frees it and moves what follows, waits.
    collapse_waits: "pin/collapse-waits",
    groups: ["quick"], needs: [Shift], limit: 180, origin: origin::BREAK,
}
fn collapse_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &COLLAPSE)
}

case! {
    /// Inserting a range before a pinned page, which moves it, waits.
    insert_waits: "pin/insert-waits",
    groups: ["quick"], needs: [Shift], limit: 180, origin: origin::BREAK,
}
fn insert_waits(t: &mut Test<'_>) -> Checked {
    waits(t, &INSERT)
}

/// As [`waits`], after the last mapping of the file is gone: the pin alone must hold the page.
fn unmapped_waits(t: &mut Test<'_>, change: &Change) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    t.run(Action::Unmap { map })?;
    let op = t.begin((change.action)(data.id))?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, change.after)
}

case! {
    /// Truncating away a page that is pinned, but mapped by nobody any more, waits.
    unmapped_truncate_down_waits: "pin/unmapped-truncate-down-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_truncate_down_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &TRUNCATE_DOWN)
}

case! {
    /// Extending a file with a page that is pinned, but mapped by nobody any more, waits.
    unmapped_truncate_up_waits: "pin/unmapped-truncate-up-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_truncate_up_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &TRUNCATE_UP)
}

case! {
    /// open(2) with O_TRUNC waits for a page that is pinned, but mapped by nobody any more.
    unmapped_open_truncate_waits: "pin/unmapped-open-truncate-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_open_truncate_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &OPEN_TRUNCATE)
}

case! {
    /// Punching out a page that is pinned, but mapped by nobody any more, waits.
    unmapped_punch_waits: "pin/unmapped-punch-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_punch_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &PUNCH)
}

case! {
    /// Zeroing a page that is pinned, but mapped by nobody any more, waits.
    unmapped_zero_waits: "pin/unmapped-zero-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_zero_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &ZERO)
}

case! {
    /// Collapsing a range with a page that is pinned, but mapped by nobody any more, waits.
    unmapped_collapse_waits: "pin/unmapped-collapse-waits",
    groups: ["quick"], needs: [Shift], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_collapse_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &COLLAPSE)
}

case! {
    /// Inserting before a page that is pinned, but mapped by nobody any more, waits.
    unmapped_insert_waits: "pin/unmapped-insert-waits",
    groups: ["quick"], needs: [Shift], limit: 180, origin: origin::UNMAPPED,
}
fn unmapped_insert_waits(t: &mut Test<'_>) -> Checked {
    unmapped_waits(t, &INSERT)
}

/// Three pages pinned one by one, released in `order`: nothing may finish before the last.
fn several(t: &mut Test<'_>, change: &Change, order: [usize; 3]) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let mut pins = Vec::new();
    for index in 1..4 {
        pins.push(t.pin(map, page(index))?);
    }
    let op = t.begin((change.action)(data.id))?;
    t.blocked(&op)?;
    for at in &order[..2] {
        t.release(pins[*at])?;
        t.blocked(&op)?;
    }
    ends_with_the_pin(t, &op, pins[order[2]], ["b", "c", "d"][order[2]])?;
    t.reads(data, change.after)
}

/// The orders in which three pins can be released.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A case's worth of [`several`] for each order.
macro_rules! several {
    ($($function:ident: $name:literal, $change:ident, $order:literal, $about:literal;)+) => {
        $(
            case! {
                #[doc = $about]
                $function: $name,
                groups: ["quick"], needs: [], limit: 180, origin: origin::RACE,
            }
            fn $function(t: &mut Test<'_>) -> Checked {
                several(t, &$change, ORDERS[$order])
            }
        )+
    };
}

several! {
    several_123: "pin/several-released-123-truncate-waits", TRUNCATE_DOWN, 0,
        " Three pinned pages, released from the first to the last: truncate waits for all.";
    several_132: "pin/several-released-132-truncate-waits", TRUNCATE_DOWN, 1,
        " Three pinned pages, released first, last, middle: truncate waits for all.";
    several_213: "pin/several-released-213-truncate-waits", TRUNCATE_DOWN, 2,
        " Three pinned pages, released middle, first, last: truncate waits for all.";
    several_231: "pin/several-released-231-punch-waits", PUNCH, 3,
        " Three pinned pages, released middle, last, first: punch waits for those it frees.";
    several_312: "pin/several-released-312-truncate-waits", TRUNCATE_DOWN, 4,
        " Three pinned pages, released last, first, middle: truncate waits for all.";
    several_321: "pin/several-released-321-truncate-waits", TRUNCATE_DOWN, 5,
        " Three pinned pages, released from the last to the first: truncate waits for all.";
}

/// Bytes of a huge page.
const HUGE: u64 = 2 << 20;

case! {
    /// A page inside a 2 MiB mapping is pinned: truncate waits, whichever way the huge entry's
    /// pages are counted.
    huge_truncate_waits: "pin/huge-truncate-waits",
    groups: ["quick"], needs: [Huge], limit: 180, origin: origin::PMD,
}
fn huge_truncate_waits(t: &mut Test<'_>) -> Checked {
    with_huge(t, |t, data, map| {
        let pin = t.pin(map, page(300))?;
        let op = t.begin(Action::Truncate { file: data.id, size: PAGE })?;
        t.blocked(&op)?;
        ends_with_the_pin(t, &op, pin, "h")?;
        t.reads(data, "h")
    })
}

case! {
    /// Pages in both of two huge mappings are pinned: punching both waits for both.
    huge_punch_waits: "pin/huge-punch-waits",
    groups: ["quick"], needs: [Huge], limit: 180, origin: origin::PMD,
}
fn huge_punch_waits(t: &mut Test<'_>) -> Checked {
    with_huge(t, |t, data, map| {
        let first = t.pin(map, page(511))?;
        let second = t.pin(map, page(513))?;
        let span = Span { at: 0, len: 2 * HUGE };
        let op = t.begin(Action::Fallocate { file: data.id, mode: Mode::Punch, span })?;
        t.blocked(&op)?;
        t.release(first)?;
        t.blocked(&op)?;
        ends_with_the_pin(t, &op, second, "h")?;
        t.reads(data, ".*1024")
    })
}

/// Does `check` with a file of two huge pages, mapped and filled through the mapping. That the
/// kernel can map huge pages does not say that the blocks of this file lie so that it does.
fn with_huge(t: &mut Test<'_>, check: fn(&mut Test<'_>, File, MapId) -> Checked) -> Checked {
    t.until("was the file mapped by huge pages", |t| {
        let data = t.huge_file("data", 2 * HUGE, b'g')?;
        let map = t.map(data)?;
        let all = Span { at: 0, len: 2 * HUGE };
        let filled = t.run(Action::Store { map, span: all, byte: b'h' })?;
        t.note("filling it took", &filled);
        if filled != Reply::Count(2) {
            return Ok(false);
        }
        check(t, data, map)?;
        Ok(true)
    })
}

case! {
    /// The page is pinned by another process, through a mapping of its own.
    other_process_truncate_waits: "pin/other-process-truncate-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn other_process_truncate_waits(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let other = t.fork()?;
    let map = t.map_as(other, data, Sharing::Shared)?;
    let pin = t.pin_as(other, map, page(2), PinKind::Splice)?;
    let op = t.begin(Action::Truncate { file: data.id, size: PAGE })?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, "a")
}

case! {
    /// The page is pinned by a forked child through the mapping that it inherited, and the
    /// child ends: a pin outlives the process that took it.
    forked_punch_waits: "pin/forked-punch-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn forked_punch_waits(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Touch { map, span: pages(0, 4) })?;
    let child = t.fork()?;
    let pin = t.pin_as(child, map, page(2), PinKind::Splice)?;
    t.signal(child, Signal::Kill)?;
    let op = t.begin((PUNCH.action)(data.id))?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, PUNCH.after)
}

case! {
    /// A private mapping shares the storage page until it is written: a pin through it counts.
    private_map_truncate_waits: "pin/private-map-truncate-waits",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn private_map_truncate_waits(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map_as(MAIN, data, Sharing::Private)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin(Action::Truncate { file: data.id, size: PAGE })?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, "a")
}

/// Direct I/O that a device holds back pins `page 2`: truncate waits for its completion.
fn direct(t: &mut Test<'_>, engine: Engine, direction: Direction) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin_direct(map, page(2), engine, direction, b'z')?;
    let op = t.begin(Action::Truncate { file: data.id, size: PAGE })?;
    t.blocked(&op)?;
    let released = t.release(pin)?;
    t.reap(pin, PAGE)?;
    let done = t.finished(&op)?;
    waited(&op, &done, released)?;
    t.transferred(pin, if direction == Direction::FromMemory { "c" } else { "z" })?;
    t.reads(data, "a")
}

case! {
    /// AIO direct I/O from a mapped page is a pin: truncate waits for it.
    aio_write_truncate_waits: "pin/aio-write-truncate-waits",
    groups: ["quick"], needs: [HeldIo], limit: 180, origin: origin::LIVELOCK,
}
fn aio_write_truncate_waits(t: &mut Test<'_>) -> Checked {
    direct(t, Engine::Aio, Direction::FromMemory)
}

case! {
    /// AIO direct I/O into a mapped page is a pin: truncate waits for it.
    aio_read_truncate_waits: "pin/aio-read-truncate-waits",
    groups: ["quick"], needs: [HeldIo], limit: 180, origin: origin::LIVELOCK,
}
fn aio_read_truncate_waits(t: &mut Test<'_>) -> Checked {
    direct(t, Engine::Aio, Direction::IntoMemory)
}

case! {
    /// io_uring direct I/O from a mapped page is a pin: truncate waits for it.
    uring_write_truncate_waits: "pin/uring-write-truncate-waits",
    groups: ["quick"], needs: [HeldIo, Uring], limit: 180, origin: origin::LIVELOCK,
}
fn uring_write_truncate_waits(t: &mut Test<'_>) -> Checked {
    direct(t, Engine::Uring, Direction::FromMemory)
}

case! {
    /// io_uring direct I/O into a mapped page is a pin: truncate waits for it.
    uring_read_truncate_waits: "pin/uring-read-truncate-waits",
    groups: ["quick"], needs: [HeldIo, Uring], limit: 180, origin: origin::LIVELOCK,
}
fn uring_read_truncate_waits(t: &mut Test<'_>) -> Checked {
    direct(t, Engine::Uring, Direction::IntoMemory)
}

/// A handled signal ends the wait of `change` with EINTR, and nothing has changed.
fn interrupted(t: &mut Test<'_>, change: &Change) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin((change.action)(data.id))?;
    t.blocked(&op)?;
    let task = t.task_of(&op);
    t.signal(task, Signal::Handled)?;
    t.failed(&op, libc::EINTR)?;
    t.reads(data, "abcd")?;
    // The locks were given back: the same again waits again, and ends with the pin.
    let op = t.begin((change.action)(data.id))?;
    t.blocked(&op)?;
    ends_with_the_pin(t, &op, pin, "c")?;
    t.reads(data, change.after)
}

case! {
    /// A handled signal ends a waiting truncate with EINTR; the file is as it was and its locks
    /// are free.
    signal_truncate: "pin/signal-truncate",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn signal_truncate(t: &mut Test<'_>) -> Checked {
    interrupted(t, &TRUNCATE_DOWN)
}

case! {
    /// A handled signal ends a waiting punch with EINTR; the file is as it was and its locks are
    /// free.
    signal_punch: "pin/signal-punch",
    groups: ["quick"], needs: [], limit: 180, origin: origin::BREAK,
}
fn signal_punch(t: &mut Test<'_>) -> Checked {
    interrupted(t, &PUNCH)
}

case! {
    /// SIGKILL ends a process that waits in truncate; the file works afterwards, and is as it
    /// was.
    signal_kill: "pin/signal-kill",
    groups: ["quick"], needs: [], limit: 240, origin: origin::BREAK,
}
fn signal_kill(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let victim = t.fork()?;
    let op = t.begin_as(victim, Action::Truncate { file: data.id, size: PAGE })?;
    t.blocked(&op)?;
    t.signal(victim, Signal::Kill)?;
    t.reads(data, "abcd")?;
    t.release(pin)?;
    t.run(Action::Truncate { file: data.id, size: 2 * PAGE })?;
    t.reads(data, "ab")
}

/// A break that waits, with what it waits for.
struct Waiting {
    data: File,
    map: MapId,
    pin: PinId,
    op: Op,
}

fn waiting(t: &mut Test<'_>) -> Checked<Waiting> {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin((PUNCH.action)(data.id))?;
    t.blocked(&op)?;
    Ok(Waiting { data, map, pin, op })
}

impl Waiting {
    fn end(self, t: &mut Test<'_>, content: &str) -> Checked {
        t.blocked(&self.op)?;
        ends_with_the_pin(t, &self.op, self.pin, content)
    }
}

case! {
    /// While a break waits, page faults of the file are served: the invalidate lock is not held.
    while_waiting_fault: "pin/while-waiting-fault",
    groups: ["quick"], needs: [], limit: 180, origin: origin::LIVELOCK,
}
fn while_waiting_fault(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    t.progresses(Action::Touch { map: w.map, span: pages(0, 4) })?;
    t.progresses(Action::Store { map: w.map, span: page(3), byte: b'x' })?;
    let data = w.data;
    w.end(t, "c")?;
    t.reads(data, "a..x")
}

case! {
    /// While a break waits, the file can be mapped and unmapped.
    while_waiting_map: "pin/while-waiting-map",
    groups: ["quick"], needs: [], limit: 180, origin: origin::LIVELOCK,
}
fn while_waiting_map(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    let again = t.map(w.data)?;
    t.progresses(Action::Touch { map: again, span: pages(0, 4) })?;
    t.progresses(Action::Unmap { map: again })?;
    t.progresses(Action::Unmap { map: w.map })?;
    let data = w.data;
    // Without any mapping left the pin still counts.
    w.end(t, "c")?;
    t.reads(data, "a..d")
}

case! {
    /// While a break waits, fsync, fdatasync and msync of the file return, and so does fstat.
    while_waiting_fsync: "pin/while-waiting-fsync",
    groups: ["quick"], needs: [], limit: 180, origin: origin::WRITEBACK,
}
fn while_waiting_fsync(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    t.progresses(Action::Store { map: w.map, span: page(0), byte: b'x' })?;
    t.progresses(Action::Fsync { file: w.data.id, data_only: false })?;
    t.progresses(Action::Fsync { file: w.data.id, data_only: true })?;
    t.progresses(Action::Msync { map: w.map })?;
    t.progresses(Action::Stat { file: w.data.id })?;
    let data = w.data;
    w.end(t, "c")?;
    t.reads(data, "x..d")
}

case! {
    /// While a break waits, other files are read, written, mapped and truncated.
    while_waiting_other_file: "pin/while-waiting-other-file",
    groups: ["quick"], needs: [], limit: 180, origin: origin::LIVELOCK,
}
fn while_waiting_other_file(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    let other = t.file("other", "wxyz")?;
    let map = t.map(other)?;
    t.progresses(Action::Write { file: other.id, span: page(1), byte: b'v' })?;
    t.progresses(Action::Touch { map, span: pages(0, 4) })?;
    t.progresses(Action::Truncate { file: other.id, size: 3 * PAGE })?;
    t.reads(other, "wvy")?;
    let data = w.data;
    w.end(t, "c")?;
    t.reads(data, "a..d")
}

case! {
    /// Reads and writes of the same file may wait for the break, and must finish after it.
    while_waiting_same_file: "pin/while-waiting-same-file",
    groups: ["quick"], needs: [], limit: 240, origin: origin::LIVELOCK,
}
fn while_waiting_same_file(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    let write = t.begin(Action::Write { file: w.data.id, span: page(3), byte: b'x' })?;
    let read = t.begin(Action::Read { file: w.data.id, span: page(0) })?;
    let data = w.data;
    w.end(t, "c")?;
    t.finished(&write)?;
    t.finished(&read)?;
    t.reads(data, "a..x")
}

case! {
    /// A pin of several pages, of which the later ones must fault while a break waits for the
    /// first: the fault is served, else both would wait for good.
    fault_while_pinning: "pin/later-pages-fault-while-waiting",
    groups: ["quick"], needs: [], limit: 180, origin: origin::LIVELOCK,
}
fn fault_while_pinning(t: &mut Test<'_>) -> Checked {
    let w = waiting(t)?;
    // The break has unmapped the whole file: every page of this pin must fault.
    let more = t.pin(w.map, pages(2, 2))?;
    t.release(w.pin)?;
    t.blocked(&w.op)?;
    ends_with_the_pin(t, &w.op, more, "cd")?;
    t.reads(w.data, "a..d")
}

case! {
    /// A long-term pin of a DAX page (io_uring fixed buffers) is refused, for it would hold up
    /// a break for good; and the refusal leaks no reference.
    longterm_refused: "pin/longterm-refused",
    groups: ["quick"], needs: [Uring], limit: 180, origin: origin::LONGTERM,
}
fn longterm_refused(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Touch { map, span: pages(0, 4) })?;
    t.refused(Action::PinLongterm { map, span: page(2) }, libc::EOPNOTSUPP)?;
    t.refused(Action::PinLongterm { map, span: pages(0, 4) }, libc::EOPNOTSUPP)?;
    let op = t.begin(Action::Truncate { file: data.id, size: PAGE })?;
    t.finished(&op)?;
    t.reads(data, "a")
}
