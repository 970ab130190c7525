//! The one place that says what the exit code is.

use std::process::ExitCode;

use crate::history::History;

/// How the command as a whole went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All as expected.
    Expected,
    /// Something was not as expected; an unexpected pass is not.
    Unexpected,
    /// It could not run.
    CouldNotRun,
    /// The machine needs a reboot before going on.
    NeedsReboot,
}

impl Exit {
    /// How a run went, over all boots that it took.
    pub(crate) fn of(history: &History) -> Self {
        if history.wedged.is_some() {
            Self::NeedsReboot
        } else if history.needs_attention() {
            Self::Unexpected
        } else {
            Self::Expected
        }
    }

    /// The number, which `ci/vm` and others rely on.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Expected => 0,
            Self::Unexpected => 1,
            Self::CouldNotRun => 2,
            Self::NeedsReboot => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
