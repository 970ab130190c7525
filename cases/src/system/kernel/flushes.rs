//! What the kernel flushes from the processor's caches, as probes on the functions that do it tell.
//!
//! The device holds what was copied to it whether or not it was flushed, so nothing else shows it.
//! Of a DAX file system all goes through two functions: `arch_wb_cache_pmem()` flushes what was
//! stored before, and `__memcpy_flushcache()` copies past the caches. A third, which brings what
//! write(2) writes, is inlined on some kernels; nobody asks about what was written. Whether the
//! probes see anything is tried first, on a page that is stored to and synced. Where the blocks of
//! the file system lie in the kernel's address space is learnt from the same page.
//!
//! The records go to an instance of tracefs of its own. The kernel says which were lost, and what a
//! probe missed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::owner::Owner;
use super::tracefs::{TracePipe, at, root};
use crate::action::{PAGE, Span};

/// The group of the probes in tracefs.
const GROUP: &str = "daxtests_flushes";

/// A probe: the beginning of its name, the function, and where that has the number of bytes. The
/// address comes first.
const PROBES: [(&str, &str, &str); 2] =
    [(FLUSH, "arch_wb_cache_pmem", "$arg2"), ("copy", "__memcpy_flushcache", "$arg3")];

/// The probe that sees what fsync writes back.
const FLUSH: &str = "flush";

/// KiB of records on each CPU between two looks.
const BUFFER: &str = "64";

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FlushRecord {
    /// The probe's name, without its owner.
    probe: String,
    /// Where it begins in the kernel's address space.
    address: u64,
    /// Bytes.
    len: u64,
}

/// What flushes, watched as long as this lives.
#[derive(Debug)]
pub(super) struct FlushWatch {
    owner: Owner,
    folder: PathBuf,
    /// What is recorded, to the end of this.
    pipe: Option<TracePipe>,
    /// Where the first byte of the file system lies in the kernel's address space, once that is known.
    base: Option<u64>,
    flushed: Vec<FlushRecord>,
}

impl FlushWatch {
    /// Begins to watch, in the name of `owner`.
    pub(super) fn begin(owner: Owner) -> io::Result<Self> {
        let root = root()?;
        let folder = root.join("instances").join(owner.flushes());
        // What a case before this one left.
        remove(&root, owner)?;
        for (probe, function, len) in PROBES {
            let line =
                format!("p:{GROUP}/{} {function} at=$arg1:x64 len={len}:x64", name(probe, owner));
            change(&root, &line)?;
        }
        let watch = || -> io::Result<TracePipe> {
            fs::create_dir(&folder).map_err(at(&folder))?;
            let size = folder.join("buffer_size_kb");
            fs::write(&size, BUFFER).map_err(at(&size))?;
            for (probe, ..) in PROBES {
                let switch =
                    folder.join("events").join(GROUP).join(name(probe, owner)).join("enable");
                fs::write(&switch, "1").map_err(at(&switch))?;
            }
            TracePipe::open(&folder)
        };
        match watch() {
            Ok(pipe) => {
                Ok(Self { owner, folder, pipe: Some(pipe), base: None, flushed: Vec::new() })
            }
            Err(error) => {
                let _ = remove(&root, owner);
                Err(error)
            }
        }
    }

    /// Learns where the file system lies: since this was last asked, the page in `block` was written
    /// back, and no other.
    pub(super) fn locate(&mut self, block: u64) -> Result<(), String> {
        self.take()?;
        let pages: Vec<_> = self
            .flushed
            .iter()
            .filter(|record| record.probe == FLUSH && record.len == PAGE)
            .map(|record| record.address)
            .collect();
        let [address] = pages[..] else {
            return Err(format!("the write-back of a page was seen {} times", pages.len()));
        };
        self.base = Some(address.wrapping_sub(block * PAGE));
        Ok(())
    }

    /// Forgets what was flushed so far.
    pub(super) fn forget(&mut self) -> Result<(), String> {
        self.take()?;
        self.flushed.clear();
        Ok(())
    }

    /// The parts of `span`, a span of the page in `block`, that were not flushed.
    pub(super) fn missing(&mut self, block: u64, span: Span) -> Result<Vec<Span>, String> {
        self.take()?;
        let base = self.base.ok_or("where the blocks lie is not known")?;
        let address = base.wrapping_add(block * PAGE + span.at % PAGE);
        let mut left = vec![(address, address + span.len)];
        for record in &self.flushed {
            left = left.into_iter().flat_map(|part| without(part, record)).collect();
        }
        let of = |(from, to): (u64, u64)| Span { at: span.at + (from - address), len: to - from };
        Ok(left.into_iter().map(of).collect())
    }

    /// Reads what was recorded since.
    fn take(&mut self) -> Result<(), String> {
        let lines = self.pipe.as_mut().map_or_else(|| Ok(String::new()), TracePipe::lines)?;
        for line in lines.lines() {
            self.flushed.push(record(line).ok_or_else(|| format!("trace_pipe has \"{line}\""))?);
        }
        let profile = root().and_then(|root| fs::read_to_string(root.join("kprobe_profile")));
        let profile = profile.map_err(|error| format!("kprobe_profile: {error}"))?;
        match PROBES.iter().map(|(probe, ..)| missed(&profile, &name(probe, self.owner))).sum() {
            0 => Ok(()),
            missed => Err(format!("the probes missed {missed} flushes")),
        }
    }
}

impl Drop for FlushWatch {
    fn drop(&mut self) {
        // While it is open, what it reads from cannot be removed.
        drop(self.pipe.take());
        if let Err(error) = root().and_then(|root| remove(&root, self.owner)) {
            eprintln!("left behind: {}: {error}", self.folder.display());
        }
    }
}

/// What of the bytes from the first address to the second is not in a record.
fn without((from, to): (u64, u64), record: &FlushRecord) -> Vec<(u64, u64)> {
    let end = record.address.saturating_add(record.len);
    let parts = [(from, to.min(record.address)), (from.max(end), to)];
    parts.into_iter().filter(|(from, to)| from < to).collect()
}

/// The name of an owner's probe.
fn name(probe: &str, owner: Owner) -> String {
    // Other characters of an owner's name the kernel does not take.
    format!("{probe}_{}", owner.word())
}

/// Adds or removes a probe.
fn change(root: &Path, line: &str) -> io::Result<()> {
    let path = root.join("kprobe_events");
    // Opened for writing and not for appending, it removes all there are.
    let mut file = File::options().append(true).open(&path).map_err(at(&path))?;
    file.write_all(line.as_bytes()).map_err(|error| io::Error::other(format!("{line}: {error}")))
}

/// Removes what `owner` watches with.
fn remove(root: &Path, owner: Owner) -> io::Result<()> {
    let folder = root.join("instances").join(owner.flushes());
    match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&folder)(error)),
        _ => {}
    }
    for (probe, of) in probes(&there(root)?) {
        if of == owner {
            change(root, &format!("-:{GROUP}/{probe}"))?;
        }
    }
    Ok(())
}

/// Removes the probes of owners that are gone, and what `owner` has no more use for. Their
/// instances are gone by then.
pub(super) fn sweep(owner: Owner) -> Vec<(PathBuf, io::Result<()>)> {
    let Ok(root) = root() else { return Vec::new() };
    let Ok(there) = there(&root) else { return Vec::new() };
    let left = probes(&there).filter(|(_, of)| owner.may_take_of(*of));
    left.map(|(probe, _)| (root.join(probe), change(&root, &format!("-:{GROUP}/{probe}"))))
        .collect()
}

/// All probes of the machine.
fn there(root: &Path) -> io::Result<String> {
    let path = root.join("kprobe_events");
    match fs::read_to_string(&path) {
        // A kernel without kprobes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(at(&path)),
    }
}

/// Ours among lines as `p:daxtests_flushes/flush_412_3f1 arch_wb_cache_pmem at=$arg1:x64`, and whose they are.
fn probes(there: &str) -> impl Iterator<Item = (&str, Owner)> {
    there.lines().filter_map(|line| {
        let event = line.split_once(':')?.1.split_ascii_whitespace().next()?;
        let probe = event.strip_prefix(GROUP)?.strip_prefix('/')?;
        let (_, owner) = probe.split_once('_')?;
        Some((probe, Owner::from_word(owner)?))
    })
}

/// Reads a line: the task's name and number, CPU, flags and time, then the probe's name, the place
/// in brackets, and its fields (kernel/trace/trace_kprobe.c, `print_kprobe_event`).
fn record(line: &str) -> Option<FlushRecord> {
    let (before, fields) = line.rsplit_once(": (")?;
    let (_, probe) = before.rsplit_once(' ')?;
    let (probe, _) = probe.split_once('_')?;
    let mut fields = fields.split_once(") ")?.1.split(' ');
    let mut field = |name: &str| {
        let value = fields.next()?.strip_prefix(name)?.strip_prefix("=0x")?;
        u64::from_str_radix(value, 16).ok()
    };
    Some(FlushRecord { probe: probe.to_owned(), address: field("at")?, len: field("len")? })
}

/// What a probe missed: kernel/trace/trace_kprobe.c, `probes_profile_seq_show`: event, hits, misses.
fn missed(profile: &str, probe: &str) -> u64 {
    let lines = profile.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == probe).then(|| words.nth(1)?.parse::<u64>().ok())?
    });
    lines.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "  daxtests-case-53      [000] .....    53.366890: flush_412_3f1: \
                        (arch_wb_cache_pmem+0x4/0x40) at=0xff4296b60000d000 len=0x1000";

    #[test]
    fn a_line_is_read() {
        let read = record(LINE).unwrap();
        let address = 0xff42_96b6_0000_d000;
        assert_eq!(read, FlushRecord { probe: "flush".to_owned(), address, len: 0x1000 });
        assert_eq!(record("CPU:1 [LOST 12 EVENTS]"), None);
        assert_eq!(record(&LINE.replace("len=0x1000", "len=(fault)")), None);
    }

    #[test]
    fn what_is_flushed_in_parts_is_flushed_where_they_are() {
        let flushed = |address, len| FlushRecord { probe: String::new(), address, len };
        assert_eq!(without((100, 200), &flushed(0, 100)), [(100, 200)]);
        assert_eq!(without((100, 200), &flushed(120, 30)), [(100, 120), (150, 200)]);
        assert_eq!(without((100, 200), &flushed(50, 100)), [(150, 200)]);
        assert_eq!(without((100, 200), &flushed(100, 100)), []);
        assert_eq!(without((100, 200), &flushed(200, 8)), [(100, 200)]);
    }

    #[test]
    fn a_probe_tells_whose_it_is() {
        let here = Owner::here().unwrap();
        let ours = name(FLUSH, here);
        let there = format!(
            "p:daxtests/break_end_0_1 symbol\np:{GROUP}/{ours} arch_wb_cache_pmem at=$arg1:x64\n"
        );
        assert_eq!(probes(&there).collect::<Vec<_>>(), [(ours.as_str(), here)]);
        assert_eq!(missed(&format!("  {ours}   7   2\n  other   1   1\n"), &ours), 2);
    }
}
