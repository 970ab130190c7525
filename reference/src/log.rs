//! The events of a run, in the order in which they took effect, and what the rules say of them.

use std::collections::VecDeque;

use protocol::event::Event;
use protocol::{Finding, Judge};

use crate::sync::Leaf;
use crate::task::Task;

/// Records events; also the clock of the run.
#[derive(Debug)]
pub struct Log(Leaf<Inner>);

#[derive(Debug)]
struct Inner {
    tick: u64,
    judge: Judge,
    /// The latest; a load that runs for minutes makes more than anyone wants to keep.
    events: VecDeque<Event>,
}

/// How many events are kept.
const KEPT: usize = 4096;

impl Log {
    /// An empty one, judged by rules with these bounds.
    pub fn new(bounds: protocol::Bounds) -> Self {
        Self(Leaf::new(Inner { tick: 0, judge: Judge::new(bounds), events: VecDeque::new() }))
    }

    /// The time: a tick that no one else gets.
    pub fn now(&self) -> u64 {
        self.0.with(|inner| {
            inner.tick += 1;
            inner.tick
        })
    }

    /// Makes a change and records the event that it is, with nothing in between.
    pub(crate) fn with<R>(&self, task: &Task, change: impl FnOnce() -> (R, Option<Event>)) -> R {
        self.0.with(|inner| {
            let (result, event) = change();
            if let Some(mut event) = event {
                inner.tick += 1;
                event.time = inner.tick;
                event.task = task.id() + 1;
                event.process = task.process() + 1;
                inner.judge.feed(&event);
                if inner.events.len() == KEPT {
                    inner.events.pop_front();
                }
                inner.events.push_back(event);
            }
            result
        })
    }

    /// Records an event.
    pub(crate) fn record(&self, task: &Task, event: Event) {
        self.with(task, || ((), Some(event)));
    }

    /// The latest events, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.0.with(|inner| inner.events.iter().copied().collect())
    }

    /// What the rules found so far.
    pub fn findings(&self) -> Vec<Finding> {
        self.0.with(|inner| inner.judge.findings().to_vec())
    }

    /// What the rules find if the run ends now, with nobody able to go on.
    pub fn findings_at_end(&self) -> Vec<Finding> {
        self.0.with(|inner| match inner.judge.clone().finish(inner.tick) {
            protocol::Ruling::Violated(findings) => findings,
            protocol::Ruling::Holds | protocol::Ruling::Undecided => Vec::new(),
        })
    }
}
