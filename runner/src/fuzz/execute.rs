//! One program on two systems, step by step, until they differ.

use std::collections::{BTreeMap, BTreeSet};

use cases::action::{Action, FileId, Medium, PAGE, PinId, Reply, pages};
use cases::oracle::Watch;
use cases::system::{Kinship, OpId, Signal, System};

use super::program::{FILES, LOADER, Program, STOP, Step, first_map};
use super::scene::{self, Cast};
use super::seen::{Divergence, Seen};
use super::spent::{Spent, Timed};
use super::tolerance::{Situation, Tolerance, zeroed};

/// What is held against the reference.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A file system of the running kernel.
    Kernel(Tolerance),
    /// The reference with a bug.
    Variant,
}

/// What is looked at beside what a program's own actions answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eyes {
    /// What the oracles look at.
    Oracles,
    /// Nothing: a program that needs nothing of daxtests does not see more.
    Program,
}

/// What becomes of a program's files when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// They are removed.
    Removed,
    /// They stay, to be read again.
    Kept,
}

/// Runs `program` on `subject` and on `reference`; where they differ first.
pub(crate) fn run(
    program: &Program,
    subject: &mut dyn System,
    reference: &mut dyn System,
    kind: Subject,
    (files, eyes): (Files, Eyes),
    spent: &Spent,
) -> Option<Divergence> {
    let mut timed = Timed { system: subject, spent: spent.clone() };
    if eyes == Eyes::Program {
        let pair = SideBySide::new([&mut timed, reference], kind, program);
        return pair.run(files, &|| None);
    }
    let mut watched = Watch::new(&mut timed);
    let findings = watched.findings();
    let known = if let Subject::Kernel(known) = &kind { Some(known.clone()) } else { None };
    let found = || {
        let mut findings = findings.borrow_mut();
        findings.retain(|found| known.as_ref().and_then(|known| known.forgives(found)).is_none());
        let found = findings.pop()?;
        Some(Divergence::found(found.rule(), found.text))
    };
    let pair = SideBySide::new([&mut watched, reference], kind, program);
    let diverged = pair.run(files, &found);
    if diverged.is_none()
        && let Err(why) = watched.finish()
    {
        return Some(machinery(why.to_string()));
    }
    diverged.or_else(found)
}

/// Reads the files that `program` left once more, which must hold what they did.
pub(crate) fn read_again(
    program: &Program,
    subject: &mut dyn System,
    reference: &mut dyn System,
    kind: Subject,
) -> Option<Divergence> {
    let mut pair = SideBySide::new([subject, reference], kind, program);
    let dax = FILES.into_iter().filter(|(_, medium)| *medium == Medium::Dax);
    let look = |file| contents(file, program);
    let diverged = pair.compare_files(dax.map(|(file, _)| file), look).err()?;
    Some(Divergence { kind: format!("{} after a remount", diverged.kind), ..*diverged })
}

/// What shows what is in a file.
fn contents(file: FileId, program: &Program) -> Vec<Action> {
    vec![Action::Stat { file }, Action::Read { file, span: pages(0, program.most_pages()) }]
}

struct SideBySide<'a> {
    systems: [&'a mut dyn System; 2],
    kind: Subject,
    program: &'a Program,
    /// Operations under way, by task.
    busy: BTreeMap<u32, (Action, [OpId; 2])>,
    /// Pins that may be released, by the action that takes each.
    pins: BTreeMap<PinId, Action>,
    /// The task that took each pin.
    holders: BTreeMap<PinId, u32>,
    loads: Vec<[OpId; 2]>,
    /// Files into whose pages direct I/O was let go that nobody could collect: it ends in its own
    /// time.
    landing: BTreeSet<FileId>,
    cast: Cast,
    stage: Situation,
}

type Agreed<T = ()> = Result<T, Box<Divergence>>;

/// Seconds that an operation may go on after the reference's ended.
const LATE: u64 = 5;

/// Seconds of a case that a whole program's loads may hold an operation up.
const BOUND: u64 = 45;

impl<'a> SideBySide<'a> {
    fn new(systems: [&'a mut dyn System; 2], kind: Subject, program: &'a Program) -> Self {
        Self {
            systems,
            kind,
            program,
            busy: BTreeMap::new(),
            pins: BTreeMap::new(),
            holders: BTreeMap::new(),
            loads: Vec::new(),
            landing: BTreeSet::new(),
            cast: Cast::of(program),
            stage: Situation::default(),
        }
    }
}

impl SideBySide<'_> {
    /// Goes through the program; where the two differ first, or what was `found`.
    fn run(mut self, files: Files, found: &dyn Fn() -> Option<Divergence>) -> Option<Divergence> {
        if let Err(why) = self.set_up() {
            return Some(Divergence::at_end("the program could not begin".to_owned(), why));
        }
        for (number, step) in self.program.steps.iter().enumerate() {
            let diverged = self.step(step).err().map(|divergence| *divergence);
            // What an oracle found is the cause of what differs then.
            if let Some(mut divergence) = found().or(diverged) {
                divergence.step = Some(number + 1);
                return Some(divergence);
            }
        }
        let diverged = self.end(files).err().map(|divergence| *divergence);
        found().or(diverged)
    }

    fn both<T>(&mut self, mut ask: impl FnMut(&mut dyn System) -> T) -> [T; 2] {
        let [subject, reference] = &mut self.systems;
        [ask(*subject), ask(*reference)]
    }

    /// Makes files, mappings and tasks, which must succeed.
    fn set_up(&mut self) -> Result<(), String> {
        for system in &mut self.systems {
            scene::set_up(*system, self.program)?;
        }
        self.stage = scene::stage(self.systems[0], self.program)?;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Agreed {
        let mut first = None;
        match step {
            Step::Do(task, action) => {
                if self.busy.contains_key(task) {
                    return Ok(());
                }
                // When two that change things are let go by one release, their order is open.
                if self.loads.is_empty()
                    && changes(action)
                    && self.busy.values().any(|(other, _)| changes(other))
                {
                    return Ok(());
                }
                if let Subject::Kernel(known) = &self.kind
                    && known.avoids(self.cast.process(*task), action, &self.stage).is_some()
                {
                    return Ok(());
                }
                let ops = self.start(*task, action)?;
                first = Some(*task);
                self.busy.insert(*task, (action.clone(), ops));
                self.stage.begin(self.cast.process(*task), action);
                if let Action::Pin { pin, kind, .. } = action
                    && !kind.is_kept()
                {
                    self.pins.insert(*pin, action.clone());
                    self.holders.insert(*pin, *task);
                }
            }
            Step::Release(pin) => self.release(*pin)?,
            Step::Signal(task) => {
                if !self.busy.contains_key(task) {
                    return Ok(());
                }
                let id = self.cast.id(*task);
                for sent in self.both(|system| system.signal(id, Signal::Handled)) {
                    sent.map_err(|why| Box::new(machinery(why.to_string())))?;
                }
            }
            Step::Load(action) => {
                if self.loads.is_empty() {
                    let ops = self.start(LOADER, action)?;
                    self.loads.push(ops);
                    return Ok(());
                }
            }
            Step::Spawn { task, of, kinship } => return self.spawn(*task, *of, *kinship),
            // Such a program is run otherwise: `interleave`.
            Step::Hold { .. } | Step::Go(_) => return Ok(()),
        }
        self.compare(first)
    }

    fn spawn(&mut self, task: u32, of: u32, kinship: Kinship) -> Agreed {
        if self.busy.contains_key(&of) {
            return Ok(());
        }
        let id = self.cast.id(of);
        let ids = match self.both(|system| system.spawn(id, kinship)) {
            [Ok(subject), Ok(reference)] if subject == reference => subject,
            made => return Err(Box::new(machinery(format!("a new task: {made:?}")))),
        };
        let parent = self.cast.process(of);
        let process = self.cast.add(task, of, kinship, ids);
        self.stage.fork(parent, process);
        Ok(())
    }

    fn start(&mut self, task: u32, action: &Action) -> Agreed<[OpId; 2]> {
        let id = self.cast.id(task);
        let [subject, reference] = self.both(|system| system.start(id, action.clone()));
        let failed = |why: cases::system::Trouble| Box::new(machinery(format!("{action}: {why}")));
        Ok([subject.map_err(failed)?, reference.map_err(failed)?])
    }

    fn release(&mut self, pin: PinId) -> Agreed {
        let Some(action) = self.pins.remove(&pin) else {
            return Ok(());
        };
        let held = self.stage.pinned.remove(&pin);
        // Not before it is taken, else there is nothing to release.
        if self.busy.values().any(|(other, _)| *other == action) {
            self.pins.insert(pin, action);
            self.stage.pinned.extend(held.map(|held| (pin, held)));
            return Ok(());
        }
        let held = held.map(|held| held.file);
        if !self.loads.is_empty() {
            // It may have been refused, and what it pinned depends on what went on beside it.
            self.both(|system| system.release(pin).ok());
            return Ok(());
        }
        for released in self.both(|system| system.release(pin)) {
            released.map_err(|why| Box::new(machinery(why.to_string())))?;
        }
        let Action::Pin { kind, map, span, .. } = action else {
            return Ok(());
        };
        if kind.is_reaped() {
            return self.reap(pin, held);
        }
        let seen = self.both(|system| match system.transferred(pin) {
            Ok(content) => Seen::Returned(Ok(Reply::Content(content))),
            Err(why) => Seen::trouble(&why),
        });
        if let (Subject::Kernel(_), Some(file)) = (&self.kind, held)
            && (zeroed(self.stage.is_dax(file), &seen) || self.landing.contains(&file))
        {
            return Ok(());
        }
        self.judge(&Action::Load { map, span }, " of a pin", seen)
    }

    /// Collects direct I/O that was let go, if a task of its process is idle: two transfers into
    /// one page have no order else.
    fn reap(&mut self, pin: PinId, file: Option<FileId>) -> Agreed {
        let Some(holder) = self.holders.get(&pin).map(|task| self.cast.process(*task)) else {
            return Ok(());
        };
        let idle = |task: &u32| self.cast.process(*task) == holder && !self.busy.contains_key(task);
        let Some(task) = self.cast.tasks().find(idle) else {
            self.landing.extend(file);
            return Ok(());
        };
        let action = Action::Reap { pin };
        let ops = self.start(task, &action)?;
        let [subject, reference] = &mut self.systems;
        let seen =
            [(subject, ops[0]), (reference, ops[1])].map(|(system, op)| match system.wait(op) {
                Ok(done) => Seen::Returned(done.result),
                Err(why) => Seen::trouble(&why),
            });
        self.judge(&action, "", seen)
    }

    /// Lets all operations come to rest, that of task `first` before the others, and compares what
    /// they do: what has just begun may end what another waits for.
    fn compare(&mut self, first: Option<u32>) -> Agreed {
        if !self.loads.is_empty() {
            // Nothing settles under a load, and what goes on beside it has no order.
            return Ok(());
        }
        self.stage.breaking.clear();
        let others = self.busy.keys().copied().filter(|task| Some(*task) != first);
        for task in first.into_iter().chain(others).collect::<Vec<_>>() {
            let Some((action, ops)) = self.busy.get(&task).cloned() else {
                continue;
            };
            let seen = self.settled(ops);
            let ended = matches!(seen[0], Seen::Returned(_));
            let done = matches!(seen[0], Seen::Returned(Ok(_)));
            let refused = matches!(seen[0], Seen::Returned(Err(_)));
            self.judge(&action, "", seen)?;
            if done {
                self.stage.end(&action);
            }
            if ended {
                self.busy.remove(&task);
            } else {
                self.stage.breaking.extend(action.breaks());
            }
            if let (Action::Unmap { map }, true, false) = (&action, ended, refused) {
                self.stage.maps.remove(&(self.cast.process(task), *map));
            }
            if let (true, Action::Pin { pin, .. }) = (refused, &action) {
                // vmsplice leaves in the pipe what came before the page that it could not have.
                // Where nothing is held there is nothing to release either.
                let _ = self.systems[0].release(*pin);
                self.pins.remove(pin);
                self.stage.pinned.remove(pin);
            }
        }
        Ok(())
    }

    /// What both do when they have come to rest.
    fn settled(&mut self, ops: [OpId; 2]) -> [Seen; 2] {
        // Of the reference it is known when nobody can go on, so a long wait costs nothing there.
        let late = if matches!(self.kind, Subject::Variant) { BOUND } else { LATE };
        let [subject, reference] = &mut self.systems;
        let mut expected = Seen::of(reference.settle(ops[1]));
        let mut seen = Seen::of(subject.settle(ops[0]));
        // Direct I/O that was let go ends in its own time, and so does the wait for it.
        match (&seen, &expected) {
            (Seen::Blocked(_), Seen::Returned(_)) => {
                if let Ok(Some(done)) = subject.wait_for(ops[0], late) {
                    seen = Seen::Returned(done.result);
                }
            }
            (Seen::Returned(_), Seen::Blocked(_)) => {
                if let Ok(Some(done)) = reference.wait_for(ops[1], BOUND) {
                    expected = Seen::Returned(done.result);
                }
            }
            _ => {}
        }
        if let Seen::Blocked(place) = &mut seen {
            *place = format!("it sleeps in {place}\n{}", subject.describe());
        }
        [seen, expected]
    }

    /// Differs unless both saw the same, or what they saw is tolerated.
    fn judge(&self, action: &Action, what: &str, seen: [Seen; 2]) -> Agreed {
        let place = match &seen[0] {
            Seen::Blocked(place) => format!("\n{place}"),
            _ => String::new(),
        };
        let [subject, reference] = seen.map(|seen| seen.plain(action));
        if subject == reference {
            return Ok(());
        }
        let name = action.name();
        let (here, there) = (subject.word(), reference.word());
        let kind = if here == there {
            format!("{name}{what}: another content")
        } else {
            format!("{name}{what}: {here}, not {there}")
        };
        let text = format!("{action}\n    seen:     {subject}\n    expected: {reference}{place}");
        let tolerated = match &self.kind {
            Subject::Kernel(known) => known.reason(action, &subject, &reference, &self.stage),
            Subject::Variant => None,
        };
        if tolerated.is_some() && matches!(action, Action::Stored { .. }) {
            // A look from outside, after which the two are in the same state as before.
            return Ok(());
        }
        Err(Box::new(Divergence { tolerated, ..Divergence::at_end(kind, text) }))
    }

    /// Lets everything end, which it must, and compares what is left.
    fn end(&mut self, files: Files) -> Agreed {
        if !self.loads.is_empty() {
            // Pins first: what else goes on may wait for them.
            self.await_ends(|action| matches!(action, Action::Pin { .. }))?;
        }
        for pin in self.pins.keys().copied().collect::<Vec<_>>() {
            self.release(pin)?;
        }
        if !self.loads.is_empty() {
            return self.end_loaded();
        }
        self.compare_ends()?;
        for pin in self.pins.keys().copied().collect::<Vec<_>>() {
            self.release(pin)?;
        }
        if self.program.bare {
            // What is to be looked at in the end, it looks at itself.
            return Ok(());
        }
        let program = self.program;
        self.compare_files(FILES.into_iter().map(|(file, _)| file), |file| {
            let mut actions = contents(file, program);
            let all = pages(0, program.first_pages(file));
            actions.push(Action::Load { map: first_map(file), span: all });
            if files == Files::Removed {
                actions.push(Action::Truncate { file, size: PAGE });
                // The next program begins with an empty directory.
                actions.push(Action::Unlink { file });
            }
            actions
        })
    }

    /// Does these things to each file, one after the other.
    fn compare_files(
        &mut self,
        files: impl Iterator<Item = FileId>,
        actions: impl Fn(FileId) -> Vec<Action>,
    ) -> Agreed {
        for action in files.flat_map(actions) {
            let ops = self.start(0, &action)?;
            self.busy.insert(0, (action, ops));
            self.compare_ends()?;
        }
        Ok(())
    }

    /// Every operation must end although the load goes on. In which order they did their work
    /// beside it is open, and so are their results.
    fn end_loaded(&mut self) -> Agreed {
        self.await_ends(|_| true)?;
        self.both(|system| system.set_var(STOP, 1));
        for ops in std::mem::take(&mut self.loads) {
            for (system, op) in self.systems.iter_mut().zip(ops) {
                if let Err(why) = system.wait(op) {
                    return Err(Box::new(machinery(format!("the load: {why}"))));
                }
            }
        }
        Ok(())
    }

    fn await_ends(&mut self, which: impl Fn(&Action) -> bool) -> Agreed {
        let (awaited, rest) =
            std::mem::take(&mut self.busy).into_iter().partition(|(_, (action, _))| which(action));
        self.busy = rest;
        for (action, ops) in BTreeMap::into_values(awaited) {
            for (system, op) in self.systems.iter_mut().zip(ops) {
                let text = match system.wait_for(op, BOUND) {
                    Ok(Some(_)) => continue,
                    Ok(None) => system.describe(),
                    Err(why) => why.to_string(),
                };
                let kind = format!("{}: does not end under a load", action.name());
                return Err(Box::new(Divergence::at_end(kind, text)));
            }
        }
        Ok(())
    }

    /// Waits for the end of all operations.
    fn compare_ends(&mut self) -> Agreed {
        for (action, ops) in std::mem::take(&mut self.busy).into_values() {
            let [subject, reference] = &mut self.systems;
            let seen = [(subject, ops[0]), (reference, ops[1])].map(|(system, op)| {
                match system.wait(op) {
                    Ok(done) => Seen::Returned(done.result),
                    Err(why) => Seen::trouble(&why),
                }
            });
            let done = matches!(seen[0], Seen::Returned(Ok(_)));
            self.judge(&action, " at the end", seen)?;
            if done {
                self.stage.end(&action);
            }
        }
        Ok(())
    }
}

pub(super) fn machinery(why: String) -> Divergence {
    let first = why.lines().next().unwrap_or_default().to_owned();
    Divergence::at_end(format!("trouble: {first}"), why)
}

/// Whether it matters to others in which order it is done.
pub(crate) fn changes(action: &Action) -> bool {
    match action {
        Action::Store { .. } | Action::DirectIo { .. } => true,
        // Who takes more than a reference to a shared page copies it first.
        Action::Pin { kind, .. } => !kind.is_reference(),
        other => !other.effects().is_empty(),
    }
}
