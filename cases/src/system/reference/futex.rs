//! Words of files for which tasks wait. What a word holds is the case's affair.

use std::collections::BTreeMap;

use reference::sync::{Arc, Leaf};
use reference::{Answer, Interruptible, Sleep, Task, Vma, WaitQueue};

/// The first words of pages, by inode and index: whichever mapping one waits in, it is the same word.
#[derive(Debug, Default)]
pub(super) struct Futexes(Leaf<BTreeMap<(u64, u64), Arc<FutexWord>>>);

impl Futexes {
    /// The first word of a mapping.
    pub(super) fn at(&self, vma: &Vma) -> Arc<FutexWord> {
        let key = (vma.inode.number, vma.first);
        self.0.with(|words| Arc::clone(words.entry(key).or_default()))
    }
}

/// A word.
#[derive(Debug, Default)]
pub(super) struct FutexWord {
    /// How often somebody has woken those who wait.
    wakes: Leaf<u64>,
    waiters: WaitQueue,
}

impl FutexWord {
    /// Waits to be woken.
    pub(super) fn wait(&self, task: &Task) -> Answer<()> {
        let wakes = || self.wakes.with(|wakes| *wakes);
        let before = wakes();
        self.waiters.wait(
            task,
            Interruptible::Signal,
            || wakes() != before,
            || task.park(Sleep::For("futex")),
        )
    }

    /// Wakes all; how many there were.
    pub(super) fn wake(&self) -> u64 {
        self.wakes.with(|wakes| *wakes += 1);
        self.waiters.wake_all() as u64
    }
}
