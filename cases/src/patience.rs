//! How patient a run is: one factor for every time limit.
//!
//! A limit only ends what hangs, and is chosen for an emulated machine. Whoever has a slower
//! one stretches all of them alike, those of the runner and those of the cases. A budget that only
//! says how much is tried, such as the length of a race, is no limit and stays.
//!
//! A [`Limit`] is no duration: only a [`Patience`] makes one of it, so that none is kept unstretched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time limit before it is stretched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Duration);

impl Limit {
    /// One of so many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// One of so many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// One of so many minutes.
    pub const fn mins(minutes: u64) -> Self {
        Self(Duration::from_mins(minutes))
    }
}

/// What every time limit is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patience(f64);

impl Patience {
    /// Limits are multiplied by `factor`, which must be finite and positive.
    pub const fn times(factor: f64) -> Self {
        Self(factor)
    }

    /// The factor.
    pub const fn factor(self) -> f64 {
        self.0
    }

    /// A limit as it is to be kept.
    pub fn of(self, limit: Limit) -> Duration {
        limit.0.mul_f64(self.0)
    }

    /// The same for a count of something that passes with time.
    pub fn count(self, count: u64) -> u64 {
        Duration::from_secs(count).mul_f64(self.0).as_secs().max(1)
    }
}

/// How long to pause before the next look at what has been waited for as long as `waited`. What comes
/// soon is seen soon; what never comes does not keep a CPU of an emulated machine busy.
pub fn pause(waited: Duration) -> Duration {
    (waited / 16).clamp(Duration::from_millis(2), Duration::from_millis(100))
}

impl Default for Patience {
    fn default() -> Self {
        Self::times(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_apart_as_the_wait_grows() {
        assert_eq!(pause(Duration::ZERO), Duration::from_millis(2));
        assert_eq!(pause(Duration::from_millis(800)), Duration::from_millis(50));
        assert_eq!(pause(Duration::from_mins(1)), Duration::from_millis(100));
    }

    #[test]
    fn a_limit_is_stretched_and_never_none() {
        let patience = Patience::times(2.5);
        assert_eq!(patience.of(Limit::secs(10)), Duration::from_secs(25));
        assert_eq!(patience.of(Limit::millis(10)), Duration::from_millis(25));
        assert_eq!(patience.of(Limit::mins(10)), Duration::from_mins(25));
        assert_eq!(patience.count(30), 75);
        assert_eq!(Patience::times(0.1).count(4), 1);
        assert_eq!(Patience::default().of(Limit::secs(10)), Duration::from_secs(10));
    }
}
