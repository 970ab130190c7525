//! The laws: what must hold, whatever the operation, the pin and the place.
//!
//! Each is one body that holds for all of its cells. What a cell is called and what it needs
//! follows from its coordinates ([`crate::cell`]).

pub(crate) mod durable;
pub(crate) mod interrupted;
pub(crate) mod kept;
pub(crate) mod progress;
pub(crate) mod refused;
pub(crate) mod several;
pub(crate) mod waits;
