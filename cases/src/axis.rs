//! The axes that cells are made of: each a table with a row for a value, and in the row all that
//! is known of it.
//!
//! To add an operation, a kind of pin or a place, add a row and nothing else; which
//! combinations cannot be is for [`crate::cell`] to say.

pub(crate) mod activity;
pub(crate) mod interruption;
pub mod operation;
pub(crate) mod order;
pub(crate) mod pin;
pub(crate) mod place;
pub(crate) mod value;
