//! Breaks under way, as the probes know them, and those of them that ended unseen.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};

/// What the probes know of a break under way: `BreakUnderWay` in tracer-ebpf/src/under_way.rs.
pub(crate) type BreakWords = [u64; 10];

/// Whether it waits, as far as was seen: the lower half of its last word.
fn waits(a_break: &BreakWords) -> bool {
    a_break[9] as u32 != 0
}

/// Whether a task has ended.
pub(crate) fn is_gone(task: u32) -> bool {
    !Path::new(&format!("/proc/{task}")).exists()
}

/// Between two looks at the breaks under way.
const PAUSE: Duration = Duration::from_millis(5);

/// The probes' table of breaks under way.
pub(crate) struct Breaks {
    map: HashMap<MapData, u32, BreakWords>,
    /// Breaks that were found to have ended unseen.
    returns: u64,
}

impl Breaks {
    /// Those of `map`.
    pub(crate) fn new(map: HashMap<MapData, u32, BreakWords>) -> Self {
        Self { map, returns: 0 }
    }

    /// How many were found to have ended unseen.
    pub(crate) fn returns(&self) -> u64 {
        self.returns
    }

    /// Looks for breaks that ended unseen, which [`Breaks::returns`] then counts: those of tasks
    /// that are gone.
    ///
    /// The kernel counts what a probe missed; no counter shows this.
    pub(crate) fn settle(&mut self) {
        // Whoever asks for a break's state keeps kprobes from running meanwhile; for its task, not.
        let tasks: Vec<u32> = self.map.keys().filter_map(Result::ok).collect();
        for task in tasks {
            if is_gone(task)
                && let Ok(a_break) = self.map.get(&task, 0)
            {
                self.returns += self.forget(task, &a_break);
            }
        }
    }

    /// The same, and of those tasks that for so long neither waited in their break nor came to its
    /// end. One that began another break meanwhile is looked at again the next time.
    pub(crate) fn settle_all(&mut self, patience: Duration) {
        self.settle();
        let deadline = Instant::now() + patience;
        let begun = self.open();
        loop {
            let mut open = self.open();
            open.retain(|known| !waits(&known.1) && begun.contains(known));
            if open.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                for (task, a_break) in open {
                    self.returns += self.forget(task, &a_break);
                }
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Breaks under way.
    fn open(&self) -> Vec<(u32, BreakWords)> {
        self.map.iter().filter_map(Result::ok).collect()
    }

    /// Takes a break out of what the probes know, if that is still the same; how many.
    fn forget(&mut self, task: u32, a_break: &BreakWords) -> u64 {
        let still = self.map.get(&task, 0).is_ok_and(|now| now == *a_break);
        u64::from(still && self.map.remove(&task).is_ok())
    }
}
