//! A page: content, counts, and who waits for it to become idle.

use protocol::event::Counting;

use crate::sync::{Flag, Leaf};
use crate::waitqueue::WaitQueue;

/// Bytes in a page and in a block.
pub(crate) const SIZE: u64 = 4096;

/// A page of the device, or of the page cache.
#[derive(Debug)]
pub struct Page {
    /// Its number; never 0.
    pub number: u64,
    /// Whether it is storage, so that the protocol is about it.
    pub is_storage: bool,
    counts: Leaf<Counts>,
    content: Leaf<PageContent>,
    poisoned: Flag,
    /// Whether it cannot be read, until somebody writes all of it.
    bad: Leaf<bool>,
    /// Whether what was copied to it is in the processor's caches only.
    cached: Leaf<bool>,
    /// Who waits until it has no pins.
    pub waiters: WaitQueue,
}

/// Reference and map count, as a kernel of one of the two shapes counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// References.
    pub refs: i32,
    /// Mappings, where those are counted.
    pub maps: i32,
}

/// What a page holds. Most pages hold one value throughout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageContent {
    /// One byte, everywhere.
    Filled(u8),
    /// Anything.
    Bytes(Box<[u8]>),
}

impl PageContent {
    /// Bytes from `at`.
    pub fn read(&self, at: u64, into: &mut [u8]) {
        match self {
            Self::Filled(byte) => into.fill(*byte),
            Self::Bytes(bytes) => {
                let at = at as usize;
                into.copy_from_slice(&bytes[at..at + into.len()]);
            }
        }
    }

    /// Overwrites bytes from `at`.
    pub fn write(&mut self, at: u64, from: &[u8]) {
        let at = at as usize;
        let bytes = self.bytes();
        bytes[at..at + from.len()].copy_from_slice(from);
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            *self = Self::Filled(bytes[0]);
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        if let Self::Filled(byte) = *self {
            *self = Self::Bytes(vec![byte; SIZE as usize].into_boxed_slice());
        }
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Filled(_) => unreachable!("made bytes above"),
        }
    }

    /// Fills `len` bytes from `at`.
    pub fn fill(&mut self, at: u64, len: u64, byte: u8) {
        if len == SIZE {
            *self = Self::Filled(byte);
        } else {
            self.write(at, &vec![byte; len as usize]);
        }
    }
}

impl Page {
    /// An idle page of zeros.
    pub fn new(number: u64, is_storage: bool, shape: Counting) -> Self {
        Self {
            number,
            is_storage,
            counts: Leaf::new(Counts {
                refs: match shape {
                    Counting::IdleAtOne => 1,
                    Counting::IdleAtZero => 0,
                },
                maps: 0,
            }),
            content: Leaf::new(PageContent::Filled(0)),
            poisoned: Flag::default(),
            bad: Leaf::default(),
            cached: Leaf::default(),
            waiters: WaitQueue::default(),
        }
    }

    /// The counts at this moment.
    pub fn counts(&self) -> Counts {
        self.counts.with(|counts| *counts)
    }

    /// How many pins it has.
    pub fn pins(&self, shape: Counting) -> i32 {
        let counts = self.counts();
        shape.pins(counts.refs, counts.maps)
    }

    /// Adds `by` to the references; the counts after it.
    pub(crate) fn reference(&self, by: i32) -> Counts {
        self.counts.with(|counts| {
            counts.refs += by;
            *counts
        })
    }

    /// Counts a mapping, or the loss of one.
    pub(crate) fn map(&self, shape: Counting, by: i32) {
        if shape == Counting::IdleAtZero {
            self.counts.with(|counts| {
                counts.maps += by;
                counts.refs += by;
            });
        }
    }

    /// Its memory fails.
    pub(crate) fn poison(&self) {
        self.poisoned.raise();
    }

    /// Whether it has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.is_raised()
    }

    /// It cannot be read, or can again.
    pub(crate) fn set_bad(&self, bad: bool) {
        self.bad.with(|is_bad| *is_bad = bad);
    }

    /// Whether it cannot be read.
    pub(crate) fn is_bad(&self) -> bool {
        self.bad.with(|bad| *bad)
    }

    /// What was copied to it is in the processor's caches only, or not any more.
    pub(crate) fn set_cached(&self, cached: bool) {
        self.cached.with(|is_cached| *is_cached = cached);
    }

    /// Whether a power failure loses what was copied to it.
    pub(crate) fn is_cached(&self) -> bool {
        self.cached.with(|cached| *cached)
    }

    /// Does something with the content.
    pub fn content<R>(&self, f: impl FnOnce(&mut PageContent) -> R) -> R {
        self.content.with(f)
    }

    /// Makes the content that of `other`.
    pub(crate) fn copy_from(&self, other: &Self) {
        let content = other.content(|content| content.clone());
        self.content(|mine| *mine = content);
    }
}
