//! What a kernel may do otherwise than the reference, or is known to do wrong, and why that does
//! not stop the fuzzer.
//!
//! What would show in every other program is gone round ([`Known::avoids`]): a step is left out
//! on both sides. What still shows ends its program, with its reason ([`Known::reason`]). The
//! numbers are those of `docs/finds.md`.

use std::collections::BTreeMap;

use cases::action::{Action, Direction, FileId, MapId, Medium, Mode, PAGE, PinId, PinKind, Reply};
use cases::system::Errno;

use crate::machine;
use crate::plan::Fs;

use super::execute::Seen;
use super::program::FILES;

/// The kernel's own function for the break, which came with the repair of 1 and with 4.
const COMMON_BREAK: &str = "dax_break_layout";

/// Bad address, as the kernel numbers it.
const EFAULT: i32 = nix::errno::Errno::EFAULT as i32;

/// What the running kernel is known for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    fs: Fs,
    /// The break is the one that all file systems share, of 6.15.
    common: bool,
    /// It is older than 6.2.
    old: bool,
}

/// What a program has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// Mappings by process and name.
    pub(crate) maps: BTreeMap<(u32, MapId), FileId>,
    /// The files of pins that are held.
    pub(crate) pinned: BTreeMap<PinId, FileId>,
    /// Files whose layout is being broken.
    pub(crate) breaking: Vec<FileId>,
    /// Files may share blocks.
    pub(crate) shared: bool,
    /// Of the two DAX files, the one that the kernel locks second.
    pub(crate) second: Option<FileId>,
}

impl Stage {
    /// A task of `process` begins this.
    pub(crate) fn begin(&mut self, process: u32, action: &Action) {
        match action {
            Action::Map { map, file, .. } => {
                self.maps.insert((process, *map), *file);
            }
            Action::Pin { pin, map, .. } => {
                let file = self.maps.get(&(process, *map)).copied();
                self.pinned.extend(file.map(|file| (*pin, file)));
            }
            Action::Clone { .. } | Action::Dedupe { .. } => self.shared = true,
            _ => {}
        }
    }

    fn is_pinned(&self, file: FileId) -> bool {
        self.pinned.values().any(|other| *other == file)
    }

    fn file_of(&self, process: u32, map: MapId) -> Option<FileId> {
        self.maps.get(&(process, map)).copied().filter(|file| is_dax(*file))
    }
}

fn is_dax(file: FileId) -> bool {
    FILES.contains(&(file, Medium::Dax))
}

impl Known {
    /// Of this machine.
    pub(crate) fn here(fs: Fs) -> anyhow::Result<Self> {
        let common = !machine::symbols(&[COMMON_BREAK].into())?.is_empty();
        let release = machine::here().kernel;
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        Ok(Self { fs, common, old: version < (6, 2) })
    }

    /// Whether programs share blocks at all.
    pub(crate) fn shares(self) -> bool {
        // 8: before 6.2 a shared page has one owner, and every use of the other warns.
        self.fs == Fs::Xfs && !self.old
    }

    /// Why a task of `process` is not to do this now, if it is not.
    pub(crate) fn avoids(
        self,
        process: u32,
        action: &Action,
        stage: &Stage,
    ) -> Option<&'static str> {
        match action {
            Action::Unmap { map } if !self.common => {
                let file = stage.file_of(process, *map)?;
                let maps = stage.maps.values().filter(|other| **other == file).count();
                (maps == 1 && stage.is_pinned(file))
                    .then_some("1: a pinned page that is no longer mapped is not waited for")
            }
            Action::Pin { kind: PinKind::Direct { .. }, map, .. }
                if self.old && stage.file_of(process, *map).is_some() =>
            {
                Some("3: the end of direct I/O does not wake the break")
            }
            Action::Store { map, .. }
            | Action::Touch { map, .. }
            | Action::Load { map, .. }
            | Action::Pin { map, .. }
                if self.common
                    && stage
                        .file_of(process, *map)
                        .is_some_and(|file| stage.breaking.contains(&file)) =>
            {
                Some("4: a fault while a break waits makes it wait for the mapping too")
            }
            Action::Pin { kind: PinKind::Direct { .. }, map, .. }
                if self.fs == Fs::Xfs
                    && !self.common
                    && stage.shared
                    && stage.file_of(process, *map).is_some() =>
            {
                Some("9: direct I/O from a page that two files share spins")
            }
            Action::Clone { .. } | Action::Dedupe { .. }
                if stage.second.is_some_and(|file| stage.is_pinned(file))
                    || stage.shared && !stage.pinned.is_empty() =>
            {
                Some("5: reflink and dedupe spin while the file locked second has a pinned page")
            }
            Action::Fallocate { mode: Mode::Allocate, file, .. }
                if self.fs == Fs::Xfs && stage.is_pinned(*file) =>
            {
                Some("XFS breaks the layout for every mode of fallocate; to wait longer is safe")
            }
            Action::Fallocate { mode: Mode::Collapse | Mode::Insert, file, .. }
                if self.fs == Fs::Xfs && !is_dax(*file) && stage.is_pinned(*file) =>
            {
                // xfs_prepare_shift() begins one block early.
                Some(
                    "XFS drops the page before a shifted range from the cache as well, with its pins",
                )
            }
            Action::Store { .. }
            | Action::Write { .. }
            | Action::Pin {
                kind: PinKind::Direct { direction: Direction::IntoMemory, .. }, ..
            } if stage.shared && stage.pinned.values().any(|file| is_dax(*file)) => {
                Some("6: copy-on-write takes a pinned page from its file without a break")
            }
            _ => None,
        }
    }

    /// Why this difference is no fault, if it is none. A program ends there, for after it the
    /// two are in different states.
    pub(crate) fn reason(
        self,
        action: &Action,
        seen: &Seen,
        expected: &Seen,
    ) -> Option<&'static str> {
        match (action, seen, expected) {
            // Waiting longer than needed is safe; whether the operation needed to is the file
            // system's choice.
            (
                Action::Fallocate { mode: Mode::Allocate, .. },
                Seen::Breaking,
                Seen::Returned(Ok(_)),
            ) if self.fs == Fs::Xfs => Some("XFS breaks the layout for every mode of fallocate"),
            (Action::Clone { .. } | Action::Dedupe { .. }, Seen::Waiting(_), Seen::Breaking) => {
                Some("5: it spins while the file locked second has a pinned page")
            }
            (
                Action::Pin { kind: PinKind::Direct { .. }, span, .. },
                Seen::Returned(Ok(_)),
                Seen::Returned(Err(Errno(EFAULT))),
            ) if span.len > PAGE => {
                Some("direct I/O that cannot have all pages goes on with those that it has")
            }
            // dax_range_compare_iter() (fs/dax.c) says so of a hole and anything that is none. A
            // dedupe that shares nothing changes nothing.
            (
                Action::Dedupe { .. },
                Seen::Returned(Ok(Reply::Count(0))),
                Seen::Returned(Ok(Reply::Count(_))),
            ) => Some("dedupe takes a hole and a page of zeros for different"),
            // The reference writes back when it is told to and no sooner.
            (Action::Stored { .. }, Seen::Returned(Ok(_)), Seen::Returned(Ok(_))) => {
                Some("a kernel may write back what is dirty at any time")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use cases::action::page;

    use super::*;

    const OLD: Known = Known { fs: Fs::Xfs, common: false, old: true };
    const NEW: Known = Known { fs: Fs::Xfs, common: true, old: false };

    fn stage() -> Stage {
        let file = FILES[0].0;
        Stage {
            maps: [((0, MapId(1)), file)].into(),
            pinned: [(PinId(9), file)].into(),
            breaking: vec![file],
            ..Stage::default()
        }
    }

    #[test]
    fn the_last_mapping_of_a_pinned_file_stays_where_the_break_would_miss_the_pin() {
        let unmap = Action::Unmap { map: MapId(1) };
        assert!(OLD.avoids(0, &unmap, &stage()).is_some());
        assert!(NEW.avoids(0, &unmap, &stage()).is_none());
        let mut twice = stage();
        twice.maps.insert((3, MapId(1)), FILES[0].0);
        assert!(OLD.avoids(0, &unmap, &twice).is_none());
        assert!(OLD.avoids(0, &unmap, &Stage { pinned: BTreeMap::new(), ..stage() }).is_none());
    }

    #[test]
    fn nobody_faults_beside_a_break_that_would_wait_for_the_mapping() {
        let touch = Action::Touch { map: MapId(1), span: page(0) };
        assert!(NEW.avoids(0, &touch, &stage()).is_some());
        assert!(OLD.avoids(0, &touch, &stage()).is_none());
        assert!(NEW.avoids(0, &touch, &Stage { breaking: Vec::new(), ..stage() }).is_none());
    }
}
