//! The bugs that can be switched in, one at a time.
//!
//! Each is in the history of the kernel or was proposed in one of the threads that made the
//! protocol. A tester that does not notice them is no tester.

use std::fmt;
use std::str::FromStr;

macro_rules! variants {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal,)+) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Variant {
            $($(#[doc = $about])+ $variant,)+
        }

        impl Variant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What is wrong.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($about),+).trim_ascii(),)+
                }
            }
        }
    };
}

variants! {
    /// The break returns at once, whatever is pinned.
    NoBreak = "no-break",
    /// The break looks again only if it slept: a page that goes idle between being found and
    /// being waited for ends the break, whatever else is pinned.
    RetryFlag = "retry-flag",
    /// The break does not unmap before it looks, so pins are taken behind its back.
    NoUnmap = "no-unmap",
    /// The break drops the inode lock too while it waits, so direct I/O that holds pages pinned
    /// under that lock can starve it.
    DropAllLocks = "drop-all-locks",
    /// The break keeps the invalidate lock while it waits, so a task that must fault before it
    /// lets go of its pin waits for the break.
    HoldInvalidateLock = "hold-invalidate-lock",
    /// A fault does not take the invalidate lock, so it goes on while a break looks.
    FaultUnlocked = "fault-unlocked",
    /// A device that drops the last pin of a page wakes nobody.
    LostWakeup = "lost-wakeup",
    /// The break looks at the first page of the file only.
    FirstPageOnly = "first-page-only",
    /// The break takes a file that nobody maps for idle.
    SkipUnmapped = "skip-unmapped",
    /// The break sleeps until a page has no user at all, mappings included, although mappings are
    /// no reason to wait.
    WaitForMappings = "wait-for-mappings",
    /// A reflink or dedupe does not break the layout of its destination.
    NoBreakOnReflinkDestination = "no-break-on-reflink-destination",
    /// Copy-on-write by a write fault does not break the layout.
    NoBreakOnCowFault = "no-break-on-cow-fault",
    /// fsync skips pinned pages.
    FsyncSkipsPinned = "fsync-skips-pinned",
    /// fsync fails on a pinned page.
    FsyncFailsPinned = "fsync-fails-pinned",
    /// fsync waits for pinned pages.
    FsyncBlocksOnPinned = "fsync-blocks-on-pinned",
    /// The wait drops the invalidate lock whether or not its caller holds it.
    AssumeLockState = "assume-lock-state",
    /// A break that a signal ends leaves the invalidate lock held.
    LeakLockOnSignal = "leak-lock-on-signal",
    /// Inserting a range does not break the layout.
    InsertWithoutBreak = "insert-without-break",
    /// Direct I/O keeps the invalidate lock while it pins its buffer, so a buffer that maps the
    /// same file cannot be faulted in.
    DirectIoHoldsInvalidateLock = "direct-io-holds-invalidate-lock",
    /// A direct write breaks the layout of what it writes after it has pinned its buffer, and so
    /// waits for its own pin if the buffer maps the same pages.
    DirectWriteBreaksUnderPin = "direct-write-breaks-under-pin",
    /// A long-term pin of a DAX page is granted, and a break has nothing to wait for.
    LongtermPin = "longterm-pin",
    /// A long-term pin of a DAX page is refused after the pages were pinned, and they stay so.
    LongtermRefusalLeaks = "longterm-refusal-leaks",
    /// A block that is written for the first time does not show where its zeros are mapped.
    StaleZeroPage = "stale-zero-page",
    /// Copy-on-write by write(2) does not break the layout.
    NoBreakOnCowWrite = "no-break-on-cow-write",
    /// Copy-on-write by write(2) neither breaks the layout nor unmaps the page that it copied.
    StaleMappingAfterCow = "stale-mapping-after-cow",
    /// Dedupe compares what the blocks of unwritten extents held before.
    DedupeComparesUnwritten = "dedupe-compares-unwritten",
    /// Dedupe compares the first page and takes the others to be the same.
    DedupeComparesFirst = "dedupe-compares-first",
    /// Part of a page that several files share is not zeroed.
    ZeroSkipsShared = "zero-skips-shared",
    /// A new block is not zeroed: around what is stored in it the file shows what it held before.
    NewBlockNotZeroed = "new-block-not-zeroed",
    /// A break forgets which pages of the file are dirty, so no fsync writes them back.
    BreakForgetsDirty = "break-forgets-dirty",
    /// write(2) of a part of a page forgets that the page is dirty, so no fsync writes back the rest.
    PartWriteForgetsDirty = "part-write-forgets-dirty",
    /// What copy-on-write copies, and what is zeroed, stays in the processor's caches; no fsync writes it back.
    CopyNotFlushed = "copy-not-flushed",
    /// What a mapping stored behind the end of a file becomes part of it when that grows.
    ShowsBehindEnd = "shows-behind-end",
    /// write(2) goes on for a sector behind the end of its last page, in whatever lies there.
    WriteSpills = "write-spills",
    /// What gives blocks away gives away the one behind them as well, whoever has it.
    FreesNext = "frees-next",
    /// fsync takes the inode lock, which a waiting break keeps.
    FsyncTakesInodeLock = "fsync-takes-inode-lock",
    /// mmap takes the inode lock, which a waiting break keeps.
    MapTakesInodeLock = "map-takes-inode-lock",
    /// The break waits uninterruptibly.
    UninterruptibleBreak = "uninterruptible-break",
    /// An inode leaves memory without a break, and with it all that was known of its pinned pages.
    UnmountTakesPinned = "unmount-takes-pinned",
    /// A freeze does not wait for a change that waits in a break.
    FreezePassesBreak = "freeze-passes-break",
    /// A freeze does not write back what is dirty, so that who stores to it does not fault.
    FreezeLeavesDirty = "freeze-leaves-dirty",
    /// A break takes every page for idle once its file system was shut down.
    ShutdownEndsBreak = "shutdown-ends-break",
    /// The memory of a device goes while pages of it are pinned.
    UnbindTakesPinned = "unbind-takes-pinned",
    /// What takes unused inodes out of memory does not get past one that has a mapping entry.
    ShrinkerStandsStill = "shrinker-stands-still",
    /// A failure of memory that two files share shuts their file system down.
    FailureShutsDown = "failure-shuts-down",
    /// A break takes a page for idle whose memory has failed.
    PoisonEndsBreak = "poison-ends-break",
}

impl Variant {
    /// Whether it shows only in what neither programs of the fuzzer nor schedules do: in what is done to
    /// a whole file system or to its memory, or in what is flushed from the processor's caches.
    pub fn is_beyond_programs(self) -> bool {
        matches!(
            self,
            Self::UnmountTakesPinned
                | Self::FreezePassesBreak
                | Self::FreezeLeavesDirty
                | Self::ShutdownEndsBreak
                | Self::UnbindTakesPinned
                | Self::ShrinkerStandsStill
                | Self::FailureShutsDown
                | Self::PoisonEndsBreak
                | Self::CopyNotFlushed
        )
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|variant| variant.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|variant| variant.name()).collect();
            format!("no variant {name:?}; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for variant in Variant::ALL {
            assert_eq!(variant.name().parse(), Ok(*variant));
        }
        assert!("nothing".parse::<Variant>().is_err());
    }
}
