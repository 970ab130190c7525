//! The journal's own lines on standard output, for programs.
//!
//! A run that is resumed repeats the lines of the boots before, so that its output alone tells
//! all of it. The last line of a run that came to its end is `ended`, which says how.

use std::io::Write;

use super::Reporter;
use crate::history::History;
use crate::journal::Entry;
use crate::merge::Suite;
use crate::print;

/// Prints each event as a JSON line.
#[derive(Debug)]
pub(crate) struct Json<W = print::Stdout> {
    out: W,
}

impl Json {
    pub(crate) fn new() -> Self {
        Self::to(print::Stdout)
    }
}

/// Prints the events of suites, one suite after the other: each begins with `begun` and ends with
/// `ended`.
pub(crate) fn retell(suites: &[Suite]) {
    write_suites(&mut print::Stdout, suites);
}

pub(super) fn write_suites(out: &mut impl Write, suites: &[Suite]) {
    for suite in suites {
        Json::to(&mut *out).resume(&suite.entries);
    }
}

impl<W: Write> Json<W> {
    /// Prints to `out`.
    pub(crate) fn to(out: W) -> Self {
        Self { out }
    }

    fn say(&mut self, entry: &Entry) {
        // Whoever stopped reading does not want more; the journal has it all.
        let _ = serde_json::to_writer(&mut self.out, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush());
    }
}

impl<W: Write> Reporter for Json<W> {
    fn resume(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.say(entry);
        }
    }

    fn entry(&mut self, entry: &Entry, _history: &History) {
        self.say(entry);
    }
}
