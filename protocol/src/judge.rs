//! A whole history, judged: the rules' state together with what they found on the way.

use alloc::vec::Vec;

use crate::bounds::Bounds;
use crate::event::Event;
use crate::finding::{Finding, Ruling};
use crate::state::Rules;

/// Feeds events to the rules and keeps the findings.
#[derive(Clone, Debug)]
pub struct Judge {
    state: Rules,
    findings: Vec<Finding>,
}

impl Judge {
    /// A judge of a history that has not begun.
    pub fn new(bounds: Bounds) -> Self {
        Self { state: Rules::new(bounds), findings: Vec::new() }
    }

    /// Takes the next event and returns what it violates, usually nothing.
    ///
    /// For a history in which everything that was missed is told of by [`Kind::Lost`].
    ///
    /// [`Kind::Lost`]: crate::Kind::Lost
    pub fn feed(&mut self, event: &Event) -> &[Finding] {
        self.feed_if(event, || true)
    }

    /// The same where more may have been missed than the history tells. `all_seen` is asked only
    /// if a finding rests on an absence; if it says no, there is no such finding, and what was
    /// under way is judged no more.
    pub fn feed_if(&mut self, event: &Event, all_seen: impl FnOnce() -> bool) -> &[Finding] {
        let found = self.state.step(event);
        self.keep(found, all_seen)
    }

    /// Something was missed, nobody knows what.
    pub fn lose(&mut self) {
        self.state.lose();
    }

    fn keep(&mut self, mut found: Vec<Finding>, all_seen: impl FnOnce() -> bool) -> &[Finding] {
        if found.iter().any(|finding| finding.absence) && !all_seen() {
            found.retain(|finding| !finding.absence);
            self.state.lose();
        }
        let known = self.findings.len();
        self.findings.extend(found);
        &self.findings[known..]
    }

    /// Everything found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The rules' state.
    pub fn state(&self) -> &Rules {
        &self.state
    }

    /// The ruling on the history, which ends at `time` (in the unit of [`Event::time`]).
    pub fn finish(self, time: u64) -> Ruling {
        self.finish_if(time, || true)
    }

    /// The same where more may have been missed than the history tells; see [`Judge::feed_if`].
    pub fn finish_if(mut self, time: u64, all_seen: impl FnOnce() -> bool) -> Ruling {
        let found = self.state.finish(time);
        self.keep(found, all_seen);
        if !self.findings.is_empty() {
            Ruling::Violated(self.findings)
        } else if self.state.lost() {
            Ruling::Undecided
        } else {
            Ruling::Holds
        }
    }
}

/// The verdict on a history that is there as a whole.
pub fn judge(bounds: Bounds, events: &[Event]) -> Ruling {
    let mut judge = Judge::new(bounds);
    for event in events {
        judge.feed(event);
    }
    judge.finish(events.last().map_or(0, |event| event.time))
}
