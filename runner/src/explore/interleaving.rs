//! The orders in which two operations can meet, each as a program in which tasks are held.
//!
//! Of two tasks, one is held at one of its points until the other has done all it does (`whole`), or
//! has come to one of its own points and stays there while the first goes on (`until`). With every
//! point of either, and either of them first, that is every order of every pair of their points. And
//! while a break sleeps for a pin, which is no point but a state, the other is held and the break
//! woken (`asleep`).

use cases::system::HoldPoint;

use crate::fuzz::program::{Program, Step};

use super::pair::{Pair, ShortOperation, THIRD};

/// When a third task lets go of its pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Third {
    /// It has none.
    None,
    /// While the first stands, before the second begins.
    Before,
    /// While the first stands, once the second has begun.
    Meanwhile,
    /// When nobody stands any more.
    After,
}

impl Third {
    const ALL: [Self; 4] = [Self::None, Self::Before, Self::Meanwhile, Self::After];

    const fn words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Before => ", pin released before",
            Self::Meanwhile => ", pin released meanwhile",
            Self::After => ", pin released after",
        }
    }
}

/// One order.
#[derive(Clone, Debug)]
pub(super) struct Interleaving {
    /// In words.
    pub(super) name: String,
    /// The program that forces it.
    pub(super) program: Program,
}

/// One of the two, as a place in an order has it.
#[derive(Clone, Copy)]
struct Party {
    part: &'static ShortOperation,
    task: u32,
}

/// Every order of a pair.
pub(super) fn all(pair: Pair) -> Vec<Interleaving> {
    let [one, other] = pair.tasks();
    let one = Party { part: pair.one, task: one };
    let other = Party { part: pair.other, task: other };
    let mut all = Vec::new();
    for (first, second) in [(one, other), (other, one)] {
        for point in first.part.points {
            for third in Third::ALL {
                if comes_by(pair, first, *point, third) {
                    all.push(whole(pair, (first, *point), second, third));
                }
            }
        }
        for point in first.part.points {
            for then in second.part.points.iter().filter(|then| then.slot() != point.slot()) {
                // Of two that break, the second comes to no point at all: once is enough to see it.
                let both_break = first.part.breaks() && second.part.breaks();
                let thirds: &[_] = if both_break {
                    &[Third::None]
                } else {
                    &[Third::None, Third::Before, Third::After]
                };
                for &third in thirds {
                    if comes_by(pair, first, *point, third) && comes_by(pair, second, *then, third)
                    {
                        all.push(until(pair, (first, *point), (second, *then), third));
                    }
                }
            }
        }
    }
    if one.part.breaks() && !other.part.breaks() {
        for point in other.part.points {
            for third in [Third::Meanwhile, Third::After] {
                all.push(asleep(pair, one, (other, *point), third));
            }
        }
    }
    all
}

/// Whether a task may come by a point: a break finds a busy page only if there is one, and none only
/// once it was let go.
fn comes_by(pair: Pair, actor: Party, point: HoldPoint, third: Third) -> bool {
    if !actor.part.breaks() {
        return true;
    }
    let pinned = third != Third::None || pair.other.is_release();
    match point {
        HoldPoint::ScanFoundBusy | HoldPoint::WaitEntered => pinned,
        HoldPoint::ScanFoundNone => {
            matches!(third, Third::None | Third::Before) && !pair.other.is_release()
        }
        _ => true,
    }
}

fn whole(pair: Pair, first: (Party, HoldPoint), second: Party, third: Third) -> Interleaving {
    let (Party { part, task }, point) = first;
    let mut steps = beginning(pair, part, third);
    steps.push(Step::Hold { task, point, until: None });
    steps.push(part.step(task));
    release(&mut steps, third, Third::Before);
    steps.push(second.part.step(second.task));
    release(&mut steps, third, Third::Meanwhile);
    steps.push(Step::Go(task));
    release(&mut steps, third, Third::After);
    let name = format!("{} at {point}, {} whole{}", part.name, second.part.name, third.words());
    Interleaving { name, program: Program { steps, seed: 0, huge: 0, bare: false } }
}

fn until(
    pair: Pair,
    (first, point): (Party, HoldPoint),
    (second, then): (Party, HoldPoint),
    third: Third,
) -> Interleaving {
    let mut steps = beginning(pair, first.part, third);
    steps.push(Step::Hold { task: first.task, point, until: Some(second.task) });
    steps.push(Step::Hold { task: second.task, point: then, until: None });
    steps.push(first.part.step(first.task));
    release(&mut steps, third, Third::Before);
    steps.push(second.part.step(second.task));
    steps.push(Step::Go(first.task));
    steps.push(Step::Go(second.task));
    release(&mut steps, third, Third::After);
    let (first, second) = (first.part.name, second.part.name);
    let name = format!("{first} at {point} until {second} at {then}{}", third.words());
    Interleaving { name, program: Program { steps, seed: 0, huge: 0, bare: false } }
}

fn asleep(
    pair: Pair,
    sleeper: Party,
    (second, point): (Party, HoldPoint),
    third: Third,
) -> Interleaving {
    let mut steps = beginning(pair, sleeper.part, third);
    steps.push(Step::Hold { task: second.task, point, until: None });
    steps.push(sleeper.part.step(sleeper.task));
    steps.push(second.part.step(second.task));
    release(&mut steps, third, Third::Meanwhile);
    steps.push(Step::Go(second.task));
    release(&mut steps, third, Third::After);
    let (sleeper, second) = (sleeper.part.name, second.part.name);
    let name = format!("{sleeper} asleep, {second} at {point}{}", third.words());
    Interleaving { name, program: Program { steps, seed: 0, huge: 0, bare: false } }
}

/// Who takes a page when it was unmapped faults for that; who is to fault first does not have it.
fn beginning(pair: Pair, first: &ShortOperation, third: Third) -> Vec<Step> {
    let mapped = std::ptr::eq(first, pair.one);
    pair.beginning(mapped, third != Third::None)
}

fn release(steps: &mut Vec<Step>, third: Third, when: Third) {
    if third == when {
        steps.push(Step::Release(THIRD));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn named(name: &str) -> Pair {
        Pair::all().into_iter().find(|pair| pair.name() == name).unwrap()
    }

    #[test]
    fn every_program_can_run_and_has_a_name_of_its_own() {
        for pair in Pair::all() {
            let orders = all(pair);
            assert!(!orders.is_empty(), "{}", pair.name());
            let names: BTreeSet<_> = orders.iter().map(|order| &order.name).collect();
            assert_eq!(names.len(), orders.len(), "{}", pair.name());
            for order in orders {
                order.program.check().unwrap();
                assert!(order.program.holds());
            }
        }
    }

    #[test]
    fn points_are_forced_in_both_orders() {
        let names: Vec<_> = all(named("punch+load")).into_iter().map(|order| order.name).collect();
        for name in [
            "punch at unmapped, load whole",
            "load at fault-entered, punch whole",
            "punch at unmapped until load at fault-entered",
            "load at fault-entered until punch at unmapped",
            "punch at wait-entered, load whole, pin released after",
            "punch asleep, load at fault-entered, pin released meanwhile",
        ] {
            assert!(names.iter().any(|known| known == name), "{name} is not in {names:#?}");
        }
        assert!(!names.iter().any(|name| name == "punch at wait-entered, load whole"));
    }
}
