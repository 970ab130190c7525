//! Who tells the user: one stream of events, several ways to show it.

#[cfg(test)]
mod agreement;
mod alike;
pub(crate) mod clean;
pub(crate) mod compare;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod kcidb;
pub(crate) mod ktap;
pub(crate) mod list;
mod problems;
pub(crate) mod terminal;

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use crate::history::History;
use crate::journal::Entry;

/// In what form things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: the journal's lines, or the list as an array.
    Json,
    /// The kernel's test protocol.
    Ktap,
}

/// Shows a run while it runs.
pub(crate) trait Reporter {
    /// The run goes on after these, which a reporter that tells all of it tells again.
    fn resume(&mut self, _entries: &[Entry]) {}

    /// Something happened; `history` holds it already.
    fn entry(&mut self, entry: &Entry, history: &History);

    /// Nothing happened: `case` has been running for `age`.
    fn tick(&mut self, _case: &str, _age: Duration) {}

    /// The run is over, or cannot go on; its results lie in `folder`.
    fn finish(&mut self, _history: &History, _folder: &Path) {}

    /// The timeline of a run's only case, which was traced.
    fn timeline(&mut self, _timeline: &str) {}
}
