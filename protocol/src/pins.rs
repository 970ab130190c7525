//! Which pins a page has, and which of them are newer than a break.
//!
//! Pins and unpins are events, but in a kernel trace not all of them are seen: a pin may be
//! older than the trace or taken on a path without a hook. Counts that other events carry put
//! that right. Where it is not known which pin went, the newest is taken to have gone: then a
//! break looks held up by old pins, and that is never a violation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::mark::Mark;

/// A pin that no event told of.
const UNTOLD: i64 = i64::MIN;

/// One pinned page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PageHolders {
    inode: u64,
    /// Holders, the oldest first.
    holders: Vec<i64>,
    last: Mark,
}

/// All pins that are known of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct KnownPins {
    pages: BTreeMap<u64, PageHolders>,
}

/// Pins taken since a moment: the part of [`KnownPins`] that is newer than a break.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Newer {
    pages: BTreeMap<u64, Vec<i64>>,
}

impl KnownPins {
    /// `page` was pinned by `holder`.
    pub(crate) fn pin(&mut self, page: u64, inode: u64, holder: i64, mark: Mark) {
        let entry = self.pages.entry(page).or_insert_with(|| PageHolders {
            inode,
            holders: Vec::new(),
            last: mark,
        });
        if inode != 0 {
            entry.inode = inode;
        }
        entry.last = mark;
        entry.holders.push(holder);
    }

    /// A pin of `page` by `holder` (0: unknown) was dropped. Returns the holder whose pin it was.
    pub(crate) fn unpin(&mut self, page: u64, holder: i64) -> Option<i64> {
        let holders = &mut self.pages.get_mut(&page)?.holders;
        let gone = if holder == 0 {
            holders.pop()
        } else {
            // A holder that nothing is known of had its pin before the history began.
            let own = holders.iter().rposition(|&h| h == holder);
            own.or_else(|| holders.iter().position(|&h| h == UNTOLD))
                .map(|position| holders.remove(position))
        };
        if holders.is_empty() {
            self.pages.remove(&page);
        }
        gone
    }

    /// `page` was seen with `count` pins. Returns the holders whose pins must be gone.
    pub(crate) fn observe(&mut self, page: u64, inode: u64, count: i32, mark: Mark) -> Vec<i64> {
        let count = usize::try_from(count).unwrap_or(0);
        let known = self.pages.get(&page).map_or(0, |page| page.holders.len());
        if count == 0 {
            return self.pages.remove(&page).map(|page| page.holders).unwrap_or_default();
        }
        let entry = self.pages.entry(page).or_insert_with(|| PageHolders {
            inode,
            holders: Vec::new(),
            last: mark,
        });
        if count > known {
            let untold = core::iter::repeat_n(UNTOLD, count - known);
            entry.holders.splice(0..0, untold);
        }
        let mut gone = Vec::new();
        for _ in count..known {
            if entry.holders.first() == Some(&UNTOLD) {
                gone.push(entry.holders.remove(0));
            } else {
                gone.extend(entry.holders.pop());
            }
        }
        gone
    }

    /// How many pins `page` has.
    pub(crate) fn count(&self, page: u64) -> usize {
        self.pages.get(&page).map_or(0, |page| page.holders.len())
    }

    /// The event that last pinned a page of `inode` that is still pinned, and the page.
    pub(crate) fn of_inode(&self, inode: u64) -> Option<(u64, Mark)> {
        self.pages
            .iter()
            .find(|(_, entry)| inode != 0 && entry.inode == inode)
            .map(|(&page, entry)| (page, entry.last))
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.pages.clear();
    }
}

impl Newer {
    /// `page` was pinned by `holder`.
    pub(crate) fn pin(&mut self, page: u64, holder: i64) {
        self.pages.entry(page).or_default().push(holder);
    }

    /// The pin of `page` by `holder` is gone. It need not be one of these.
    pub(crate) fn unpin(&mut self, page: u64, holder: i64) {
        if let Some(holders) = self.pages.get_mut(&page) {
            if let Some(position) = holders.iter().rposition(|&h| h == holder) {
                holders.remove(position);
            }
            if holders.is_empty() {
                self.pages.remove(&page);
            }
        }
    }

    /// How many of the pins of `page` are newer.
    pub(crate) fn count(&self, page: u64) -> usize {
        self.pages.get(&page).map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { number: 0, time: 0 };

    #[test]
    fn an_unpin_takes_the_pin_of_its_holder() {
        let mut pins = KnownPins::default();
        pins.pin(1, 0, 10, MARK);
        pins.pin(1, 0, 20, MARK);
        assert_eq!(pins.unpin(1, 10), Some(10));
        assert_eq!(pins.count(1), 1);
        assert_eq!(pins.unpin(1, 0), Some(20));
        assert_eq!(pins.unpin(1, 0), None);
    }

    #[test]
    fn an_unpin_of_nobody_knows_whom_takes_the_newest() {
        let mut pins = KnownPins::default();
        pins.pin(1, 0, 10, MARK);
        pins.pin(1, 0, 20, MARK);
        assert_eq!(pins.unpin(1, 0), Some(20));
    }

    #[test]
    fn counts_put_right_what_was_not_seen() {
        let mut pins = KnownPins::default();
        pins.pin(1, 0, 10, MARK);
        assert!(pins.observe(1, 7, 3, MARK).is_empty());
        assert_eq!(pins.count(1), 3);
        assert_eq!(pins.observe(1, 7, 1, MARK), [UNTOLD, UNTOLD]);
        assert_eq!(pins.observe(1, 7, 0, MARK), [10]);
        assert_eq!(pins.count(1), 0);
    }
}
