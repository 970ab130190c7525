//! Places: which page is pinned, who maps it and how, and what became of that mapping since.
//!
//! What is no place, because the laws do not hold there: a part of a page, which keeps its block and need
//! not be waited for (`beside/*` and the fuzzer have it); a written page of a private mapping, which is
//! none of the file's; a shared page pinned through the other file (`reflink/*`).

use std::fmt::Write as _;

use super::operation::{Operand, Operation};
use super::pin::{HeldPin, Pin};
use super::value::{Value, value};
use crate::action::{Action, FileId, MapId, Medium, PAGE, Sharing, Span, TaskId, page, pages};
use crate::huge;
use crate::origin;
use crate::system::{MAIN, Need, Signal};
use crate::test::{Checked, File, Op, Test, fail, fill};

/// What the file is, and with it what maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// The pages "abcd".
    Small,
    /// Two huge pages, mapped as such.
    Huge,
}

/// What the pages of a small file are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    /// Each has a block of its own.
    Plain,
    /// The same, and there is one more.
    Longer,
    /// The page before the pinned one is a hole.
    Hole,
    /// Another file has the same blocks.
    Shared,
}

/// Who pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinner {
    /// The process that changes the file as well.
    Main,
    /// Another one, through a mapping of its own.
    Other,
    /// A child, through the mapping that it inherited.
    Child,
}

/// What happens once the page is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Nothing,
    /// Its only mapping goes.
    Unmapped,
    /// The file's only name goes.
    Unlinked,
    /// The process that pinned is killed.
    Killed,
    /// The file is mapped a second time, and read through that mapping.
    MappedAgain,
}

/// A place.
#[derive(Debug)]
pub(crate) struct Place {
    name: &'static str,
    phrase: &'static str,
    needs: &'static [Need],
    origin: Option<&'static str>,
    size: Size,
    make: Make,
    /// What is pinned.
    pinned: Span,
    /// What the operation is about: it has the pinned pages and more.
    changed: Span,
    sharing: Sharing,
    holder: Pinner,
    since: Since,
}

/// The page in the middle of a small file that its process maps and pins.
pub(crate) const MAPPED: Place = Place {
    name: "mapped",
    phrase: "in the middle of a mapped file",
    needs: &[],
    origin: None,
    size: Size::Small,
    make: Make::Plain,
    pinned: page(2),
    changed: pages(1, 2),
    sharing: Sharing::Shared,
    holder: Pinner::Main,
    since: Since::Nothing,
};

/// Three pages. One is left behind them: a range that reaches the end cannot be collapsed.
pub(crate) const THREE: Place = Place {
    name: "three",
    phrase: "each of three in the middle of a mapped file",
    make: Make::Longer,
    pinned: pages(1, 3),
    changed: pages(1, 3),
    ..MAPPED
};

/// All of them.
pub(crate) const ALL: &[Place] = &[
    MAPPED,
    Place {
        name: "first",
        phrase: "at the start of a file",
        pinned: page(0),
        changed: pages(0, 2),
        ..MAPPED
    },
    Place {
        name: "last",
        phrase: "at the end of a file",
        pinned: page(3),
        changed: pages(2, 2),
        ..MAPPED
    },
    Place {
        name: "unmapped",
        phrase: "that is then unmapped",
        origin: Some(origin::UNMAPPED),
        since: Since::Unmapped,
        ..MAPPED
    },
    Place {
        name: "unlinked",
        phrase: "of an open file that is then unlinked",
        origin: Some(origin::EVICT),
        since: Since::Unlinked,
        ..MAPPED
    },
    Place {
        name: "mapped-twice",
        phrase: "that is then mapped a second time",
        since: Since::MappedAgain,
        ..MAPPED
    },
    Place {
        name: "other-process",
        phrase: "that only another process maps",
        holder: Pinner::Other,
        ..MAPPED
    },
    Place {
        name: "forked",
        phrase: "of a mapping inherited by a child, which is then killed",
        holder: Pinner::Child,
        since: Since::Killed,
        ..MAPPED
    },
    Place {
        name: "private",
        phrase: "of a private mapping that has not been written to",
        sharing: Sharing::Private,
        ..MAPPED
    },
    Place {
        name: "sync",
        phrase: "of a MAP_SYNC mapping",
        needs: &[Need::MapSync],
        sharing: Sharing::Sync,
        ..MAPPED
    },
    Place {
        name: "huge",
        phrase: "inside a 2 MiB mapping",
        needs: &[Need::Huge],
        origin: Some(origin::PMD),
        size: Size::Huge,
        pinned: page(300),
        changed: pages(0, 512),
        ..MAPPED
    },
    Place {
        name: "two-huge",
        phrase: "on each side of the boundary between two 2 MiB mappings",
        needs: &[Need::Huge],
        origin: Some(origin::PMD),
        size: Size::Huge,
        pinned: pages(511, 2),
        changed: pages(510, 4),
        ..MAPPED
    },
    Place { name: "beside-hole", phrase: "next to a hole", make: Make::Hole, ..MAPPED },
    Place {
        name: "shared",
        phrase: "whose block another file has as well",
        needs: &[Need::Reflink],
        origin: Some(origin::MMAP_LOCK),
        make: Make::Shared,
        ..MAPPED
    },
];

value!(Place, "place");

/// A value on the last axis of a law, whichever that is.
pub(crate) trait Last: Value {
    /// All values.
    const ALL: &'static [Self];

    /// Where the pinned page is.
    fn place(&self) -> &'static Place;
}

impl Last for Place {
    const ALL: &'static [Self] = ALL;

    fn place(&self) -> &'static Place {
        ALL.iter().find(|place| place.name == self.name).unwrap_or(&MAPPED)
    }
}

/// What stands for a file where there is none.
const NO_FILE: FileId = FileId(0);

/// A file that is mapped, a page of which is about to be pinned.
#[derive(Debug)]
pub(crate) struct Mapped {
    place: &'static Place,
    pub(crate) file: File,
    pub(crate) map: MapId,
    /// Who pins.
    pub(crate) holder: TaskId,
    pub(crate) pinned: Span,
    /// What each page of the file holds.
    pub(crate) content: Vec<u8>,
    /// The other file, if the operation is about two.
    other: Option<Other>,
}

/// A file that stands beside the one that is mapped.
#[derive(Debug)]
struct Other {
    file: File,
    /// What each of its pages holds.
    content: Vec<u8>,
}

/// The same once it is pinned.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) mapped: Mapped,
    pub(crate) pin: HeldPin,
}

impl Place {
    /// Whether what is written through the mapping goes to a copy.
    pub(crate) fn copies(&self) -> bool {
        self.sharing == Sharing::Private
    }

    /// Whether a page that is written is no longer what this place is about: it gets a block of its own.
    pub(crate) fn is_lost_by_writing(&self) -> bool {
        self.make == Make::Shared
    }

    /// Whether the file is no longer what this place is about once all of it was written.
    pub(crate) fn is_lost_by_filling(&self) -> bool {
        matches!(self.make, Make::Hole | Make::Shared)
    }

    /// The pages of a small file.
    fn small(&self) -> &'static str {
        match self.make {
            Make::Plain | Make::Shared => "abcd",
            Make::Longer => "abcde",
            Make::Hole => "a.cd",
        }
    }

    /// Whether the file has no name when the operation begins.
    pub(crate) fn is_nameless(&self) -> bool {
        self.since == Since::Unlinked
    }

    /// Whether who pinned is gone when the operation begins.
    pub(crate) fn outlives_its_holder(&self) -> bool {
        self.since == Since::Killed
    }

    /// Whether an operation on such a file may lose the block of a pinned page.
    pub(crate) fn loses_its_block(&self, operation: &Operation) -> bool {
        let frees = operation.frees(self.target(NO_FILE, FileId(1)));
        // The other file keeps it.
        self.make != Make::Shared
            && (self.pinned.at / PAGE..self.pinned.end() / PAGE).any(|page| frees.contains(&page))
    }

    /// Whether an operation on such a file leaves pages as they were.
    pub(crate) fn keeps_a_page(&self, operation: &Operation) -> bool {
        let target = self.target(NO_FILE, FileId(1));
        let mut content = vec![b'x'; target.pages as usize];
        let mut other = operation.other_content(&content).unwrap_or_default();
        operation.change(&mut content, &mut other, target);
        content.contains(&b'x')
    }

    /// What an operation is about in such a file.
    fn target(&self, file: FileId, other: FileId) -> Operand {
        let pages = match self.size {
            Size::Small => self.small().len() as u64,
            Size::Huge => huge::FILE.len / PAGE,
        };
        Operand { file, pages, span: self.changed, other }
    }

    /// Does `check` with the file mapped, and with all that `operation` wants there.
    pub(crate) fn map(
        &'static self,
        t: &mut Test<'_>,
        operation: &Operation,
        check: &dyn Fn(&mut Test<'_>, Mapped) -> Checked,
    ) -> Checked {
        match self.size {
            Size::Small => {
                let content = self.small();
                let file = t.file("data", content)?;
                let clone = (self.make == Make::Shared).then(|| clone_of(t, file)).transpose()?;
                let mapped = self.mapped(t, operation, file, content.into())?;
                check(t, mapped)?;
                clone.map_or(Ok(()), |clone| t.reads(clone, content))
            }
            Size::Huge => {
                let map = |t: &mut Test<'_>, file: File| {
                    let content = vec![huge::FILLED; file.pages as usize];
                    let mapped = self.mapped(t, operation, file, content)?;
                    Ok((mapped.map, mapped))
                };
                huge::mapped(t, map, check)
            }
        }
    }

    fn mapped(
        &'static self,
        t: &mut Test<'_>,
        operation: &Operation,
        file: File,
        content: Vec<u8>,
    ) -> Checked<Mapped> {
        let other = Other::new(t, operation, file, &content)?;
        let (holder, map) = match self.holder {
            Pinner::Main => (MAIN, t.map_as(MAIN, file, self.sharing)?),
            Pinner::Other => {
                let other = t.fork()?;
                (other, t.map_as(other, file, self.sharing)?)
            }
            Pinner::Child => {
                let map = t.map_as(MAIN, file, self.sharing)?;
                t.run(Action::Touch { map, span: Span { at: 0, len: file.pages * PAGE } })?;
                (t.fork()?, map)
            }
        };
        Ok(Mapped { place: self, file, map, holder, pinned: self.pinned, content, other })
    }

    /// Does `check` once the page is pinned, and what came since.
    pub(crate) fn stage(
        &'static self,
        t: &mut Test<'_>,
        operation: &Operation,
        pin: &Pin,
        check: &dyn Fn(&mut Test<'_>, Scene) -> Checked,
    ) -> Checked {
        self.map(t, operation, &|t, mapped| {
            let scene = mapped.pinned_by(t, pin)?;
            check(t, scene)
        })
    }
}

/// Another file that has all blocks of `file`.
fn clone_of(t: &mut Test<'_>, file: File) -> Checked<File> {
    let other = t.file("other", &".".repeat(file.pages as usize))?;
    let span = Span { at: 0, len: file.pages * PAGE };
    t.run(Action::Clone { from: file.id, span, to: other.id, at: 0 })?;
    if t.blocks(other)? != t.blocks(file)? {
        return fail("reflink shares the blocks", "the files have different blocks", "");
    }
    Ok(other)
}

impl Other {
    /// The other file that `operation` wants beside `file`, which holds `content`: the second of the two
    /// to be locked (`reflink/*-locked-second` are about the first).
    fn new(
        t: &mut Test<'_>,
        operation: &Operation,
        file: File,
        content: &[u8],
    ) -> Checked<Option<Self>> {
        let Some((other, content)) = operation.other.zip(operation.other_content(content)) else {
            return Ok(None);
        };
        let file = t.file_locked_after(file, other.name, |file, name| match content[..] {
            [byte, ..] if content.len() as u64 * PAGE == huge::FILE.len => {
                Action::CreateHuge { file, name, len: huge::FILE.len, byte }
            }
            _ => Action::Create { file, name, medium: Medium::Dax, fill: fill(&content) },
        })?;
        Ok(Some(Self { file, content }))
    }
}

impl Mapped {
    /// Fills the file through a mapping of its own, which is gone then.
    pub(crate) fn is_stored_to(&mut self, t: &mut Test<'_>, byte: u8) -> Checked {
        let map = t.map(self.file)?;
        let span = Span { at: 0, len: self.file.pages * PAGE };
        t.run(Action::Store { map, span, byte })?;
        t.run(Action::Unmap { map })?;
        self.content.fill(byte);
        Ok(())
    }

    /// The page is pinned, and what comes then comes.
    pub(crate) fn pinned_by(self, t: &mut Test<'_>, pin: &Pin) -> Checked<Scene> {
        let range = (self.pinned.at / PAGE) as usize..(self.pinned.end() / PAGE) as usize;
        let pin = pin.take(t, self.holder, self.map, self.pinned, &self.content[range])?;
        self.move_on(t)?;
        Ok(Scene { mapped: self, pin })
    }

    /// Does what comes between the pin and the operation.
    pub(crate) fn move_on(&self, t: &mut Test<'_>) -> Checked {
        match self.place.since {
            Since::Nothing => Ok(()),
            Since::Unmapped => t.run(Action::Unmap { map: self.map }).map(drop),
            Since::Unlinked => t.run(Action::Unlink { file: self.file.id }).map(drop),
            Since::Killed => t.signal(self.holder, Signal::Kill),
            Since::MappedAgain => {
                let map = t.map(self.file)?;
                let span = Span { at: 0, len: self.file.pages * PAGE };
                t.run(Action::Touch { map, span }).map(drop)
            }
        }
    }

    fn target(&self) -> Operand {
        let other = self.other.as_ref().map_or(NO_FILE, |other| other.file.id);
        Operand { file: self.file.id, pages: self.file.pages, span: self.place.changed, other }
    }

    /// What `operation` does here.
    pub(crate) fn action(&self, operation: &Operation) -> Action {
        (operation.action)(self.target())
    }

    /// The file must hold what it held, and so must the other.
    pub(crate) fn is_unchanged(&self, t: &mut Test<'_>) -> Checked {
        t.reads(self.file, &signs(&self.content))?;
        match &self.other {
            Some(other) => t.reads(other.file, &signs(&other.content)),
            None => Ok(()),
        }
    }

    /// The files have become what `operation` makes of them.
    pub(crate) fn change(&mut self, operation: &Operation) {
        let target = self.target();
        let mut none = Vec::new();
        let other = self.other.as_mut().map_or(&mut none, |other| &mut other.content);
        operation.change(&mut self.content, other, target);
    }

    /// The file must hold what `operation` makes of it.
    pub(crate) fn is_changed_by(&mut self, t: &mut Test<'_>, operation: &Operation) -> Checked {
        self.change(operation);
        self.is_unchanged(t)
    }

    /// The first page was written since, and there is one now if there was none.
    pub(crate) fn write_first(&mut self, byte: u8) {
        match self.content.first_mut() {
            Some(first) => *first = byte,
            None => self.content.push(byte),
        }
    }
}

impl Scene {
    /// Lets go of the pin, the last one, with which `op` must finish; what its holder saw must be
    /// right.
    pub(crate) fn ends_with(mut self, t: &mut Test<'_>, op: &Op) -> Checked<Mapped> {
        self.pin.ends(t, op)?;
        self.pin.saw(t)?;
        self.pin.leaves(&mut self.mapped.content);
        Ok(self.mapped)
    }

    /// As [`Scene::ends_with`]; what `operation` made of the file must be right, too.
    pub(crate) fn ends(self, t: &mut Test<'_>, op: &Op, operation: &Operation) -> Checked {
        self.ends_with(t, op)?.is_changed_by(t, operation)
    }
}

/// Pages as [`crate::action::Content`] writes them.
pub(crate) fn signs(content: &[u8]) -> String {
    let mut text = String::new();
    for run in content.chunk_by(|a, b| a == b) {
        let sign = char::from(run[0]);
        if run.len() > 8 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{sign}*{}", run.len());
        } else {
            text.extend(std::iter::repeat_n(sign, run.len()));
        }
    }
    text
}
