//! Where the blocks of a device lie in memory, in a form that a probe can work with.
//!
//! A block device of persistent memory is a row of pages; one that is made of others (a partition,
//! dm-linear, dm-stripe) is several rows, or several by turns. What it is made of, the tracer finds
//! out; the probes and the tracer place its blocks with this file, so that they agree.

/// How many devices a stripe may lie on.
pub const MEMBERS: usize = 8;

/// Pages of a device that lie on one member, or on several by turns: a chunk on each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stripes {
    /// The first of them on the device.
    pub begin: u64,
    /// How many there are.
    pub pages: u64,
    /// Where the first of them is in the whole of the chunks.
    pub skip: u64,
    /// Pages of a chunk.
    pub chunk: u64,
    /// How many members there are.
    pub members: u64,
}

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// On which member.
    pub member: usize,
    /// On which of the member's pages.
    pub page: u64,
    /// How many pages, itself included, lie one behind the other there.
    pub row: u64,
}

impl Stripes {
    /// Where page `at` of the device lies; none if it is not one of these.
    pub fn locate(&self, at: u64) -> Option<Spot> {
        let within = at.wrapping_sub(self.begin);
        if within >= self.pages || self.chunk == 0 || self.members == 0 {
            return None;
        }
        let place = within + self.skip;
        let (chunk, rest) = (place / self.chunk, place % self.chunk);
        Some(Spot {
            member: (chunk % self.members) as usize % MEMBERS,
            page: chunk / self.members * self.chunk + rest,
            row: (self.chunk - rest).min(self.pages - within),
        })
    }
}

/// [`Stripes`] whose members' places in memory are known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// How the pages are spread.
    pub stripes: Stripes,
    /// The frame of each member's first page; 0 where it is not known.
    pub frames: [u64; MEMBERS],
}

impl Segment {
    /// How many numbers it is.
    pub const WORDS: usize = 5 + MEMBERS;

    /// Its numbers in their order in memory.
    pub fn words(&self) -> [u64; Self::WORDS] {
        let Stripes { begin, pages, skip, chunk, members } = self.stripes;
        let mut words = [0; Self::WORDS];
        words[..5].copy_from_slice(&[begin, pages, skip, chunk, members]);
        words[5..].copy_from_slice(&self.frames);
        words
    }
}

const _: () = assert!(size_of::<Segment>() == Segment::WORDS * size_of::<u64>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_stripe_lie_on_its_members_by_turns() {
        let stripes = Stripes { begin: 100, pages: 12, skip: 0, chunk: 2, members: 3 };
        let lie = |at| stripes.locate(at).map(|spot| (spot.member, spot.page, spot.row));
        let expected =
            [(0, 0, 2), (0, 1, 1), (1, 0, 2), (1, 1, 1), (2, 0, 2), (2, 1, 1), (0, 2, 2)];
        for (at, spot) in (100..).zip(expected) {
            assert_eq!(lie(at), Some(spot), "page {at}");
        }
        assert_eq!(lie(99), None);
        assert_eq!(lie(111), Some((2, 3, 1)));
        assert_eq!(lie(112), None);
    }

    #[test]
    fn a_part_of_a_stripe_keeps_its_turn() {
        let part = Stripes { begin: 0, pages: 3, skip: 3, chunk: 2, members: 2 };
        let lie = |at| part.locate(at).map(|spot| (spot.member, spot.page, spot.row));
        assert_eq!([0, 1, 2].map(lie), [Some((1, 1, 1)), Some((0, 2, 2)), Some((0, 3, 1))]);
    }

    #[test]
    fn no_two_pages_lie_at_the_same_place() {
        let stripes = Stripes { begin: 7, pages: 100, skip: 5, chunk: 3, members: 4 };
        let mut seen = std::collections::HashSet::new();
        for at in 7..107 {
            let spot = stripes.locate(at).unwrap();
            assert!(seen.insert((spot.member, spot.page)), "page {at}");
        }
    }
}
