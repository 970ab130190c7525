//! What programs run on, against the reference: a file system of the running kernel, or the
//! reference with a bug.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cases::Patience;
use cases::system::kernel;
use cases::system::reference::{Reference, ReferenceSetup};
use cases::system::{Need, System};
use reference::Variant;
use tracer::globals;
use tracer::symbols::Symbols;

use crate::alarm::alarms;
use crate::fs::FsType;
use crate::holding::Holding;
use crate::plan::Plan;
use crate::print;
use crate::task;
use crate::verdict::Problem;
use crate::world::{self, Unusable, World};

use super::execute::{self, Eyes, Files, Subject};
use super::interleave::{self, Forcing, Orders, Ran};
use super::program::{Program, Restraint};
use super::seen::Divergence;
use super::spent::Spent;
use super::tolerance::{self, Tolerance};

/// After one in so many programs the file system is unmounted, checked and mounted, and what the
/// program left is read again. That takes as long as some ten programs.
const REMOUNT: u64 = 64;

/// The machine cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the machine needs a reboot: {0}")]
pub(crate) struct Wedged(String);

fn broken(fault: Unusable) -> anyhow::Error {
    match fault {
        Unusable::Wedged(why) => Wedged(why).into(),
        Unusable::Broken(error) => error,
    }
}

/// Whether the user wants to end.
pub(crate) type StopAsked<'a> = &'a mut dyn FnMut() -> bool;

/// What programs run on.
pub(crate) enum Testbed {
    /// A file system of the running kernel.
    Kernel(Box<OnKernel>),
    /// The reference, with a bug or without.
    Reference(OnReference),
}

/// What programs on the reference have in common.
pub(crate) struct OnReference {
    variant: Option<Variant>,
    patience: Patience,
    orders: Orders,
    eyes: Eyes,
}

/// What programs on a kernel have in common, for making it takes longer than most of them.
pub(crate) struct OnKernel {
    world: World,
    holding: Holding,
    orders: Orders,
    known: Tolerance,
    devices: kernel::Devices,
    /// Where a program's files are; empty between two, and new after one that diverged.
    directory: PathBuf,
    /// The reference that this kernel is held against.
    like: ReferenceSetup,
    fs: FsType,
    /// Why no mapping entry is huge here, if none is.
    no_huge: Option<String>,
    eyes: Eyes,
    spent: Spent,
}

impl OnKernel {
    /// What a program's system is made with.
    fn setup(&self) -> kernel::KernelSetup {
        let (directory, patience) = (self.directory.clone(), self.like.patience);
        kernel::KernelSetup { directory, patience, spare: None }
    }

    /// Tries whether files can be mapped by huge entries, and says so if not.
    fn try_huge(&mut self) -> anyhow::Result<()> {
        let setup = self.setup();
        let mut system = self.devices.open(&setup, Err("nobody is held".to_owned()))?;
        self.no_huge = system.offers(Need::Huge).err();
        drop(system);
        if let Some(why) = &self.no_huge {
            print::line(format_args!("no program has huge files: {why}"));
        }
        Ok(())
    }

    /// Tries which order it is, for one of the two is what this file system does.
    fn look(&mut self, stop: StopAsked<'_>) -> anyhow::Result<()> {
        let setup = ReferenceSetup { looks_first: true, ..self.like };
        let program = Program::of_a_refusal();
        let divergence = self.compare(&program, &mut Reference::new(&setup), stop)?;
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

    /// Runs a program step by step beside the reference; where it diverged.
    fn compare(
        &mut self,
        program: &Program,
        reference: &mut Reference,
        stop: StopAsked<'_>,
    ) -> anyhow::Result<Option<Divergence>> {
        let subject = Subject::Kernel(self.known.clone());
        let spent = self.spent.clone();
        let is_last = !program.bare && program.seed % REMOUNT == REMOUNT - 1;
        let files = if is_last { Files::Kept } else { Files::Removed };
        let how = (files, self.eyes);
        let ran = self.run(program, stop, (files, Some(reference)), |system, _, reference| {
            let compare =
                |reference| execute::run(program, system, reference, subject, how, &spent);
            let found = reference.and_then(|reference| compare(reference)).into_iter().collect();
            // What is bare leaves its files.
            Ran { forcing: Forcing::Forced, found, clean: !program.bare }
        })?;
        Ok(ran.and_then(|ran| Divergence::worst(ran.found)))
    }

    /// Runs a program in which tasks are held; none if the user wants to end instead.
    fn force(&mut self, program: &Program, stop: StopAsked<'_>) -> anyhow::Result<Option<Ran>> {
        let (known, like, spent) = (self.known.clone(), self.like, self.spent.clone());
        let mut ran = self.run(program, stop, (Files::Removed, None), |system, orders, _| {
            interleave::run(program, system, Some(&known), (orders, &like), &spent)
        })?;
        for divergence in ran.iter_mut().flat_map(|ran| &mut ran.found) {
            let explained = known.explains(program, divergence);
            divergence.tolerated = divergence.tolerated.or(explained);
        }
        Ok(ran)
    }

    /// Has `work` run a program, and adds what the kernel has to say of it; none if the user wants to
    /// end instead. Files that are kept are read again, beside the reference that work has.
    fn run(
        &mut self,
        program: &Program,
        stop: StopAsked<'_>,
        (files, mut reference): (Files, Option<&mut Reference>),
        work: impl FnOnce(&mut dyn System, &mut Orders, Option<&mut Reference>) -> Ran,
    ) -> anyhow::Result<Option<Ran>> {
        if !self.world.take_turn(stop)? {
            return Ok(None);
        }
        let spent = self.spent.clone();
        spent.on("having WARN_ON_ONCE warn again", world::warn_again);
        let setup = self.setup();
        let lent = spent.on("placing probes", || self.holding.lend(program.holds()));
        let lent = lent.map(kernel::HoldPageFd::own);
        let mut system = spent.on("making tasks", || self.devices.open(&setup, lent))?;
        let mut ran = work(system.as_mut(), &mut self.orders, reference.as_deref_mut());
        if let Some(divergence) = ran.found.first_mut() {
            divergence.add("what its tasks did", &system.describe());
        }
        spent.on("ending tasks", || drop(system));
        let log = spent.on("reading the kernel log", || self.world.log())?;
        if let Some(evidence) = spent.on("ending tasks", || self.left_behind()) {
            let divergence = ran.found.first().map_or_else(String::new, ToString::to_string);
            let why = format!("a killed program did not exit\n{divergence}\n{evidence}");
            return Err(broken(Unusable::Wedged(why)));
        }
        if let (Files::Kept, true, Some(reference)) = (files, ran.found.is_empty(), reference) {
            ran.found.extend(self.remounted(program, &setup, reference)?);
        }
        if files == Files::Kept || !ran.found.is_empty() || !ran.clean {
            spent
                .on("emptying the directory", || self.world.remove(&self.directory))
                .map_err(broken)?;
            self.directory = begin(&mut self.world)?;
        }
        ran.found.extend(alarms(&log).into_iter().map(|alarm| {
            let tolerated = self.known.excuses(&alarm);
            Divergence { tolerated, ..Divergence::at_end(alarm.title, alarm.text) }
        }));
        if log.lost > 0 {
            let why = format!("{} records were lost; a larger log_buf_len helps", log.lost);
            ran.found.push(Divergence::at_end("the kernel log overflowed".to_owned(), why));
        }
        for found in &mut ran.found {
            found.add("the kernel log", &log.text());
        }
        Ok(Some(ran))
    }
}

impl OnKernel {
    /// Unmounts the file system, checks it, mounts it and reads again what a program left.
    fn remounted(
        &mut self,
        program: &Program,
        setup: &kernel::KernelSetup,
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
        let lent = Err("nobody is held".to_owned());
        let mut system = spent.on("making tasks", || self.devices.open(setup, lent))?;
        let subject = Subject::Kernel(self.known.clone());
        let again = || execute::read_again(program, system.as_mut(), reference, subject);
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
    ///
    /// `variant` is the bug of the reference, if the plan is for that; `program` the runner's own
    /// binary.
    pub(crate) fn enter(
        plan: &Plan,
        variant: Option<Variant>,
        program: &Path,
        stop: StopAsked<'_>,
    ) -> anyhow::Result<Option<Self>> {
        if plan.target.fs == FsType::Reference {
            return Ok(Some(Self::on_reference(variant, Patience::times(plan.timeout_factor))));
        }
        world::check(plan, program)?;
        let mut world = World::enter(plan, program)?;
        if !world.take_turn(stop)? {
            world.leave();
            return Ok(None);
        }
        world.prepare().map_err(broken)?;
        let directory = begin(&mut world)?;
        let devices = kernel::Devices::new(kernel::Owner::here()?);
        // After the file system is mounted, when its module is there.
        let known = Tolerance::here(&plan.target, &plan.known)?;
        let shape = globals::counting(&Symbols::read()?);
        let patience = Patience::times(plan.timeout_factor);
        let like = ReferenceSetup { shape, patience, ..ReferenceSetup::default() };
        let mut bed = OnKernel {
            world,
            holding: Holding::default(),
            orders: Orders::default(),
            known,
            devices,
            directory,
            like,
            fs: plan.target.fs,
            no_huge: None,
            eyes: Eyes::Oracles,
            spent: Spent::default(),
        };
        bed.prepare()?;
        bed.try_huge()?;
        bed.look(stop)?;
        Ok(Some(Self::Kernel(Box::new(bed))))
    }

    /// Where the time of the programs went, if they ran on a kernel.
    pub(crate) fn spent(&self) -> Option<&Spent> {
        match self {
            Self::Kernel(bed) => Some(&bed.spent),
            Self::Reference(_) => None,
        }
    }

    /// The reference with this bug, or with none.
    pub(crate) fn on_reference(variant: Option<Variant>, patience: Patience) -> Self {
        let (orders, eyes) = (Orders::default(), Eyes::Oracles);
        Self::Reference(OnReference { variant, patience, orders, eyes })
    }

    /// Has programs be compared by what they see themselves, and goes round no bug that is known.
    pub(crate) fn see_as_programs(&mut self) {
        match self {
            Self::Kernel(bed) => {
                bed.eyes = Eyes::Program;
                bed.known = bed.known.clone().without_finds();
            }
            Self::Reference(bed) => bed.eyes = Eyes::Program,
        }
    }

    /// What of this is not to be had here, and why, if something is not.
    pub(crate) fn lacks(&mut self, needs: &[Need]) -> anyhow::Result<Option<String>> {
        let ask = |system: &mut dyn System| {
            needs
                .iter()
                .find_map(|need| system.offers(*need).err().map(|why| format!("{need}: {why}")))
        };
        match self {
            Self::Kernel(bed) => {
                let setup = bed.setup();
                let lent = Err("nobody is held".to_owned());
                let mut system = bed.devices.open(&setup, lent)?;
                Ok(ask(system.as_mut()))
            }
            Self::Reference(_) => Ok(ask(&mut Reference::new(&ReferenceSetup::default()))),
        }
    }

    /// Why no task can be held here, if none can.
    pub(crate) fn refuses_holds(&mut self) -> Option<String> {
        match self {
            Self::Kernel(bed) => bed.holding.lend(true).err(),
            Self::Reference(_) => None,
        }
    }

    /// What programs on it may not use.
    pub(crate) fn restraint(&self) -> Restraint {
        match self {
            Self::Kernel(bed) => {
                let reflink = bed.known.shares();
                let huge = bed.no_huge.is_none();
                Restraint { reflink, loads: false, evict: false, direct: false, huge }
            }
            Self::Reference(_) => {
                Restraint { reflink: true, loads: true, evict: true, direct: true, huge: false }
            }
        }
    }

    /// Runs a program; where it diverged.
    pub(crate) fn run(
        &mut self,
        program: &Program,
        stop: StopAsked<'_>,
    ) -> anyhow::Result<Option<Divergence>> {
        if program.holds() {
            return Ok(self.force(program, stop)?.and_then(|ran| Divergence::worst(ran.found)));
        }
        let like = match self {
            Self::Kernel(bed) => bed.like,
            Self::Reference(bed) => {
                ReferenceSetup { patience: bed.patience, ..ReferenceSetup::default() }
            }
        };
        let setup = ReferenceSetup { seed: program.seed, ..like };
        let mut reference = Reference::new(&setup);
        match self {
            Self::Reference(bed) => {
                let mut variant = Reference::new(&ReferenceSetup { variant: bed.variant, ..setup });
                let divergence = execute::run(
                    program,
                    &mut variant,
                    &mut reference,
                    Subject::Variant,
                    (Files::Removed, bed.eyes),
                    &Spent::default(),
                );
                Ok(divergence.or_else(|| {
                    let found = variant.findings().into_iter().next()?;
                    Some(Divergence::found(found.rule, found.to_string()))
                }))
            }
            Self::Kernel(bed) => bed.compare(program, &mut reference, stop),
        }
    }

    /// Runs a program in which tasks are held; none if the user wants to end instead.
    pub(crate) fn force(
        &mut self,
        program: &Program,
        stop: StopAsked<'_>,
    ) -> anyhow::Result<Option<Ran>> {
        let bed = match self {
            Self::Kernel(bed) => return bed.force(program, stop),
            Self::Reference(bed) => bed,
        };
        let like = ReferenceSetup { patience: bed.patience, ..ReferenceSetup::default() };
        let mut subject = Reference::new(&ReferenceSetup { variant: bed.variant, ..like });
        let orders = (&mut bed.orders, &like);
        let mut ran = interleave::run(program, &mut subject, None, orders, &Spent::default());
        ran.found.extend(
            subject
                .findings()
                .into_iter()
                .map(|found| Divergence::found(found.rule, found.to_string())),
        );
        Ok(Some(ran))
    }

    /// Leaves nothing behind. What the file system and the kernel's log say at the end.
    pub(crate) fn leave(&mut self) -> anyhow::Result<Vec<Problem>> {
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
