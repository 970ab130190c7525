//! The hooks in use: attached in the first way that the kernel takes, exchanged for the next if they
//! turn out blind, and detached while nobody needs them.

use std::fs;

use crate::attach::{Programs, Site};
use crate::error::Error;
use crate::hook::{Resolved, When};
use crate::symbols::Symbols;

/// Programs, and where each step of the protocol is seen.
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not depend on each other")]
pub(crate) struct Hooks {
    pub(crate) programs: Programs,
    pub(crate) resolved: Vec<Resolved>,
    /// Steps whose best hook the kernel refused.
    pub(crate) refused: Vec<(&'static str, Error)>,
    pub(crate) symbols: Symbols,
    /// The kernel preempts a task that is in it.
    preempts: bool,
    /// Say on standard error where each program goes and what it costs the verifier.
    loud: bool,
    /// What is of use only beside a wait is detached until there is one.
    idle: bool,
    /// The kernel has warned since it was booted, and what it does not print again is seen too.
    warned: bool,
}

impl Hooks {
    /// `resolved`, of which nothing is attached yet.
    pub(crate) fn new(
        programs: Programs,
        resolved: Vec<Resolved>,
        symbols: Symbols,
        preempts: bool,
        loud: bool,
    ) -> Self {
        Self {
            programs,
            resolved,
            refused: Vec::new(),
            symbols,
            preempts,
            loud,
            idle: false,
            warned: false,
        }
    }

    /// Attaches all that is of use from the start.
    pub(crate) fn attach(&mut self) -> Result<(), Error> {
        for n in 0..self.resolved.len() {
            if self.resolved[n].step.when != When::OnceWarned {
                self.hook(n, &[])?;
            }
        }
        if has_warned() {
            self.watch_traps()?;
        }
        self.programs.sample()
    }

    /// Attaches hook `n` in the first way that the kernel takes, but not to functions that are
    /// `blind`.
    fn hook(&mut self, n: usize, blind: &[&str]) -> Result<(), Error> {
        let hook = &mut self.resolved[n];
        let mut refused = None;
        let mut ways = hook.step.ways(&self.symbols, self.preempts).into_iter();
        // A function can be there and yet not take a program; then the next best is tried.
        hook.chosen = ways.find(|(alternative, symbol)| {
            if blind.contains(&alternative.symbol) {
                return false;
            }
            let site = Site::of(&self.symbols, symbol);
            let taken = self.programs.attach(alternative.programs, &site);
            taken.map_err(|error| refused = Some(error)).is_ok()
        });
        if self.loud
            && let Some((way, symbol)) = &hook.chosen
        {
            for &(program, _) in way.programs {
                let cost = self.programs.cost(program);
                eprintln!("probe: {program} is at {symbol}; the verifier took {cost} steps");
            }
        }
        match (refused, &hook.chosen) {
            (Some(error), None) if hook.step.needed => return Err(error),
            (Some(error), _) => self.refused.push((hook.step.name, error)),
            (None, _) => {}
        }
        Ok(())
    }

    /// Attaches the next best way to see what the self-check missed. False if there is none.
    pub(crate) fn fall_back(&mut self, missing: &[&str]) -> Result<bool, Error> {
        for n in 0..self.resolved.len() {
            let hook = &self.resolved[n];
            let Some((chosen, _)) = &hook.chosen else {
                continue;
            };
            let alternatives = hook.step.alternatives;
            let is_blind = hook.step.blind.is_some_and(|step| missing.contains(&step));
            // Functions that were tried stand before those that were not.
            let tried = alternatives.iter().rposition(|way| way.symbol == chosen.symbol);
            let tried = tried.map_or(0, |last| last + 1);
            let blind: Vec<_> = alternatives[..tried].iter().map(|way| way.symbol).collect();
            let mut ways = hook.step.ways(&self.symbols, self.preempts).into_iter();
            if is_blind && ways.any(|(way, _)| !blind.contains(&way.symbol)) {
                // Other callers may still call it, and then it would tell things twice.
                self.unhook(n)?;
                self.hook(n, &blind)?;
                return Ok(self.resolved[n].chosen.is_some());
            }
        }
        Ok(false)
    }

    /// Detaches the probes that mean something only while a break waits, and those for a timeline:
    /// they cost everybody.
    pub(crate) fn detach_idle(&mut self) -> Result<(), Error> {
        self.idle = true;
        let unused = [When::BesideWait, When::InDetail].map(|when| self.of_use(when));
        unused.into_iter().flatten().try_for_each(|n| self.unhook(n))
    }

    /// A break waits: attaches the probes for that again.
    pub(crate) fn attach_for_wait(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.idle) {
            self.of_use(When::BesideWait).into_iter().try_for_each(|n| self.hook(n, &[]))?;
        }
        Ok(())
    }

    /// The kernel has warned: from now on what it will not print a second time is seen as well, if
    /// there is a way. What warns meanwhile may be seen twice, but not missed.
    pub(crate) fn watch_traps(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.warned, true) {
            return Ok(());
        }
        let traps = self.of_use(When::OnceWarned);
        for &n in &traps {
            self.hook(n, &[])?;
        }
        if traps.iter().any(|&n| self.resolved[n].chosen.is_some()) {
            self.of_use(When::UntilWarned).into_iter().try_for_each(|n| self.unhook(n))?;
        }
        Ok(())
    }

    fn of_use(&self, when: When) -> Vec<usize> {
        (0..self.resolved.len()).filter(|&n| self.resolved[n].step.when == when).collect()
    }

    /// Takes hook `n` off and its programs out of the kernel.
    fn unhook(&mut self, n: usize) -> Result<(), Error> {
        let Some((way, symbol)) = &self.resolved[n].chosen else {
            return Ok(());
        };
        self.programs.detach(way.programs, symbol)
    }
}

/// Whether the kernel has warned since it was booted (Documentation/admin-guide/tainted-kernels.rst,
/// bit 9). One that does not tell may have.
fn has_warned() -> bool {
    let tainted = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    tainted.trim().parse().map_or(true, |bits: u64| bits & (1 << 9) != 0)
}
