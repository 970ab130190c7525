//! Tasks that wait for a condition, as the kernel's wait queues have it.

use std::collections::VecDeque;

use crate::errno::{Answer, EINTR, Failure};
use crate::sync::{Mutex, lock};
use crate::task::{Interruptible, Task};

/// Tasks to be woken when something may have become true.
#[derive(Debug, Default)]
pub struct WaitQueue(Mutex<VecDeque<Task>>);

impl WaitQueue {
    /// Waits until `condition` holds. `sleep` is called with the task already queued, so that
    /// no wake-up is lost, and does the sleeping; it may drop locks around it.
    ///
    /// The order is that of `___wait_event`: queue, look, see to signals, sleep.
    pub fn wait(
        &self,
        task: &Task,
        interrupt: Interruptible,
        mut condition: impl FnMut() -> bool,
        mut sleep: impl FnMut() -> Answer<()>,
    ) -> Answer<()> {
        let answer = loop {
            self.enqueue(task);
            if condition() {
                break Ok(());
            }
            if task.is_interrupted(interrupt) {
                break Err(Failure::Errno(EINTR));
            }
            if let Err(end) = sleep() {
                break Err(end);
            }
        };
        lock(&self.0).retain(|other| other.id() != task.id());
        answer
    }

    fn enqueue(&self, task: &Task) {
        let mut queue = lock(&self.0);
        if queue.iter().all(|other| other.id() != task.id()) {
            queue.push_back(task.clone());
        }
    }

    /// Wakes all; how many there were.
    pub fn wake_all(&self) -> usize {
        let waiters: Vec<Task> = lock(&self.0).drain(..).collect();
        for waiter in &waiters {
            waiter.wake();
        }
        waiters.len()
    }
}
