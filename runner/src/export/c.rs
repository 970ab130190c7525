//! The C program of a case that was written down.
//!
//! What it needs of `pieces.c` goes before it, and nothing else: the program is meant to be read.

mod buffer;
mod call;
mod text;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cases::Deed;
use cases::action::{Action, FileId, MapId, Medium, PinId, Reply, TaskId, Whole};
use cases::system::{Errno, Kinship, MAIN, OpId, Signal};

use self::buffer::CBuffer;
use self::call::{descriptor, expected, mapping, operation, quoted, range, signs};
pub(super) use self::uses::{files, maps, named};
use super::Recorded;
use super::pin::PinCode;
use super::requirement::Requirement;
use crate::target::{DAX, PER_FILE};

type Sayable<T> = Result<T, String>;

/// A process of the program, and what it has.
#[derive(Clone, Debug, Default)]
struct CProcess {
    files: BTreeSet<FileId>,
    maps: BTreeSet<MapId>,
}

#[derive(Debug, Default)]
struct CWriter {
    /// How its file system must be mounted.
    mount: &'static str,
    /// Where each task is: in the process that begins, 0, or in one forked from it.
    place: BTreeMap<TaskId, u32>,
    processes: BTreeMap<u32, CProcess>,
    names: BTreeMap<FileId, String>,
    /// Files of the page cache that may as well be in memory alone.
    in_memory: BTreeSet<FileId>,
    /// Files of which the program knows the name only when it runs.
    swapped: BTreeSet<FileId>,
    pins: BTreeMap<PinId, PinCode>,
    /// Tasks that are to be held in the copy that comes next.
    to_be_held: BTreeSet<TaskId>,
    /// The memory of those that are.
    buffers: BTreeMap<TaskId, CBuffer>,
    /// Operations of which any answer is right.
    whatever: BTreeSet<OpId>,
    /// Whether its file system is unmounted.
    unmounted: bool,
    /// What comes of each operation in the end.
    results: BTreeMap<OpId, Result<Reply, Errno>>,
    /// Operations that are begun and waited for apart.
    apart: BTreeSet<OpId>,
    /// Those that have not ended.
    under_way: BTreeMap<OpId, TaskId>,
    begun: BTreeMap<OpId, (Action, String)>,
    /// Whether it depends on where blocks lie if the case can show anything.
    is_by_luck: bool,
    globals: String,
    calls: String,
    body: String,
}

/// Whom a program is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience {
    /// Somebody who compiles and runs it.
    Anybody,
    /// A test of xfstests, which does both.
    Xfstests,
}

/// The mount option with which a file system has the files that are made by `deeds`.
pub(super) fn mount(deeds: &[Deed]) -> &'static str {
    let per_file = |deed: &Deed| {
        let Deed::Start { action, .. } = deed else { return false };
        matches!(action, Action::CreateWithoutDax { .. } | Action::FlipDax { .. })
    };
    if deeds.iter().any(per_file) { PER_FILE } else { DAX }
}

/// The program of what was recorded; why there is none.
pub(super) fn program(recorded: &Recorded, reader: Audience) -> Sayable<String> {
    let deeds = &recorded.deeds;
    let results = deeds.iter().filter_map(|deed| match deed {
        Deed::End { op, result } => Some((*op, result.clone())),
        _ => None,
    });
    let mut writer = CWriter {
        mount: mount(deeds),
        in_memory: in_memory(deeds),
        results: results.collect(),
        ..CWriter::default()
    };
    writer.whatever.extend(deeds.iter().filter_map(|deed| match deed {
        Deed::Whatever(op) => Some(*op),
        _ => None,
    }));
    writer.place.insert(MAIN, 0);
    writer.processes.insert(0, CProcess::default());
    for (index, deed) in deeds.iter().enumerate() {
        writer.deed(deed, deeds.get(index + 1))?;
    }
    if writer.unmounted {
        // Whose file system it is wants it back.
        writer.line(&format!("expect(mount_again(\"{}\"), 0, \"mount it again\");", writer.mount));
    }
    let requirements = Requirement::all(recorded)?;
    Ok(writer.text(recorded, &requirements, reader))
}

impl CWriter {
    fn deed(&mut self, deed: &Deed, next: Option<&Deed>) -> Sayable<()> {
        match deed {
            Deed::Spawn { task, of, kinship } => self.spawn(*task, *of, *kinship),
            Deed::Start { op, task, action, words } => {
                self.begun.insert(*op, (action.clone(), words.clone()));
                let at_once = matches!(next, Some(Deed::End { op: other, .. }) if other == op);
                if at_once && self.process(*task)? == 0 {
                    // Told when it ends: what it answers is part of the call.
                    self.knows(0, action, words)
                } else {
                    self.begin(*op, *task, action, words, next)
                }
            }
            Deed::Blocked(op) => {
                self.line(&format!("expect_blocked({});", operation(*op)));
                Ok(())
            }
            Deed::Settled(op) => {
                self.line(&format!("settle({});", operation(*op)));
                Ok(())
            }
            Deed::Open(_) => {
                Err("more than one outcome is right, and a program expects one".to_owned())
            }
            Deed::Whatever(_) => Ok(()),
            Deed::InOrder([first, second]) => {
                self.line(&format!("in_order(&{}, &{});", descriptor(*first), descriptor(*second)));
                self.swapped.extend([*first, *second]);
                Ok(())
            }
            Deed::End { op, result } => self.end(*op, result),
            Deed::Signal { task, signal } => self.signal(*task, *signal),
            Deed::HoldInCopy(task) if self.process(*task)? == 0 => {
                self.to_be_held.insert(*task);
                Ok(())
            }
            Deed::HoldInCopy(_) => Err("a forked process is held in a copy".to_owned()),
            Deed::Stands(task) => self.stands(*task),
            Deed::Go(task) => self.goes(*task),
            Deed::Release(pin) => {
                let line = self.pins.get(pin).map_or(String::new(), |pin| pin.releases.clone());
                if line.is_empty() {
                    return Err("it lets go of a pin that is not exported".to_owned());
                }
                self.line(&line);
                Ok(())
            }
            Deed::Transferred { pin, content } => {
                let expected = signs(content)?;
                let seen = self.pins.get(pin).map_or("", |pin| &pin.seen);
                self.line(&format!("same({seen}, \"{expected}\", \"what went through the pin\");"));
                Ok(())
            }
        }
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.body, "\t{line}");
    }

    fn process(&self, task: TaskId) -> Sayable<u32> {
        self.place.get(&task).copied().ok_or_else(|| format!("nobody made task {}", task.0))
    }

    fn spawn(&mut self, task: TaskId, of: TaskId, kinship: Kinship) -> Sayable<()> {
        let from = self.process(of)?;
        match kinship {
            // Threads come with what they do.
            Kinship::Thread if from == 0 => {
                self.place.insert(task, 0);
            }
            Kinship::Process if from == 0 => {
                self.place.insert(task, task.0);
                let copy = self.processes[&0].clone();
                self.processes.insert(task.0, copy);
                let _ = writeln!(self.globals, "static struct process process{};", task.0);
                self.line(&format!("fork_process(&process{});", task.0));
            }
            _ => return Err("a forked process makes tasks of its own".to_owned()),
        }
        Ok(())
    }

    /// Begins what is not over at once, or is done by another process.
    fn begin(
        &mut self,
        op: OpId,
        task: TaskId,
        action: &Action,
        words: &str,
        next: Option<&Deed>,
    ) -> Sayable<()> {
        let process = self.process(task)?;
        self.knows(process, action, words)?;
        // What is read is compared where it is read.
        let result = match next {
            Some(Deed::End { op: other, result }) if *other == op => Some(result),
            _ => None,
        };
        let call = match self.held_call(op, task, action, words)? {
            Some(call) => call,
            None => self.call(action, result, words)?,
        };
        let _ = writeln!(
            self.calls,
            "/* {words} */\nstatic long call{}(void)\n{{\n\treturn {call};\n}}\n",
            op.0
        );
        self.apart.insert(op);
        self.under_way.insert(op, task);
        let (name, words) = (operation(op), quoted(words));
        self.line(&if process == 0 {
            format!("begin_operation({name}, {words}, call{});", op.0)
        } else {
            format!("begin_in(&process{process}, {name}, {words}, call{});", op.0)
        });
        Ok(())
    }

    fn end(&mut self, op: OpId, result: &Result<Reply, Errno>) -> Sayable<()> {
        let (action, words) =
            self.begun.get(&op).cloned().ok_or("an operation ends that nobody began")?;
        if self.apart.contains(&op) {
            self.under_way.remove(&op);
            let expected = expected(&action, result)?;
            self.line(&format!("expect_end({}, {expected});", operation(op)));
            return Ok(());
        }
        match action {
            // It is there, and what checks it is the user's to run.
            Action::Whole(Whole::Make | Whole::Check) => return Ok(()),
            Action::Whole(Whole::Unmount) => self.unmounted = result.is_ok(),
            Action::Whole(Whole::Mount) => self.unmounted = false,
            _ => {}
        }
        if matches!(action, Action::Blocks { .. }) {
            // Where they lie decides whether what comes can show anything, and differs from place to place.
            self.is_by_luck = true;
            return Ok(());
        }
        let call = self.call(&action, Some(result), &words)?;
        let makes = |action: &Action| {
            matches!(
                action,
                Action::Create { .. } | Action::CreateSpare { .. } | Action::CreateHuge { .. }
            )
        };
        if makes(&action) {
            self.line(&format!("{call};"));
        } else if self.whatever.contains(&op) {
            self.line(&format!("(void){call};"));
        } else {
            let expected = expected(&action, result)?;
            self.line(&format!("expect({call}, {expected}, {});", quoted(&words)));
        }
        Ok(())
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Sayable<()> {
        let process = self.process(task)?;
        match signal {
            Signal::Kill if process != 0 => {
                self.under_way.retain(|_, whose| *whose != task);
                self.line(&format!("kill_process(&process{process});"));
            }
            Signal::Kill => return Err("it kills the process that began".to_owned()),
            Signal::Handled => {
                let Some((op, _)) = self.under_way.iter().find(|(_, whose)| **whose == task) else {
                    return Err("it signals a task that is idle".to_owned());
                };
                let line = format!("interrupt({});", operation(*op));
                self.line(&line);
            }
        }
        Ok(())
    }

    /// Refuses an action of a process on what came to be after it was forked; learns what it makes.
    fn knows(&mut self, process: u32, action: &Action, words: &str) -> Sayable<()> {
        let (files, maps) = (files(action), maps(action));
        let has = self.processes.entry(process).or_default();
        if let Action::Create { file, medium: Medium::PageCache, .. } = action
            && !self.in_memory.contains(file)
        {
            return Err(format!("{words}: needs a second file system"));
        }
        if let Action::Create { file, name, .. }
        | Action::CreateSpare { file, name, .. }
        | Action::CreateHuge { file, name, .. }
        | Action::CreateWithoutDax { file, name, .. } = action
        {
            has.files.insert(*file);
            self.names.insert(*file, name.clone());
            let _ = writeln!(self.globals, "static int {};", descriptor(*file));
            return Ok(());
        }
        if named(action).is_some_and(|file| self.swapped.contains(&file)) {
            return Err(format!("{words}: which of two files it is, the program does not know"));
        }
        if files.iter().any(|file| !has.files.contains(file)) {
            return Err(format!("{words}: the file was made after the process was forked"));
        }
        if let Action::Map { map, .. } = action {
            has.maps.insert(*map);
            let line = format!("static struct map {};\n", mapping(*map));
            if !self.globals.contains(&line) {
                self.globals.push_str(&line);
            }
            return Ok(());
        }
        if maps.iter().any(|map| !has.maps.contains(map)) {
            return Err(format!("{words}: the mapping was made after the process was forked"));
        }
        if let Action::Pin { pin, map, span, kind } = action {
            let name = format!("pin{}", pin.0);
            let buffer = format!("&{}, {}", mapping(*map), range(*span));
            let said =
                PinCode::of(*kind, &name, &buffer).map_err(|why| format!("{words}: {why}"))?;
            self.globals.push_str(&said.variable);
            self.pins.insert(*pin, said);
        }
        Ok(())
    }
}

/// Files of the page cache into which is only written: any will do.
fn in_memory(deeds: &[Deed]) -> BTreeSet<FileId> {
    let actions = || {
        deeds.iter().filter_map(|deed| match deed {
            Deed::Start { action, .. } => Some(action),
            _ => None,
        })
    };
    let is_plain = |action: &Action| {
        matches!(
            action,
            Action::Create { .. }
                | Action::Gather { .. }
                | Action::Read { .. }
                | Action::Stat { .. }
        )
    };
    actions()
        .filter_map(|action| match action {
            Action::Create { file, medium: Medium::PageCache, .. } => Some(*file),
            _ => None,
        })
        .filter(|file| {
            actions().all(|action| {
                is_plain(action) || !files(action).contains(file) && named(action) != Some(*file)
            })
        })
        .collect()
}
