//! The rules, by the names that people use and the identifiers that programs do.

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

    /// The identifier by which programs and files know it. It stays as it is.
    pub fn id(self) -> &'static str {
        match self {
            Self::MissedWait => "missed-wait",
            Self::Livelock => "livelock",
            Self::LostWakeup => "lost-wakeup",
            Self::LockHeld => "lock-held",
            Self::Fsync => "fsync",
            Self::Warning => "warning",
            Self::KeptBlock => "kept-block",
            Self::ForeignBytes => "foreign-bytes",
            Self::Durable => "durable",
            Self::Bystanders => "bystanders",
        }
    }

    /// The rule with this identifier.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.id() == id)
    }

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
