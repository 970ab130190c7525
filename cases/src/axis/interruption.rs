//! What ends a wait early: signals.

use super::place::Last;
use super::place::{self, Place};
use super::value::Value;
use crate::system::Signal;

/// A signal.
#[derive(Debug)]
pub(crate) struct Interruption {
    name: &'static str,
    phrase: &'static str,
    /// Which.
    pub(crate) signal: Signal,
}

/// All of them.
pub(crate) const ALL: &[Interruption] = &[
    Interruption {
        name: "handled",
        phrase: "a handled signal ends the wait with EINTR",
        signal: Signal::Handled,
    },
    Interruption { name: "kill", phrase: "SIGKILL ends the wait", signal: Signal::Kill },
];

impl Value for Interruption {
    const AXIS: &'static str = "signal";

    fn name(&self) -> &'static str {
        self.name
    }

    fn phrase(&self) -> &'static str {
        self.phrase
    }
}

impl Last for Interruption {
    const ALL: &'static [Self] = ALL;

    fn place(&self) -> &'static Place {
        &place::MAPPED
    }
}
