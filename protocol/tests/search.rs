//! Small configurations, searched through: what holds for the protocol, and what does not.

use protocol::Counting;
use protocol::search::model::{Bug, Role, Small};
use protocol::search::{Flaw, SearchOutcome, search};

const FINITE: Role = Role::Pin { under_inode_lock: false, endless: false };
const UNDER_LOCK: Role = Role::Pin { under_inode_lock: true, endless: true };
const OUTSIDE: Role = Role::Pin { under_inode_lock: false, endless: true };

fn run(pages: u8, roles: &[Role], bug: Option<Bug>) -> Vec<SearchOutcome> {
    [Counting::IdleAtOne, Counting::IdleAtZero]
        .map(|shape| {
            let begin = std::time::Instant::now();
            let outcome = search(&Small { shape, pages, roles: roles.to_vec(), bug }, 2_000_000);
            eprintln!(
                "{shape:?}, {pages} pages, {roles:?}, {bug:?}: {} states, {} steps, {:.1?}",
                outcome.states,
                outcome.steps,
                begin.elapsed()
            );
            if let Some(fault) = &outcome.fault {
                eprintln!("{fault}");
            }
            outcome
        })
        .into()
}

fn proven(pages: u8, roles: &[Role]) {
    for outcome in run(pages, roles, None) {
        assert!(outcome.complete);
        assert_eq!(outcome.fault, None);
    }
}

#[test]
fn pins_that_end_hold_no_truncate_up() {
    proven(1, &[Role::Truncate, FINITE]);
    proven(2, &[Role::Truncate, FINITE, FINITE]);
    proven(2, &[Role::Truncate, Role::Truncate, FINITE]);
    proven(3, &[Role::Truncate, Role::Truncate, FINITE, FINITE]);
}

#[test]
fn endless_pins_under_the_inode_lock_starve_no_truncate() {
    proven(1, &[Role::Truncate, UNDER_LOCK, UNDER_LOCK]);
    proven(2, &[Role::Truncate, UNDER_LOCK]);
    proven(2, &[Role::Truncate, Role::Truncate, UNDER_LOCK, UNDER_LOCK, FINITE]);
}

#[test]
fn endless_pins_outside_the_inode_lock_can_starve_truncate() {
    for outcome in run(1, &[Role::Truncate, OUTSIDE, OUTSIDE], None) {
        assert!(matches!(outcome.fault, Some(Flaw::Starvation(..))));
    }
}

#[test]
fn a_dropped_inode_lock_lets_truncate_starve() {
    for outcome in run(1, &[Role::Truncate, UNDER_LOCK, UNDER_LOCK], Some(Bug::DropAllLocks)) {
        assert!(matches!(outcome.fault, Some(Flaw::Starvation(..))));
    }
}

#[test]
fn a_held_invalidate_lock_is_a_deadlock() {
    for outcome in run(2, &[Role::Truncate, FINITE], Some(Bug::HoldInvalidateLock)) {
        assert!(matches!(outcome.fault, Some(Flaw::Deadlock(_))));
    }
}

#[test]
fn a_lost_wakeup_is_a_deadlock() {
    for outcome in run(1, &[Role::Truncate, FINITE], Some(Bug::LostWakeup)) {
        assert!(matches!(outcome.fault, Some(Flaw::Deadlock(_))));
    }
}

#[test]
fn the_retry_flag_and_no_unmap_miss_a_wait() {
    for (pages, bug) in [(2, Bug::RetryFlag), (1, Bug::NoUnmap)] {
        for outcome in run(pages, &[Role::Truncate, FINITE, FINITE], Some(bug)) {
            assert!(
                matches!(&outcome.fault, Some(Flaw::Broken(_, rule)) if rule.starts_with("missed wait")),
                "{bug:?}: {outcome:?}"
            );
        }
    }
}
