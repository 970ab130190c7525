//! Differential fuzzing: random programs on a file system and on the reference, step by step.
//!
//! A program that the two answer differently is shrunk to the few steps that matter and left as
//! a replay file and as the skeleton of a case. One that does so once and never again is left as
//! it is: a race does not reproduce on demand. What may differ, and why, is listed in
//! [`tolerance`] and nowhere else.

#[cfg(test)]
mod corpus;
mod dice;
pub(crate) mod execute;
pub(crate) mod interleave;
pub(crate) mod keep;
#[cfg(test)]
mod once;
pub(crate) mod program;
mod request;
pub(crate) mod scene;
pub(crate) mod seen;
mod shrink;
mod skeleton;
mod spent;
mod tally;
pub(crate) mod testbed;
pub(crate) mod tolerance;
pub(crate) mod trial;
mod under_way;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::exit::Exit;
use crate::fs::FsType;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::print;
use crate::results::Results;
use crate::world;

use self::keep::Kept;
use self::program::Program;
pub(crate) use self::request::FuzzRequest;
use self::seen::Divergence;
use self::tally::Tally;
use self::testbed::{Testbed, Wedged};
use self::trial::{SHRINKING, STEADY, Trial, Tries};

/// Runs of a program that diverged, to see whether it was an accident.
pub(crate) const SECOND_LOOKS: u32 = 5;

/// How long random programs run if nobody says.
const DURATION: Duration = Duration::from_mins(1);

/// Fuzzes as `request` says.
pub(crate) fn run(request: &FuzzRequest) -> anyhow::Result<Exit> {
    if request.json {
        print::yield_stdout();
    }
    // What can be wrong with what was typed is told before the device is touched.
    let replay = keep::read_all(&request.replay)?;
    if replay.is_empty() {
        // Now, and not when there is something to be lost.
        claim(&request.plan, &request.program, &request.results)?;
    }
    interruptibly(|interrupt| enter(request, &replay, interrupt))
}

/// Takes the folders for the results, if they and the device can be used.
pub(crate) fn claim(plan: &Plan, program: &Path, folders: &[PathBuf]) -> anyhow::Result<()> {
    for folder in folders {
        Results::at(folder).check()?;
    }
    if plan.target.fs != FsType::Reference {
        world::check(plan, program)?;
    }
    for folder in folders {
        Results::at(folder).claim()?;
    }
    Ok(())
}

/// What comes of `enter`, which may be interrupted, and may leave what does not end.
pub(crate) fn interruptibly(
    enter: impl FnOnce(Interrupt) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen().context("signalfd")?;
    match enter(interrupt) {
        Err(error) if error.is::<Wedged>() => {
            print::line(format_args!("{error}"));
            Ok(Exit::NeedsReboot)
        }
        went => went,
    }
}

fn enter(
    request: &FuzzRequest,
    replay: &[(PathBuf, Program)],
    mut interrupt: Interrupt,
) -> anyhow::Result<Exit> {
    let FuzzRequest { plan, variant, program, .. } = request;
    let mut stop = || interrupt.count() > 0;
    let Some(testbed) = Testbed::enter(plan, *variant, program, &mut stop)? else {
        return Ok(Exit::Interrupted);
    };
    let folder = request.results.last().filter(|_| replay.is_empty());
    let folder = folder.map(PathBuf::as_path);
    let trial = Trial::new(testbed, interrupt, folder, &|path| request.again(path))?;
    let mut session = FuzzSession { request, trial, tally: Tally::default() };
    let begin = Instant::now();
    let went = if replay.is_empty() { session.go() } else { session.replay(replay) };
    let went = match went {
        // Whatever else is done to that file system will not end either.
        Err(error) if error.is::<Wedged>() => return Err(error),
        went => went,
    };
    for problem in session.trial.leave()? {
        print::line(format_args!("after the last program: {}\n{}", problem.title, problem.text));
        session.tally.trouble();
    }
    went?;
    let (programs, seconds) = (session.tally.programs, begin.elapsed().as_secs_f64());
    let rate = f64::from(programs) / seconds;
    print::line(format_args!(
        "{programs} programs in {seconds:.1} s ({rate:.1} a second), {}",
        session.tally
    ));
    if let Some(spent) = session.trial.testbed.spent() {
        print::line(format_args!("where the time went:{spent}"));
    }
    let exit = session.tally.exit();
    if request.json {
        print::json(&session.tally.told(request.plan.seed, seconds, exit));
    }
    Ok(exit)
}

struct FuzzSession<'a, T> {
    request: &'a FuzzRequest,
    trial: T,
    tally: Tally,
}

impl<T: Tries> FuzzSession<'_, T> {
    /// Runs programs, again and again if a time is given, until one diverges.
    fn replay(&mut self, programs: &[(PathBuf, Program)]) -> anyhow::Result<()> {
        let begin = Instant::now();
        // Whoever names one program wants to see it run, whatever it does.
        let restraint = self.trial.restraint();
        let (programs, others): (Vec<_>, Vec<_>) = programs
            .iter()
            .partition(|(_, program)| programs.len() == 1 || program.fits(restraint));
        if !others.is_empty() {
            print::line(format_args!(
                "{} programs left out: they do what programs on this file system do not",
                others.len()
            ));
        }
        loop {
            let mut diverged = false;
            for (path, program) in &programs {
                self.tally.programs += 1;
                let met = self.run(path, program)?;
                if self.is_interrupted() {
                    return Ok(());
                }
                let Some(divergence) = met else {
                    continue;
                };
                let path = path.display();
                if let Some(reason) = divergence.tolerated {
                    print::line(format_args!("{path}: tolerated, {reason}: {divergence}"));
                    self.tally.tolerate(&divergence, reason);
                } else {
                    print::line(format_args!("{path}: {divergence}"));
                    self.tally.again(&divergence.kind);
                }
                diverged = true;
            }
            if diverged {
                return Ok(());
            }
            if self.request.duration.is_none_or(|limit| begin.elapsed() >= limit) {
                print::line(format_args!("no divergence"));
                return Ok(());
            }
        }
    }

    fn go(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let duration = self.request.duration.unwrap_or(DURATION);
        print::line(format_args!("seed {}", self.request.plan.seed));
        while begin.elapsed() < duration && !self.is_interrupted() {
            let seed = self.request.plan.seed.wrapping_add(self.tally.programs.into());
            let program = Program::random(seed, self.request.steps, self.trial.restraint());
            self.tally.programs += 1;
            let ran = self.trial.run(&program);
            if let Err(error) = &ran {
                print::line(format_args!("seed {seed}:\n{program}"));
                self.keep(&program, "wedged", &format!("{error:#}"))?;
            }
            let Some(divergence) = ran? else {
                continue;
            };
            if let Some(reason) = divergence.tolerated {
                self.tally.tolerate(&divergence, reason);
                continue;
            }
            let kind = &divergence.kind;
            if !self.tally.knows(kind) {
                let again = self.shows_again(&program, &divergence);
                if !matches!(again, Ok(true)) {
                    // It is kept first: what looks a second time may not come to its end.
                    self.tally.once(kind);
                    print::line(format_args!("seed {seed}: seen once: {divergence}"));
                    self.keep(&program, kind, &divergence.whole())?;
                    again?;
                    continue;
                }
            }
            self.tally.again(kind);
            if self.tally.wants_program(kind) {
                let tries = self.trial.tries(&program, kind);
                let tries = self.or_keep(tries, &program, &divergence)?;
                let steady = tries == STEADY;
                if steady || !self.tally.is_racing(kind) {
                    self.show(&program, &divergence, tries)?;
                }
                self.tally.set_steady(kind, steady);
                if steady && self.request.variant.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs a program that was kept; where it diverged.
    fn run(&mut self, path: &Path, program: &Program) -> anyhow::Result<Option<Divergence>> {
        if !program.holds() {
            return self.trial.run(program);
        }
        let ran = self.trial.force(program)?;
        if let Some(ran) = &ran {
            print::line(format_args!("{}: {}", path.display(), ran.forcing));
        }
        Ok(ran.and_then(|ran| Divergence::worst(ran.found)))
    }

    fn is_interrupted(&mut self) -> bool {
        self.tally.interrupted |= self.trial.is_interrupted();
        self.tally.interrupted
    }

    /// Whether a divergence comes again, or needs no second look: what a rule finds rests on
    /// events.
    fn shows_again(&mut self, program: &Program, divergence: &Divergence) -> anyhow::Result<bool> {
        if divergence.kind.starts_with("finding") {
            return Ok(true);
        }
        Ok(self.trial.meet(program, &divergence.kind, SECOND_LOOKS)?.is_some())
    }

    /// Shrinks a program that diverged, and keeps it.
    fn show(
        &mut self,
        program: &Program,
        divergence: &Divergence,
        tries: u32,
    ) -> anyhow::Result<()> {
        let kind = &divergence.kind;
        print::line(format_args!("seed {}: {divergence}\nshrinking it", program.seed));
        let small = self.trial.shortest(program, kind, tries, SHRINKING);
        let small = self.or_keep(small, program, divergence)?;
        let again = self.trial.meet(&small, kind, tries);
        let again = self.or_keep(again, &small, divergence)?;
        print::line(format_args!(
            "{} steps, shrunk from {}:",
            small.steps.len(),
            program.steps.len()
        ));
        print::line(format_args!("{small}"));
        self.tally.shrunk(kind, small.steps.len(), program.steps.len());
        if let Some(again) = &again {
            print::line(format_args!("{again}"));
        } else {
            print::line(format_args!(
                "{kind} (in none of {tries} more runs); the whole program is kept too"
            ));
            self.keep(program, kind, &divergence.whole())?;
        }
        self.keep(&small, kind, &again.as_ref().unwrap_or(divergence).whole())
    }

    /// What came of another look at a program that diverged, which is kept as it is if that did not come to
    /// its end.
    fn or_keep<Went>(
        &self,
        went: anyhow::Result<Went>,
        program: &Program,
        divergence: &Divergence,
    ) -> anyhow::Result<Went> {
        if went.is_err() {
            self.keep(program, &divergence.kind, &divergence.whole())?;
        }
        went
    }

    fn keep(&self, program: &Program, kind: &str, evidence: &str) -> anyhow::Result<()> {
        let Some(folder) = self.request.results.last() else {
            return Ok(());
        };
        let path = Kept { program, kind, evidence }.write(folder)?;
        print::line(format_args!("replay: {}", self.request.again(&path)));
        Ok(())
    }
}
