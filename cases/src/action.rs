//! What a task can do: one system call, in general.
//!
//! Actions are data, so that one description serves a case, a generated program, its replay
//! file and the wire between the case and the process that acts. Identifiers are chosen by
//! whoever writes the action, which keeps replies small and replays exact.

use std::fmt;

pub use reference::{Direction, Medium, Mode, Sharing};
use serde::{Deserialize, Serialize};

pub use crate::content::{Content, SECTOR, Sector};
pub use crate::kind::{Engine, PinEnd, PinKind};
pub use crate::span::{PAGE, Span, page, pages};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u32);
    };
}

id! {
    /// A file of the case.
    FileId
}
id! {
    /// A mapping of a file; valid in the process that made it and in those forked from it since.
    MapId
}
id! {
    /// A set of pages pinned by one call.
    PinId
}
id! {
    /// A task: a thread of control that performs one action at a time.
    TaskId
}
id! {
    /// A number shared by all tasks of a case; starts at 0.
    VarId
}

/// Whom a file exchanges its blocks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Partner {
    /// `XFS_IOC_SWAPEXT`: another file, which must be as long. Online defragmentation does it.
    File(FileId),
    /// `XFS_IOC_EXCHANGE_RANGE`: another file, from the start of both to their ends.
    Range(FileId),
    /// `EXT4_IOC_SWAP_BOOT`: the inode that keeps the boot loader, which has no name. Of a new file
    /// system it is empty.
    BootLoader,
}

/// How a process is told which pages of a mapping it has stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tracker {
    /// `/proc/PID/clear_refs`, and the bit soft-dirty in `/proc/PID/pagemap`.
    SoftDirty,
    /// `PAGEMAP_SCAN`, with pages that userfaultfd(2) write-protects (`UFFD_FEATURE_WP_ASYNC`).
    Scan,
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SoftDirty => "soft-dirty",
            Self::Scan => "pagemap-scan",
        })
    }
}

/// What is done to a whole file system: the one on the spare device, which is the case's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Whole {
    /// Makes it anew, with room to grow on its device, and mounts it.
    Make,
    /// The same of [`LARGE`] bytes in two allocation groups.
    MakeLarge,
    /// The same as `Make`, on a device of device-mapper that is a part of its device.
    MakeMapped,
    /// Gives that device of device-mapper another part, which has the same.
    Move,
    /// As if the machine stopped, with no file of it in use: it is mounted again, with what is in the memory of
    /// its device now and nothing else; what checks it repairs it before, if it has no log.
    Crash,
    /// umount(2). It may wait for what is left of a file; it fails with `EBUSY` while one is in use.
    Unmount,
    /// mount(2).
    Mount,
    /// Has what checks it, unmounted, look at it. `EUCLEAN` if that complains.
    Check,
    /// Mounts it read-only where it is mounted: `MS_REMOUNT`.
    ReadOnly,
    /// `FIFREEZE`: nobody changes it until it thaws.
    Freeze,
    /// `FITHAW`.
    Thaw,
    /// `XFS_IOC_GOINGDOWN`, `EXT4_IOC_SHUTDOWN`: nothing reaches its device any more, as if that were
    /// gone, until it is mounted again.
    ShutDown,
    /// `XFS_IOC_FSGROWFSDATA`, `EXT4_IOC_RESIZE_FS`: to all of its device.
    Grow,
    /// Takes the driver from its device: the memory goes, and with it all that is mapped.
    Unbind,
    /// Gives the device its driver back.
    Bind,
}

/// Bytes of a file system that has room for two extents of 4 GiB, and what XFS reserves for a third when it
/// unshares one.
pub const LARGE: u64 = 13 << 30;

/// One thing for a task to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Creates a file whose page `i` is filled with `fill[i]` (0: left a hole), written with
    /// write(2) and made durable.
    Create {
        /// Its identifier from now on.
        file: FileId,
        /// Its name, unique in the case.
        name: String,
        /// Where it lives.
        medium: Medium,
        /// One byte per page.
        fill: Vec<u8>,
    },
    /// As `Create`, but `len` bytes allocated with fallocate and aligned so that a huge mapping
    /// is possible; every page is filled with `byte` through write(2).
    CreateHuge {
        /// Its identifier from now on.
        file: FileId,
        /// Its name, unique in the case.
        name: String,
        /// Bytes; a multiple of 2 MiB.
        len: u64,
        /// What fills it.
        byte: u8,
    },
    /// As `Create`, on the DAX file system, but a file that uses the page cache.
    CreateWithoutDax {
        /// Its identifier from now on.
        file: FileId,
        /// Its name, unique in the case.
        name: String,
        /// One byte per page.
        fill: Vec<u8>,
    },
    /// As `Create`, a DAX file on the file system that [`Whole`] is about.
    CreateSpare {
        /// Its identifier from now on.
        file: FileId,
        /// Its name, unique in the case.
        name: String,
        /// One byte per page.
        fill: Vec<u8>,
    },
    /// As [`Action::CreateSpare`], in a folder of its own.
    CreateInFolder {
        /// Its identifier from now on.
        file: FileId,
        /// Its name, unique in the case.
        name: String,
        /// One byte per page.
        fill: Vec<u8>,
    },
    /// rmdir(2) of the folder of such a file.
    RemoveFolder {
        /// Whose.
        file: FileId,
    },
    /// `XFS_IOC_BULKSTAT` of one inode of the file system that [`Whole`] is about. Replies
    /// [`Reply::Count`], how many were found.
    BulkStat {
        /// A file that has, or had, the inode.
        file: FileId,
        /// The inode's number.
        inode: u64,
    },
    /// Something that changes a whole file system.
    Whole(Whole),
    /// sync(2) and `drop_caches`: inodes that nobody uses leave memory, as when it is short. Replies
    /// [`Reply::Count`], how many unused inodes it has in memory then, of all file systems.
    DropCaches,
    /// `MADV_HWPOISON` of a page of a mapping: to the kernel its memory fails. Replies
    /// [`Reply::Count`], 1 if the task was told so with `SIGBUS`.
    Poison {
        /// The mapping.
        map: MapId,
        /// Which of its bytes, a page.
        span: Span,
    },
    /// The memory of a physical block fails, as a machine check has it: nobody need have it mapped.
    PoisonBlock {
        /// Any file of the file system.
        file: FileId,
        /// The block, as [`Action::Blocks`] counts it.
        block: u64,
    },
    /// `MADV_SOFT_OFFLINE` of a page of a mapping: the kernel is to move what it holds elsewhere.
    SoftOffline {
        /// The mapping.
        map: MapId,
        /// Which of its bytes, a page.
        span: Span,
    },
    /// `UFFDIO_WRITEPROTECT` of a mapping, with `UFFD_FEATURE_WP_ASYNC`: the kernel itself undoes it page
    /// by page as they are stored to, so that one can ask which were. It lasts as long as the process.
    WriteProtect {
        /// The mapping.
        map: MapId,
    },
    /// The driver of the spare device is told that the file's blocks there are bad, or the sectors of them
    /// that are named: they cannot be read, until somebody writes whole blocks.
    SpoilBlocks {
        /// Which file.
        file: FileId,
        /// Which bytes, in whole sectors.
        span: Span,
    },
    /// The driver of the spare device is told that a block is bad, whoever has it.
    SpoilBlock {
        /// Any file of the file system.
        file: FileId,
        /// The block, as [`Action::Blocks`] counts it.
        block: u64,
    },
    /// `FS_IOC_SETFLAGS`: nobody can change the file from now on (`FS_IMMUTABLE_FL`), or everybody can again.
    Immutable {
        /// Which.
        file: FileId,
        /// Whether nobody can.
        on: bool,
    },
    /// From now on stores to a mapping are told of, and those before are forgotten.
    Track {
        /// The mapping.
        map: MapId,
        /// How.
        by: Tracker,
    },
    /// Which pages of a mapping were stored to since [`Action::Track`]. Replies [`Reply::Count`], how many.
    StoredTo {
        /// The mapping.
        map: MapId,
        /// Which of its bytes, in whole pages.
        span: Span,
        /// How.
        by: Tracker,
    },
    /// remap_file_pages(2): a part of a mapping shows another part of its file.
    Remap {
        /// The mapping.
        map: MapId,
        /// Which of its bytes, in whole pages.
        span: Span,
        /// The first byte of the file that is to show there.
        at: u64,
    },
    /// `XFS_IOC_SCRUB_METADATA` of the file's inode and extent map, and of what its file system knows
    /// of the space there. Replies [`Reply::Count`], 1 if any is found corrupt.
    Scrub {
        /// Which.
        file: FileId,
    },
    /// `XFS_IOC_SCRUB_METADATA` of the file's inode and extent map, which are to be repaired if they are
    /// corrupt (`XFS_SCRUB_IFLAG_REPAIR`). Replies as [`Action::Scrub`].
    Repair {
        /// Which.
        file: FileId,
    },
    /// Closes the process's descriptor of the file. Later actions of that process fail with
    /// `EBADF`.
    Close {
        /// Which.
        file: FileId,
    },
    /// open(2), readable and writable, of a file that the process has closed.
    Reopen {
        /// Which.
        file: FileId,
    },
    /// `FS_IOC_SETFLAGS`, twice: the file is to be none that uses DAX, and then again one that does.
    ///
    /// An inode cannot become the other while it is in use, so the kernel has it leave memory with its
    /// last user. It does so although the file is to be what it was.
    FlipDax {
        /// Which.
        file: FileId,
    },
    /// Removes the file's name.
    Unlink {
        /// Which.
        file: FileId,
    },
    /// read(2); the reply is [`Reply::Content`], shorter than asked at the end of the file.
    Read {
        /// From which file.
        file: FileId,
        /// Which bytes, in whole sectors.
        span: Span,
    },
    /// write(2) of one repeated byte.
    Write {
        /// To which file.
        file: FileId,
        /// Which bytes.
        span: Span,
        /// The value.
        byte: u8,
    },
    /// Synchronous direct I/O between a file of the file system and a mapping.
    DirectIo {
        /// The file opened with `O_DIRECT`.
        file: FileId,
        /// Where in the file.
        span: Span,
        /// The mapping that is the buffer.
        map: MapId,
        /// Where in the mapping the buffer begins, in bytes.
        buffer: u64,
        /// `FromMemory` is a write(2) to the file.
        direction: Direction,
    },
    /// pwritev(2) of the first bytes of two mappings, one after the other. Replies [`Reply::Count`].
    Gather {
        /// To which file.
        file: FileId,
        /// Where in the file.
        span: Span,
        /// The mappings, each for half of it.
        maps: [MapId; 2],
    },
    /// ftruncate(2).
    Truncate {
        /// Which.
        file: FileId,
        /// The new size in bytes.
        size: u64,
    },
    /// open(2) with `O_TRUNC`.
    OpenTruncate {
        /// Which.
        file: FileId,
    },
    /// open(2) with `O_TRUNC` by io_uring, which is cancelled as soon as it runs.
    CancelledOpenTruncate {
        /// Which.
        file: FileId,
    },
    /// fallocate(2).
    Fallocate {
        /// Which.
        file: FileId,
        /// What.
        mode: Mode,
        /// Where.
        span: Span,
    },
    /// fallocate(2) by io_uring, which is cancelled as soon as it runs.
    CancelledFallocate {
        /// Which.
        file: FileId,
        /// What.
        mode: Mode,
        /// Where.
        span: Span,
    },
    /// `FICLONERANGE`.
    Clone {
        /// The source.
        from: FileId,
        /// Its range.
        span: Span,
        /// The destination.
        to: FileId,
        /// The destination's first byte.
        at: u64,
    },
    /// `FIDEDUPERANGE`. Replies [`Reply::Count`], the bytes deduplicated.
    Dedupe {
        /// The source.
        from: FileId,
        /// Its range.
        span: Span,
        /// The destination.
        to: FileId,
        /// The destination's first byte.
        at: u64,
    },
    /// `EXT4_IOC_MOVE_EXT`: moves all of a file into the blocks of another, which gets the file's own.
    /// Online defragmentation does it.
    MoveExtents {
        /// Whose data moves.
        file: FileId,
        /// Whose blocks it moves into.
        donor: FileId,
    },
    /// Exchanges all blocks of a file, and its size, for those of another.
    Exchange {
        /// Which.
        file: FileId,
        /// For whose.
        with: Partner,
    },
    /// fsync(2), or fdatasync(2).
    Fsync {
        /// Which.
        file: FileId,
        /// fdatasync.
        data_only: bool,
    },
    /// fstat(2). Replies [`Reply::Stat`].
    Stat {
        /// Which.
        file: FileId,
    },
    /// cachestat(2) of all of a file. Replies [`Reply::Count`], how many pages are in the page cache, or
    /// were.
    CacheStat {
        /// Which.
        file: FileId,
    },
    /// The physical block (in pages of the device) behind each page, 0 for a hole. Replies
    /// [`Reply::Blocks`].
    Blocks {
        /// Which.
        file: FileId,
        /// Which pages.
        span: Span,
    },
    /// Which page of the file lies in a physical block. Replies [`Reply::Count`], its index
    /// plus 1, or 0 if none does.
    FindBlock {
        /// Which.
        file: FileId,
        /// The block, as [`Action::Blocks`] counts it.
        block: u64,
    },
    /// Whether the file system counts a physical block as free. Replies [`Reply::Count`], 1 or 0.
    IsFree {
        /// Any file of the file system.
        file: FileId,
        /// The block, as [`Action::Blocks`] counts it.
        block: u64,
    },
    /// What the device has in the file's blocks, read around the file system and its cache.
    /// Replies [`Reply::Content`]; holes read as zeros.
    Stored {
        /// Which.
        file: FileId,
        /// Which bytes, in whole pages.
        span: Span,
    },
    /// mmap(2), readable and writable.
    Map {
        /// Its identifier from now on.
        map: MapId,
        /// The file.
        file: FileId,
        /// Which bytes, in whole pages.
        span: Span,
        /// How.
        sharing: Sharing,
    },
    /// munmap(2) of the whole mapping.
    Unmap {
        /// Which.
        map: MapId,
    },
    /// mprotect(2) of the whole mapping: no access, and then what it was made with.
    Protect {
        /// Which.
        map: MapId,
    },
    /// mremap(2) of the whole mapping to other addresses, and back.
    Move {
        /// Which.
        map: MapId,
    },
    /// Reads one byte of each page through the mapping. Replies [`Reply::Count`], the page
    /// faults this took. `SIGBUS` becomes `EFAULT`.
    Touch {
        /// Which mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
    },
    /// Fills bytes through the mapping. Replies [`Reply::Count`], the page faults this took.
    /// `SIGBUS` becomes `EFAULT`.
    Store {
        /// Which mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
        /// The value.
        byte: u8,
    },
    /// Reads content through the mapping. Replies [`Reply::Content`].
    Load {
        /// Which mapping.
        map: MapId,
        /// Which of its bytes, in whole sectors.
        span: Span,
    },
    /// msync(2) with `MS_SYNC` of the whole mapping.
    Msync {
        /// Which.
        map: MapId,
    },
    /// `FUTEX_WAIT` for the first word of a mapping, which holds what it does, by whichever process.
    FutexWait {
        /// Which.
        map: MapId,
    },
    /// `FUTEX_WAKE` of all who wait for the first word of a mapping. Replies [`Reply::Count`], how many
    /// did.
    FutexWake {
        /// Which.
        map: MapId,
    },
    /// Pins pages of a mapping; returns once they are pinned. Released with `System::release`.
    Pin {
        /// Its identifier from now on.
        pin: PinId,
        /// The mapping.
        map: MapId,
        /// Which of its bytes, in whole sectors.
        span: Span,
        /// How.
        kind: PinKind,
    },
    /// Collects the result of a direct-I/O pin after its release. Replies [`Reply::Count`], the
    /// bytes transferred.
    Reap {
        /// Which; by a task of the process that pinned.
        pin: PinId,
    },
    /// Asks for a long-term pin (io_uring fixed buffers) of a mapping and gives it back if
    /// granted.
    PinLongterm {
        /// The mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
    },
    /// Keeps `inflight` direct I/Os between a mapping and a slow device in flight until `stop`
    /// is not 0, resubmitting each as it completes; spread over pieces of `piece` bytes.
    /// Replies [`Reply::Count`], the I/Os completed.
    DirectLoad {
        /// The mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
        /// Bytes of one I/O.
        piece: u64,
        /// How many at a time.
        inflight: u32,
        /// Which way.
        direction: Direction,
        /// Counts the submissions.
        submitted: VarId,
        /// Ends the load.
        stop: VarId,
    },
    /// Runs a small program of steps at full speed.
    Run(Script),
}

impl Whole {
    /// What is done, in a word, for programs.
    const fn name(self) -> &'static str {
        match self {
            Self::Make | Self::MakeLarge | Self::MakeMapped => "make",
            Self::Move => "move",
            Self::Crash => "crash",
            Self::Unmount => "unmount",
            Self::Mount => "mount",
            Self::Check => "check",
            Self::ReadOnly => "remount-read-only",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::ShutDown => "shut-down",
            Self::Grow => "grow",
            Self::Unbind => "unbind",
            Self::Bind => "bind",
        }
    }
}

/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;

impl Action {
    /// How many huge pages it accesses through a mapping, if it is whole ones.
    pub fn huge_pages(&self) -> Option<u64> {
        let (Self::Touch { span, .. } | Self::Store { span, .. }) = self else {
            return None;
        };
        let whole = span.at.is_multiple_of(HUGE_PAGE) && span.len.is_multiple_of(HUGE_PAGE);
        (whole && span.len > 0).then_some(span.len / HUGE_PAGE)
    }

    /// What is done, in a word, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. }
            | Self::CreateHuge { .. }
            | Self::CreateWithoutDax { .. }
            | Self::CreateSpare { .. }
            | Self::CreateInFolder { .. } => "create",
            Self::RemoveFolder { .. } => "rmdir",
            Self::BulkStat { .. } => "bulkstat",
            Self::Whole(whole) => whole.name(),
            Self::DropCaches => "drop-caches",
            Self::Poison { .. } | Self::PoisonBlock { .. } => "poison",
            Self::SoftOffline { .. } => "soft-offline",
            Self::WriteProtect { .. } => "write-protect",
            Self::Track { .. } => "track",
            Self::StoredTo { .. } => "stored-to",
            Self::Remap { .. } => "remap",
            Self::SpoilBlocks { .. } | Self::SpoilBlock { .. } => "spoil",
            Self::Immutable { .. } => "immutable",
            Self::Scrub { .. } => "scrub",
            Self::Repair { .. } => "repair",
            Self::Close { .. } => "close",
            Self::Reopen { .. } => "reopen",
            Self::FlipDax { .. } => "flip-dax",
            Self::Unlink { .. } => "unlink",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::DirectIo { direction: Direction::FromMemory, .. } => "direct-write",
            Self::DirectIo { direction: Direction::IntoMemory, .. } => "direct-read",
            Self::Gather { .. } => "gather",
            Self::Truncate { .. } => "truncate",
            Self::OpenTruncate { .. } | Self::CancelledOpenTruncate { .. } => "open-truncate",
            Self::Fallocate { mode, .. } | Self::CancelledFallocate { mode, .. } => mode.name(),
            Self::Clone { .. } => "reflink",
            Self::Dedupe { .. } => "dedupe",
            Self::MoveExtents { .. } => "move-extents",
            Self::Exchange { .. } => "exchange",
            Self::Fsync { data_only: false, .. } => "fsync",
            Self::Fsync { data_only: true, .. } => "fdatasync",
            Self::Stat { .. } => "stat",
            Self::CacheStat { .. } => "cachestat",
            Self::Blocks { .. } => "blocks",
            Self::FindBlock { .. } => "find-block",
            Self::IsFree { .. } => "is-free",
            Self::Stored { .. } => "stored",
            Self::Map { .. } => "map",
            Self::Unmap { .. } => "unmap",
            Self::Protect { .. } => "protect",
            Self::Move { .. } => "move",
            Self::Touch { .. } => "touch",
            Self::Store { .. } => "store",
            Self::Load { .. } => "load",
            Self::Msync { .. } => "msync",
            Self::FutexWait { .. } => "futex-wait",
            Self::FutexWake { .. } => "futex-wake",
            Self::Pin { .. } => "pin",
            Self::Reap { .. } => "reap",
            Self::PinLongterm { .. } => "pin-longterm",
            Self::DirectLoad { .. } => "direct-load",
            Self::Run(_) => "run",
        }
    }
}

/// A small program that a task runs by itself, for loads and races.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Script {
    /// What one round does.
    pub steps: Vec<Instruction>,
    /// How many rounds; it ends earlier when `stop` is not 0.
    pub rounds: u64,
    /// Ends the script, and every wait in it.
    pub stop: VarId,
    /// Seeds the pauses.
    pub seed: u64,
}

/// One step of a [`Script`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Instruction {
    /// Does an action; an error ends the script with it.
    Do(Action),
    /// Pins pages of the mapping with vmsplice and lets them go at once, one after another in
    /// the order of the file.
    PinUnpin {
        /// The mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
    },
    /// Pins pages of the mapping into the task's own pipe `slot`, to be let go by `Drop`.
    Hold {
        /// The mapping.
        map: MapId,
        /// Which of its bytes.
        span: Span,
        /// Which of the task's pipes.
        slot: u8,
    },
    /// Lets go of what `slot` holds.
    Drop {
        /// Which of the task's pipes.
        slot: u8,
    },
    /// Lets go of what `slot` holds, which all was `byte`, and adds 1 to `into` if `var` had
    /// reached the number of the round before that. Nothing is added if it held anything else.
    DropAfter {
        /// Which of the task's pipes.
        slot: u8,
        /// What must have been held.
        byte: u8,
        /// Looked at just before.
        var: VarId,
        /// Counted in.
        into: VarId,
    },
    /// Sets a variable to the number of the round, counted from 1.
    Mark(VarId),
    /// Sets a variable.
    Set(VarId, u64),
    /// Adds 1 to a variable.
    Count(VarId),
    /// Adds 1 to `into` if `var` is not 0.
    CountIf {
        /// Looked at.
        var: VarId,
        /// Counted in.
        into: VarId,
    },
    /// Adds to `into` how often this task went to sleep of its own will since the last such
    /// step (or the start of the script).
    CountSleeps {
        /// Counted in.
        into: VarId,
    },
    /// Waits until a variable has reached the number of the round.
    AwaitRound(VarId),
    /// Spins for a while chosen anew each round between 0 and `most` turns, evenly over the
    /// orders of magnitude, so that all alignments of two tasks come up.
    Pause {
        /// The longest.
        most: u64,
    },
    /// Sleeps for a while chosen anew each round, evenly between 0 and `most` microseconds, and
    /// leaves the processor to the tasks that race.
    Sleep {
        /// The longest.
        most: u64,
    },
}

/// What an action answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// It was done.
    Done,
    /// What was read.
    Content(Content),
    /// A number.
    Count(u64),
    /// Size in bytes and allocated pages.
    Stat {
        /// `st_size`.
        size: u64,
        /// `st_blocks` in pages.
        allocated: u64,
        /// `st_nlink`.
        links: u64,
        /// `st_ino`.
        inode: u64,
    },
    /// Physical blocks, page by page.
    Blocks(Vec<u64>),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("success"),
            Self::Content(content) => write!(f, "\"{content}\""),
            Self::Count(count) => write!(f, "{count}"),
            Self::Stat { size, allocated, links, inode } => {
                write!(f, "size={size} allocated={allocated} links={links} inode={inode}")
            }
            Self::Blocks(blocks) => {
                let blocks: Vec<_> = blocks.iter().map(u64::to_string).collect();
                write!(f, "blocks {}", blocks.join(" "))
            }
        }
    }
}
