//! What an action is about.

use cases::action::{Action, FileId, MapId, Partner};

/// The files that it has open.
pub(in crate::export) fn files(action: &Action) -> Vec<FileId> {
    match action {
        Action::Close { file }
        | Action::Reopen { file }
        | Action::FlipDax { file }
        | Action::Read { file, .. }
        | Action::Write { file, .. }
        | Action::Truncate { file, .. }
        | Action::Fallocate { file, .. }
        | Action::Fsync { file, .. }
        | Action::Stat { file }
        | Action::CacheStat { file }
        | Action::SpoilBlocks { file, .. }
        | Action::Gather { file, .. }
        | Action::Map { file, .. }
        | Action::Exchange { file, with: Partner::BootLoader } => vec![*file],
        Action::Clone { from, to, .. } | Action::Dedupe { from, to, .. } => vec![*from, *to],
        Action::Exchange { file, with: Partner::File(other) | Partner::Range(other) }
        | Action::MoveExtents { file, donor: other } => vec![*file, *other],
        // By its name, or not at all.
        _ => Vec::new(),
    }
}

/// The file that it goes to by its name.
pub(in crate::export) fn named(action: &Action) -> Option<FileId> {
    match action {
        Action::Reopen { file }
        | Action::Unlink { file }
        | Action::OpenTruncate { file }
        | Action::DirectIo { file, .. } => Some(*file),
        _ => None,
    }
}

/// The mappings that it goes through.
pub(in crate::export) fn maps(action: &Action) -> Vec<MapId> {
    match action {
        Action::Unmap { map }
        | Action::Touch { map, .. }
        | Action::Store { map, .. }
        | Action::Load { map, .. }
        | Action::Msync { map }
        | Action::Protect { map }
        | Action::Move { map }
        | Action::WriteProtect { map }
        | Action::FutexWait { map }
        | Action::FutexWake { map }
        | Action::Track { map, .. }
        | Action::StoredTo { map, .. }
        | Action::DirectIo { map, .. }
        | Action::Pin { map, .. }
        | Action::PinLongterm { map, .. } => vec![*map],
        Action::Gather { maps, .. } => maps.to_vec(),
        _ => Vec::new(),
    }
}
