//! *bystanders*: a file that nobody touches stays as it was made.
//!
//! What is done to one file is done to no other. That a file shows what it should proves little where
//! two may hold the same, so each page of a bystander is filled with a value that nobody else writes:
//! whatever else is found there came from elsewhere. And what the file system counts must add up: the
//! file has as many blocks as it had, one for each page at least, each where it was, and none of them
//! is free. It may have more than pages, where a file system allocates many at a time.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::how::How;

/// A file that nobody touches, as it was made.
#[derive(Clone, Copy, Debug)]
pub struct Bystander<'a> {
    /// What each page is filled with.
    pub fill: &'a [u8],
    /// The block of each page; none if it had none that was written.
    pub blocks: &'a [Option<u64>],
    /// Blocks that the file system counted as its own.
    pub counted: u64,
}

/// What was seen of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stood {
    /// Pages that its size amounts to.
    pub pages: u64,
    /// Blocks that the file system counts as its own.
    pub counted: u64,
    /// The block of each page; none if it has none that was written.
    pub blocks: Vec<Option<u64>>,
    /// The first byte that is not what its page was filled with: where, and what.
    pub other: Option<(u64, u8)>,
    /// The first of its blocks that the file system counts as free, if that was asked.
    pub free: Option<u64>,
}

/// Bytes in a page.
const PAGE: u64 = 4096;

impl Bystander<'_> {
    /// What is wrong with what was `seen`, if something is: the page, in which way, and a sentence
    /// about it.
    pub fn wrong(&self, seen: &Stood) -> Option<(u64, How, String)> {
        let pages = self.fill.len() as u64;
        // What it shows comes first: to others all else is bookkeeping.
        if let Some((at, byte)) = seen.other {
            let index = at / PAGE;
            let filled = self.fill.get(index as usize).copied().unwrap_or_default();
            return Some((
                index,
                How::Overwritten,
                format!("byte {at} is {byte:#04x}, and nobody wrote there but {filled:#04x}"),
            ));
        }
        if seen.pages != pages {
            let text = format!("it has {} pages, and had {pages}", seen.pages);
            return Some((0, How::Resized, text));
        }
        let pairs = self.blocks.iter().zip(&seen.blocks);
        for (index, (before, now)) in (0..).zip(pairs) {
            match (before, now) {
                (_, None) => {
                    let text = "the page has no block that was written";
                    return Some((index, How::Unallocated, text.into()));
                }
                (Some(before), Some(now)) if before != now => {
                    return Some((
                        index,
                        How::Displaced,
                        format!("the page lies in block {now}, and lay in {before}"),
                    ));
                }
                _ => {}
            }
        }
        if let Some(block) = seen.free {
            let index = seen.blocks.iter().position(|other| *other == Some(block));
            let index = index.unwrap_or_default() as u64;
            let text = format!("the file system counts block {block} as free");
            return Some((index, How::CountedFree, text));
        }
        if seen.counted < pages {
            let text = format!("the file system counts {} blocks of its {pages}", seen.counted);
            return Some((0, How::Miscounted, text));
        }
        if seen.counted != self.counted {
            let (now, before) = (seen.counted, self.counted);
            let text =
                format!("the file system counts {now} blocks as its own, and counted {before}");
            return Some((0, How::Miscounted, text));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: Bystander<'_> =
        Bystander { fill: &[0xe0, 0xe1], blocks: &[Some(7), Some(8)], counted: 2 };

    fn same() -> Stood {
        Stood { pages: 2, counted: 2, blocks: MADE.blocks.to_vec(), other: None, free: None }
    }

    fn wrong(seen: &Stood) -> (u64, String) {
        let (index, _, text) = MADE.wrong(seen).expect("something is wrong");
        (index, text)
    }

    #[test]
    fn what_stays_as_it_was_is_right() {
        assert_eq!(MADE.wrong(&same()), None);
        // In clusters of 16 blocks.
        let clustered = Bystander { counted: 16, ..MADE };
        assert_eq!(clustered.wrong(&Stood { counted: 16, ..same() }), None);
    }

    #[test]
    fn a_value_from_elsewhere_is_told_with_its_place() {
        let seen = Stood { other: Some((PAGE + 512, b'w')), free: Some(8), ..same() };
        let (index, text) = wrong(&seen);
        assert_eq!(index, 1);
        assert_eq!(text, "byte 4608 is 0x77, and nobody wrote there but 0xe1");
    }

    #[test]
    fn each_count_is_held_to_the_others() {
        assert_eq!(wrong(&Stood { pages: 1, ..same() }).1, "it has 1 pages, and had 2");
        let (index, text) = wrong(&Stood { blocks: [Some(7), Some(9)].into(), ..same() });
        assert_eq!((index, text.as_str()), (1, "the page lies in block 9, and lay in 8"));
        let (index, text) = wrong(&Stood { blocks: [Some(7), None].into(), ..same() });
        assert_eq!((index, text.as_str()), (1, "the page has no block that was written"));
        let (index, text) = wrong(&Stood { free: Some(8), ..same() });
        assert_eq!((index, text.as_str()), (1, "the file system counts block 8 as free"));
        let text = wrong(&Stood { counted: 1, ..same() }).1;
        assert_eq!(text, "the file system counts 1 blocks of its 2");
        let text = wrong(&Stood { counted: 3, ..same() }).1;
        assert_eq!(text, "the file system counts 3 blocks as its own, and counted 2");
    }

    #[test]
    fn a_page_that_never_had_a_block_is_wrong() {
        let made = Bystander { blocks: &[Some(7), None], ..MADE };
        assert!(made.wrong(&Stood { blocks: made.blocks.to_vec(), ..same() }).is_some());
    }
}
