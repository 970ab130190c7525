//! Loads and races: what a task does by itself, at full speed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::actor::Actor;
use super::sys::{self, Aio, Buffer};
use crate::action::{Action, Instruction, Reply, Script, Span, VarId};
use crate::system::dice::Pauses;

/// How many turns a task waits for another with its processor in hand.
const PATIENCE: u32 = 1024;

/// How long it sleeps between looks after that.
const NAP: Duration = Duration::from_micros(50);

/// The task's own pipes, made when first used.
#[derive(Default)]
struct Pipes(HashMap<u8, (OwnedFd, OwnedFd)>);

impl Pipes {
    fn fill(&mut self, slot: u8, span: Span, mapping: &sys::Mapping) -> io::Result<()> {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.0.entry(slot) {
            vacant.insert(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?);
        }
        mapping.splice(span, self.0[&slot].1.as_fd())
    }

    /// Lets go of `len` bytes and returns them.
    fn drain(&mut self, slot: u8, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let mut read = 0;
        while read < bytes.len() {
            read += nix::unistd::read(&self.0[&slot].0, &mut bytes[read..])?;
        }
        Ok(bytes)
    }
}

/// Runs a script, whose actions `perform` does; the number of rounds it completed.
pub(crate) fn run(
    actor: &Actor,
    script: &Script,
    perform: impl Fn(&Action) -> io::Result<Reply>,
) -> io::Result<u64> {
    let var = |var: VarId| actor.vars.var(var.0);
    let stopped = || var(script.stop).load(Ordering::Acquire) != 0;
    let mut dice = Pauses::new(script.seed);
    let mut pipes = Pipes::default();
    let mut held = HashMap::new();
    let mut sleeps = sys::sleeps();
    for round in 1..=script.rounds {
        for step in &script.steps {
            if stopped() {
                return Ok(round - 1);
            }
            match step {
                Instruction::Do(action) => drop(perform(action)?),
                Instruction::PinUnpin { map, span } => {
                    pipes.fill(u8::MAX, *span, &*actor.mapping(*map)?)?;
                    pipes.drain(u8::MAX, span.len)?;
                }
                Instruction::Hold { map, span, slot } => {
                    pipes.fill(*slot, *span, &*actor.mapping(*map)?)?;
                    held.insert(*slot, span.len);
                }
                Instruction::Drop { slot } => {
                    if let Some(len) = held.remove(slot) {
                        pipes.drain(*slot, len)?;
                    }
                }
                Instruction::DropAfter { slot, byte, var: of, into } => {
                    let reached = var(*of).load(Ordering::SeqCst) >= round;
                    if let Some(len) = held.remove(slot) {
                        let bytes = pipes.drain(*slot, len)?;
                        if reached && bytes.iter().all(|seen| seen == byte) {
                            var(*into).fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                Instruction::Mark(to) => var(*to).store(round, Ordering::SeqCst),
                Instruction::Set(to, value) => var(*to).store(*value, Ordering::SeqCst),
                Instruction::Count(to) => drop(var(*to).fetch_add(1, Ordering::SeqCst)),
                Instruction::CountIf { var: of, into } => {
                    if var(*of).load(Ordering::SeqCst) != 0 {
                        var(*into).fetch_add(1, Ordering::SeqCst);
                    }
                }
                Instruction::CountSleeps { into } => {
                    let now = sys::sleeps();
                    var(*into).fetch_add(now - sleeps, Ordering::SeqCst);
                    sleeps = now;
                }
                Instruction::AwaitRound(on) => {
                    let mut turns = 0u32;
                    while var(*on).load(Ordering::Acquire) < round {
                        if stopped() {
                            return Ok(round - 1);
                        }
                        turns += 1;
                        // The task waited for, or a third that both race with, may need this
                        // processor.
                        if turns > PATIENCE {
                            std::thread::sleep(NAP);
                        } else if turns.is_multiple_of(64) {
                            std::thread::yield_now();
                        } else {
                            std::hint::spin_loop();
                        }
                    }
                }
                Instruction::Pause { most } => {
                    for _ in 0..dice.spread(*most) {
                        std::hint::spin_loop();
                    }
                }
                Instruction::Sleep { most } => {
                    std::thread::sleep(Duration::from_micros(dice.upto(*most)));
                }
            }
        }
    }
    Ok(script.rounds)
}

/// Keeps `inflight` transfers between `buffers` and `device` going until `stop`; how many
/// completed.
pub(crate) fn load(
    device: &OwnedFd,
    buffers: &[Buffer],
    inflight: u32,
    write: bool,
    submitted: &AtomicU64,
    stop: &AtomicU64,
) -> io::Result<u64> {
    let aio = Aio::new(inflight)?;
    let piece = buffers.first().map_or(0, Buffer::len);
    let mut waiting: Vec<u64> = (0..u64::from(inflight)).collect();
    let (mut flying, mut completed) = (0, 0);
    loop {
        if stop.load(Ordering::Acquire) == 0 {
            let mut refused = Vec::new();
            for slot in waiting.drain(..) {
                let buffer = &buffers[slot as usize % buffers.len()];
                match aio.submit(device.as_fd(), buffer, slot * piece, write, slot) {
                    Ok(()) => {
                        submitted.fetch_add(1, Ordering::Relaxed);
                        flying += 1;
                    }
                    // Its page is past the end of the file for now.
                    Err(error) if error.raw_os_error() == Some(libc::EFAULT) => refused.push(slot),
                    Err(error) => return Err(error),
                }
            }
            waiting = refused;
        } else if flying == 0 {
            return Ok(completed);
        }
        if flying == 0 {
            std::thread::yield_now();
            continue;
        }
        for event in aio.complete()? {
            flying -= 1;
            completed += 1;
            waiting.push(event.data);
        }
    }
}
