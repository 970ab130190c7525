//! A program: what is done, step by step, and how a random one is made.

use std::fmt;

use cases::action::{
    Action, Direction, Engine, FileId, Instruction, MapId, Medium, Mode, PAGE, PinId, PinKind,
    SECTOR, Script, Sharing, Span, VarId, page, pages,
};
use serde::{Deserialize, Serialize};

use super::dice::Dice;

/// Files that every program begins with; the last lives in a page cache.
pub(crate) const FILES: [(FileId, Medium); 3] =
    [(FileId(1), Medium::Dax), (FileId(2), Medium::Dax), (FileId(3), Medium::PageCache)];
/// Pages of each.
pub(crate) const PAGES: u64 = 4;
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
    /// Direct I/O may go between a file and a mapping, and long-term pins may be asked for. How far
    /// such an I/O gets where it meets a hole, and what it leaves where it overlaps its own buffer,
    /// is each kernel's own.
    pub(crate) direct: bool,
}

/// What the maker of a program knows of the state it leads to.
struct Maker {
    dice: Dice,
    restraint: Restraint,
    maps: Vec<(MapId, FileId)>,
    pins: Vec<PinId>,
    next: u32,
    loaded: bool,
    /// What the main task is to do with a file of its own, the next step last.
    life: Vec<Action>,
}

impl Program {
    /// A random one of `len` steps.
    pub(crate) fn random(seed: u64, len: usize, restraint: Restraint) -> Self {
        let mut dice = Dice::new(seed);
        // Not both: the break of a copy-on-write fault has no inode lock to hold a load off with.
        let loads = restraint.loads && dice.once_in(4);
        let restraint = Restraint { reflink: restraint.reflink && !loads, loads, ..restraint };
        let mut maker = Maker {
            dice,
            restraint,
            maps: FILES.iter().map(|(file, _)| (first_map(*file), *file)).collect(),
            pins: Vec::new(),
            next: 100,
            loaded: false,
            life: Vec::new(),
        };
        if restraint.evict && maker.dice.once_in(4) {
            maker.life = maker.life();
        }
        let steps = (0..len).map(|_| maker.step()).collect();
        Self { steps, seed }
    }

    /// Whether it can run at all, which one from a file need not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("it has no steps".to_owned());
        }
        for step in &self.steps {
            if let Step::Do(task, _) | Step::Signal(task) = step
                && *task >= TASKS
            {
                return Err(format!("there is no task {task}, only 0 to {}", TASKS - 1));
            }
        }
        Ok(())
    }

    /// Whether it does nothing that a random program under this restraint would not.
    pub(crate) fn fits(&self, restraint: Restraint) -> bool {
        let Restraint { reflink, loads, evict, direct } = restraint;
        self.steps.iter().all(|step| match step {
            Step::Load(_) => loads,
            Step::Release(_) | Step::Signal(_) => true,
            Step::Do(_, action) => match action {
                Action::Clone { .. }
                | Action::Dedupe { .. }
                | Action::Fallocate { mode: Mode::Unshare, .. } => reflink,
                Action::Create { .. } | Action::Close { .. } | Action::Unlink { .. } => evict,
                Action::DirectIo { .. } | Action::PinLongterm { .. } => direct,
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
        Self { steps: vec![Step::Do(0, pin), Step::Do(0, collapse)], seed: 0 }
    }
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

    fn load(&mut self) -> Action {
        let (map, _) = self.maps[self.dice.below(2) as usize];
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

    fn map(&mut self) -> MapId {
        let at = self.dice.below(self.maps.len() as u64) as usize;
        self.maps[at].0
    }

    fn span(&mut self) -> Span {
        let first = self.dice.below(PAGES);
        pages(first, 1 + self.dice.below(PAGES - first))
    }

    fn byte(&mut self) -> u8 {
        b'a' + self.dice.below(26) as u8
    }

    fn action(&mut self) -> Action {
        if self.restraint.direct && self.dice.once_in(8) {
            return self.direct();
        }
        match self.dice.below(32) {
            0..=6 => self.pin(),
            7 | 8 => {
                Action::Truncate { file: self.file(), size: self.dice.below(PAGES + 2) * PAGE }
            }
            9..=13 => self.fallocate(),
            14..=16 => Action::Store { map: self.map(), span: self.span(), byte: self.byte() },
            17 => Action::Touch { map: self.map(), span: self.span() },
            18 => Action::Load { map: self.map(), span: self.span() },
            19 | 20 => Action::Write { file: self.file(), span: self.span(), byte: self.byte() },
            21 => Action::Read { file: self.file(), span: self.span() },
            22 | 23 => Action::Fsync { file: self.file(), data_only: self.dice.once_in(2) },
            24 => Action::Stat { file: self.file() },
            25 => {
                let (map, file) = (MapId(self.fresh()), self.file());
                self.maps.push((map, file));
                let sharing = self.dice.one_of(&[Sharing::Shared, Sharing::Private]);
                Action::Map { map, file, span: pages(0, PAGES), sharing }
            }
            26 | 27 => Action::Unmap { map: self.map() },
            28 => Action::Stored { file: FILES[2].0, span: pages(0, PAGES) },
            _ if self.restraint.reflink => self.remap(),
            _ => self.pin(),
        }
    }

    fn fallocate(&mut self) -> Action {
        let file = self.file();
        let (mode, in_part) = self.dice.one_of(&[
            (Mode::Punch, false),
            (Mode::Punch, true),
            (Mode::Zero, false),
            (Mode::Collapse, false),
            (Mode::Insert, false),
            (Mode::Allocate, false),
        ]);
        let mut span = self.span();
        // What is to be zeroed in place is another matter where the page may be shared.
        if in_part && self.restraint.reflink && span.len == PAGE {
            span = Span { at: span.at + SECTOR, len: 2 * SECTOR };
        }
        Action::Fallocate { file, mode, span }
    }

    /// What only the reference does with nothing left open.
    fn direct(&mut self) -> Action {
        let (map, span) = (self.map(), self.span());
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
        Action::Pin { pin, map: self.map(), span: self.span(), kind }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:3}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// The files whose layout an action may break.
pub(super) fn broken_by(action: &Action) -> Vec<FileId> {
    match action {
        Action::Truncate { file, .. } | Action::Fallocate { file, .. } => vec![*file],
        Action::Clone { from, to, .. } | Action::Dedupe { from, to, .. } => vec![*from, *to],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Restraint = Restraint { reflink: true, loads: true, evict: true, direct: true };

    #[test]
    fn a_step_is_told_in_words() {
        let punch = Action::Fallocate { file: FileId(2), mode: Mode::Punch, span: page(1) };
        let program = Program { steps: vec![Step::Do(3, punch), Step::Release(PinId(4))], seed: 1 };
        let words = "  1. task 3: punch page 1 of file 2\n  2. release pin 4\n";
        assert_eq!(program.to_string(), words);
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
