//! What the kernel wrote back, as the tracepoint `fs_dax:dax_writeback_one` tells it.
//!
//! Nothing else does: the device holds what was stored whether or not it was flushed. The
//! tracepoint comes after the flush of a mapping entry, on every kernel that has a layout break,
//! and costs a record for each; so this needs neither a probe nor the tracer. The records go to an
//! instance of the run's own in tracefs, which disturbs nobody else's tracing and nobody else's
//! disturbs. The kernel says where records were lost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::owner::Owner;
use super::tracefs::{TracePipe, at, root};
use crate::action::FileId;
use crate::system::WriteBacks;

const TRACEPOINT: &str = "fs_dax/dax_writeback_one";

/// What precedes the fields in a line.
const NAME: &str = "dax_writeback_one: ";

/// KiB of records on each CPU between two looks: a few thousand pages.
const BUFFER: &str = "256";

/// An instance of tracefs that records write-back, as long as this lives.
#[derive(Debug)]
pub struct Recording(PathBuf);

impl Recording {
    /// Begins to record, in the name of `owner`.
    pub fn begin(owner: Owner) -> io::Result<Self> {
        let folder = root()?.join("instances").join(owner.recording());
        fs::create_dir(&folder).map_err(at(&folder))?;
        let recording = Self(folder);
        for (file, text) in
            [("buffer_size_kb".to_owned(), BUFFER), (format!("events/{TRACEPOINT}/enable"), "1")]
        {
            let file = recording.0.join(file);
            fs::write(&file, text).map_err(at(&file))?;
        }
        Ok(recording)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Who still reads it was killed and is about to go; the next run's sweep finds the rest.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Removes the recordings of owners that are gone, and what `owner` has no more use for.
pub(super) fn sweep(owner: Owner) -> Vec<(PathBuf, io::Result<()>)> {
    let instances = root().and_then(|root| fs::read_dir(root.join("instances")));
    let left = instances.into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| owner.may_take(name) && name != owner.recording())
    });
    left.map(|entry| (entry.path(), fs::remove_dir(entry.path()))).collect()
}

/// What a case reads of its run's recording.
#[derive(Debug)]
pub(super) struct WritebackReader {
    /// The records, or why there are none.
    pipe: Result<TracePipe, String>,
    /// The file system's device, as records name it.
    device: String,
    /// Its files by their inode.
    files: BTreeMap<u64, FileId>,
}

impl WritebackReader {
    /// Reads what `owner` records of the file system that `directory` is on, from now on.
    pub(super) fn open(owner: Owner, directory: &Path) -> io::Result<Self> {
        let device = fs::metadata(directory)?.dev();
        let mut reader = Self {
            pipe: open(owner).map_err(|why| why.to_string()),
            device: format!("dev {}:{} ", major(device), minor(device)),
            files: BTreeMap::new(),
        };
        // What came before is nothing to this case.
        reader.take();
        Ok(reader)
    }

    /// A file was made, with this inode.
    pub(super) fn learn(&mut self, file: FileId, inode: u64) {
        self.files.insert(inode, file);
    }

    /// What was recorded since this was last called.
    pub(super) fn take(&mut self) -> WriteBacks {
        let mut seen = WriteBacks::default();
        let lines = match &mut self.pipe {
            Ok(pipe) => pipe.lines(),
            Err(why) => Err(why.clone()),
        };
        let lines = lines.unwrap_or_else(|why| {
            seen.missed = Some(why);
            String::new()
        });
        for line in lines.lines() {
            match record(line) {
                TraceLine::WrittenBack { device, inode, pages } => {
                    if device == self.device
                        && let Some(file) = self.files.get(&inode)
                    {
                        seen.pages.push((*file, pages));
                    }
                }
                TraceLine::Lost => seen.missed = Some("the kernel lost records".to_owned()),
                TraceLine::Unknown => seen.missed = Some(format!("trace_pipe has \"{line}\"")),
            }
        }
        seen
    }
}

fn open(owner: Owner) -> io::Result<TracePipe> {
    let root = root()?;
    let tracepoint = root.join("events").join(TRACEPOINT);
    if !tracepoint.exists() {
        return Err(io::Error::other(format!("the kernel has no tracepoint {TRACEPOINT}")));
    }
    TracePipe::open(&root.join("instances").join(owner.recording()))
}

/// A line of trace_pipe.
#[derive(Debug, PartialEq, Eq)]
enum TraceLine<'l> {
    WrittenBack { device: &'l str, inode: u64, pages: Range<u64> },
    Lost,
    Unknown,
}

/// Reads a line: the task's name and number, CPU, flags and time, then the tracepoint's name and
/// its fields, as `TP_printk` in include/trace/events/fs_dax.h has them.
fn record(line: &str) -> TraceLine<'_> {
    if line.starts_with("CPU:") && line.ends_with(" EVENTS]") {
        return TraceLine::Lost;
    }
    // A task may have any name.
    let parsed = || {
        let (_, fields) = line.rsplit_once(NAME)?;
        let at = fields.find("ino ")?;
        let (device, rest) = fields.split_at(at);
        let mut words = rest.split_whitespace();
        let mut field = |name: &str| {
            let value = words.next().filter(|word| *word == name).and(words.next())?;
            // "%#lx" has no 0x before a 0.
            u64::from_str_radix(value.trim_start_matches("0x"), 16).ok()
        };
        let (inode, first, count) = (field("ino")?, field("pgoff")?, field("pglen")?);
        Some(TraceLine::WrittenBack { device, inode, pages: first..first + count })
    };
    parsed().unwrap_or(TraceLine::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "   daxtests-case-412     [001] .....    31.405718: dax_writeback_one: dev 259:0 \
                    ino 0x83 pgoff 0x200 pglen 0x2";
        let pages = 0x200..0x202;
        assert_eq!(
            record(line),
            TraceLine::WrittenBack { device: "dev 259:0 ", inode: 0x83, pages }
        );
        let first = line.replace("pgoff 0x200", "pgoff 0");
        let pages = 0..2;
        assert_eq!(
            record(&first),
            TraceLine::WrittenBack { device: "dev 259:0 ", inode: 0x83, pages }
        );
    }

    #[test]
    fn what_is_lost_or_not_understood_is_no_silence() {
        assert_eq!(record("CPU:1 [LOST 12 EVENTS]"), TraceLine::Lost);
        assert_eq!(record("dax_writeback_one: dev 259:0 ino 0x83"), TraceLine::Unknown);
        assert_eq!(record("a line"), TraceLine::Unknown);
    }
}
