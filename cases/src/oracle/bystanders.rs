//! The oracle *bystanders*: files that nobody touches, beside those of the case.
//!
//! One is made before the first file of the case and one behind each, so that they lie between them
//! on the device, and two pages of each on either part of a stripe. They are made only as long as
//! the case makes files and pins nothing: later they would take blocks whose next owner the case may
//! be about.

use protocol::How;
use protocol::oracle::bystanders as rule;

use super::{After, BystanderSpec, Found, Stood};
use crate::action::FileId;

/// The number of the first: no case comes so far.
const FIRST: u32 = 1 << 20;

/// So many there are at most.
const MOST: u32 = 4;

/// Pages of each.
const PAGES: u32 = 2;

/// What the first page of the first is filled with. Each page has a value of its own, and no case
/// writes one of them.
const FILL: u8 = 0xe0;

/// Those that there are.
#[derive(Debug, Default)]
pub(super) struct Bystanders {
    all: Vec<Baseline>,
    /// No more are to be made.
    complete: bool,
}

/// One of them.
#[derive(Debug)]
struct Baseline {
    file: FileId,
    fill: Vec<u8>,
    /// The block of each page when it was first seen.
    blocks: Vec<Option<u64>>,
    /// Blocks that the file system counted as its own then.
    counted: u64,
    /// What is wrong with it was told.
    told: bool,
}

impl Bystanders {
    /// Whether there are none yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// From now on blocks come free that others may be waiting for.
    pub(super) const fn complete(&mut self) {
        self.complete = true;
    }

    /// The next one to be made, if one is.
    pub(super) fn next(&self) -> Option<BystanderSpec> {
        let number = self.all.len() as u32;
        if self.complete || number >= MOST {
            return None;
        }
        let fill = (0..PAGES).map(|index| FILL + (number * PAGES + index) as u8).collect();
        Some(BystanderSpec { file: FileId(FIRST + number), fill, with_free: false })
    }

    /// One was made, or was there already. What is wrong with it from the beginning.
    pub(super) fn add(&mut self, what: BystanderSpec, seen: Option<&Stood>) -> Option<Found> {
        let (blocks, counted) =
            seen.map(|seen| (seen.blocks.clone(), seen.counted)).unwrap_or_default();
        self.all.push(Baseline { file: what.file, fill: what.fill, blocks, counted, told: false });
        self.judge_one(self.all.len() - 1, seen, &After::moment("it was made"))
    }

    /// Those that are to be looked at.
    pub(super) fn wanted(&self, with_free: bool) -> Vec<BystanderSpec> {
        let all = self.all.iter().filter(|known| !known.told);
        all.map(|known| BystanderSpec { file: known.file, fill: known.fill.clone(), with_free })
            .collect()
    }

    /// What is wrong with what was seen of those that were wanted, after something was done.
    pub(super) fn judge(&mut self, seen: &[Option<Stood>], after: &After) -> Vec<Found> {
        let wanted = 0..self.all.len();
        let wanted: Vec<_> = wanted.filter(|at| !self.all[*at].told).collect();
        let pairs = wanted.into_iter().zip(seen);
        pairs.filter_map(|(at, seen)| self.judge_one(at, seen.as_ref(), after)).collect()
    }

    fn judge_one(&mut self, at: usize, seen: Option<&Stood>, after: &After) -> Option<Found> {
        let Baseline { fill, blocks, counted, told, .. } = &mut self.all[at];
        let (index, how, wrong) = match seen {
            Some(seen) => rule::Bystander { fill, blocks, counted: *counted }.wrong(seen)?,
            None => (0, How::Nameless, "it has no name any more".to_owned()),
        };
        *told = true;
        let block = blocks.get(index as usize).copied().flatten();
        let place = block.map_or("no block".to_owned(), |block| format!("block {block}"));
        let file = format!("bystander {}", at + 1);
        let wrong = format!("page {index} of {file} ({place}), which nobody touches: {wrong}");
        let byte = seen.and_then(|seen| seen.other).map(|(_, byte)| byte);
        let page = Found::new(how, &file, index, after, &wrong);
        Some(Found { block, byte, ..page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stood() -> Stood {
        Stood { pages: 2, counted: 2, blocks: vec![Some(7), Some(8)], other: None, free: None }
    }

    #[test]
    fn what_is_wrong_is_told_once_and_by_its_place() {
        let mut all = Bystanders::default();
        let first = all.next().unwrap();
        assert_eq!(all.add(first, Some(&stood())), None);
        let second = all.next().unwrap();
        assert_eq!(second.fill, [0xe2, 0xe3]);
        assert_eq!(all.add(second, Some(&stood())), None);
        let spoilt = Stood { other: Some((0, b'w')), ..stood() };
        let found = all
            .judge(&[Some(stood()), Some(spoilt.clone())], &After::moment("write page 3 of data"));
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        let text = "bystanders: after write page 3 of data: page 0 of bystander 2 (block 7), which \
                    nobody touches: byte 0 is 0x77, and nobody wrote there but 0xe2";
        assert_eq!(texts, [text]);
        assert_eq!(all.wanted(false).len(), 1);
        assert_eq!(all.judge(&[None], &After::moment("unlink data")).len(), 1);
        assert!(all.wanted(true).is_empty());
    }

    #[test]
    fn no_more_are_made_once_blocks_come_free() {
        let mut all = Bystanders::default();
        while let Some(next) = all.next() {
            all.add(next, Some(&stood()));
        }
        assert_eq!(all.wanted(false).len(), MOST as usize);
        let mut all = Bystanders::default();
        all.complete();
        assert_eq!(all.next(), None);
    }
}
