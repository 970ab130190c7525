//! One thing that happened, as a fixed-size record.
//!
//! The same record is written by an eBPF program into a ring buffer, by the reference into a
//! vector, and read by the rules. It therefore has no pointers, no padding and one layout on
//! both sides; the assertion below keeps it so.

/// One event of the protocol.
///
/// A field that a [`Kind`] does not mention is zero. `page` is a page frame number in a kernel
/// trace and a page number in the reference; `inode` likewise is a kernel inode number or the
/// reference's. `0` means "none" for both.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of `CLOCK_MONOTONIC` in a kernel trace, a logical tick in the reference.
    pub time: u64,
    /// The file, by inode number.
    pub inode: u64,
    /// The page, by frame number; for [`Kind::Free`] the first one.
    pub page: u64,
    /// First page index in the file that the event is about.
    pub index: u64,
    /// Number of pages from `index` (or from `page` for [`Kind::Free`]); `u64::MAX`: to the end.
    pub count: u64,
    /// A result (0 or a negative errno), an address, or a number: see [`Kind`].
    pub value: i64,
    /// Thread id of the task that did it.
    pub task: u32,
    /// Process id of that task (its thread group).
    pub process: u32,
    /// The device of the file system, as `dev_t` is encoded in `super_block.s_dev`.
    pub device: u32,
    /// The page's reference count, sampled without a lock.
    pub refs: i32,
    /// The page's map count as the kernel's shape counts it: 0 where mapping takes no reference.
    pub maps: i32,
    /// Identifier of a recorded stack, or a negative number if there is none.
    pub stack: i32,
    /// What happened; a [`Kind`] as its number.
    pub kind: u16,
    /// Details of the kind: an [`OperationKind`] as its number, or bits of [`flag`].
    pub detail: u16,
    /// The processor it happened on.
    pub cpu: u16,
    /// Changes with each record that is lost: where it differs from that of the record before,
    /// something between the two is missing. 0 in the reference.
    pub lost: u16,
}

const _: () = assert!(size_of::<Event>() == 80, "the ring's record layout changed");

/// What an [`Event`] says.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An operation on a file begins. `detail`: [`OperationKind`]; `index`, `count`: its range, where
    /// a `count` of 0 means the whole file.
    Begin = 1,
    /// It ends. `value`: its result.
    End = 2,
    /// A layout break of `inode` begins.
    BreakBegin = 3,
    /// It ends. `value`: its result.
    BreakEnd = 4,
    /// A break looked for a busy page. `page` is the one it found, with `index`, `refs` and
    /// `maps`, or 0 if nothing was busy.
    Scan = 5,
    /// A break begins to wait for `page` to become idle.
    WaitBegin = 6,
    /// The task went to sleep in that wait. `detail`: [`flag`] bits of the locks it still holds;
    /// [`flag::ELSEWHERE`].
    Sleep = 7,
    /// It stopped waiting, whatever the reason. `value`: its result.
    WaitEnd = 8,
    /// Somebody woke the waiters of `page`.
    Wake = 9,
    /// `page` was pinned. `detail`: [`flag::WRITE`], [`flag::LONGTERM`]. `value`: who holds the
    /// pin (a bio, a pipe, a handle; 0 if unknown), so that the unpin can be matched to it.
    /// `inode` and `index` where they are known. A recorder may tell at once of `count` pages in a
    /// row that have the same counts; [`Event::pages`] takes them apart again.
    Pin = 10,
    /// A pin of `page` was dropped; `refs` is the count after it. `value`, `count`: as in
    /// [`Kind::Pin`].
    Unpin = 11,
    /// A mapping entry of `inode` at `index` was removed. `refs` and `maps` are the page's
    /// counts at that moment. `detail`: [`flag::BREAK`] if an operation that breaks did it,
    /// [`flag::UNENDED`] if that is concluded.
    Remove = 12,
    /// `count` blocks from `page` were freed; `refs` and `maps` are those of the first page among
    /// them that is not idle (`page` then names it), or of the first one.
    Free = 13,
    /// A warning or bug of the kernel. `value`: the address of the trap.
    Warning = 14,
    /// `value` records or returns were lost; nothing that rests on their absence may be claimed.
    Lost = 15,
    /// The page that the waiting break of `task` waits for was looked at: `refs`, `maps`. `detail`:
    /// [`flag::ELSEWHERE`].
    Sample = 16,
    /// The page of `inode` at `index` was marked dirty.
    Dirty = 17,
    /// It was written back and is clean.
    Clean = 18,
}

impl Event {
    /// An event of this kind with everything else zero.
    pub fn new(kind: Kind) -> Self {
        Self { kind: kind as u16, ..Self::default() }
    }

    /// The event once for each page that it tells of.
    ///
    /// The rules know pins of single pages. Other kinds stay what they are, whatever their
    /// `count`.
    pub fn pages(self) -> impl Iterator<Item = Self> {
        let row = self.kind == Kind::Pin as u16 || self.kind == Kind::Unpin as u16;
        let count = if row { self.count.max(1) } else { 1 };
        (0..count).map(move |n| {
            if !row {
                return self;
            }
            // A page whose file is not known has no index to count on from.
            let index = if self.inode == 0 { self.index } else { self.index + n };
            Self { page: self.page + n, index, count: 0, ..self }
        })
    }

    /// The event that the ring's bytes hold, in this machine's byte order; none if there are too
    /// few of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..size_of::<Self>())?;
        Some(Self {
            time: u64::from_ne_bytes(take(&mut rest)),
            inode: u64::from_ne_bytes(take(&mut rest)),
            page: u64::from_ne_bytes(take(&mut rest)),
            index: u64::from_ne_bytes(take(&mut rest)),
            count: u64::from_ne_bytes(take(&mut rest)),
            value: i64::from_ne_bytes(take(&mut rest)),
            task: u32::from_ne_bytes(take(&mut rest)),
            process: u32::from_ne_bytes(take(&mut rest)),
            device: u32::from_ne_bytes(take(&mut rest)),
            refs: i32::from_ne_bytes(take(&mut rest)),
            maps: i32::from_ne_bytes(take(&mut rest)),
            stack: i32::from_ne_bytes(take(&mut rest)),
            kind: u16::from_ne_bytes(take(&mut rest)),
            detail: u16::from_ne_bytes(take(&mut rest)),
            cpu: u16::from_ne_bytes(take(&mut rest)),
            lost: u16::from_ne_bytes(take(&mut rest)),
        })
    }
}

/// The next bytes of a record whose length was checked.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_at(N);
    *rest = left;
    taken.try_into().expect("split_at gives N bytes")
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Begin,
        Self::End,
        Self::BreakBegin,
        Self::BreakEnd,
        Self::Scan,
        Self::WaitBegin,
        Self::Sleep,
        Self::WaitEnd,
        Self::Wake,
        Self::Pin,
        Self::Unpin,
        Self::Remove,
        Self::Free,
        Self::Warning,
        Self::Lost,
        Self::Sample,
        Self::Dirty,
        Self::Clean,
    ];

    /// The kind with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// Which operation a [`Kind::Begin`] or [`Kind::End`] is about.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationKind {
    /// Change of the file's size.
    Truncate = 1,
    /// fallocate, whatever its mode.
    Fallocate = 2,
    /// Reflink or dedupe onto this file.
    Remap = 3,
    /// The inode's end: the last link and the last reference are gone.
    Evict = 4,
    /// fsync, fdatasync or msync.
    Fsync = 5,
    /// A page fault.
    Fault = 6,
    /// write(2).
    Write = 7,
    /// read(2).
    Read = 8,
    /// mmap(2).
    Map = 9,
    /// munmap(2).
    Unmap = 10,
    /// stat(2).
    Stat = 11,
}

impl OperationKind {
    /// All operations, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Truncate,
        Self::Fallocate,
        Self::Remap,
        Self::Evict,
        Self::Fsync,
        Self::Fault,
        Self::Write,
        Self::Read,
        Self::Map,
        Self::Unmap,
        Self::Stat,
    ];

    /// The operation with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The operation's name, as it stands in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::Fallocate => "fallocate",
            Self::Remap => "reflink",
            Self::Evict => "eviction",
            Self::Fsync => "fsync",
            Self::Fault => "fault",
            Self::Write => "write",
            Self::Read => "read",
            Self::Map => "mmap",
            Self::Unmap => "munmap",
            Self::Stat => "stat",
        }
    }
}

/// [`Event::lost`] of the records that follow a loss at this time, in nanoseconds: all bits of the
/// time have a part in it, so that two losses have the same one as seldom as two random numbers.
pub fn loss_mark(time: u64) -> u16 {
    // Fibonacci hashing: the odd number next to 2^64 divided by the golden ratio.
    (time.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// Bits of [`Event::detail`].
pub mod flag {
    /// The inode lock (`i_rwsem`; XFS: IOLOCK) is held exclusively by the task.
    pub const INODE_LOCK: u16 = 1 << 0;
    /// The invalidate lock (XFS: MMAPLOCK) is held exclusively by the task.
    pub const INVALIDATE_LOCK: u16 = 1 << 1;
    /// The pin allows writing to the page.
    pub const WRITE: u16 = 1 << 2;
    /// The pin asked for `FOLL_LONGTERM`.
    pub const LONGTERM: u16 = 1 << 3;
    /// The entry was removed by an operation that must break the layout first.
    pub const BREAK: u16 = 1 << 4;
    /// That it was such an operation is concluded from a break of the task that has not ended.
    pub const UNENDED: u16 = 1 << 5;
    /// The task does not sleep for the page that its break waits for: it was woken, and may not have
    /// been given a processor yet, or it sleeps for something else.
    pub const ELSEWHERE: u16 = 1 << 6;
}

/// How a kernel counts the references of a DAX page.
///
/// Found by looking at the running kernel, never by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counting {
    /// Idle at one reference; a mapping takes none. Up to Linux v6.14.
    IdleAtOne,
    /// Idle at zero references; each mapping takes one.
    ///
    /// Linux series "fs/dax: Fix ZONE_DEVICE page reference counts", in v6.15.
    IdleAtZero,
}

/// `GUP_PIN_COUNTING_BIAS` (include/linux/mm.h): a `FOLL_PIN` pin of a small page counts as this
/// many references, so that it can be told from a plain one.
const PIN_BIAS: i32 = 1024;

impl Counting {
    /// How many pins a page with these counts has.
    pub fn pins(self, refs: i32, maps: i32) -> i32 {
        let pins = match self {
            Self::IdleAtOne => refs - 1,
            Self::IdleAtZero => refs - maps,
        };
        if pins < PIN_BIAS { pins } else { pins / PIN_BIAS + pins % PIN_BIAS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_agree() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u16), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(19), None);
        for operation in OperationKind::ALL {
            assert_eq!(OperationKind::from_number(operation as u16), Some(operation));
        }
    }

    #[test]
    fn pins_are_what_is_left_after_the_shape_takes_its_own() {
        assert_eq!(Counting::IdleAtOne.pins(1, 0), 0);
        assert_eq!(Counting::IdleAtOne.pins(3, 0), 2);
        assert_eq!(Counting::IdleAtZero.pins(0, 0), 0);
        assert_eq!(Counting::IdleAtZero.pins(3, 2), 1);
        assert_eq!(Counting::IdleAtOne.pins(1 + 2 * 1024 + 3, 0), 5);
    }

    #[test]
    fn a_row_of_pins_is_one_for_each_page() {
        let row = Event { page: 100, inode: 3, index: 7, count: 2, ..Event::new(Kind::Unpin) };
        let pages: std::vec::Vec<_> = row.pages().map(|e| (e.page, e.index, e.count)).collect();
        assert_eq!(pages, [(100, 7, 0), (101, 8, 0)]);
        assert_eq!(Event::new(Kind::Pin).pages().count(), 1);
        let freed = Event { count: 4, ..Event::new(Kind::Free) };
        assert!(freed.pages().eq([freed]));
    }

    #[test]
    fn losses_that_follow_each_other_have_different_marks() {
        let marks: std::collections::BTreeSet<_> = (0..1000).map(loss_mark).collect();
        assert_eq!(marks.len(), 1000);
        assert_eq!(loss_mark(0), 0);
    }

    #[test]
    fn an_event_is_read_back_from_its_bytes() {
        let mut bytes = [0; 80];
        bytes[0] = 7;
        bytes[72] = Kind::Scan as u8;
        bytes[76] = 3;
        let event = Event::from_bytes(&bytes).unwrap();
        assert_eq!(event, Event { time: 7, cpu: 3, ..Event::new(Kind::Scan) });
        assert_eq!(Event::from_bytes(&bytes[1..]), None);
    }
}
