//! Whether an operation is blocked, spins or was forgotten: judged by what its task does, and by
//! what holds it up.
//!
//! An operation is *blocked* when its task sleeps and does not move although nothing but a pin, or
//! another operation of the case, can hold it up: all other tasks of the case sleep as well, and
//! the [`control`](super::control) experiment goes through on the same file system meanwhile. The
//! function in which a task sleeps is no part of this. Who changes the layout break renames just
//! these functions; the names that released kernels have only spare the experiment.
//!
//! That it was the pin is shown at its release: the last pin must be what ends the sleep.

use std::time::{Duration, Instant};

use super::control::Round;
use super::proc::Glance;
use super::{KernelSystem, PATIENCE};
use crate::action::PinId;
use crate::patience::{Limit, pause};
use crate::system::{Done, HoldId, Look, OpId, Released, System as _, Tried, Trouble, WaitChannel};

/// From one look to the next while an operation is waited for: nearly all return before the first.
const APART: Duration = Duration::from_millis(100);

/// How many looks in a row must find a task asleep and unmoved.
const LOOKS: u32 = 4;

/// How many looks in a row must find a task asleep and unmoved while another is held. The experiment
/// cannot be made then: who stands may have what it needs.
const LOOKS_BESIDE: u32 = 8;

/// How many rounds of the control experiment must go through while a task does not move.
const ROUNDS: u32 = 3;

/// How long a task must not have moved before it counts as blocked although other tasks of the
/// case run, or although the experiment cannot be made.
const REST: Limit = Limit::secs(5);

/// How many rounds of the control experiment must go through while a task sleeps on after the last
/// pin has gone before it is said to have been forgotten. The wake-up comes with the release
/// itself; each round has the file system sync, and with it the kernel's own threads run.
const FORGOTTEN_ROUNDS: u32 = 30;

/// How long it must have slept on before the experiment begins.
const SETTLED: Limit = Limit::secs(1);

/// How long it must sleep on where the experiment cannot be made.
const FORGOTTEN: Limit = Limit::secs(10);

/// Clock ticks that an operation may run in the kernel without settling: 3 s, which no operation
/// on a few pages takes, since time off the processor does not count.
const SPIN: u64 = 300;

/// The most of them that count from one look to the next: a virtual machine that stood still in
/// between may take that for time that its task ran.
const LEAP: u64 = 10;

/// Tasks that are looked at again and again.
#[derive(Debug)]
struct WatchedTasks {
    tasks: Vec<Option<Glance>>,
    /// How many looks in a row found them as they are.
    looks: u32,
    since: Instant,
    mark: Round,
}

impl WatchedTasks {
    fn new() -> Self {
        Self { tasks: Vec::new(), looks: 0, since: Instant::now(), mark: Round::default() }
    }

    /// Whether the tasks are as they were.
    fn is(&self, tasks: &[Option<Glance>]) -> bool {
        self.tasks == tasks
    }

    fn see(&mut self, tasks: Vec<Option<Glance>>, mark: Round) {
        if tasks == self.tasks {
            self.looks += 1;
        } else {
            *self = Self { tasks, looks: 0, since: Instant::now(), mark };
        }
    }

    /// Whether all of them sleep and none has moved for some looks.
    fn rests(&self) -> bool {
        let asleep = |task: &Option<Glance>| task.as_ref().is_some_and(Glance::sleeps);
        self.looks >= LOOKS && !self.tasks.is_empty() && self.tasks.iter().all(asleep)
    }

    /// Whether all of them are known to wait, for a lock or in the layout break, and one does in
    /// the break: then those that wait hold the locks, and nothing moves until a pin or a signal
    /// comes.
    fn is_known_to_be_closed(&self) -> bool {
        let breaks =
            |glance: &Glance| glance.sleeps() && glance.wait_channel() == WaitChannel::LayoutBreak;
        self.tasks.iter().flatten().any(breaks)
            && self
                .tasks
                .iter()
                .all(|task| task.as_ref().is_some_and(|task| breaks(task) || task.waits_for_lock()))
    }
}

/// An operation that was found blocked, as it was then.
#[derive(Debug)]
pub(super) struct Rested {
    glance: Glance,
    /// How many releases and signals there had been.
    stirred: u64,
}

/// The time that a task has run in the kernel since it was first looked at.
struct Ticks {
    ran: u64,
    before: u64,
}

impl Ticks {
    fn new(glance: Option<&Glance>) -> Self {
        Self { ran: 0, before: glance.map_or(0, |glance| glance.ran) }
    }

    fn see(&mut self, glance: Option<&Glance>) {
        if let Some(glance) = glance {
            self.ran += glance.ran.saturating_sub(self.before).min(LEAP);
            self.before = glance.ran;
        }
    }
}

impl KernelSystem {
    fn glance(&self, op: OpId) -> Tried<Option<Glance>> {
        let task = self.task(self.operation(op)?.task)?;
        Ok(Glance::at(task.pid, task.tid))
    }

    /// A look at every task that does something.
    fn glances(&mut self) -> Tried<Vec<Option<Glance>>> {
        let ids: Vec<_> =
            self.tasks.iter().filter(|(_, task)| task.is_busy()).map(|(id, _)| *id).collect();
        for id in ids {
            // It may be done and only not have been listened to.
            self.hear(id, Duration::ZERO)?;
        }
        let tasks = self.tasks.values().filter(|task| task.is_busy());
        Ok(tasks.map(|task| Glance::at(task.pid, task.tid)).collect())
    }

    /// As [`crate::system::System::look`].
    pub(super) fn seen(&mut self, op: OpId) -> Tried<Look> {
        if let Some(end) = self.ended(op, Duration::ZERO)? {
            return Ok(end);
        }
        Ok(match self.glance(op)? {
            Some(glance) if glance.sleeps() => Look::Blocked(glance.wait_channel()),
            _ => Look::Running,
        })
    }

    /// As [`crate::system::System::settle`].
    pub(super) fn settled(&mut self, op: OpId) -> Tried<Look> {
        if let Some(place) = self.still_rests(op)? {
            return Ok(Look::Blocked(place));
        }
        // Nobody is asked about a hold, so it cannot be said to stand at one.
        let look = self.judged(op, None)?.unwrap_or(Look::Running);
        self.rested.remove(&op);
        if let (Look::Blocked(_), Some(glance)) = (&look, self.glance(op)?.filter(Glance::sleeps)) {
            self.rested.insert(op, Rested { glance, stirred: self.stirred });
        }
        Ok(look)
    }

    /// Where `op` sleeps if it was found blocked before and has slept on since: nothing was released
    /// and nobody signalled, and its task has not run once. What others began meanwhile has not
    /// woken it, and whoever ends a wait wakes the waiter before going on.
    fn still_rests(&mut self, op: OpId) -> Tried<Option<WaitChannel>> {
        let known = self.rested.get(&op).is_some_and(|rested| rested.stirred == self.stirred);
        if !known || self.ended(op, Duration::ZERO)?.is_some() {
            return Ok(None);
        }
        let now = self.glance(op)?;
        let then = self.rested.get(&op).map(|rested| &rested.glance);
        Ok(now.filter(|now| Some(now) == then).map(|now| now.wait_channel()))
    }

    /// Looks until it is clear what `op` does; none if it stands at `hold`.
    ///
    /// While anybody is held, sleeping on without having moved is all that there is to see.
    pub(super) fn judged(&mut self, op: OpId, hold: Option<HoldId>) -> Tried<Option<Look>> {
        let patience = self.setup.patience;
        let begun = Instant::now();
        let (mut own, mut all) = (WatchedTasks::new(), WatchedTasks::new());
        let mut ticks = None;
        loop {
            // Nearly all return before the first look.
            if let Some(end) = self.ended(op, pause(begun.elapsed()))? {
                return Ok(Some(end));
            }
            if let Some(hold) = hold
                && self.is_held(hold)?
            {
                return Ok(None);
            }
            let glance = self.glance(op)?;
            let ticks = ticks.get_or_insert_with(|| Ticks::new(glance.as_ref()));
            ticks.see(glance.as_ref());
            if ticks.ran > patience.count(SPIN) {
                return Ok(Some(Look::Running));
            }
            let place = glance.as_ref().map(Glance::wait_channel);
            own.see(vec![glance], self.control.mark());
            let late = begun.elapsed() > patience.of(PATIENCE);
            if let (true, Some(place)) = (own.rests(), place) {
                if place == WaitChannel::LayoutBreak {
                    return Ok(Some(Look::Blocked(place)));
                }
                if self.is_anybody_held()? {
                    if own.looks >= LOOKS_BESIDE {
                        return Ok(Some(Look::Blocked(place)));
                    }
                    continue;
                }
                let now = self.glances()?;
                all.see(now, self.control.mark());
                let known = all.rests() && all.is_known_to_be_closed();
                if known || late || self.is_blocked(&own, &all)? {
                    return Ok(Some(Look::Blocked(place)));
                }
            } else if late {
                return Ok(Some(Look::Running));
            }
        }
    }

    /// Whether nothing but a pin or another operation of the case can hold `own` up.
    fn is_blocked(&mut self, own: &WatchedTasks, all: &WatchedTasks) -> Tried<bool> {
        let rested = own.since.elapsed() > self.setup.patience.of(REST);
        if self.control.rounds_since(own.mark)? >= ROUNDS {
            return Ok(rested || all.rests() && self.control.rounds_since(all.mark)? >= ROUNDS);
        }
        Ok(rested && self.control.is_refused())
    }

    /// As [`crate::system::System::wait`].
    pub(super) fn awaited(&mut self, op: OpId) -> Tried<Done> {
        let patience = self.setup.patience;
        let begun = Instant::now();
        let mut all = WatchedTasks::new();
        loop {
            if let Some(done) = self.done_within(op, APART)? {
                return Ok(done);
            }
            let now = self.glances()?;
            all.see(now, self.control.mark());
            let still = all.since.elapsed();
            let unmoved = all.rests() && still > patience.of(SETTLED);
            if unmoved
                && !self.operation(op)?.runs_program()
                && !self.holds(op)
                && self.is_forgotten(op, still)?
                && all.is(&self.glances()?)
            {
                let why = "it sleeps on although no pin is left and nobody else runs\n";
                return Err(self.stuck(op, begun, why)?);
            }
            if begun.elapsed() > patience.of(PATIENCE) {
                return Err(self.late(op, begun, unmoved)?);
            }
        }
    }

    /// Whether `op`, which has slept for as long as `still` while no pin is held, waits for nothing
    /// that still goes through.
    fn is_forgotten(&mut self, op: OpId, still: Duration) -> Tried<bool> {
        let Some(glance) = self.glance(op)?.filter(Glance::sleeps) else {
            return Ok(false);
        };
        let limit = self.setup.patience.of(FORGOTTEN);
        if self.sleeps_through(op, &glance, FORGOTTEN_ROUNDS, limit)?.is_some() {
            return Ok(true);
        }
        Ok(still > limit && glance.wait_channel() == WaitChannel::LayoutBreak)
    }

    fn stuck(&mut self, op: OpId, begun: Instant, why: &str) -> Tried<Trouble> {
        let what = self.operation(op)?.words.clone();
        let state = format!("{why}{}", self.describe());
        // Rounded up: nobody is told of a wait of 0 s.
        let seconds = begun.elapsed().as_millis().div_ceil(1000) as u64;
        Ok(Trouble::Stuck { what, seconds, state })
    }

    /// What to say of an operation that has not returned in time: if it sleeps while a pin is
    /// held, its release tells whether that is why.
    fn late(&mut self, op: OpId, begun: Instant, unmoved: bool) -> Tried<Trouble> {
        let stuck = self.stuck(op, begun, "")?;
        let Trouble::Stuck { what, seconds, mut state } = stuck else {
            return Ok(stuck);
        };
        if unmoved && self.let_all_go()? {
            let patience = self.setup.patience.of(FORGOTTEN).as_secs();
            if self.wait_for(op, patience)?.is_some() {
                return Ok(Trouble::HeldUp { what, seconds, state });
            }
            state.insert_str(0, "it did not return when all pins were released either\n");
        }
        Ok(Trouble::Stuck { what, seconds, state })
    }

    /// Where `op`, which sleeps as `before` shows, sleeps on while the control experiment goes
    /// through; none if it moves, or if the experiment does not go through.
    pub(super) fn sleeps_on(&mut self, op: OpId, before: &Glance) -> Tried<Option<WaitChannel>> {
        self.sleeps_through(op, before, ROUNDS, self.setup.patience.of(REST))
    }

    /// The same with so many rounds of the experiment, which may take as long as `limit`.
    fn sleeps_through(
        &mut self,
        op: OpId,
        before: &Glance,
        rounds: u32,
        limit: Duration,
    ) -> Tried<Option<WaitChannel>> {
        let begun = Instant::now();
        let mark = self.control.mark();
        loop {
            if self.ended(op, pause(begun.elapsed()))?.is_some()
                || self.glance(op)?.as_ref() != Some(before)
            {
                return Ok(None);
            }
            if self.control.rounds_since(mark)? >= rounds {
                return Ok(Some(before.wait_channel()));
            }
            if self.control.is_refused() || begun.elapsed() > limit {
                return Ok(None);
            }
        }
    }

    /// As [`crate::system::System::release_last`].
    pub(super) fn let_last_go(&mut self, pin: PinId, op: OpId) -> Tried<Released> {
        let before = self.glance(op)?.filter(Glance::sleeps);
        let at_once = self.is_let_go_at_once(pin);
        let at = self.let_go(pin)?;
        let slept_on = match before {
            Some(before) if at_once && !self.holds(op) => self.sleeps_on(op, &before)?,
            _ => None,
        };
        Ok(Released { at, slept_on })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asleep(function: &str, switches: u64) -> Glance {
        Glance {
            state: 'S',
            ran: 0,
            switches,
            stack: vec![function.to_owned()],
            is_io_worker: false,
        }
    }

    fn look(scene: &mut WatchedTasks, times: u32, tasks: &[Glance]) {
        for _ in 0..times {
            scene.see(tasks.iter().cloned().map(Some).collect(), Round::default());
        }
    }

    #[test]
    fn a_task_rests_once_it_was_seen_asleep_and_unmoved_for_some_looks() {
        let mut scene = WatchedTasks::new();
        look(&mut scene, LOOKS, &[asleep("layout_nap", 1)]);
        assert!(!scene.rests());
        look(&mut scene, 1, &[asleep("layout_nap", 1)]);
        assert!(scene.rests());
        look(&mut scene, 1, &[asleep("layout_nap", 2)]);
        assert!(!scene.rests());
    }

    #[test]
    fn one_that_runs_keeps_all_from_resting() {
        let runs = Glance { state: 'R', ..asleep("xfs_ilock", 1) };
        let mut scene = WatchedTasks::new();
        look(&mut scene, 2 * LOOKS, &[asleep("layout_nap", 1), runs]);
        assert!(!scene.rests());
    }

    #[test]
    fn only_known_names_spare_the_experiment() {
        let closed = |functions: &[&str]| {
            let mut scene = WatchedTasks::new();
            let tasks: Vec<_> = functions.iter().map(|function| asleep(function, 1)).collect();
            look(&mut scene, 1, &tasks);
            scene.is_known_to_be_closed()
        };
        assert!(closed(&["xfs_break_dax_layouts", "xfs_ilock"]));
        assert!(!closed(&["xfs_ilock", "xfs_ilock"]), "who has the lock?");
        assert!(!closed(&["layout_nap", "xfs_ilock"]));
        assert!(!closed(&["xfs_break_dax_layouts", "xlog_wait"]));
    }

    #[test]
    fn time_in_the_kernel_counts_but_not_a_leap_of_the_clock() {
        let ran = |ran| Glance { ran, ..asleep("", 1) };
        let mut ticks = Ticks::new(Some(&ran(100)));
        ticks.see(Some(&ran(105)));
        ticks.see(Some(&ran(5000)));
        ticks.see(Some(&ran(5001)));
        assert_eq!(ticks.ran, 5 + LEAP + 1);
    }
}
