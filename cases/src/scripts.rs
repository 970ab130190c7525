//! Races of a case: scripts that run against each other until they have had their rounds.

use std::time::{Duration, Instant};

use crate::action::VarId;
use crate::patience::Limit;
use crate::test::{Checked, Ending, Op, Stop, Test, check_result, fail};

/// How long a race runs at most, once it has had [`FEWEST`] rounds. It says how much is tried and
/// limits nothing.
const RACE: Duration = Duration::from_secs(20);

/// How many rounds a race has on the slowest of machines.
const FEWEST: u64 = 200;

/// How long no round of a race may end before it is said to hang.
const STANDSTILL: Limit = Limit::mins(1);

/// The variables that the scripts of a race have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Race {
    /// Counts the rounds of the main script.
    pub(crate) rounds: VarId,
    /// Ends all scripts.
    pub(crate) stop: VarId,
    /// Counts violations.
    pub(crate) missed: VarId,
}

impl Test<'_> {
    /// The variables of a race.
    pub(crate) fn new_race(&mut self) -> Race {
        let [rounds, stop, missed] = self.new_vars();
        Race { rounds, stop, missed }
    }

    /// Lets the scripts of a race run until `main` has done all its rounds, `missed` is counted,
    /// or they have had their time; a race that stands still hangs. Returns the rounds done,
    /// which `main` counts in `rounds`.
    pub(crate) fn race(&mut self, main: &Op, others: &[&Op], race: &Race) -> Checked<u64> {
        let begun = Instant::now();
        let mut last = (0, Instant::now());
        loop {
            let ended = self.returned_within(main, 1)?;
            let rounds = self.var(race.rounds);
            if rounds != last.0 {
                last = (rounds, Instant::now());
            }
            let enough = begun.elapsed() > RACE && rounds >= FEWEST;
            if ended.is_some() || enough || self.var(race.missed) != 0 {
                self.set_var(race.stop, 1);
                if ended.is_none() {
                    self.succeeded(main)?;
                } else {
                    check_result(ended.as_ref())?;
                }
                for op in others {
                    self.succeeded(op)?;
                }
                self.note("rounds", &rounds);
                return Ok(rounds);
            }
            let still = last.1.elapsed();
            if still > self.limit(STANDSTILL) {
                let state = self.describe();
                self.set_var(race.stop, 1);
                return Err(Stop(Ending::Hang(format!(
                    "the race stood still for {} s after round {rounds}\n{state}",
                    still.as_secs()
                ))));
            }
        }
    }
}

/// A race that was never run shows nothing: `count` of `what` must not be 0.
pub(crate) fn exercised(what: &str, count: u64) -> Checked {
    if count == 0 {
        return fail(
            &format!("{what}, at least once"),
            "never: not exercised",
            "the pauses of the race",
        );
    }
    Ok(())
}
