//! Blocks: which are free, how often each is used, and which of them make a file.
//!
//! A freed block is the next one handed out, so that giving one away under a pin shows in
//! somebody else's file at once. [`Scatter`] makes it an allocator that nobody can count on.

use std::collections::{BTreeMap, VecDeque};

use protocol::event::Counting;

use crate::errno::{ENOSPC, Errno};
use crate::page::{Page, PageContent};
use crate::sync::{Arc, Leaf};

/// One block of a file.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The block, which is the page.
    pub page: Arc<Page>,
    /// Whether it was written; one that was not reads as zeros.
    pub written: bool,
}

/// A file's blocks by page index.
pub type Extents = BTreeMap<u64, Extent>;

/// What every block of a new volume holds, so that it shows if a file shows it: no test writes this.
pub(crate) const MARKER: u8 = 0xda;

/// An allocator that hands out any block that is free, as XFS does to test itself
/// (`CONFIG_XFS_DEBUG`), and that keeps some for itself, as XFS does for its own lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scatter {
    /// Decides which.
    pub seed: u64,
    /// Of so many freed blocks one is kept for a while: it is neither free nor any file's. 0: none.
    pub keeps_one_in: u64,
}

/// The blocks of a device.
#[derive(Debug)]
pub struct Volume {
    /// Its number in events.
    pub device: u32,
    /// Whether its blocks are pages that are mapped (DAX).
    pub is_dax: bool,
    shape: Counting,
    size: u64,
    blocks: Leaf<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    pages: Vec<Arc<Page>>,
    /// How many files use each.
    shares: Vec<u32>,
    /// Freed, latest last.
    free: Vec<u64>,
    /// If blocks are scattered.
    lots: Option<Lots>,
}

/// Draws lots (xorshift64*).
#[derive(Debug)]
struct Lots {
    state: u64,
    keeps_one_in: u64,
    /// What the volume has for itself.
    kept: VecDeque<u64>,
}

/// How many blocks a volume keeps for itself: as many as the free list of an XFS allocation group
/// holds, more or less.
const KEPT: usize = 64;

impl Lots {
    fn new(scatter: Scatter) -> Self {
        let state = scatter.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, keeps_one_in: scatter.keeps_one_in, kept: VecDeque::new() }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    /// What becomes free when a block is freed: that block, or one kept earlier, or nothing.
    fn release(&mut self, number: u64) -> Option<u64> {
        if self.keeps_one_in == 0 || self.below(self.keeps_one_in) != 0 {
            return Some(number);
        }
        self.kept.push_back(number);
        if self.kept.len() > KEPT { self.kept.pop_front() } else { None }
    }
}

impl Blocks {
    /// Adds a block that was never used; its number.
    fn add(&mut self, is_dax: bool, shape: Counting) -> u64 {
        let number = self.pages.len() as u64 + 1;
        let page = Page::new(number, is_dax, shape);
        page.content(|content| *content = PageContent::Filled(MARKER));
        self.pages.push(Arc::new(page));
        self.shares.push(0);
        number
    }

    /// The number of a free block, which no longer is.
    fn take(&mut self) -> Option<u64> {
        match &mut self.lots {
            Some(lots) if !self.free.is_empty() => {
                let at = lots.below(self.free.len() as u64);
                Some(self.free.swap_remove(at as usize))
            }
            _ => self.free.pop(),
        }
    }
}

impl Volume {
    /// A volume of `size` blocks.
    pub fn new(
        device: u32,
        is_dax: bool,
        shape: Counting,
        size: u64,
        scatter: Option<Scatter>,
    ) -> Self {
        let mut blocks = Blocks::default();
        if let Some(scatter) = scatter {
            blocks.lots = Some(Lots::new(scatter));
            for _ in 0..size {
                let number = blocks.add(is_dax, shape);
                blocks.free.push(number);
            }
        }
        Self { device, is_dax, shape, size, blocks: Leaf::new(blocks) }
    }

    /// Takes a block: the one freed last, or one never used; if blocks are scattered, any.
    pub fn allocate(&self) -> Result<Arc<Page>, Errno> {
        self.blocks.with(|blocks| {
            let at = match blocks.take() {
                Some(number) => number as usize - 1,
                None if (blocks.pages.len() as u64) < self.size => {
                    blocks.add(self.is_dax, self.shape) as usize - 1
                }
                None => return Err(ENOSPC),
            };
            blocks.shares[at] += 1;
            // Whoever is given one writes all of it.
            blocks.pages[at].set_bad(false);
            Ok(Arc::clone(&blocks.pages[at]))
        })
    }

    /// How many blocks nobody uses.
    pub fn unused(&self) -> u64 {
        self.blocks.with(|blocks| self.size - blocks.pages.len() as u64 + blocks.free.len() as u64)
    }

    /// One more file uses the block.
    pub fn share(&self, page: &Page) {
        self.blocks.with(|blocks| blocks.shares[page.number as usize - 1] += 1);
    }

    /// One file less uses the block; whether it was the last, so that the block is to be freed.
    pub fn unshare(&self, page: &Page) -> bool {
        self.blocks.with(|blocks| {
            let shares = &mut blocks.shares[page.number as usize - 1];
            *shares -= 1;
            *shares == 0
        })
    }

    /// Whether nobody uses the block with this number.
    pub fn is_free(&self, number: u64) -> bool {
        self.blocks
            .with(|blocks| number > blocks.pages.len() as u64 || blocks.free.contains(&number))
    }

    /// Makes the block the next to be handed out, unless the volume keeps it for itself.
    pub fn free(&self, page: &Page) {
        self.blocks.with(|blocks| {
            let freed = match &mut blocks.lots {
                Some(lots) => lots.release(page.number),
                None => Some(page.number),
            };
            blocks.free.extend(freed);
        });
    }

    /// Makes the block behind `number` free although a file has it, as a bug does.
    pub(crate) fn free_next(&self, number: u64) {
        if let Some(page) = self.page(number + 1).filter(|page| self.shares(page) > 0)
            && !self.is_free(page.number)
        {
            self.free(&page);
        }
    }

    /// The block with this number, if it was ever used.
    pub fn page(&self, number: u64) -> Option<Arc<Page>> {
        self.blocks.with(|blocks| blocks.pages.get(number.checked_sub(1)? as usize).cloned())
    }

    /// How many files use the block.
    pub fn shares(&self, page: &Page) -> u32 {
        self.blocks.with(|blocks| blocks.shares[page.number as usize - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_the_next_one() {
        let volume = Volume::new(1, true, Counting::IdleAtZero, 3, None);
        let first = volume.allocate().unwrap();
        let second = volume.allocate().unwrap();
        assert!(volume.unshare(&first));
        volume.free(&first);
        assert_eq!(volume.allocate().unwrap().number, first.number);
        volume.share(&second);
        assert!(!volume.unshare(&second));
        assert_eq!(volume.allocate().unwrap().number, 3);
        assert_eq!(volume.allocate().unwrap_err(), ENOSPC);
    }

    #[test]
    fn scattered_blocks_are_each_handed_out_once() {
        let scatter = |seed, keeps_one_in| {
            Volume::new(1, true, Counting::IdleAtOne, 64, Some(Scatter { seed, keeps_one_in }))
        };
        let all = |volume: &Volume| {
            let mut numbers = Vec::new();
            while let Ok(page) = volume.allocate() {
                numbers.push(page.number);
            }
            numbers
        };
        let (mut once, again, other) =
            (all(&scatter(1, 0)), all(&scatter(1, 0)), all(&scatter(2, 0)));
        assert_eq!(once, again);
        assert_ne!(once, other);
        once.sort_unstable();
        assert_eq!(once, (1..=64).collect::<Vec<_>>());

        let keeping = scatter(1, 1);
        let page = keeping.allocate().unwrap();
        keeping.free(&page);
        assert!(!keeping.is_free(page.number));
        assert_eq!(all(&keeping).len(), 63);
    }
}
