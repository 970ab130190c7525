//! What a session of fuzzing met, counted, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::exit::Exit;

use super::seen::Divergence;

/// A program that was made shorter.
#[derive(Clone, Debug, Serialize)]
struct Shrunk {
    kind: String,
    steps: usize,
    from: usize,
}

/// How a divergence stands.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Recurrence {
    /// It came again, or need not.
    Again,
    /// It was looked for again and did not come.
    Once,
    /// It is no fault.
    Tolerated,
}

#[derive(Debug, Serialize)]
struct Row<'t> {
    kind: &'t str,
    standing: Recurrence,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The session, as programs read it.
#[derive(Debug, Serialize)]
pub(super) struct FuzzSummary<'t> {
    seed: u64,
    programs: u32,
    seconds: f64,
    divergences: Vec<Row<'t>>,
    shrunk: &'t [Shrunk],
    troubles: u64,
    interrupted: bool,
    exit: u8,
}

/// What was met.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Programs that ran.
    pub(super) programs: u32,
    /// Divergences that came again, or need not, by what they are.
    again: BTreeMap<String, u64>,
    /// Divergences that are no fault, by what they are and why.
    tolerated: BTreeMap<(String, &'static str), u64>,
    /// Divergences that were looked for again and did not come.
    once: BTreeMap<String, u64>,
    /// Those of which only a program is known that does not show them each time: a better one is
    /// welcome.
    racing: BTreeSet<String>,
    /// The programs that were shrunk.
    shrunk: Vec<Shrunk>,
    /// What went wrong outside of any program.
    troubles: u64,
    /// The user ended it.
    pub(super) interrupted: bool,
}

impl Tally {
    /// Whether `kind` is known to be no accident.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.again.contains_key(kind)
    }

    /// Counts a divergence that is no fault.
    pub(super) fn tolerate(&mut self, divergence: &Divergence, reason: &'static str) {
        *self.tolerated.entry((divergence.kind.clone(), reason)).or_default() += 1;
    }

    /// Counts one that came again.
    pub(super) fn again(&mut self, kind: &str) {
        *self.again.entry(kind.to_owned()).or_default() += 1;
    }

    /// Counts one that did not. A race in a kernel may need millions of tries; that it was seen
    /// is what counts.
    pub(super) fn once(&mut self, kind: &str) {
        *self.once.entry(kind.to_owned()).or_default() += 1;
    }

    /// Counts something that went wrong outside of any program.
    pub(super) fn trouble(&mut self) {
        self.troubles += 1;
    }

    /// Notes that a program that shows `kind` was made shorter.
    pub(super) fn shrunk(&mut self, kind: &str, steps: usize, from: usize) {
        self.shrunk.push(Shrunk { kind: kind.to_owned(), steps, from });
    }

    /// All of it, for programs.
    pub(super) fn told<'t>(&'t self, seed: u64, seconds: f64, exit: Exit) -> FuzzSummary<'t> {
        let rows = |counts: &'t BTreeMap<String, u64>, standing| {
            counts.iter().map(move |(kind, &count)| Row { kind, standing, count, reason: None })
        };
        let mut divergences: Vec<_> = rows(&self.again, Recurrence::Again).collect();
        divergences.extend(rows(&self.once, Recurrence::Once));
        divergences.extend(self.tolerated.iter().map(|((kind, reason), &count)| Row {
            kind,
            standing: Recurrence::Tolerated,
            count,
            reason: Some(reason),
        }));
        FuzzSummary {
            seed,
            programs: self.programs,
            seconds,
            divergences,
            shrunk: &self.shrunk,
            troubles: self.troubles,
            interrupted: self.interrupted,
            exit: exit.code(),
        }
    }

    /// Whether a program that shows `kind` is worth the time of shrinking it.
    pub(super) fn wants_program(&self, kind: &str) -> bool {
        self.again.get(kind) == Some(&1) || self.racing.contains(kind)
    }

    /// Whether all programs that are known for `kind` show it by chance.
    pub(super) fn is_racing(&self, kind: &str) -> bool {
        self.racing.contains(kind)
    }

    /// Whether the program that is kept for `kind` shows it each time.
    pub(super) fn set_steady(&mut self, kind: &str, steady: bool) {
        if steady {
            self.racing.remove(kind);
        } else {
            self.racing.insert(kind.to_owned());
        }
    }

    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        if self.interrupted {
            Exit::Interrupted
        } else if self.again.is_empty() && self.once.is_empty() && self.troubles == 0 {
            Exit::Expected
        } else {
            Exit::Unexpected
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tolerated: u64 = self.tolerated.values().sum();
        let once: u64 = self.once.values().sum();
        write!(f, "{tolerated} tolerated, {once} seen once")?;
        for (kind, count) in &self.again {
            write!(f, "\n    {count:6}  {kind}")?;
        }
        for (kind, count) in &self.once {
            write!(f, "\n    {count:6}  seen once: {kind}")?;
        }
        for ((kind, reason), count) in &self.tolerated {
            write!(f, "\n    {count:6}  tolerated: {kind}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "Punch: success, not blocked";

    #[test]
    fn what_was_seen_once_is_told_and_is_a_failure() {
        let mut tally = Tally::default();
        assert_eq!(tally.exit(), Exit::Expected);
        tally.once(KIND);
        assert_eq!(tally.exit(), Exit::Unexpected);
        assert_eq!(
            tally.to_string(),
            format!("0 tolerated, 1 seen once\n         1  seen once: {KIND}")
        );
    }

    #[test]
    fn what_is_no_fault_is_told_and_is_none() {
        let mut tally = Tally::default();
        tally.tolerate(&Divergence::at_end(KIND.to_owned(), String::new()), "it may");
        assert_eq!(tally.exit(), Exit::Expected);
        assert!(tally.to_string().ends_with(&format!("1  tolerated: {KIND}: it may")));
    }

    #[test]
    fn programs_are_told_the_same() {
        let mut tally = Tally::default();
        tally.once(KIND);
        tally.tolerate(&Divergence::at_end("Allocate".to_owned(), String::new()), "it may");
        tally.shrunk(KIND, 3, 30);
        let told = serde_json::to_value(tally.told(1, 0.5, tally.exit())).unwrap();
        assert_eq!(
            told["divergences"],
            serde_json::json!([
                { "kind": KIND, "standing": "once", "count": 1 },
                { "kind": "Allocate", "standing": "tolerated", "count": 1, "reason": "it may" },
            ])
        );
        assert_eq!(told["shrunk"], serde_json::json!([{ "kind": KIND, "steps": 3, "from": 30 }]));
        assert_eq!(told["exit"], 1);
    }

    #[test]
    fn what_went_wrong_beside_the_programs_is_a_failure() {
        let mut tally = Tally::default();
        tally.trouble();
        assert_eq!(tally.exit(), Exit::Unexpected);
    }

    #[test]
    fn the_first_program_is_wanted_and_a_better_one_than_a_racing_one() {
        let mut tally = Tally::default();
        tally.again(KIND);
        assert!(tally.wants_program(KIND));
        tally.set_steady(KIND, false);
        tally.again(KIND);
        assert!(tally.wants_program(KIND));
        tally.set_steady(KIND, true);
        tally.again(KIND);
        assert!(!tally.wants_program(KIND));
    }
}
