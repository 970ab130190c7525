//! *durable*: what a sync says is on the medium was written back.
//!
//! A page that was stored to through a mapping is dirty until it is written back; fsync, fdatasync
//! and msync promise that it was, whatever happened to the file in between. On DAX nobody can see
//! that by reading: what was never written back reads the same until the power goes. So what was
//! written back is reported by whoever saw it, and this compares.
//!
//! What DMA brings after a page was written back is not promised: the kernel keeps no record of it,
//! and whoever has a device write to a mapping has to flush what it wrote himself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

/// Pages that were stored to and not written back since, by file and index.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    dirty: BTreeMap<(u64, u64), u64>,
    /// Stores whose write-back may have gone unseen.
    unseen: BTreeSet<u64>,
    stores: u64,
}

/// What a sync has to write back: pages, each with its last store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promise(BTreeMap<(u64, u64), u64>);

impl Promise {
    /// Whether there is nothing to write back.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes these pages of a file out: what becomes of them meanwhile is open.
    pub fn forget(&mut self, file: u64, pages: &Range<u64>) {
        self.0.retain(|(of, index), _| *of != file || !pages.contains(index));
    }
}

/// A page of a promise that nobody saw written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its index.
    pub index: u64,
    /// It may have been written back unseen: neither right nor wrong.
    pub undecided: bool,
}

impl Durable {
    /// Whether nothing is dirty.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// These pages of a file were stored to, and have not been written back since.
    pub fn stored(&mut self, file: u64, pages: impl IntoIterator<Item = u64>) {
        for index in pages {
            self.stores += 1;
            self.dirty.insert((file, index), self.stores);
        }
    }

    /// These pages were written back, and with them whatever else lies in their blocks.
    pub fn written_back(&mut self, file: u64, pages: Range<u64>) {
        let done: BTreeSet<_> = self.pages(file, &pages).map(|(_, store)| store).collect();
        self.dirty.retain(|_, store| !done.contains(store));
        self.unseen.retain(|store| !done.contains(store));
    }

    /// Something may have been written back unseen.
    pub fn missed(&mut self) {
        self.unseen.extend(self.dirty.values());
    }

    /// These pages are no longer what was stored: they are gone, or overwritten by something that
    /// needs no write-back.
    pub fn dropped(&mut self, file: u64, pages: &Range<u64>) {
        self.dirty.retain(|(of, index), _| *of != file || !pages.contains(index));
    }

    /// The pages from `from` on begin at `to` now. What moves over others replaces them.
    pub fn moved(&mut self, file: u64, from: u64, to: u64) {
        let moving: Vec<_> = self.pages(file, &(from..u64::MAX)).collect();
        self.dropped(file, &(from.min(to)..u64::MAX));
        for (index, store) in moving {
            self.dirty.insert((file, index - from + to), store);
        }
    }

    /// Pages of `from` are pages of `to` as well, from `at` on: in the same blocks.
    pub fn shared(&mut self, from: u64, pages: &Range<u64>, to: u64, at: u64) {
        let shared: Vec<_> = self.pages(from, pages).collect();
        let end = at.saturating_add(pages.end - pages.start);
        self.dropped(to, &(at..end));
        for (index, store) in shared {
            self.dirty.insert((to, index - pages.start + at), store);
        }
    }

    /// What a sync of these pages that begins now has to write back.
    pub fn promise(&self, file: u64, pages: &Range<u64>) -> Promise {
        Promise(self.pages(file, pages).map(|(index, store)| ((file, index), store)).collect())
    }

    /// The sync has ended and says that all is well: the pages that are still as they were when it
    /// began. They count as written back from now on; once is enough to tell of them.
    pub fn kept(&mut self, promise: Promise) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (page, store) in promise.0 {
            if self.dirty.get(&page) == Some(&store) {
                self.dirty.remove(&page);
                let undecided = self.unseen.contains(&store);
                missing.push(Missing { index: page.1, undecided });
            }
        }
        missing
    }

    fn pages(&self, file: u64, pages: &Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let range = (file, pages.start)..(file, pages.end.max(pages.start));
        self.dirty.range(range).map(|((_, index), store)| (*index, *store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Range<u64> = 0..u64::MAX;

    fn missing(durable: &mut Durable, file: u64) -> Vec<u64> {
        let promise = durable.promise(file, &ALL);
        durable.kept(promise).into_iter().map(|missing| missing.index).collect()
    }

    #[test]
    fn what_was_stored_must_be_written_back() {
        let mut durable = Durable::default();
        durable.stored(1, 0..3);
        durable.stored(2, 1..2);
        durable.written_back(1, 0..2);
        assert_eq!(missing(&mut durable, 1), [2]);
        // Once is enough.
        assert_eq!(missing(&mut durable, 1), []);
        assert_eq!(missing(&mut durable, 2), [1]);
    }

    #[test]
    fn a_later_store_is_another() {
        let mut durable = Durable::default();
        durable.stored(1, 0..1);
        let promise = durable.promise(1, &ALL);
        durable.written_back(1, 0..1);
        durable.stored(1, 0..1);
        assert_eq!(durable.kept(promise), []);
        assert_eq!(missing(&mut durable, 1), [0]);
    }

    #[test]
    fn what_is_gone_needs_no_write_back() {
        let mut durable = Durable::default();
        durable.stored(1, 0..4);
        let promise = durable.promise(1, &ALL);
        durable.dropped(1, &(2..u64::MAX));
        assert_eq!(durable.kept(promise).len(), 2);
    }

    #[test]
    fn what_moves_is_still_dirty() {
        let mut durable = Durable::default();
        durable.stored(1, [0, 1, 3]);
        // Collapse of page 1.
        durable.dropped(1, &(1..2));
        durable.moved(1, 2, 1);
        assert_eq!(missing(&mut durable.clone(), 1), [0, 2]);
        // And insertion of two at page 1.
        durable.moved(1, 1, 3);
        durable.written_back(1, 0..1);
        assert_eq!(missing(&mut durable, 1), [4]);
    }

    #[test]
    fn what_two_files_share_is_written_back_once() {
        let mut durable = Durable::default();
        durable.stored(1, 0..2);
        durable.stored(2, 5..6);
        durable.shared(1, &(0..2), 2, 5);
        let mut through_the_other = durable.clone();
        through_the_other.written_back(2, 5..7);
        assert_eq!(missing(&mut through_the_other, 1), []);
        durable.written_back(1, 1..2);
        assert_eq!(missing(&mut durable, 2), [5]);
    }

    #[test]
    fn what_may_have_gone_unseen_is_undecided() {
        let mut durable = Durable::default();
        durable.stored(1, 0..1);
        durable.missed();
        durable.stored(1, 1..2);
        let promise = durable.promise(1, &ALL);
        let undecided: Vec<_> =
            durable.kept(promise).into_iter().map(|missing| missing.undecided).collect();
        assert_eq!(undecided, [true, false]);
    }
}
