//! The axes that cells are made of: each a table with a row for a value, and in the row all that
//! is known of it.
//!
//! Whoever adds an operation, a kind of pin or a place adds a row and nothing else; which
//! combinations cannot be is for [`crate::cell`] to say.

pub(crate) mod activity;
pub(crate) mod interruption;
pub(crate) mod operation;
pub(crate) mod order;
pub(crate) mod pin;
pub(crate) mod place;

use std::fmt::Debug;

use crate::system::Need;

use self::place::Place;

/// A value on some axis.
pub(crate) trait Value: Debug + Sync + Sized + 'static {
    /// What the axis is called.
    const AXIS: &'static str;

    /// What the value is called in a cell's name.
    fn name(&self) -> &'static str;

    /// Its part of the description of a cell.
    fn phrase(&self) -> &'static str;

    /// What it cannot do without.
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    /// The mail thread or commit that asked for it, if one did.
    fn origin(&self) -> Option<&'static str> {
        None
    }
}

/// A value on the last axis of a law, whichever that is.
pub(crate) trait Last: Value {
    /// All values.
    const ALL: &'static [Self];

    /// Where the pinned page is.
    fn place(&self) -> &'static Place;
}

/// A row that has all of [`Value`] in fields of the same names.
macro_rules! value {
    ($row:ty, $axis:literal) => {
        impl $crate::axis::Value for $row {
            const AXIS: &'static str = $axis;

            fn name(&self) -> &'static str {
                self.name
            }

            fn phrase(&self) -> &'static str {
                self.phrase
            }

            fn needs(&self) -> &'static [Need] {
                self.needs
            }

            fn origin(&self) -> Option<&'static str> {
                self.origin
            }
        }
    };
}
use value;
