//! Where the results of a run go: to a folder, or to a new one in a folder of runs.

use std::path::{Path, PathBuf};

use crate::machine;
use crate::output::Output;
use crate::plan::Plan;
use crate::results::{Refusal, Results};
use crate::runs::{NewRun, Runs};

/// Where the results of a run go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To this folder.
    Folder(PathBuf),
    /// To a new folder in one of runs.
    Runs {
        /// Which.
        folder: PathBuf,
        /// How many runs are to be left in it; none: all.
        keep: Option<usize>,
    },
}

impl Destination {
    /// Checks that it may be taken and written to; nothing is changed.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Folder(folder) => Results::at(folder).check(),
            Self::Runs { folder, .. } => Runs::at(folder).check(),
        }
    }

    /// Tries another place for a report.
    pub(crate) fn open_other(&self, path: &Path) -> Result<Output, Refusal> {
        match self {
            Self::Folder(folder) => Results::at(folder).open_other(path),
            Self::Runs { folder, .. } => Runs::at(folder).open_other(path),
        }
    }

    /// The folder for a new run of `plan`, which is made if it is one of several.
    pub(crate) fn begin(&self, plan: &Plan) -> Result<(Results, Option<NewRun>), Refusal> {
        Ok(match self {
            Self::Folder(folder) => (Results::at(folder), None),
            Self::Runs { folder, keep } => {
                let new = Runs::at(folder).begin(plan, &machine::here().kernel, *keep)?;
                (new.results(), Some(new))
            }
        })
    }
}
