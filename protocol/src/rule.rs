//! The rules by name, and what one reports when it is broken.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// No block is freed, and no mapping entry removed by a break, while its page is pinned; and
    /// a break that succeeded ends with a scan that found nothing busy.
    MissedWait,
    /// A break makes progress: it does not rescan without sleeping, and is not starved past its
    /// bound by pins taken after it began.
    Livelock,
    /// A break still waiting once no pin is left on its page is woken.
    LostWakeup,
    /// Faults, mmap, munmap, fsync and stat of the file progress while a break waits.
    LockHeld,
    /// fsync neither waits for a pin, nor fails because of one, nor skips what was dirty.
    Fsync,
    /// No WARN, BUG or oops.
    Warning,
    /// While a page is pinned its block stays that file's and offset's, whatever is done.
    KeptBlock,
    /// A file shows what was written to it, or zeros.
    ForeignBytes,
    /// What a sync says is on the medium was written back.
    Durable,
    /// A file that nobody touches stays as it was.
    Bystanders,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 10] = [
        Self::MissedWait,
        Self::Livelock,
        Self::LostWakeup,
        Self::LockHeld,
        Self::Fsync,
        Self::Warning,
        Self::KeptBlock,
        Self::ForeignBytes,
        Self::Durable,
        Self::Bystanders,
    ];

    /// The name by which people speak of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissedWait => "missed wait",
            Self::Livelock => "livelock",
            Self::LostWakeup => "lost wake-up",
            Self::LockHeld => "lock held while waiting",
            Self::Fsync => "fsync",
            Self::Warning => "warning",
            Self::KeptBlock => "kept block",
            Self::ForeignBytes => "foreign bytes",
            Self::Durable => "durable",
            Self::Bystanders => "bystanders",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One violation of one rule, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// The tasks that took part, the one that broke the rule first.
    pub tasks: Vec<u32>,
    /// The device of the file system, 0 if unknown.
    pub device: u32,
    /// The file, 0 if unknown.
    pub inode: u64,
    /// The page, 0 if the finding is about none.
    pub page: u64,
    /// The page's index in the file.
    pub index: u64,
    /// The events it rests on, by their number in the history (the first is 0), in order.
    pub events: Vec<u64>,
    /// It concludes from what was not seen: a scan, a sleep, an end. That is worth nothing where
    /// something may have been missed.
    pub absence: bool,
    /// What happened: one sentence, lower case, no full stop.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What a whole history amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Every rule held.
    Holds,
    /// At least one did not.
    Violated(Vec<Finding>),
    /// Nothing was seen to be broken, but records were lost: something may have been.
    Undecided,
}
