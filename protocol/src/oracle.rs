//! What must hold of a file at every step, whoever does what: the rules that are judged by looking
//! at the files and not by events.
//!
//! Whoever looks says what was seen; here stands what of it is wrong. When to look, and how, is
//! left to the crate `cases`, which does so on a kernel and on the reference alike.

pub mod bystanders;
pub mod durable;

use alloc::format;
use alloc::string::String;

use crate::how::How;

/// Where a block that was pinned as a page of a file is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// The page has this block, by its number.
    Block(u64),
    /// The page has none.
    Hole,
    /// Nobody can find the file any more; whether the block is counted as free.
    Nameless {
        /// As the file system counts it.
        free: bool,
    },
}

/// *kept block*: from the moment a page is pinned until its release its block stays that file's and
/// offset's. What is wrong, if something is: in which way, and a sentence.
pub fn kept(block: u64, now: Whereabouts) -> Option<(How, String)> {
    match now {
        Whereabouts::Block(same) if same == block => None,
        Whereabouts::Block(other) => {
            Some((How::Moved, format!("the page lies in block {other} now")))
        }
        Whereabouts::Hole => Some((How::Hole, "the page is a hole now".into())),
        Whereabouts::Nameless { free: false } => None,
        Whereabouts::Nameless { free: true } => {
            Some((How::Freed, "the file system counts it as free".into()))
        }
    }
}

/// The values that a file may show: those that were written to it, and zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written([bool; 256]);

impl Default for Written {
    /// Nothing was written: all is zeros.
    fn default() -> Self {
        let mut written = [false; 256];
        written[0] = true;
        Self(written)
    }
}

impl Written {
    /// This value was written.
    pub fn add(&mut self, byte: u8) {
        self.0[usize::from(byte)] = true;
    }

    /// Whatever another may show was written.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Anything at all may have been written.
    pub fn add_any(&mut self) {
        self.0 = [true; 256];
    }

    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|byte| self.0[usize::from(*byte)])
    }

    /// *no foreign bytes*: a file shows what was written to it, or zeros. The first of `bytes` that
    /// is neither: where, and what.
    pub fn foreign(&self, bytes: &[u8]) -> Option<(usize, u8)> {
        bytes.iter().position(|byte| !self.0[usize::from(*byte)]).map(|at| (at, bytes[at]))
    }
}

impl FromIterator<u8> for Written {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut written = Self::default();
        bytes.into_iter().for_each(|byte| written.add(byte));
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_block_stays_where_it_is() {
        assert_eq!(kept(7, Whereabouts::Block(7)), None);
        assert_eq!(kept(7, Whereabouts::Nameless { free: false }), None);
        for moved in
            [Whereabouts::Block(8), Whereabouts::Hole, Whereabouts::Nameless { free: true }]
        {
            assert!(kept(7, moved).is_some(), "{moved:?}");
        }
    }

    #[test]
    fn what_was_never_written_is_foreign() {
        let mut written: Written = [b'a'].into_iter().collect();
        assert_eq!(written.foreign(b"aa\0a"), None);
        assert_eq!(written.foreign(b"aaz"), Some((2, b'z')));
        written.add_all(&[b'z'].into_iter().collect());
        assert_eq!(written.foreign(b"aaz"), None);
        assert!(written.values().eq([0, b'a', b'z']));
        written.add_any();
        assert_eq!(written.foreign(&[0xff]), None);
    }
}
