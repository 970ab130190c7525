//! The thread that empties the ring as fast as it fills, and the queue it empties it into.
//!
//! The ring is small and its writers never wait: what finds no room is gone. Judging a record
//! takes many times as long as copying it, and the judge has other things to do as well. So
//! nothing but this thread reads the ring, and it does nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use protocol::{Event, Kind};

use crate::options::Options;
use crate::sys;

/// Records that wait in the queue at most: 320 MiB. What is beyond is counted as lost.
const LIMIT: usize = 4 << 20;

/// Records that are taken from the ring before they are handed on.
const BATCH: usize = 4096;

/// How long the ring is left alone at most once it was empty: each look takes time from what is
/// traced.
const PAUSE: Duration = Duration::from_millis(16);

/// How long a ring with room for so many records is left alone: two million a second still find
/// room, which leaves some for a host that lets this thread run late.
fn pause(room: usize) -> Duration {
    Duration::from_micros(room as u64 / 2).clamp(Duration::from_micros(500), PAUSE)
}

/// How long to wait for the thread to have looked at the ring, on a host that is busy; multiplied by
/// `Options::patience`.
const PATIENCE: Duration = Duration::from_secs(20);

/// A ring that is being emptied. Dropping it ends that.
pub(crate) struct Drain {
    shared: Arc<Handover>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
}

#[derive(Default)]
struct Handover {
    queue: Mutex<Queue>,
    swept: Condvar,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<Event>,
    /// Names of tasks, asked for as soon as their first record is there.
    names: BTreeMap<u32, String>,
    /// Records that found no room here.
    dropped: u64,
    /// The most records that ever waited.
    peak: usize,
    /// Sweeps that were asked for, and the last of them that is over.
    asked: u64,
    done: u64,
    stop: bool,
}

impl Queue {
    fn put(&mut self, batch: &mut Vec<Event>) {
        let room = LIMIT.saturating_sub(self.records.len());
        let dropped = batch.len().saturating_sub(room);
        self.records.extend(batch.drain(..).take(room));
        if dropped > 0 {
            self.dropped += dropped as u64;
            // In its place, so that it is known what came before and what after. The one record
            // too many is the price of telling.
            self.records.push_back(Event { value: dropped as i64, ..Event::new(Kind::Lost) });
        }
        self.peak = self.peak.max(self.records.len());
    }
}

impl Drain {
    /// Begins to empty a ring of the size that `options` say.
    pub(crate) fn start(ring: RingBuf<MapData>, options: &Options) -> std::io::Result<Self> {
        let size = options.ring_size as usize;
        let shared = Arc::new(Handover::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("tracer-drain".to_owned())
            .spawn(move || empty(ring, size / size_of::<Event>(), &theirs))?;
        let patience = PATIENCE.mul_f64(options.patience);
        Ok(Self { shared, thread: Some(thread), patience })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().expect("nobody panics while holding the queue")
    }

    /// The records that are there, at most so many, the oldest first.
    pub(crate) fn take(&self, most: usize) -> VecDeque<Event> {
        let mut queue = self.queue();
        let most = most.min(queue.records.len());
        let rest = queue.records.split_off(most);
        std::mem::replace(&mut queue.records, rest)
    }

    /// Waits until everything that was recorded before this call is in the queue. False if the
    /// thread did not get to it.
    pub(crate) fn sweep(&self) -> bool {
        let mut queue = self.queue();
        queue.asked += 1;
        let asked = queue.asked;
        let deadline = Instant::now() + self.patience;
        while queue.done < asked {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.swept.wait_timeout(queue, left);
            queue = waited.expect("nobody panics while holding the queue").0;
        }
        true
    }

    /// How many records found no room in the queue.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue().dropped
    }

    /// The most records that ever waited in the queue.
    pub(crate) fn peak(&self) -> usize {
        self.queue().peak
    }

    /// The name of a task when its first record was seen.
    pub(crate) fn name(&self, task: u32) -> Option<String> {
        self.queue().names.get(&task).cloned()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let Ok(mut queue) = self.shared.queue.lock() {
            queue.stop = true;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread does; `room` is how many records the ring has room for.
fn empty(mut ring: RingBuf<MapData>, room: usize, shared: &Handover) {
    // What is lost without it is counted like everything else that is lost.
    let _ = sys::hurry();
    let mut batch = Vec::with_capacity(BATCH);
    let mut named = BTreeMap::new();
    let mut since = 0;
    loop {
        let (asked, stop) = match shared.queue.lock() {
            Ok(queue) => (queue.asked, queue.stop),
            Err(_) => return,
        };
        if stop {
            return;
        }
        while batch.len() < BATCH
            && let Some(record) = ring.next()
        {
            batch.extend(Event::from_bytes(&record));
        }
        let empty = batch.len() < BATCH;
        since += batch.len();
        for event in &batch {
            if event.task != 0 && !named.contains_key(&event.task) {
                let name = std::fs::read_to_string(format!("/proc/{}/comm", event.task));
                named.insert(event.task, name.unwrap_or_default().trim().to_owned());
            }
        }
        let Ok(mut queue) = shared.queue.lock() else {
            return;
        };
        queue.put(&mut batch);
        if queue.names.len() != named.len() {
            queue.names.clone_from(&named);
        }
        // A ring that is never empty has passed on whatever was in it once as much as it holds
        // was taken.
        if empty || since >= room {
            since = 0;
            queue.done = asked;
            shared.swept.notify_all();
        }
        drop(queue);
        if empty {
            thread::sleep(pause(room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_full_says_what_it_drops_and_where() {
        let mut queue = Queue::default();
        queue.put(&mut vec![Event::new(Kind::Pin); LIMIT - 1]);
        queue.put(&mut vec![Event::new(Kind::Unpin); 3]);
        assert_eq!(queue.dropped, 2);
        let last: Vec<_> = queue.records.iter().rev().take(2).collect();
        assert_eq!((last[0].kind, last[0].value), (Kind::Lost as u16, 2));
        assert_eq!(last[1].kind, Kind::Unpin as u16);
        queue.put(&mut vec![Event::new(Kind::Unpin); 1]);
        assert_eq!(queue.dropped, 3);
    }
}
