//! fsync: what is dirty becomes clean, whoever has it pinned.

use std::ops::Range;

use protocol::HoldPoint;
use protocol::event::OperationKind;

use crate::errno::{Answer, EIO};
use crate::fs::Fs;
use crate::inode::{Inode, InodeState, Medium};
use crate::sync::Arc;
use crate::task::{Interruptible, Sleep, Task};
use crate::variant::Variant;

impl Fs {
    /// fsync(2), fdatasync(2) and msync(2).
    ///
    /// A pinned page is written like any other: skipping it would be a lie, failing a surprise,
    /// waiting a deadlock with whoever pinned it and waits for a transaction. No lock of the
    /// inode is needed, so it also works while a break waits.
    pub fn fsync(&self, task: &Task, inode: &Inode) -> Answer<()> {
        self.operation(task, inode, OperationKind::Fsync, (0, u64::MAX), || {
            // Until Linux commit 02c24a82187d ("fs: push i_mutex and filemap_write_and_wait down
            // into ->fsync() handlers"), in v3.1, every fsync was called with this lock held.
            let takes_lock = self.has(Variant::FsyncTakesInodeLock);
            let _lock = takes_lock.then(|| inode.lock.write(task)).transpose()?;
            let pinned: Vec<_> = {
                let state = inode.state();
                state
                    .dirty
                    .iter()
                    .filter_map(|index| Some((*index, Arc::clone(state.entries.get(index)?))))
                    .filter(|(_, page)| page.pins(self.shape) > 0)
                    .collect()
            };
            if !pinned.is_empty() && self.has(Variant::FsyncFailsPinned) {
                return Err(EIO.into());
            }
            if self.has(Variant::FsyncBlocksOnPinned) {
                for (_, page) in &pinned {
                    page.waiters.wait(
                        task,
                        Interruptible::Kill,
                        || page.pins(self.shape) == 0,
                        || task.park(Sleep::For("write-back of a pinned page")),
                    )?;
                }
            }
            if !inode.state().dirty.is_empty() {
                self.pass(task, HoldPoint::EntryLocked)?;
            }
            let mut state = inode.state();
            let skipped: Vec<u64> = if self.has(Variant::FsyncSkipsPinned) {
                pinned.into_iter().map(|(index, _)| index).collect()
            } else {
                Vec::new()
            };
            let all: Vec<u64> = state.dirty.iter().copied().collect();
            for index in all.into_iter().filter(|index| !skipped.contains(index)) {
                self.clean(task, inode, &mut state, index);
            }
            Ok(())
        })
    }

    /// Writes a page: the next store to it must fault, so that it is seen again.
    pub(crate) fn clean(&self, task: &Task, inode: &Inode, state: &mut InodeState, index: u64) {
        for vma in inode.vmas() {
            vma.write_protect(index);
        }
        if inode.medium == Medium::PageCache
            && let Some(page) = state.entries.get(&index)
            && let Some(extent) = state.extents.get_mut(&index)
        {
            extent.page.copy_from(page);
            extent.written = true;
        }
        if let Some(extent) = state.extents.get(&index)
            && !self.has(Variant::CopyNotFlushed)
        {
            extent.page.set_cached(false);
        }
        self.note_written_back(inode, index);
        self.mark_clean(task, inode, state, index);
    }

    /// Writes what is dirty in `range`.
    pub(crate) fn write_back(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        range: Range<u64>,
    ) {
        let dirty: Vec<u64> = state.dirty.range(range).copied().collect();
        for index in dirty {
            self.clean(task, inode, state, index);
        }
    }
}
