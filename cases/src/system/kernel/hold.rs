//! Holds on a kernel: who is held, and the control page that the runner's probes look at.
//!
//! The runner attaches the probes and has the page, which it lends to the process of a case that
//! needs it. What a word of it means is `protocol::hold`'s to say. Who is held in a copy needs neither:
//! [`held_copy`](super::held_copy).

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use protocol::HoldPoint;
use protocol::hold::Slot;

use super::bench::trouble;
use super::held_copy::HeldCopy;
use super::{KernelSystem, PATIENCE, sys};
use crate::action::Action;
use crate::patience::Limit;
use crate::system::{HoldEnd, HoldId, System as _, TaskId, Tried, Trouble};

/// How long a task stands at most. A case lets it go within milliseconds; what waits for the
/// processor that it stands on waits as long.
const DEADLINE: Limit = Limit::millis(500);

/// From one look at the page to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// The control page as it is lent: where it is, or why there is none.
pub type Lent = Result<HoldPageFd, String>;

/// A descriptor of the control page.
#[derive(Clone, Copy, Debug)]
pub struct HoldPageFd {
    process: i32,
    descriptor: i32,
}

impl HoldPageFd {
    /// One of the process that started this one.
    pub fn of_parent(descriptor: i32) -> Self {
        Self { process: std::os::unix::process::parent_id().cast_signed(), descriptor }
    }

    /// One of this process.
    pub fn own(descriptor: i32) -> Self {
        Self { process: std::process::id().cast_signed(), descriptor }
    }
}

/// Who is held.
#[derive(Debug)]
pub(super) struct ArmedHolds {
    lent: Lent,
    page: Option<sys::HoldPage>,
    armed: Vec<ArmedHold>,
}

/// Somebody who is held.
#[derive(Debug)]
enum ArmedHold {
    /// By a probe.
    Probe(HoldPoint, TaskId),
    /// By memory that is withheld.
    Copy(HeldCopy),
}

impl ArmedHold {
    const fn task(&self) -> TaskId {
        match self {
            Self::Probe(_, task) | Self::Copy(HeldCopy { task, .. }) => *task,
        }
    }
}

impl ArmedHolds {
    /// Nobody yet.
    pub(super) const fn new(lent: Lent) -> Self {
        Self { lent, page: None, armed: Vec::new() }
    }

    /// The slot of a point, or why nobody can be held there.
    fn slot(&mut self, point: HoldPoint) -> Result<&Slot, String> {
        let page = if let Some(page) = self.page.take() {
            page
        } else {
            let HoldPageFd { process, descriptor } = self.lent.clone()?;
            sys::HoldPage::borrow(process, descriptor)
                .map_err(|error| format!("the control page of holds: {error}"))?
        };
        let slot = &self.page.insert(page).slots()[point.slot() as usize];
        if slot.is_attached() {
            Ok(slot)
        } else {
            Err("no probe is there; `tracer holds` says why".to_owned())
        }
    }
}

impl KernelSystem {
    /// Whether tasks can be held at a point.
    pub(super) fn offers_hold(&mut self, point: HoldPoint) -> Result<(), String> {
        self.holds.slot(point).map(drop)
    }

    /// As [`crate::system::System::hold`].
    pub(super) fn held(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        let thread = self.task(task)?.tid;
        let deadline = self.setup.patience.of(DEADLINE).as_nanos();
        let deadline = u64::try_from(deadline).unwrap_or(u64::MAX);
        let slot = self.holds.slot(point).map_err(Trouble::NotOffered)?;
        if !slot.arm(thread.cast_unsigned(), point, deadline) {
            return Err(Trouble::Machinery {
                what: format!("a hold at {point}"),
                why: "another task stands in the same function".to_owned(),
            });
        }
        Ok(self.arm(ArmedHold::Probe(point, task)))
    }

    /// As [`crate::system::System::hold_in_copy`].
    pub(super) fn held_in_copy(&mut self, task: TaskId) -> HoldId {
        self.arm(ArmedHold::Copy(HeldCopy::new(task)))
    }

    fn arm(&mut self, hold: ArmedHold) -> HoldId {
        self.holds.armed.push(hold);
        HoldId(self.holds.armed.len() - 1)
    }

    /// What an action is to be sent with because its task is held in a copy.
    pub(super) fn equip_held(&mut self, task: TaskId, action: &Action) -> Tried<Vec<OwnedFd>> {
        for hold in &mut self.holds.armed {
            if let ArmedHold::Copy(copy) = hold
                && let Some(theirs) = copy.equip(task, action).map_err(trouble("a socket"))?
            {
                return Ok(vec![theirs]);
            }
        }
        Ok(Vec::new())
    }

    /// The slot of a hold by a probe.
    fn slot_of(&mut self, hold: HoldId) -> Tried<&Slot> {
        let ArmedHold::Probe(point, _) = self.holds.armed[hold.0] else {
            let (what, why) = ("a hold in a copy".to_owned(), "no probe is there".to_owned());
            return Err(Trouble::Machinery { what, why });
        };
        self.holds.slot(point).map_err(Trouble::NotOffered)
    }

    /// As [`crate::system::System::go_after`].
    pub(super) fn let_follow(&mut self, hold: HoldId, other: HoldId) -> Tried<()> {
        // Whoever is held in a copy is let go by who controls.
        if let ArmedHold::Probe(awaited, _) = self.holds.armed[other.0]
            && matches!(self.holds.armed[hold.0], ArmedHold::Probe(..))
        {
            self.slot_of(hold)?.go_after(awaited.slot());
        }
        Ok(())
    }

    /// Whether anybody stands anywhere.
    pub(super) fn is_anybody_held(&mut self) -> Tried<bool> {
        for number in 0..self.holds.armed.len() {
            if self.is_held(HoldId(number))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`crate::system::System::stands`].
    pub(super) fn is_held(&mut self, hold: HoldId) -> Tried<bool> {
        match &mut self.holds.armed[hold.0] {
            ArmedHold::Copy(copy) => copy.stands(),
            ArmedHold::Probe(..) => Ok(self.slot_of(hold)?.stands()),
        }
    }

    /// Whether the task has come there; if a probe holds it, it may have gone on.
    fn has_come(&mut self, hold: HoldId) -> Tried<bool> {
        match &mut self.holds.armed[hold.0] {
            ArmedHold::Copy(copy) => copy.stands(),
            ArmedHold::Probe(..) => Ok(self.slot_of(hold)?.has_arrived()),
        }
    }

    /// As [`crate::system::System::arrived`].
    pub(super) fn awaited_at(&mut self, hold: HoldId) -> Tried<bool> {
        let begun = Instant::now();
        let task = self.holds.armed[hold.0].task();
        loop {
            if self.has_come(hold)? {
                return Ok(true);
            }
            self.hear(task, PAUSE)?;
            if !self.task(task)?.is_busy() {
                // It may have been there and gone on since the page was looked at.
                return self.has_come(hold);
            }
            self.not_longer(begun, "a task that is to be held did not come by, and")?;
        }
    }

    /// As [`crate::system::System::go`].
    pub(super) fn let_on(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        if let ArmedHold::Copy(copy) = &mut self.holds.armed[hold.0] {
            return copy.go();
        }
        let begun = Instant::now();
        let slot = self.slot_of(hold)?;
        slot.disarm();
        slot.release();
        loop {
            let slot = self.slot_of(hold)?;
            match slot.ended() {
                Some(protocol::hold::End::Go) => return Ok(HoldEnd::Go),
                Some(protocol::hold::End::Deadline) => return Ok(HoldEnd::Deadline),
                None if !slot.has_arrived() => return Ok(HoldEnd::NeverArrived),
                None => {}
            }
            std::thread::sleep(PAUSE);
            self.not_longer(begun, "a task that was let go stands still, and")?;
        }
    }

    fn not_longer(&mut self, begun: Instant, what: &str) -> Tried<()> {
        if begun.elapsed() < self.setup.patience.of(PATIENCE) {
            return Ok(());
        }
        Err(Trouble::Stuck {
            what: what.to_owned(),
            seconds: begun.elapsed().as_secs(),
            state: self.describe(),
        })
    }
}
