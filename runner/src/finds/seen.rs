//! Where each find was seen: what the journals of runs on several kernels and file systems say, and
//! nothing else.
//!
//! The facts are kept in `docs/finds/seen.json`, which this module reads and writes, so that the
//! index and the mails can be made without the journals.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::find::{Facts, Find};
use crate::fs::FsType;
use crate::history::History;
use crate::journal::Outcome;
use crate::known::{Deviations, numbers};
use crate::verdict::Verdict;

/// What is recorded, from all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sightings {
    /// In the order of [`SeenOn::key`].
    places: Vec<SeenOn>,
}

/// What is recorded of a kernel and a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenOn {
    /// The file system.
    fs: FsType,
    /// The target's name, shapes and all: "xfs-stripe-4k".
    target: String,
    /// `uname -r`.
    kernel: String,
    /// `uname -v`.
    version: String,
    /// The finds of which something is known there, by id.
    finds: BTreeMap<String, Sight>,
}

/// What is known of a find at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sight {
    /// This case deviated by it.
    Seen(String),
    /// This case deviated by it, and passed another time.
    ByChance(String),
    /// Its own case passed.
    NotSeen,
    /// Its own case deviated, but by the find of this id.
    As(String),
    /// Its own case failed in a way that is not known.
    Undecided,
}

/// A kernel with a file system: a column of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// The file system.
    pub(crate) fs: FsType,
    /// `uname -r`.
    pub(crate) kernel: String,
}

/// What the index says of a find in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// What is known, and the shape if it is known of a shape only.
    Known(Sight, Option<String>),
    /// Nothing is known.
    NotRun,
    /// No case of it can show it there.
    DoesNotApply,
}

impl SeenOn {
    /// What a run tells.
    pub(crate) fn of(history: &History, deviations: &Deviations) -> anyhow::Result<Self> {
        let plan = history.plan.as_ref().context("its journal does not say what was run")?;
        let target = &plan.target;
        if target.fs == FsType::Reference {
            bail!("it is a run on the reference, which says nothing of a kernel");
        }
        if history.machine.is_livepatched() {
            bail!("its kernel was livepatched, so it says nothing about the stock kernel");
        }
        let outcomes = history.all_outcomes();
        let finds = deviations.finds().iter().filter_map(|find| {
            let sight = sight(find, find.facts?, &outcomes, &target.shapes, deviations)?;
            Some((find.id.clone(), sight))
        });
        Ok(Self {
            fs: target.fs,
            target: target.name(),
            kernel: history.machine.kernel.clone(),
            version: history.machine.version.clone(),
            finds: finds.collect(),
        })
    }

    /// Such that two places with the same are one: file system, kernel, target.
    fn key(&self) -> (FsType, Vec<u32>, &str, &str) {
        (self.fs, numbers(&self.kernel).unwrap_or_default(), &self.kernel, &self.target)
    }

    /// The shape: what the target's name says beside the file system.
    fn shape(&self) -> Option<String> {
        let shape = self.target.strip_prefix(self.fs.name())?.strip_prefix('-')?;
        Some(shape.to_owned())
    }
}

/// The ids of finds that a run has seen and that `deviations` do not know.
pub(crate) fn unknown<'h>(history: &'h History, deviations: &Deviations) -> BTreeSet<&'h str> {
    let ids = history.outcomes.iter().filter_map(|outcome| outcome.find.as_deref());
    ids.filter(|id| deviations.finds().iter().all(|find| find.id != *id)).collect()
}

/// What outcomes say of a find, if they say anything.
fn sight(
    find: &Find,
    facts: Facts,
    outcomes: &[Outcome],
    shapes: &[String],
    deviations: &Deviations,
) -> Option<Sight> {
    let is_hit =
        |o: &&Outcome| o.verdict == Verdict::XFail && o.find.as_deref() == Some(find.id.as_str());
    let hits: BTreeSet<&str> = outcomes.iter().filter(is_hit).map(|o| o.case.as_str()).collect();
    let passed: BTreeSet<&str> =
        outcomes.iter().filter(|o| o.verdict == Verdict::Pass).map(|o| o.case.as_str()).collect();
    let own = facts.case.name;
    // Its own case before others, and what is sure before what is not.
    let mut steady = hits.iter().filter(|case| !passed.contains(*case));
    if hits.contains(own) && !passed.contains(own) {
        return Some(Sight::Seen(own.to_owned()));
    }
    if let Some(case) = steady.next() {
        return Some(Sight::Seen((*case).to_owned()));
    }
    if let Some(case) = hits.get(own).or_else(|| hits.first()) {
        return Some(Sight::ByChance((*case).to_owned()));
    }
    // On another shape its own case says nothing.
    let mut entries = deviations.entries(&find.id).filter(|known| known.is_about(facts.case));
    if !entries.any(|known| known.shapes().iter().all(|shape| shapes.contains(shape))) {
        return None;
    }
    let mut sight = None;
    for outcome in outcomes.iter().filter(|outcome| outcome.case == own) {
        match outcome.verdict {
            Verdict::Fail | Verdict::Hang | Verdict::Error => return Some(Sight::Undecided),
            Verdict::XFail => sight = outcome.find.clone().map(Sight::As),
            Verdict::Pass | Verdict::XPass => sight = sight.or(Some(Sight::NotSeen)),
            Verdict::NotRun => {}
        }
    }
    sight
}

impl Sight {
    /// What is known after `later` as well, where `own` is the find's own case.
    ///
    /// The order in which runs are added does not matter: what was seen once was seen.
    fn and(self, later: Self, own: &str) -> Self {
        use Sight::{As, ByChance, NotSeen, Seen, Undecided};
        match (self, later) {
            (Seen(case), NotSeen) | (NotSeen, Seen(case)) if case == own => ByChance(case),
            (ByChance(case), _) | (_, ByChance(case)) => ByChance(case),
            (Seen(case), _) | (_, Seen(case)) => Seen(case),
            (As(id), _) | (_, As(id)) => As(id),
            (NotSeen, _) | (_, NotSeen) => NotSeen,
            (Undecided, Undecided) => Undecided,
        }
    }

    /// What counts most where several shapes say something.
    fn weight(&self) -> u8 {
        match self {
            Self::Seen(_) => 0,
            Self::ByChance(_) => 1,
            Self::Undecided => 2,
            Self::As(_) => 3,
            Self::NotSeen => 4,
        }
    }
}

impl Sightings {
    /// What a file says.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// What stands in the file.
    pub(crate) fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("it has string keys only");
        format!("{text}\n")
    }

    /// Adds what another run tells.
    pub(crate) fn add(&mut self, place: SeenOn, deviations: &Deviations) {
        let Some(known) = self.places.iter_mut().find(|known| known.key() == place.key()) else {
            self.places.push(place);
            self.places.sort_by(|a, b| a.key().cmp(&b.key()));
            return;
        };
        known.version = place.version;
        for (id, later) in place.finds {
            let find = deviations.finds().iter().find(|find| find.id == id);
            let own = find.and_then(|find| find.facts).map_or("", |facts| facts.case.name);
            let sight = match known.finds.remove(&id) {
                Some(sight) => sight.and(later, own),
                None => later,
            };
            known.finds.insert(id, sight);
        }
    }

    /// The kernels and file systems, in the order of the index.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<_> = self
            .places
            .iter()
            .map(|place| Column { fs: place.fs, kernel: place.kernel.clone() })
            .collect();
        columns.dedup();
        columns
    }

    /// The kernels, `uname -r` and `uname -v`, oldest first.
    pub(crate) fn kernels(&self) -> Vec<(&str, &str)> {
        let mut places: Vec<_> = self.places.iter().collect();
        let key = |place: &SeenOn| (numbers(&place.kernel), place.kernel.clone());
        places.sort_by_cached_key(|place| key(place));
        places.dedup_by(|one, other| one.kernel == other.kernel);
        places.iter().map(|place| (place.kernel.as_str(), place.version.as_str())).collect()
    }

    /// A kernel in short: "6.12", or all of it if there is another 6.12.
    pub(crate) fn label(&self, kernel: &str) -> String {
        let short = |kernel: &str| {
            let numbers: Vec<_> =
                numbers(kernel)?.iter().take(2).map(ToString::to_string).collect();
            Some(numbers.join("."))
        };
        let wanted = short(kernel);
        let same = self.kernels().iter().filter(|(other, _)| short(other) == wanted).count();
        wanted.filter(|_| same == 1).unwrap_or_else(|| kernel.to_owned())
    }

    /// What is known of `find` in `column`.
    pub(crate) fn cell(&self, find: &Find, column: &Column, deviations: &Deviations) -> Cell {
        let places = self
            .places
            .iter()
            .filter(|place| place.fs == column.fs && place.kernel == column.kernel);
        let best = places
            .filter_map(|place| Some((place.finds.get(&find.id)?, place.shape())))
            .min_by_key(|(sight, shape)| (sight.weight(), shape.is_some()));
        match best {
            Some((sight, shape)) => Cell::Known(sight.clone(), shape),
            None if deviations.entries(&find.id).any(|known| known.is_on(column.fs)) => {
                Cell::NotRun
            }
            None => Cell::DoesNotApply,
        }
    }

    /// Where `find` was seen, or with `not` where it was not: the kernels of each file system.
    pub(crate) fn places_of(
        &self,
        find: &Find,
        wanted: WantedSight,
        deviations: &Deviations,
    ) -> Vec<Column> {
        let is_wanted = |cell| match cell {
            Cell::Known(Sight::Seen(_) | Sight::ByChance(_), _) => wanted == WantedSight::Seen,
            Cell::Known(Sight::NotSeen, _) => wanted == WantedSight::NotSeen,
            _ => false,
        };
        let mut columns = self.columns();
        columns.retain(|column| is_wanted(self.cell(find, column, deviations)));
        columns
    }
}

/// Which places are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedSight {
    /// Where a find was seen, be it by chance.
    Seen,
    /// Where its own case passed.
    NotSeen,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, RunEvent};
    use crate::machine::Machine;
    use crate::plan::{self, Plan};
    use crate::target::Target;

    /// The finds that the tests speak of.
    const OWN: [(&str, &str); 3] = [
        ("unmapped", "waits/truncate-down/splice/unmapped"),
        ("break-forgets-dirty", "durable/punch/splice/mapped"),
        ("dedupe-along-device", "history/dedupe-eight-pages-differ"),
    ];

    fn deviations() -> Deviations {
        Deviations::built_in("").unwrap()
    }

    fn outcome(case: &str, verdict: Verdict, find: Option<&str>) -> Outcome {
        Outcome {
            case: case.to_owned(),
            iteration: 0,
            verdict,
            seconds: 0.1,
            reason: None,
            find: find.map(str::to_owned),
            problems: Vec::new(),
            notes: Vec::new(),
            folder: None,
        }
    }

    /// A run with these outcomes, as its journal tells it.
    fn run(kernel: &str, fs: FsType, shapes: &[&str], outcomes: &[Outcome]) -> History {
        let example = plan::example();
        let plan = Plan {
            target: Target {
                fs,
                shapes: shapes.iter().map(|shape| (*shape).to_owned()).collect(),
                ..example.target
            },
            ..example
        };
        let machine = Machine {
            kernel: kernel.to_owned(),
            version: "#1 SMP".to_owned(),
            ..Machine::default()
        };
        let mut entries = vec![Entry::now(RunEvent::Begun { plan: plan.into(), machine })];
        let ended = outcomes.iter().map(|outcome| RunEvent::CaseEnded(outcome.clone().into()));
        entries.extend(ended.map(Entry::now));
        History::of(&entries)
    }

    fn told(outcomes: &[Outcome]) -> BTreeMap<String, Sight> {
        let history = run("6.12.1", FsType::Xfs, &[], outcomes);
        SeenOn::of(&history, &deviations()).unwrap().finds
    }

    #[test]
    fn nothing_is_claimed_that_no_journal_says() {
        let [(id, own), ..] = OWN;
        assert!(told(&[]).is_empty());
        assert!(told(&[outcome(own, Verdict::NotRun, None)]).is_empty());
        // Another case of the same find passed: its own did not run.
        assert!(told(&[outcome("kept/punch/splice/unmapped", Verdict::Pass, None)]).is_empty());
        for (outcomes, sight) in [
            (vec![outcome(own, Verdict::Pass, None)], Sight::NotSeen),
            (vec![outcome(own, Verdict::XPass, Some(id))], Sight::NotSeen),
            (vec![outcome(own, Verdict::Fail, None)], Sight::Undecided),
            (vec![outcome(own, Verdict::XFail, Some(id))], Sight::Seen(own.to_owned())),
            (
                vec![outcome(own, Verdict::XFail, Some("inode-gone"))],
                Sight::As("inode-gone".to_owned()),
            ),
            (
                vec![outcome(own, Verdict::XFail, Some(id)), outcome(own, Verdict::Pass, None)],
                Sight::ByChance(own.to_owned()),
            ),
            // Elsewhere for sure, here now and then.
            (
                vec![
                    outcome(own, Verdict::XFail, Some(id)),
                    outcome(own, Verdict::Pass, None),
                    outcome("kept/punch/splice/unmapped", Verdict::XFail, Some(id)),
                ],
                Sight::Seen("kept/punch/splice/unmapped".to_owned()),
            ),
        ] {
            assert_eq!(told(&outcomes), [(id.to_owned(), sight)].into(), "{outcomes:?}");
        }
    }

    #[test]
    fn a_case_on_another_shape_says_nothing() {
        let (id, own) = OWN[2];
        let passed = [outcome(own, Verdict::Pass, None)];
        let on = |shapes: &[&str]| {
            let history = run("6.12.1", FsType::Xfs, shapes, &passed);
            SeenOn::of(&history, &deviations()).unwrap().finds
        };
        assert!(on(&[]).is_empty());
        assert_eq!(on(&["stripe-4k"]), [(id.to_owned(), Sight::NotSeen)].into());
    }

    #[test]
    fn the_reference_is_no_kernel() {
        let history = run("6.12.1", FsType::Reference, &[], &[]);
        let error = SeenOn::of(&history, &deviations()).unwrap_err().to_string();
        assert!(error.contains("says nothing of a kernel"), "{error}");
    }

    #[test]
    fn a_kernel_with_a_fault_in_it_is_another_kernel() {
        let mut history = run("6.12.1", FsType::Xfs, &[], &[]);
        // A warning taints it, too.
        history.machine.tainted = Some(1 << 9);
        assert!(SeenOn::of(&history, &deviations()).is_ok());
        history.machine.tainted = Some(1 << 15 | 1 << 9);
        let error = SeenOn::of(&history, &deviations()).unwrap_err().to_string();
        assert!(error.contains("was livepatched"), "{error}");
    }

    #[test]
    fn what_was_seen_once_was_seen_whatever_comes_first() {
        let own = "a/own";
        let seen = |case: &str| Sight::Seen(case.to_owned());
        let chance = || Sight::ByChance(own.to_owned());
        for (one, other, both) in [
            (seen(own), Sight::NotSeen, chance()),
            (seen("a/other"), Sight::NotSeen, seen("a/other")),
            (seen(own), seen(own), seen(own)),
            (chance(), seen(own), chance()),
            (chance(), Sight::NotSeen, chance()),
            (Sight::Undecided, Sight::NotSeen, Sight::NotSeen),
            (seen(own), Sight::As("x".to_owned()), seen(own)),
        ] {
            assert_eq!(one.clone().and(other.clone(), own), both, "{one:?} {other:?}");
            assert_eq!(other.clone().and(one.clone(), own), both, "{other:?} {one:?}");
        }
    }

    #[test]
    fn runs_add_up_by_kernel_file_system_and_shape() {
        let deviations = deviations();
        let find = |id: &str| deviations.finds().iter().find(|find| find.id == id).unwrap();
        let (stripe, eight) = OWN[2];
        let (unmapped, own) = OWN[0];
        let mut seen = Sightings::default();
        for history in [
            run("7.2.1-a", FsType::Ext4, &[], &[outcome(own, Verdict::Pass, None)]),
            run("6.12.1-a", FsType::Xfs, &[], &[outcome(own, Verdict::XFail, Some(unmapped))]),
            run(
                "6.12.1-a",
                FsType::Xfs,
                &["stripe-4k"],
                &[outcome(eight, Verdict::XFail, Some(stripe))],
            ),
            run("6.12.1-a", FsType::Xfs, &[], &[outcome(own, Verdict::XFail, Some(unmapped))]),
        ] {
            seen.add(SeenOn::of(&history, &deviations).unwrap(), &deviations);
        }
        assert_eq!(Sightings::parse(&seen.text()).unwrap(), seen);
        let columns = seen.columns();
        let names: Vec<_> = columns.iter().map(|it| (it.fs, seen.label(&it.kernel))).collect();
        assert_eq!(names, [(FsType::Xfs, "6.12".to_owned()), (FsType::Ext4, "7.2".to_owned())]);
        let cell = |id: &str, column: usize| seen.cell(find(id), &columns[column], &deviations);
        assert_eq!(cell(unmapped, 0), Cell::Known(Sight::Seen(own.to_owned()), None));
        assert_eq!(cell(unmapped, 1), Cell::Known(Sight::NotSeen, None));
        let shape = Some("stripe-4k".to_owned());
        assert_eq!(cell(stripe, 0), Cell::Known(Sight::Seen(eight.to_owned()), shape));
        assert_eq!(cell(stripe, 1), Cell::DoesNotApply);
        assert_eq!(cell(OWN[1].0, 1), Cell::NotRun);
        assert_eq!(seen.places_of(find(unmapped), WantedSight::Seen, &deviations), columns[..1]);
        assert_eq!(seen.places_of(find(unmapped), WantedSight::NotSeen, &deviations), columns[1..]);
    }
}
