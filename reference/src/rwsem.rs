//! A fair read-write semaphore whose guards say who holds it.
//!
//! First come, first served: a reader that comes after a waiting writer waits too, as the
//! kernel's `rw_semaphore` has it. This is what makes "a fault needs the invalidate lock" a
//! deadlock when a break keeps it.

use std::collections::VecDeque;

use crate::errno::Answer;
use crate::sync::{Mutex, lock};
use crate::task::{Sleep, Task};

/// The semaphore.
#[derive(Debug)]
pub struct Rwsem {
    name: &'static str,
    state: Mutex<LockState>,
}

#[derive(Debug, Default)]
struct LockState {
    readers: u32,
    writer: bool,
    queue: VecDeque<(Task, bool)>,
    /// Tasks that were handed the lock and do not know yet.
    granted: Vec<u32>,
}

impl LockState {
    fn free_for(&self, write: bool) -> bool {
        !self.writer && (!write || self.readers == 0)
    }

    fn take(&mut self, write: bool) {
        if write {
            self.writer = true;
        } else {
            self.readers += 1;
        }
    }

    /// Hands the lock to those at the head of the queue.
    fn grant(&mut self) {
        while let Some((task, write)) = self.queue.front().cloned() {
            if !self.free_for(write) {
                break;
            }
            self.take(write);
            self.granted.push(task.id());
            self.queue.pop_front();
            task.wake();
        }
    }
}

/// The lock, held shared.
#[derive(Debug)]
pub struct Shared<'a>(&'a Rwsem);

/// The lock, held exclusively.
#[derive(Debug)]
pub struct Exclusive<'a> {
    lock: &'a Rwsem,
    /// False only while [`Exclusive::unlocked`] runs, and for good if the run ended there.
    held: bool,
}

impl Rwsem {
    /// A free lock; `name` is what the kernel calls it.
    pub fn new(name: &'static str) -> Self {
        Self { name, state: Mutex::new(LockState::default()) }
    }

    /// Takes it shared.
    pub fn read(&self, task: &Task) -> Answer<Shared<'_>> {
        self.acquire(task, false)?;
        Ok(Shared(self))
    }

    /// Takes it exclusively.
    pub fn write(&self, task: &Task) -> Answer<Exclusive<'_>> {
        self.acquire(task, true)?;
        Ok(Exclusive { lock: self, held: true })
    }

    fn acquire(&self, task: &Task, write: bool) -> Answer<()> {
        let mut state = lock(&self.state);
        if state.queue.is_empty() && state.free_for(write) {
            state.take(write);
            return Ok(());
        }
        state.queue.push_back((task.clone(), write));
        drop(state);
        loop {
            let slept = task.park(Sleep::Lock(self.name));
            let mut state = lock(&self.state);
            if let Some(at) = state.granted.iter().position(|id| *id == task.id()) {
                state.granted.swap_remove(at);
                return Ok(());
            }
            if let Err(end) = slept {
                state.queue.retain(|(other, _)| other.id() != task.id());
                return Err(end);
            }
        }
    }

    fn release(&self, write: bool) {
        let mut state = lock(&self.state);
        if write {
            state.writer = false;
        } else {
            state.readers -= 1;
        }
        state.grant();
    }

    /// Releases the lock as somebody who only believes to hold it does; whether it was held.
    pub(crate) fn release_blindly(&self) -> bool {
        let mut state = lock(&self.state);
        let held = state.writer;
        if held {
            state.writer = false;
            state.grant();
        }
        held
    }

    /// Keeps it for good: what forgetting to release it does.
    pub(crate) fn leak(guard: Exclusive<'_>) {
        std::mem::forget(guard);
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.0.release(false);
    }
}

impl Exclusive<'_> {
    /// Gives the lock up.
    pub fn give_up(&mut self) {
        if std::mem::take(&mut self.held) {
            self.lock.release(true);
        }
    }

    /// Takes it again after [`Exclusive::give_up`].
    pub fn retake(&mut self, task: &Task) -> Answer<()> {
        if !self.held {
            self.lock.acquire(task, true)?;
            self.held = true;
        }
        Ok(())
    }

    /// Whether it is held at this moment.
    pub fn is_held(&self) -> bool {
        self.held
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}
