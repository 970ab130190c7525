//! Differential fuzzing: random programs on a file system and on the reference, step by step.
//!
//! A program that the two answer differently is shrunk to the few steps that matter and left as
//! a replay file and as the skeleton of a case. What may differ, and why, stands in
//! [`tolerance`] and nowhere else.

mod dice;
mod execute;
mod program;
mod seen;
mod shrink;
mod skeleton;
mod tolerance;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cases::Patience;
use cases::system::kernel;
use cases::system::reference::{Config, Reference};
use reference::Variant;
use tracer::session;
use tracer::symbols::Symbols;

use crate::exit::Exit;
use crate::output;
use crate::plan::{Fs, Plan};
use crate::print;
use crate::results::Results;
use crate::task;
use crate::world::{self, Fault, World};

use self::execute::Subject;
use self::program::{Program, Restraint};
use self::seen::Divergence;
use self::tolerance::Known;

/// How long a program is made shorter.
const SHRINKING: Duration = Duration::from_mins(1);

/// Runs of a program that are to show whether it still diverges, at most.
const MOST_TRIES: u32 = 100;

/// Runs of a program that diverges each time.
const STEADY: u32 = 2;

/// What to fuzz, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The file system, its device, and the seed.
    pub(crate) plan: Plan,
    /// Instead of a kernel's file system: the reference with this bug.
    pub(crate) variant: Option<Variant>,
    /// How long.
    pub(crate) duration: Duration,
    /// Steps of a program.
    pub(crate) steps: usize,
    /// Runs this program instead.
    pub(crate) replay: Option<PathBuf>,
    /// Where programs that diverge are left: the last of these, which are made in turn.
    pub(crate) results: Vec<PathBuf>,
    /// The runner's own binary.
    pub(crate) program: PathBuf,
}

/// Fuzzes as `order` says.
pub(crate) fn run(order: &Order) -> anyhow::Result<Exit> {
    if order.replay.is_none() {
        // Now, and not when there is something to be lost.
        for folder in &order.results {
            Results::at(folder).check()?;
        }
        if order.plan.fs != Fs::Reference {
            world::check(&order.plan)?;
        }
        for folder in &order.results {
            Results::at(folder).claim()?;
        }
    }
    let mut ground = Ground::enter(order)?;
    let went = Session {
        order,
        ground: &mut ground,
        seen: BTreeMap::new(),
        tolerated: 0,
        racing: BTreeSet::new(),
        unsteady: 0,
    }
    .go();
    ground.leave()?;
    went
}

/// What programs run on, against the reference.
enum Ground {
    Kernel(Box<Soil>),
    Variant(Option<Variant>),
}

/// What programs on a kernel have in common, for making it takes longer than most of them.
struct Soil {
    world: World,
    known: Known,
    devices: kernel::Devices,
    /// Where a program's files are; empty between two, and new after one that diverged.
    directory: PathBuf,
    /// The reference that this kernel is held against.
    like: Config,
}

impl Soil {
    /// Tries which order it is, for one of the two is what this file system does.
    fn look(&mut self) -> anyhow::Result<()> {
        let config = Config { looks_first: true, ..self.like };
        let divergence = self.run(&Program::of_a_refusal(), &mut Reference::new(&config))?;
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
    ) -> anyhow::Result<Option<Divergence>> {
        // Nobody reads this process's signals: SIGINT ends it.
        self.world.take_turn(&mut || false)?;
        world::warn_again();
        let mut system = self.devices.open(&kernel::Config {
            directory: self.directory.clone(),
            patience: Patience::default(),
        })?;
        let subject = Subject::Kernel(self.known.clone());
        let divergence = execute::run(program, system.as_mut(), reference, subject);
        drop(system);
        let alarm = crate::alarm::alarms(&self.world.log()).into_iter().next();
        if let Some(evidence) = self.left_behind() {
            let divergence = divergence.map_or_else(String::new, |found| found.to_string());
            let why = format!("what was killed does not end\n{divergence}\n{evidence}");
            return Err(broken(Fault::Wedged(why)));
        }
        if divergence.is_some() {
            self.world.remove(&self.directory).map_err(broken)?;
            self.directory = begin(&mut self.world)?;
        }
        Ok(divergence.or_else(|| {
            let alarm = alarm?;
            let tolerated = self.known.excuses(&alarm);
            Some(Divergence { tolerated, ..Divergence::at_end(alarm.title, alarm.text) })
        }))
    }
}

fn begin(world: &mut World) -> anyhow::Result<PathBuf> {
    world.begin().map_err(broken)?.context("a kernel's world has directories")
}

impl Ground {
    fn enter(order: &Order) -> anyhow::Result<Self> {
        if order.plan.fs == Fs::Reference {
            return Ok(Self::Variant(order.variant));
        }
        world::check(&order.plan)?;
        let mut world = World::enter(&order.plan, &order.program)?;
        world.take_turn(&mut || false)?;
        world.prepare().map_err(broken)?;
        tolerance::write_no_zeros(order.plan.fs, order.plan.device()?)?;
        let directory = begin(&mut world)?;
        let devices = kernel::Devices::new(kernel::Owner::here()?);
        // After the file system is mounted, when its module is there.
        let known = Known::here(order.plan.fs)?;
        let shape = session::shape(&Symbols::read()?);
        let like = Config { shape, ..Config::default() };
        let mut soil = Soil { world, known, devices, directory, like };
        soil.look()?;
        Ok(Self::Kernel(Box::new(soil)))
    }

    fn restraint(&self) -> Restraint {
        match self {
            Self::Kernel(soil) => {
                let reflink = soil.known.shares();
                Restraint { reflink, loads: false, evict: false, direct: false }
            }
            Self::Variant(_) => Restraint { reflink: true, loads: true, evict: true, direct: true },
        }
    }

    /// Runs a program; where it diverged.
    fn run(&mut self, program: &Program, seed: u64) -> anyhow::Result<Option<Divergence>> {
        let like = match self {
            Self::Kernel(soil) => soil.like,
            Self::Variant(_) => Config::default(),
        };
        let config = Config { seed, ..like };
        let mut reference = Reference::new(&config);
        match self {
            Self::Variant(variant) => {
                let mut variant = Reference::new(&Config { variant: *variant, ..config });
                let divergence =
                    execute::run(program, &mut variant, &mut reference, Subject::Variant);
                Ok(divergence.or_else(|| {
                    let found = variant.findings().into_iter().next()?;
                    Some(Divergence::at_end(format!("finding {}", found.rule), found.to_string()))
                }))
            }
            Self::Kernel(soil) => soil.run(program, &mut reference),
        }
    }

    fn leave(&mut self) -> anyhow::Result<()> {
        if let Self::Kernel(soil) = self {
            soil.devices = kernel::Devices::new(kernel::Owner::here()?);
            let complaint = soil.world.renew(false).map_err(broken)?;
            soil.world.leave();
            if let Some(problem) = complaint {
                anyhow::bail!("{}\n{}", problem.title, problem.text);
            }
        }
        Ok(())
    }
}

fn broken(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Wedged(why) => anyhow::anyhow!("the machine needs a reboot: {why}"),
        Fault::Broken(error) => error,
    }
}

struct Session<'a> {
    order: &'a Order,
    ground: &'a mut Ground,
    /// Divergences by what they are, with how often each was met.
    seen: BTreeMap<String, u64>,
    /// Those of which only a program is known that does not show them each time: a better one is
    /// welcome.
    racing: BTreeSet<String>,
    tolerated: u64,
    /// Divergences that did not come again.
    unsteady: u64,
}

impl Session<'_> {
    fn go(&mut self) -> anyhow::Result<Exit> {
        if let Some(path) = self.order.replay.clone() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let program: Program = serde_json::from_str(&text)?;
            if let Some(divergence) = self.ground.run(&program, program.seed)? {
                print::line(format_args!("{divergence}"));
                return Ok(Exit::Unexpected);
            }
            print::line(format_args!("no divergence"));
            return Ok(Exit::Expected);
        }
        let begin = Instant::now();
        let mut programs = 0_u32;
        print::line(format_args!("seed {}", self.order.plan.seed));
        while begin.elapsed() < self.order.duration {
            let seed = self.order.plan.seed.wrapping_add(programs.into());
            let program = Program::random(seed, self.order.steps, self.ground.restraint());
            programs += 1;
            let ran = self.ground.run(&program, seed);
            if ran.is_err() {
                print::line(format_args!("seed {seed}:\n{program}"));
                self.keep(&program, "wedged")?;
            }
            let Some(divergence) = ran? else {
                continue;
            };
            if divergence.tolerated.is_some() {
                self.tolerated += 1;
            } else if !self.seen.contains_key(&divergence.kind)
                && !self.shows_again(&program, &divergence)?
            {
                self.unsteady += 1;
                continue;
            }
            let kind = match divergence.tolerated {
                Some(reason) => format!("tolerated: {}: {reason}", divergence.kind),
                None => divergence.kind.clone(),
            };
            let met = self.seen.entry(kind.clone()).or_default();
            *met += 1;
            let first = *met == 1;
            if divergence.tolerated.is_none() && (first || self.racing.contains(&kind)) {
                let tries = self.tries(&program, &kind)?;
                let steady = tries == STEADY;
                if first || steady {
                    self.show(&program, &divergence, tries)?;
                }
                if !steady {
                    self.racing.insert(kind);
                } else if self.order.variant.is_some() {
                    break;
                } else {
                    self.racing.remove(&kind);
                }
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        print::line(format_args!(
            "{programs} programs in {seconds:.1} s ({:.1} a second), {} tolerated, {} not seen again",
            f64::from(programs) / seconds,
            self.tolerated,
            self.unsteady
        ));
        for (kind, count) in &self.seen {
            print::line(format_args!("    {count:6}  {kind}"));
        }
        let untolerated = self.seen.values().sum::<u64>() > self.tolerated;
        Ok(if untolerated { Exit::Unexpected } else { Exit::Expected })
    }

    /// Whether a divergence comes again, or needs no second look: what a rule finds rests on
    /// events. What shows once only is the order of things that wake at the same moment.
    fn shows_again(&mut self, program: &Program, divergence: &Divergence) -> anyhow::Result<bool> {
        if divergence.kind.starts_with("finding") {
            return Ok(true);
        }
        Ok(self.meet(program, &divergence.kind, 3)?.is_some())
    }

    /// Runs a program up to so many times, until it diverges in this way.
    fn meet(
        &mut self,
        program: &Program,
        kind: &str,
        runs: u32,
    ) -> anyhow::Result<Option<Divergence>> {
        for _ in 0..runs {
            let met = self.ground.run(program, program.seed)?;
            if let Some(divergence) = met.filter(|divergence| divergence.kind == kind) {
                return Ok(Some(divergence));
            }
        }
        Ok(None)
    }

    /// In how many runs a program diverges in this way almost surely: a race does not show each
    /// time.
    fn tries(&mut self, program: &Program, kind: &str) -> anyhow::Result<u32> {
        let (mut runs, mut shown) = (0, 0);
        while shown < STEADY && runs < MOST_TRIES {
            runs += 1;
            shown += u32::from(self.meet(program, kind, 1)?.is_some());
        }
        Ok(if runs == shown { STEADY } else { (2 * runs).min(MOST_TRIES) })
    }

    /// Shrinks a program that diverged, and keeps it.
    fn show(
        &mut self,
        program: &Program,
        divergence: &Divergence,
        tries: u32,
    ) -> anyhow::Result<()> {
        let kind = divergence.kind.clone();
        print::line(format_args!("seed {}: {divergence}\nshrinking it", program.seed));
        let begin = Instant::now();
        let small = shrink::shrink(program, |candidate| {
            // What is left then is short enough to begin with; a step that hangs takes minutes.
            if begin.elapsed() > SHRINKING {
                return Ok(false);
            }
            Ok(self.meet(candidate, &kind, tries)?.is_some())
        })?;
        let divergence = self.meet(&small, &kind, tries)?;
        print::line(format_args!(
            "{} steps, shrunk from {}:",
            small.steps.len(),
            program.steps.len()
        ));
        print::line(format_args!("{small}"));
        if let Some(divergence) = &divergence {
            print::line(format_args!("{divergence}"));
        } else {
            print::line(format_args!(
                "{kind} (in none of {tries} more runs); the whole program is kept too"
            ));
            self.keep(program, &format!("whole {kind}"))?;
        }
        self.keep(&small, &kind)
    }

    fn keep(&self, program: &Program, kind: &str) -> anyhow::Result<()> {
        let name: String = kind
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(60)
            .collect();
        let Some(folder) = self.order.results.last() else {
            return Ok(());
        };
        let write = |path: &Path, text: &str| output::replace(path, text.as_bytes());
        let replay = folder.join(format!("{name}.json"));
        write(&replay, &serde_json::to_string_pretty(program)?)?;
        write(&folder.join(format!("{name}.rs")), &skeleton::of(program, kind))?;
        print::line(format_args!("replay: runner fuzz ... --replay {}", replay.display()));
        Ok(())
    }
}
