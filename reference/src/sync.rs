//! The primitives everything else is made of, named once.
//!
//! Real threads by default; with the feature `shuttle` the same code runs under a model
//! checker that decides every switch. No other file names either.

#[cfg(not(feature = "shuttle"))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(feature = "shuttle")]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

pub use std::sync::{Arc, Weak};

use std::sync::Mutex as Plain;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Locks; a panic of another holder does not make the data unusable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Waits on `condvar`; spurious returns are possible.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    match condvar.wait(guard) {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Waits on `condvar` for a while. Under the model checker, which has no time, it only gives
/// others a turn.
pub fn wait_a_while<'a, T>(
    mutex: &'a Mutex<T>,
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    if cfg!(feature = "shuttle") {
        drop(guard);
        thread::yield_now();
        return lock(mutex);
    }
    match condvar.wait_timeout(guard, time) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

/// The longest turn: time for the device to complete all that a load has in flight.
const LONGEST_TURN: Duration = Duration::from_millis(10);

/// Gives others a turn, at a moment where history says that something may slip in: mostly a short
/// one, and one time in eight a turn of up to [`LONGEST_TURN`], for on an idle machine what slips
/// in never comes within a short one. The model checker tries all moments by itself.
pub fn turn() {
    static TURNS: AtomicU32 = AtomicU32::new(0);
    if cfg!(feature = "shuttle") {
        return;
    }
    let lot = TURNS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9);
    if lot >> 29 == 0 {
        sleep(LONGEST_TURN * (lot >> 24) / 32);
    } else {
        thread::yield_now();
    }
}

/// Lets a device take its time. The model checker has none.
pub fn pass(time: Duration) {
    if cfg!(feature = "shuttle") {
        thread::yield_now();
    } else {
        sleep(time);
    }
}

/// A lock around plain data, never held across anything that may switch tasks, and therefore
/// invisible to the model checker.
#[derive(Debug, Default)]
pub struct Leaf<T>(Plain<T>);

impl<T> Leaf<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(Plain::new(value))
    }

    /// Does something with the data; `f` must neither block nor switch.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        match self.0.lock() {
            Ok(mut guard) => f(&mut guard),
            Err(poisoned) => f(&mut poisoned.into_inner()),
        }
    }
}

/// A flag that the model checker need not see.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Raises it.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
