//! Results that are alike: of what went the same way several times, the first stands for all.

use std::collections::BTreeMap;

use crate::journal::Outcome;
use crate::verdict::Verdict;

/// Executions of one case that came to the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alike<'o> {
    /// The one that is shown.
    pub(crate) first: &'o Outcome,
    /// How many there are.
    pub(crate) times: usize,
    /// How long all of them took together.
    pub(crate) seconds: f64,
}

/// All of `outcomes`, in the order of the first of their kind.
pub(crate) fn alike(outcomes: &[Outcome]) -> Vec<Alike<'_>> {
    let mut places: BTreeMap<(&str, Verdict, Option<String>), usize> = BTreeMap::new();
    let mut found: Vec<Alike<'_>> = Vec::new();
    for outcome in outcomes {
        let place =
            *places.entry((&outcome.case, outcome.verdict, outcome.gist())).or_insert(found.len());
        match found.get_mut(place) {
            Some(alike) => {
                alike.times += 1;
                alike.seconds += outcome.seconds;
            }
            None => found.push(Alike { first: outcome, times: 1, seconds: outcome.seconds }),
        }
    }
    found
}
