//! What programs run on, against the reference: a file system of the running kernel, or the
//! reference with a bug.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cases::Patience;
use cases::system::kernel;
use cases::system::reference::{Config, Reference};
use reference::Variant;
use tracer::globals;
use tracer::symbols::Symbols;

use crate::alarm::alarms;
use crate::fs::Fs;
use crate::task;
use crate::verdict::Problem;
use crate::world::{self, Unusable, World};

use super::execute::{self, Files, Subject};
use super::program::{Program, Restraint};
use super::request::FuzzRequest;
use super::seen::Divergence;
use super::spent::Spent;
use super::tolerance::{self, Tolerance};

/// After one in so many programs the file system is unmounted, checked and mounted, and what the
/// program left is read again. That takes as long as some ten programs.
const REMOUNT: u64 = 64;

/// The machine cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the machine needs a reboot: {0}")]
pub(super) struct Wedged(String);

pub(super) fn broken(fault: Unusable) -> anyhow::Error {
    match fault {
        Unusable::Wedged(why) => Wedged(why).into(),
        Unusable::Broken(error) => error,
    }
}

/// Whether the user wants to end.
pub(super) type Stop<'a> = &'a mut dyn FnMut() -> bool;

/// What programs run on.
pub(super) enum Testbed {
    /// A file system of the running kernel.
    Kernel(Box<OnKernel>),
    /// The reference, with this bug.
    Variant(Option<Variant>),
}

/// What programs on a kernel have in common, for making it takes longer than most of them.
pub(super) struct OnKernel {
    world: World,
    known: Tolerance,
    devices: kernel::Devices,
    /// Where a program's files are; empty between two, and new after one that diverged.
    directory: PathBuf,
    /// The reference that this kernel is held against.
    like: Config,
    fs: Fs,
    spent: Spent,
}

impl OnKernel {
    /// Tries which order it is, for one of the two is what this file system does.
    fn look(&mut self, stop: Stop<'_>) -> anyhow::Result<()> {
        let config = Config { looks_first: true, ..self.like };
        let program = Program::of_a_refusal();
        let divergence = self.run(&program, &mut Reference::new(&config), stop)?;
        if let Some(other) = divergence.as_ref().filter(|d| d.step != Some(program.steps.len())) {
            anyhow::bail!("a program of {} steps went wrong: {other}", program.steps.len());
        }
        self.like.looks_first = divergence.is_none();
        Ok(())
    }

    /// What the processes of the last program do that were killed and do not end, if there are any.
    fn left_behind(&self) -> Option<String> {
        let until = Instant::now() + self.world.grace();
        while !self.devices.stuck().is_empty() {
            if Instant::now() >= until {
                return Some(task::evidence(&self.devices.stuck().into_iter().collect()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn run(
        &mut self,
        program: &Program,
        reference: &mut Reference,
        stop: Stop<'_>,
    ) -> anyhow::Result<Option<Divergence>> {
        if !self.world.take_turn(stop)? {
            return Ok(None);
        }
        let spent = self.spent.clone();
        spent.on("having WARN_ON_ONCE warn again", world::warn_again);
        let config =
            kernel::Config { directory: self.directory.clone(), patience: Patience::default() };
        let mut system = spent.on("making tasks", || self.devices.open(&config))?;
        let subject = Subject::Kernel(self.known.clone());
        let is_last = program.seed % REMOUNT == REMOUNT - 1;
        let files = if is_last { Files::Kept } else { Files::Removed };
        let mut divergence =
            execute::run(program, system.as_mut(), reference, subject, files, &spent);
        if let Some(divergence) = &mut divergence {
            divergence.add("what its tasks did", &system.describe());
        }
        spent.on("ending tasks", || drop(system));
        let log = spent.on("reading the kernel log", || self.world.log())?;
        if let Some(evidence) = spent.on("ending tasks", || self.left_behind()) {
            let divergence = divergence.map_or_else(String::new, |found| found.to_string());
            let why = format!("a killed program did not exit\n{divergence}\n{evidence}");
            return Err(broken(Unusable::Wedged(why)));
        }
        if files == Files::Kept && divergence.is_none() {
            divergence = self.remounted(&config, reference)?;
        }
        if files == Files::Kept || divergence.is_some() {
            spent
                .on("emptying the directory", || self.world.remove(&self.directory))
                .map_err(broken)?;
            self.directory = begin(&mut self.world)?;
        }
        let mut found: Vec<_> = divergence.into_iter().collect();
        found.extend(alarms(&log).into_iter().map(|alarm| {
            let tolerated = self.known.excuses(&alarm);
            Divergence { tolerated, ..Divergence::at_end(alarm.title, alarm.text) }
        }));
        if log.lost > 0 {
            let why = format!("{} records were lost; a larger log_buf_len helps", log.lost);
            found.push(Divergence::at_end("the kernel log overflowed".to_owned(), why));
        }
        Ok(Divergence::worst(found).map(|mut worst| {
            worst.add("the kernel log", &log.text());
            worst
        }))
    }
}

impl OnKernel {
    /// Unmounts the file system, checks it, mounts it and reads again what a program left.
    fn remounted(
        &mut self,
        config: &kernel::Config,
        reference: &mut Reference,
    ) -> anyhow::Result<Option<Divergence>> {
        let spent = self.spent.clone();
        // Its processes have the old file system.
        self.devices.dismiss();
        let complaint = spent.on("mounting again", || self.world.renew(true)).map_err(broken)?;
        self.prepare()?;
        if let Some(complaint) = complaint {
            // There is a new one then.
            return Ok(Some(Divergence::at_end(complaint.title, complaint.text)));
        }
        let mut system = spent.on("making tasks", || self.devices.open(config))?;
        let subject = Subject::Kernel(self.known.clone());
        let again = || execute::read_again(system.as_mut(), reference, subject);
        Ok(spent.on("reading again", again))
    }

    /// What a mounted file system needs.
    fn prepare(&self) -> anyhow::Result<()> {
        let device = self.world.device().context("a kernel's world has a device")?;
        tolerance::write_no_zeros(self.fs, device)
    }
}

fn begin(world: &mut World) -> anyhow::Result<PathBuf> {
    world.begin().map_err(broken)?.context("a kernel's world has directories")
}

impl Testbed {
    /// Makes it; none if the user wants to `stop` before that.
    pub(super) fn enter(request: &FuzzRequest, stop: Stop<'_>) -> anyhow::Result<Option<Self>> {
        if request.plan.target.fs == Fs::Reference {
            return Ok(Some(Self::Variant(request.variant)));
        }
        world::check(&request.plan, &request.program)?;
        let mut world = World::enter(&request.plan, &request.program)?;
        if !world.take_turn(stop)? {
            world.leave();
            return Ok(None);
        }
        world.prepare().map_err(broken)?;
        let directory = begin(&mut world)?;
        let devices = kernel::Devices::new(kernel::Owner::here()?);
        // After the file system is mounted, when its module is there.
        let known = Tolerance::here(&request.plan.target, &request.plan.known)?;
        let shape = globals::counting(&Symbols::read()?);
        let like = Config { shape, ..Config::default() };
        let spent = Spent::default();
        let fs = request.plan.target.fs;
        let mut bed = OnKernel { world, known, devices, directory, like, fs, spent };
        bed.prepare()?;
        bed.look(stop)?;
        Ok(Some(Self::Kernel(Box::new(bed))))
    }

    /// Where the time of the programs went, if they ran on a kernel.
    pub(super) fn spent(&self) -> Option<&Spent> {
        match self {
            Self::Kernel(bed) => Some(&bed.spent),
            Self::Variant(_) => None,
        }
    }

    pub(super) fn restraint(&self) -> Restraint {
        match self {
            Self::Kernel(bed) => {
                let reflink = bed.known.shares();
                Restraint { reflink, loads: false, evict: false, direct: false }
            }
            Self::Variant(_) => Restraint { reflink: true, loads: true, evict: true, direct: true },
        }
    }

    /// Runs a program; where it diverged.
    pub(super) fn run(
        &mut self,
        program: &Program,
        stop: Stop<'_>,
    ) -> anyhow::Result<Option<Divergence>> {
        let like = match self {
            Self::Kernel(bed) => bed.like,
            Self::Variant(_) => Config::default(),
        };
        let config = Config { seed: program.seed, ..like };
        let mut reference = Reference::new(&config);
        match self {
            Self::Variant(variant) => {
                let mut variant = Reference::new(&Config { variant: *variant, ..config });
                let divergence = execute::run(
                    program,
                    &mut variant,
                    &mut reference,
                    Subject::Variant,
                    Files::Removed,
                    &Spent::default(),
                );
                Ok(divergence.or_else(|| {
                    let found = variant.findings().into_iter().next()?;
                    Some(Divergence::at_end(format!("finding {}", found.rule), found.to_string()))
                }))
            }
            Self::Kernel(bed) => bed.run(program, &mut reference, stop),
        }
    }

    /// Leaves nothing behind. What the file system and the kernel's log say at the end.
    pub(super) fn leave(&mut self) -> anyhow::Result<Vec<Problem>> {
        let Self::Kernel(bed) = self else {
            return Ok(Vec::new());
        };
        bed.devices = kernel::Devices::new(kernel::Owner::here()?);
        let complaint = bed.world.renew(false).map_err(broken)?;
        let log = bed.world.log()?;
        // What is logged in another runner's turn may be that one's.
        let mut problems = if bed.world.has_turn() { alarms(&log) } else { Vec::new() };
        problems.extend(complaint);
        bed.world.leave();
        Ok(problems)
    }
}
