//! Processes: an address space, open files, and the end of both; and a file's end with them.

use std::collections::BTreeMap;

use protocol::event::OperationKind;

use crate::errno::{Answer, EBADF};
use crate::fs::Fs;
use crate::inode::{Inode, Locked, Medium};
use crate::mm::Mm;
use crate::sync::{Arc, Leaf};
use crate::task::{Interruptible, Task};

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// Its address space.
    pub mm: Mm,
    /// `None`: closed for good.
    files: Leaf<BTreeMap<u32, Option<Arc<Inode>>>>,
    /// Its tasks that have not ended.
    tasks: Leaf<u32>,
}

impl Process {
    /// The first process of `fs`.
    pub fn new(fs: &Fs) -> Arc<Self> {
        Arc::new(Self {
            number: fs.new_process(),
            mm: Mm::new(fs.shape),
            files: Leaf::default(),
            tasks: Leaf::default(),
        })
    }

    /// fork(2).
    pub fn fork(&self, fs: &Fs) -> Arc<Self> {
        let files = self.files.with(|files| files.clone());
        for inode in files.values().flatten() {
            inode.state().users += 1;
        }
        Arc::new(Self {
            number: fs.new_process(),
            mm: self.mm.fork(),
            files: Leaf::new(files),
            tasks: Leaf::default(),
        })
    }

    /// Opens `inode` as `name`; its user count has been taken.
    pub fn open(&self, name: u32, inode: Arc<Inode>) {
        self.files.with(|files| files.insert(name, Some(inode)));
    }

    /// Whether it has, or had, a file called `name`.
    pub fn knows(&self, name: u32) -> bool {
        self.files.with(|files| files.contains_key(&name))
    }

    /// It has one task more.
    pub fn task_begins(&self) {
        self.tasks.with(|tasks| *tasks += 1);
    }

    /// It has one task less; whether that was the last.
    pub fn task_ends(&self) -> bool {
        self.tasks.with(|tasks| {
            *tasks -= 1;
            *tasks == 0
        })
    }

    /// The open file called `name`, with a use of it taken.
    fn get(&self, name: u32) -> Answer<Arc<Inode>> {
        let inode = self.files.with(|files| files.get(&name).cloned().flatten()).ok_or(EBADF)?;
        inode.state().users += 1;
        Ok(inode)
    }
}

impl Fs {
    /// close(2).
    pub fn close(&self, task: &Task, process: &Process, name: u32) -> Answer<()> {
        let inode =
            process.files.with(|files| files.get_mut(&name).and_then(Option::take)).ok_or(EBADF)?;
        self.put(task, &inode)
    }

    /// Does something with an open file of the process, which stays in use meanwhile.
    pub fn using<T>(
        &self,
        task: &Task,
        process: &Process,
        name: u32,
        run: impl FnOnce(&Arc<Inode>) -> Answer<T>,
    ) -> Answer<T> {
        let inode = process.get(name)?;
        let answer = run(&inode);
        self.put(task, &inode)?;
        answer
    }

    /// unlink(2).
    pub fn unlink(&self, task: &Task, inode: &Inode) -> Answer<()> {
        {
            let mut state = inode.state();
            state.users += 1;
            state.links = 0;
        }
        self.put(task, inode)
    }

    /// The process is over.
    pub fn exit(&self, task: &Task, process: &Process) -> Answer<()> {
        for name in process.mm.names() {
            self.unmap_all_of(task, &process.mm, name)?;
        }
        let files = process.files.with(std::mem::take);
        for inode in files.into_values().flatten() {
            self.put(task, &inode)?;
        }
        Ok(())
    }

    /// Drops a use of the file; the last one of a file without a name is its end.
    pub(crate) fn put(&self, task: &Task, inode: &Inode) -> Answer<()> {
        let over = {
            let mut state = inode.state();
            state.users -= 1;
            state.users == 0 && state.links == 0
        };
        if over { self.evict(task, inode) } else { Ok(()) }
    }

    /// Gives all of a file's blocks back. Nobody else can reach it, so no lock is needed; but
    /// its pages may still be pinned, and that has to be waited for like everywhere else.
    fn evict(&self, task: &Task, inode: &Inode) -> Answer<()> {
        self.operation(task, inode, OperationKind::Evict, (0, u64::MAX), || {
            if inode.medium == Medium::Dax {
                let mut held = [Locked { inode, lock: None, invalidate: None, range: 0..u64::MAX }];
                self.break_layouts(task, &mut held, Interruptible::Never)?;
            }
            let mut state = inode.state();
            self.free_range(task, inode, &mut state, 0..u64::MAX);
            Ok(())
        })
    }
}
