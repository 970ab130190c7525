//! The ways in which a rule can be broken, each with an identifier, so that nobody has to tell them
//! apart by their sentences.

use crate::rule::Rule;

/// In which way a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// A mapping entry was removed while its page was pinned.
    EntryRemoved,
    /// A block was freed while its page was pinned.
    FreedPinned,
    /// A block was freed while its page was mapped.
    FreedMapped,
    /// A break succeeded, and its last scan had found a busy page.
    StillBusy,
    /// A break succeeded and never looked for a busy page.
    NoScan,
    /// A break rescans without sleeping.
    Spins,
    /// Pins taken after it began keep a break from its end.
    Starves,
    /// A break sleeps though no pin is left.
    StillWaits,
    /// A break sleeps with the invalidate lock.
    SleepsWithLock,
    /// An operation does not progress while a break waits.
    NoProgress,
    /// fsync waits for a pin.
    WaitsForPin,
    /// fsync does not end while a page is pinned.
    DoesNotEnd,
    /// fsync fails while a page is pinned.
    Fails,
    /// fsync leaves out what was dirty.
    SkipsDirty,
    /// The kernel warns.
    Warns,
    /// A pinned page lies in another block.
    Moved,
    /// A pinned page has no block.
    Hole,
    /// The block of a pinned page is counted as free.
    Freed,
    /// A file shows what nobody wrote to it.
    NotWritten,
    /// A sync says that all is well, and nothing was written back.
    NotWrittenBack,
    /// A bystander shows what nobody wrote to it.
    Overwritten,
    /// A bystander has another size.
    Resized,
    /// A page of a bystander has no block that was written.
    Unallocated,
    /// A page of a bystander lies in another block.
    Displaced,
    /// A block of a bystander is counted as free.
    CountedFree,
    /// A bystander has another number of blocks.
    Miscounted,
    /// A bystander has no name any more.
    Nameless,
}

impl How {
    /// All ways.
    pub const ALL: [Self; 27] = [
        Self::EntryRemoved,
        Self::FreedPinned,
        Self::FreedMapped,
        Self::StillBusy,
        Self::NoScan,
        Self::Spins,
        Self::Starves,
        Self::StillWaits,
        Self::SleepsWithLock,
        Self::NoProgress,
        Self::WaitsForPin,
        Self::DoesNotEnd,
        Self::Fails,
        Self::SkipsDirty,
        Self::Warns,
        Self::Moved,
        Self::Hole,
        Self::Freed,
        Self::NotWritten,
        Self::NotWrittenBack,
        Self::Overwritten,
        Self::Resized,
        Self::Unallocated,
        Self::Displaced,
        Self::CountedFree,
        Self::Miscounted,
        Self::Nameless,
    ];

    /// The rule that is broken so.
    pub fn rule(self) -> Rule {
        self.row().0
    }

    /// The identifier by which programs and files know it. It stays as it is.
    pub fn id(self) -> &'static str {
        self.row().1
    }

    /// The way with this identifier.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|how| how.id() == id)
    }

    fn row(self) -> (Rule, &'static str) {
        match self {
            Self::EntryRemoved => (Rule::MissedWait, "entry-removed"),
            Self::FreedPinned => (Rule::MissedWait, "freed-pinned"),
            Self::FreedMapped => (Rule::MissedWait, "freed-mapped"),
            Self::StillBusy => (Rule::MissedWait, "still-busy"),
            Self::NoScan => (Rule::MissedWait, "no-scan"),
            Self::Spins => (Rule::Livelock, "spins"),
            Self::Starves => (Rule::Livelock, "starves"),
            Self::StillWaits => (Rule::LostWakeup, "still-waits"),
            Self::SleepsWithLock => (Rule::LockHeld, "sleeps-with-lock"),
            Self::NoProgress => (Rule::LockHeld, "no-progress"),
            Self::WaitsForPin => (Rule::Fsync, "waits-for-pin"),
            Self::DoesNotEnd => (Rule::Fsync, "does-not-end"),
            Self::Fails => (Rule::Fsync, "fails"),
            Self::SkipsDirty => (Rule::Fsync, "skips-dirty"),
            Self::Warns => (Rule::Warning, "warns"),
            Self::Moved => (Rule::KeptBlock, "moved"),
            Self::Hole => (Rule::KeptBlock, "hole"),
            Self::Freed => (Rule::KeptBlock, "freed"),
            Self::NotWritten => (Rule::ForeignBytes, "not-written"),
            Self::NotWrittenBack => (Rule::Durable, "not-written-back"),
            Self::Overwritten => (Rule::Bystanders, "overwritten"),
            Self::Resized => (Rule::Bystanders, "resized"),
            Self::Unallocated => (Rule::Bystanders, "unallocated"),
            Self::Displaced => (Rule::Bystanders, "displaced"),
            Self::CountedFree => (Rule::Bystanders, "counted-free"),
            Self::Miscounted => (Rule::Bystanders, "miscounted"),
            Self::Nameless => (Rule::Bystanders, "nameless"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_of_one_rule_or_way_only() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_id(rule.id()), Some(rule));
            assert!(How::ALL.iter().any(|how| how.rule() == rule), "{rule}");
        }
        for how in How::ALL {
            assert_eq!(How::from_id(how.id()), Some(how));
        }
        let ids = Rule::ALL.map(Rule::id).into_iter().chain(How::ALL.map(How::id));
        for id in ids {
            assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{id}");
        }
    }
}
