//! Holds on a kernel: the control page that the runner's probes look at, and who is held by it.
//!
//! The runner attaches the probes and has the page, which it lends to the process of a case that
//! needs it. What a word of it means is `protocol::hold`'s to say.

use std::time::{Duration, Instant};

use protocol::HoldPoint;
use protocol::hold::Slot;

use super::{KernelSystem, PATIENCE, sys};
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
    armed: Vec<(HoldPoint, TaskId)>,
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
        self.holds.armed.push((point, task));
        Ok(HoldId(self.holds.armed.len() - 1))
    }

    fn held_by(&mut self, hold: HoldId) -> Tried<(&Slot, TaskId)> {
        let (point, task) = self.holds.armed[hold.0];
        Ok((self.holds.slot(point).map_err(Trouble::NotOffered)?, task))
    }

    /// As [`crate::system::System::go_after`].
    pub(super) fn let_follow(&mut self, hold: HoldId, other: HoldId) -> Tried<()> {
        let (awaited, _) = self.holds.armed[other.0];
        self.held_by(hold)?.0.go_after(awaited.slot());
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
        Ok(self.held_by(hold)?.0.stands())
    }

    /// As [`crate::system::System::arrived`].
    pub(super) fn awaited_at(&mut self, hold: HoldId) -> Tried<bool> {
        let begun = Instant::now();
        loop {
            let (slot, task) = self.held_by(hold)?;
            if slot.has_arrived() {
                return Ok(true);
            }
            self.hear(task, PAUSE)?;
            if !self.task(task)?.is_busy() {
                // It may have been there and gone on since the page was looked at.
                return Ok(self.held_by(hold)?.0.has_arrived());
            }
            self.not_longer(begun, "a task that is to be held did not come by, and")?;
        }
    }

    /// As [`crate::system::System::go`].
    pub(super) fn let_on(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        let begun = Instant::now();
        let (slot, _) = self.held_by(hold)?;
        slot.disarm();
        slot.release();
        loop {
            let (slot, _) = self.held_by(hold)?;
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
