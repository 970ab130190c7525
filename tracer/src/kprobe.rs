//! A kprobe or kretprobe made through tracefs.
//!
//! perf makes them too, in one call, but a return probe of perf's has places for ten calls at a
//! time on a small machine, and each break that sleeps takes one: what comes then returns unseen.
//! Here the number is ours, and the kernel tells what a probe missed.
//!
//! Unlike those of perf they outlive a process that is killed; the next one takes them away.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys;
use crate::tracefs;

/// The group of our events in tracefs.
const GROUP: &str = "daxtests";

/// Calls that a return probe can have under way: as many as the probes remember breaks
/// (`BREAKS` in tracer-ebpf/src/under_way.rs). The kernel allows 4096 (kernel/trace/trace_kprobe.c,
/// `KRETPROBE_MAXACTIVE_MAX`).
const PLACES: u32 = 1024;

/// How many were made.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A probe with its program. Dropping it takes it out of the kernel.
pub(crate) struct Kprobe {
    root: PathBuf,
    event: String,
    link: Option<OwnedFd>,
}

impl Kprobe {
    /// Has `program` run where `symbol` begins or, if `at_return`, returns; `name` is the program's.
    pub(crate) fn attach(
        program: BorrowedFd<'_>,
        name: &str,
        symbol: &str,
        at_return: bool,
    ) -> io::Result<Self> {
        let root = tracefs::root().ok_or_else(|| io::Error::other("tracefs is not mounted"))?;
        // A program may be at several functions.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let event = format!("{name}_{number}_{}", std::process::id());
        let kind = if at_return { format!("r{PLACES}") } else { "p".to_owned() };
        change(&root, &format!("{kind}:{GROUP}/{event} {symbol}"))?;
        let mut probe = Self { root, event, link: None };
        let id = tracefs::tracepoint_file(GROUP, &probe.event, "id").unwrap_or_default();
        let id = id.trim().parse().map_err(|_| io::Error::other("the probe has no number"))?;
        probe.link = Some(sys::run_at_tracepoint(program, id)?);
        Ok(probe)
    }

    /// How many calls it missed, of `misses`.
    pub(crate) fn missed(&self, misses: &BTreeMap<String, u64>) -> u64 {
        misses.get(&self.event).copied().unwrap_or(0)
    }
}

impl Drop for Kprobe {
    fn drop(&mut self) {
        // In use it cannot be removed.
        drop(self.link.take());
        // What stays is removed by the next process that traces.
        let _ = change(&self.root, &format!("-:{GROUP}/{}", self.event));
    }
}

/// Adds or removes a probe.
fn change(root: &Path, line: &str) -> io::Result<()> {
    // Opened for writing and not for appending, it removes all there are.
    File::options().append(true).open(root.join("kprobe_events"))?.write_all(line.as_bytes())
}

/// What each probe of the machine missed, by event: the kernel keeps it from running where another
/// runs, and gives a return no place if all are taken.
pub(crate) fn misses() -> BTreeMap<String, u64> {
    let told =
        tracefs::root().and_then(|root| fs::read_to_string(root.join("kprobe_profile")).ok());
    parse(&told.unwrap_or_default())
}

/// kernel/trace/trace_kprobe.c, `probes_profile_seq_show`: event, hits, misses.
fn parse(profile: &str) -> BTreeMap<String, u64> {
    let lines = profile.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.nth(1)?.parse().ok()?))
    });
    lines.collect()
}

/// Removes the probes of processes that are gone.
pub(crate) fn sweep() {
    let Some(root) = tracefs::root() else {
        return;
    };
    let there = fs::read_to_string(root.join("kprobe_events")).unwrap_or_default();
    for event in orphans(&there, |process| Path::new("/proc").join(process).exists()) {
        // One that is in use after all is not removed.
        let _ = change(&root, &format!("-:{GROUP}/{event}"));
    }
}

/// Our events whose process is not `alive`, from lines as `r1024:daxtests/break_end_0_123 symbol`.
fn orphans(there: &str, alive: impl Fn(&str) -> bool) -> Vec<&str> {
    let ours = there.lines().filter_map(|line| {
        let event = line.split_once(':')?.1.split_ascii_whitespace().next()?;
        let event = event.strip_prefix(GROUP)?.strip_prefix('/')?;
        let (_, process) = event.rsplit_once('_')?;
        (!alive(process)).then_some(event)
    });
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_tells_what_was_missed() {
        let profile = "  break_end_7                     120               3\n  foreign    1   0\n";
        let misses = parse(profile);
        assert_eq!(misses["break_end_7"], 3);
        assert_eq!(misses["foreign"], 0);
        assert!(parse("").is_empty());
    }

    #[test]
    fn only_probes_of_ours_whose_process_is_gone_are_orphans() {
        let there = "p:kprobes/foreign_1 vfs_read\nr1024:daxtests/break_end_1 xfs_break_layouts\n\
                     p:daxtests/scan_begin_probe_2 dax_layout_busy_page_range\n";
        assert_eq!(orphans(there, |process| process == "2"), ["break_end_1"]);
    }
}
