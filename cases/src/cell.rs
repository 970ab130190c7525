//! Cells: law × operation × pin × the last axis of the law, most often the place.
//!
//! All that is known of a cell follows from its coordinates: its name, what it needs, its
//! description, its origin, whether it belongs to a quick run. [`cannot`] is the one function that
//! says which combinations cannot be, and why; a law says with which pins it is not tried, and why.
//! Nothing is left out because a kernel fails it.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::LazyLock;

use crate::axis::operation::{self, Operation};
use crate::axis::pin::AnyPin;
use crate::axis::place::Last;
use crate::axis::value::Value;
use crate::case::{Body, Case, Runnable};
use crate::law;
use crate::patience::Limit;
use crate::system::Need;
use crate::test::{Checked, Test};

/// When a cell is taken to hang: seconds of an emulated machine.
const LIMIT: Limit = Limit::mins(4);

/// What must hold for each operation, each of some pins and each value of a last axis.
#[derive(Debug)]
pub(crate) struct Law<P: 'static, L: 'static> {
    pub(crate) name: &'static str,
    /// Those that it is tried with.
    pub(crate) pins: &'static [P],
    /// Why not with the others of the axis, if there are others.
    pub(crate) others: Option<&'static str>,
    pub(crate) last: &'static [L],
    /// A cell's description, as a sentence.
    pub(crate) about: fn(&Operation, &P, &L) -> String,
    /// What it is about.
    pub(crate) concerns: Concerns,
    pub(crate) body: fn(&mut Test<'_>, &Operation, &P, &'static L) -> Checked,
}

/// What a law is about, without which there is nothing to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concerns {
    /// Whatever there is.
    Anything,
    /// Blocks of pinned pages that the operation frees.
    Freed,
    /// Pages that the operation leaves as they are.
    Left,
}

#[derive(Debug)]
struct Product<P: 'static, L: 'static> {
    law: &'static Law<P, L>,
    operation: &'static Operation,
    pin: &'static P,
    last: &'static L,
}

impl<P: AnyPin, L: Last> Runnable for Product<P, L> {
    fn run(&self, t: &mut Test<'_>) -> Checked {
        (self.law.body)(t, self.operation, self.pin, self.last)
    }
}

/// A combination that is no cell: it cannot be, or would show nothing that another does not.
#[derive(Clone, Debug)]
pub struct Excluded {
    /// What the cell would be called.
    pub name: String,
    /// Why there is none.
    pub why: &'static str,
}

/// Why `operation`, a pin of the kind `pin` and the place of `last` cannot be together, if they
/// cannot. `concerns` says what there must be.
fn cannot<P: AnyPin, L: Last>(
    concerns: Concerns,
    operation: &Operation,
    pin: &P,
    last: &L,
) -> Option<&'static str> {
    let place = last.place();
    if operation.by_name && place.is_nameless() {
        return Some("the operation finds the file by its name, and it has none");
    }
    if place.copies() && pin.writes() {
        return Some("what writes through a private mapping pins a copy and no page of the file");
    }
    if place.outlives_its_holder() && pin.is_in_flight() {
        return Some("a process does not end before its direct I/O does");
    }
    if place.is_lost_by_writing() && pin.writes() {
        return Some("a page that is written gets a block of its own");
    }
    match concerns {
        Concerns::Left if place.is_lost_by_filling() => {
            Some("the law writes all of the file, and each page has a block of its own then")
        }
        Concerns::Freed if !place.loses_its_block(operation) => {
            Some("the operation takes no block from the pinned page")
        }
        Concerns::Left if !place.keeps_a_page(operation) => {
            Some("the operation leaves no page of the file as it was")
        }
        _ => None,
    }
}

/// What is done with each law, whatever its axes are.
trait Laws {
    fn law<P: AnyPin, L: Last>(&mut self, law: &'static Law<P, L>);
}

/// Shows every law.
fn each_law(laws: &mut impl Laws) {
    laws.law(&law::waits::LAW);
    laws.law(&law::interrupted::LAW);
    laws.law(&law::several::LAW);
    laws.law(&law::progress::LAW);
    laws.law(&law::kept::LAW);
    laws.law(&law::refused::LAW);
    laws.law(&law::durable::LAW);
}

/// The product of the axes.
#[derive(Debug, Default)]
struct Cells {
    made: Vec<Case>,
    excluded: Vec<Excluded>,
    /// The operations under a pin that a quick run has.
    covered: HashSet<(usize, &'static str)>,
}

static CELLS: LazyLock<Cells> = LazyLock::new(|| {
    let mut cells = Cells::default();
    each_law(&mut cells);
    cells
});

/// Every cell.
pub(crate) fn all() -> &'static [Case] {
    &CELLS.made
}

/// The cell of this name, without its groups: whether a quick run has it follows from all the others,
/// and to look at those takes a process that runs one cell longer than many a cell does.
pub(crate) fn find(name: &str) -> Option<&'static Case> {
    let mut one = One { name: name.split('/').collect(), found: None };
    each_law(&mut one);
    one.found.map(|case| &*Box::leak(Box::new(case)))
}

/// Every combination of values that is no cell, with the reason.
pub fn excluded() -> &'static [Excluded] {
    &CELLS.excluded
}

impl Laws for Cells {
    fn law<P: AnyPin, L: Last>(&mut self, law: &'static Law<P, L>) {
        let [mut operations, mut pins, mut lasts] = [0; 3].map(|_| BTreeSet::new());
        // Those on a diagonal have each pair of values once: they come first.
        for diagonal in 0..law.pins.len() {
            for (o, operation) in operation::ALL.iter().enumerate() {
                for (p, pin) in law.pins.iter().enumerate() {
                    for (l, last) in law.last.iter().enumerate() {
                        if (o + p + l) % law.pins.len() != diagonal {
                            continue;
                        }
                        let why = cannot(law.concerns, operation, pin, last);
                        // Whether it has a value that no earlier cell of its law has, or an operation
                        // under a pin that no earlier one of any law has. All pairs of values would be
                        // a third of the cells.
                        let is_news = why.is_none()
                            && [
                                self.covered.insert((o, pin.name())),
                                operations.insert(o),
                                pins.insert(p),
                                lasts.insert(l),
                            ]
                            .contains(&true);
                        self.put(Product { law, operation, pin, last }, why, is_news);
                    }
                }
            }
        }
        let Some(why) = law.others else { return };
        let tried = |pin: &P| law.pins.iter().any(|other| other.name() == pin.name());
        for pin in P::EACH.iter().filter(|pin| !tried(pin)) {
            for operation in operation::ALL {
                for last in law.last {
                    let why = cannot(law.concerns, operation, pin, last).unwrap_or(why);
                    self.put(Product { law, operation, pin, last }, Some(why), false);
                }
            }
        }
    }
}

impl Cells {
    fn put<P: AnyPin, L: Last>(
        &mut self,
        product: Product<P, L>,
        excluded: Option<&'static str>,
        is_news: bool,
    ) {
        match excluded {
            Some(why) => self.excluded.push(Excluded { name: product.name(), why }),
            None => self.made.push(product.case(if is_news { &["quick"] } else { &[] })),
        }
    }
}

/// Looks for one cell.
struct One<'n> {
    /// The parts of its name.
    name: Vec<&'n str>,
    found: Option<Case>,
}

impl Laws for One<'_> {
    fn law<P: AnyPin, L: Last>(&mut self, law: &'static Law<P, L>) {
        let [name, operation, pin, last] = self.name[..] else { return };
        if name != law.name {
            return;
        }
        let operation = operation::ALL.iter().find(|value| value.name() == operation);
        let pin = law.pins.iter().find(|value| value.name() == pin);
        let last = law.last.iter().find(|value| value.name() == last);
        let (Some(operation), Some(pin), Some(last)) = (operation, pin, last) else { return };
        if cannot(law.concerns, operation, pin, last).is_none() {
            self.found = Some(Product { law, operation, pin, last }.case(&[]));
        }
    }
}

impl<P: AnyPin, L: Last> Product<P, L> {
    fn values(&self) -> [&'static str; 3] {
        [self.operation.name(), self.pin.name(), self.last.name()]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.law.name, self.values().join("/"))
    }

    /// The cell. It is made once, and wanted until the end.
    fn case(self, groups: &'static [&'static str]) -> Case {
        let Self { law, operation, pin, last } = self;
        let mut needs: Vec<Need> = Vec::new();
        for need in operation.needs().iter().chain(pin.needs()).chain(last.needs()) {
            if !needs.contains(need) {
                needs.push(*need);
            }
        }
        let [of_operation, of_pin, of_last] = self.values();
        let coordinates = vec![
            ("law", law.name),
            (Operation::AXIS, of_operation),
            (P::AXIS, of_pin),
            (L::AXIS, of_last),
        ];
        let origin = last.origin().or(pin.origin()).or(operation.origin());
        let about = sentence((law.about)(operation, pin, last));
        Case {
            name: self.name().leak(),
            coordinates: coordinates.leak(),
            about: vec![&*about.leak()].leak(),
            groups,
            needs: needs.leak(),
            limit: LIMIT,
            origin: origin.unwrap_or(operation::ORIGIN),
            body: Body::Cell(Box::leak(Box::new(self))),
        }
    }
}

/// A text that begins with a capital letter, as the phrases of the axes do not.
fn sentence(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_combination_is_a_cell_or_has_a_reason_why_not() {
        struct Counted;
        impl Laws for Counted {
            fn law<P: AnyPin, L: Last>(&mut self, law: &'static Law<P, L>) {
                let is_of = |name: &str| name.split('/').next() == Some(law.name);
                let made = CELLS.made.iter().filter(|cell| is_of(cell.name)).count();
                let excluded = CELLS.excluded.iter().filter(|other| is_of(&other.name)).count();
                let all = operation::ALL.len() * P::EACH.len() * law.last.len();
                assert_eq!(made + excluded, all, "{}", law.name);
                assert_eq!(law.others.is_some(), law.pins.len() < P::EACH.len(), "{}", law.name);
            }
        }
        each_law(&mut Counted);
    }

    #[test]
    fn a_cell_is_the_same_if_no_other_is_made() {
        for cell in all() {
            let alone = Case { groups: cell.groups, ..*find(cell.name).expect("it is there") };
            assert_eq!(format!("{alone:?}"), format!("{cell:?}"));
        }
        for excluded in excluded() {
            assert!(find(&excluded.name).is_none());
        }
        for name in
            ["waits/punch/splice", "waits/punch/splice/mapped/mapped", "waits/punch/x/mapped"]
        {
            assert!(find(name).is_none());
        }
    }

    #[test]
    fn a_quick_run_has_every_value_of_every_law() {
        let values = |quick: bool| -> BTreeSet<_> {
            let cells = CELLS.made.iter().filter(|cell| !quick || cell.is_in("quick"));
            cells
                .flat_map(|cell| cell.coordinates.iter().map(|value| (cell.group(), value)))
                .collect()
        };
        assert_eq!(values(true), values(false));
    }
}
