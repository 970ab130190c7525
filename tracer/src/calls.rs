//! Calls under way, as the probes remember them for their return, and those of them whose return was missed.

use aya::maps::{HashMap, MapData};

use crate::breaks::is_gone;

/// The table that the probes keep: `CALLS` in tracer-ebpf/src/call.rs. Its key has the task in the upper
/// bits, and in the lowest byte which function it is in (`Call` there).
pub(crate) struct Calls {
    map: HashMap<MapData, u64, u64>,
    /// Returns that were found to have been missed.
    returns: u64,
}

/// `Call::Fault`, the one whose probes come and go.
const FAULT: u64 = 4;

impl Calls {
    /// Those of `map`.
    pub(crate) fn new(map: HashMap<MapData, u64, u64>) -> Self {
        Self { map, returns: 0 }
    }

    /// How many returns were found to have been missed.
    pub(crate) fn returns(&self) -> u64 {
        self.returns
    }

    /// Looks for calls of tasks that are gone, which [`Calls::returns`] then counts. One of a task that lives is
    /// noticed by the probes when the task comes to that function again.
    ///
    /// The kernel counts what a probe missed, but not always (bcc#2825).
    pub(crate) fn settle(&mut self) {
        for key in self.keys() {
            if is_gone((key >> 8) as u32) {
                self.returns += u64::from(self.map.remove(&key).is_ok());
            }
        }
    }

    /// Forgets the faults under way: the probe of their return is gone.
    pub(crate) fn forget_faults(&mut self) {
        for key in self.keys().into_iter().filter(|key| key & 0xff == FAULT) {
            // It is gone if its return came first.
            let _ = self.map.remove(&key);
        }
    }

    fn keys(&self) -> Vec<u64> {
        self.map.keys().filter_map(Result::ok).collect()
    }
}
