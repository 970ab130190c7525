//! Whether a run came to its end, and if not, how far it came and why.
//!
//! Green is a claim about everything that was planned. It needs an end for each case and
//! iteration and the run's own end; whatever is missing from the journal makes the run
//! incomplete, and an incomplete run is never as expected.

use std::collections::BTreeSet;
use std::fmt;

use crate::exit::Exit;
use crate::history::History;
use crate::journal::RunEnd;
use crate::plan::Plan;

/// What the reports call it: a test case that fails.
pub(crate) const NAME: &str = "run/incomplete";

/// A run that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incomplete {
    /// How many executions of cases ended.
    pub(crate) finished: u64,
    /// How many were planned, if that was known beforehand.
    pub(crate) planned: Option<u64>,
    /// What is missing, in words.
    pub(crate) why: String,
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INCOMPLETE: {}", self.finished)?;
        if let Some(planned) = self.planned {
            write!(f, " of {planned}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// How many executions `plan` asks for; none if something else than their number ends the run.
pub(crate) fn planned(plan: &Plan) -> Option<u64> {
    let open = plan.duration.is_some() || plan.until_fail;
    let iterations = plan.iterations.filter(|_| !open)?;
    Some(iterations.saturating_mul(plan.cases.len() as u64))
}

impl History {
    /// How many executions of planned cases ended.
    pub(crate) fn finished(&self) -> u64 {
        let Some(plan) = &self.plan else { return self.outcomes.len() as u64 };
        let cases: BTreeSet<&str> = plan.cases.iter().map(String::as_str).collect();
        let planned = |(case, iteration): &(&str, u64)| {
            cases.contains(case) && plan.iterations.is_none_or(|n| *iteration < n)
        };
        self.ends().into_iter().filter(planned).count() as u64
    }

    /// Cases that were planned and of which an iteration has no end, of a plan that says how many there are.
    pub(crate) fn without_end(&self) -> BTreeSet<String> {
        let Some(plan) = self.plan.as_ref().filter(|plan| planned(plan).is_some()) else {
            return BTreeSet::new();
        };
        let ends = self.ends();
        let lacks = |case: &&String| {
            (0..plan.iterations.unwrap_or(1)).any(|n| !ends.contains(&(case.as_str(), n)))
        };
        plan.cases.iter().filter(lacks).cloned().collect()
    }

    /// The executions that ended: case, iteration.
    fn ends(&self) -> BTreeSet<(&str, u64)> {
        self.outcomes.iter().map(|outcome| (outcome.case.as_str(), outcome.iteration)).collect()
    }

    /// What the run lacks, if it lacks something.
    pub(crate) fn incomplete(&self) -> Option<Incomplete> {
        self.stopped()
            .or_else(|| self.cut_off())
            .or_else(|| self.missing())
            .or_else(|| self.contradiction())
            .map(|why| self.because(why))
    }

    /// What it lacks even if it ends now.
    pub(crate) fn incomplete_at_end(&self) -> Option<Incomplete> {
        self.stopped().or_else(|| self.missing()).map(|why| self.because(why))
    }

    /// What the journal is to tell of a run that ends now, with `exit`.
    pub(crate) fn end(&self, exit: Exit) -> RunEnd {
        RunEnd {
            exit: exit.code(),
            planned: self.plan.as_ref().and_then(planned),
            finished: Some(self.finished()),
            complete: exit != Exit::CouldNotRun && self.incomplete_at_end().is_none(),
        }
    }

    fn because(&self, why: String) -> Incomplete {
        Incomplete { finished: self.finished(), planned: self.plan.as_ref().and_then(planned), why }
    }

    /// What kept the run from doing what was planned.
    fn stopped(&self) -> Option<String> {
        if !self.lacking.is_empty() {
            return Some(self.lacking.join("; "));
        }
        if self.plan.is_none() {
            let why = if self.last.is_none() {
                "the journal is empty"
            } else {
                "the journal lacks its first line, which says what was planned"
            };
            return Some(why.to_owned());
        }
        if let Some(why) = &self.wedged {
            return Some(format!("the machine needs a reboot: {why}"));
        }
        if self.interrupted {
            return Some("interrupted".to_owned());
        }
        if self.ended.as_ref().is_some_and(|end| end.exit == Exit::CouldNotRun.code()) {
            return Some("the runner could not go on".to_owned());
        }
        None
    }

    /// Whether the journal breaks off.
    fn cut_off(&self) -> Option<String> {
        self.ended.is_none().then(|| "the journal breaks off before the end of the run".to_owned())
    }

    /// Whether something that was planned did not run.
    fn missing(&self) -> Option<String> {
        let plan = self.plan.as_ref()?;
        if self.is_short_of(plan) || !self.unfinished.is_empty() {
            return Some("some planned cases did not finish".to_owned());
        }
        None
    }

    /// Whether something that `plan` asks for did not run.
    fn is_short_of(&self, plan: &Plan) -> bool {
        let finished = self.finished();
        if finished == 0 {
            return true;
        }
        // Each is an end as planned.
        if plan.duration.is_some() || plan.until_fail && self.has_failures() {
            return false;
        }
        let cases = plan.cases.len() as u64;
        plan.iterations.is_none_or(|n| finished < n.saturating_mul(cases))
    }

    /// What the run's end says that its journal does not: lines may be missing from the middle.
    fn contradiction(&self) -> Option<String> {
        let end = self.ended.as_ref()?;
        let failed = end.exit != Exit::Expected.code();
        if failed && !self.has_failures() {
            return Some(format!(
                "the run ended with exit code {}, but the journal does not say why",
                end.exit
            ));
        }
        match end.finished {
            Some(finished) if finished != self.finished() => {
                Some(format!("the run counted {finished} finished cases; the journal has fewer"))
            }
            _ => None,
        }
    }
}
