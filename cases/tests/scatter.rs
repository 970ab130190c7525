//! A file system that hands out blocks by lot: what a case cannot show there it must not claim.
//!
//! `SCATTER_SEEDS=300 cargo test -p cases --test scatter` tries more seeds.

use std::sync::atomic::{AtomicU64, Ordering};

use cases::system::reference::{Reference, ReferenceSetup};
use cases::{Case, Ending, all, perform};
use rayon::prelude::*;
use reference::{Scatter, Variant};

mod waiting;

/// Seeds of the allocator.
fn seeds() -> u64 {
    std::env::var("SCATTER_SEEDS")
        .map_or(3, |seeds| seeds.parse().expect("SCATTER_SEEDS is a number"))
}

fn run(case: &Case, variant: Option<Variant>, scatter: Scatter) -> Ending {
    let config = ReferenceSetup { variant, scatter: Some(scatter), ..ReferenceSetup::default() };
    perform(case, &mut Reference::new(&config), config.seed, &mut |_| {})
}

fn is_not_exercised(ending: &Ending) -> bool {
    matches!(ending, Ending::NotRun(why) if why.starts_with("not exercised: "))
}

/// The cases that want a block to be given again, each with a bug that shows if it is.
const WANTING: [(&str, Variant); 7] = [
    ("evict/flipped-keeps-blocks", Variant::SkipUnmapped),
    ("evict/unlinked-keeps-blocks", Variant::NoBreak),
    ("race/canary", Variant::NoBreak),
    ("race/canary-truncate", Variant::NoBreak),
    ("reflink/cow-fault-then-free", Variant::NoBreakOnCowFault),
    ("reflink/cow-write-then-free", Variant::NoBreakOnCowWrite),
    ("reflink/dedupe-unwritten-differs", Variant::DedupeComparesUnwritten),
];

/// Those that want blocks to lie side by side, or to have been another file's.
const IN_PLACE: [(&str, Variant); 3] = [
    ("beside/cow-write", Variant::WriteSpills),
    ("beside/write", Variant::WriteSpills),
    ("history/part-of-hole-beside-shared-page", Variant::NewBlockNotZeroed),
];

fn named(rows: &[(&'static str, Variant)]) -> impl Iterator<Item = (&'static Case, Variant)> {
    rows.iter().map(|&(name, variant)| {
        let case = all().into_iter().find(|case| case.name == name);
        (case.unwrap_or_else(|| panic!("there is no case {name}")), variant)
    })
}

#[test]
fn every_case_passes_or_says_that_it_was_not_exercised() {
    let idle = AtomicU64::new(0);
    let judge =
        |(seed, case): (u64, &Case)| match run(case, None, Scatter { seed, keeps_one_in: 8 }) {
            Ending::Pass => None,
            Ending::NotRun(why) if why.starts_with("needs ") => None,
            ending if is_not_exercised(&ending) => {
                idle.fetch_add(1, Ordering::Relaxed);
                None
            }
            ending => Some(format!("{} with seed {seed}: {ending:?}", case.name)),
        };
    let runs: Vec<_> =
        (1..=seeds()).flat_map(|seed| all().into_iter().map(move |case| (seed, case))).collect();
    let wrong: Vec<_> =
        waiting::pool().install(|| runs.into_par_iter().filter_map(judge).collect());
    eprintln!("not exercised: {}", idle.into_inner());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_bug_is_seen_or_the_case_says_that_it_was_not_exercised() {
    let sees = |case: &Case, variant, seed| match run(
        case,
        Some(variant),
        Scatter { seed, keeps_one_in: 3 },
    ) {
        Ending::Fail(_) => true,
        ending => {
            assert!(is_not_exercised(&ending), "{} with seed {seed}: {ending:?}", case.name);
            false
        }
    };
    for (case, variant) in named(&WANTING).chain(named(&IN_PLACE)) {
        let seeds: Vec<_> = (1..=20 * seeds()).collect();
        let seen = waiting::pool()
            .install(|| seeds.into_par_iter().filter(|seed| sees(case, variant, *seed)).count());
        assert!(seen > 0, "{} never saw {variant}", case.name);
    }
}

#[test]
fn without_the_block_nothing_is_claimed() {
    // Every freed block is the file system's own from then on.
    let scatter = Scatter { seed: 1, keeps_one_in: 1 };
    for (case, variant) in named(&WANTING) {
        for variant in [None, Some(variant)] {
            let ending = run(case, variant, scatter);
            // Without a bug copy-on-write waits, and then need not copy: the file that has the
            // block keeps it, which shows.
            let is_kept = variant.is_none()
                && case.name.starts_with("reflink/cow-")
                && ending == Ending::Pass;
            assert!(
                is_kept || is_not_exercised(&ending),
                "{} with {variant:?}: {ending:?}",
                case.name
            );
        }
    }
}
