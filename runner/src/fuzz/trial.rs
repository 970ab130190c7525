//! Programs that are run again: whether one still shows what it showed, and how short it can be.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::verdict::Problem;

use super::interleave::Ran;
use super::program::{Program, Restraint};
use super::seen::Divergence;
use super::shrink;
use super::testbed::Testbed;
use super::under_way::UnderWay;

/// Runs of a program that are to show whether it still diverges, at most.
const MOST_TRIES: u32 = 100;

/// Runs of a program that diverges each time.
pub(crate) const STEADY: u32 = 2;

/// How long a program of the fuzzer is made shorter, while others wait.
pub(crate) const SHRINKING: Duration = Duration::from_mins(1);

/// A testbed, and the user who may want to end.
pub(crate) struct Trial {
    /// What programs run on.
    pub(crate) testbed: Testbed,
    interrupt: Interrupt,
    /// Where the program is written down that runs on a kernel.
    under_way: Option<UnderWay>,
}

/// Running programs, however it is done.
pub(crate) trait Tries {
    /// Whether the user wants to end.
    fn is_interrupted(&mut self) -> bool;

    /// What programs may not use.
    fn restraint(&self) -> Restraint;

    /// Runs a program; where it diverged.
    fn run(&mut self, program: &Program) -> anyhow::Result<Option<Divergence>>;

    /// Runs a program in which tasks are held; none if the user wants to end instead.
    fn force(&mut self, program: &Program) -> anyhow::Result<Option<Ran>>;

    /// Runs a program up to so many times, until it diverges in this way.
    fn meet(
        &mut self,
        program: &Program,
        kind: &str,
        runs: u32,
    ) -> anyhow::Result<Option<Divergence>> {
        for _ in 0..runs {
            let found = if program.holds() {
                self.force(program)?.map(|ran| ran.found).unwrap_or_default()
            } else {
                self.run(program)?.into_iter().collect()
            };
            let met = found.into_iter().find(|divergence| divergence.kind == kind);
            if met.is_some() {
                return Ok(met);
            }
            if self.is_interrupted() {
                break;
            }
        }
        Ok(None)
    }

    /// In how many runs a program diverges in this way almost surely: a race does not show each
    /// time.
    fn tries(&mut self, program: &Program, kind: &str) -> anyhow::Result<u32> {
        let (mut runs, mut shown) = (0, 0);
        while shown < STEADY && runs < MOST_TRIES && !self.is_interrupted() {
            runs += 1;
            shown += u32::from(self.meet(program, kind, 1)?.is_some());
        }
        Ok(if runs == shown { STEADY } else { (2 * runs).min(MOST_TRIES) })
    }

    /// The shortest that was found of a program that diverges in this way in one of so many runs.
    /// Nothing more is tried after `most`.
    fn shortest(
        &mut self,
        program: &Program,
        kind: &str,
        runs: u32,
        most: Duration,
    ) -> anyhow::Result<Program> {
        let begin = Instant::now();
        shrink::shrink(program, |candidate| {
            // What is left then is short enough to begin with; a step that hangs takes minutes.
            if begin.elapsed() > most || self.is_interrupted() {
                return Ok(false);
            }
            Ok(self.meet(candidate, kind, runs)?.is_some())
        })
    }
}

impl Trial {
    /// One on this testbed. What runs on a kernel is written down in `folder`, if there is one; `again` knows
    /// the command that runs it again.
    pub(crate) fn new(
        testbed: Testbed,
        interrupt: Interrupt,
        folder: Option<&Path>,
        again: &dyn Fn(&Path) -> String,
    ) -> anyhow::Result<Self> {
        let folder = folder.filter(|_| matches!(testbed, Testbed::Kernel(_)));
        let under_way = folder.map(|folder| UnderWay::begin(folder, again)).transpose()?;
        Ok(Self { testbed, interrupt, under_way })
    }

    /// Leaves nothing behind; what the file system and the kernel's log say at the end.
    pub(crate) fn leave(&mut self) -> anyhow::Result<Vec<Problem>> {
        let problems = self.testbed.leave()?;
        self.under_way.take().map_or(Ok(()), UnderWay::end)?;
        Ok(problems)
    }

    fn write_down(&self, program: &Program) -> anyhow::Result<()> {
        self.under_way.iter().try_for_each(|under_way| under_way.set(program))
    }
}

impl Tries for Trial {
    fn is_interrupted(&mut self) -> bool {
        self.interrupt.count() > 0
    }

    fn restraint(&self) -> Restraint {
        self.testbed.restraint()
    }

    fn run(&mut self, program: &Program) -> anyhow::Result<Option<Divergence>> {
        self.write_down(program)?;
        let interrupt = &mut self.interrupt;
        self.testbed.run(program, &mut || interrupt.count() > 0)
    }

    fn force(&mut self, program: &Program) -> anyhow::Result<Option<Ran>> {
        self.write_down(program)?;
        let interrupt = &mut self.interrupt;
        self.testbed.force(program, &mut || interrupt.count() > 0)
    }
}
