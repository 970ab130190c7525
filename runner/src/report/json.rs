//! The journal's own lines on standard output, for programs.

use std::io::Write as _;

use super::Reporter;
use crate::history::History;
use crate::journal::Entry;
use crate::print;

/// Prints each event as a JSON line.
#[derive(Debug, Default)]
pub(crate) struct Json;

impl Reporter for Json {
    fn entry(&mut self, entry: &Entry, _history: &History) {
        let mut out = print::Stdout;
        // Whoever stopped reading does not want more; the journal has it all.
        let _ = serde_json::to_writer(&mut out, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush());
    }
}
