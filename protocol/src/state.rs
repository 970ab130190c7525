//! The rules as a transition system: a state, and what an event does to it or violates.
//!
//! The state holds what the rules must remember of the past: breaks that are under way, pins,
//! operations that have not ended. It can be cloned, compared and hashed, because a search of
//! the reference's state space carries one along with every state of the reference.
//!
//! Some rules conclude from what did *not* happen (no scan, no sleep, no end), and say so in
//! [`Finding::absence`]: who feeds them knows whether everything was seen. After [`Kind::Lost`]
//! they keep silent about everything that was under way at that moment; what rests on events
//! that are there (a block freed while its counts show a pin) stays judged.
//!
//! Counts are read without a lock in a kernel, and a speculative GUP-fast reference can be in
//! them for nanoseconds. The recorder looks several times before it reports a page as pinned in
//! [`Kind::Remove`] or [`Kind::Free`]; the rules believe what they are told.
//!
//! Here is what the rules share; each has a file of its own below.

mod livelock;
mod lock_held;
mod lost_wakeup;
mod missed_wait;
mod operation;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use self::operation::Running;
use crate::bounds::Bounds;
use crate::event::{Event, Kind, OperationKind, flag};
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;
use crate::pins::{KnownPins, Newer};
use crate::rule::Rule;

/// What the rules remember of a history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    bounds: Bounds,
    /// The event to come next.
    next: Mark,
    lost: bool,
    /// By task and inode: one task may break two files (reflink).
    breaks: BTreeMap<(u32, u64), Break>,
    pins: KnownPins,
    running: BTreeMap<(u32, OperationKind), Running>,
    /// Inode and index of pages that were marked dirty and not written back.
    dirty: BTreeSet<(u64, u64)>,
}

/// A layout break under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Break {
    device: u32,
    begun: Mark,
    /// Its beginning was seen and nothing was lost since.
    whole: bool,
    scan: Option<Scan>,
    /// Busy scans since it last slept.
    rescans: u32,
    newer: Newer,
    /// Pins newer than the break that it met on pages without an older one.
    held_up: u32,
    wait: Option<Wait>,
    /// It was seen sleeping without the inode lock.
    unlocked: bool,
    /// Rules that it was already found to violate.
    told: BTreeSet<Rule>,
}

/// What a break saw when it last looked for a busy page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Scan {
    mark: Mark,
    /// The busy page and its index, if there was one.
    busy: Option<(u64, u64)>,
}

/// A break's wait for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wait {
    begun: Mark,
    /// The last event that showed that it waits.
    seen: Mark,
    page: u64,
    index: u64,
    /// Since when nothing pins the page: the event that showed it, and the moment from which the
    /// waiter had nothing more to wait for.
    idle: Option<(Mark, Mark)>,
}

impl Rules {
    /// The state before the first event.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: Mark::default(),
            lost: false,
            breaks: BTreeMap::new(),
            pins: KnownPins::default(),
            running: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Whether records were lost, so that the absence of findings says nothing.
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Takes the next event and returns what it violates, usually nothing.
    ///
    /// An event of an unknown kind changes nothing.
    pub fn step(&mut self, event: &Event) -> Vec<Finding> {
        let mark = Mark::of(self.next.number, event);
        self.next = Mark { number: mark.number + 1, time: event.time };
        let Some(kind) = Kind::from_number(event.kind) else {
            return Vec::new();
        };
        match kind {
            Kind::Begin => self.begin(event, mark),
            Kind::End => return self.end(event, mark),
            Kind::BreakBegin => {
                self.breaks.insert((event.task, event.inode), Break::new(event, mark, true));
            }
            Kind::BreakEnd => return self.break_end(event, mark),
            Kind::Scan => return self.scan(event, mark),
            Kind::WaitBegin => return self.wait_begin(event, mark),
            Kind::Sleep => return self.sleep(event, mark),
            Kind::WaitEnd => {
                if let Some((_, a_break)) = self.break_of(event) {
                    a_break.wait = None;
                }
            }
            Kind::Wake => self.wake(event, mark),
            Kind::Pin => return self.pin(event, mark),
            Kind::Unpin => self.unpin(event, mark),
            Kind::Remove => return self.remove(event, mark),
            Kind::Free => return self.free(event, mark),
            Kind::Warning => return vec![warning(event, mark)],
            Kind::Lost => self.lose(),
            Kind::Sample => return self.sample(event, mark),
            Kind::Dirty => {
                self.dirty.insert((event.inode, event.index));
            }
            Kind::Clean => self.clean(event.inode, event.index),
        }
        Vec::new()
    }

    /// The history ends at `time`: returns what still hangs and should not.
    pub fn finish(&mut self, time: u64) -> Vec<Finding> {
        let mark = Mark { number: self.next.number, time };
        let ever = self.bounds.quiescent;
        let mut findings = self.asleep(mark, None, ever);
        findings.extend(self.stuck(mark, ever));
        findings
    }

    fn wait_begin(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        if let Some(running) = self.running.get_mut(&(event.task, OperationKind::Fsync)) {
            if core::mem::replace(&mut running.told, true) {
                return Vec::new();
            }
            return vec![running.violates(
                How::WaitsForPin,
                event.task,
                event.page,
                Some(event.index),
                &[running.begun, mark],
                format!(
                    "fsync of inode {} by task {} waits for the pins of page {:#x}",
                    running.inode, event.task, event.page
                ),
            )];
        }
        let count = self.pins.count(event.page);
        let limit = self.bounds.newer_pins;
        let Some((_, a_break)) = self.break_of(event) else {
            return Vec::new();
        };
        a_break.wait = Some(Wait {
            begun: mark,
            seen: mark,
            page: event.page,
            index: if event.index == 0 { a_break.index_of(event.page) } else { event.index },
            idle: None,
        });
        let newer = a_break.newer.count(event.page);
        if newer > 0 && newer >= count {
            a_break.hold_up(limit);
        }
        self.starved(mark)
    }

    fn pin(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let limit = self.bounds.newer_pins;
        let before = self.pins.count(event.page);
        self.pins.pin(event.page, event.inode, event.value, mark);
        for a_break in self.breaks.values_mut() {
            let newer = a_break.newer.count(event.page);
            a_break.newer.pin(event.page, event.value);
            if let Some(wait) = a_break.wait.as_mut().filter(|wait| wait.page == event.page) {
                wait.idle = None;
                // A page that was idle has woken the break; whether it is busy again when the
                // break looks is counted then.
                if before > 0 && newer >= before {
                    a_break.hold_up(limit);
                }
            }
        }
        for running in self.running.values_mut() {
            if event.inode != 0 && running.inode == event.inode {
                running.pinned.get_or_insert((event.page, mark));
            }
        }
        self.starved(mark)
    }

    fn unpin(&mut self, event: &Event, mark: Mark) {
        let pins = self.bounds.shape.pins(event.refs, event.maps);
        if let Some(holder) = self.pins.unpin(event.page, event.value) {
            for a_break in self.breaks.values_mut() {
                a_break.newer.unpin(event.page, holder);
            }
        }
        if pins == 0 {
            self.observe(event, mark);
        }
    }

    /// Something was missed, nobody knows what: as [`Kind::Lost`], without an event.
    pub fn lose(&mut self) {
        self.lost = true;
        self.pins.forget();
        self.dirty.clear();
        // A break that may have gone on or ended unseen can no longer be judged.
        self.breaks.clear();
        for running in self.running.values_mut() {
            running.whole = false;
            running.pinned = None;
        }
    }

    fn sample(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        // Only waiting breaks are sampled, so a sample tells of a wait whose beginning is not known.
        let key = (event.task, event.inode);
        let a_break = self.breaks.entry(key).or_insert_with(|| Break::new(event, mark, false));
        if a_break.wait.is_none_or(|wait| wait.page != event.page) {
            let (page, index) = (event.page, event.index);
            a_break.wait = Some(Wait { begun: mark, seen: mark, page, index, idle: None });
        }
        if let Some(wait) = &mut a_break.wait {
            wait.seen = mark;
        }
        self.observe(event, mark);
        // Once woken it waits for a processor only, however long that takes on a busy machine.
        if event.detail & flag::ELSEWHERE != 0 {
            self.woken(key, mark);
        }
        let mut findings = self.asleep(mark, Some(event.task), false);
        findings.extend(self.stuck(mark, false));
        findings.extend(self.starved(mark));
        findings
    }

    /// The counts of a page were seen.
    fn observe(&mut self, event: &Event, mark: Mark) {
        if event.page == 0 {
            return;
        }
        let pins = self.bounds.shape.pins(event.refs, event.maps);
        for holder in self.pins.observe(event.page, event.inode, pins, mark) {
            for a_break in self.breaks.values_mut() {
                a_break.newer.unpin(event.page, holder);
            }
        }
        for wait in self.breaks.values_mut().filter_map(|a_break| a_break.wait.as_mut()) {
            if wait.page == event.page {
                if pins > 0 {
                    wait.idle = None;
                } else {
                    wait.idle.get_or_insert((mark, mark));
                }
            }
        }
    }

    /// The break that an event of its task is about.
    fn break_of(&mut self, event: &Event) -> Option<((u32, u64), &mut Break)> {
        let key = if event.inode != 0 {
            (event.task, event.inode)
        } else {
            *self.breaks.range((event.task, 0)..=(event.task, u64::MAX)).next_back()?.0
        };
        self.breaks.get_mut(&key).map(|a_break| (key, a_break))
    }
}

impl Break {
    fn new(event: &Event, mark: Mark, whole: bool) -> Self {
        Self {
            device: event.device,
            begun: mark,
            whole,
            scan: None,
            rescans: 0,
            newer: Newer::default(),
            held_up: 0,
            wait: None,
            unlocked: false,
            told: BTreeSet::new(),
        }
    }

    /// What the break of `inode` by `task` does wrong while it waits, which rests on `marks`.
    fn violates(
        &self,
        how: How,
        (task, inode): (u32, u64),
        wait: Wait,
        marks: &[Mark],
        absence: bool,
        text: String,
    ) -> Finding {
        Finding {
            rule: how.rule(),
            how,
            tasks: vec![task],
            device: self.device,
            inode,
            page: wait.page,
            index: Some(wait.index),
            function: None,
            events: numbers(marks),
            absence,
            text,
        }
    }

    /// The index at which the last scan found `page`.
    fn index_of(&self, page: u64) -> u64 {
        match self.scan {
            Some(Scan { busy: Some((busy, index)), .. }) if busy == page => index,
            _ => 0,
        }
    }

    fn hold_up(&mut self, limit: u32) {
        self.held_up = self.held_up.saturating_add(1).min(limit.saturating_add(1));
    }
}

fn warning(event: &Event, mark: Mark) -> Finding {
    let text = format!("warning at {:#x} in task {}", event.value, event.task);
    finding(How::Warns, event, &[mark], text)
}

/// What breaks a rule in this way is `event` itself, and rests on `marks`.
fn finding(how: How, event: &Event, marks: &[Mark], text: String) -> Finding {
    Finding {
        rule: how.rule(),
        how,
        tasks: vec![event.task],
        device: event.device,
        inode: event.inode,
        page: event.page,
        // An event without a file has no index in one.
        index: (event.inode != 0 && event.page != 0).then_some(event.index),
        function: None,
        events: numbers(marks),
        absence: false,
        text,
    }
}

/// The same for what concludes from an absence.
fn absence(how: How, event: &Event, marks: &[Mark], text: String) -> Finding {
    Finding { absence: true, ..finding(how, event, marks, text) }
}

fn numbers(marks: &[Mark]) -> Vec<u64> {
    let mut numbers: Vec<u64> = marks.iter().map(|mark| mark.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
