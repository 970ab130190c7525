//! What a case may ask of a file system.
//!
//! Two implementations: [`kernel`] performs actions with system calls in processes of their
//! own, the reference performs them on its running model of the protocol. Nothing here says
//! which it is; a case asks what is possible ([`Need`]) and nothing else.

mod dice;
pub mod kernel;
pub mod reference;

use std::fmt;
use std::ops::Range;

pub use ::protocol::HoldPoint;
pub use ::reference::Errno;
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::action::Whole;
use crate::action::{Action, Content, FileId, Mode, PinId, PinKind, Reply, Span, TaskId, VarId};
use crate::oracle::{BystanderSpec, Inspection, Stood, View};
use crate::patience::Patience;

/// The task that exists from the start; all others descend from it.
pub const MAIN: TaskId = TaskId(0);

/// Something that not every file system, kernel or machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// `FICLONERANGE`, `FIDEDUPERANGE` and copy-on-write of shared blocks.
    Reflink,
    /// Pins of this kind.
    Pin(PinKind),
    /// Direct I/O whose completion can be withheld (device-mapper and brd).
    HeldIo,
    /// A device on which direct I/O takes a while (null_blk).
    SlowIo,
    /// io_uring.
    Uring,
    /// Mappings of 2 MiB.
    Huge,
    /// A second file system of the same kind that uses the page cache.
    PageCache,
    /// This mode of fallocate(2).
    Fallocate(Mode),
    /// `MAP_SYNC`.
    MapSync,
    /// `XFS_IOC_SWAPEXT`.
    SwapExtents,
    /// `XFS_IOC_EXCHANGE_RANGE`.
    ExchangeRange,
    /// `EXT4_IOC_SWAP_BOOT`.
    SwapBoot,
    /// `EXT4_IOC_MOVE_EXT`.
    MoveExtents,
    /// Files with DAX and files without on one file system.
    WithoutDax,
    /// A second device, for a DAX file system of the case's own.
    Spare,
    /// A spare device that has room for [`Whole::MakeLarge`].
    LargeSpare,
    /// Such a file system that can be shut down: `XFS_IOC_GOINGDOWN`, `EXT4_IOC_SHUTDOWN`.
    ShutDown,
    /// `MADV_HWPOISON` and `MADV_SOFT_OFFLINE`.
    Poison,
    /// A spare device of which device-mapper can have a part: [`Whole::MakeMapped`].
    Mapper,
    /// [`Action::PoisonBlock`] on the spare device.
    PoisonBlock,
    /// [`Action::WriteProtect`].
    WriteProtect,
    /// [`Tracker::SoftDirty`](crate::action::Tracker::SoftDirty).
    SoftDirty,
    /// [`Tracker::Scan`](crate::action::Tracker::Scan).
    PagemapScan,
    /// cachestat(2).
    CacheStat,
    /// A spare device of which blocks can be said to be bad: [`Action::SpoilBlocks`].
    BadBlocks,
    /// A file on the spare file system that nobody can change: [`Action::Immutable`].
    Immutable,
    /// `XFS_IOC_BULKSTAT` on the spare file system.
    BulkStat,
    /// To see what is flushed from the processor's caches: [`System::not_flushed`].
    Flushes,
    /// `XFS_IOC_SCRUB_METADATA`.
    Scrub,
    /// `XFS_SCRUB_IFLAG_REPAIR`.
    Repair,
    /// A spare device whose driver can be taken from it: of persistent memory.
    Unbind,
    /// A task that is held at this point.
    Hold(HoldPoint),
    /// A task that is held in its copy: [`System::hold_in_copy`].
    HoldInCopy,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reflink => "reflink",
            Self::Pin(kind) => return write!(f, "pins by {kind}"),
            Self::HeldIo => "held-io",
            Self::SlowIo => "slow-io",
            Self::Uring => "uring",
            Self::Huge => "huge",
            Self::PageCache => "page-cache",
            Self::Fallocate(mode) => return write!(f, "fallocate-{mode}"),
            Self::MapSync => "map-sync",
            Self::SwapExtents => "swap-extents",
            Self::ExchangeRange => "exchange-range",
            Self::SwapBoot => "swap-boot",
            Self::MoveExtents => "move-extents",
            Self::WithoutDax => "files-without-dax",
            Self::Spare => "spare",
            Self::LargeSpare => "large-spare",
            Self::ShutDown => "shut-down",
            Self::Poison => "poison",
            Self::Mapper => "mapper",
            Self::PoisonBlock => "poison-block",
            Self::WriteProtect => "write-protect",
            Self::SoftDirty => "soft-dirty",
            Self::PagemapScan => "pagemap-scan",
            Self::CacheStat => "cachestat",
            Self::BadBlocks => "bad-blocks",
            Self::Immutable => "immutable",
            Self::BulkStat => "bulkstat",
            Self::Flushes => "flushes",
            Self::Scrub => "scrub",
            Self::Repair => "repair",
            Self::Unbind => "unbind",
            Self::Hold(point) => return write!(f, "a hold at {point}"),
            Self::HoldInCopy => "a hold in a copy",
        })
    }
}

/// How a new task relates to the one it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kinship {
    /// A thread: the same address space and descriptors.
    Thread,
    /// A forked process: a copy of the address space, descriptors shared with it at that moment.
    Process,
}

/// A signal to send to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// One with a handler and without `SA_RESTART`.
    Handled,
    /// `SIGKILL`, to the task's whole process.
    Kill,
}

/// An operation that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u32);

/// A task that is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldId(pub usize);

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// The task stood there until it was let go.
    Go,
    /// It went on by itself before: nobody knows when.
    Deadline,
    /// It did not come by.
    NeverArrived,
}

/// How an operation ended, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Its answer.
    pub result: Result<Reply, Errno>,
    /// Just before it began, by [`System::now`]'s clock.
    pub began: u64,
    /// Just after it returned.
    pub ended: u64,
}

/// Where a sleeping task sleeps, as far as names tell. It is for a person to read and proves
/// nothing: a kernel may have the layout break in functions of any name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitChannel {
    /// In the layout break of a kernel whose functions are known.
    LayoutBreak,
    /// In this function, which says nothing else.
    Elsewhere(String),
}

impl fmt::Display for WaitChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LayoutBreak => "the layout break",
            Self::Elsewhere(function) => function,
        })
    }
}

/// What was seen at the release of the last pin that an operation waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Just before, by [`System::now`]'s clock.
    pub at: u64,
    /// Where the operation slept on although the pin was gone, if it did.
    pub slept_on: Option<WaitChannel>,
}

/// What was seen of write-back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBacks {
    /// The pages, in order.
    pub pages: Vec<(FileId, Range<u64>)>,
    /// Why there may have been more, if there may.
    pub missed: Option<String>,
}

/// What an operation is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It has returned.
    Done(Done),
    /// It sleeps. From [`System::settle`]: nothing but a pin, or another operation, holds it up.
    Blocked(WaitChannel),
    /// It runs, or is about to.
    Running,
    /// Its task was killed.
    Gone,
}

/// What a case makes of what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The operation waits, and it would be wrong if it did not.
    Blocked(OpId),
    /// The operation must return; it was looked at only to tell one that spins at once.
    Returns(OpId),
    /// More than one way in which the operation may go on from here is right.
    Open(OpId),
    /// Whatever the operation has answered is right, and what comes is to be the same then.
    Whatever(OpId),
    /// The first has the lower inode number, and the case takes the two for what they are by that.
    InOrder([FileId; 2]),
}

/// Why a [`System`] could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// An operation or task did not come back within the generous limit.
    #[error("{what} did not return{}\n{state}", within(*seconds))]
    Stuck {
        /// What was waited for.
        what: String,
        /// For how long; 0 if it was known at once that it would not.
        seconds: u64,
        /// States, wait channels and stacks of the tasks.
        state: String,
    },
    /// An operation that must not wait for a pin did.
    #[error(
        "expected: {what} returns while a page is pinned\nseen: it slept for {seconds} s, and \
         returned when the pin was released\nlook at: {state}"
    )]
    HeldUp {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// States, wait channels and stacks of the tasks, while it slept.
        state: String,
    },
    /// The machine cannot do this.
    #[error("{0}")]
    NotOffered(String),
    /// The machinery of the test itself failed.
    #[error("{what}: {why}")]
    Machinery {
        /// What was tried.
        what: String,
        /// Why it failed.
        why: String,
    },
}

fn within(seconds: u64) -> String {
    if seconds == 0 { String::new() } else { format!(" within {seconds} s") }
}

/// Shorthand for what most of a [`System`]'s functions return.
pub type Tried<T> = Result<T, Trouble>;

/// Why no task can be held where a system does not say otherwise.
const NO_HOLDS: &str = "no task can be held here";

/// Why nobody sees a flush where a system does not say otherwise.
const NO_FLUSHES: &str = "what is flushed from the processor's caches cannot be seen here";

/// A file system under test, with tasks that act on it.
pub trait System {
    /// Says whether something is possible here, with the reason if it is not. May set up what
    /// is needed (devices, a second file system).
    fn offers(&mut self, need: Need) -> Result<(), String>;

    /// A new task from `of`, which must be idle.
    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId>;

    /// Hands `action` to the idle `task` and returns at once.
    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId>;

    /// What `op` is doing at this moment.
    fn look(&mut self, op: OpId) -> Tried<Look>;

    /// Waits until `op` has returned, is blocked, or turns out to spin; then says which. That
    /// it was a pin that blocked it shows when the pin is released.
    fn settle(&mut self, op: OpId) -> Tried<Look>;

    /// Waits until `op` has returned; [`Trouble::Stuck`] if it does not.
    fn wait(&mut self, op: OpId) -> Tried<Done>;

    /// As [`System::wait`], but gives up after `seconds` with `None`, which is no error.
    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>>;

    /// Sends a signal to `task`. After [`Signal::Kill`] all of its process is gone, or
    /// [`Trouble::Stuck`].
    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()>;

    /// Lets go of a pin that the acting process did not keep for itself. Returns the time just
    /// before: an operation that had to wait and ended earlier did not wait.
    fn release(&mut self, pin: PinId) -> Tried<u64>;

    /// As [`System::release`], of the last pin that `op` waits for: looks whether that is what
    /// ends its sleep.
    fn release_last(&mut self, pin: PinId, op: OpId) -> Tried<Released>;

    // Only for cases that need it, so a system that serves others may leave it out.

    /// Has `task` held when it next comes to `point`, before it begins what leads there.
    fn hold(&mut self, _task: TaskId, _point: HoldPoint) -> Tried<HoldId> {
        Err(Trouble::NotOffered(NO_HOLDS.to_owned()))
    }

    /// Has `task` held in the copy of its next read(2) or write(2), before it begins that: where it has copied
    /// the first sector. It stands until it is let go.
    fn hold_in_copy(&mut self, _task: TaskId) -> Tried<HoldId> {
        Err(Trouble::NotOffered(NO_HOLDS.to_owned()))
    }

    /// Waits until the task has come there; false if it ended what it does and did not.
    fn arrived(&mut self, _hold: HoldId) -> Tried<bool> {
        Err(Trouble::NotOffered(NO_HOLDS.to_owned()))
    }

    /// Has it go by itself once the task of `other`, which is armed as well, stands; before either
    /// begins what leads there. Where nothing goes by itself, whoever controls lets it go then.
    fn go_after(&mut self, _hold: HoldId, _other: HoldId) -> Tried<()> {
        Ok(())
    }

    /// Forgets what was flushed from the processor's caches so far: what comes now counts. Only with
    /// [`Need::Flushes`].
    fn forget_flushes(&mut self) -> Tried<()> {
        Err(Trouble::NotOffered(NO_FLUSHES.to_owned()))
    }

    /// The parts of `span` of a file that were not flushed since, in the blocks that it has now. What write(2)
    /// brought counts as flushed or not, as it comes.
    fn not_flushed(&mut self, _file: FileId, _span: Span) -> Tried<Vec<Span>> {
        Err(Trouble::NotOffered(NO_FLUSHES.to_owned()))
    }

    /// Is told what the case makes of what it saw, which only who writes it down wants to know.
    fn conclude(&mut self, _what: Conclusion) {}

    /// As [`System::settle`], of an operation that may come to `hold`, and beside tasks that are
    /// held; none if it stands there.
    fn rest(&mut self, op: OpId, _hold: Option<HoldId>) -> Tried<Option<Look>> {
        self.settle(op).map(Some)
    }

    /// Whether it stands there at this moment.
    fn stands(&mut self, _hold: HoldId) -> Tried<bool> {
        Err(Trouble::NotOffered(NO_HOLDS.to_owned()))
    }

    /// Lets it go, or pass if it has not come.
    fn go(&mut self, _hold: HoldId) -> Tried<HoldEnd> {
        Err(Trouble::NotOffered(NO_HOLDS.to_owned()))
    }

    /// What went through a released pin: what its holder read from the
    /// pages (a splice, or direct I/O from memory), or gave to them (direct I/O into memory).
    /// For direct I/O only after the pin was reaped.
    fn transferred(&mut self, pin: PinId) -> Tried<Content>;

    /// The value of a variable.
    fn var(&self, var: VarId) -> u64;

    /// Sets a variable.
    fn set_var(&mut self, var: VarId, value: u64);

    /// Makes a file of the file system under test that nobody touches, or leaves it alone if it is
    /// there; what is to be seen of it. Only while no operation is under way.
    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>>;

    /// Looks at files of the file system under test without leaving a trace: nothing stays open,
    /// nothing is mapped, and no event tells of it. Only while no operation is under way, which may
    /// hold locks that a look takes.
    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View>;

    /// Which pages of the file system under test were written back since this was last asked. Takes
    /// no lock of the file system, so it may be asked at any time.
    fn written_back(&mut self) -> Tried<WriteBacks>;

    /// What time limits are multiplied by.
    fn patience(&self) -> Patience;

    /// The clock of [`Done`], which only moves forward. Its unit is the implementation's own.
    fn now(&self) -> u64;

    /// States, wait channels and stacks of all tasks, for a person to read.
    fn describe(&mut self) -> String;
}
