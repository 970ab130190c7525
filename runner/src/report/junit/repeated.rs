//! The executions of one case, which are one test case: its name must be the same in each build, or
//! nobody's history shows that it fails now and then.
//!
//! It failed if one of them did. Surefire's `flakyFailure` would say that it passed. Each further
//! failure is a `rerunFailure` or a `rerunError`, which Jenkins' schema knows and Ant's does not.

use crate::journal::Outcome;
use crate::report::alike::grouped;
use crate::verdict::Verdict;

/// All executions of one case, in their order; there is one at least.
#[derive(Clone, Debug)]
pub(super) struct Repeated<'o>(Vec<&'o Outcome>);

impl<'o> Repeated<'o> {
    /// All of `outcomes`, in the order of the first of each case.
    pub(super) fn all(outcomes: &'o [Outcome]) -> Vec<Self> {
        grouped(outcomes, |outcome| &outcome.case).into_iter().map(Self).collect()
    }

    /// The one that stands for all: the first that needs attention; else that deviated as is
    /// known; else that passed.
    pub(super) fn worst(&self) -> &'o Outcome {
        let rank = |outcome: &&Outcome| match outcome.verdict {
            verdict if verdict.needs_attention() => 0,
            Verdict::XFail => 1,
            Verdict::NotRun => 3,
            _ => 2,
        };
        self.0.iter().copied().min_by_key(rank).expect("a case that was not executed is not there")
    }

    /// The others that need attention.
    pub(super) fn further(&self) -> impl Iterator<Item = &'o Outcome> {
        let worst = self.worst().iteration;
        let others = self.0.iter().copied().filter(move |outcome| outcome.iteration != worst);
        others.filter(|outcome| outcome.verdict.needs_attention())
    }

    /// How long all took together, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.0.iter().map(|outcome| outcome.seconds).sum()
    }

    /// What is the matter, in a line, and in how many executions if there are several.
    pub(super) fn gist(&self) -> String {
        let worst = self.worst();
        let gist = worst.gist().unwrap_or_default();
        let is_alike = |outcome: &&&Outcome| {
            outcome.verdict == worst.verdict
                || outcome.verdict.needs_attention() && worst.verdict.needs_attention()
        };
        match (self.0.iter().filter(is_alike).count(), self.0.len()) {
            (_, 1) => gist,
            (count, of) => format!("{gist} ({count} of {of} iterations)"),
        }
    }

    /// Which execution an outcome is of, where there are several: the head of its text.
    pub(super) fn head(&self, outcome: &Outcome) -> String {
        match self.0.len() {
            1 => String::new(),
            _ => format!("iteration {}:\n\n", outcome.iteration + 1),
        }
    }
}
