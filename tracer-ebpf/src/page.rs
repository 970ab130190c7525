//! Pages of the traced device, and how they are counted.

use crate::blocks::is_ours;
use crate::globals::{
    FOLIO_LARGE_MAPS, IDLE, PAGE_FLAGS, PAGE_HEAD_BIT, PAGE_INDEX, PAGE_MAPPING, PAGE_MAPS,
    PAGE_REFS, PAGE_SIZE_OF, PAGES, get, get64,
};
use crate::inode::TracedInode;
use crate::memory::{Lost, field, read};

/// A page of the traced device.
#[derive(Clone, Copy)]
pub(crate) struct TracedPage {
    pub(crate) address: u64,
    pub(crate) frame: u64,
}

/// Counts of a page, read without a lock.
#[derive(Clone, Copy)]
pub(crate) struct PageCounts {
    pub(crate) refs: i32,
    pub(crate) maps: i32,
}

impl PageCounts {
    /// Whether somebody besides the mappings uses the page.
    pub(crate) fn busy(self) -> bool {
        self.refs - self.maps > get(&IDLE) as i32
    }
}

impl TracedPage {
    /// The page whose `struct page` is at `address`, if it is one of the traced device.
    pub(crate) fn at(address: u64) -> Option<Self> {
        let frame = address.wrapping_sub(get64(&PAGES)) / get(&PAGE_SIZE_OF).max(1);
        Self::numbered(frame)
    }

    /// The page with this frame number, likewise.
    pub(crate) fn numbered(frame: u64) -> Option<Self> {
        if !is_ours(frame) {
            return None;
        }
        Some(Self { address: get64(&PAGES) + frame * get(&PAGE_SIZE_OF), frame })
    }

    pub(crate) fn refs(self) -> Result<i32, Lost> {
        field(self.address, &PAGE_REFS)
    }

    /// All of its fields at once: one call of the helper costs more than what it copies.
    pub(crate) fn shot(self) -> Result<Shot, Lost> {
        read(self.address)
    }

    pub(crate) fn counts(self) -> Result<PageCounts, Lost> {
        if get(&IDLE) == 1 {
            // They are not mapped as far as the kernel counts.
            return Ok(PageCounts { refs: self.refs()?, maps: 0 });
        }
        self.shot()?.counts(self)
    }

    /// The counts, looked at again while they say "busy".
    ///
    /// GUP-fast takes a reference before it knows that it may, and drops it again at once. Such a
    /// reference is gone when one looks again; a pin is not.
    pub(crate) fn settled_counts(self) -> Result<PageCounts, Lost> {
        let mut counts = self.counts()?;
        for _ in 0..8 {
            if !counts.busy() {
                break;
            }
            counts = self.counts()?;
        }
        Ok(counts)
    }

    /// The file and the index the page is mapped at. A page shared by reflink has none.
    pub(crate) fn mapped_at(self) -> (u64, u64) {
        let place = || -> Result<(u64, u64), Lost> {
            let shot = self.shot()?;
            let Some(inode) = TracedInode::of_mapping(shot.mapping())? else {
                return Ok((0, 0));
            };
            Ok((inode.number, shot.index()))
        };
        place().unwrap_or((0, 0))
    }
}

/// What a `struct page` held at one moment: its first 64 bytes, which are all that counts.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shot([u64; 8]);

impl Shot {
    fn word(&self, offset: &'static u32) -> u64 {
        self.0[(get(offset) / 8 % 8) as usize]
    }

    fn half(&self, offset: &'static u32) -> i32 {
        (self.word(offset) >> (get(offset) % 8 * 8)) as i32
    }

    pub(crate) fn mapping(&self) -> u64 {
        self.word(&PAGE_MAPPING)
    }

    pub(crate) fn index(&self) -> u64 {
        self.word(&PAGE_INDEX)
    }

    pub(crate) fn counts(&self, page: TracedPage) -> Result<PageCounts, Lost> {
        let refs = self.half(&PAGE_REFS);
        if get(&IDLE) == 1 {
            return Ok(PageCounts { refs, maps: 0 });
        }
        // The kernel stores counts of maps minus one.
        let head = get(&PAGE_HEAD_BIT);
        let maps = if head < 64 && self.word(&PAGE_FLAGS) >> head & 1 == 1 {
            field(page.address, &FOLIO_LARGE_MAPS)?
        } else {
            self.half(&PAGE_MAPS)
        };
        Ok(PageCounts { refs, maps: maps + 1 })
    }
}
