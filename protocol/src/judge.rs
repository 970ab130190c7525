//! A whole history, judged: the rules' state together with what they found on the way.

use alloc::vec::Vec;

use crate::config::Config;
use crate::event::Event;
use crate::rule::{Finding, Verdict};
use crate::state::State;

/// Feeds events to the rules and keeps the findings.
#[derive(Clone, Debug)]
pub struct Judge {
    state: State,
    findings: Vec<Finding>,
}

impl Judge {
    /// A judge of a history that has not begun.
    pub fn new(config: Config) -> Self {
        Self { state: State::new(config), findings: Vec::new() }
    }

    /// Takes the next event and returns what it violates, usually nothing.
    pub fn feed(&mut self, event: &Event) -> &[Finding] {
        let known = self.findings.len();
        self.findings.extend(self.state.step(event));
        &self.findings[known..]
    }

    /// Everything found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The rules' state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The verdict on the history, which ends at `time` (in the unit of [`Event::time`]).
    pub fn finish(mut self, time: u64) -> Verdict {
        self.findings.extend(self.state.finish(time));
        if !self.findings.is_empty() {
            Verdict::Violated(self.findings)
        } else if self.state.lost() {
            Verdict::Undecided
        } else {
            Verdict::Holds
        }
    }
}

/// The verdict on a history that is there as a whole.
pub fn judge(config: Config, events: &[Event]) -> Verdict {
    let mut judge = Judge::new(config);
    for event in events {
        judge.feed(event);
    }
    judge.finish(events.last().map_or(0, |event| event.time))
}
