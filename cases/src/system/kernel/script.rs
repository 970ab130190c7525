//! Loads and races: what a task does by itself, at full speed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::sys::{self, Aio, Buffer};
use super::task::Actor;
use crate::action::{CellId, Script, Span, Step};

/// How many turns a task waits for another with its processor in hand.
const PATIENCE: u32 = 1024;

/// How long it sleeps between looks after that.
const NAP: Duration = Duration::from_micros(50);

/// A small generator (xorshift64*) for pauses: it has no lock and no state but its own.
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

/// Runs a script; the number of rounds it completed.
pub(crate) fn run(actor: &Actor, script: &Script) -> io::Result<u64> {
    let cell = |cell: CellId| actor.cells.cell(cell.0);
    let stopped = || cell(script.stop).load(Ordering::Acquire) != 0;
    let mut dice = Dice::new(script.seed);
    let mut pipes = Pipes::default();
    let mut held = HashMap::new();
    let mut sleeps = sys::sleeps();
    for round in 1..=script.rounds {
        for step in &script.steps {
            if stopped() {
                return Ok(round - 1);
            }
            match step {
                Step::Do(action) => drop(actor.perform(action, Vec::new())?),
                Step::PinUnpin { map, span } => {
                    pipes.fill(u8::MAX, *span, &*actor.mapping(*map)?)?;
                    pipes.drain(u8::MAX, span.len)?;
                }
                Step::Hold { map, span, slot } => {
                    pipes.fill(*slot, *span, &*actor.mapping(*map)?)?;
                    held.insert(*slot, span.len);
                }
                Step::Drop { slot } => {
                    if let Some(len) = held.remove(slot) {
                        pipes.drain(*slot, len)?;
                    }
                }
                Step::DropAfter { slot, byte, cell: of, into } => {
                    let reached = cell(*of).load(Ordering::SeqCst) >= round;
                    if let Some(len) = held.remove(slot) {
                        let bytes = pipes.drain(*slot, len)?;
                        if reached && bytes.iter().all(|seen| seen == byte) {
                            cell(*into).fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                Step::Mark(to) => cell(*to).store(round, Ordering::SeqCst),
                Step::Set(to, value) => cell(*to).store(*value, Ordering::SeqCst),
                Step::Count(to) => drop(cell(*to).fetch_add(1, Ordering::SeqCst)),
                Step::CountIf { cell: of, into } => {
                    if cell(*of).load(Ordering::SeqCst) != 0 {
                        cell(*into).fetch_add(1, Ordering::SeqCst);
                    }
                }
                Step::CountSleeps { into } => {
                    let now = sys::sleeps();
                    cell(*into).fetch_add(now - sleeps, Ordering::SeqCst);
                    sleeps = now;
                }
                Step::AwaitRound(on) => {
                    let mut turns = 0u32;
                    while cell(*on).load(Ordering::Acquire) < round {
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
                Step::Pause { most } => {
                    for _ in 0..dice.spread(*most) {
                        std::hint::spin_loop();
                    }
                }
                Step::Sleep { most } => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_over_the_orders_of_magnitude() {
        let mut dice = Dice::new(1);
        let draws: Vec<_> = (0..10_000).map(|_| dice.spread(1000)).collect();
        assert!(draws.iter().all(|draw| *draw <= 1000));
        assert!(draws.iter().filter(|draw| **draw < 10).count() > 2000);
        assert!(draws.iter().filter(|draw| **draw >= 100).count() > 1000);
    }
}
