//! Which page is which block of a device: what it is made of, held against what was measured.
//!
//! Neither is believed alone. A table that the measured blocks contradict is no table; a device
//! that no two blocks were measured on is nowhere. What is not known is said to be unknown, and
//! who asks whose page was freed there is told so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use protocol::segment::{MEMBERS, Segment};

use crate::survey::{self, Point};
use crate::table::{self, MajorMinor, Part, Unknown};
use crate::untraceable::{Error, PAGE};

/// How many segments the probes take.
pub(crate) const SEGMENTS: usize = 16;

/// How many ranges of page frames the probes take.
pub(crate) const RANGES: usize = 8;

/// Blocks of a device that must have been measured before its place in memory is believed.
const PROOF: usize = 2;

/// Where the blocks of a device lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockMap {
    /// All that is known.
    pub(crate) segments: Vec<Segment>,
    /// First frames and lengths of what may be the device's pages, in ascending order.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// Why the pages of some blocks are not known, if they are not.
    pub unknown: Option<String>,
}

impl BlockMap {
    /// Finds it out for a device of so many pages, whose file system is on `mount`.
    pub(crate) fn find(
        device: MajorMinor,
        pages: u64,
        mount: &Path,
    ) -> Result<(Self, Vec<Point>), Error> {
        let parts = table::parts(device, pages);
        let known = parts.as_ref().map_or(&[][..], Vec::as_slice);
        let points = survey::measure(mount, |points| {
            let measured = Bases::of(known, points).unwrap_or_default();
            leaves(known).iter().all(|leaf| measured.frame(*leaf).is_some())
        })?;
        let iomem = fs::read_to_string("/proc/iomem").unwrap_or_default();
        let map = parts.and_then(|parts| Self::of(&parts, &points, &iomem));
        Ok((map.unwrap_or_else(|why| Self::nowhere(why, &iomem)), points))
    }

    fn nowhere(Unknown(why): Unknown, iomem: &str) -> Self {
        Self { segments: Vec::new(), ranges: persistent(iomem), unknown: Some(why) }
    }

    fn of(parts: &[Part], points: &[Point], iomem: &str) -> Result<Self, Unknown> {
        if parts.len() > SEGMENTS {
            return Err(Unknown(format!("it is made of {} pieces", parts.len())));
        }
        let bases = Bases::of(parts, points)?;
        let unproven: Vec<String> = leaves(parts)
            .into_iter()
            .filter(|leaf| bases.frame(*leaf).is_none())
            .map(|(major, minor)| format!("{major}:{minor}"))
            .collect();
        let segments: Vec<Segment> = parts
            .iter()
            .map(|part| {
                let mut frames = [0; MEMBERS];
                for (frame, member) in frames.iter_mut().zip(&part.members) {
                    *frame = bases.frame(member.device).map_or(0, |base| base + member.page);
                }
                Segment { stripes: part.stripes, frames }
            })
            .collect();
        let ranges = if unproven.is_empty() { ranges(&segments) } else { persistent(iomem) };
        let unknown = (!unproven.is_empty()).then(|| {
            format!("fewer than {PROOF} blocks could be measured on {}", unproven.join(", "))
        });
        Ok(Self { segments, ranges, unknown })
    }

    /// The frame of a block, if it is known.
    pub(crate) fn frame(&self, block: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let spot = segment.stripes.locate(block)?;
            Some(segment.frames[spot.member]).filter(|frame| *frame != 0).map(|f| f + spot.page)
        })
    }
}

/// The devices at the bottom.
fn leaves(parts: &[Part]) -> BTreeSet<MajorMinor> {
    parts.iter().flat_map(|part| &part.members).map(|member| member.device).collect()
}

/// Where devices lie in memory, and how many blocks say so.
#[derive(Default)]
struct Bases(BTreeMap<MajorMinor, (u64, BTreeSet<u64>)>);

impl Bases {
    fn of(parts: &[Part], points: &[Point]) -> Result<Self, Unknown> {
        let mut bases: BTreeMap<MajorMinor, (u64, BTreeSet<u64>)> = BTreeMap::new();
        for &Point { block, frame, .. } in points {
            let found =
                parts.iter().find_map(|part| part.stripes.locate(block).map(|spot| (part, spot)));
            let Some((part, spot)) = found else {
                return Err(Unknown(format!("its table has no page {block}")));
            };
            let member = part.members[spot.member];
            let page = member.page + spot.page;
            let (base, blocks) = bases
                .entry(member.device)
                .or_insert_with(|| (frame.wrapping_sub(page), BTreeSet::new()));
            if base.wrapping_add(page) != frame {
                return Err(Unknown(format!(
                    "its table puts page {block} at frame {:#x}, and it is at {frame:#x}",
                    base.wrapping_add(page)
                )));
            }
            blocks.insert(block);
        }
        Ok(Self(bases))
    }

    /// The frame of a device's first page, if enough blocks agree on it.
    fn frame(&self, device: MajorMinor) -> Option<u64> {
        let (base, blocks) = self.0.get(&device)?;
        (blocks.len() >= PROOF).then_some(*base)
    }
}

/// The frames of all segments, as few ranges as the probes take: of more, the nearest are joined.
/// A page too many is looked at and found to be of no file of the device.
fn ranges(segments: &[Segment]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = segments
        .iter()
        .flat_map(|segment| {
            let stripes = segment.stripes;
            let (first, end) = if stripes.members == 1 {
                (stripes.skip, stripes.skip + stripes.pages)
            } else {
                let round = stripes.chunk * stripes.members;
                let end = (stripes.skip + stripes.pages).div_ceil(round);
                (stripes.skip / round * stripes.chunk, end * stripes.chunk)
            };
            let members = segment.frames.iter().take(stripes.members as usize);
            members.map(move |frame| (frame + first, end - first))
        })
        .collect();
    ranges.sort_unstable();
    join(&mut ranges, 0);
    while ranges.len() > RANGES {
        let gaps = ranges.windows(2).map(|pair| pair[1].0 - pair[0].0 - pair[0].1);
        let least = gaps.min().expect("there are more than one");
        join(&mut ranges, least);
    }
    ranges
}

/// Joins ranges, which are in ascending order, that are at most so far apart.
fn join(ranges: &mut Vec<(u64, u64)>, gap: u64) {
    ranges.dedup_by(|next, range| {
        let joined = next.0 <= range.0 + range.1 + gap;
        if joined {
            range.1 = range.1.max(next.0 + next.1 - range.0);
        }
        joined
    });
}

/// All persistent memory, as /proc/iomem tells it; if it does not, all memory there can be.
fn persistent(iomem: &str) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = iomem
        .lines()
        .filter(|line| line.contains("ersistent Memory"))
        .filter_map(|line| {
            let (first, last) = line.trim().split_once(' ')?.0.split_once('-')?;
            let frame = |text| u64::from_str_radix(text, 16).ok().map(|byte| byte / PAGE);
            let (first, last) = (frame(first)?, frame(last)?);
            (last > 0).then_some((first, last + 1 - first))
        })
        .collect();
    ranges.sort_unstable();
    join(&mut ranges, 0);
    if ranges.is_empty() || ranges.len() > RANGES { vec![(0, u64::MAX / PAGE)] } else { ranges }
}

#[cfg(test)]
mod tests {
    use protocol::segment::Stripes;

    use super::*;
    use crate::table::Location;

    const A: MajorMinor = (259, 0);
    const B: MajorMinor = (259, 1);

    fn striped() -> Vec<Part> {
        let stripes = Stripes { begin: 0, pages: 64, skip: 0, chunk: 1, members: 2 };
        let place = |device| Location { device, page: 4 };
        vec![Part { stripes, members: vec![place(A), place(B)] }]
    }

    fn points(measured: &[(u64, u64)]) -> Vec<Point> {
        measured.iter().map(|&(block, frame)| Point::at(block, frame)).collect()
    }

    #[test]
    fn blocks_of_a_stripe_are_placed_by_what_was_measured() {
        let measured = points(&[(0, 0x104), (1, 0x904), (10, 0x109), (11, 0x909)]);
        let map = BlockMap::of(&striped(), &measured, "").unwrap();
        assert_eq!(map.unknown, None);
        assert_eq!([2, 3, 62].map(|n| map.frame(n)), [0x105, 0x905, 0x123].map(Some));
        assert_eq!(map.ranges, [(0x104, 32), (0x904, 32)]);
    }

    #[test]
    fn a_table_that_is_contradicted_is_no_table() {
        let measured = points(&[(0, 0x104), (1, 0x904), (10, 0x10a)]);
        let Unknown(why) = BlockMap::of(&striped(), &measured, "").unwrap_err();
        assert_eq!(why, "its table puts page 10 at frame 0x109, and it is at 0x10a");
    }

    #[test]
    fn one_block_proves_nothing() {
        let iomem = "100000-1fffff : System RAM\n1000000-1ffffff : Persistent Memory (legacy)\n";
        let measured = points(&[(0, 0x104), (1, 0x904), (10, 0x109)]);
        let map = BlockMap::of(&striped(), &measured, iomem).unwrap();
        let why = "fewer than 2 blocks could be measured on 259:1";
        assert_eq!(map.unknown.as_deref(), Some(why));
        assert_eq!(map.frame(2), Some(0x105));
        assert_eq!(map.frame(3), None);
        assert_eq!(map.ranges, [(0x1000, 0x1000)]);
    }

    #[test]
    fn too_many_ranges_are_joined_where_they_are_nearest() {
        let segments: Vec<Segment> = (0..9)
            .map(|n| {
                let stripes = Stripes { begin: n, pages: 1, skip: 0, chunk: u64::MAX, members: 1 };
                let mut frames = [0; MEMBERS];
                frames[0] = 100 * n + if n == 5 { 99 } else { 1 } - u64::from(n == 6);
                Segment { stripes, frames }
            })
            .collect();
        let ranges = ranges(&segments);
        assert_eq!(ranges.len(), RANGES);
        assert_eq!(ranges[5], (599, 2));
    }
}
