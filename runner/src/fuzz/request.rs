//! What to fuzz.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reference::Variant;

use crate::plan::Plan;
use crate::rerun;

/// What to fuzz, for how long.
#[derive(Clone, Debug)]
pub(crate) struct FuzzRequest {
    /// The file system, its device, and the seed.
    pub(crate) plan: Plan,
    /// Instead of a kernel's file system: the reference with this bug.
    pub(crate) variant: Option<Variant>,
    /// How long; of a replay: none runs it once.
    pub(crate) duration: Option<Duration>,
    /// Steps of a program.
    pub(crate) steps: usize,
    /// Runs these programs instead, or those in these folders.
    pub(crate) replay: Vec<PathBuf>,
    /// Whether programs read the outcome: one document on standard output.
    pub(crate) json: bool,
    /// Where programs that diverge are left: the last of these, which are made in turn.
    pub(crate) results: Vec<PathBuf>,
    /// The runner's own binary.
    pub(crate) program: PathBuf,
}

impl FuzzRequest {
    /// The command that runs the program at `path` again.
    pub(crate) fn again(&self, path: &Path) -> String {
        let bug = self.variant.map(|variant| (rerun::AGAINST, variant));
        rerun::program(&self.plan, "fuzz", bug, path)
    }
}
