//! The orders in which three pins are released.

use super::place::Last;
use super::place::{self, Place};
use super::value::Value;
use crate::origin;

/// An order.
#[derive(Debug)]
pub(crate) struct Order {
    name: &'static str,
    phrase: &'static str,
    /// Which pin goes first, second and last, counted from 0 in the order of the file.
    pub(crate) release: [usize; 3],
}

const fn order(name: &'static str, phrase: &'static str, release: [usize; 3]) -> Order {
    Order { name, phrase, release }
}

/// All of them.
pub(crate) const ALL: &[Order] = &[
    order("123", "first, middle, last", [0, 1, 2]),
    order("132", "first, last, middle", [0, 2, 1]),
    order("213", "middle, first, last", [1, 0, 2]),
    order("231", "middle, last, first", [1, 2, 0]),
    order("312", "last, first, middle", [2, 0, 1]),
    order("321", "last, middle, first", [2, 1, 0]),
];

impl Value for Order {
    const AXIS: &'static str = "order";

    fn name(&self) -> &'static str {
        self.name
    }

    fn phrase(&self) -> &'static str {
        self.phrase
    }

    fn origin(&self) -> Option<&'static str> {
        Some(origin::RACE)
    }
}

impl Last for Order {
    const ALL: &'static [Self] = ALL;

    fn place(&self) -> &'static Place {
        &place::THREE
    }
}
