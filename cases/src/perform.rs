//! Runs a case: offers it what it needs, and tells how it ended.

use crate::case::{Body, Case};
use crate::oracle::Watch;
use crate::system::System;
use crate::test::{Ending, Stop, Test};
use crate::transcript::Telling;

/// Runs `case` on `system`, reporting to `sink` as it goes.
pub fn perform(
    case: &Case,
    system: &mut dyn System,
    seed: u64,
    sink: &mut dyn FnMut(Telling),
) -> Ending {
    for need in case.needs {
        if let Err(why) = system.offers(*need) {
            return Ending::NotRun(format!("needs {need}: {why}"));
        }
    }
    let mut watch = Watch::new(system);
    let mut test = Test::new(&mut watch, seed, sink);
    let went = match case.body {
        Body::Function(run) => run(&mut test),
        Body::Cell(cell) => cell.run(&mut test),
    };
    let observed = std::mem::take(&mut test.observed);
    if case.is_cell() {
        sink(Telling::Observed(observed));
    }
    let ending = match went {
        // After anything else a look could hang, and would prove nothing.
        Ok(()) => watch.finish().map_or_else(Ending::from, |()| Ending::Pass),
        Err(Stop(ending)) => ending,
    };
    if let Some((rule, why)) = watch.undecided() {
        sink(Telling::Note { name: rule.name().to_owned(), value: format!("undecided: {why}") });
    }
    for found in watch.findings().take() {
        sink(Telling::Found(found));
    }
    ending
}
