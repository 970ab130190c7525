//! Every case there is: those that are functions, and the cells of the laws.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::case::{CASES, Case};
use crate::cell;

/// All cases, in the order of their names.
static ALL: LazyLock<Vec<&'static Case>> = LazyLock::new(|| {
    let mut all: Vec<_> = CASES.iter().chain(cell::all()).collect();
    all.sort_by_key(|case| case.name);
    all
});

/// Every case, by name.
pub fn all() -> Vec<&'static Case> {
    ALL.clone()
}

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    ALL.binary_search_by_key(&name, |case| case.name).ok().map(|at| ALL[at])
}

/// The same, for a process that wants no other. A cell comes without its groups.
pub fn find_only(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name).or_else(|| cell::find(name))
}

/// Every axis, with the values that some cell has on it.
pub fn axes() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut axes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (axis, value) in ALL.iter().flat_map(|case| case.coordinates) {
        let values = axes.entry(*axis).or_default();
        if !values.contains(value) {
            values.push(*value);
        }
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perform::perform;
    use crate::system::reference::{Reference, ReferenceSetup};
    use crate::test::Ending;

    #[test]
    fn what_runner_new_begins_a_case_with_passes() {
        let stub = find("stub/short").unwrap();
        let mut reference = Reference::new(&ReferenceSetup::default());
        assert_eq!(perform(stub, &mut reference, 1, &mut |_| ()), Ending::Pass);
    }

    #[test]
    fn names_are_unique_and_well_formed() {
        let all = all();
        assert!(!all.is_empty());
        for pair in all.windows(2) {
            assert_ne!(pair[0].name, pair[1].name);
        }
        for case in all {
            let parts: Vec<_> = case.name.split('/').collect();
            let plain = |s: &str| {
                !s.is_empty()
                    && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            assert!(parts.len() == if case.is_cell() { 4 } else { 2 }, "{}", case.name);
            assert!(parts.iter().all(|part| plain(part)), "{}", case.name);
            assert!(case.description().ends_with('.'), "{}", case.name);
        }
    }
}
