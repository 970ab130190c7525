//! A place in the history, which the rules remember only to tell of it later.

use core::hash::{Hash, Hasher};

use crate::event::Event;

/// The number and the time of an event.
///
/// All marks compare equal and hash to nothing: when and as how many-th something happened is
/// evidence, not state. Two histories that differ in nothing else have the same future, and a
/// search must be able to see that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) number: u64,
    pub(crate) time: u64,
}

impl Mark {
    /// The mark of the `number`-th event.
    pub(crate) fn of(number: u64, event: &Event) -> Self {
        Self { number, time: event.time }
    }

    /// How long ago this was at `time`.
    pub(crate) fn age(self, time: u64) -> u64 {
        time.saturating_sub(self.time)
    }
}

impl PartialEq for Mark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Mark {}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
