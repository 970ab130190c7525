//! Several runs as one: the shards of a run, and whatever else ran on the same kernel, file system
//! and shape. Runs on different ones stay apart, each a suite of its own.
//!
//! The journals become one, as if one run had written it: its cases in the order in which they were
//! selected, whoever ran them. All reports are then made from that, as they are from any journal,
//! so they cannot tell less or count twice. What is missing is an event of its own, which makes the
//! whole incomplete. A case that two of the runs were to run is refused: which of its results is
//! the one that counts is not for this program to say, and `runner compare` shows both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::fs::FsType;
use crate::history::{History, Source};
use crate::journal::{Entry, RunEvent};
use crate::plan::Plan;
use crate::shard::{Shard, Share};

/// Why results are not put together. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0} is named twice")]
    Named(PathBuf),
    #[error(
        "{first} and {second} both run {case} ({name}); name one of them, and see {} compare for both",
        crate::name::own()
    )]
    Twice { first: PathBuf, second: PathBuf, case: String, name: String },
    #[error(
        "{first} and {second} made or mounted {name} with other options; report them one by one"
    )]
    Options { first: PathBuf, second: PathBuf, name: String },
    #[error("{first} and {second} repeat the cases of {name} differently; report them one by one")]
    Repetition { first: PathBuf, second: PathBuf, name: String },
}

/// Runs that reports tell as one.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Its events, in the order of one run.
    pub(crate) entries: Vec<Entry>,
    /// The same, folded. The folders of its cases are named from where the runs' folders are.
    pub(crate) history: History,
}

/// A results folder as it was named, and what its journal tells.
struct NamedRun {
    folder: PathBuf,
    entries: Vec<Entry>,
    history: History,
}

impl NamedRun {
    fn share(&self) -> Option<&Share> {
        self.history.plan.as_ref()?.shard.as_ref()
    }

    fn cases(&self) -> &[String] {
        self.history.plan.as_ref().map_or(&[], |plan| &plan.cases)
    }

    /// Its outcomes know where their files are, whatever else is reported with them.
    fn entry(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        if let RunEvent::CaseEnded(outcome) = &mut entry.event {
            outcome.folder = outcome.folder.take().map(|inside| self.folder.join(inside));
        }
        entry
    }

    fn into_source(self) -> Source {
        Source { folder: self.folder, history: self.history }
    }
}

/// What results are of. Those of another kind are other results.
#[derive(PartialEq, Eq)]
struct Provenance {
    /// The reference is the same on any.
    kernel: Option<String>,
    configuration: String,
}

impl Provenance {
    /// Of a journal that lacks its beginning nobody knows.
    fn of(history: &History) -> Option<Self> {
        let plan = history.plan.as_ref()?;
        let kernel = history.machine.kernel.clone();
        let kernel = (plan.target.fs != FsType::Reference).then_some(kernel);
        Some(Self { kernel, configuration: plan.configuration() })
    }
}

/// The runs of these folders, those that belong together put together.
pub(crate) fn suites(named: Vec<(PathBuf, Vec<Entry>)>) -> Result<Vec<Suite>, Refusal> {
    let mut places = BTreeSet::new();
    let mut groups: Vec<(Option<Provenance>, Vec<NamedRun>)> = Vec::new();
    for (folder, entries) in named {
        if !places.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
            return Err(Refusal::Named(folder));
        }
        let history = History::of(&entries);
        let kind = Provenance::of(&history);
        let run = NamedRun { folder, entries, history };
        match groups.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, group)) => group.push(run),
            None => groups.push((kind, vec![run])),
        }
    }
    groups.into_iter().map(|(_, runs)| one(runs)).collect()
}

/// One suite of these runs.
fn one(mut runs: Vec<NamedRun>) -> Result<Suite, Refusal> {
    if runs.len() == 1 && runs[0].share().is_none() {
        let run = runs.remove(0);
        let entries: Vec<_> = run.entries.iter().map(|entry| run.entry(entry)).collect();
        let mut history = History::of(&entries);
        history.sources.push(run.into_source());
        return Ok(Suite { entries, history });
    }
    check(&runs)?;
    // However they were named.
    runs.sort_by_key(|run| run.share().map(|share| share.shard));
    let mut entries = in_order(&runs);
    let mut history = History::of(&entries);
    let last = entries.iter().map(|entry| entry.time.clone()).max().unwrap_or_default();
    let mut add = |history: &mut History, event| {
        let entry = Entry { time: last.clone(), event };
        history.add(&entry);
        entries.push(entry);
    };
    for what in lacking(&runs) {
        add(&mut history, RunEvent::Lacking { what });
    }
    let end = history.end(Exit::at_end(&history));
    add(&mut history, RunEvent::Ended(end));
    history.sources.extend(runs.into_iter().map(NamedRun::into_source));
    Ok(Suite { entries, history })
}

/// Refuses runs that do not make one.
fn check(runs: &[NamedRun]) -> Result<(), Refusal> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for run in runs {
        let name = run.history.name();
        let (first, second) = (runs[0].folder.clone(), run.folder.clone());
        if let (Some(one), Some(other)) = (&runs[0].history.plan, &run.history.plan) {
            let options =
                |plan: &Plan| (plan.target.mkfs_options.clone(), plan.target.mount_options.clone());
            if options(one) != options(other) {
                return Err(Refusal::Options { first, second, name });
            }
            let repeats = |plan: &Plan| (plan.iterations, plan.duration, plan.until_fail);
            if repeats(one) != repeats(other) {
                return Err(Refusal::Repetition { first, second, name });
            }
        }
        for case in run.cases() {
            if let Some(first) = seen.insert(case, &run.folder) {
                let (first, case) = (first.to_owned(), case.clone());
                return Err(Refusal::Twice { first, second, case, name });
            }
        }
    }
    Ok(())
}

/// What one run would have been asked for that did what these did.
fn plan(runs: &[NamedRun]) -> Option<Plan> {
    let mut known = BTreeSet::new();
    let cases = runs
        .iter()
        .flat_map(|run| run.share().map_or(run.cases(), |share| &share.selected))
        .filter(|case| known.insert(case.as_str()))
        .cloned()
        .collect();
    Some(Plan { cases, shard: None, ..runs[0].history.plan.clone()? })
}

/// The events of the runs as one run has them, up to its end.
fn in_order(runs: &[NamedRun]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let plan = plan(runs);
    let order: BTreeMap<String, usize> =
        plan.iter().flat_map(|plan| plan.cases.clone()).zip(0..).collect();
    if let Some(plan) = plan {
        let time = runs.iter().filter_map(|run| run.entries.first()).map(|entry| &entry.time).min();
        let machine = runs[0].history.machine.clone();
        let event = RunEvent::Begun { plan: plan.into(), machine };
        entries.push(Entry { time: time.cloned().unwrap_or_default(), event });
    }
    let mut parts = Parts::default();
    for run in runs {
        parts.take(run);
    }
    entries.extend(parts.before);
    let place = |(case, iteration): &(String, u64)| {
        (*iteration, order.get(case).copied().unwrap_or(usize::MAX))
    };
    parts.executions.sort_by_key(|(execution, _)| place(execution));
    entries.extend(parts.executions.into_iter().flat_map(|(_, entries)| entries));
    entries.extend(parts.after);
    entries
}

/// Runs, taken apart.
#[derive(Default)]
struct Parts {
    /// What was before the first case: once what is the same in all.
    before: Vec<Entry>,
    /// Each case and iteration with its events.
    executions: Vec<((String, u64), Vec<Entry>)>,
    /// What went wrong outside of cases, and what ended a run early.
    after: Vec<Entry>,
}

impl Parts {
    fn take(&mut self, run: &NamedRun) {
        let first = self.executions.len();
        let (mut wedged, mut interrupted) = (None, None);
        for entry in &run.entries {
            match &entry.event {
                RunEvent::CaseBegun { case, iteration, .. } => {
                    self.forget((case, *iteration), first);
                    self.executions.push(((case.clone(), *iteration), vec![entry.clone()]));
                }
                RunEvent::CaseEnded(outcome) => {
                    self.end((&outcome.case, outcome.iteration), run.entry(entry), first);
                }
                // It has no result; if it was run again, that has.
                RunEvent::CaseCut { case, iteration } => self.forget((case, *iteration), first),
                RunEvent::Silenced { .. } if self.executions.len() > first => {
                    self.executions.last_mut().expect("there is one").1.push(entry.clone());
                }
                RunEvent::Silenced { .. } | RunEvent::Prepared { .. } => {
                    if self.before.iter().all(|known| known.event != entry.event) {
                        self.before.push(entry.clone());
                    }
                }
                RunEvent::Trouble(_) => self.after.push(entry.clone()),
                RunEvent::Wedged { .. } => wedged = Some(entry),
                RunEvent::Interrupted => interrupted = Some(entry),
                RunEvent::Begun { .. }
                | RunEvent::Resumed { .. }
                | RunEvent::Down { .. }
                | RunEvent::Lacking { .. }
                | RunEvent::Ended(_) => {}
            }
        }
        if let (Some(died), Some(last)) = (run.history.died(), run.entries.last()) {
            let (case, iteration) = (died.case.clone(), died.iteration);
            let event = RunEvent::CaseEnded(Box::new(died));
            self.end((&case, iteration), Entry { time: last.time.clone(), event }, first);
        }
        // A run that went on is no longer stopped.
        self.after.extend(wedged.filter(|_| run.history.wedged.is_some()).cloned());
        self.after.extend(interrupted.filter(|_| run.history.interrupted).cloned());
    }

    /// Where an execution is that began since `first`, the last time that it did.
    fn begun(&self, (case, iteration): (&str, u64), first: usize) -> Option<usize> {
        let is_it = |((name, number), _): &((String, u64), Vec<Entry>)| {
            name == case && *number == iteration
        };
        self.executions[first..].iter().rposition(is_it).map(|at| first + at)
    }

    /// Leaves an execution out that came to no end: it began again, or was cut short.
    fn forget(&mut self, execution: (&str, u64), first: usize) {
        let Some(at) = self.begun(execution, first) else { return };
        let ended = |entry: &Entry| matches!(entry.event, RunEvent::CaseEnded(_));
        if !self.executions[at].1.iter().any(ended) {
            self.executions.remove(at);
        }
    }

    /// Takes the end of an execution. Its beginning may be missing from a journal.
    fn end(&mut self, execution: (&str, u64), entry: Entry, first: usize) {
        if let Some(at) = self.begun(execution, first) {
            self.executions[at].1.push(entry);
        } else {
            let (case, iteration) = execution;
            self.executions.push(((case.to_owned(), iteration), vec![entry]));
        }
    }
}

/// What is missing, a line each.
fn lacking(runs: &[NamedRun]) -> Vec<String> {
    let mut lacking = Vec::new();
    let had: BTreeSet<&String> = runs.iter().flat_map(NamedRun::cases).collect();
    let mut wholes: Vec<(&NamedRun, &Share)> = Vec::new();
    for run in runs {
        let Some(share) = run.share() else { continue };
        let same = |(_, other): &&(&NamedRun, &Share)| {
            (other.shard.of, &other.selected) == (share.shard.of, &share.selected)
        };
        if wholes.iter().find(same).is_none() {
            wholes.push((run, share));
        }
    }
    for (run, share) in &wholes {
        let missing: Vec<_> = share.selected.iter().filter(|case| !had.contains(case)).collect();
        if missing.is_empty() {
            continue;
        }
        let of = share.shard.of;
        let absent: Vec<_> = (1..=of)
            .map(|number| Shard { number, of })
            .filter(|shard| missing.iter().any(|case| shard.has(case)))
            .filter(|shard| {
                let is_here = |run: &NamedRun| {
                    run.share()
                        .is_some_and(|it| it.shard == *shard && it.selected == share.selected)
                };
                !runs.iter().any(is_here)
            })
            .map(|shard| shard.to_string())
            .collect();
        let where_from = match wholes.len() {
            1 => String::new(),
            _ => format!(" of what {} is a share of", run.folder.display()),
        };
        lacking.push(match &absent[..] {
            [] => format!("{} cases{where_from} are in no shard", missing.len()),
            [one] => format!("shard {one}{where_from} is missing"),
            [most @ .., last] => {
                format!("shards {} and {last}{where_from} are missing", most.join(", "))
            }
        });
    }
    lacking.extend(runs.iter().filter_map(|run| {
        let why = run.history.incomplete()?.why;
        Some(format!("{}: {why}", run.folder.display()))
    }));
    lacking
}

#[cfg(test)]
mod tests;
