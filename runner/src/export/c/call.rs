//! What a task does, as an expression of C, and what it must return.

use cases::action::{
    Action, Content, Direction, FileId, MapId, Medium, Partner, Reply, Sector, Sharing, Span,
    Tracker, Whole,
};
use cases::system::{Errno, OpId};

use super::{CWriter, Sayable};
use crate::export::requirement;

/// How many sectors are compared at a time: the program is meant to be read.
const MOST_SIGNS: usize = 512;

impl CWriter {
    /// The expression that does an action, and compares what it reads.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(super) fn call(
        &self,
        action: &Action,
        result: Option<&Result<Reply, Errno>>,
        words: &str,
    ) -> Sayable<String> {
        let what = quoted(words);
        let name = |file: &FileId| quoted(self.names.get(file).map_or("", String::as_str));
        let content = || match result {
            Some(Ok(Reply::Content(content))) => signs(content),
            Some(Err(_)) => Ok(String::new()),
            _ => Err(format!("{words}: the result is not known in advance")),
        };
        Ok(match action {
            Action::Create { file, medium: Medium::PageCache, fill, .. } => {
                format!("create_in_memory(&{}, {})", descriptor(*file), letters(fill)?)
            }
            Action::Create { file, fill, .. } => {
                format!("create(&{}, {}, {})", descriptor(*file), name(file), letters(fill)?)
            }
            Action::CreateWithoutDax { file, fill, .. } => {
                let fill = letters(fill)?;
                format!("create_without_dax(&{}, {}, {fill})", descriptor(*file), name(file))
            }
            // The file system that the program is given is its own.
            Action::CreateSpare { file, name, fill } => {
                format!("create(&{}, {}, {})", descriptor(*file), quoted(name), letters(fill)?)
            }
            Action::Gather { file, span, maps: [first, second] } => format!(
                "gather({}, {}, {}.at, {}.at)",
                descriptor(*file),
                range(*span),
                mapping(*first),
                mapping(*second)
            ),
            Action::FutexWait { map } => format!("futex_wait(&{})", mapping(*map)),
            Action::FutexWake { map } => format!("futex_wake(&{})", mapping(*map)),
            Action::Whole(Whole::Unmount) => "unmount()".to_owned(),
            Action::Whole(Whole::Mount) => format!("mount_again(\"{}\")", self.mount),
            Action::Whole(Whole::ShutDown) => "shut_down()".to_owned(),
            Action::Whole(Whole::Freeze) => "freeze()".to_owned(),
            Action::Whole(Whole::Thaw) => "thaw()".to_owned(),
            Action::SpoilBlocks { file, span } => {
                format!("spoil({}, {})", descriptor(*file), range(*span))
            }
            Action::WriteProtect { map } => format!("write_protect(&{})", mapping(*map)),
            Action::CacheStat { file } => format!("pages_cached({})", descriptor(*file)),
            Action::Track { by: Tracker::SoftDirty, .. } => "track_stores()".to_owned(),
            Action::StoredTo { map, span, by: Tracker::SoftDirty } => {
                format!("stored_to(&{}, {})", mapping(*map), range(*span))
            }
            Action::Track { .. }
            | Action::StoredTo { .. }
            | Action::Remap { .. }
            | Action::Protect { .. }
            | Action::Move { .. } => {
                return Err(format!("no program does this yet: {words}"));
            }
            Action::Whole(_)
            | Action::DropCaches
            | Action::Poison { .. }
            | Action::PoisonBlock { .. }
            | Action::CreateInFolder { .. }
            | Action::RemoveFolder { .. }
            | Action::BulkStat { .. }
            | Action::SoftOffline { .. }
            | Action::SpoilBlock { .. }
            | Action::Immutable { .. }
            | Action::Scrub { .. }
            | Action::Repair { .. } => {
                return Err(format!(
                    "a program cannot do this to a file system of its own: {words}"
                ));
            }
            Action::Close { file } => format!("answer(close({}))", descriptor(*file)),
            Action::Reopen { file } => format!("reopen(&{}, {})", descriptor(*file), name(file)),
            Action::FlipDax { file } => format!("flip_dax({})", descriptor(*file)),
            Action::Unlink { file } => format!("unlink_file({})", name(file)),
            Action::Read { file, span } => {
                let (file, expected) = (descriptor(*file), content()?);
                format!("holds({file}, {}, \"{expected}\", {what})", range(*span))
            }
            Action::Write { file, span, byte } => {
                format!("fill({}, {}, '{}')", descriptor(*file), range(*span), char::from(*byte))
            }
            Action::DirectIo { file, span, map, buffer, direction } => format!(
                "direct({}, {}, {}.at + {buffer}, {}, {})",
                name(file),
                span.at,
                mapping(*map),
                span.len,
                u8::from(*direction == Direction::FromMemory),
            ),
            Action::Truncate { file, size } => {
                format!("answer(ftruncate({}, {size}))", descriptor(*file))
            }
            Action::OpenTruncate { file } => format!("open_truncated({})", name(file)),
            Action::Fallocate { file, mode, span } => {
                format!(
                    "answer(fallocate({}, {}, {}))",
                    descriptor(*file),
                    requirement::flags(*mode),
                    range(*span)
                )
            }
            Action::CancelledFallocate { .. } | Action::CancelledOpenTruncate { .. } => {
                return Err(format!("{words}: requests of io_uring are not exported yet"));
            }
            Action::Clone { from, span, to, at } => format!(
                "clone_range({}, {}, {}, {at})",
                descriptor(*from),
                range(*span),
                descriptor(*to)
            ),
            Action::Dedupe { from, span, to, at } => format!(
                "dedupe_range({}, {}, {}, {at})",
                descriptor(*from),
                range(*span),
                descriptor(*to)
            ),
            Action::MoveExtents { file, donor } => {
                format!("move_extents({}, {})", descriptor(*file), descriptor(*donor))
            }
            Action::Exchange { file, with: Partner::File(other) } => {
                format!("swap_extents({}, {})", descriptor(*file), descriptor(*other))
            }
            Action::Exchange { file, with: Partner::Range(other) } => {
                format!("exchange_range({}, {})", descriptor(*file), descriptor(*other))
            }
            Action::Exchange { file, with: Partner::BootLoader } => {
                format!("swap_boot({})", descriptor(*file))
            }
            Action::Fsync { file, data_only } => {
                let call = if *data_only { "fdatasync" } else { "fsync" };
                format!("answer({call}({}))", descriptor(*file))
            }
            Action::Stat { file } => match result {
                Some(Ok(Reply::Stat { size, .. })) => {
                    format!("size_is({}, {size}, {what})", descriptor(*file))
                }
                _ => return Err(format!("{words}: the result is not known in advance")),
            },
            Action::Map { map, file, span, sharing } => {
                let flags = match sharing {
                    Sharing::Shared => "MAP_SHARED",
                    Sharing::Private => "MAP_PRIVATE",
                    Sharing::Sync => "MAP_SHARED_VALIDATE | MAP_SYNC",
                };
                let (map, file) = (mapping(*map), descriptor(*file));
                format!("map_file(&{map}, {file}, {}, {flags})", range(*span))
            }
            Action::Unmap { map } => {
                let map = mapping(*map);
                format!("answer(munmap({map}.at, {map}.length))")
            }
            Action::Touch { map, span } if action.huge_pages().is_some() => {
                format!("touch_huge(&{}, {})", mapping(*map), range(*span))
            }
            Action::Store { map, span, byte } if action.huge_pages().is_some() => {
                let (map, range) = (mapping(*map), range(*span));
                format!("store_huge(&{map}, {range}, '{}')", char::from(*byte))
            }
            Action::Touch { map, span } => {
                format!("touch(&{}, {})", mapping(*map), range(*span))
            }
            Action::Store { map, span, byte } => {
                format!("store(&{}, {}, '{}')", mapping(*map), range(*span), char::from(*byte))
            }
            Action::Load { map, span } => {
                let expected = content()?;
                format!("shows(&{}, {}, \"{expected}\", {what})", mapping(*map), range(*span))
            }
            Action::Msync { map } => {
                let map = mapping(*map);
                format!("answer(msync({map}.at, {map}.length, MS_SYNC))")
            }
            Action::Pin { pin, .. } => {
                self.pins.get(pin).map_or(String::new(), |pin| pin.takes.clone())
            }
            Action::PinLongterm { map, span } => {
                format!("register_buffer(&{}, {})", mapping(*map), range(*span))
            }
            Action::Reap { pin } => match self.pins.get(pin) {
                Some(pin) if !pin.reaps.is_empty() => pin.reaps.clone(),
                _ => return Err(format!("{words}: the pin is not exported")),
            },
            Action::DirectLoad { .. } => {
                return Err(format!("{words}: direct I/O needs a device that is slow"));
            }
            Action::Blocks { .. }
            | Action::FindBlock { .. }
            | Action::IsFree { .. }
            | Action::Stored { .. } => {
                return Err(format!("{words}: blocks are not looked up by exports yet"));
            }
            Action::CreateHuge { file, len, byte, .. } => format!(
                "create_filled(&{}, {}, {len}, '{}')",
                descriptor(*file),
                name(file),
                char::from(*byte)
            ),
            Action::Run(_) => return Err(format!("{words}: a script is not exported")),
        })
    }
}

impl CWriter {
    /// What a read gets that ends later, as [`signs`], and what it is.
    pub(super) fn read_later(&self, op: OpId, words: &str) -> Sayable<(String, String)> {
        match self.results.get(&op) {
            Some(Ok(Reply::Content(content))) => Ok((signs(content)?, quoted(words))),
            _ => Err(format!("{words}: the result is not known in advance")),
        }
    }
}

pub(super) fn descriptor(file: FileId) -> String {
    format!("fd{}", file.0)
}

pub(super) fn mapping(map: MapId) -> String {
    format!("map{}", map.0)
}

pub(super) fn operation(op: OpId) -> String {
    format!("&operations[{}]", op.0)
}

pub(super) fn range(span: Span) -> String {
    format!("{}, {}", span.at, span.len)
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What a call must return.
pub(super) fn expected(action: &Action, result: &Result<Reply, Errno>) -> Sayable<String> {
    Ok(match result {
        Err(errno) => format!("-{:?}", nix::errno::Errno::from_raw(errno.0)),
        Ok(Reply::Count(count)) => match action {
            // It may find that it cannot share, but not share what differs.
            Action::Dedupe { .. } if *count > 0 => "SOME".to_owned(),
            Action::Dedupe { .. }
            | Action::DirectIo { .. }
            | Action::FutexWake { .. }
            | Action::StoredTo { .. } => count.to_string(),
            // How many faults it took is the kernel's to choose, and how much a reaped transfer moved is
            // compared where it is reaped.
            _ => "0".to_owned(),
        },
        Ok(Reply::Blocks(_)) => return Err("blocks are not looked up by exports yet".to_owned()),
        Ok(Reply::Done | Reply::Content(_) | Reply::Stat { .. }) => "0".to_owned(),
    })
}

/// What a new file holds, as `create` in `pieces.c` has it: a letter a page.
fn letters(fill: &[u8]) -> Sayable<String> {
    let letters: String =
        fill.iter().map(|byte| sign(Sector::Uniform(*byte))).collect::<Sayable<_>>()?;
    Ok(quoted(&letters))
}

/// Content as `same` in `pieces.c` has it: a sign a sector.
pub(super) fn signs(content: &Content) -> Sayable<String> {
    if content.0.len() > MOST_SIGNS {
        return Err("what it reads is too long to be written down".to_owned());
    }
    content.0.iter().map(|sector| sign(*sector)).collect()
}

fn sign(sector: Sector) -> Sayable<char> {
    match sector {
        Sector::Uniform(0) => Ok('.'),
        Sector::Uniform(byte) if byte.is_ascii_alphanumeric() => Ok(char::from(byte)),
        Sector::Uniform(byte) => Err(format!("no letter stands for byte {byte}")),
        Sector::Torn => Ok('~'),
    }
}
