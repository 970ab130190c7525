//! Who acts on the reference: a task, its process, and what all of them share.

use std::collections::BTreeMap;

use nix::libc;
use protocol::oracle::Written;
use reference::sync::{Arc, Leaf, thread};
use reference::{Answer, Errno, Fs, Inode, Process, Task, Vma, WaitQueue};

use super::futex::Futexes;
use super::pin::PinState;
use crate::action::{Action, FileId, MapId, Medium, PAGE, PinId, VarId};
use crate::oracle::{BystanderSpec, Inspected, Inspection, LOOKED_AT, Stood};
use crate::system::{Done, Kinship};

/// What all tasks share.
#[derive(Debug)]
pub(super) struct Commons {
    pub(super) fs: Arc<Fs>,
    /// Files by the names that the case gave them.
    pub(super) files: Leaf<BTreeMap<FileId, Arc<Inode>>>,
    pub(super) pins: Leaf<BTreeMap<PinId, PinState>>,
    pub(super) vars: Vars,
    pub(super) futexes: Futexes,
}

impl Commons {
    pub(super) fn new(fs: Arc<Fs>) -> Self {
        Self {
            fs,
            files: Leaf::default(),
            pins: Leaf::default(),
            vars: Vars::default(),
            futexes: Futexes::default(),
        }
    }

    /// A file that has a name.
    fn named(&self, file: FileId) -> Option<Arc<Inode>> {
        let inode = self.files.with(|files| files.get(&file).cloned());
        inode.filter(|inode| inode.state().links > 0)
    }

    /// Makes a file that nobody touches, in the name of `task`.
    pub(super) fn bystand(&self, task: &Task, what: &BystanderSpec) -> Answer<()> {
        let inode = self.fs.create(Medium::Dax);
        self.files.with(|files| files.insert(what.file, Arc::clone(&inode)));
        let pages = what.fill.iter().flat_map(|byte| [*byte; PAGE as usize]);
        self.fs.write(task, &inode, 0, &pages.collect::<Vec<_>>())
    }

    /// What is to be seen of it.
    pub(super) fn stood(&self, what: &BystanderSpec) -> Option<Stood> {
        let inode = self.named(what.file)?;
        let shown = Fs::shown(&inode, what.fill.len() as u64 * PAGE);
        let mut each = shown.iter().enumerate();
        let other = each.find(|(at, byte)| **byte != what.fill[at / PAGE as usize]);
        let other = other.map(|(at, byte)| (at as u64, *byte));
        let blocks: Vec<_> = (0..what.fill.len() as u64).map(|at| block(&inode, at)).collect();
        let mut free = blocks.iter().flatten().copied().filter(|_| what.with_free);
        let free = free.find(|block| self.fs.is_free_storage(*block));
        let state = inode.state();
        let (pages, counted) = (state.size.div_ceil(PAGE), state.extents.len() as u64);
        Some(Stood { pages, counted, blocks, other, free })
    }

    /// Looks at a file.
    pub(super) fn inspect(&self, what: &Inspection) -> Inspected {
        let Some(inode) = self.named(what.file) else {
            let blocks = what.pages.iter();
            return Inspected::Nameless {
                free: blocks.map(|(_, block)| self.fs.is_free_storage(*block)).collect(),
            };
        };
        let block = |index: u64| block(&inode, index);
        let foreign = what.may_show.as_ref().and_then(|values| {
            let may_show: Written = values.iter().copied().collect();
            let (at, byte) = may_show.foreign(&Fs::shown(&inode, LOOKED_AT))?;
            Some((at as u64, byte, block(at as u64 / PAGE).unwrap_or(0)))
        });
        Inspected::Named {
            blocks: what.pages.iter().map(|(index, _)| block(*index)).collect(),
            foreign,
        }
    }
}

/// The block of a page of a file, if it has one that was written.
fn block(inode: &Inode, index: u64) -> Option<u64> {
    let state = inode.state();
    let extent = state.extents.get(&index).filter(|extent| extent.written);
    extent.map(|extent| extent.page.number)
}

/// How often a var is looked at before the task that waits for it goes to sleep.
const LOOKS: u32 = 200;

/// Numbers that all tasks share.
#[derive(Debug, Default)]
pub(super) struct Vars {
    values: Leaf<BTreeMap<VarId, u64>>,
    waiters: WaitQueue,
}

impl Vars {
    pub(super) fn get(&self, var: VarId) -> u64 {
        self.values.with(|values| values.get(&var).copied().unwrap_or(0))
    }

    pub(super) fn change(&self, var: VarId, change: impl FnOnce(&mut u64)) {
        self.values.with(|values| change(values.entry(var).or_default()));
        self.waiters.wake_all();
    }

    /// Waits until `see` is content with the vars.
    pub(super) fn wait(&self, task: &Task, see: impl Fn(&Self) -> bool) -> Answer<()> {
        // A race is lost to a task that is put to sleep and woken each round: look a while first.
        for _ in 0..LOOKS {
            if see(self) {
                return Ok(());
            }
            task.check()?;
            thread::yield_now();
        }
        self.waiters.wait(
            task,
            reference::Interruptible::Kill,
            || see(self),
            || task.park(reference::Sleep::Idle),
        )
    }
}

pub(super) type TaskOrder = (Action, Arc<Leaf<Option<Done>>>);

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) task: Task,
    pub(super) process: Arc<Process>,
    pub(super) shared: Arc<Commons>,
    pub(super) order: Arc<Leaf<Duty>>,
}

/// What a task was told to do.
#[derive(Debug, Default)]
pub(super) enum Duty {
    #[default]
    Free,
    Ordered(TaskOrder),
    Busy,
}

impl Worker {
    fn new(shared: &Arc<Commons>, process: Arc<Process>) -> Self {
        process.task_begins();
        Self {
            task: shared.fs.board.add(process.number),
            process,
            shared: Arc::clone(shared),
            order: Arc::default(),
        }
    }

    /// The first task of the first process.
    pub(super) fn first(shared: &Arc<Commons>) -> Self {
        Self::new(shared, Process::new(&shared.fs))
    }

    /// A new task, to be served by a thread of its own.
    pub(super) fn spawn(&self, kinship: Kinship) -> Self {
        let process = match kinship {
            Kinship::Thread => Arc::clone(&self.process),
            Kinship::Process => self.process.fork(&self.shared.fs),
        };
        Self::new(&self.shared, process)
    }

    /// Tells the task what to do; whether it was idle.
    pub(super) fn order(&self, action: Action, end: Arc<Leaf<Option<Done>>>) -> bool {
        let taken = self.order.with(|slot| match slot {
            Duty::Free => {
                *slot = Duty::Ordered((action, end));
                true
            }
            Duty::Ordered(_) | Duty::Busy => false,
        });
        if taken {
            self.task.wake();
        }
        taken
    }

    /// Does something with a file, which the process opens if it has not yet.
    pub(super) fn on<T>(
        &self,
        file: FileId,
        run: impl FnOnce(&Arc<Inode>) -> Answer<T>,
    ) -> Answer<T> {
        if !self.process.knows(file.0) {
            let inode = self.find(file)?;
            inode.state().users += 1;
            self.process.open(file.0, inode);
        }
        self.shared.fs.using(&self.task, &self.process, file.0, run)
    }

    /// Finds a file by its name.
    pub(super) fn find(&self, file: FileId) -> Answer<Arc<Inode>> {
        let inode = self.shared.files.with(|files| files.get(&file).cloned());
        Ok(inode.filter(|inode| inode.state().links > 0).ok_or(Errno(libc::ENOENT))?)
    }

    pub(super) fn vma(&self, map: MapId) -> Answer<Arc<Vma>> {
        self.process.mm.find(map.0)
    }
}
