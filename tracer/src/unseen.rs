//! What was not seen, counted by its cause: the reason why a verdict is undecided.

use std::collections::BTreeMap;
use std::fmt;

/// The program that sees unpins by direct I/O where another one does not, and that one.
pub(crate) const STAND_IN: &str = "unpin_bio_stand_in";
pub(crate) const STOOD_IN_FOR: &str = "unpin_bio_probe";

/// Takes out of what programs missed what another program saw instead; `seen` calls were seen by
/// the one that has a stand-in, and of `twice` the stand-in knew.
///
/// A call that both miss is among the stand-in's, and so is each that only the other saw. One that
/// is between the two is taken for seen a moment too early.
pub(crate) fn stood_in(calls: &mut BTreeMap<String, u64>, seen: u64, twice: u64) {
    calls.remove(STOOD_IN_FOR);
    if let Some(missed) = calls.remove(STAND_IN) {
        let both = missed.saturating_sub(seen.saturating_sub(twice));
        if both > 0 {
            calls.insert(STAND_IN.to_owned(), both);
        }
    }
}

/// What was not seen since the probes were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Records that found no room in the ring or could not be made, and breaks that ended unseen,
    /// as their task's next one showed.
    pub lost: u64,
    /// Records that came faster than they could be judged.
    pub not_judged: u64,
    /// Breaks, and other calls, that were found to have ended unseen.
    pub returns: u64,
    /// Calls that the kernel did not let a program see, by program.
    pub calls: BTreeMap<String, u64>,
    /// Times that the ring could not be emptied in time to know.
    pub not_swept: u64,
    /// Extents that were freed and whose pages are not known: nobody looked who uses them.
    pub frees: u64,
    /// Why they are not known, if that is the device's fault.
    pub why: Option<String>,
}

impl Unseen {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.missed() + self.frees
    }

    /// What happened and was not seen: no absence means anything then.
    pub fn missed(&self) -> u64 {
        self.placed() + self.unplaced() + self.not_swept
    }

    /// What each later record tells to be missing before it.
    pub fn placed(&self) -> u64 {
        self.lost + self.not_judged
    }

    /// What only a counter tells, and not when it was.
    pub fn unplaced(&self) -> u64 {
        self.returns + self.calls.values().sum::<u64>()
    }

    /// What was added since it was `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let calls = self.calls.iter().map(|(program, count)| {
            let before = before.calls.get(program).copied().unwrap_or(0);
            (program.clone(), count.saturating_sub(before))
        });
        Self {
            lost: self.lost.saturating_sub(before.lost),
            not_judged: self.not_judged.saturating_sub(before.not_judged),
            returns: self.returns.saturating_sub(before.returns),
            calls: calls.filter(|(_, count)| *count > 0).collect(),
            not_swept: self.not_swept.saturating_sub(before.not_swept),
            frees: self.frees.saturating_sub(before.frees),
            why: self.why.clone(),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = Vec::new();
        let mut tell = |count: u64, what: &str| {
            if count > 0 {
                causes.push(format!("{count} {what}"));
            }
        };
        tell(self.lost, "records were lost");
        tell(self.not_judged, "records came faster than they could be judged");
        tell(self.returns, "calls ended unseen");
        for (program, count) in &self.calls {
            tell(*count, &format!("calls of {program} were not seen"));
        }
        tell(self.not_swept, "times the ring was not emptied in time");
        if self.frees > 0 {
            let why = self.why.as_deref().unwrap_or("they lie beyond the device");
            causes.push(format!(
                "{} extents were freed whose pages are not known: {why}",
                self.frees
            ));
        }
        if causes.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&causes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_missed_if_the_stand_in_missed_it_too() {
        let known = |calls: &[(&str, u64)]| -> BTreeMap<String, u64> {
            calls.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        // Of ten calls one was seen by the first only, two by the stand-in only, one by none.
        let mut calls = known(&[(STOOD_IN_FOR, 3), (STAND_IN, 2), ("scan_end", 1)]);
        stood_in(&mut calls, 7, 6);
        assert_eq!(calls, known(&[(STAND_IN, 1), ("scan_end", 1)]));
        let mut calls = known(&[(STOOD_IN_FOR, 3), (STAND_IN, 1)]);
        stood_in(&mut calls, 7, 6);
        assert!(calls.is_empty());
    }

    #[test]
    fn each_cause_is_told_and_only_what_is_new() {
        let calls = |count| BTreeMap::from([("scan_end".to_owned(), count)]);
        let before = Unseen { lost: 2, calls: calls(5), ..Unseen::default() };
        let after = Unseen { lost: 3, returns: 10, calls: calls(5), ..Unseen::default() };
        let new = after.since(&before);
        assert_eq!((new.total(), new.unplaced()), (11, 10));
        assert_eq!(new.to_string(), "1 records were lost, 10 calls ended unseen");
        assert_eq!(before.since(&before).to_string(), "nothing");
        let freed = Unseen { frees: 2, why: Some("it is dm-crypt".to_owned()), ..before.clone() };
        let new = freed.since(&before);
        assert_eq!((new.total(), new.missed()), (2, 0));
        assert_eq!(
            new.to_string(),
            "2 extents were freed whose pages are not known: it is dm-crypt"
        );
    }
}
