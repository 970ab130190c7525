//! What every row of every axis says of itself.

use std::fmt::Debug;

use crate::system::Need;

/// A value on some axis.
pub(crate) trait Value: Debug + Sync + Sized + 'static {
    /// What the axis is called.
    const AXIS: &'static str;

    /// What the value is called in a cell's name.
    fn name(&self) -> &'static str;

    /// Its part of the description of a cell.
    fn phrase(&self) -> &'static str;

    /// What it cannot do without.
    fn needs(&self) -> &[Need] {
        &[]
    }

    /// The mail thread or commit that asked for it, if one did.
    fn origin(&self) -> Option<&'static str> {
        None
    }
}

/// A row that has all of [`Value`] in fields of the same names.
macro_rules! value {
    ($row:ty, $axis:literal) => {
        impl $crate::axis::value::Value for $row {
            const AXIS: &'static str = $axis;

            fn name(&self) -> &'static str {
                self.name
            }

            fn phrase(&self) -> &'static str {
                self.phrase
            }

            fn needs(&self) -> &[$crate::system::Need] {
                self.needs
            }

            fn origin(&self) -> Option<&'static str> {
                self.origin
            }
        }
    };
}
pub(super) use value;
