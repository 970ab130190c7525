//! What a case did and saw, in words that are the same on every correct file system.
//!
//! No times, addresses or counts that vary; those are notes, which are reported but not
//! compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Direction, FileId, MapId, Partner, Sharing, Whole};
use crate::oracle::Found;

/// Something a running case tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Telling {
    /// A line of the transcript.
    Line(String),
    /// What was observed in a cell, in order, before it was judged: what its law's contract is
    /// compared with.
    Observed(Vec<String>),
    /// An oracle found that a rule was broken.
    Found(Found),
    /// A measurement or remark that is not compared.
    Note {
        /// What was measured.
        name: String,
        /// How much, or what.
        value: String,
    },
}

/// The names a case has given to its files and mappings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    files: BTreeMap<FileId, String>,
    maps: BTreeMap<MapId, String>,
}

impl Names {
    pub(crate) fn file(&self, file: FileId) -> Cow<'_, str> {
        self.files.get(&file).map_or_else(|| format!("file {}", file.0).into(), Into::into)
    }

    pub(crate) fn map(&self, map: MapId) -> Cow<'_, str> {
        self.maps.get(&map).map_or_else(|| format!("map {}", map.0).into(), Into::into)
    }

    /// Gives a file its name.
    pub(crate) fn call(&mut self, file: FileId, name: &str) {
        self.files.insert(file, name.to_owned());
    }

    /// Learns the names that `action` introduces.
    pub(crate) fn learn(&mut self, action: &Action) {
        match action {
            Action::Create { file, name, .. }
            | Action::CreateWithoutDax { file, name, .. }
            | Action::CreateInFolder { file, name, .. }
            | Action::CreateSpare { file, name, .. }
            | Action::CreateHuge { file, name, .. } => {
                self.files.insert(*file, name.clone());
            }
            Action::Map { map, file, sharing, .. } if !self.maps.contains_key(map) => {
                let kind = match sharing {
                    Sharing::Shared => "map",
                    Sharing::Private => "private map",
                    Sharing::Sync => "synchronous map",
                };
                let of = self.file(*file).into_owned();
                let earlier = self
                    .maps
                    .values()
                    .filter(|name| name.starts_with(&format!("{kind} of {of}")))
                    .count();
                let number = if earlier == 0 { String::new() } else { format!(" {}", earlier + 1) };
                self.maps.insert(*map, format!("{kind} of {of}{number}"));
            }
            _ => {}
        }
    }

    /// The action in a few words.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(crate) fn say(&self, action: &Action) -> String {
        match action {
            Action::Create { file, fill, .. } => {
                format!("create {}: {}", self.file(*file), pages(fill))
            }
            Action::CreateWithoutDax { file, fill, .. } => {
                format!("create {}, without DAX: {}", self.file(*file), pages(fill))
            }
            Action::CreateHuge { file, len, byte, .. } => {
                format!("create {}: {} MiB of {}", self.file(*file), len >> 20, char::from(*byte))
            }
            Action::CreateSpare { file, fill, .. } => {
                format!("create {} on the spare file system: {}", self.file(*file), pages(fill))
            }
            Action::CreateInFolder { file, fill, .. } => {
                format!("create {} in a folder of its own: {}", self.file(*file), pages(fill))
            }
            Action::RemoveFolder { file } => format!("rmdir the folder of {}", self.file(*file)),
            Action::BulkStat { file, .. } => format!("bulkstat the inode of {}", self.file(*file)),
            Action::Whole(whole) => whole.to_string(),
            Action::DropCaches => "drop caches".to_owned(),
            Action::Poison { map, span } => format!("poison {span} of the {}", self.map(*map)),
            Action::PoisonBlock { file, .. } => {
                format!("poison a block of the file system of {}", self.file(*file))
            }
            Action::WriteProtect { map } => format!("write-protect the {}", self.map(*map)),
            Action::Track { map, by } => {
                format!("begin to track stores to the {} ({by})", self.map(*map))
            }
            Action::StoredTo { map, span, by } => {
                format!("stores to {span} of the {} ({by})", self.map(*map))
            }
            Action::Remap { map, span, at } => {
                format!("have {span} of the {} show the file from {at} on", self.map(*map))
            }
            Action::SoftOffline { map, span } => {
                format!("soft-offline {span} of the {}", self.map(*map))
            }
            Action::SpoilBlocks { file, span } => {
                format!("spoil the blocks of {span} of {}", self.file(*file))
            }
            Action::SpoilBlock { file, .. } => {
                format!("spoil a block of the file system of {}", self.file(*file))
            }
            Action::Immutable { file, on: true } => {
                format!("make {} immutable", self.file(*file))
            }
            Action::Immutable { file, on: false } => {
                format!("let {} be changed again", self.file(*file))
            }
            Action::Scrub { file } => format!("scrub {}", self.file(*file)),
            Action::CacheStat { file } => format!("cachestat of {}", self.file(*file)),
            Action::Repair { file } => format!("repair {}", self.file(*file)),
            Action::Close { file } => format!("close {}", self.file(*file)),
            Action::Reopen { file } => format!("open {} again", self.file(*file)),
            Action::FlipDax { file } => {
                format!("take DAX from {} and give it back", self.file(*file))
            }
            Action::Unlink { file } => format!("unlink {}", self.file(*file)),
            Action::Read { file, span } => format!("read {span} of {}", self.file(*file)),
            Action::Write { file, span, byte } => {
                format!("write {} to {span} of {}", char::from(*byte), self.file(*file))
            }
            Action::DirectIo { file, span, map, buffer, direction } => {
                let (verb, word) = match direction {
                    Direction::FromMemory => ("write", "from"),
                    Direction::IntoMemory => ("read", "into"),
                };
                format!(
                    "direct {verb} of {span} of {} {word} byte {buffer} of the {}",
                    self.file(*file),
                    self.map(*map)
                )
            }
            Action::Gather { file, span, maps: [first, second] } => format!(
                "write {span} of {} from the {} and the {}",
                self.file(*file),
                self.map(*first),
                self.map(*second)
            ),
            Action::Truncate { file, size } => {
                format!("truncate {} to {size}", self.file(*file))
            }
            Action::OpenTruncate { file } => format!("open {} with O_TRUNC", self.file(*file)),
            Action::CancelledOpenTruncate { file } => {
                format!("open {} with O_TRUNC by io_uring and cancel it", self.file(*file))
            }
            Action::Fallocate { file, mode, span } => {
                format!("{mode} {span} of {}", self.file(*file))
            }
            Action::CancelledFallocate { file, mode, span } => {
                format!("{mode} {span} of {} by io_uring and cancel it", self.file(*file))
            }
            Action::Clone { from, span, to, at } => {
                format!("reflink {span} of {} onto {} at {at}", self.file(*from), self.file(*to))
            }
            Action::Dedupe { from, span, to, at } => {
                format!("dedupe {span} of {} onto {} at {at}", self.file(*from), self.file(*to))
            }
            Action::MoveExtents { file, donor } => {
                format!("move {} into the blocks of {}", self.file(*file), self.file(*donor))
            }
            Action::Exchange { file, with: Partner::File(other) | Partner::Range(other) } => {
                format!("exchange the blocks of {} and {}", self.file(*file), self.file(*other))
            }
            Action::Exchange { file, with: Partner::BootLoader } => {
                format!("exchange the blocks of {} and the boot loader", self.file(*file))
            }
            Action::Fsync { file, data_only } => {
                format!("{} {}", if *data_only { "fdatasync" } else { "fsync" }, self.file(*file))
            }
            Action::Stat { file } => format!("stat {}", self.file(*file)),
            Action::Blocks { file, span } => format!("find {span} of {}", self.file(*file)),
            Action::FindBlock { file, .. } => format!("look for a block in {}", self.file(*file)),
            Action::IsFree { .. } => "look whether a block is free".to_owned(),
            Action::Stored { file, span } => {
                format!("read {span} of {} from the device", self.file(*file))
            }
            Action::Map { map, span, .. } => format!("make the {}, {span}", self.map(*map)),
            Action::Unmap { map } => format!("unmap the {}", self.map(*map)),
            Action::Protect { map } => {
                format!("take all access to the {}, and give it back", self.map(*map))
            }
            Action::Move { map } => {
                format!("move the {} to other addresses, and back", self.map(*map))
            }
            Action::Touch { map, span } => format!("touch {span} of the {}", self.map(*map)),
            Action::Store { map, span, byte } => {
                format!("store {} to {span} of the {}", char::from(*byte), self.map(*map))
            }
            Action::Load { map, span } => format!("load {span} of the {}", self.map(*map)),
            Action::Msync { map } => format!("msync the {}", self.map(*map)),
            Action::FutexWait { map } => format!("wait for a word of the {}", self.map(*map)),
            Action::FutexWake { map } => {
                format!("wake who waits for a word of the {}", self.map(*map))
            }
            Action::Pin { map, span, kind, .. } => format!(
                "pin {span} of the {} ({kind}){}",
                self.map(*map),
                if kind.is_kept() { " and keep it to itself" } else { "" }
            ),
            Action::Reap { .. } => "reap the direct I/O".to_owned(),
            Action::PinLongterm { map, span } => {
                format!("ask for a long-term pin of {span} of the {}", self.map(*map))
            }
            Action::DirectLoad { map, span, inflight, direction, .. } => format!(
                "keep {inflight} direct I/Os in flight {} {span} of the {}",
                match direction {
                    Direction::FromMemory => "from",
                    Direction::IntoMemory => "into",
                },
                self.map(*map)
            ),
            Action::Run(script) => format!("run a script of {} steps", script.steps.len()),
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Make => "make the spare file system",
            Self::MakeLarge => "make a large spare file system",
            Self::MakeMapped => "make the spare file system on a linear mapping of its device",
            Self::Move => "have another part of the device mapped there, with the same in it",
            Self::Crash => "have it mounted again as a crash would leave it",
            Self::Unmount => "unmount it",
            Self::Mount => "mount it",
            Self::Check => "check it",
            Self::ReadOnly => "remount it read-only",
            Self::Freeze => "freeze it",
            Self::Thaw => "thaw it",
            Self::ShutDown => "shut it down",
            Self::Grow => "grow it",
            Self::Unbind => "unbind its device",
            Self::Bind => "bind its device",
        })
    }
}

impl fmt::Display for Action {
    /// In the words of a transcript, with numbers where a case has names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Names::default().say(self))
    }
}

/// What a new file holds: a letter a page, a dot for a hole.
fn pages(fill: &[u8]) -> String {
    if fill.len() > 16 {
        return format!("{} pages", fill.len());
    }
    fill.iter().map(|byte| if *byte == 0 { '.' } else { char::from(*byte) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Mode, page};

    #[test]
    fn an_action_is_told_in_words() {
        let punch = Action::Fallocate { file: FileId(1), mode: Mode::Punch, span: page(2) };
        assert_eq!(punch.to_string(), "punch page 2 of file 1");
        let mut names = Names::default();
        names.call(FileId(1), "data");
        assert_eq!(names.say(&punch), "punch page 2 of data");
        let touch = Action::Touch { map: MapId(3), span: page(0) };
        assert_eq!(touch.to_string(), "touch page 0 of the map 3");
    }
}
