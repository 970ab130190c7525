//! What the rules must be told before they can judge: how pages are counted, and the bounds.
//!
//! The protocol says "in bounded time" and "without starving"; it names no number. The numbers
//! are here, one set for a kernel and one for the reference, so that the rules have none.

use crate::event::Counting;

/// The page counting and the bounds that [`crate::Rules`] judges with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// How references of a page are counted.
    pub shape: Counting,
    /// A break may find a busy page this often without sleeping in between. It is not one: a
    /// page can go idle between scan and wait, and then there is nothing to sleep for.
    pub rescans: u32,
    /// A break may be held up by this many pins that were taken after it began.
    pub newer_pins: u32,
    /// A break younger than this is never called starved. In the unit of [`crate::Event::time`].
    pub patience: u64,
    /// A waiter must be up this long after its page went idle. In the unit of
    /// [`crate::Event::time`].
    pub wake: u64,
    /// A fault, mmap, munmap, fsync or stat must finish within this while a break waits. In the
    /// unit of [`crate::Event::time`].
    pub progress: u64,
    /// The history ends because nobody can go on, not because somebody stopped watching:
    /// whatever still waits then, waits for ever.
    pub quiescent: bool,
}

const SECOND: u64 = 1_000_000_000;

impl Bounds {
    /// Bounds for a kernel trace, whose times are nanoseconds.
    ///
    /// They are wide, because the kernel may run in an emulator with fewer processors than it
    /// thinks it has: a finding must not rest on the scheduler of the host.
    pub fn kernel(shape: Counting) -> Self {
        Self {
            shape,
            rescans: 1000,
            newer_pins: 64,
            patience: 10 * SECOND,
            wake: SECOND,
            progress: 5 * SECOND,
            quiescent: false,
        }
    }

    /// Bounds for a run of the reference, whose times are logical ticks.
    ///
    /// No rule looks at the time here, so two [`crate::Rules`]s that compare equal have the same
    /// future: an exhaustive search may treat them as one.
    pub fn reference(shape: Counting) -> Self {
        Self {
            shape,
            rescans: 16,
            newer_pins: 16,
            patience: 0,
            wake: u64::MAX,
            progress: u64::MAX,
            quiescent: true,
        }
    }
}
