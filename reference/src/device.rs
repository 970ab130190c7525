//! The device that direct I/O goes to: it completes when told, or after a while.

use std::collections::VecDeque;
use std::time::Duration;

use crate::errno::Answer;
use crate::fs::Fs;
use crate::gup::{Dropper, Pins};
use crate::io::Direction;
use crate::sync::{Arc, Mutex, lock, pass};
use crate::task::{Interrupt, Place, Task};
use crate::waitqueue::WaitQueue;

/// A transfer between the device and pinned pages.
#[derive(Debug)]
pub struct Transfer {
    /// The pages.
    pub pins: Pins,
    /// Which way.
    pub direction: Direction,
    /// What the device has to give.
    pub byte: u8,
    /// Told to whoever waits.
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
    /// Waits for a completion: its tag and what was transferred.
    pub fn reap(&self, task: &Task) -> Answer<(u64, Vec<u8>)> {
        loop {
            if let Some(finished) = lock(&self.finished).pop_front() {
                return Ok(finished);
            }
            self.waiters.wait(
                task,
                Interrupt::Signal,
                || !lock(&self.finished).is_empty(),
                || task.park(Place::For("completion of direct I/O")),
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

    /// The device's own task, until the run is over.
    ///
    /// It completes the older half of what is in flight at a time, so that a load that keeps
    /// it busy always has something in flight.
    pub fn serve(fs: &Fs, task: &Task) -> Answer<()> {
        let device = &fs.device;
        loop {
            device.arrivals.wait(
                task,
                Interrupt::Never,
                || !lock(&device.queue).is_empty(),
                || task.park(Place::Idle),
            )?;
            pass(LATENCY);
            let batch: Vec<_> = {
                let mut queue = lock(&device.queue);
                let half = queue.len().div_ceil(2);
                queue.drain(..half).collect()
            };
            for transfer in batch {
                let content = fs.transfer(task, &transfer.pins, transfer.direction, transfer.byte);
                fs.unpin(task, &transfer.pins, Dropper::Device);
                let ring = transfer.ring;
                lock(&ring.finished).push_back((transfer.tag, content));
                ring.waiters.wake_all();
            }
        }
    }
}
