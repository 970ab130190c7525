//! What a watch saw, in numbers: breaks, waits, how long, and who held them up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::{Event, Kind};

/// One wait that was among the longest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Longest {
    /// How long, in nanoseconds.
    pub time: u64,
    /// Who waited.
    pub task: u32,
    /// For which file,
    pub inode: u64,
    /// which page,
    pub page: u64,
    /// and at which index.
    pub index: u64,
    /// Tasks that pinned the page before or while it was waited for.
    pub pinners: BTreeSet<u32>,
}

/// Counts over a watch.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Breaks that began.
    pub breaks: u64,
    /// Scans, busy or not.
    pub scans: u64,
    /// Waits that began.
    pub waits: u64,
    /// Pins that were taken.
    pub pins: u64,
    /// Records of any kind.
    pub records: u64,
    /// Waits by length: element n counts those of at most 2^n milliseconds.
    pub histogram: [u64; BUCKETS],
    /// The longest waits, the longest first.
    pub longest: Vec<Longest>,
    waiting: BTreeMap<(u32, u64), (u64, u64, u64)>,
    /// Page and task.
    pinners: BTreeSet<(u64, u32)>,
}

const BUCKETS: usize = 20;
const KEPT: usize = 5;
/// Pinners that are remembered.
const PINNERS: usize = 65536;

impl Summary {
    /// Takes one more event.
    pub fn count(&mut self, event: &Event) {
        self.records += 1;
        match Kind::from_number(event.kind) {
            Some(Kind::BreakBegin) => self.breaks += 1,
            Some(Kind::Scan) => self.scans += 1,
            Some(Kind::Pin) => {
                self.pins += 1;
                if self.pinners.len() < PINNERS {
                    self.pinners.insert((event.page, event.task));
                }
            }
            Some(Kind::Unpin)
                if event.refs - event.maps <= 0
                    && !self.waiting.values().any(|&(_, page, _)| page == event.page) =>
            {
                for task in self.pinners_of(event.page).collect::<Vec<_>>() {
                    self.pinners.remove(&(event.page, task));
                }
            }
            Some(Kind::WaitBegin) => {
                self.waits += 1;
                self.waiting
                    .insert((event.task, event.inode), (event.time, event.page, event.index));
            }
            Some(Kind::WaitEnd) => self.waited(event),
            _ => {}
        }
    }

    fn pinners_of(&self, page: u64) -> impl Iterator<Item = u32> {
        self.pinners.range((page, 0)..=(page, u32::MAX)).map(|&(_, task)| task)
    }

    fn waited(&mut self, event: &Event) {
        let Some((begun, page, index)) = self.waiting.remove(&(event.task, event.inode)) else {
            return;
        };
        let time = event.time.saturating_sub(begun);
        let bucket = (time / 1_000_000 + 1).ilog2() as usize;
        self.histogram[bucket.min(BUCKETS - 1)] += 1;
        let longest = Longest {
            time,
            task: event.task,
            inode: event.inode,
            page,
            index,
            pinners: self.pinners_of(page).collect(),
        };
        let position = self.longest.partition_point(|other| other.time >= time);
        self.longest.insert(position, longest);
        self.longest.truncate(KEPT);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} breaks, {} scans, {} waits, {} pins, {} records",
            self.breaks, self.scans, self.waits, self.pins, self.records
        )?;
        if !self.waiting.is_empty() {
            writeln!(f, "{} breaks still wait", self.waiting.len())?;
        }
        let last = self.histogram.iter().rposition(|&count| count != 0);
        let most = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        let first = self.histogram.iter().position(|&count| count != 0).unwrap_or(0);
        let drawn = self.histogram.iter().enumerate().take(last.map_or(0, |n| n + 1)).skip(first);
        for (bucket, count) in drawn {
            let bar = "#".repeat(usize::try_from(count * 40 / most).unwrap_or(0));
            writeln!(f, "  waits below {:>7} ms  {count:>7}  {bar}", 1_u64 << bucket)?;
        }
        for wait in &self.longest {
            let pinners: Vec<String> = wait.pinners.iter().map(u32::to_string).collect();
            writeln!(
                f,
                "  {:>5}.{:03} ms  task {} waited for inode {} page {:#x} (index {}), pinned by {}",
                wait.time / 1_000_000,
                wait.time / 1000 % 1000,
                wait.task,
                wait.inode,
                wait.page,
                wait.index,
                if pinners.is_empty() { "nobody seen".to_owned() } else { pinners.join(", ") }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_with_its_pinner() {
        let mut summary = Summary::default();
        let at = |kind, time, task| Event { time, task, page: 9, inode: 3, ..Event::new(kind) };
        summary.count(&at(Kind::Pin, 1, 7));
        summary.count(&at(Kind::WaitBegin, 2, 8));
        summary.count(&at(Kind::WaitEnd, 3_000_002, 8));
        assert_eq!(summary.waits, 1);
        assert_eq!(summary.histogram[2], 1);
        assert_eq!(summary.longest[0].pinners, BTreeSet::from([7]));
    }
}
