//! What to explore.

use std::path::{Path, PathBuf};

use reference::Variant;

use crate::plan::Plan;
use crate::rerun;

/// What to explore.
#[derive(Clone, Debug)]
pub(crate) struct ExploreRequest {
    /// The file system and its device.
    pub(crate) plan: Plan,
    /// The bug that the reference is to have, if it is explored.
    pub(crate) variant: Option<Variant>,
    /// The names of the pairs.
    pub(crate) pairs: Vec<String>,
    /// Whether programs read the outcome: one document on standard output.
    pub(crate) json: bool,
    /// Where the journal and the programs that showed something are left: the last of these, which
    /// are made in turn.
    pub(crate) results: Vec<PathBuf>,
    /// The runner's own binary.
    pub(crate) program: PathBuf,
}

impl ExploreRequest {
    /// The command that runs the order at `path` again.
    pub(crate) fn again(&self, path: &Path) -> String {
        let bug = self.variant.map(|variant| ("--variant", variant));
        rerun::program(&self.plan, "explore", bug, path)
    }
}
