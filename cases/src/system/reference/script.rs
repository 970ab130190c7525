//! Loads and races on the reference: what a task does by itself.

use std::collections::BTreeMap;

use nix::libc;
use reference::sync::{Arc, thread};
use reference::{Answer, Dropper, End, Errno, Pins, Ring, Transfer};

use super::actor::{Actor, towards};
use crate::action::{CellId, Direction, MapId, Script, Span, Step};

/// A small generator (xorshift64*) for pauses.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number up to `most`, each as likely as any other.
    fn upto(&mut self, most: u64) -> u64 {
        self.next() % (most + 1)
    }

    /// A number up to `most`, each order of magnitude as likely as any other.
    fn spread(&mut self, most: u64) -> u64 {
        let bits = u64::BITS - most.leading_zeros();
        let width = self.next() % (u64::from(bits) + 1);
        (self.next() & ((1 << width) - 1)).min(most)
    }
}

/// Runs a script; the number of rounds it completed.
pub(super) fn run(actor: &Actor, script: &Script) -> Answer<u64> {
    let mut runner = Runner {
        actor,
        stop: script.stop,
        dice: Dice::new(script.seed),
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
    actor: &'a Actor,
    stop: CellId,
    dice: Dice,
    held: BTreeMap<u8, Pins>,
    sleeps: u64,
}

impl Runner<'_> {
    fn stopped(&self) -> Answer<bool> {
        self.actor.task.check()?;
        if self.actor.task.is_interrupted(reference::Interrupt::Kill) {
            return Ok(true);
        }
        Ok(self.actor.shared.cells.get(self.stop) != 0)
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

    fn step(&mut self, step: &Step, round: u64) -> Answer<()> {
        let Actor { task, shared, .. } = self.actor;
        let cells = &shared.cells;
        match step {
            Step::Do(action) => drop(self.actor.perform(action)?),
            Step::PinUnpin { map, span } => {
                let pins = self.actor.pin(*map, *span, false)?;
                shared.fs.unpin(task, &pins, Dropper::Process);
            }
            Step::Hold { map, span, slot } => {
                let pins = self.actor.pin(*map, *span, false)?;
                self.held.insert(*slot, pins);
            }
            Step::Drop { slot } => {
                if let Some(pins) = self.held.remove(slot) {
                    shared.fs.unpin(task, &pins, Dropper::Process);
                }
            }
            Step::DropAfter { slot, byte, cell, into } => {
                let reached = cells.get(*cell) >= round;
                if let Some(pins) = self.held.remove(slot) {
                    let bytes = pins.read();
                    shared.fs.unpin(task, &pins, Dropper::Process);
                    if reached && bytes.iter().all(|seen| seen == byte) {
                        cells.change(*into, |count| *count += 1);
                    }
                }
            }
            Step::Mark(to) => cells.change(*to, |value| *value = round),
            Step::Set(to, value) => cells.change(*to, |old| *old = *value),
            Step::Count(to) => cells.change(*to, |count| *count += 1),
            Step::CountIf { cell, into } => {
                if cells.get(*cell) != 0 {
                    cells.change(*into, |count| *count += 1);
                }
            }
            Step::CountSleeps { into } => {
                let now = task.sleeps();
                cells.change(*into, |count| *count += now - self.sleeps);
                self.sleeps = now;
            }
            Step::AwaitRound(on) => {
                let stop = self.stop;
                cells.wait(task, |cells| cells.get(*on) >= round || cells.get(stop) != 0)?;
            }
            Step::Pause { most } => self.pause(*most),
            Step::Sleep { most } => self.sleep(*most),
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
    pub(super) submitted: CellId,
    pub(super) stop: CellId,
}

impl Load {
    /// Runs until it is stopped; how many I/Os completed.
    pub(super) fn run(&self, actor: &Actor) -> Answer<u64> {
        let cells = &actor.shared.cells;
        let ring = Arc::default();
        let mut waiting: Vec<u64> = (0..u64::from(self.inflight)).collect();
        let (mut flying, mut completed) = (0, 0);
        loop {
            actor.task.check()?;
            if cells.get(self.stop) == 0 {
                let mut refused = Vec::new();
                for slot in waiting.drain(..) {
                    match self.submit(actor, &ring, slot) {
                        Ok(()) => {
                            cells.change(self.submitted, |count| *count += 1);
                            flying += 1;
                        }
                        // Its page is past the end of the file for now.
                        Err(End::Errno(Errno(libc::EFAULT))) => refused.push(slot),
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
    fn submit(&self, actor: &Actor, ring: &Arc<Ring>, slot: u64) -> Answer<()> {
        let vma = actor.vma(self.map)?;
        let _lock = vma.inode.lock.read(&actor.task)?;
        let at = self.span.at + slot % (self.span.len / self.piece) * self.piece;
        let write = self.direction == Direction::IntoMemory;
        let pins = actor.pin(self.map, Span { at, len: self.piece }, write)?;
        actor.shared.fs.device.submit(Transfer {
            pins,
            direction: towards(self.direction),
            byte: 0,
            tag: slot,
            ring: Arc::clone(ring),
        });
        Ok(())
    }
}
