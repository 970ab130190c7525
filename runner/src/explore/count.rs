//! What the interleavings of a pair came to, counted; and what was found, for people and programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::exit::Exit;
use crate::fuzz::interleave::Forcing;
use crate::fuzz::seen::Divergence;

/// The interleavings of a pair.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Count {
    /// Its name.
    pub(super) pair: String,
    interleavings: u32,
    forced: u32,
    /// One waited for the other, or for the pin.
    not_forceable: u32,
    /// A task never came by its point.
    not_by: u32,
    /// A hold ended by its deadline, however often it was tried.
    undecided: u32,
    /// Not done to the end, by the reason.
    left_out: BTreeMap<String, u32>,
    /// What was found and is known, by the reason.
    known: BTreeMap<String, u32>,
    /// What was found, by what it is.
    findings: BTreeMap<String, u32>,
}

/// The head of the table.
pub(super) const HEAD: &str = "                       orders  forced  not forceable  not by  undecided  left out  known  findings";

impl Count {
    /// None yet.
    pub(super) fn of(pair: String) -> Self {
        Self { pair, ..Self::default() }
    }

    /// Counts one interleaving.
    pub(super) fn add(&mut self, forcing: &Forcing, found: &[Divergence]) {
        self.interleavings += 1;
        match forcing {
            Forcing::Forced => self.forced += 1,
            Forcing::Waits { .. } => self.not_forceable += 1,
            Forcing::NotBy { .. } => self.not_by += 1,
            Forcing::Undecided => self.undecided += 1,
            Forcing::LeftOut(why) => *self.left_out.entry(why.clone()).or_default() += 1,
        }
        let worst = found.iter().find(|one| one.tolerated.is_none()).or(found.first());
        match worst {
            Some(Divergence { tolerated: Some(reason), .. }) => {
                *self.known.entry((*reason).to_owned()).or_default() += 1;
            }
            Some(worst) => *self.findings.entry(worst.kind.clone()).or_default() += 1,
            None => {}
        }
    }

    /// Adds those of another pair.
    fn take(&mut self, other: &Self) {
        self.interleavings += other.interleavings;
        self.forced += other.forced;
        self.not_forceable += other.not_forceable;
        self.not_by += other.not_by;
        self.undecided += other.undecided;
        for (mine, theirs) in [
            (&mut self.left_out, &other.left_out),
            (&mut self.known, &other.known),
            (&mut self.findings, &other.findings),
        ] {
            for (what, count) in theirs {
                *mine.entry(what.clone()).or_default() += count;
            }
        }
    }

    /// Whether any order came about, or was shown to be none.
    fn shows_something(&self) -> bool {
        self.forced + self.not_forceable > 0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |counts: &BTreeMap<String, u32>| counts.values().sum::<u32>();
        write!(
            f,
            "{:<22} {:6} {:7} {:14} {:7} {:10} {:9} {:6} {:9}",
            self.pair,
            self.interleavings,
            self.forced,
            self.not_forceable,
            self.not_by,
            self.undecided,
            sum(&self.left_out),
            sum(&self.known),
            sum(&self.findings),
        )
    }
}

/// A program that showed something, as it is kept.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    /// What.
    pub(super) kind: String,
    /// In which pair.
    pub(super) pair: String,
    /// In which order of it.
    pub(super) order: String,
    /// It came again.
    pub(super) again: bool,
    /// Its file.
    pub(super) replay: Option<PathBuf>,
}

/// All of it, as programs read it.
#[derive(Debug, Serialize)]
pub(super) struct ExploreSummary<'t> {
    pairs: &'t [Count],
    total: Count,
    shown: &'t [Shown],
    troubles: u64,
    seconds: f64,
    interrupted: bool,
    exit: u8,
}

/// What an exploration came to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pairs: Vec<Count>,
    /// What was kept.
    pub(super) shown: Vec<Shown>,
    /// What went wrong outside of any program.
    pub(super) troubles: u64,
    /// The user ended it.
    pub(super) interrupted: bool,
}

impl Totals {
    /// Adds a pair.
    pub(super) fn add(&mut self, count: Count) {
        self.pairs.push(count);
    }

    /// Whether a program is kept that shows this.
    pub(super) fn has_shown(&self, kind: &str) -> bool {
        self.shown.iter().any(|shown| shown.kind == kind)
    }

    /// All pairs together.
    pub(super) fn total(&self) -> Count {
        let mut total = Count::of(format!("{} pairs", self.pairs.len()));
        for count in &self.pairs {
            total.take(count);
        }
        total
    }

    /// All of it, for programs.
    pub(super) fn told(&self, seconds: f64) -> ExploreSummary<'_> {
        ExploreSummary {
            pairs: &self.pairs,
            total: self.total(),
            shown: &self.shown,
            troubles: self.troubles,
            seconds,
            interrupted: self.interrupted,
            exit: self.exit().code(),
        }
    }

    /// The exit code. Where nothing came about, nothing is as expected.
    pub(super) fn exit(&self) -> Exit {
        let total = self.total();
        if self.interrupted {
            Exit::Interrupted
        } else if total.findings.is_empty() && self.troubles == 0 && total.shows_something() {
            Exit::Expected
        } else {
            Exit::Unexpected
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        write!(f, "{total}")?;
        for (what, counts) in
            [("left out: ", &total.left_out), ("known: ", &total.known), ("", &total.findings)]
        {
            for (reason, count) in counts {
                write!(f, "\n    {count:6}  {what}{reason}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_known_is_a_failure() {
        let found = |tolerated| {
            let kind = "punch: another content".to_owned();
            vec![Divergence { tolerated, ..Divergence::at_end(kind, String::new()) }]
        };
        let exit = |forcing: &Forcing, found: &[Divergence]| {
            let mut count = Count::of("punch+load".to_owned());
            count.add(forcing, found);
            let mut tally = Totals::default();
            tally.add(count);
            tally.exit()
        };
        let waits = Forcing::Waits { task: 3, pin: false };
        assert_eq!(exit(&Forcing::Forced, &[]), Exit::Expected);
        assert_eq!(exit(&waits, &[]), Exit::Expected);
        assert_eq!(exit(&Forcing::Forced, &found(Some("it may"))), Exit::Expected);
        assert_eq!(exit(&Forcing::Forced, &found(None)), Exit::Unexpected);
        assert_eq!(exit(&Forcing::Undecided, &[]), Exit::Unexpected, "nothing was shown");
    }

    #[test]
    fn what_is_known_hides_nothing() {
        let mut count = Count::of("punch+fsync".to_owned());
        let one = |tolerated| {
            let kind = "punch: another content".to_owned();
            Divergence { tolerated, ..Divergence::at_end(kind, String::new()) }
        };
        count.add(&Forcing::Forced, &[one(Some("it may")), one(None)]);
        let line = count.to_string();
        assert!(line.ends_with("     0         1"), "{line}");
    }
}
