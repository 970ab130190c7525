//! The break and what it meets, reduced to what the protocol is about.
//!
//! One file, a few pages, its two locks (fair), operations that break and tasks that pin. The
//! rules' state goes along with every state, fed with the events of each step.
//!
//! What the search says of the protocol (`tests/search.rs` repeats it):
//! - Pins that end, wherever they come from, hold no truncate up for good, and nothing
//!   deadlocks: not with faults in the middle of pinning, not with a second truncate.
//! - Endless direct I/O that pins under the inode lock starves no truncate, because a break keeps
//!   that lock. If it drops it, there is a fair cycle in which it starves: the livelock that was
//!   foretold in 2018.
//! - Endless pins from elsewhere (vmsplice, I/O to another device) *can* starve truncate, fairly,
//!   with no bug at all. Nothing in the protocol holds them off, and nothing can: whoever pins
//!   may need a fault to let go.
//!
//! It says nothing of reflink, copy-on-write, signals and write-back; those are run in random
//! schedules of the reference, which is no proof.

use std::string::ToString;
use std::vec::Vec;

use super::Transition;
use crate::event::{Counting, Event, Kind, flag};
use crate::{Bounds, Rules, rule::Rule};

/// What may be wrong with the break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// It ends after a page that went idle before it slept.
    RetryFlag,
    /// It does not unmap before it looks.
    NoUnmap,
    /// It drops the inode lock too while it sleeps.
    DropAllLocks,
    /// It keeps the invalidate lock while it sleeps.
    HoldInvalidateLock,
    /// Nobody wakes it.
    LostWakeup,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Truncates the file to nothing.
    Truncate,
    /// Pins all pages, one after the other, and lets them go.
    Pin {
        /// Takes the inode lock shared for the pinning, as direct I/O to the file does.
        under_inode_lock: bool,
        /// Does so for ever.
        endless: bool,
    },
}

/// A small configuration.
#[derive(Clone, Debug)]
pub struct Small {
    /// How pages are counted.
    pub shape: Counting,
    /// Pages of the file.
    pub pages: u8,
    /// The tasks.
    pub roles: Vec<Role>,
    /// What is wrong.
    pub bug: Option<Bug>,
}

/// A fair read-write lock: first come, first served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Lock {
    writer: Option<usize>,
    readers: Vec<usize>,
    queue: Vec<(usize, bool)>,
}

impl Lock {
    /// Whether `task` got it, asking for it if it has not asked yet.
    fn take(&mut self, task: usize, write: bool) -> bool {
        if !self.queue.iter().any(|(other, _)| *other == task) {
            self.queue.push((task, write));
        }
        let free = self.writer.is_none() && (!write || self.readers.is_empty());
        let first = self.queue[0].0 == task;
        if free && first {
            self.queue.remove(0);
            if write {
                self.writer = Some(task);
            } else {
                self.readers.push(task);
                self.readers.sort_unstable();
            }
            return true;
        }
        false
    }

    fn waits(&self, task: usize) -> bool {
        self.queue.iter().any(|(other, _)| *other == task)
    }

    fn release(&mut self, task: usize) {
        if self.writer == Some(task) {
            self.writer = None;
        }
        self.readers.retain(|other| *other != task);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ModelPage {
    mapped: bool,
    pins: u8,
    gone: bool,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Begin,
    /// Has what it needs of the inode lock.
    Locked,
    /// Looks for busy pages, holding both locks.
    Scan,
    /// Found one; about to wait.
    Found(u8),
    /// Asleep; the flag says that it was woken.
    Asleep(u8, bool),
    /// Takes the inode lock again, then the invalidate lock.
    Retake,
    RetakeInvalidate,
    /// Nothing is busy: gives the blocks away.
    Free,
    /// Pins page after page.
    Pin(u8),
    /// Faults, holding the invalidate lock.
    Flaw(u8),
    /// Has all pins, and lets them go from this one on.
    Unpin(u8),
    End,
}

/// A state of a [`Small`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelState {
    inode_lock: Lock,
    invalidate_lock: Lock,
    pages: Vec<ModelPage>,
    at: Vec<At>,
    rules: Rules,
}

impl super::Model for Small {
    type State = ModelState;

    fn initial(&self) -> ModelState {
        // Starvation is searched for as a cycle; the counters of the rule for it stay small.
        let bounds = Bounds { rescans: 4, newer_pins: 0, ..Bounds::reference(self.shape) };
        ModelState {
            inode_lock: Lock::default(),
            invalidate_lock: Lock::default(),
            pages: (0..self.pages)
                .map(|_| ModelPage { mapped: true, ..ModelPage::default() })
                .collect(),
            at: self.roles.iter().map(|_| At::Begin).collect(),
            rules: Rules::new(bounds),
        }
    }

    fn tasks(&self) -> usize {
        self.roles.len()
    }

    fn has_ended(&self, state: &ModelState, task: usize) -> bool {
        state.at[task] == At::End
    }

    fn must_end(&self, task: usize) -> bool {
        self.roles[task] == Role::Truncate
    }

    fn transitions(&self, state: &ModelState, task: usize) -> Vec<Transition<ModelState>> {
        let mut next = Successor { small: self, state: state.clone(), task, broken: None };
        let label = match self.roles[task] {
            Role::Truncate => next.truncate(),
            Role::Pin { under_inode_lock, endless } => next.pin(under_inode_lock, endless),
        };
        match label {
            Some(label) if next.state != *state || next.broken.is_some() => {
                Vec::from([Transition { label, next: next.state, broken: next.broken }])
            }
            _ => Vec::new(),
        }
    }
}

struct Successor<'a> {
    small: &'a Small,
    state: ModelState,
    task: usize,
    broken: Option<std::string::String>,
}

impl Successor<'_> {
    fn emit(&mut self, kind: Kind, page: Option<u8>, fill: impl FnOnce(&mut Event)) {
        let mut event = Event { inode: 1, task: self.task as u32 + 1, ..Event::new(kind) };
        if let Some(page) = page {
            let ModelPage { mapped, pins, .. } = self.state.pages[usize::from(page)];
            event.page = u64::from(page) + 1;
            event.index = page.into();
            (event.refs, event.maps) = match self.small.shape {
                Counting::IdleAtOne => (1 + i32::from(pins), 0),
                Counting::IdleAtZero => (i32::from(pins) + i32::from(mapped), mapped.into()),
            };
        }
        fill(&mut event);
        for finding in self.state.rules.step(&event) {
            if finding.rule != Rule::Livelock && self.broken.is_none() {
                self.broken = Some(finding.to_string());
            }
        }
    }

    fn go(&mut self, at: At) {
        self.state.at[self.task] = at;
    }

    /// Takes a lock; says so whether it got it or has begun to wait. No step if it still waits.
    fn lock(&mut self, inode: bool, write: bool, then: At) -> Option<&'static str> {
        let task = self.task;
        let lock = if inode { &mut self.state.inode_lock } else { &mut self.state.invalidate_lock };
        let waited = lock.waits(task);
        if lock.take(task, write) {
            self.go(then);
            return Some(if inode { "gets the inode lock" } else { "gets the invalidate lock" });
        }
        (!waited).then_some(if inode {
            "waits for the inode lock"
        } else {
            "waits for the invalidate lock"
        })
    }

    fn has(&self, bug: Bug) -> bool {
        self.small.bug == Some(bug)
    }

    fn truncate(&mut self) -> Option<&'static str> {
        match self.state.at[self.task] {
            At::Begin => self.lock(true, true, At::Locked),
            At::Locked => {
                let label = self.lock(false, true, At::Scan)?;
                if self.state.at[self.task] == At::Scan {
                    self.emit(Kind::BreakBegin, None, |event| event.count = u64::MAX);
                }
                Some(label)
            }
            At::Scan => Some(self.scan()),
            At::Found(page) => Some(self.wait(page)),
            At::Asleep(page, woken) => woken.then(|| {
                self.emit(Kind::WaitEnd, Some(page), |_| {});
                self.go(At::Retake);
                "wakes up"
            }),
            At::Retake if self.has(Bug::DropAllLocks) => {
                self.lock(true, true, At::RetakeInvalidate)
            }
            At::Retake | At::RetakeInvalidate if self.has(Bug::HoldInvalidateLock) => {
                self.go(At::Scan);
                Some("looks again")
            }
            At::Retake | At::RetakeInvalidate => self.lock(false, true, At::Scan),
            At::Free => {
                self.give_away();
                Some("gives the blocks away and ends")
            }
            _ => None,
        }
    }

    fn scan(&mut self) -> &'static str {
        if !self.has(Bug::NoUnmap) {
            for page in &mut self.state.pages {
                page.mapped = false;
            }
        }
        let busy = self.state.pages.iter().position(|page| page.pins > 0 && !page.gone);
        if let Some(page) = busy {
            self.emit(Kind::Scan, Some(page as u8), |_| {});
            self.go(At::Found(page as u8));
            return "unmaps and finds a busy page";
        }
        self.emit(Kind::Scan, None, |_| {});
        self.emit(Kind::BreakEnd, None, |_| {});
        self.go(At::Free);
        "unmaps and finds no busy page"
    }

    fn wait(&mut self, page: u8) -> &'static str {
        self.emit(Kind::WaitBegin, Some(page), |_| {});
        if self.state.pages[usize::from(page)].pins == 0 {
            self.emit(Kind::WaitEnd, Some(page), |_| {});
            if self.has(Bug::RetryFlag) {
                self.emit(Kind::BreakEnd, None, |_| {});
                self.go(At::Free);
                return "sees the page idle and does not look again";
            }
            self.go(At::Scan);
            return "sees the page idle already";
        }
        let mut held = flag::INODE_LOCK;
        if self.has(Bug::DropAllLocks) {
            self.state.inode_lock.release(self.task);
            held = 0;
        }
        if self.has(Bug::HoldInvalidateLock) {
            held |= flag::INVALIDATE_LOCK;
        } else {
            self.state.invalidate_lock.release(self.task);
        }
        // That it sleeps with the lock is judged by what comes of it.
        if held & flag::INVALIDATE_LOCK == 0 {
            self.emit(Kind::Sleep, Some(page), |event| event.detail = held);
        }
        self.go(At::Asleep(page, false));
        "drops what it must and sleeps"
    }

    fn give_away(&mut self) {
        for page in 0..self.small.pages {
            if self.state.pages[usize::from(page)].gone {
                continue;
            }
            // At the latest now nobody maps it any more.
            self.state.pages[usize::from(page)].mapped = false;
            self.emit(Kind::Remove, Some(page), |event| event.detail = flag::BREAK);
            self.emit(Kind::Free, Some(page), |event| event.count = 1);
            self.state.pages[usize::from(page)].gone = true;
        }
        self.state.invalidate_lock.release(self.task);
        self.state.inode_lock.release(self.task);
        self.go(At::End);
    }

    fn pin(&mut self, under_inode_lock: bool, endless: bool) -> Option<&'static str> {
        let last = self.small.pages;
        match self.state.at[self.task] {
            At::Begin if under_inode_lock => self.lock(true, false, At::Pin(0)),
            At::Begin => {
                self.go(At::Pin(0));
                Some("begins to pin")
            }
            At::Pin(page) if page == last => {
                self.state.inode_lock.release(self.task);
                self.go(At::Unpin(0));
                Some("has all pins")
            }
            // It asked for the lock and must take it, whatever else comes true meanwhile.
            At::Pin(page) if self.state.invalidate_lock.waits(self.task) => {
                self.lock(false, false, At::Flaw(page))
            }
            At::Pin(page) => {
                let here = &mut self.state.pages[usize::from(page)];
                if here.gone {
                    // Past the end of the file: it gives back what it has and stops.
                    self.state.inode_lock.release(self.task);
                    for page in 0..page {
                        self.unpin(page);
                    }
                    self.go(At::End);
                    return Some("finds the page gone and ends");
                }
                if here.mapped {
                    here.pins += 1;
                    let holder = self.task as i64 + 1;
                    self.emit(Kind::Pin, Some(page), |event| event.value = holder);
                    self.go(At::Pin(page + 1));
                    return Some("pins a mapped page");
                }
                self.lock(false, false, At::Flaw(page))
            }
            At::Flaw(page) => {
                self.state.pages[usize::from(page)].mapped |=
                    !self.state.pages[usize::from(page)].gone;
                self.state.invalidate_lock.release(self.task);
                self.go(At::Pin(page));
                Some("faults the page in")
            }
            At::Unpin(page) => {
                self.unpin(page);
                self.go(match (page + 1 == last, endless) {
                    (false, _) => At::Unpin(page + 1),
                    (true, true) => At::Begin,
                    (true, false) => At::End,
                });
                Some("lets a page go")
            }
            _ => None,
        }
    }

    fn unpin(&mut self, page: u8) {
        self.state.pages[usize::from(page)].pins -= 1;
        let holder = self.task as i64 + 1;
        self.emit(Kind::Unpin, Some(page), |event| event.value = holder);
        if self.state.pages[usize::from(page)].pins > 0 || self.has(Bug::LostWakeup) {
            return;
        }
        self.emit(Kind::Wake, Some(page), |_| {});
        for at in &mut self.state.at {
            if let At::Asleep(awaited, woken) = at
                && *awaited == page
            {
                *woken = true;
            }
        }
    }
}
