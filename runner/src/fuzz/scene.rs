//! What every program begins with: files, mappings of them, and tasks.

use std::collections::BTreeMap;

use cases::action::{Action, FileId, Medium, PAGE, Reply, Sharing, TaskId, pages};
use cases::system::{Kinship, MAIN, Need, System};

use super::program::{FILES, LOADER, Program, TASKS, first_map, is_dax};
use super::tolerance::Situation;

/// What each file holds, a letter a page.
pub(crate) const FILLS: [&[u8]; 3] = [b"abcd", b"wxyz", b"klmn"];

/// Makes that of `program`, which must succeed.
pub(super) fn set_up(system: &mut dyn System, program: &Program) -> Result<(), String> {
    if program.bare {
        return Ok(());
    }
    for need in [Need::HeldIo, Need::PageCache] {
        system.offers(need)?;
    }
    for ((file, medium), fill) in FILES.into_iter().zip(FILLS) {
        let (name, fill) = (format!("f{}", file.0), fill.to_vec());
        let (map, sharing) = (first_map(file), Sharing::Shared);
        let span = pages(0, program.first_pages(file));
        let create = if program.huge > 0 && is_dax(file) {
            Action::CreateHuge { file, name, len: span.len, byte: fill[0] }
        } else {
            Action::Create { file, name, medium, fill }
        };
        for action in [create, Action::Map { map, file, span, sharing }] {
            perform(system, &action)?;
        }
    }
    for task in 1..=LOADER {
        let kinship = if process(task) == 0 { Kinship::Thread } else { Kinship::Process };
        let made = system.spawn(MAIN, kinship).map_err(|why| why.to_string())?;
        if made != TaskId(task) {
            return Err(format!("task {task} became {}", made.0));
        }
    }
    Ok(())
}

/// What a program has come to that has not begun, on `system`, where its scene is set up.
pub(super) fn stage(system: &mut dyn System, program: &Program) -> Result<Situation, String> {
    if program.bare {
        return Ok(Situation::default());
    }
    let huge = program.huge > 0;
    let mut stage = Situation { second: locked_second(system)?, huge, ..Situation::default() };
    for (file, _) in FILES {
        stage.sizes.insert(file, program.first_pages(file) * PAGE);
        for process in [0, 3, 4] {
            stage.maps.insert((process, first_map(file)), file);
        }
    }
    Ok(stage)
}

/// The tasks of a program, and their processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast(BTreeMap<u32, CastTask>);

/// A task of the two systems, which number it alike.
#[derive(Clone, Copy, Debug)]
struct CastTask {
    id: TaskId,
    process: u32,
}

impl Cast {
    /// Those that are there in the beginning, but for the one that only runs loads.
    pub(crate) fn of(program: &Program) -> Self {
        let task = |number| (number, CastTask { id: TaskId(number), process: process(number) });
        if program.bare { Self::main() } else { Self((0..TASKS).map(task).collect()) }
    }

    /// The main task alone.
    pub(crate) fn main() -> Self {
        Self(BTreeMap::from([(0, CastTask { id: MAIN, process: 0 })]))
    }

    /// One more, which comes from another; its process.
    pub(crate) fn add(&mut self, task: u32, of: u32, kinship: Kinship, id: TaskId) -> u32 {
        let process = if kinship == Kinship::Thread { self.process(of) } else { task };
        self.0.insert(task, CastTask { id, process });
        process
    }

    /// The task in both systems; a program that passed its check has no other.
    pub(crate) fn id(&self, task: u32) -> TaskId {
        self.0.get(&task).map_or(TaskId(task), |task| task.id)
    }

    /// Its process, by the number of the first task there.
    pub(crate) fn process(&self, task: u32) -> u32 {
        self.0.get(&task).map_or(0, |task| task.process)
    }

    /// The tasks that can do something.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }
}

/// The process of a task of the scene, by the number of its first one.
pub(crate) fn process(task: u32) -> u32 {
    if (3..TASKS).contains(&task) { task } else { 0 }
}

/// The DAX file with the higher inode number, which the kernel locks after the other.
fn locked_second(system: &mut dyn System) -> Result<Option<FileId>, String> {
    let mut last = None;
    for (file, _) in FILES.into_iter().filter(|(_, medium)| *medium == Medium::Dax) {
        match perform(system, &Action::Stat { file })? {
            Reply::Stat { inode, .. } => last = last.max(Some((inode, file))),
            other => return Err(format!("stat of file {}: {other}", file.0)),
        }
    }
    Ok(last.map(|(_, file)| file))
}

fn perform(system: &mut dyn System, action: &Action) -> Result<Reply, String> {
    let op = system.start(MAIN, action.clone()).map_err(|why| why.to_string())?;
    let done = system.wait(op).map_err(|why| why.to_string())?;
    done.result.map_err(|errno| format!("{action}: {errno}"))
}
