//! The reference under the model checker: no schedule of any scenario breaks a rule, and for
//! every variant some schedule does, which can then be replayed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use protocol::event::Counting;
use reference::Variant;
use reference::scenario::{self, Scenario};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Where failing schedules go.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

const SHAPES: [Counting; 2] = [Counting::IdleAtOne, Counting::IdleAtZero];

/// Runs a scenario under a scheduler; whether every schedule was clean. One that was not is left
/// in the folder of [`schedules`].
fn is_clean<S: Scheduler + 'static>(
    scenario: &'static Scenario,
    shape: Counting,
    variant: Option<Variant>,
    scheduler: S,
) -> bool {
    let mut config = Config::default();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(100_000);
    // The same for all runs of the process: shuttle takes it from the first.
    config.failure_persistence = FailurePersistence::File(Some(FOLDER.into()));
    catch_unwind(AssertUnwindSafe(|| {
        Runner::new(scheduler, config).run(move || {
            let findings = scenario::run(scenario, shape, variant);
            assert!(findings.is_empty(), "{} {variant:?}: {}", scenario.name, findings[0]);
        });
    }))
    .is_ok()
}

#[test]
fn the_protocol_is_clean() {
    for scenario in scenario::ALL {
        for shape in SHAPES {
            let random = RandomScheduler::new_from_seed(1, 300);
            assert!(is_clean(scenario, shape, None, random), "{}", scenario.name);
            let pct = PctScheduler::new_from_seed(1, 3, 300);
            assert!(is_clean(scenario, shape, None, pct), "{}", scenario.name);
            let dfs = DfsScheduler::new(Some(300), false);
            assert!(is_clean(scenario, shape, None, dfs), "{}", scenario.name);
        }
    }
}

/// The failing schedules that shuttle has left.
fn schedules() -> Vec<PathBuf> {
    let files = std::fs::read_dir(FOLDER).expect("cargo makes the folder");
    files
        .map(|file| file.expect("the folder can be read").path())
        .filter(|path| path.to_string_lossy().contains("schedule"))
        .collect()
}

#[test]
fn every_variant_has_a_schedule_that_shows_it_again() {
    for variant in Variant::ALL.iter().filter(|variant| !variant.is_beyond_programs()) {
        // Each in a thread of its own: shuttle 0.9 takes a failing schedule for the one that the
        // thread has saved last, and does not save it, if both are of the same length.
        let shown = std::thread::spawn(|| has_a_schedule_that_shows_it_again(*variant)).join();
        assert!(shown.is_ok(), "{variant}: see above");
    }
}

fn has_a_schedule_that_shows_it_again(variant: Variant) {
    let before = schedules();
    let found = scenario::ALL.iter().find(|scenario| {
        let random = RandomScheduler::new_from_seed(1, 500);
        let pct = PctScheduler::new_from_seed(1, 3, 500);
        let shape = Counting::IdleAtZero;
        !is_clean(scenario, shape, Some(variant), random)
            || !is_clean(scenario, shape, Some(variant), pct)
    });
    let scenario = found.unwrap_or_else(|| panic!("no schedule shows {variant}"));
    eprintln!("{variant}: {}", scenario.name);
    let new = |schedule: &PathBuf| !before.contains(schedule);
    let schedule = schedules().into_iter().find(new).expect("shuttle saves a failing schedule");
    let replay = ReplayScheduler::new_from_file(&schedule).unwrap();
    assert!(
        !is_clean(scenario, Counting::IdleAtZero, Some(variant), replay),
        "{variant}: the schedule does not show it again"
    );
    for schedule in schedules().iter().filter(|schedule| new(schedule)) {
        std::fs::remove_file(schedule).unwrap();
    }
}
