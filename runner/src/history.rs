//! A run as its journal tells it: the events, folded.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::journal::{Entry, Outcome, RunEnd, RunEvent, time_of};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::verdict::{Problem, Verdict, Witness};

/// The title of a case's problem when the journal ends in its middle.
pub(crate) const DIED: &str = "the runner or the kernel died while it ran";

/// A run that others were put together with.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its results folder, as it was named.
    pub(crate) folder: PathBuf,
    /// What its own journal tells.
    pub(crate) history: History,
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What it was put together from; empty if one journal tells all of it.
    pub(crate) sources: Vec<Source>,
    /// What it was to do; absent only in an empty journal.
    pub(crate) plan: Option<Plan>,
    /// The machine it is on, or was on last.
    pub(crate) machine: Machine,
    /// When it began.
    pub(crate) began: Option<SystemTime>,
    /// How the file system was made.
    pub(crate) mkfs: Option<String>,
    /// How it was mounted.
    pub(crate) mount: Option<String>,
    /// What ended, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// The case that began and has not ended: name, iteration, when.
    pub(crate) open: Option<(String, u64, Option<SystemTime>)>,
    /// The case that the user cut short, which has not begun again: name, iteration.
    pub(crate) cut: Option<(String, u64)>,
    /// Executions that began and have no end in the journal.
    pub(crate) unfinished: BTreeSet<(String, u64)>,
    /// What the kernel does not report, and since which case.
    pub(crate) silenced: Vec<(String, Option<String>)>,
    /// What went wrong outside of cases.
    pub(crate) troubles: Vec<Problem>,
    /// Why the machine needs a reboot before the run can go on.
    pub(crate) wedged: Option<String>,
    /// Why the machine went down in the middle of a case, if somebody told.
    pub(crate) down: Option<String>,
    /// Whether the user ended it.
    pub(crate) interrupted: bool,
    /// Its end, if it came to one after it was resumed last.
    pub(crate) ended: Option<RunEnd>,
    /// How often it was resumed.
    pub(crate) resumed: usize,
    /// What is missing of what it was put together from.
    pub(crate) lacking: Vec<String>,
    /// When the last event happened.
    pub(crate) last: Option<SystemTime>,
}

impl History {
    /// The fold of `entries`.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut history = Self::default();
        for entry in entries {
            history.add(entry);
        }
        history
    }

    /// Takes one more event in.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let time = time_of(entry);
        self.last = time.or(self.last);
        match &entry.event {
            RunEvent::Begun { plan, machine } => {
                self.plan = Some(Plan::clone(plan));
                self.machine = machine.clone();
                self.began = time;
            }
            RunEvent::Resumed { machine } => {
                self.machine = machine.clone();
                self.wedged = None;
                self.interrupted = false;
                self.ended = None;
                self.resumed += 1;
            }
            RunEvent::Down { why } => {
                // Of a case that runs it is the end, and judged with it.
                if self.open.is_none() {
                    let title = format!("the machine went down while no case ran: {why}");
                    let text = "Look at its console (console.log, if ci/vm ran it).";
                    self.troubles.push(Problem::new(Witness::Machine, title, text));
                }
                self.down = Some(why.clone());
            }
            RunEvent::Prepared { mkfs, mount } => {
                self.mkfs = Some(mkfs.clone());
                self.mount = Some(mount.clone());
            }
            RunEvent::CaseBegun { case, iteration, .. } => {
                self.open = Some((case.clone(), *iteration, time));
                self.cut = None;
                self.unfinished.insert((case.clone(), *iteration));
                self.down = None;
            }
            RunEvent::CaseEnded(outcome) => {
                self.open = None;
                self.unfinished.remove(&(outcome.case.clone(), outcome.iteration));
                self.outcomes.push(Outcome::clone(outcome));
            }
            RunEvent::CaseCut { case, iteration } => {
                self.open = None;
                let cut = (case.clone(), *iteration);
                self.unfinished.remove(&cut);
                self.cut = Some(cut);
            }
            RunEvent::Silenced { what } => {
                let since = self.open.as_ref().map(|(case, ..)| case.clone());
                // A reboot lets it speak again, or finds it as silent as before.
                if self.silenced.iter().all(|(other, _)| other != what) {
                    self.silenced.push((what.clone(), since));
                }
            }
            RunEvent::Trouble(problem) => self.troubles.push(problem.clone()),
            RunEvent::Wedged { why } => self.wedged = Some(why.clone()),
            RunEvent::Interrupted => self.interrupted = true,
            RunEvent::Lacking { what } => self.lacking.push(what.clone()),
            RunEvent::Ended(end) => self.ended = Some(end.clone()),
        }
    }

    /// What stands for the case that was running when the journal breaks off.
    pub(crate) fn died(&self) -> Option<Outcome> {
        let (case, iteration, began) = self.open.clone()?;
        let seconds = began
            .zip(self.last)
            .and_then(|(began, last)| last.duration_since(began).ok())
            .map_or(0.0, crate::journal::seconds);
        Some(Outcome {
            case,
            iteration,
            verdict: Verdict::Fail,
            seconds,
            reason: None,
            find: None,
            problems: vec![Problem::new(
                Witness::Machine,
                self.down.as_deref().unwrap_or(DIED),
                "The journal ends with this case running. Look at the console of the machine \
                 (console.log, if ci/vm ran it) for a panic or a reset.",
            )],
            notes: Vec::new(),
            folder: None,
        })
    }

    /// What it ran on: "xfs on Linux 6.12.1".
    pub(crate) fn name(&self) -> String {
        let on = self.plan.as_ref().map_or("unknown".to_owned(), Plan::configuration);
        if self.machine.kernel.is_empty() {
            on
        } else {
            format!("{on} on Linux {}", self.machine.kernel)
        }
    }

    /// The runs that it is, each with the plan that a result of it came of.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Self> {
        let own = self.sources.is_empty().then_some(self);
        own.into_iter().chain(self.sources.iter().map(|source| &source.history))
    }

    /// The run, of those that it was put together from, that `case` is a result of.
    pub(crate) fn source_of(&self, case: &str) -> Option<&Source> {
        let has = |source: &&Source| source.history.has_case(case);
        self.sources.iter().find(has).or(self.sources.first())
    }

    fn has_case(&self, case: &str) -> bool {
        self.plan.iter().flat_map(|plan| &plan.cases).any(|name| name == case)
    }

    /// What the run was to do that `case` is a result of.
    pub(crate) fn plan_of(&self, case: &str) -> Option<&Plan> {
        match self.source_of(case) {
            Some(source) => source.history.plan.as_ref(),
            None => self.plan.as_ref(),
        }
    }

    /// What ended, and what was cut off.
    pub(crate) fn all_outcomes(&self) -> Vec<Outcome> {
        let mut outcomes = self.outcomes.clone();
        outcomes.extend(self.died());
        outcomes
    }

    /// What the kernel does not report, and since when, a sentence each.
    pub(crate) fn silences(&self) -> impl Iterator<Item = String> {
        self.silenced.iter().map(|(what, since)| match since {
            Some(case) => format!("since {case}, {what}"),
            None => what.clone(),
        })
    }

    /// Whether something failed that a person should look at. That nothing did says little
    /// unless the run is complete.
    pub(crate) fn has_failures(&self) -> bool {
        !self.troubles.is_empty()
            || self.open.is_some()
            || self.outcomes.iter().any(|o| o.verdict.needs_attention())
    }

    /// Where to go on: the iteration and the index in the plan's cases, at the case that was cut short, or
    /// after the one that began last.
    pub(crate) fn next(&self) -> (u64, usize) {
        if let (Some((case, iteration)), Some(plan)) = (&self.cut, &self.plan)
            && let Some(index) = plan.cases.iter().position(|name| name == case)
        {
            return (*iteration, index);
        }
        let last = match (&self.open, self.outcomes.last()) {
            (Some((case, iteration, _)), _) => Some((case.as_str(), *iteration)),
            (None, Some(outcome)) => Some((outcome.case.as_str(), outcome.iteration)),
            (None, None) => None,
        };
        let Some(((case, iteration), plan)) = last.zip(self.plan.as_ref()) else {
            return (0, 0);
        };
        let index = plan.cases.iter().position(|name| name == case);
        match index.map_or(0, |index| index + 1) {
            next if next < plan.cases.len() => (iteration, next),
            _ => (iteration + 1, 0),
        }
    }
}
