//! Holds: a task stands at a point of the protocol until it is let go.
//!
//! The control page that a hold is made of is shared by three parties: the probe that waits, the
//! tracer that attaches it, and the case that arms it and lets go. This is its layout and all of
//! its logic; who maps it, and where the probes go, is theirs. A case names a [`HoldPoint`]; which
//! function of a kernel carries it is the tracer's to know.
//!
//! Each word has one writer, so nothing needs a read-modify-write that a probe may not have.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where a task can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoldPoint {
    /// In a break, between the unmapping and the scan.
    Unmapped,
    /// In a break whose scan has just found a busy page.
    ScanFoundBusy,
    /// In a break whose scan has just found none.
    ScanFoundNone,
    /// In a break that is about to queue itself for the wake-up.
    WaitEntered,
    /// In a fault, which has its locks and has looked up no block yet.
    FaultEntered,
    /// In a write-back, which has locked the entry of a page and has not written the page yet.
    EntryLocked,
    /// In a write(2) that has given blocks to a range of a file, and has not yet taken away the zeros
    /// that were mapped there.
    WriteAllocated,
    /// In a write(2) or a store to blocks that another file has, too, when the copy is in blocks of its
    /// own and these are not the file's yet.
    CopyWritten,
    /// In a read(2) or write(2) that has looked up a block and is about to copy from it or to it.
    BlockFound,
    /// In a fault that has looked up the block of its page, and is about to enter the page in the file's
    /// mapping.
    PageFound,
    /// In a dedupe that has compared both files, and has not shared anything yet.
    Compared,
}

impl HoldPoint {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Unmapped,
        Self::ScanFoundBusy,
        Self::ScanFoundNone,
        Self::WaitEntered,
        Self::FaultEntered,
        Self::EntryLocked,
        Self::WriteAllocated,
        Self::CopyWritten,
        Self::BlockFound,
        Self::PageFound,
        Self::Compared,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmapped => "unmapped",
            Self::ScanFoundBusy => "scan-found-busy",
            Self::ScanFoundNone => "scan-found-none",
            Self::WaitEntered => "wait-entered",
            Self::FaultEntered => "fault-entered",
            Self::EntryLocked => "entry-locked",
            Self::WriteAllocated => "write-allocated",
            Self::CopyWritten => "copy-written",
            Self::BlockFound => "block-found",
            Self::PageFound => "page-found",
            Self::Compared => "compared",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|point| point.name() == name)
    }

    /// Which of the [`Slots`] it is held by. Points in one function share one.
    pub const fn slot(self) -> u32 {
        match self {
            Self::Unmapped => slot::UNMAP,
            Self::ScanFoundBusy | Self::ScanFoundNone => slot::SCAN,
            Self::WaitEntered => slot::WAIT,
            Self::FaultEntered => slot::FAULT,
            Self::EntryLocked => slot::WRITE,
            Self::WriteAllocated => slot::INVALIDATE,
            Self::CopyWritten => slot::REMAP,
            Self::BlockFound => slot::ACCESS,
            Self::PageFound => slot::ENTER,
            Self::Compared => slot::COMPARE,
        }
    }

    /// What the function must return for the task to be there.
    pub const fn condition(self) -> ReturnCondition {
        match self {
            Self::ScanFoundBusy => ReturnCondition::NonZero,
            Self::ScanFoundNone => ReturnCondition::Zero,
            Self::Unmapped
            | Self::WaitEntered
            | Self::FaultEntered
            | Self::EntryLocked
            | Self::WriteAllocated
            | Self::CopyWritten
            | Self::BlockFound
            | Self::PageFound
            | Self::Compared => ReturnCondition::Any,
        }
    }
}

impl fmt::Display for HoldPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The numbers of the slots. A function has one, and each slot a program of its own: the kernel lets
/// no program run on a processor on which it already does.
pub mod slot {
    /// Range of a file unmapped.
    pub const UNMAP: u32 = 0;
    /// File scanned for a busy page.
    pub const SCAN: u32 = 1;
    /// Wait for a page begun.
    pub const WAIT: u32 = 2;
    /// Fault begun.
    pub const FAULT: u32 = 3;
    /// Page written back.
    pub const WRITE: u32 = 4;
    /// Entries of a range about to go, for it has other blocks now.
    pub const INVALIDATE: u32 = 5;
    /// Blocks that were written as copies about to become the file's own.
    pub const REMAP: u32 = 6;
    /// Memory of the device about to be accessed.
    pub const ACCESS: u32 = 7;
    /// Page about to be entered in the mapping of its file.
    pub const ENTER: u32 = 8;
    /// Files compared.
    pub const COMPARE: u32 = 9;
    /// How many there are.
    pub const COUNT: usize = 10;
}

/// The control page.
pub type Slots = [Slot; slot::COUNT];

/// The longest that a task stands, in nanoseconds, whatever its deadline: the kernel calls a
/// processor stuck after 20 s (kernel/watchdog.c) and RCU stalled after 21 s (lib/Kconfig.debug).
pub const LONGEST: u64 = 5_000_000_000;

/// What a function must return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnCondition {
    /// Whatever it likes, or it returns nothing.
    Any = 0,
    /// A page, or an error.
    NonZero = 1,
    /// Nothing found.
    Zero = 2,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The task was let go.
    Go = 1,
    /// Nobody let it go in time.
    Deadline = 2,
}

/// What holds one task at one function. All zero, it holds nobody.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Slot {
    /// Written by the tracer: 1 if the probe is in place.
    pub attached: AtomicU64,
    /// Written by the case, as are the next six, this one last: 1 while somebody is to be held.
    pub on: AtomicU64,
    /// The thread that is to be held. Others pass.
    pub task: AtomicU64,
    /// A [`ReturnCondition`].
    pub condition: AtomicU64,
    /// Which of its arrivals is meant, from 1.
    pub nth: AtomicU64,
    /// How long it stands at most, in nanoseconds.
    pub deadline: AtomicU64,
    /// 1 if it may go.
    pub go: AtomicU64,
    /// It may go as well once somebody has been stopped in another slot: 1 and that slot's number;
    /// 0 if it waits for none. Two that stand leave a machine of two processors none for the case.
    pub after: AtomicU64,
    /// Written by the probe, as are the next four: how often the task came by.
    pub seen: AtomicU64,
    /// When it was stopped, in nanoseconds of the monotonic clock; 0 if it was not yet.
    pub arrived: AtomicU64,
    /// When it went on.
    pub left: AtomicU64,
    /// An [`End`], written last; 0 while it stands.
    pub end: AtomicU64,
    /// Where it stood.
    pub processor: AtomicU64,
}

// The kernel rounds the elements of an array map up to 8 bytes and lays them out without a gap.
const _: () = assert!(size_of::<Slot>() == 13 * 8);

impl Slot {
    /// Has `task` held at `point` when it next comes there, for `deadline` nanoseconds at most.
    ///
    /// False if somebody still stands there, or is to.
    pub fn arm(&self, task: u32, point: HoldPoint, deadline: u64) -> bool {
        if self.on.load(Ordering::SeqCst) != 0 || self.stands() {
            return false;
        }
        let (asked, told) = ([&self.go, &self.after], [&self.seen, &self.arrived, &self.left]);
        for word in asked.into_iter().chain(told).chain([&self.end, &self.processor]) {
            word.store(0, Ordering::SeqCst);
        }
        self.task.store(task.into(), Ordering::SeqCst);
        self.condition.store(point.condition() as u64, Ordering::SeqCst);
        self.nth.store(1, Ordering::SeqCst);
        self.deadline.store(deadline, Ordering::SeqCst);
        self.on.store(1, Ordering::SeqCst);
        true
    }

    /// Lets the task go, or pass if it has not come yet.
    pub fn release(&self) {
        self.go.store(1, Ordering::SeqCst);
    }

    /// Lets the task go as well once somebody has been stopped in slot `other`, which must be armed:
    /// who was stopped there before counts.
    pub fn go_after(&self, other: u32) {
        self.after.store(u64::from(other) + 1, Ordering::SeqCst);
    }

    /// Holds nobody any more who is not held already.
    pub fn disarm(&self) {
        self.on.store(0, Ordering::SeqCst);
    }

    /// Whether the probe is in place.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::SeqCst) != 0
    }

    /// Whether the task has been stopped.
    pub fn has_arrived(&self) -> bool {
        self.arrived.load(Ordering::SeqCst) != 0
    }

    /// How its stop ended, if it has.
    pub fn ended(&self) -> Option<End> {
        match self.end.load(Ordering::SeqCst) {
            0 => None,
            go if go == End::Go as u64 => Some(End::Go),
            _ => Some(End::Deadline),
        }
    }

    /// Whether the task stands there.
    pub fn stands(&self) -> bool {
        self.has_arrived() && self.ended().is_none()
    }
}

/// Whether `returned` is what a [`ReturnCondition`] asks for. For the probe, which has it as a number.
pub const fn meets(condition: u64, returned: u64) -> bool {
    match condition {
        1 => returned != 0,
        2 => returned == 0,
        _ => true,
    }
}

/// Which slot a task in [`Slot::after`] waits for, if any.
pub const fn awaited(after: u64) -> Option<u32> {
    match after {
        0 => None,
        number => Some((number - 1) as u32),
    }
}

/// When a task that arrives at `now` goes on by itself.
pub const fn until(now: u64, deadline: u64) -> u64 {
    now.saturating_add(if deadline < LONGEST { deadline } else { LONGEST })
}

/// Whether a task that stands goes on, as a number of an [`End`]; 0 if it does not.
pub const fn over(go: bool, now: u64, until: u64) -> u64 {
    if go {
        End::Go as u64
    } else if now >= until {
        End::Deadline as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn points_of_one_slot_differ_in_what_is_returned() {
        let asked: BTreeSet<_> = HoldPoint::ALL
            .iter()
            .map(|point| (point.slot(), point.condition() as u64, point.name()))
            .collect();
        assert_eq!(asked.len(), HoldPoint::ALL.len());
        assert!(HoldPoint::ALL.iter().all(|point| HoldPoint::named(point.name()) == Some(*point)));
        assert!(HoldPoint::ALL.iter().all(|point| (point.slot() as usize) < slot::COUNT));
        for (one, other) in [(HoldPoint::ScanFoundBusy, HoldPoint::ScanFoundNone)] {
            for returned in [0, 1, u64::MAX] {
                let [one, other] =
                    [one, other].map(|point| meets(point.condition() as u64, returned));
                assert_ne!(one, other, "{returned}");
            }
        }
        assert!(meets(ReturnCondition::Any as u64, 0) && meets(ReturnCondition::Any as u64, 1));
    }

    #[test]
    fn a_task_goes_when_it_is_let_go_or_its_time_is_over() {
        let until = until(1000, 50);
        assert_eq!(over(false, 1049, until), 0);
        assert_eq!(over(false, 1050, until), End::Deadline as u64);
        // It was let go in time, though the probe looks late.
        assert_eq!(over(true, 2000, until), End::Go as u64);
    }

    #[test]
    fn no_deadline_is_longer_than_the_kernel_bears() {
        assert_eq!(until(7, u64::MAX), 7 + LONGEST);
        assert_eq!(until(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn a_slot_is_armed_anew_only_when_nobody_stands_there() {
        let slot = Slot::default();
        assert!(!slot.stands() && slot.ended().is_none());
        assert!(slot.arm(7, HoldPoint::ScanFoundBusy, 100));
        assert_eq!(awaited(slot.after.load(Ordering::SeqCst)), None);
        slot.go_after(slot::UNMAP);
        assert_eq!(awaited(slot.after.load(Ordering::SeqCst)), Some(slot::UNMAP));
        assert!(!slot.arm(8, HoldPoint::ScanFoundNone, 100), "the first has not come yet");
        slot.disarm();
        slot.arrived.store(5, Ordering::SeqCst);
        assert!(slot.stands() && !slot.arm(8, HoldPoint::ScanFoundNone, 100));
        assert_eq!(slot.task.load(Ordering::SeqCst), 7);
        slot.release();
        assert!(slot.stands(), "until the probe has seen it");
        slot.end.store(End::Go as u64, Ordering::SeqCst);
        assert_eq!(slot.ended(), Some(End::Go));
        assert!(slot.arm(8, HoldPoint::ScanFoundNone, 100));
        assert!(!slot.has_arrived() && slot.ended().is_none());
        assert_eq!(awaited(slot.after.load(Ordering::SeqCst)), None);
        assert_eq!(slot.condition.load(Ordering::SeqCst), ReturnCondition::Zero as u64);
    }
}
