//! Every bug of history, switched into the reference, must be caught by the rule that is about
//! it, in the run of some case.

use std::time::Instant;

use cases::system::reference::{Reference, ReferenceSetup};
use cases::{Case, Ending, Telling, all, perform};
use protocol::Rule;
use protocol::event::Counting;
use rayon::prelude::*;
use reference::Variant;

mod waiting;

/// How often the cases are run for a bug that is a race: on a busy machine it may not be met.
const ATTEMPTS: u64 = 5;

/// Runs cases until one catches the variant: by `rule`, or where no rule can, by failing.
fn caught_by(
    variant: Variant,
    shape: Counting,
    rule: Option<Rule>,
    seed: u64,
) -> Option<&'static str> {
    let caught = |case: &&'static Case| {
        let config =
            ReferenceSetup { variant: Some(variant), shape, seed, ..ReferenceSetup::default() };
        let mut system = Reference::new(&config);
        let mut found = Vec::new();
        let ending = perform(case, &mut system, config.seed, &mut |report| {
            if let Telling::Found(what) = report {
                found.push(what.rule());
            }
        });
        is_told_in_words(&ending);
        match rule {
            Some(rule) => {
                system.findings().iter().any(|finding| finding.rule == rule)
                    || found.contains(&rule)
            }
            None => !matches!(ending, Ending::Pass | Ending::NotRun(_)),
        }
    };
    // Races last, which take long where there is nothing to find.
    let mut cases = all();
    cases.sort_by_key(|case| {
        (["race", "livelock"].contains(&case.group()), !case.coordinates.is_empty())
    });
    waiting::pool()
        .install(|| cases.into_iter().par_bridge().find_any(caught))
        .map(|case| case.name)
}

/// What a person reads has neither a program's own forms in it nor times that were never waited.
fn is_told_in_words(ending: &Ending) {
    let (Ending::Fail(text) | Ending::Hang(text) | Ending::Error(text)) = ending else {
        return;
    };
    for form in ["Id(", " { ", "Ok(", "Err(", "None", "Some(", "within 0 s"] {
        assert!(!text.contains(form), "{form} in: {text}");
    }
}

/// Where a variant is a bug.
fn shapes(variant: Variant) -> Vec<Counting> {
    match variant {
        // Elsewhere a mapping takes no reference.
        Variant::WaitForMappings => vec![Counting::IdleAtZero],
        _ => vec![Counting::IdleAtOne, Counting::IdleAtZero],
    }
}

fn must_be_caught(variant: Variant, rule: Option<Rule>) {
    for shape in shapes(variant) {
        let begin = Instant::now();
        let case = (1..=ATTEMPTS).find_map(|seed| caught_by(variant, shape, rule, seed));
        eprintln!("{variant} {shape:?}: {case:?} after {:?}", begin.elapsed());
        assert!(case.is_some(), "{variant} is not caught where pages are {shape:?}");
    }
}

macro_rules! variants {
    ($($name:ident: $variant:ident, $rule:expr;)+) => {
        $(
            #[test]
            fn $name() {
                must_be_caught(Variant::$variant, $rule);
            }
        )+

        #[test]
        fn all_variants_are_here() {
            assert_eq!([$(Variant::$variant),+], Variant::ALL);
        }
    };
}

variants! {
    no_break: NoBreak, Some(Rule::MissedWait);
    retry_flag: RetryFlag, Some(Rule::MissedWait);
    no_unmap: NoUnmap, Some(Rule::MissedWait);
    drop_all_locks: DropAllLocks, Some(Rule::Livelock);
    hold_invalidate_lock: HoldInvalidateLock, Some(Rule::LockHeld);
    fault_unlocked: FaultUnlocked, Some(Rule::MissedWait);
    lost_wakeup: LostWakeup, Some(Rule::LostWakeup);
    first_page_only: FirstPageOnly, Some(Rule::MissedWait);
    skip_unmapped: SkipUnmapped, Some(Rule::MissedWait);
    wait_for_mappings: WaitForMappings, Some(Rule::LostWakeup);
    no_break_on_reflink_destination: NoBreakOnReflinkDestination, Some(Rule::MissedWait);
    no_break_on_cow_fault: NoBreakOnCowFault, Some(Rule::MissedWait);
    fsync_skips_pinned: FsyncSkipsPinned, Some(Rule::Fsync);
    fsync_fails_pinned: FsyncFailsPinned, Some(Rule::Fsync);
    fsync_blocks_on_pinned: FsyncBlocksOnPinned, Some(Rule::Fsync);
    assume_lock_state: AssumeLockState, Some(Rule::Warning);
    // No event tells of a lock that is never given back; what then waits for it does.
    leak_lock_on_signal: LeakLockOnSignal, None;
    insert_without_break: InsertWithoutBreak, Some(Rule::MissedWait);
    // A task that waits for itself: the rules are about breaks and who they keep waiting.
    direct_io_holds_invalidate_lock: DirectIoHoldsInvalidateLock, None;
    direct_write_breaks_under_pin: DirectWriteBreaksUnderPin, None;
    // That a pin is never let go breaks no rule, only the case that waits for it.
    longterm_pin: LongtermPin, None;
    longterm_refusal_leaks: LongtermRefusalLeaks, None;
    // Events carry no content, and what a mapping shows nobody looks at but its case.
    stale_zero_page: StaleZeroPage, None;
    no_break_on_cow_write: NoBreakOnCowWrite, Some(Rule::MissedWait);
    stale_mapping_after_cow: StaleMappingAfterCow, Some(Rule::MissedWait);
    dedupe_compares_unwritten: DedupeComparesUnwritten, None;
    dedupe_compares_first: DedupeComparesFirst, None;
    zero_skips_shared: ZeroSkipsShared, None;
    new_block_not_zeroed: NewBlockNotZeroed, Some(Rule::ForeignBytes);
    break_forgets_dirty: BreakForgetsDirty, Some(Rule::Durable);
    part_write_forgets_dirty: PartWriteForgetsDirty, Some(Rule::Durable);
    // No event tells of the processor's caches.
    copy_not_flushed: CopyNotFlushed, None;
    shows_behind_end: ShowsBehindEnd, None;
    write_spills: WriteSpills, Some(Rule::Bystanders);
    frees_next: FreesNext, Some(Rule::Bystanders);
    fsync_takes_inode_lock: FsyncTakesInodeLock, Some(Rule::LockHeld);
    map_takes_inode_lock: MapTakesInodeLock, Some(Rule::LockHeld);
    // Signals leave no event.
    uninterruptible_break: UninterruptibleBreak, None;
    unmount_takes_pinned: UnmountTakesPinned, None;
    freeze_passes_break: FreezePassesBreak, None;
    freeze_leaves_dirty: FreezeLeavesDirty, None;
    shutdown_ends_break: ShutdownEndsBreak, None;
    unbind_takes_pinned: UnbindTakesPinned, None;
    shrinker_stands_still: ShrinkerStandsStill, None;
    failure_shuts_down: FailureShutsDown, None;
    poison_ends_break: PoisonEndsBreak, None;
}

#[test]
fn a_block_that_leaves_its_file_under_a_pin_is_seen_where_it_is() {
    for variant in [
        Variant::NoBreak,
        Variant::SkipUnmapped,
        Variant::NoBreakOnCowFault,
        Variant::NoBreakOnCowWrite,
    ] {
        must_be_caught(variant, Some(Rule::KeptBlock));
    }
}
