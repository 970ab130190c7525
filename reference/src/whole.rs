//! A file system as a whole: who may change it, and what ends it.
//!
//! The reference has one volume of DAX files, so what would be a second file system is a set of its
//! files here: those that were made for it. What is done to all of them is done nowhere else.

use std::ops::Range;

use crate::errno::{Answer, EBUSY, EINVAL, EIO, EROFS};
use crate::fs::Fs;
use crate::inode::{Inode, Locked, Medium};
use crate::mm::{Mm, Vma};
use crate::page::SIZE;
use crate::sync::{Arc, Leaf};
use crate::task::{Interruptible, Sleep, Task};
use crate::variant::Variant;
use crate::waitqueue::WaitQueue;

/// The file system that is a case's own.
#[derive(Debug, Default)]
pub(crate) struct WholeFs {
    state: Leaf<WholeState>,
    /// Who waits until it thaws, or until nobody changes it.
    waiters: WaitQueue,
    files: Leaf<Vec<Arc<Inode>>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
#[derive(Debug, Default)]
struct WholeState {
    /// Operations under way that change it.
    writers: u32,
    frozen: bool,
    read_only: bool,
    /// Its device takes nothing any more.
    down: bool,
    unmounted: bool,
}

impl Fs {
    /// A new one takes its place.
    pub fn make_whole(&self) {
        self.whole.files.with(Vec::clear);
        self.whole.state.with(|state| *state = WholeState::default());
    }

    /// An empty file on it.
    pub fn create_on_whole(&self) -> Arc<Inode> {
        let inode = self.create(Medium::Dax);
        self.whole.files.with(|files| files.push(Arc::clone(&inode)));
        inode
    }

    fn is_on_whole(&self, inode: &Inode) -> bool {
        self.whole.files.with(|files| files.iter().any(|file| file.number == inode.number))
    }

    /// Whether it was shut down, and `inode` with it.
    pub(crate) fn is_down(&self, inode: &Inode) -> bool {
        self.is_on_whole(inode) && self.whole.state.with(|state| state.down)
    }

    /// Does what changes `inode`: with write access to its file system, as `mnt_want_write()` has it.
    pub fn changing<T>(
        &self,
        task: &Task,
        inode: &Inode,
        run: impl FnOnce() -> Answer<T>,
    ) -> Answer<T> {
        self.thawed(task, inode, || {
            let (read_only, down) = if self.is_on_whole(inode) {
                self.whole.state.with(|state| (state.read_only, state.down))
            } else {
                (false, false)
            };
            match (read_only, down) {
                (true, _) => Err(EROFS.into()),
                (_, true) => Err(EIO.into()),
                _ => run(),
            }
        })
    }

    /// Does what may change `inode` while its file system is not frozen: as `sb_start_pagefault()` has it.
    pub(crate) fn thawed<T>(
        &self,
        task: &Task,
        inode: &Inode,
        run: impl FnOnce() -> Answer<T>,
    ) -> Answer<T> {
        if !self.is_on_whole(inode) {
            return run();
        }
        let begins = || {
            self.whole.state.with(|state| {
                if state.frozen {
                    return false;
                }
                state.writers += 1;
                true
            })
        };
        let sleep = || task.park(Sleep::For("a thaw"));
        self.whole.waiters.wait(task, Interruptible::Never, begins, sleep)?;
        let answer = run();
        self.whole.state.with(|state| state.writers -= 1);
        self.whole.waiters.wake_all();
        answer
    }

    /// `FIFREEZE`: nobody begins to change it, and what has begun is waited for. What is dirty is written
    /// back, so that who stores to it faults.
    pub fn freeze(&self, task: &Task) -> Answer<()> {
        if self.whole.state.with(|state| std::mem::replace(&mut state.frozen, true)) {
            return Err(EBUSY.into());
        }
        if self.has(Variant::FreezePassesBreak) {
            return Ok(());
        }
        let is_quiet = || self.whole.state.with(|state| state.writers == 0);
        let sleep = || task.park(Sleep::For("those who change the file system"));
        self.whole.waiters.wait(task, Interruptible::Never, is_quiet, sleep)?;
        if self.has(Variant::FreezeLeavesDirty) {
            return Ok(());
        }
        for inode in self.whole.files.with(|files| files.clone()) {
            self.write_back(task, &inode, &mut inode.state(), 0..u64::MAX);
        }
        Ok(())
    }

    /// `FITHAW`.
    pub fn thaw(&self) -> Answer<()> {
        let was = self.whole.state.with(|state| std::mem::replace(&mut state.frozen, false));
        self.whole.waiters.wake_all();
        if was { Ok(()) } else { Err(EINVAL.into()) }
    }

    /// A remount that takes write access away; not while somebody uses it.
    pub fn set_read_only(&self) -> Answer<()> {
        let busy = self.whole.state.with(|state| {
            let busy = state.writers > 0;
            state.read_only |= !busy;
            busy
        });
        // Not what an open file alone is enough for in the kernel: no case asks for it.
        if busy { Err(EBUSY.into()) } else { Ok(()) }
    }

    /// Its device takes nothing any more, as `XFS_IOC_GOINGDOWN` has it. Who waits goes on waiting:
    /// what is pinned is as much in use as before.
    pub fn shut_down(&self) {
        self.whole.state.with(|state| state.down = true);
        if self.has(Variant::ShutdownEndsBreak) {
            for inode in self.whole.files.with(|files| files.clone()) {
                for extent in inode.state().extents.values() {
                    extent.page.waiters.wake_all();
                }
            }
        }
    }

    /// The driver is taken from its device, whose memory goes when no page of it is pinned any more.
    pub fn unbind(&self, task: &Task) -> Answer<()> {
        self.shut_down();
        for inode in self.whole.files.with(|files| files.clone()) {
            if !self.has(Variant::UnbindTakesPinned) {
                Self::unmap(&inode, &(0..u64::MAX), false);
            }
            let pages: Vec<_> =
                inode.state().extents.values().map(|extent| Arc::clone(&extent.page)).collect();
            for page in pages.iter().filter(|_| !self.has(Variant::UnbindTakesPinned)) {
                let is_idle = || page.pins(self.shape) == 0;
                let sleep = || task.park(Sleep::For("pins of the device"));
                page.waiters.wait(task, Interruptible::Never, is_idle, sleep)?;
            }
        }
        Ok(())
    }

    /// umount(2): all inodes leave memory, as soon as none of their pages is pinned.
    pub fn unmount(&self, task: &Task) -> Answer<()> {
        let files = self.whole.files.with(|files| files.clone());
        if files.iter().any(|inode| inode.state().users > 0) {
            return Err(EBUSY.into());
        }
        self.forget(task, &files)?;
        self.whole.state.with(|state| state.unmounted = true);
        Ok(())
    }

    /// mount(2), which has the log replayed: what was shut down is no longer.
    pub fn mount(&self) -> Answer<()> {
        self.whole.state.with(|state| {
            if !state.unmounted {
                return Err(EBUSY.into());
            }
            *state = WholeState::default();
            Ok(())
        })
    }

    /// `drop_caches`: those inodes leave memory that nobody uses, as far as they may. How many of the
    /// unused are still there.
    ///
    /// One that has a pinned page stays: whoever needs memory is not to wait for a pin.
    pub fn drop_caches(&self, task: &Task) -> Answer<u64> {
        let is_unused = |inode: &Arc<Inode>| inode.state().users == 0;
        let files = self.whole.files.with(|files| files.clone());
        let unused: Vec<_> = files.into_iter().filter(is_unused).collect();
        let is_known = |inode: &Arc<Inode>| !inode.state().entries.is_empty();
        if self.has(Variant::ShrinkerStandsStill) && unused.iter().any(is_known) {
            return Ok(unused.len() as u64);
        }
        let is_pinned = |inode: &Arc<Inode>| {
            inode.state().extents.values().any(|extent| extent.page.pins(self.shape) > 0)
        };
        let (stay, go): (Vec<_>, Vec<_>) = unused
            .into_iter()
            .partition(|inode| is_pinned(inode) && !self.has(Variant::UnmountTakesPinned));
        self.forget(task, &go)?;
        Ok(stay.len() as u64)
    }

    /// These leave memory.
    fn forget(&self, task: &Task, files: &[Arc<Inode>]) -> Answer<()> {
        for inode in files {
            let range = 0..u64::MAX;
            if !self.has(Variant::UnmountTakesPinned) {
                let range = range.clone();
                let mut held = [Locked { inode, lock: None, invalidate: None, range }];
                self.break_layouts(task, &mut held, Interruptible::Never)?;
            }
            let mut state = inode.state();
            self.write_back(task, inode, &mut state, range.clone());
            self.remove_entries(task, inode, &mut state, range);
        }
        Ok(())
    }

    /// `MADV_HWPOISON`: the memory of a page fails. Nobody may go on with what is mapped, and nothing
    /// else changes: who has it pinned has it pinned.
    pub fn poison(&self, task: &Task, mm: &Mm, vma: &Arc<Vma>, at: u64) -> Answer<()> {
        self.touch(task, mm, vma, (at, 1))?;
        let index = vma.first + at / SIZE;
        let page = vma.inode.state().entries.get(&index).cloned();
        let Some(page) = page else {
            return Ok(());
        };
        if self.has(Variant::FailureShutsDown) && self.volume(&vma.inode).shares(&page) > 1 {
            self.shut_down();
            return Err(EIO.into());
        }
        let range: Range<u64> = index..index + 1;
        Self::unmap(&vma.inode, &range, false);
        page.poison();
        if self.has(Variant::PoisonEndsBreak) {
            page.waiters.wake_all();
        }
        Ok(())
    }

    /// Whether a bug has a break take a page of `inode` for idle that is not.
    pub(crate) fn gives_up(&self, inode: &Inode, page: &crate::page::Page) -> bool {
        self.has(Variant::PoisonEndsBreak) && page.is_poisoned()
            || self.has(Variant::ShutdownEndsBreak) && self.is_down(inode)
    }
}
