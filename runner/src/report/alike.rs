//! Results that are alike: of what went the same way several times, the first stands for all.

use std::collections::BTreeMap;

use crate::journal::Outcome;

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
    let kinds = grouped(outcomes, |outcome| (&outcome.case, outcome.verdict, outcome.gist()));
    kinds
        .into_iter()
        .map(|kind| Alike {
            first: kind[0],
            times: kind.len(),
            seconds: kind.iter().map(|outcome| outcome.seconds).sum(),
        })
        .collect()
}

/// Those of `outcomes` together that have the same `key`, in the order of the first; no group is empty.
pub(crate) fn grouped<'o, K: Ord>(
    outcomes: &'o [Outcome],
    key: impl Fn(&'o Outcome) -> K,
) -> Vec<Vec<&'o Outcome>> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<Vec<&Outcome>> = Vec::new();
    for outcome in outcomes {
        let place = *places.entry(key(outcome)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(outcome),
            None => groups.push(vec![outcome]),
        }
    }
    groups
}
