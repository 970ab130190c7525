//! Searches the schedules of small programs for one that breaks a rule, and replays it.
//!
//! `cargo run -p reference --features shuttle --example schedules -- --help`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use protocol::event::Counting;
use rayon::prelude::*;
use reference::Variant;
use reference::scenario::{self, Scenario};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// Searches the reference's schedules.
#[derive(Debug, Parser)]
struct Typed {
    /// Only this program; all without
    #[arg(long)]
    scenario: Option<String>,
    /// With this bug in the reference
    #[arg(long)]
    variant: Option<Variant>,
    /// How schedules are chosen
    #[arg(long, value_enum, default_value_t = Choice::Random)]
    choice: Choice,
    /// Schedules of each program
    #[arg(long, default_value_t = 10_000)]
    schedules: usize,
    /// The first seed; each core gets its own
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replays this schedule, as it was printed
    #[arg(long, requires = "scenario")]
    schedule: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    /// Each step by lot.
    Random,
    /// Probabilistic concurrency testing: few switches, at places chosen by lot.
    Pct,
    /// All, as far as they go.
    Exhaustive,
}

fn run<S: Scheduler + 'static>(
    scenario: &'static Scenario,
    shape: Counting,
    variant: Option<Variant>,
    scheduler: S,
) -> Result<usize, String> {
    let mut config = Config::default();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(100_000);
    catch_unwind(AssertUnwindSafe(|| {
        Runner::new(scheduler, config).run(move || {
            let findings = scenario::run(scenario, shape, variant);
            assert!(findings.is_empty(), "{}", findings[0]);
        })
    }))
    .map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default()
    })
}

fn main() -> ExitCode {
    let typed = Typed::parse();
    let scenarios: Vec<&'static Scenario> = scenario::ALL
        .iter()
        .filter(|scenario| typed.scenario.as_ref().is_none_or(|name| scenario.name == name))
        .collect();
    if scenarios.is_empty() {
        let names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        eprintln!("there is no such scenario; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let jobs: Vec<_> = scenarios
        .iter()
        .flat_map(|scenario| {
            [Counting::IdleAtOne, Counting::IdleAtZero].map(|shape| (*scenario, shape))
        })
        .collect();
    let clean = jobs.into_par_iter().map(|(scenario, shape)| {
        let begin = Instant::now();
        let (seed, schedules) = (typed.seed, typed.schedules);
        let ran = match (&typed.schedule, typed.choice) {
            (Some(schedule), _) => {
                let replay = ReplayScheduler::new_from_encoded(schedule);
                run(scenario, shape, typed.variant, replay)
            }
            (None, Choice::Random) => {
                let random = RandomScheduler::new_from_seed(seed, schedules);
                run(scenario, shape, typed.variant, random)
            }
            (None, Choice::Pct) => {
                let pct = PctScheduler::new_from_seed(seed, 3, schedules);
                run(scenario, shape, typed.variant, pct)
            }
            (None, Choice::Exhaustive) => {
                let all = DfsScheduler::new(Some(schedules), false);
                run(scenario, shape, typed.variant, all)
            }
        };
        let took = begin.elapsed();
        let name = scenario.name;
        match ran {
            Ok(count) => println!("{name} {shape:?}: {count} schedules clean in {took:.1?}"),
            Err(ref why) => println!("{name} {shape:?}: not clean after {took:.1?}: {why}"),
        }
        ran.is_ok()
    });
    if clean.reduce(|| true, |a, b| a && b) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
