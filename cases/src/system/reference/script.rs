//! Loads and races on the reference: what a task does by itself.

use std::collections::BTreeMap;

use nix::libc;
use reference::sync::{Arc, thread};
use reference::{Answer, Dropper, Errno, Failure, Pins, Ring, Transfer};

use super::actor::Worker;
use crate::action::{Action, Direction, Instruction, MapId, Reply, Script, Span, VarId};
use crate::system::dice::Pauses;

/// Runs a script, whose actions `perform` does; the number of rounds it completed.
pub(super) fn run(
    actor: &Worker,
    script: &Script,
    perform: &dyn Fn(&Action) -> Answer<Reply>,
) -> Answer<u64> {
    let mut runner = Runner {
        actor,
        perform,
        stop: script.stop,
        dice: Pauses::new(script.seed),
        held: BTreeMap::new(),
        sleeps: actor.task.sleeps(),
    };
    let result = runner.rounds(script);
    for pins in std::mem::take(&mut runner.held).into_values() {
        actor.shared.fs.unpin(&actor.task, &pins, Dropper::Process);
    }
    result
}

struct Runner<'a> {
    actor: &'a Worker,
    perform: &'a dyn Fn(&Action) -> Answer<Reply>,
    stop: VarId,
    dice: Pauses,
    held: BTreeMap<u8, Pins>,
    sleeps: u64,
}

impl Runner<'_> {
    fn stopped(&self) -> Answer<bool> {
        self.actor.task.check()?;
        if self.actor.task.is_interrupted(reference::Interruptible::Kill) {
            return Ok(true);
        }
        Ok(self.actor.shared.vars.get(self.stop) != 0)
    }

    fn rounds(&mut self, script: &Script) -> Answer<u64> {
        for round in 1..=script.rounds {
            for step in &script.steps {
                if self.stopped()? {
                    return Ok(round - 1);
                }
                self.step(step, round)?;
            }
        }
        Ok(script.rounds)
    }

    fn step(&mut self, step: &Instruction, round: u64) -> Answer<()> {
        let Worker { task, shared, .. } = self.actor;
        let vars = &shared.vars;
        match step {
            Instruction::Do(action) => drop((self.perform)(action)?),
            Instruction::PinUnpin { map, span } => {
                let pins = self.actor.pin(*map, *span, false)?;
                shared.fs.unpin(task, &pins, Dropper::Process);
            }
            Instruction::Hold { map, span, slot } => {
                let pins = self.actor.pin(*map, *span, false)?;
                self.held.insert(*slot, pins);
            }
            Instruction::Drop { slot } => {
                if let Some(pins) = self.held.remove(slot) {
                    shared.fs.unpin(task, &pins, Dropper::Process);
                }
            }
            Instruction::DropAfter { slot, byte, var, into } => {
                let reached = vars.get(*var) >= round;
                if let Some(pins) = self.held.remove(slot) {
                    let bytes = pins.read();
                    shared.fs.unpin(task, &pins, Dropper::Process);
                    if reached && bytes.iter().all(|seen| seen == byte) {
                        vars.change(*into, |count| *count += 1);
                    }
                }
            }
            Instruction::Mark(to) => vars.change(*to, |value| *value = round),
            Instruction::Set(to, value) => vars.change(*to, |old| *old = *value),
            Instruction::Count(to) => vars.change(*to, |count| *count += 1),
            Instruction::CountIf { var, into } => {
                if vars.get(*var) != 0 {
                    vars.change(*into, |count| *count += 1);
                }
            }
            Instruction::CountSleeps { into } => {
                let now = task.sleeps();
                vars.change(*into, |count| *count += now - self.sleeps);
                self.sleeps = now;
            }
            Instruction::AwaitRound(on) => {
                let stop = self.stop;
                vars.wait(task, |vars| vars.get(*on) >= round || vars.get(stop) != 0)?;
            }
            Instruction::Pause { most } => self.pause(*most),
            Instruction::Sleep { most } => self.sleep(*most),
        }
        Ok(())
    }

    fn sleep(&mut self, most: u64) {
        let micros = self.dice.upto(most);
        if cfg!(feature = "shuttle") {
            // The checker tries the alignments itself.
            thread::yield_now();
        } else {
            // What takes a kernel a system call is a function call here.
            thread::sleep(std::time::Duration::from_micros(micros / 10));
        }
    }

    fn pause(&mut self, most: u64) {
        let turns = self.dice.spread(most);
        if cfg!(feature = "shuttle") {
            // The checker tries the alignments itself.
            thread::yield_now();
            return;
        }
        for turn in 0..turns {
            // The task that this is to meet may need the processor.
            if turn % 512 == 511 {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Direct I/O between a mapping and the slow device, kept in flight.
pub(super) struct Load {
    pub(super) map: MapId,
    pub(super) span: Span,
    pub(super) piece: u64,
    pub(super) inflight: u32,
    pub(super) direction: Direction,
    pub(super) submitted: VarId,
    pub(super) stop: VarId,
}

impl Load {
    /// Runs until it is stopped; how many I/Os completed.
    pub(super) fn run(&self, actor: &Worker) -> Answer<u64> {
        let vars = &actor.shared.vars;
        let ring = Arc::default();
        let mut waiting: Vec<u64> = (0..u64::from(self.inflight)).collect();
        let (mut flying, mut completed) = (0, 0);
        loop {
            actor.task.check()?;
            if vars.get(self.stop) == 0 {
                let mut refused = Vec::new();
                for slot in waiting.drain(..) {
                    match self.submit(actor, &ring, slot) {
                        Ok(()) => {
                            vars.change(self.submitted, |count| *count += 1);
                            flying += 1;
                        }
                        // Its page is past the end of the file for now.
                        Err(Failure::Errno(Errno(libc::EFAULT))) => refused.push(slot),
                        Err(end) => return Err(end),
                    }
                }
                waiting = refused;
            } else if flying == 0 {
                return Ok(completed);
            }
            if flying == 0 {
                thread::yield_now();
                continue;
            }
            let (slot, _) = ring.reap(&actor.task)?;
            flying -= 1;
            completed += 1;
            waiting.push(slot);
        }
    }

    /// Submits one I/O.
    ///
    /// The inode lock of the mapped file is taken for the submission, as direct I/O takes that
    /// of the file it is done to: in the load that the protocol was made for, both are the same
    /// file. This is what a break holds new pins off with, by keeping that lock.
    fn submit(&self, actor: &Worker, ring: &Arc<Ring>, slot: u64) -> Answer<()> {
        let vma = actor.vma(self.map)?;
        let _lock = vma.inode.lock.read(&actor.task)?;
        let at = self.span.at + slot % (self.span.len / self.piece) * self.piece;
        let write = self.direction == Direction::IntoMemory;
        let pins = actor.pin(self.map, Span { at, len: self.piece }, write)?;
        actor.shared.fs.device.submit(Transfer {
            pins,
            direction: self.direction,
            byte: 0,
            tag: slot,
            ring: Arc::clone(ring),
        });
        Ok(())
    }
}
