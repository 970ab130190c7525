//! Holds: a task stands at a point of the protocol until it is let go.
//!
//! The points are those at which a kernel's tasks can be held, and a hold means the same in both.
//! Here a task that stands is asleep, and needs no deadline: a run in which nobody can go on is
//! known to be stuck.

use protocol::HoldPoint;

use crate::errno::Answer;
use crate::fs::Fs;
use crate::sync::Leaf;
use crate::task::{Sleep, Task};

/// Who is to be held where.
#[derive(Debug, Default)]
pub struct Holds(Leaf<Vec<HoldState>>);

#[derive(Debug)]
struct HoldState {
    task: u32,
    point: HoldPoint,
    stage: Stage,
}

/// How far a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The task has not come by.
    Armed,
    /// It stands there.
    Stands,
    /// It was let go.
    LetGo,
    /// It was let pass before it came.
    Disarmed,
}

impl Holds {
    /// Has `task` held when it next comes to `point`. The number of the hold.
    pub fn arm(&self, task: u32, point: HoldPoint) -> usize {
        self.0.with(|holds| {
            holds.push(HoldState { task, point, stage: Stage::Armed });
            holds.len() - 1
        })
    }

    /// How far a hold is.
    pub fn stage(&self, number: usize) -> Stage {
        self.0.with(|holds| holds[number].stage)
    }

    /// Lets its task go, which is to be woken then, or pass if it has not come yet.
    pub fn release(&self, number: usize) {
        self.0.with(|holds| {
            let hold = &mut holds[number];
            hold.stage = match hold.stage {
                Stage::Armed => Stage::Disarmed,
                Stage::Stands => Stage::LetGo,
                over => over,
            };
        });
    }

    /// The hold that a task runs into.
    fn reach(&self, task: u32, point: HoldPoint) -> Option<usize> {
        self.0.with(|holds| {
            let reached = holds.iter().position(|hold| {
                hold.task == task && hold.point == point && hold.stage == Stage::Armed
            })?;
            holds[reached].stage = Stage::Stands;
            Some(reached)
        })
    }
}

impl Fs {
    /// The task comes to a point at which it may be held.
    pub(crate) fn pass(&self, task: &Task, point: HoldPoint) -> Answer<()> {
        let Some(hold) = self.holds.reach(task.id(), point) else {
            return Ok(());
        };
        // Whoever waits for it looks again.
        self.board.tell();
        while self.holds.stage(hold) == Stage::Stands {
            task.park(Sleep::For("being let go"))?;
        }
        Ok(())
    }
}
