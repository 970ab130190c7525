//! The device that direct I/O goes to: it completes when told, or after a while.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::errno::Answer;
use crate::pins::Pins;
use crate::sync::{Arc, Mutex, lock, pass};
use crate::task::{Interruptible, Sleep, Task};
use crate::waitqueue::WaitQueue;

/// Which way direct I/O moves data, seen from the pinned memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// The device reads the pages: a write(2) to it. A read pin.
    FromMemory,
    /// The device writes the pages: a read(2) from it. A write pin.
    IntoMemory,
}

/// A transfer between the device and pinned pages.
#[derive(Debug)]
pub struct Transfer {
    /// The pages.
    pub pins: Pins,
    /// Which way.
    pub direction: Direction,
    /// What the device has to give.
    pub byte: u8,
    /// Handed to the waiter.
    pub tag: u64,
    /// Who is told.
    pub ring: Arc<Ring>,
}

/// Where completions arrive.
#[derive(Debug, Default)]
pub struct Ring {
    finished: Mutex<VecDeque<(u64, Vec<u8>)>>,
    waiters: WaitQueue,
}

impl Ring {
    /// A transfer is over.
    pub(crate) fn finish(&self, tag: u64, content: Vec<u8>) {
        lock(&self.finished).push_back((tag, content));
        self.waiters.wake_all();
    }

    /// Waits for a completion: its tag and what was transferred.
    pub fn reap(&self, task: &Task) -> Answer<(u64, Vec<u8>)> {
        loop {
            if let Some(finished) = lock(&self.finished).pop_front() {
                return Ok(finished);
            }
            self.waiters.wait(
                task,
                Interruptible::Signal,
                || !lock(&self.finished).is_empty(),
                || task.park(Sleep::For("completion of direct I/O")),
            )?;
        }
    }
}

/// The device.
#[derive(Debug)]
pub struct Device {
    queue: Mutex<VecDeque<Transfer>>,
    arrivals: WaitQueue,
}

/// How long the device takes for what it completes at a time: as the slow device of the kernel's
/// cases. What keeps it busy needs less to submit anew.
const LATENCY: Duration = Duration::from_millis(2);

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Device {
    /// An idle one.
    pub fn new() -> Self {
        Self { queue: Mutex::default(), arrivals: WaitQueue::default() }
    }

    /// Hands a transfer to the device, which completes it after a while.
    pub fn submit(&self, transfer: Transfer) {
        lock(&self.queue).push_back(transfer);
        self.arrivals.wake_all();
    }

    /// The older half of what is in flight, once the device has taken its time.
    pub(crate) fn batch(&self, task: &Task) -> Answer<Vec<Transfer>> {
        self.arrivals.wait(
            task,
            Interruptible::Never,
            || !lock(&self.queue).is_empty(),
            || task.park(Sleep::Idle),
        )?;
        pass(LATENCY);
        let mut queue = lock(&self.queue);
        let half = queue.len().div_ceil(2);
        Ok(queue.drain(..half).collect())
    }
}
