//! What a kernel may do otherwise than the reference, or is known to do wrong, and why that does
//! not stop the fuzzer.
//!
//! What would show in every other program is avoided ([`Tolerance::avoids`]): a step is left out
//! on both sides. What still shows ends its program, with its reason ([`Tolerance::reason`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use cases::action::{
    Action, Content, Direction, FileId, MapId, Medium, Mode, PAGE, PinId, Reply, SECTOR, Sector,
    Span,
};
use cases::oracle::Found;
use cases::system::{Errno, HoldPoint};
use protocol::Rule;

use crate::fs::{FsType, HUGE};
use crate::known::{self, Deviations, KnownFile};
use crate::machine;
use crate::target::Target;
use crate::verdict::Problem;

use super::interleave::MISSED;
use super::program::{Program, Step, is_dax};
use super::seen::{Divergence, Seen};

/// Where the kernel has it, a bio holds pages of one device only, and a hole's page is of none:
/// `docs/finds/beside.md`.
const SPLITS: &str = "iov_iter_extract_bvecs";

/// Bad address, as the kernel numbers it.
const EFAULT: i32 = nix::errno::Errno::EFAULT as i32;
/// Interrupted.
const EINTR: i32 = nix::errno::Errno::EINTR as i32;
/// "Begin again", which no program is to see: include/linux/errno.h.
const ERESTARTSYS: i32 = 512;

/// A deviation that shows too often to be met again and again, by its id in `expected/known.toml`.
/// Where that says that it shows here, it is avoided; once it is removed there, no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FindId(&'static str);

const UNMAPPED: FindId = FindId("unmapped");
const DIO_WAKES_NOBODY: FindId = FindId("dio-wakes-nobody");
const FAULT_KEEPS_WAITING: FindId = FindId("fault-keeps-waiting");
const SECOND_SPINS: FindId = FindId("second-spins");
const COW_TAKES_PINNED: FindId = FindId("cow-takes-pinned");
const ONE_OWNER: FindId = FindId("one-owner");
const SHARED_PIN_SPINS: FindId = FindId("shared-pin-spins");
const DEDUPE_UNWRITTEN: FindId = FindId("dedupe-unwritten");
const WAITS_FOR_OTHERS: FindId = FindId("waits-for-others");
const MAPPED_AGAIN_WARNS: FindId = FindId("mapped-again-warns");
const COW_WARNS: FindId = FindId("cow-warns");
const DEDUPE_ERRNO: FindId = FindId("dedupe-errno");
const BREAK_FORGETS_DIRTY: FindId = FindId("break-forgets-dirty");
const SHOWS_BEHIND_END: FindId = FindId("shows-behind-end");
const LOCKED_SKIPPED: FindId = FindId("locked-skipped");
const DEDUPE_ALONG_DEVICE: FindId = FindId("dedupe-along-device");
const COW_SPILLS: FindId = FindId("cow-spills");
const UNSHARE_ALONG_DEVICE: FindId = FindId("unshare-along-device");
const HUGE_SHARED_IN_PARTS: FindId = FindId("huge-shared-in-parts");

impl FindId {
    const ALL: [Self; 19] = [
        UNMAPPED,
        DIO_WAKES_NOBODY,
        FAULT_KEEPS_WAITING,
        SECOND_SPINS,
        COW_TAKES_PINNED,
        ONE_OWNER,
        SHARED_PIN_SPINS,
        DEDUPE_UNWRITTEN,
        WAITS_FOR_OTHERS,
        MAPPED_AGAIN_WARNS,
        COW_WARNS,
        DEDUPE_ERRNO,
        SHOWS_BEHIND_END,
        BREAK_FORGETS_DIRTY,
        LOCKED_SKIPPED,
        DEDUPE_ALONG_DEVICE,
        COW_SPILLS,
        UNSHARE_ALONG_DEVICE,
        HUGE_SHARED_IN_PARTS,
    ];

    /// What is wrong, as `expected/known.toml` has it.
    fn reason(self) -> &'static str {
        let find = known::FINDS.iter().find(|find| find.id == self.0);
        find.map_or(self.0, |find| &find.what)
    }
}

/// What is known of the running kernel.
#[derive(Clone, Debug)]
pub(crate) struct Tolerance {
    fs: FsType,
    finds: BTreeSet<FindId>,
    /// Direct I/O ends short where a hole lies beside a page of the file.
    splits: bool,
}

/// What a pin holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinSpan {
    /// Of which file.
    pub(crate) file: FileId,
    /// Which of its bytes.
    span: Span,
}

/// What a program has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation {
    /// Mappings by process and name.
    pub(crate) maps: BTreeMap<(u32, MapId), FileId>,
    /// Where in its file each begins that does not at its beginning.
    pub(crate) offsets: BTreeMap<(u32, MapId), u64>,
    /// What pins hold.
    pub(crate) pinned: BTreeMap<PinId, PinSpan>,
    /// Files whose layout is being broken.
    pub(crate) breaking: Vec<FileId>,
    /// The DAX files have huge pages.
    pub(crate) huge: bool,
    /// Files may share blocks.
    pub(crate) shared: bool,
    /// Of the two DAX files, the one that the kernel locks second.
    pub(crate) second: Option<FileId>,
    /// How long the files are.
    pub(crate) sizes: BTreeMap<FileId, u64>,
    /// Files with DAX beside those that a program begins with.
    pub(crate) made: BTreeSet<FileId>,
}

impl Situation {
    /// A task of `process` begins this.
    pub(crate) fn begin(&mut self, process: u32, action: &Action) {
        match action {
            Action::Map { map, file, span, .. } => {
                self.maps.insert((process, *map), *file);
                self.offsets.insert((process, *map), span.at);
            }
            Action::Pin { pin, map, span, .. } => {
                let at = self.offsets.get(&(process, *map)).copied().unwrap_or(0);
                let span = Span { at: at + span.at, ..*span };
                let file = self.maps.get(&(process, *map)).copied();
                self.pinned.extend(file.map(|file| (*pin, PinSpan { file, span })));
            }
            Action::Clone { .. } | Action::Dedupe { .. } => self.shared = true,
            Action::Create { file, medium: Medium::Dax, .. } => {
                self.made.insert(*file);
            }
            _ => {}
        }
    }

    /// A process comes from another, or it is the same one.
    pub(crate) fn fork(&mut self, from: u32, to: u32) {
        let of = |process: u32, map: MapId, what| (process == from).then_some(((to, map), what));
        let maps: Vec<_> = self
            .maps
            .iter()
            .filter_map(|((process, map), file)| of(*process, *map, *file))
            .collect();
        self.maps.extend(maps);
        let at = |((process, map), at): (&(u32, MapId), &u64)| {
            (*process == from).then_some(((to, *map), *at))
        };
        let offsets: Vec<_> = self.offsets.iter().filter_map(at).collect();
        self.offsets.extend(offsets);
    }

    /// Whether a file is one whose pages are the storage.
    pub(crate) fn is_dax(&self, file: FileId) -> bool {
        is_dax(file) || self.made.contains(&file)
    }

    /// This has been done.
    pub(crate) fn end(&mut self, action: &Action) {
        // How far direct I/O came, only its answer says.
        if matches!(action, Action::DirectIo { .. }) {
            return;
        }
        if let Action::Create { file, fill, .. } = action {
            self.sizes.insert(*file, fill.len() as u64 * PAGE);
        }
        for effect in action.effects() {
            let before = self.sizes.get(&effect.file).copied().unwrap_or(0);
            self.sizes.extend(effect.size(before).map(|size| (effect.file, size)));
        }
    }

    /// Whether a file has bytes behind its end that a mapping shows.
    pub(crate) fn ends_within_page(&self, file: FileId) -> bool {
        self.sizes.get(&file).is_some_and(|size| !size.is_multiple_of(PAGE))
    }

    /// Whether a part of a mapping lies behind the end of its file, where there is no page.
    fn ends_within(&self, process: u32, map: MapId, span: Span) -> bool {
        let at = self.offsets.get(&(process, map)).copied().unwrap_or(0);
        let size = self.file_of(process, map).and_then(|file| self.sizes.get(&file));
        size.is_none_or(|size| at + span.end() > size.next_multiple_of(PAGE))
    }

    /// Whether bytes that an action takes away lie in the same huge page as a pin's, if there is one.
    fn shares_huge_page_with_pin(&self, action: &Action) -> bool {
        let first = |byte: u64| byte / HUGE;
        action.effects().into_iter().filter(|effect| effect.breaks).any(|effect| {
            let bytes = effect.reach();
            let huge = first(bytes.start)..=first(bytes.end.saturating_sub(1));
            self.pinned.values().any(|held| {
                let of_pin = first(held.span.at)..=first(held.span.end().saturating_sub(1));
                held.file == effect.file
                    && huge.start() <= of_pin.end()
                    && of_pin.start() <= huge.end()
            })
        })
    }

    /// Whether what was seen through a mapping differs only by zeros behind the end of its file.
    fn is_zeroed_behind_end(
        &self,
        map: MapId,
        span: Span,
        Content(seen): &Content,
        Content(expected): &Content,
    ) -> bool {
        // It is the same in each process that has it.
        let of_map =
            |(key, file): (&(u32, MapId), &FileId)| (key.1 == map).then_some((*key, *file));
        let Some((key, file)) = self.maps.iter().find_map(of_map) else {
            return false;
        };
        let Some(size) = self.sizes.get(&file) else {
            return false;
        };
        let begin = self.offsets.get(&key).copied().unwrap_or(0) + span.at;
        let sectors = (begin..).step_by(SECTOR as usize);
        seen.len() == expected.len()
            && sectors.zip(seen.iter().zip(expected)).all(|(at, (seen, expected))| {
                seen == expected
                    || at >= *size && *seen == Sector::Uniform(0)
                    || at < *size && *size < at + SECTOR && *seen == Sector::Torn
            })
    }

    fn is_pinned(&self, file: FileId) -> bool {
        self.pinned.values().any(|held| held.file == file)
    }

    pub(crate) fn file_of(&self, process: u32, map: MapId) -> Option<FileId> {
        self.maps.get(&(process, map)).copied().filter(|file| self.is_dax(*file))
    }
}

impl Tolerance {
    /// Of this machine.
    pub(crate) fn here(target: &Target, known: &[KnownFile]) -> anyhow::Result<Self> {
        let deviations = Deviations::with(&machine::here().kernel, known)?;
        let mut finds = BTreeSet::new();
        for find in FindId::ALL {
            if deviations.has(find.0, target)? {
                finds.insert(find);
            }
        }
        let splits = !machine::symbols(&[SPLITS].into())?.is_empty();
        Ok(Self { fs: target.fs, finds, splits })
    }

    /// The same, but for what is known of bugs.
    pub(crate) fn without_finds(self) -> Self {
        Self { finds: BTreeSet::new(), ..self }
    }

    /// What any kernel may do otherwise that has no bug.
    pub(crate) const fn of_any(fs: FsType) -> Self {
        Self { fs, finds: BTreeSet::new(), splits: true }
    }

    fn has(&self, find: FindId) -> bool {
        self.finds.contains(&find)
    }

    /// Whether programs share blocks at all.
    pub(crate) fn shares(&self) -> bool {
        self.fs == FsType::Xfs && !self.has(ONE_OWNER)
    }

    /// Why a task of `process` is not to do this now, if it is not.
    pub(crate) fn avoids(
        &self,
        process: u32,
        action: &Action,
        stage: &Situation,
    ) -> Option<&'static str> {
        match action {
            Action::DirectIo { file, span, map, buffer, direction } => {
                let behind = Span { at: *buffer, len: span.len };
                self.avoids_copy(process, (*file, *span), (*map, behind), *direction, stage)
            }
            Action::Unmap { map } if self.has(UNMAPPED) => {
                let file = stage.file_of(process, *map)?;
                let maps = stage.maps.values().filter(|other| **other == file).count();
                (maps == 1 && stage.is_pinned(file)).then_some(UNMAPPED.reason())
            }
            Action::Pin { kind, map, .. }
                if kind.is_direct()
                    && self.has(DIO_WAKES_NOBODY)
                    && stage.file_of(process, *map).is_some() =>
            {
                Some(DIO_WAKES_NOBODY.reason())
            }
            Action::Pin { kind, map, span, .. }
                if kind.is_direct()
                    && self.splits
                    && span.len > PAGE
                    && stage.file_of(process, *map).is_some() =>
            {
                Some("direct I/O ends short where a hole lies beside a page of the file")
            }
            Action::Store { map, .. }
            | Action::Touch { map, .. }
            | Action::Load { map, .. }
            | Action::Pin { map, .. }
                if self.has(FAULT_KEEPS_WAITING)
                    && stage
                        .file_of(process, *map)
                        .is_some_and(|file| stage.breaking.contains(&file)) =>
            {
                Some(FAULT_KEEPS_WAITING.reason())
            }
            Action::Pin { kind, map, .. }
                if kind.is_direct()
                    && self.has(SHARED_PIN_SPINS)
                    && stage.shared
                    && stage.file_of(process, *map).is_some() =>
            {
                Some(SHARED_PIN_SPINS.reason())
            }
            Action::Store { map, .. } | Action::Pin { map, .. }
                if writes(action)
                    && self.has(SHOWS_BEHIND_END)
                    && stage
                        .file_of(process, *map)
                        .is_some_and(|file| stage.ends_within_page(file)) =>
            {
                Some(SHOWS_BEHIND_END.reason())
            }
            // It ends at a BUG_ON().
            Action::Clone { .. } | Action::Dedupe { .. }
                if stage.huge && self.has(HUGE_SHARED_IN_PARTS) =>
            {
                Some(HUGE_SHARED_IN_PARTS.reason())
            }
            Action::Clone { .. } | Action::Dedupe { .. }
                if self.has(SECOND_SPINS)
                    && (stage.second.is_some_and(|file| stage.is_pinned(file))
                        || stage.shared && !stage.pinned.is_empty()) =>
            {
                Some(SECOND_SPINS.reason())
            }
            Action::Fallocate { mode: Mode::Allocate, file, .. }
                if self.fs == FsType::Xfs && stage.is_pinned(*file) =>
            {
                Some("XFS breaks the layout for every mode of fallocate; to wait longer is safe")
            }
            Action::Fallocate { mode: Mode::Collapse | Mode::Insert, file, .. }
                if self.fs == FsType::Xfs && !stage.is_dax(*file) && stage.is_pinned(*file) =>
            {
                // xfs_prepare_shift() begins one block early.
                Some(
                    "XFS drops the page before a shifted range from the cache as well, with its pins",
                )
            }
            _ if writes(action)
                && self.has(COW_TAKES_PINNED)
                && stage.shared
                && stage.pinned.values().any(|held| stage.is_dax(held.file)) =>
            {
                Some(COW_TAKES_PINNED.reason())
            }
            _ if self.has(WAITS_FOR_OTHERS)
                && stage.shared
                && action.breaks().next().is_some()
                && stage.pinned.values().any(|held| stage.is_dax(held.file)) =>
            {
                Some(WAITS_FOR_OTHERS.reason())
            }
            _ => self.avoids_on_stripe(action, stage),
        }
    }

    /// The same of direct I/O between bytes of a file and bytes of a mapping: as of who goes through
    /// the mapping, and of who writes to the file.
    fn avoids_copy(
        &self,
        process: u32,
        (file, span): (FileId, Span),
        (map, behind): (MapId, Span),
        direction: Direction,
        stage: &Situation,
    ) -> Option<&'static str> {
        let actions = match direction {
            Direction::FromMemory => {
                vec![Action::Load { map, span: behind }, Action::Write { file, span, byte: 0 }]
            }
            Direction::IntoMemory => vec![Action::Store { map, span: behind, byte: 0 }],
        };
        let short = "how much of a buffer is used that ends within it is each kernel's own";
        let known = actions.iter().find_map(|action| self.avoids(process, action, stage));
        known.or_else(|| stage.ends_within(process, map, behind).then_some(short))
    }

    /// The same of what loses data on a stripe: all of it is about more than one page, for what lies
    /// side by side in a file does not on the device.
    fn avoids_on_stripe(&self, action: &Action, stage: &Situation) -> Option<&'static str> {
        let (find, file, span) = match action {
            Action::Dedupe { to, span, .. } => (DEDUPE_ALONG_DEVICE, to, span),
            Action::Write { file, span, .. } if stage.shared => (COW_SPILLS, file, span),
            Action::Fallocate { mode: Mode::Unshare, file, span } if stage.shared => {
                (UNSHARE_ALONG_DEVICE, file, span)
            }
            _ => return None,
        };
        let is_in_one_page = span.end().saturating_sub(1) / PAGE == span.at / PAGE;
        (self.has(find) && stage.is_dax(*file) && !is_in_one_page).then(|| find.reason())
    }

    /// Why this alarm of the kernel is known, if it is: told by who called what warns.
    pub(crate) fn excuses(&self, alarm: &Problem) -> Option<&'static str> {
        if alarm.title != "WARNING in dax_disassociate_entry" {
            return None;
        }
        let callers = [
            (MAPPED_AGAIN_WARNS, " dax_insert_entry+"),
            (COW_WARNS, " invalidate_inode_pages2_range+"),
        ];
        callers
            .into_iter()
            .find(|(find, caller)| self.has(*find) && alarm.text.contains(caller))
            .map(|(find, _)| find.reason())
    }

    /// Why what a program showed is known in which tasks are held, if it is.
    pub(crate) fn explains(
        &self,
        program: &Program,
        divergence: &Divergence,
    ) -> Option<&'static str> {
        let is_held_writing = program
            .steps
            .iter()
            .any(|step| matches!(step, Step::Hold { point: HoldPoint::EntryLocked, .. }));
        let misses_a_pin = divergence.kind.ends_with(MISSED)
            || divergence.rule == Some(Rule::KeptBlock)
            || divergence.kind == "WARNING in dax_disassociate_entry";
        (self.has(LOCKED_SKIPPED) && is_held_writing && misses_a_pin)
            .then(|| LOCKED_SKIPPED.reason())
    }

    /// Why what an oracle found is known, if it is.
    pub(crate) fn forgives(&self, found: &Found) -> Option<&'static str> {
        (found.rule() == Rule::Durable && self.has(BREAK_FORGETS_DIRTY))
            .then(|| BREAK_FORGETS_DIRTY.reason())
    }

    /// Why this difference is no fault, if it is none. A program ends there, for after it the
    /// two are in different states.
    pub(crate) fn reason(
        &self,
        action: &Action,
        seen: &Seen,
        expected: &Seen,
        stage: &Situation,
    ) -> Option<&'static str> {
        match (action, seen, expected) {
            // A kernel looks at all pages of an entry, and of a folio, together.
            (_, Seen::Blocked(_), Seen::Returned(_))
                if stage.huge && stage.shares_huge_page_with_pin(action) =>
            {
                Some("the pages of a huge mapping entry are waited for together")
            }
            (
                Action::Load { map, span },
                Seen::Returned(Ok(Reply::Content(seen))),
                Seen::Returned(Ok(Reply::Content(expected))),
            ) if stage.is_zeroed_behind_end(*map, *span, seen, expected) => {
                Some("what a mapping stored behind the end of its file may be zeroed at any time")
            }
            // Waiting longer than needed is safe; whether the operation needed to is the file
            // system's choice.
            (
                Action::Fallocate { mode: Mode::Allocate, .. },
                Seen::Blocked(_),
                Seen::Returned(Ok(_)),
            ) if self.fs == FsType::Xfs => {
                Some("XFS breaks the layout for every mode of fallocate")
            }
            (Action::Clone { .. } | Action::Dedupe { .. }, Seen::Spinning, Seen::Blocked(_))
                if self.has(SECOND_SPINS) =>
            {
                Some(SECOND_SPINS.reason())
            }
            (
                Action::Pin { kind, span, .. },
                Seen::Returned(Ok(_)),
                Seen::Returned(Err(Errno(EFAULT))),
            ) if kind.is_direct() && span.len > PAGE => {
                Some("direct I/O that cannot have all pages goes on with those that it has")
            }
            // dax_range_compare_iter() (fs/dax.c) says so of a hole and anything that is none. A
            // dedupe that shares nothing changes nothing.
            (
                Action::Dedupe { .. },
                Seen::Returned(Ok(Reply::Count(0))),
                Seen::Returned(Ok(Reply::Count(_))),
            ) => Some("dedupe takes a hole and a page of zeros for different"),
            (
                Action::Dedupe { .. },
                Seen::Returned(Ok(Reply::Count(_))),
                Seen::Returned(Ok(Reply::Count(0))),
            ) if self.has(DEDUPE_UNWRITTEN) => Some(DEDUPE_UNWRITTEN.reason()),
            (
                Action::Dedupe { .. },
                Seen::Returned(Err(Errno(ERESTARTSYS))),
                Seen::Returned(Err(Errno(EINTR))),
            ) if self.has(DEDUPE_ERRNO) => Some(DEDUPE_ERRNO.reason()),
            // The reference writes back when it is told to and no sooner.
            (Action::Stored { .. }, Seen::Returned(Ok(_)), Seen::Returned(Ok(_))) => {
                Some("a kernel may write back what is dirty at any time")
            }
            _ => None,
        }
    }
}

/// Whether something is written by it, or through the pin that it takes.
fn writes(action: &Action) -> bool {
    match action {
        Action::Store { .. } | Action::Write { .. } => true,
        Action::Pin { kind, .. } => kind.writes(),
        _ => false,
    }
}

/// Keeps ext4 from writing zeros of its own accord: it does so to a short unwritten extent beside
/// what is written, and has a page then where the reference has none (see `zeros-stay-mapped`).
///
/// Linux fs/ext4/extents.c, `ext4_ext_convert_to_initialized`.
pub(crate) fn write_no_zeros(fs: FsType, device: &Path) -> anyhow::Result<()> {
    if fs != FsType::Ext4 {
        return Ok(());
    }
    let device = device.canonicalize()?;
    let name = device.file_name().context("a device has a name")?;
    let option = Path::new("/sys/fs/ext4").join(name).join("extent_max_zeroout_kb");
    std::fs::write(&option, "0").with_context(|| option.display().to_string())
}

/// Whether a pin shows zeros where the reference's shows data, which is no fault: when a
/// page leaves the page cache with its file's blocks, a kernel that has it in a large folio with
/// pages that stay zeroes it first (`truncate_inode_partial_folio`, mm/truncate.c).
pub(crate) fn zeroed(is_dax: bool, [seen, expected]: &[Seen; 2]) -> bool {
    let (
        Seen::Returned(Ok(Reply::Content(Content(seen)))),
        Seen::Returned(Ok(Reply::Content(Content(expected)))),
    ) = (seen, expected)
    else {
        return false;
    };
    !is_dax
        && seen.len() == expected.len()
        && seen
            .iter()
            .zip(expected)
            .all(|(here, there)| here == there || *here == Sector::Uniform(0))
}

#[cfg(test)]
mod tests {
    use cases::action::page;

    use super::super::program::FILES;
    use super::*;
    use crate::verdict::Witness;

    fn xfs(find: FindId) -> Tolerance {
        Tolerance { fs: FsType::Xfs, finds: [find].into(), splits: false }
    }

    #[test]
    fn every_find_that_is_gone_round_is_known() {
        for find in FindId::ALL {
            assert!(known::FINDS.iter().any(|known| known.id == find.0), "{find:?} is no find");
        }
    }

    fn stage() -> Situation {
        let file = FILES[0].0;
        Situation {
            maps: [((0, MapId(1)), file)].into(),
            pinned: [(PinId(9), PinSpan { file, span: page(1) })].into(),
            breaking: vec![file],
            ..Situation::default()
        }
    }

    #[test]
    fn the_last_mapping_of_a_pinned_file_stays_where_the_break_would_miss_the_pin() {
        let unmap = Action::Unmap { map: MapId(1) };
        assert!(xfs(UNMAPPED).avoids(0, &unmap, &stage()).is_some());
        assert!(xfs(FAULT_KEEPS_WAITING).avoids(0, &unmap, &stage()).is_none());
        let mut twice = stage();
        twice.maps.insert((3, MapId(1)), FILES[0].0);
        assert!(xfs(UNMAPPED).avoids(0, &unmap, &twice).is_none());
        assert!(
            xfs(UNMAPPED)
                .avoids(0, &unmap, &Situation { pinned: BTreeMap::new(), ..stage() })
                .is_none()
        );
    }

    #[test]
    fn only_a_page_of_the_page_cache_may_be_zeroed_under_a_pin() {
        let content =
            |byte| Seen::Returned(Ok(Reply::Content(Content(vec![Sector::Uniform(byte)]))));
        let [dax, .., cached] = FILES.map(|(file, _)| file);
        assert!(zeroed(is_dax(cached), &[content(0), content(b'x')]));
        assert!(!zeroed(is_dax(cached), &[content(b'y'), content(b'x')]));
        assert!(!zeroed(is_dax(dax), &[content(0), content(b'x')]));
    }

    #[test]
    fn a_huge_page_is_waited_for_as_a_whole_and_no_other() {
        let (file, mode) = (FILES[0].0, Mode::Punch);
        let blocked = |stage: &Situation, at| {
            let punch = Action::Fallocate { file, mode, span: page(at) };
            let (seen, expected) = (Seen::Blocked(String::new()), Seen::Returned(Ok(Reply::Done)));
            xfs(UNMAPPED).reason(&punch, &seen, &expected, stage)
        };
        let huge = Situation { huge: true, ..stage() };
        assert!(blocked(&huge, 511).is_some());
        assert!(blocked(&huge, 512).is_none());
        assert!(blocked(&stage(), 511).is_none());
        let other = Action::Truncate { file: FILES[1].0, size: 0 };
        assert!(!huge.shares_huge_page_with_pin(&other));
    }

    #[test]
    fn only_behind_the_end_of_a_file_may_there_be_zeros_instead() {
        let sectors =
            |letters: &[u8]| Content(letters.iter().map(|b| Sector::Uniform(*b)).collect());
        let file = FILES[0].0;
        let mut stage = stage();
        let tolerated = |stage: &Situation, seen: Content| {
            let all = Span { at: 0, len: 4 * SECTOR };
            stage.is_zeroed_behind_end(MapId(1), all, &seen, &sectors(b"avvv"))
        };
        assert!(!tolerated(&stage, sectors(b"avv\0")), "nobody knows how long it is");
        stage.sizes.insert(file, 3 * SECTOR);
        assert!(tolerated(&stage, sectors(b"avv\0")));
        assert!(!tolerated(&stage, sectors(b"av\0\0")));
        assert!(!tolerated(&stage, sectors(b"avvx")));
        stage.sizes.insert(file, 2 * SECTOR + 1);
        let mut torn = sectors(b"avv\0");
        torn.0[2] = Sector::Torn;
        assert!(tolerated(&stage, torn));
        stage.offsets.insert((0, MapId(1)), SECTOR);
        assert!(tolerated(&stage, sectors(b"av\0\0")));
    }

    #[test]
    fn a_warning_is_known_by_its_caller() {
        let warning =
            |caller| Problem::new(Witness::KernelLog, "WARNING in dax_disassociate_entry", caller);
        let known = xfs(COW_WARNS);
        assert!(known.excuses(&warning(" invalidate_inode_pages2_range+0x1df/0x3b0")).is_some());
        assert!(known.excuses(&warning(" truncate_inode_pages_range+0x1df/0x3b0")).is_none());
        assert!(known.excuses(&warning(" dax_insert_entry+0x115/0x3c0")).is_none());
    }

    #[test]
    fn nobody_faults_beside_a_break_that_would_wait_for_the_mapping() {
        let touch = Action::Touch { map: MapId(1), span: page(0) };
        assert!(xfs(FAULT_KEEPS_WAITING).avoids(0, &touch, &stage()).is_some());
        assert!(xfs(UNMAPPED).avoids(0, &touch, &stage()).is_none());
        assert!(
            xfs(FAULT_KEEPS_WAITING)
                .avoids(0, &touch, &Situation { breaking: Vec::new(), ..stage() })
                .is_none()
        );
    }
}
