//! A program: what is done, step by step, and how a random one is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cases::action::{
    Action, Direction, Engine, FileId, Instruction, MapId, Medium, Mode, PAGE, PinId, PinKind,
    SECTOR, Script, Sharing, Span, VarId, page, pages,
};
use cases::system::{HoldPoint, Kinship};
use serde::{Deserialize, Serialize};

use crate::fs;

use super::dice::Dice;

/// Files that every program begins with; the last lives in a page cache.
pub(crate) const FILES: [(FileId, Medium); 3] =
    [(FileId(1), Medium::Dax), (FileId(2), Medium::Dax), (FileId(3), Medium::PageCache)];
/// Pages of each.
pub(crate) const PAGES: u64 = 4;
/// Pages that the DAX files of a program may come to have, as one of these. What is mapped in the
/// beginning is the first [`PAGES`] of them.
const LENGTHS: [u64; 6] = [PAGES, PAGES, PAGES, 8, 16, 64];
/// Pages that a huge mapping entry stands for.
const HUGE: u64 = fs::HUGE / PAGE;
/// Huge pages that the DAX files of a program may have, as one of these.
const HUGE_LENGTHS: [u64; 3] = [1, 2, 2];
/// Pages of a pin at most, where files have very many: a pipe has as many buffers.
const MOST_PINNED: u64 = 64;
/// Tasks: two threads of the first process beside the main one, and two forked processes.
pub(crate) const TASKS: u32 = 5;
/// The task that only runs loads, a thread of the first process too.
pub(crate) const LOADER: u32 = 5;
/// Ends every load.
pub(crate) const STOP: VarId = VarId(1);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A task that is idle begins something; what then settles is looked at.
    Do(u32, Action),
    /// A pin is let go.
    Release(PinId),
    /// A task gets a signal that it handles.
    Signal(u32),
    /// Something begins and goes on beside what follows.
    Load(Action),
    /// A task is held when it next comes to this point. From the first such step on, the order of
    /// what is done is not the program's but the holds', and what comes of it is held against what
    /// the orders of one after the other have.
    Hold {
        /// Which.
        task: u32,
        /// Where.
        #[serde(with = "by_name")]
        point: HoldPoint,
        /// It goes by itself once this other one stands at its own hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u32>,
    },
    /// A task that is held goes on.
    Go(u32),
    /// A task comes from another, in a program that is bare.
    Spawn {
        /// The new one.
        task: u32,
        /// The one it comes from.
        of: u32,
        /// How.
        kinship: Kinship,
    },
}

/// A point in a file: by its name.
mod by_name {
    use cases::system::HoldPoint;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(super) fn serialize<S: Serializer>(point: &HoldPoint, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(point.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HoldPoint, D::Error> {
        let name = String::deserialize(from)?;
        HoldPoint::named(&name).ok_or_else(|| {
            let names: Vec<_> = HoldPoint::ALL.iter().map(|point| point.name()).collect();
            D::Error::custom(format!("no task is held at {name:?}, only at {}", names.join(", ")))
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What a case calls by a name is a number here.
            Self::Do(task, action @ (Action::Pin { pin, .. } | Action::Reap { pin })) => {
                write!(f, "task {task}: {action}: pin {}", pin.0)
            }
            Self::Do(task, Action::Map { map, file, span, .. }) => {
                write!(f, "task {task}: map {span} of file {}: map {}", file.0, map.0)
            }
            Self::Do(task, action) => write!(f, "task {task}: {action}"),
            Self::Release(pin) => write!(f, "release pin {}", pin.0),
            Self::Signal(task) => write!(f, "task {task}: a signal that it handles"),
            Self::Load(action) => write!(f, "beside it: {action}"),
            Self::Hold { task, point, until: None } => write!(f, "hold task {task} at {point}"),
            Self::Hold { task, point, until: Some(other) } => {
                write!(f, "hold task {task} at {point} until task {other} is held")
            }
            Self::Go(task) => write!(f, "let task {task} go"),
            Self::Spawn { task, of, kinship: Kinship::Thread } => {
                write!(f, "task {of}: a thread: task {task}")
            }
            Self::Spawn { task, of, kinship: Kinship::Process } => {
                write!(f, "task {of}: fork: task {task}")
            }
        }
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Its steps.
    pub(crate) steps: Vec<Step>,
    /// What it was made from.
    pub(crate) seed: u64,
    /// How many huge pages each DAX file has in the beginning; with none it has [`PAGES`] pages.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) huge: u64,
    /// It begins with one task and nothing else, and makes its files and tasks itself, as a case does. No
    /// random program does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) bare: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a random program may not use.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restraint {
    /// The file system can share blocks.
    pub(crate) reflink: bool,
    /// Loads may run beside the program.
    pub(crate) loads: bool,
    /// Files may come to their end while they are pinned. Kernels before 6.15 are known not to
    /// wait there, and later ones cannot be killed.
    pub(crate) evict: bool,
    /// Direct I/O may go between a file and any mapping, and long-term pins may be asked for. How far
    /// such an I/O gets in the page cache where it meets a hole, and what it leaves where it overlaps
    /// its own buffer, is each kernel's own; between two DAX files it always may.
    pub(crate) direct: bool,
    /// Mapping entries may be huge.
    pub(crate) huge: bool,
}

/// What the maker of a program knows of the state it leads to.
struct Maker {
    dice: Dice,
    restraint: Restraint,
    maps: Vec<FileMap>,
    pins: Vec<PinId>,
    next: u32,
    loaded: bool,
    /// How many pages of DAX files are of interest.
    length: u64,
    /// In files of huge pages, those that much is done to: at random two steps would hardly ever meet.
    hot: Vec<u64>,
    /// What the main task is to do with a file of its own, the next step last.
    life: Vec<Action>,
}

/// A mapping.
#[derive(Clone, Copy, Debug)]
struct FileMap {
    map: MapId,
    file: FileId,
    /// How many pages it has.
    pages: u64,
}

impl Program {
    /// A random one of `len` steps.
    pub(crate) fn random(seed: u64, len: usize, restraint: Restraint) -> Self {
        let mut dice = Dice::new(seed);
        // Not both: the break of a copy-on-write fault has no inode lock to hold a load off with.
        let loads = restraint.loads && dice.once_in(4);
        let restraint = Restraint { reflink: restraint.reflink && !loads, loads, ..restraint };
        let huge = if restraint.huge && dice.once_in(6) { dice.one_of(&HUGE_LENGTHS) } else { 0 };
        let length = if huge > 0 { huge * HUGE } else { dice.one_of(&LENGTHS) };
        let first = |file| FileMap { map: first_map(file), file, pages: first_pages(file, huge) };
        let mut maker = Maker {
            dice,
            restraint,
            maps: FILES.iter().map(|(file, _)| first(*file)).collect(),
            pins: Vec::new(),
            next: 100,
            loaded: false,
            length,
            hot: Vec::new(),
            life: Vec::new(),
        };
        if restraint.evict && maker.dice.once_in(4) {
            maker.life = maker.life();
        }
        let mut steps = match huge {
            0 if length > PAGES => maker.lengthen(),
            0 => Vec::new(),
            _ => maker.share_huge(),
        };
        steps.truncate(len);
        while steps.len() < len {
            steps.push(maker.step());
        }
        Self { steps, seed, huge, bare: false }
    }

    /// How many pages a file has in the beginning.
    pub(crate) fn first_pages(&self, file: FileId) -> u64 {
        first_pages(file, self.huge)
    }

    /// How many pages of each file are compared when it is over: more than any has.
    pub(crate) fn most_pages(&self) -> u64 {
        256 + 16 * HUGE * self.huge
    }

    /// Whether it can run at all, which one from a file need not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("it has no steps".to_owned());
        }
        let most = HUGE_LENGTHS.into_iter().max().unwrap_or_default();
        if self.huge > most {
            return Err(format!("a file has {most} huge pages at most, not {}", self.huge));
        }
        if self.bare {
            return self.check_bare();
        }
        for step in &self.steps {
            let named = match step {
                Step::Do(task, _) | Step::Signal(task) | Step::Go(task) => [Some(*task), None],
                Step::Hold { task, until, .. } => [Some(*task), *until],
                Step::Release(_) | Step::Load(_) => [None, None],
                Step::Spawn { .. } => return Err("it makes tasks and is not bare".to_owned()),
            };
            if let Some(task) = named.into_iter().flatten().find(|task| *task >= TASKS) {
                return Err(format!("there is no task {task}, only 0 to {}", TASKS - 1));
            }
        }
        if self.holds() && self.steps.iter().any(|step| matches!(step, Step::Load(_))) {
            return Err("it has a load, under which no task can be held".to_owned());
        }
        Ok(())
    }

    /// The same of one that is bare: what acts must have been made.
    fn check_bare(&self) -> Result<(), String> {
        if self.huge > 0 {
            return Err("it is bare and has huge files".to_owned());
        }
        let mut made = BTreeSet::from([0]);
        for step in &self.steps {
            let acts = match step {
                Step::Do(task, _) | Step::Signal(task) | Step::Spawn { of: task, .. } => task,
                Step::Release(_) => continue,
                Step::Load(_) | Step::Hold { .. } | Step::Go(_) => {
                    return Err("it is bare, where no load goes on and no task is held".to_owned());
                }
            };
            if !made.contains(acts) {
                return Err(format!("nobody made task {acts}"));
            }
            if let Step::Spawn { task, .. } = step
                && !made.insert(*task)
            {
                return Err(format!("there is a task {task} already"));
            }
        }
        Ok(())
    }

    /// Whether tasks are held in it.
    pub(crate) fn holds(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Hold { .. }))
    }

    /// Whether it does nothing that a random program under this restraint would not.
    pub(crate) fn fits(&self, restraint: Restraint) -> bool {
        let Restraint { reflink, loads, evict, direct, huge } = restraint;
        if self.huge > 0 && !huge {
            return false;
        }
        let mut maps: BTreeMap<_, _> =
            FILES.iter().map(|(file, _)| (first_map(*file), *file)).collect();
        for step in &self.steps {
            if let Step::Do(_, Action::Map { map, file, .. }) = step {
                maps.insert(*map, *file);
            }
        }
        let is_between = |file, map| {
            maps.get(map).is_some_and(|other| *other != file && is_dax(file) && is_dax(*other))
        };
        self.steps.iter().all(|step| match step {
            Step::Load(_) => loads,
            Step::Release(_)
            | Step::Signal(_)
            | Step::Hold { .. }
            | Step::Go(_)
            | Step::Spawn { .. } => true,
            Step::Do(_, action) => match action {
                Action::Clone { .. }
                | Action::Dedupe { .. }
                | Action::Fallocate { mode: Mode::Unshare, .. } => reflink,
                Action::Create { .. } | Action::Close { .. } | Action::Unlink { .. } => evict,
                Action::DirectIo { file, map, .. } => direct || is_between(*file, map),
                Action::PinLongterm { .. } => direct,
                _ => true,
            },
        })
    }

    /// One in which fallocate refuses its range while a page of the file is pinned.
    pub(crate) fn of_a_refusal() -> Self {
        let (file, _) = FILES[0];
        let map = first_map(file);
        let kind = PinKind::Splice;
        let pin = Action::Pin { pin: PinId(0), map, span: page(0), kind };
        let everything = pages(0, PAGES);
        let collapse = Action::Fallocate { file, mode: Mode::Collapse, span: everything };
        Self { steps: vec![Step::Do(0, pin), Step::Do(0, collapse)], seed: 0, huge: 0, bare: false }
    }
}

/// Whether a file is one whose pages are the storage.
pub(crate) fn is_dax(file: FileId) -> bool {
    FILES.contains(&(file, Medium::Dax))
}

/// How many pages a file has in the beginning, if DAX files have so many huge ones.
fn first_pages(file: FileId, huge: u64) -> u64 {
    if huge > 0 && is_dax(file) { huge * HUGE } else { PAGES }
}

/// The mapping of a file that every program begins with.
pub(crate) fn first_map(file: FileId) -> MapId {
    MapId(file.0)
}

impl Maker {
    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn step(&mut self) -> Step {
        if self.dice.once_in(4)
            && let Some(action) = self.life.pop()
        {
            return Step::Do(0, action);
        }
        match self.dice.below(20) {
            0..=3 if !self.pins.is_empty() => {
                let at = self.dice.below(self.pins.len() as u64) as usize;
                Step::Release(self.pins.swap_remove(at))
            }
            4 => Step::Signal(self.dice.below(3) as u32),
            5 if self.restraint.loads && !self.loaded => {
                self.loaded = true;
                Step::Load(self.load())
            }
            _ => {
                let task = self.dice.below(u64::from(TASKS)) as u32;
                Step::Do(task, self.action())
            }
        }
    }

    /// The life of a file that only the main process knows, from its end to its beginning: the
    /// last use goes while a page is pinned.
    fn life(&mut self) -> Vec<Action> {
        let (file, map, pin) = (FileId(self.fresh()), MapId(self.fresh()), PinId(self.fresh()));
        self.pins.push(pin);
        let span = pages(0, 2);
        let kind = PinKind::Splice;
        vec![
            Action::Close { file },
            Action::Unlink { file },
            Action::Unmap { map },
            Action::Pin { pin, map, span: page(1), kind },
            Action::Map { map, file, span, sharing: Sharing::Shared },
            Action::Create {
                file,
                name: "short-lived".to_owned(),
                medium: Medium::Dax,
                fill: b"st".to_vec(),
            },
        ]
    }

    /// Makes a DAX file longer, with holes, blocks that were never written and, where blocks can be
    /// shared, another whose blocks lie in another order; and maps it.
    fn lengthen(&mut self) -> Vec<Step> {
        let (file, other) = (FILES[0].0, FILES[1].0);
        let mut actions = vec![Action::Truncate { file, size: self.length * PAGE }];
        for _ in 0..2 + self.dice.below(3) {
            let span = self.span();
            let byte = self.byte();
            actions.push(if self.dice.once_in(3) {
                Action::Fallocate { file, mode: Mode::Allocate, span }
            } else {
                Action::Write { file, span, byte }
            });
        }
        if self.restraint.reflink && self.dice.once_in(2) {
            let (first, count) = (self.dice.below(self.length - 2), 2 + self.dice.below(2));
            for page_of in first..(first + count).min(self.length) {
                let at = (first + count - 1 - (page_of - first)) * PAGE;
                actions.push(Action::Clone { from: file, span: page(page_of), to: other, at });
            }
        }
        actions.push(self.map_anew(file));
        actions.into_iter().map(|action| Step::Do(0, action)).collect()
    }

    /// Shares a huge page of one DAX file with the other, or writes to one of its pages only, so that
    /// entries of both sizes meet.
    fn share_huge(&mut self) -> Vec<Step> {
        let last = self.length - 1;
        self.hot = vec![0, last, HUGE - 1, HUGE.min(last)];
        for _ in 0..3 {
            self.hot.push(self.dice.below(self.length));
        }
        let (file, other) = (FILES[0].0, FILES[1].0);
        let whole = pages(self.dice.below(self.length / HUGE) * HUGE, HUGE);
        let mut actions = Vec::new();
        if self.restraint.reflink && self.dice.once_in(2) {
            actions.push(Action::Clone { from: file, span: whole, to: other, at: whole.at });
        }
        let map = first_map(if self.dice.once_in(2) { file } else { other });
        actions.push(match self.dice.below(3) {
            0 => Action::Write { file, span: self.span(), byte: self.byte() },
            1 => Action::Touch { map, span: pages(0, self.length) },
            _ => Action::Store { map, span: whole, byte: self.byte() },
        });
        actions.into_iter().map(|action| Step::Do(0, action)).collect()
    }

    fn map_anew(&mut self, file: FileId) -> Action {
        let map = MapId(self.fresh());
        let is_dax = is_dax(file);
        let first = pages(0, if is_dax && self.length >= HUGE { self.length } else { PAGES });
        let span = if is_dax { self.span() } else { first };
        let span = if self.dice.once_in(2) { first } else { span };
        let mut sharing =
            self.dice.one_of(&[Sharing::Shared, Sharing::Private, Sharing::Sync, Sharing::Sync]);
        if sharing == Sharing::Sync && !is_dax {
            sharing = Sharing::Shared;
        }
        self.maps.push(FileMap { map, file, pages: span.len / PAGE });
        Action::Map { map, file, span, sharing }
    }

    fn load(&mut self) -> Action {
        let map = self.maps[self.dice.below(2) as usize].map;
        if self.dice.once_in(2) {
            let steps = vec![Instruction::PinUnpin { map, span: page(self.dice.below(PAGES)) }];
            return Action::Run(Script { steps, rounds: 300, stop: STOP, seed: 1 });
        }
        Action::DirectLoad {
            map,
            span: page(self.dice.below(PAGES)),
            piece: PAGE,
            inflight: 8,
            direction: Direction::FromMemory,
            submitted: VarId(2),
            stop: STOP,
        }
    }

    fn file(&mut self) -> FileId {
        // The page cache is there for fsync, and less of interest.
        match self.dice.below(7) {
            0..=3 => FILES[0].0,
            4 | 5 => FILES[1].0,
            _ => FILES[2].0,
        }
    }

    fn map(&mut self) -> FileMap {
        let at = self.dice.below(self.maps.len() as u64) as usize;
        self.maps[at]
    }

    /// Pages of a file that has as many as every one begins with.
    fn short(&mut self) -> Span {
        self.within(PAGES)
    }

    /// Pages of a DAX file.
    fn span(&mut self) -> Span {
        self.within(self.length)
    }

    fn within(&mut self, length: u64) -> Span {
        if length >= HUGE && self.dice.once_in(4) {
            return pages(self.dice.below(length / HUGE) * HUGE, HUGE);
        }
        let mut first = self.dice.below(length);
        if !self.hot.is_empty() && !self.dice.once_in(8) {
            let at = self.dice.below(self.hot.len() as u64) as usize;
            first = self.hot[at].min(length - 1);
        }
        // A few most often: what matters is where they begin and end.
        let most = if self.dice.once_in(4) { length } else { PAGES };
        pages(first, 1 + self.dice.below(most.min(length - first)))
    }

    /// Bytes of a file, which need not begin or end with a page. Of what the page cache has, only
    /// whole pages: that is of less interest.
    fn bytes(&mut self, file: FileId) -> Span {
        if !is_dax(file) {
            return self.short();
        }
        let span = self.span();
        self.part(span)
    }

    /// A part of some pages, or all of them.
    fn part(&mut self, span: Span) -> Span {
        let unit = match self.dice.below(8) {
            0..=3 => return span,
            // What a sector has is told exactly.
            4..=6 => SECTOR,
            _ => 1,
        };
        let units = span.len / unit;
        let first = self.dice.below(units);
        let count = 1 + self.dice.below(units - first);
        Span { at: span.at + first * unit, len: count * unit }
    }

    /// Bytes of a mapping, and the mapping.
    fn mapped(&mut self) -> (MapId, Span) {
        let FileMap { map, file, pages } = self.map();
        let span = self.within(pages);
        if !is_dax(file) {
            return (map, span);
        }
        (map, self.part(span))
    }

    fn byte(&mut self) -> u8 {
        b'a' + self.dice.below(26) as u8
    }

    fn action(&mut self) -> Action {
        if self.restraint.direct && self.dice.once_in(8) {
            return self.direct();
        }
        if self.dice.once_in(16)
            && let Some(action) = self.between()
        {
            return action;
        }
        match self.dice.below(32) {
            0..=6 => self.pin(),
            7 | 8 => {
                let file = self.file();
                // Its end, or its beginning: both may lie within a page.
                let span = self.bytes(file);
                let size = if self.dice.once_in(2) { span.end() + PAGE } else { span.at };
                Action::Truncate { file, size }
            }
            9..=13 => self.fallocate(),
            14..=16 => {
                let (map, span) = self.mapped();
                Action::Store { map, span, byte: self.byte() }
            }
            17 => {
                let (map, span) = self.mapped();
                Action::Touch { map, span }
            }
            18 => {
                let (map, span) = self.mapped();
                Action::Load { map, span }
            }
            19 | 20 => {
                let file = self.file();
                Action::Write { file, span: self.bytes(file), byte: self.byte() }
            }
            21 => {
                let file = self.file();
                Action::Read { file, span: self.bytes(file) }
            }
            22 => Action::Fsync { file: self.file(), data_only: self.dice.once_in(2) },
            23 => Action::Msync { map: self.map().map },
            24 => Action::Stat { file: self.file() },
            25 => {
                let file = self.file();
                self.map_anew(file)
            }
            26 | 27 => Action::Unmap { map: self.map().map },
            28 => Action::Stored { file: FILES[2].0, span: pages(0, PAGES) },
            _ if self.restraint.reflink => self.remap(),
            _ => self.pin(),
        }
    }

    fn fallocate(&mut self) -> Action {
        let file = self.file();
        let mode = self.dice.one_of(&[
            Mode::Punch,
            Mode::Punch,
            Mode::Zero,
            Mode::Collapse,
            Mode::Insert,
            if self.restraint.reflink { Mode::Unshare } else { Mode::Allocate },
            Mode::Allocate,
        ]);
        let is_dax = is_dax(file);
        let shifts = matches!(mode, Mode::Collapse | Mode::Insert);
        let span = match (is_dax, shifts) {
            (false, _) => self.short(),
            // Else it is refused, which is soon seen.
            (true, true) => self.span(),
            (true, false) => self.bytes(file),
        };
        Action::Fallocate { file, mode, span }
    }

    /// Direct I/O between a DAX file and a mapping of the other one, if it comes to one.
    fn between(&mut self) -> Option<Action> {
        let FileMap { map, file: mapped, pages } = self.map();
        let mut dax = FILES.into_iter().map(|(file, _)| file).filter(|file| is_dax(*file));
        let file = dax.find(|file| is_dax(mapped) && *file != mapped)?;
        let span = self.span();
        let len = span.len.min(pages * PAGE);
        let buffer = self.dice.below(pages + 1 - len / PAGE) * PAGE;
        let direction = self.dice.one_of(&[Direction::FromMemory, Direction::IntoMemory]);
        Some(Action::DirectIo { file, span: Span { len, ..span }, map, buffer, direction })
    }

    /// What only the reference does with nothing left open.
    fn direct(&mut self) -> Action {
        let (map, span) = (self.map().map, self.short());
        if self.dice.once_in(3) {
            return Action::PinLongterm { map, span };
        }
        Action::DirectIo {
            file: self.file(),
            span,
            map,
            buffer: self.dice.below(PAGES + 1 - span.len / PAGE) * PAGE,
            direction: self.dice.one_of(&[Direction::FromMemory, Direction::IntoMemory]),
        }
    }

    fn remap(&mut self) -> Action {
        let (from, to) =
            if self.dice.once_in(2) { (FILES[0].0, FILES[1].0) } else { (FILES[1].0, FILES[0].0) };
        let span = self.span();
        let at = span.at;
        if self.dice.once_in(4) {
            Action::Dedupe { from, span, to, at }
        } else {
            Action::Clone { from, span, to, at }
        }
    }

    fn pin(&mut self) -> Action {
        let pin = PinId(self.fresh());
        self.pins.push(pin);
        let kind = if self.dice.once_in(3) {
            PinKind::Direct {
                engine: Engine::Aio,
                direction: self.dice.one_of(&[Direction::FromMemory, Direction::IntoMemory]),
                byte: self.byte(),
            }
        } else {
            PinKind::Splice
        };
        let FileMap { map, pages, .. } = self.map();
        let mut span = self.within(pages);
        span.len = span.len.min(MOST_PINNED * PAGE);
        // Direct I/O wants whole sectors.
        if span.len == PAGE && self.dice.once_in(4) {
            span = Span { at: span.at + SECTOR, len: (1 + self.dice.below(6)) * SECTOR };
        }
        Action::Pin { pin, map, span, kind }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.huge > 0 {
            writeln!(f, "     files 1 and 2 have {} pages, in huge pages", self.huge * HUGE)?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:3}. {step}", number + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Restraint =
        Restraint { reflink: true, loads: true, evict: true, direct: true, huge: true };

    #[test]
    fn a_step_is_told_in_words() {
        let punch = Action::Fallocate { file: FileId(2), mode: Mode::Punch, span: page(1) };
        let steps = vec![Step::Do(3, punch), Step::Release(PinId(4))];
        let program = Program { steps, seed: 1, huge: 0, bare: false };
        let words = "  1. task 3: punch page 1 of file 2\n  2. release pin 4\n";
        assert_eq!(program.to_string(), words);
    }

    #[test]
    fn a_hold_is_told_by_the_name_of_its_point() {
        let point = HoldPoint::ScanFoundBusy;
        let steps = vec![
            Step::Hold { task: 1, point, until: None },
            Step::Hold { task: 2, point: HoldPoint::FaultEntered, until: Some(1) },
            Step::Go(1),
        ];
        let program = Program { steps, seed: 1, huge: 0, bare: false };
        let text = serde_json::to_string(&program).unwrap();
        assert!(text.contains(r#"{"Hold":{"task":1,"point":"scan-found-busy"}}"#), "{text}");
        assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
        let unknown = text.replace("scan-found-busy", "elsewhere");
        let error = serde_json::from_str::<Program>(&unknown).unwrap_err().to_string();
        assert!(error.contains("\"elsewhere\", only at unmapped, "), "{error}");
        assert!(program.holds() && program.check().is_ok());
        let beyond = Step::Hold { task: 1, point, until: Some(TASKS) };
        let program = Program { steps: vec![beyond], seed: 1, huge: 0, bare: false };
        assert!(program.check().is_err());
    }

    #[test]
    fn some_programs_have_huge_files_and_stay_within_them() {
        let programs: Vec<_> = (0..200).map(|seed| Program::random(seed, 25, ALL)).collect();
        let huge: Vec<_> = programs.iter().filter(|program| program.huge > 0).collect();
        assert!((10..80).contains(&huge.len()), "{}", huge.len());
        let clones = |program: &&&Program| {
            let whole = |step: &Step| matches!(step, Step::Do(_, Action::Clone { span, .. }) if span.len == HUGE * PAGE);
            program.steps.iter().any(whole)
        };
        assert!(huge.iter().filter(clones).count() > 2);
        for program in &huge {
            assert!(program.check().is_ok() && program.fits(ALL));
            assert!(!program.fits(Restraint { huge: false, ..ALL }));
            for step in &program.steps {
                if let Step::Do(_, Action::Pin { span, .. } | Action::Map { span, .. }) = step {
                    assert!(span.end() <= program.huge * HUGE * PAGE, "{step}");
                }
            }
            let text = serde_json::to_string(program).unwrap();
            assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), **program);
        }
        let beyond = Program { huge: 3, ..Program::of_a_refusal() };
        assert!(beyond.check().unwrap_err().contains("2 huge pages at most"));
    }

    #[test]
    fn a_seed_is_a_program_and_survives_its_file() {
        let program = Program::random(7, 40, ALL);
        assert_eq!(program, Program::random(7, 40, ALL));
        assert_ne!(program.steps, Program::random(8, 40, ALL).steps);
        let text = serde_json::to_string(&program).unwrap();
        assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
    }
}
