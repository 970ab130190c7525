//! A program of the fuzzer, written down as it runs on the reference.
//!
//! What it does in a kernel alone counts: files and tasks that it does not use are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::bail;
use cases::Deed;
use cases::action::{Action, FileId, Medium, PAGE, PinId, PinKind, Sharing, pages};
use cases::system::{Conclusion, Kinship, Look, MAIN, OpId, Signal, System, Tried};

use super::{Recorded, c, refusal};
use crate::fs::FsType;
use crate::fuzz::execute::changes;
use crate::fuzz::keep;
use crate::fuzz::program::{FILES, PAGES, Program, Restraint, Step, first_map};
use crate::fuzz::scene::{Cast, FILLS, process};
use crate::fuzz::tolerance::{Situation, Tolerance};

const ABOUT: &str = "What each task does, step by step, and what must come of it: a file system is to do \
                     what the reference implementation of the protocol does. Where a block lies, and \
                     whether pages are written back, is not looked at.";

/// Writes down the program in a file.
pub(super) fn record(path: &Path) -> anyhow::Result<Recorded> {
    let program = keep::read(path)?;
    let name = name(path);
    let deeds = deeds(&name, &program)?;
    Ok(Recorded {
        name,
        what: "random program",
        about: ABOUT.to_owned(),
        needs: Vec::new(),
        deeds,
        fixes: Vec::new(),
    })
}

/// What the program in a file is called.
pub(super) fn name(path: &Path) -> String {
    path.file_stem().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// What the program of this name does on the reference, and what comes of it.
pub(super) fn deeds(name: &str, program: &Program) -> anyhow::Result<Vec<Deed>> {
    if let Some(why) = lacks(program) {
        return Err(refusal(name, why));
    }
    let (said, deeds) =
        cases::record_what(program.seed, |system| ReplayRun::new(system, program).run());
    match said {
        Ok(()) => Ok(deeds),
        Err(why) => bail!("{name} does not run on the reference: {why}"),
    }
}

/// Why a program cannot be written down, if it cannot.
fn lacks(program: &Program) -> Option<&'static str> {
    if program.huge > 0 {
        return Some("huge files are not exported yet");
    }
    let copies = |step: &Step| matches!(step, Step::Do(_, Action::DirectIo { .. }));
    let any = Restraint { reflink: true, loads: true, evict: true, direct: true, huge: true };
    // What a case does has one outcome.
    if !program.bare
        && program.steps.iter().any(copies)
        && !program.fits(Restraint { direct: false, ..any })
    {
        return Some("what direct I/O leaves that overlaps its own buffer is each kernel's own");
    }
    program.steps.iter().find_map(|step| match step {
        Step::Hold { .. } | Step::Go(_) => {
            Some("a program of its own has no probes to hold a task with")
        }
        Step::Load(_) => Some("a load is not exported"),
        // Who collects it is not written down.
        Step::Do(_, Action::Pin { kind, .. }) if kind.is_reaped() && !program.bare => {
            Some("pins by direct I/O are not exported yet")
        }
        _ => None,
    })
}

/// The program as it goes on.
struct ReplayRun<'a> {
    system: &'a mut dyn System,
    program: &'a Program,
    cast: Cast,
    busy: BTreeMap<u32, (Action, OpId)>,
    /// Pins that can be released, each with who took it.
    pins: BTreeMap<PinId, (u32, PinKind)>,
    /// The files that it uses of those that a program begins with.
    used: BTreeSet<FileId>,
    stage: Situation,
}

impl<'a> ReplayRun<'a> {
    fn new(system: &'a mut dyn System, program: &'a Program) -> Self {
        Self {
            system,
            program,
            cast: Cast::main(),
            busy: BTreeMap::new(),
            pins: BTreeMap::new(),
            used: used(program),
            stage: Situation::default(),
        }
    }

    fn run(mut self) -> Tried<()> {
        self.set_up()?;
        for step in &self.program.steps {
            self.step(step)?;
        }
        self.end()
    }

    fn set_up(&mut self) -> Tried<()> {
        if self.program.bare {
            return Ok(());
        }
        for ((file, medium), fill) in FILES.into_iter().zip(FILLS) {
            if !self.used.contains(&file) {
                continue;
            }
            let (name, fill) = (format!("f{}", file.0), fill.to_vec());
            let (map, span, sharing) = (first_map(file), pages(0, PAGES), Sharing::Shared);
            for action in [
                Action::Create { file, name, medium, fill },
                Action::Map { map, file, span, sharing },
            ] {
                let op = self.system.start(MAIN, action)?;
                self.system.wait(op)?;
            }
            self.stage.sizes.insert(file, PAGES * PAGE);
            self.stage.maps.extend([0, 3, 4].map(|process| ((process, map), file)));
        }
        let acting: BTreeSet<u32> = self
            .program
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Do(task, _) if *task != 0 => Some(*task),
                _ => None,
            })
            .collect();
        for task in acting {
            let kinship = if process(task) == 0 { Kinship::Thread } else { Kinship::Process };
            let made = self.system.spawn(MAIN, kinship)?;
            self.cast.add(task, 0, kinship, made);
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Tried<()> {
        match step {
            Step::Do(task, action) => {
                // When two that change things are let go by one release, their order is open.
                let has_no_order =
                    changes(action) && self.busy.values().any(|(other, _)| changes(other));
                if self.busy.contains_key(task) || has_no_order || self.is_free(*task, action) {
                    return Ok(());
                }
                self.stage.begin(self.cast.process(*task), action);
                let op = self.system.start(self.cast.id(*task), action.clone())?;
                self.busy.insert(*task, (action.clone(), op));
                self.rest(Some(*task))
            }
            Step::Release(pin) => self.release(*pin),
            Step::Signal(task) if self.busy.contains_key(task) => {
                self.system.signal(self.cast.id(*task), Signal::Handled)?;
                self.rest(None)
            }
            Step::Spawn { task, of, kinship } if !self.busy.contains_key(of) => {
                let made = self.system.spawn(self.cast.id(*of), *kinship)?;
                let parent = self.cast.process(*of);
                let process = self.cast.add(*task, *of, *kinship, made);
                self.stage.fork(parent, process);
                Ok(())
            }
            Step::Spawn { .. }
            | Step::Signal(_)
            | Step::Load(_)
            | Step::Hold { .. }
            | Step::Go(_) => Ok(()),
        }
    }

    /// Whether what comes of an action now is the kernel's to choose.
    fn is_free(&self, task: u32, action: &Action) -> bool {
        let process = self.cast.process(task);
        let tolerance = [FsType::Xfs, FsType::Ext4].map(Tolerance::of_any);
        let behind_end = match action {
            // What was stored there may be zeroed at any time.
            Action::Load { map, .. } => self
                .stage
                .file_of(process, *map)
                .is_some_and(|file| self.stage.ends_within_page(file)),
            _ => false,
        };
        behind_end || tolerance.iter().any(|it| it.avoids(process, action, &self.stage).is_some())
    }

    fn release(&mut self, pin: PinId) -> Tried<()> {
        let Some((holder, kind)) = self.pins.remove(&pin) else { return Ok(()) };
        if kind.is_kept() {
            return Ok(());
        }
        self.stage.pinned.remove(&pin);
        self.system.release(pin)?;
        if kind.is_reaped() {
            self.reap(holder, pin)?;
        } else {
            self.system.transferred(pin)?;
        }
        self.rest(None)
    }

    /// Collects direct I/O that was let go, as the fuzzer does: if a task of its process is idle.
    fn reap(&mut self, holder: u32, pin: PinId) -> Tried<()> {
        let process = self.cast.process(holder);
        let is_idle =
            |task: &u32| self.cast.process(*task) == process && !self.busy.contains_key(task);
        if let Some(task) = self.cast.tasks().find(is_idle) {
            let op = self.system.start(self.cast.id(task), Action::Reap { pin })?;
            self.system.wait(op)?;
        }
        Ok(())
    }

    /// Lets all operations come to rest, that of task `first` before the others.
    fn rest(&mut self, first: Option<u32>) -> Tried<()> {
        self.stage.breaking.clear();
        let others = self.busy.keys().copied().filter(|task| Some(*task) != first);
        for task in first.into_iter().chain(others).collect::<Vec<_>>() {
            let Some((action, op)) = self.busy.get(&task).cloned() else { continue };
            if let Look::Blocked(_) = self.system.settle(op)? {
                self.system.conclude(Conclusion::Blocked(op));
                self.stage.breaking.extend(action.breaks());
                continue;
            }
            self.system.conclude(Conclusion::Returns(op));
            self.busy.remove(&task);
            self.ended(task, &action, op)?;
        }
        Ok(())
    }

    fn ended(&mut self, task: u32, action: &Action, op: OpId) -> Tried<()> {
        let is_done = self.system.wait(op)?.result.is_ok();
        if is_done {
            self.stage.end(action);
        }
        match action {
            Action::Pin { pin, kind, .. } if is_done => {
                self.pins.insert(*pin, (task, *kind));
            }
            Action::Pin { pin, .. } => {
                self.stage.pinned.remove(pin);
            }
            Action::Unmap { map } if is_done => {
                self.stage.maps.remove(&(self.cast.process(task), *map));
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets everything end, and reads what is left.
    fn end(&mut self) -> Tried<()> {
        while let Some(pin) = self.pins.keys().next().copied() {
            self.release(pin)?;
        }
        for (task, (action, op)) in std::mem::take(&mut self.busy) {
            self.ended(task, &action, op)?;
        }
        for look in self.looks() {
            let op = self.system.start(MAIN, look)?;
            self.system.wait(op)?;
        }
        Ok(())
    }

    /// What shows what is left of the DAX files; what is bare looks for itself.
    fn looks(&self) -> Vec<Action> {
        if self.program.bare {
            return Vec::new();
        }
        let first = FILES.into_iter().filter_map(|(file, medium)| {
            (medium == Medium::Dax && self.used.contains(&file)).then_some(file)
        });
        let steps = &self.program.steps;
        let closes = |step: &Step, closed: FileId| matches!(step, Step::Do(_, Action::Close { file }) if *file == closed);
        let is_closed = |file: FileId| steps.iter().any(|step| closes(step, file));
        let made = steps.iter().filter_map(|step| match step {
            Step::Do(task, Action::Create { file, medium: Medium::Dax, .. })
                if process(*task) == 0 && !is_closed(*file) =>
            {
                Some(*file)
            }
            _ => None,
        });
        let mut looks = Vec::new();
        for file in first.clone().chain(made) {
            looks.push(Action::Stat { file });
            looks.push(Action::Read { file, span: pages(0, self.program.most_pages()) });
        }
        for file in first {
            let (map, size) = (first_map(file), self.stage.sizes[&file]);
            let span = pages(0, (size / PAGE).min(PAGES));
            let is_mapped = self.stage.maps.contains_key(&(0, map));
            if is_mapped && size.is_multiple_of(PAGE) && span.len > 0 {
                looks.push(Action::Load { map, span });
            }
        }
        looks
    }
}

/// The files that a program uses.
fn used(program: &Program) -> BTreeSet<FileId> {
    let mut used = BTreeSet::new();
    for step in &program.steps {
        let Step::Do(_, action) = step else { continue };
        used.extend(c::files(action));
        used.extend(c::named(action));
        let maps = c::maps(action);
        used.extend(
            FILES.into_iter().map(|(file, _)| file).filter(|file| maps.contains(&first_map(*file))),
        );
    }
    used
}
