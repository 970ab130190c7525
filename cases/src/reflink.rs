//! Reflink, dedupe and copy-on-write against pins.

use crate::action::{
    Action, Direction, Engine, MapId, Mode, PAGE, PinId, PinKind, Reply, Span, page, pages,
};
use crate::case::case;
use crate::origin;
use crate::space::Taker;
use crate::system::MAIN;
use crate::test::{Checked, File, Op, Test, answer, fail};

/// How blocks come to be shared.
#[derive(Clone, Copy)]
enum Sharer {
    Reflink,
    Dedupe,
}

impl Sharer {
    /// What the destination holds before; dedupe wants the same as the source in the middle.
    fn destination(self) -> &'static str {
        match self {
            Self::Reflink => "abcd",
            Self::Dedupe => "axyd",
        }
    }
}

/// Two mapped files; middle pages of the first will be shared onto the second.
struct ReflinkPair {
    source: File,
    destination: File,
    from: MapId,
    onto: MapId,
    sharer: Sharer,
}

/// Which of the two files the file system locks first: the one with the lower inode number.
#[derive(Clone, Copy)]
enum LockOrder {
    SourceFirst,
    DestinationFirst,
}

impl ReflinkPair {
    fn new(t: &mut Test<'_>, sharer: Sharer, order: LockOrder) -> Checked<Self> {
        let source = ("source", "wxyz");
        let destination = ("destination", sharer.destination());
        let (source, destination) = match order {
            LockOrder::SourceFirst => {
                let [source, destination] = t.files_in_order([source, destination])?;
                (source, destination)
            }
            LockOrder::DestinationFirst => {
                let [destination, source] = t.files_in_order([destination, source])?;
                (source, destination)
            }
        };
        let from = t.map(source)?;
        let onto = t.map(destination)?;
        Ok(Self { source, destination, from, onto, sharer })
    }

    fn begin(&self, t: &mut Test<'_>) -> Checked<Op> {
        let (from, to) = (self.source.id, self.destination.id);
        t.begin(match self.sharer {
            Sharer::Reflink => Action::Clone { from, span: pages(1, 2), to, at: PAGE },
            Sharer::Dedupe => Action::Dedupe { from, span: pages(1, 2), to, at: PAGE },
        })
    }

    /// Both hold what they must. Whether they share blocks now: a dedupe may find that it cannot.
    fn check(&self, t: &mut Test<'_>) -> Checked<bool> {
        t.reads(self.source, "wxyz")?;
        t.reads(self.destination, "axyd")?;
        t.loads(self.onto, pages(0, 4), "axyd")?;
        let (source, destination) = (t.blocks(self.source)?, t.blocks(self.destination)?);
        Ok(source[1..3] == destination[1..3])
    }
}

/// What a dedupe does not promise. Without it a case is about nothing.
const SHARED: &str = "did the files share what they were to";

/// The operation takes the destination's pages away: it must wait for a pin there. (The cells have the
/// other order of the two files.)
fn destination_pinned(t: &mut Test<'_>, sharer: Sharer, order: LockOrder) -> Checked<bool> {
    let pair = ReflinkPair::new(t, sharer, order)?;
    let pin = t.pin(pair.onto, page(2))?;
    let op = pair.begin(t)?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(
        pin,
        match sharer {
            Sharer::Reflink => "c",
            Sharer::Dedupe => "y",
        },
    )?;
    pair.check(t)
}

/// The source's blocks stay where they are: waiting for a pin there is allowed, not demanded.
fn source_pinned(t: &mut Test<'_>, sharer: Sharer, order: LockOrder) -> Checked<bool> {
    let pair = ReflinkPair::new(t, sharer, order)?;
    let pin = t.pin(pair.from, page(2))?;
    let op = pair.begin(t)?;
    t.settled(&op)?;
    t.release(pin)?;
    t.finished(&op)?;
    t.transferred(pin, "y")?;
    pair.check(t)
}

/// With pins in both, the one in the destination must be waited for, whichever goes first.
fn both_pinned(t: &mut Test<'_>, sharer: Sharer, order: LockOrder) -> Checked<bool> {
    let pair = ReflinkPair::new(t, sharer, order)?;
    let source = t.pin(pair.from, page(1))?;
    let destination = t.pin(pair.onto, page(2))?;
    let op = pair.begin(t)?;
    t.blocked(&op)?;
    t.release(source)?;
    t.blocked(&op)?;
    t.ends_with(&op, destination)?;
    t.transferred(source, "x")?;
    pair.check(t)
}

/// A case for a sharer and an order of the two inodes.
macro_rules! pair {
    ($($function:ident: $name:literal, $what:ident, $sharer:ident, $order:ident, $about:literal;)+) => {
        $(
            case! {
                #[doc = $about]
                $function: $name,
                groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
            }
            fn $function(t: &mut Test<'_>) -> Checked {
                t.until(SHARED, |t| $what(t, Sharer::$sharer, LockOrder::$order))
            }
        )+
    };
}

pair! {
    destination_second: "reflink/destination-pinned-locked-second", destination_pinned, Reflink, SourceFirst,
        " As waits/clone/splice/mapped, when the destination is the second of the two to be locked.";
    source: "reflink/source-pinned", source_pinned, Reflink, SourceFirst,
        " Reflink from a file with a pinned page ends, at the latest with the pin, and its holder sees the page as it was.";
    source_second: "reflink/source-pinned-locked-second", source_pinned, Reflink, DestinationFirst,
        " As reflink/source-pinned, when the source is the second of the two to be locked.";
    both: "reflink/both", both_pinned, Reflink, DestinationFirst,
        " Reflink with pins in source and destination waits for the destination's.";
    both_second: "reflink/both-destination-locked-second", both_pinned, Reflink, SourceFirst,
        " As reflink/both, when the destination is the second of the two to be locked.";
    dedupe_destination_second: "reflink/dedupe-destination-pinned-locked-second", destination_pinned, Dedupe, SourceFirst,
        " As waits/dedupe/splice/mapped, when the destination is the second of the two to be locked.";
    dedupe_source: "reflink/dedupe-source-pinned", source_pinned, Dedupe, SourceFirst,
        " Dedupe from a file with a pinned page ends, at the latest with the pin.";
    dedupe_both: "reflink/dedupe-both", both_pinned, Dedupe, DestinationFirst,
        " Dedupe with pins in source and destination waits for the destination's.";
}

/// Two files that share all blocks; a page of the first is pinned for reading.
struct SharedBlocks {
    one: File,
    other: File,
    map: MapId,
    pin: PinId,
    block: u64,
}

/// The pages that become the first file's own. Many, since XFS takes the smallest free extents
/// for its own lists, from their start, and a block there is neither free nor any file's.
const OWN: Span = pages(1, 14);

/// The pinned one among them, near the end.
const PINNED: u64 = 12;

/// What makes the first file's pages its own.
#[derive(Clone, Copy)]
enum Cow {
    Fault,
    Write,
}

impl SharedBlocks {
    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let one = t.file("one", "abcdefghijklmnop")?;
        let other = t.file("other", "................")?;
        t.run(Action::Clone { from: one.id, span: pages(0, 16), to: other.id, at: 0 })?;
        let block = t.blocks(one)?[PINNED as usize];
        if t.blocks(other)?[PINNED as usize] != block {
            return fail("reflink shares the block", "the files have different blocks", "");
        }
        let map = t.map(one)?;
        let pin = t.pin(map, page(PINNED))?;
        Ok(Self { one, other, map, pin, block })
    }

    fn cow(&self, t: &mut Test<'_>, cow: Cow) -> Checked<Op> {
        t.begin(match cow {
            Cow::Fault => Action::Store { map: self.map, span: OWN, byte: b'x' },
            Cow::Write => Action::Write { file: self.one.id, span: OWN, byte: b'x' },
        })
    }
}

/// Copy-on-write of a page that is pinned for reading: it may wait for the pin; the other file
/// keeps its content, and the holder sees what it pinned.
fn cow_under_pin(t: &mut Test<'_>, cow: Cow) -> Checked {
    let shared = SharedBlocks::new(t)?;
    let op = shared.cow(t, cow)?;
    t.settled(&op)?;
    t.release(shared.pin)?;
    t.finished(&op)?;
    t.transferred(shared.pin, "m")?;
    t.reads(shared.one, "ax*14p")?;
    t.loads(shared.map, pages(0, 16), "ax*14p")?;
    t.reads(shared.other, "abcdefghijklmnop")
}

case! {
    /// A write fault that copies a shared page, of which the old block is pinned, neither
    /// changes what the pin's holder sees nor the file it was shared with.
    cow_fault: "reflink/cow-fault-under-pin",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
}
fn cow_fault(t: &mut Test<'_>) -> Checked {
    cow_under_pin(t, Cow::Fault)
}

case! {
    /// A write(2) that copies a shared page, of which the old block is pinned, neither changes
    /// what the pin's holder sees nor the file it was shared with; and the mapping shows what
    /// was written.
    cow_write: "reflink/cow-write-under-pin",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
}
fn cow_write(t: &mut Test<'_>) -> Checked {
    cow_under_pin(t, Cow::Write)
}

case! {
    /// A write(2) copies a shared page that is mapped and that nobody pins: the mapping shows what
    /// was written, and the other file keeps what it had.
    cow_write_mapped: "reflink/cow-write-mapped",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
}
fn cow_write_mapped(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    let map = t.map(one)?;
    t.loads(map, pages(0, 4), "abcd")?;
    t.run(Action::Write { file: one.id, span: page(2), byte: b'x' })?;
    t.loads(map, pages(0, 4), "abxd")?;
    t.reads(one, "abxd")?;
    t.reads(other, "abcd")
}

/// After the copy the old block belongs to the other file alone. When that gives it away, the
/// pin must still hold it.
fn cow_then_free(t: &mut Test<'_>, cow: Cow) -> Checked {
    t.until("was the block given away once its pin was gone", |t| {
        let shared = SharedBlocks::new(t)?;
        let op = shared.cow(t, cow)?;
        t.settled(&op)?;
        let truncate = t.begin(Action::Truncate { file: shared.other.id, size: 0 })?;
        t.settled(&truncate)?;
        let (taker, given) = Taker::new(t, shared.one, shared.block)?;
        t.release(shared.pin)?;
        t.finished(&op)?;
        t.finished(&truncate)?;
        given.kept("copy-on-write, which took the page from its file without a break")?;
        t.transferred(shared.pin, "m")?;
        // Where both waited, the truncate may come first: then nothing is left to copy, and the
        // block, which was given to nobody meanwhile, is its file's own.
        let is_its_own = t.blocks(shared.one)?.contains(&shared.block);
        Ok(taker.has_it_now(t)? || is_its_own)
    })
}

case! {
    /// A write fault copies a shared page whose old block is pinned, then the other file gives
    /// that block away: it must not be free while the pin lasts.
    cow_fault_free: "reflink/cow-fault-then-free",
    groups: ["quick"], needs: [Reflink], limit: 240, origin: origin::MMAP_LOCK,
}
fn cow_fault_free(t: &mut Test<'_>) -> Checked {
    cow_then_free(t, Cow::Fault)
}

case! {
    /// A write(2) copies a shared page whose old block is pinned, then the other file gives that
    /// block away: it must not be free while the pin lasts.
    cow_write_free: "reflink/cow-write-then-free",
    groups: ["quick"], needs: [Reflink], limit: 240, origin: origin::MMAP_LOCK,
}
fn cow_write_free(t: &mut Test<'_>) -> Checked {
    cow_then_free(t, Cow::Write)
}

/// Two files that share all blocks.
fn share(t: &mut Test<'_>) -> Checked<[File; 2]> {
    let one = t.file("one", "abcd")?;
    let other = t.file("other", "wxyz")?;
    t.run(Action::Clone { from: one.id, span: pages(0, 4), to: other.id, at: 0 })?;
    Ok([one, other])
}

case! {
    /// Direct I/O from a page whose block two files share pins it like any other, and its
    /// holder sees the content.
    shared_direct: "reflink/shared-direct-pin",
    groups: ["quick"], needs: [Reflink, HeldIo], limit: 180, origin: origin::MMAP_LOCK,
}
fn shared_direct(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    let map = t.map(one)?;
    let pin = PinId(1);
    let (engine, direction) = (Engine::Aio, Direction::FromMemory);
    let kind = PinKind::Direct { engine, direction, byte: b'z' };
    let op = t.begin(Action::Pin { pin, map, span: page(2), kind })?;
    t.settled(&op)?;
    t.finished(&op)?;
    t.release(pin)?;
    t.reap(pin, PAGE)?;
    t.transferred(pin, "c")?;
    t.reads(other, "abcd")
}

case! {
    /// A punch waits for the pin of a page whose block two files share, and no longer: that the
    /// other file maps the page as well does not keep this one from giving it up.
    shared_elsewhere: "reflink/shared-mapped-elsewhere-punch-waits",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
}
fn shared_elsewhere(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    let [elsewhere, map] = [t.map(one)?, t.map(other)?];
    t.loads(elsewhere, pages(0, 4), "abcd")?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin(Action::Fallocate { file: other.id, mode: Mode::Punch, span: page(2) })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "c")?;
    t.reads(other, "ab.d")?;
    t.loads(elsewhere, pages(0, 4), "abcd")
}

case! {
    /// A pinned page whose block two files share is mapped a second time: the pin stays what it
    /// is, and a truncate waits for it.
    shared_again: "reflink/shared-mapped-again-under-pin",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::MMAP_LOCK,
}
fn shared_again(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    let [map, again] = [t.map(one)?, t.map(one)?];
    let pin = t.pin(map, page(2))?;
    t.loads(again, pages(0, 4), "abcd")?;
    let op = t.begin(Action::Truncate { file: one.id, size: PAGE })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "c")?;
    t.reads(one, "a")?;
    t.reads(other, "abcd")
}

case! {
    /// Dedupe compares what the files hold: an allocated page that was never written reads as
    /// zeros, whatever its block held before.
    dedupe_unwritten: "reflink/dedupe-unwritten-differs",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::DEDUPE,
}
fn dedupe_unwritten(t: &mut Test<'_>) -> Checked {
    t.until("did the file system give a block again that held \"z\"", |t| {
        let unwritten = t.file("unwritten", &"z".repeat(64))?;
        let data = t.file("data", "zzzz")?;
        let before = t.blocks(unwritten)?;
        for action in [
            Action::Truncate { file: unwritten.id, size: 0 },
            Action::Fsync { file: unwritten.id, data_only: false },
            Action::Fallocate { file: unwritten.id, mode: Mode::Allocate, span: pages(0, 64) },
        ] {
            t.run(action)?;
        }
        let now = t.blocks(unwritten)?;
        t.note("blocks that it had before", &now.iter().filter(|at| before.contains(at)).count());
        t.reads(unwritten, ".*64")?;
        // Against any other block the comparison shows nothing.
        let Some(index) = now.iter().position(|block| before.contains(block)) else {
            return Ok(false);
        };
        let (from, to, span) = (unwritten.id, data.id, page(index as u64));
        let shared = t.quietly(MAIN, Action::Dedupe { from, span, to, at: PAGE })?;
        t.reads(data, "zzzz")?;
        if shared != Ok(Reply::Count(0)) {
            let what = "dedupe of a page never written with one of \"z\" says that they differ";
            return fail(what, &answer(&shared), "what the block held before");
        }
        t.say("dedupe says that a page never written and one of \"z\" differ");
        Ok(true)
    })
}

case! {
    /// A page that nobody shares, but that lies beside one that another file shares, is stored to, and the file
    /// is given blocks of its own (`FALLOC_FL_UNSHARE_RANGE`). The mapping shows what was stored, and a punch
    /// waits for a pin of it.
    unshare_beside: "reflink/unshare-beside-shared",
    groups: ["quick"], needs: [Reflink], limit: 180, origin: origin::UNSHARE,
}
fn unshare_beside(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcdefgh")?;
    let other = t.file("other", ".")?;
    t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(5), byte: b's' })?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Unshare, span: page(5) })?;
    t.reads(data, "wbcdesgh")?;
    t.loads(map, page(5), "s")?;
    let pin = t.pin(map, page(5))?;
    let op = t.begin(Action::Fallocate { file: data.id, mode: Mode::Punch, span: page(5) })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "s")?;
    t.reads(data, "wbcde.gh")?;
    t.reads(other, "a")
}
