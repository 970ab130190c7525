//! A case written down as it runs on the reference: what each task does, and what must come of it.
//!
//! The reference is right by definition, so what it answers is what a kernel must answer. What is
//! written down can be made into a program that needs nothing of daxtests.
//!
//! It has pages of one size. Where a case wants huge ones, what it asks is how many faults they took, and that
//! is told as if there were some: what they hold does not depend on it.

use std::collections::BTreeMap;

use crate::action::{Action, Content, FileId, PinId, Reply, Span, TaskId, VarId};
use crate::case::Case;
use crate::oracle::{BystanderSpec, Inspection, Stood, View};
use crate::patience::Patience;
use crate::perform::perform;
use crate::system::reference::{Reference, ReferenceSetup};
use crate::system::{
    Conclusion, Done, Errno, HoldEnd, HoldId, HoldPoint, Kinship, Look, Need, OpId, Released,
    Signal, System, Tried, WriteBacks,
};
use crate::test::Ending;
use crate::transcript::Names;

/// Something that happens in a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A task comes from another.
    Spawn {
        /// The new one.
        task: TaskId,
        /// The one it comes from.
        of: TaskId,
        /// How.
        kinship: Kinship,
    },
    /// A task begins an action.
    Start {
        /// The operation, from now on.
        op: OpId,
        /// Who.
        task: TaskId,
        /// What.
        action: Action,
        /// The same in the words of the transcript: "punch pages 1..3 of data".
        words: String,
    },
    /// An operation must wait, for a pin or for another operation.
    Blocked(OpId),
    /// An operation waits or ends, and may do either; [`Deed::End`] says when it must have ended.
    Settled(OpId),
    /// How the operation goes on from here is open: more than one way is right.
    Open(OpId),
    /// The operation may have answered anything.
    Whatever(OpId),
    /// Of two new files the first must be the one with the lower inode number.
    InOrder([FileId; 2]),
    /// An operation ends.
    End {
        /// Which.
        op: OpId,
        /// With what.
        result: Result<Reply, Errno>,
    },
    /// A task gets a signal.
    Signal {
        /// Who.
        task: TaskId,
        /// Which.
        signal: Signal,
    },
    /// A task is to be held in the copy of its next read(2) or write(2).
    HoldInCopy(TaskId),
    /// It stands there.
    Stands(TaskId),
    /// It is let go.
    Go(TaskId),
    /// A pin is let go.
    Release(PinId),
    /// What went through a released pin.
    Transferred {
        /// Which.
        pin: PinId,
        /// What.
        content: Content,
    },
}

/// Runs `case` on the reference and writes it down; how it ended if it did not pass.
pub fn record(case: &Case, seed: u64) -> Result<Vec<Deed>, Ending> {
    let (ending, deeds) = record_what(seed, |system| perform(case, system, seed, &mut |_| {}));
    match ending {
        Ending::Pass => Ok(deeds),
        other => Err(other),
    }
}

/// Has `what` go on with the reference and writes it down.
pub fn record_what<T>(seed: u64, what: impl FnOnce(&mut dyn System) -> T) -> (T, Vec<Deed>) {
    let mut recorder = Recorder {
        system: Reference::new(&ReferenceSetup { seed, ..ReferenceSetup::default() }),
        names: Names::default(),
        deeds: Vec::new(),
        held: BTreeMap::new(),
    };
    let said = what(&mut recorder);
    (said, recorder.deeds)
}

/// Stands before the reference and writes down.
struct Recorder {
    system: Reference,
    names: Names,
    deeds: Vec<Deed>,
    /// Who is held in a copy, by the hold.
    held: BTreeMap<usize, TaskId>,
}

impl Recorder {
    /// How many faults an access to whole huge pages takes.
    fn huge_faults(&self, op: OpId) -> Option<u64> {
        self.deeds.iter().find_map(|deed| match deed {
            Deed::Start { op: other, action, .. } if *other == op => action.huge_pages(),
            _ => None,
        })
    }

    /// An operation ends once, however often it is looked at.
    fn end(&mut self, op: OpId, done: &Done) {
        let is_known = self
            .deeds
            .iter()
            .any(|deed| matches!(deed, Deed::End { op: other, .. } if *other == op));
        if !is_known {
            self.deeds.push(Deed::End { op, result: done.result.clone() });
        }
    }
}

impl System for Recorder {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        match need {
            Need::Hold(_) => {
                Err("a program of its own has no probes to hold a task with".to_owned())
            }
            Need::Huge => Ok(()),
            _ => self.system.offers(need),
        }
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        let task = self.system.spawn(of, kinship)?;
        self.deeds.push(Deed::Spawn { task, of, kinship });
        Ok(task)
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        self.names.learn(&action);
        let words = self.names.say(&action);
        let op = self.system.start(task, action.clone())?;
        self.deeds.push(Deed::Start { op, task, action, words });
        Ok(op)
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        let look = self.system.look(op)?;
        // A moment's look proves nothing; that it has ended does.
        if let Look::Done(done) = &look {
            self.end(op, done);
        }
        Ok(look)
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        let look = self.system.settle(op)?;
        // Whether it waits is not demanded yet, nor that it has ended.
        self.deeds.push(Deed::Settled(op));
        Ok(look)
    }

    fn conclude(&mut self, what: Conclusion) {
        match what {
            Conclusion::Blocked(op) => {
                self.deeds.pop_if(|last| *last == Deed::Settled(op));
                self.deeds.push(Deed::Blocked(op));
            }
            Conclusion::Returns(op) => {
                self.deeds.pop_if(|last| *last == Deed::Settled(op));
            }
            Conclusion::Open(op) => self.deeds.push(Deed::Open(op)),
            Conclusion::Whatever(op) => self.deeds.push(Deed::Whatever(op)),
            Conclusion::InOrder(files) => self.deeds.push(Deed::InOrder(files)),
        }
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        let mut done = self.system.wait(op)?;
        if let (Some(faults), Ok(reply @ Reply::Count(_))) =
            (self.huge_faults(op), &mut done.result)
        {
            *reply = Reply::Count(faults);
        }
        self.end(op, &done);
        Ok(done)
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        let done = self.system.wait_for(op, seconds)?;
        if let Some(done) = &done {
            self.end(op, done);
        }
        Ok(done)
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        self.deeds.push(Deed::Signal { task, signal });
        self.system.signal(task, signal)
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        self.deeds.push(Deed::Release(pin));
        self.system.release(pin)
    }

    fn release_last(&mut self, pin: PinId, op: OpId) -> Tried<Released> {
        self.deeds.push(Deed::Release(pin));
        self.system.release_last(pin, op)
    }

    fn hold(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        self.system.hold(task, point)
    }

    fn forget_flushes(&mut self) -> Tried<()> {
        self.system.forget_flushes()
    }

    fn not_flushed(&mut self, file: FileId, span: Span) -> Tried<Vec<Span>> {
        self.system.not_flushed(file, span)
    }

    fn hold_in_copy(&mut self, task: TaskId) -> Tried<HoldId> {
        let hold = self.system.hold_in_copy(task)?;
        self.held.insert(hold.0, task);
        self.deeds.push(Deed::HoldInCopy(task));
        Ok(hold)
    }

    fn arrived(&mut self, hold: HoldId) -> Tried<bool> {
        self.deeds.extend(self.held.get(&hold.0).map(|task| Deed::Stands(*task)));
        self.system.arrived(hold)
    }

    fn stands(&mut self, hold: HoldId) -> Tried<bool> {
        self.system.stands(hold)
    }

    fn go(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        self.deeds.extend(self.held.get(&hold.0).map(|task| Deed::Go(*task)));
        self.system.go(hold)
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        let content = self.system.transferred(pin)?;
        self.deeds.push(Deed::Transferred { pin, content: content.clone() });
        Ok(content)
    }

    fn var(&self, var: VarId) -> u64 {
        self.system.var(var)
    }

    fn set_var(&mut self, var: VarId, value: u64) {
        self.system.set_var(var, value);
    }

    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>> {
        self.system.bystand(what)
    }

    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View> {
        self.system.inspect(files, bystanders)
    }

    fn written_back(&mut self) -> Tried<WriteBacks> {
        self.system.written_back()
    }

    fn patience(&self) -> Patience {
        self.system.patience()
    }

    fn now(&self) -> u64 {
        self.system.now()
    }

    fn describe(&mut self) -> String {
        self.system.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Mode;

    #[test]
    fn a_cell_is_written_down_in_its_order() {
        let case = crate::find("waits/punch/splice/mapped").unwrap();
        let deeds = record(case, 1).unwrap();
        let position = |wanted: &dyn Fn(&Deed) -> bool| deeds.iter().position(wanted).unwrap();
        let op = deeds
            .iter()
            .find_map(|deed| match deed {
                Deed::Start { op, action: Action::Fallocate { mode: Mode::Punch, .. }, .. } => {
                    Some(*op)
                }
                _ => None,
            })
            .unwrap();
        let pinned =
            position(&|deed| matches!(deed, Deed::Start { action: Action::Pin { .. }, .. }));
        let blocked = position(&|deed| *deed == Deed::Blocked(op));
        let released = position(&|deed| matches!(deed, Deed::Release(_)));
        let ended = position(&|deed| *deed == Deed::End { op, result: Ok(Reply::Done) });
        assert!(pinned < blocked && blocked < released && released < ended, "{deeds:#?}");
    }

    /// A program that demands what a case allows accuses a kernel that does it otherwise.
    #[test]
    fn what_is_allowed_is_not_demanded() {
        let deeds = record(crate::find("reflink/source-pinned").unwrap(), 1).unwrap();
        let op = deeds
            .iter()
            .find_map(|deed| match deed {
                Deed::Start { op, action: Action::Clone { .. }, .. } => Some(*op),
                _ => None,
            })
            .unwrap();
        assert!(deeds.contains(&Deed::Settled(op)) && !deeds.contains(&Deed::Blocked(op)));
        assert!(deeds.iter().any(|deed| matches!(deed, Deed::InOrder(_))), "{deeds:#?}");
        let deeds = record(crate::find("waits/punch/splice/mapped").unwrap(), 1).unwrap();
        assert!(!deeds.iter().any(|deed| matches!(deed, Deed::Settled(_))), "{deeds:#?}");
    }

    #[test]
    fn what_cannot_run_is_not_written_down() {
        let case = crate::find("directed/scan-again").unwrap();
        assert!(matches!(record(case, 1), Err(Ending::NotRun(_))));
    }
}
