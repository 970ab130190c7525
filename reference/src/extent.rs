//! Blocks: which are free, how often each is used, and which of them make a file.
//!
//! A freed block is the next one handed out, so that giving one away under a pin shows in
//! somebody else's file at once.

use std::collections::BTreeMap;

use protocol::event::Shape;

use crate::errno::{ENOSPC, Errno};
use crate::page::Page;
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

/// The blocks of a device.
#[derive(Debug)]
pub struct Volume {
    /// Its number in events.
    pub device: u32,
    /// Whether its blocks are pages that are mapped (DAX).
    pub is_dax: bool,
    shape: Shape,
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
}

impl Volume {
    /// A volume of `size` blocks.
    pub fn new(device: u32, is_dax: bool, shape: Shape, size: u64) -> Self {
        Self { device, is_dax, shape, size, blocks: Leaf::default() }
    }

    /// Takes a block: the one freed last, or one never used.
    pub fn allocate(&self) -> Result<Arc<Page>, Errno> {
        self.blocks.with(|blocks| {
            let at = match blocks.free.pop() {
                Some(number) => number as usize - 1,
                None if (blocks.pages.len() as u64) < self.size => {
                    let number = blocks.pages.len() as u64 + 1;
                    blocks.pages.push(Arc::new(Page::new(number, self.is_dax, self.shape)));
                    blocks.shares.push(0);
                    number as usize - 1
                }
                None => return Err(ENOSPC),
            };
            blocks.shares[at] = 1;
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

    /// Makes the block the next to be handed out.
    pub fn free(&self, page: &Page) {
        self.blocks.with(|blocks| blocks.free.push(page.number));
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
        let volume = Volume::new(1, true, Shape::IdleAtZero, 3);
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
}
