//! The one place that says what the exit code is.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::history::History;

/// How the command as a whole went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All as expected.
    Expected,
    /// Something was not as expected; an unexpected pass is not, nor is an incomplete run.
    Unexpected,
    /// It could not run.
    CouldNotRun,
    /// The machine needs a reboot before going on.
    NeedsReboot,
    /// The user ended it.
    Interrupted,
}

impl Exit {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 5] =
        [Self::Expected, Self::Unexpected, Self::CouldNotRun, Self::NeedsReboot, Self::Interrupted];

    /// How a run went, over all boots that it took, as its journal tells.
    ///
    /// It is never [`Exit::CouldNotRun`]: of a run that could not go on this says that it is
    /// incomplete. For `report`, 2 says that there is none.
    pub(crate) fn of(history: &History) -> Self {
        Self::from_parts(history, history.incomplete().is_some())
    }

    /// How several runs went together: what is left to do for one of them is left to do.
    pub(crate) fn of_all<'h>(histories: impl IntoIterator<Item = &'h History>) -> Self {
        let ends: Vec<_> = histories.into_iter().map(Self::of).collect();
        let worst = [Self::NeedsReboot, Self::Interrupted, Self::Unexpected];
        worst.into_iter().find(|exit| ends.contains(exit)).unwrap_or(Self::Expected)
    }

    /// How a run went that ends now.
    pub(crate) fn at_end(history: &History) -> Self {
        Self::from_parts(history, history.incomplete_at_end().is_some())
    }

    fn from_parts(history: &History, incomplete: bool) -> Self {
        if history.wedged.is_some() {
            Self::NeedsReboot
        } else if history.interrupted {
            Self::Interrupted
        } else if incomplete || history.has_failures() {
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
            // As a shell tells of a command that SIGINT ended.
            Self::Interrupted => 130,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Expected => "all as expected",
            Self::Unexpected => "something unexpected, or the run is incomplete",
            Self::CouldNotRun => "could not run",
            Self::NeedsReboot => "the machine needs a reboot before --resume can go on",
            Self::Interrupted => "interrupted; --resume goes on",
        }
    }
}

/// The table of exit codes, for the help text.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {}", exit.code(), exit.words());
    }
    text.truncate(text.trim_end().len());
    text
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Other files repeat the numbers for their readers, and the harness relies on them.
    #[test]
    fn everybody_tells_the_same_exit_codes() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let readme = text("README.md");
        for exit in Exit::ALL {
            let words = exit.words().replace("--resume", "`--resume`");
            let row = format!("| {} | {words} |", exit.code());
            assert!(readme.contains(&row), "README.md does not say \"{row}\"");
        }
        let harness = text("ci/harness/suite.py");
        let codes: Vec<_> = Exit::ALL.iter().map(|exit| exit.code().to_string()).collect();
        assert!(
            harness.contains(&format!(
                "EXPECTED, UNEXPECTED, COULD_NOT_RUN, NEEDS_REBOOT, INTERRUPTED = {}\n",
                codes.join(", ")
            )),
            "ci/harness/suite.py has other exit codes"
        );
    }
}
