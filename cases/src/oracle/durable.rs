//! The oracle *durable*: which pages were stored to through mappings, and what a sync that says
//! that all is well must have written back.
//!
//! What was written back is the system's to report. It is asked before a store, so that nothing
//! older counts for it, and after everything that ends. Where two things were under way at once and
//! their order matters, it is open, and nobody is accused: a page that was stored to while something
//! else replaced it need not be written back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nix::libc;
use protocol::oracle::durable::{Durable, Promise};

use super::foreign::Contents;
use super::kept;
use super::{After, Found};
use crate::action::{Action, Direction, FileId, Instruction, PAGE, Reply};
use crate::system::{Errno, OpId, WriteBacks};
use crate::transcript::Names;

/// Every page of a file.
const ALL: Range<u64> = 0..u64::MAX;

/// Pages of a file.
type FilePages = (FileId, Range<u64>);

/// What an action is to the pages of files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PageRole {
    /// It stores to pages through a mapping; all of them if it replies this, whatever else it
    /// may say if that is none.
    Store(FilePages, Option<Reply>),
    /// It makes other pages of them.
    Change { of: Vec<FilePages>, how: PageFate },
    /// It promises that they are on the medium.
    Sync(FilePages),
}

/// How pages change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PageFate {
    /// They are gone, or overwritten by what needs no write-back.
    Dropped,
    /// They are overwritten by one write(2), which needs no write-back.
    Written,
    /// Those from the first index on begin at the second.
    Moved(u64, u64),
    /// The first are the second file's as well, from that index on; as far as the reply says.
    Shared(FilePages, FileId, u64),
}

/// What is under way.
#[derive(Debug)]
enum PendingRole {
    Store {
        pages: FilePages,
        reply: Option<Reply>,
        /// Pages that need no write-back for this store, or may have had it.
        open: BTreeSet<u64>,
        /// Something may have been written back unseen since it began.
        unseen: bool,
    },
    Change {
        of: Vec<FilePages>,
        how: PageFate,
    },
    Sync {
        file: FileId,
        promise: Promise,
    },
}

/// What is dirty, and what is under way that makes it so or not.
#[derive(Debug, Default)]
pub(super) struct Durability {
    pages: Durable,
    under_way: BTreeMap<OpId, PendingRole>,
    /// Why write-back may have gone unseen, if it may.
    unseen: Option<String>,
    /// Why a sync could not be judged, if one could not.
    undecided: Option<String>,
}

impl Durability {
    /// Whether it must be known what was written back so far, before `action` begins.
    pub(super) fn asks_before(
        action: &Action,
        contents: &Contents,
        files: &BTreeSet<FileId>,
    ) -> bool {
        matches!(role(action, contents, files), Some(PageRole::Store(..)))
    }

    /// Whether it must be known now that `op` has ended.
    pub(super) fn asks_after(&self, op: OpId) -> bool {
        match self.under_way.get(&op) {
            Some(PendingRole::Store { .. }) => true,
            Some(PendingRole::Change { .. }) => !self.pages.is_empty(),
            Some(PendingRole::Sync { promise, .. }) => !promise.is_empty(),
            None => false,
        }
    }

    /// These were written back since this was last said.
    pub(super) fn learn(&mut self, written: WriteBacks) {
        for (file, pages) in written.pages {
            for under_way in self.under_way.values_mut() {
                if let PendingRole::Store { pages: (of, stored), open, .. } = under_way
                    && *of == file
                {
                    open.extend(common(stored, &pages));
                }
            }
            self.pages.written_back(number(file), pages);
        }
        if let Some(why) = written.missed {
            self.pages.missed();
            for under_way in self.under_way.values_mut() {
                if let PendingRole::Store { unseen, .. } = under_way {
                    *unseen = true;
                }
            }
            self.unseen = Some(why);
        }
    }

    /// `op`, which does `action`, is about to begin.
    pub(super) fn begin(
        &mut self,
        op: OpId,
        action: &Action,
        contents: &Contents,
        files: &BTreeSet<FileId>,
    ) {
        let Some(role) = role(action, contents, files) else {
            return;
        };
        let under_way = match role {
            PageRole::Store(pages, reply) => {
                let open = self.changing(pages.0).flat_map(|of| common(&pages.1, of)).collect();
                PendingRole::Store { pages, reply, open, unseen: false }
            }
            PageRole::Sync((file, pages)) => {
                let mut promise = self.pages.promise(number(file), &pages);
                for changing in self.changing(file) {
                    promise.forget(number(file), changing);
                }
                PendingRole::Sync { file, promise }
            }
            PageRole::Change { of, how } => {
                for (file, changing) in &of {
                    for other in self.under_way.values_mut() {
                        match other {
                            PendingRole::Store { pages, open, .. } if pages.0 == *file => {
                                open.extend(common(&pages.1, changing));
                            }
                            PendingRole::Sync { promise, .. } => {
                                promise.forget(number(*file), changing);
                            }
                            _ => {}
                        }
                    }
                }
                PendingRole::Change { of, how }
            }
        };
        self.under_way.insert(op, under_way);
    }

    /// `op` has ended so, or its task was killed. The pages that it should have written back and
    /// did not, if it is a sync: each in a file.
    pub(super) fn end(
        &mut self,
        op: OpId,
        result: Option<&Result<Reply, Errno>>,
    ) -> Vec<(FileId, u64)> {
        let reply = result.and_then(|result| result.as_ref().ok());
        match (self.under_way.remove(&op), reply) {
            (
                Some(PendingRole::Store { pages: (file, pages), reply: full, open, unseen }),
                Some(reply),
            ) if full.as_ref().is_none_or(|full| full == reply) => {
                self.pages.stored(number(file), pages.filter(|index| !open.contains(index)));
                if unseen {
                    self.pages.missed();
                }
                Vec::new()
            }
            (Some(PendingRole::Change { of, how }), _) => {
                self.change(of, how, result);
                Vec::new()
            }
            (Some(PendingRole::Sync { file, promise }), Some(_)) => {
                let (unknown, missing): (Vec<_>, Vec<_>) =
                    self.pages.kept(promise).into_iter().partition(|missing| missing.undecided);
                if !unknown.is_empty() {
                    self.undecided = self.unseen.clone();
                }
                missing.into_iter().map(|missing| (file, missing.index)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Something that changes pages has ended so, or its task was killed.
    fn change(&mut self, of: Vec<FilePages>, how: PageFate, result: Option<&Result<Reply, Errno>>) {
        match (how, result.and_then(|result| result.as_ref().ok())) {
            // One that copied anything says how much it was: the pages are what they were.
            (PageFate::Written, None) if result == Some(&Err(Errno(libc::EFAULT))) => {}
            (PageFate::Moved(from, to), Some(_)) => {
                for (file, _) in of {
                    self.pages.moved(number(file), from, to);
                }
            }
            (PageFate::Shared((from, mut pages), to, at), Some(reply)) => {
                if let Reply::Count(bytes) = reply {
                    pages.end = pages.end.min(pages.start + bytes / PAGE);
                }
                self.pages.shared(number(from), &pages, number(to), at);
            }
            // What failed may have done a part of it. Of what is shared the source stays.
            (PageFate::Shared((from, pages), ..), None) => {
                for (file, changed) in of {
                    if (file, &changed) != (from, &pages) {
                        self.pages.dropped(number(file), &changed);
                    }
                }
            }
            (PageFate::Dropped | PageFate::Written | PageFate::Moved(..), _) => {
                for (file, pages) in of {
                    self.pages.dropped(number(file), &pages);
                }
            }
        }
    }

    /// Why a sync could not be judged, if one could not.
    pub(super) fn undecided(&self) -> Option<&str> {
        self.undecided.as_deref()
    }

    /// Pages of a file that something under way changes.
    fn changing(&self, file: FileId) -> impl Iterator<Item = &Range<u64>> {
        let changes = self.under_way.values().filter_map(|under_way| match under_way {
            PendingRole::Change { of, .. } => Some(of),
            _ => None,
        });
        changes.flatten().filter(move |(of, _)| *of == file).map(|(_, pages)| pages)
    }
}

/// What is found of these pages, by file, after a sync: one finding for all that lie side by side.
pub(super) fn found(missing: &[(FileId, u64)], after: &After, names: &Names) -> Vec<Found> {
    missing
        .chunk_by(|a, b| a.0 == b.0 && a.1 + 1 == b.1)
        .map(|run| {
            let (file, first) = run[0];
            let name = names.file(file);
            let count = run.len() as u64;
            let pages = match count {
                1 => format!("page {first} of {name} was"),
                _ => format!("pages {first}..{} of {name} were", first + count),
            };
            let wrong = format!("{pages} stored to through a mapping, and not written back since");
            let page = Found::new(protocol::How::NotWrittenBack, &name, first, after, &wrong);
            Found { count, ..page }
        })
        .collect()
}

fn number(file: FileId) -> u64 {
    u64::from(file.0)
}

fn common(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// What `action` is to the pages of `files`, if it is anything.
fn role(action: &Action, contents: &Contents, files: &BTreeSet<FileId>) -> Option<PageRole> {
    let is_ours = |file: &FileId| files.contains(file);
    let behind_map = |map, span| {
        let file = contents.shared_file(map, files)?;
        Some((file, kept::pages(contents.offset(map), span)))
    };
    match action {
        Action::Store { map, span, .. } => Some(PageRole::Store(behind_map(*map, *span)?, None)),
        // On DAX that is a copy by the CPU; from any other file it is DMA.
        Action::DirectIo { file, span, map, buffer, direction: Direction::IntoMemory }
            if is_ours(file) =>
        {
            let to = behind_map(*map, crate::action::Span { at: *buffer, len: span.len })?;
            Some(PageRole::Store(to, Some(Reply::Count(span.len))))
        }
        Action::Clone { .. } | Action::Dedupe { .. } => {
            let of: Vec<_> = action.effects().iter().map(|of| (of.file, of.pages())).collect();
            let [(from, pages), (to, at)] = &of[..] else { return None };
            let how = PageFate::Shared((*from, pages.clone()), *to, at.start);
            of.iter().all(|(file, _)| is_ours(file)).then_some(PageRole::Change { of, how })
        }
        Action::Fsync { file, .. } => is_ours(file).then_some(PageRole::Sync((*file, ALL))),
        Action::Msync { map } => Some(PageRole::Sync(behind_map(*map, contents.extent(*map)?)?)),
        // In which order its steps met those of others is open.
        Action::Run(script) => {
            let mut of = Vec::new();
            for step in &script.steps {
                let Instruction::Do(action) = step else {
                    continue;
                };
                match role(action, contents, files) {
                    Some(PageRole::Store((file, _), _)) => of.push((file, ALL)),
                    Some(PageRole::Change { of: theirs, .. }) => {
                        of.extend(theirs.into_iter().map(|(file, _)| (file, ALL)));
                    }
                    Some(PageRole::Sync(_)) | None => {}
                }
            }
            Some(PageRole::Change { of, how: PageFate::Dropped })
        }
        // What leaves dirty pages where they are leaves them dirty.
        _ => {
            let is_write =
                matches!(action, Action::DirectIo { direction: Direction::FromMemory, .. });
            let fate = if is_write { PageFate::Written } else { PageFate::Dropped };
            let (mut of, mut how) = (Vec::new(), fate);
            for effect in action.effects().iter().filter(|effect| is_ours(&effect.file)) {
                let mut pages = effect.lost();
                if let Some((from, to)) = effect.moved() {
                    how = PageFate::Moved(from, to);
                    pages = from.min(to)..u64::MAX;
                }
                of.extend((!pages.is_empty()).then_some((effect.file, pages)));
            }
            (!of.is_empty()).then_some(PageRole::Change { of, how })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{MapId, Medium, Mode, Sharing, Span, page, pages};

    const FILE: FileId = FileId(1);
    const MAP: MapId = MapId(1);

    #[derive(Default)]
    struct Bed {
        contents: Contents,
        durability: Durability,
        ops: u32,
    }

    impl Bed {
        fn new() -> Self {
            let mut bed = Self::default();
            let (name, fill) = (String::new(), b"abcd".to_vec());
            bed.contents.learn(&Action::Create { file: FILE, name, medium: Medium::Dax, fill });
            let (span, sharing) = (pages(0, 4), Sharing::Shared);
            bed.contents.learn(&Action::Map { map: MAP, file: FILE, span, sharing });
            bed
        }

        fn begin(&mut self, action: &Action) -> OpId {
            self.ops += 1;
            let op = OpId(self.ops);
            self.durability.begin(op, action, &self.contents, &[FILE].into());
            op
        }

        fn end(&mut self, op: OpId) -> Vec<u64> {
            let missing = self.durability.end(op, Some(&Ok(Reply::Done)));
            missing.into_iter().map(|(_, index)| index).collect()
        }

        fn does(&mut self, action: &Action) -> Vec<u64> {
            let op = self.begin(action);
            self.end(op)
        }

        fn written_back(&mut self, pages: Range<u64>) {
            self.durability.learn(WriteBacks { pages: vec![(FILE, pages)], missed: None });
        }
    }

    fn store(span: Span) -> Action {
        Action::Store { map: MAP, span, byte: b'x' }
    }

    fn punch(span: Span) -> Action {
        Action::Fallocate { file: FILE, mode: Mode::Punch, span }
    }

    const FSYNC: Action = Action::Fsync { file: FILE, data_only: false };

    #[test]
    fn a_page_that_an_fsync_leaves_out_is_found() {
        let mut bed = Bed::new();
        bed.does(&store(pages(0, 4)));
        bed.written_back(0..2);
        bed.does(&punch(page(3)));
        assert_eq!(bed.does(&FSYNC), [2]);
    }

    #[test]
    fn pages_that_lie_side_by_side_are_one_finding() {
        let mut names = Names::default();
        names.call(FileId(1), "data");
        let missing: Vec<_> = [0, 1, 2, 7].map(|index| (FileId(1), index)).into();
        let found = found(&missing, &After::moment("fsync data"), &names);
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.iter().map(|found| found.index).collect::<Vec<_>>(), [0, 7]);
        assert!(texts[0].contains("pages 0..3 of data were stored"), "{texts:?}");
        assert!(texts[1].contains("page 7 of data was stored"), "{texts:?}");
    }

    #[test]
    fn an_fsync_promises_nothing_that_is_stored_meanwhile() {
        let mut bed = Bed::new();
        let early = bed.begin(&store(page(0)));
        let sync = bed.begin(&FSYNC);
        bed.end(early);
        assert_eq!(bed.end(sync), [] as [u64; 0]);
        assert_eq!(bed.does(&FSYNC), [0]);
    }

    #[test]
    fn write_back_while_a_store_is_under_way_may_have_met_it() {
        let mut bed = Bed::new();
        let op = bed.begin(&store(pages(0, 2)));
        bed.written_back(1..2);
        bed.end(op);
        assert_eq!(bed.does(&FSYNC), [0]);
    }

    #[test]
    fn what_a_change_under_way_may_take_is_open() {
        let mut bed = Bed::new();
        bed.does(&store(pages(0, 3)));
        let change = bed.begin(&punch(page(1)));
        let op = bed.begin(&store(page(1)));
        bed.end(op);
        assert_eq!(bed.does(&FSYNC), [0, 2]);
        bed.end(change);
        assert_eq!(bed.does(&FSYNC), [] as [u64; 0]);
    }

    #[test]
    fn msync_promises_its_mapping() {
        let mut bed = Bed::new();
        let (map, span, sharing) = (MapId(2), page(2), Sharing::Shared);
        bed.contents.learn(&Action::Map { map, file: FILE, span, sharing });
        bed.does(&store(pages(1, 2)));
        assert_eq!(bed.does(&Action::Msync { map }), [2]);
        assert_eq!(bed.does(&FSYNC), [1]);
    }

    #[test]
    fn what_nobody_could_see_is_undecided() {
        let mut bed = Bed::new();
        let missed = || WriteBacks { pages: Vec::new(), missed: Some("no eyes".to_owned()) };
        bed.durability.learn(missed());
        bed.does(&store(page(0)));
        assert_eq!(bed.durability.undecided(), None);
        bed.durability.learn(missed());
        assert_eq!(bed.does(&FSYNC), [] as [u64; 0]);
        assert_eq!(bed.durability.undecided(), Some("no eyes"));
    }
}
