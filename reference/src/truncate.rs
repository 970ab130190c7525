//! Operations that change how long a file is or where its blocks are.

use std::fmt;

use protocol::event::OperationKind;
use serde::{Deserialize, Serialize};

use crate::errno::{Answer, EINVAL, EIO, ENOSPC};
use crate::extent::Extents;
use crate::fs::Fs;
use crate::inode::{Inode, InodeState, Locked, Medium, covered, pieces, touched};
use crate::page::SIZE;
use crate::sync::Arc;
use crate::task::{Interruptible, Task};
use crate::variant::Variant;

/// What fallocate is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Plain allocation: blocks for holes.
    Allocate,
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
    Punch,
    /// `FALLOC_FL_ZERO_RANGE`.
    Zero,
    /// `FALLOC_FL_COLLAPSE_RANGE`.
    Collapse,
    /// `FALLOC_FL_INSERT_RANGE`.
    Insert,
    /// `FALLOC_FL_UNSHARE_RANGE`.
    Unshare,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Punch => "punch",
            Self::Zero => "zero",
            Self::Collapse => "collapse",
            Self::Insert => "insert",
            Self::Unshare => "unshare",
        }
    }

    /// Whether there is anything to do in `len` bytes from `at` of a file of this size, or an
    /// error if it cannot be done.
    fn has_work(self, at: u64, len: u64, size: u64) -> Answer<bool> {
        let shifts = matches!(self, Self::Collapse | Self::Insert);
        let inside = match self {
            Self::Collapse => at + len < size,
            Self::Insert => at < size,
            _ => true,
        };
        let whole = at.is_multiple_of(SIZE) && len.is_multiple_of(SIZE);
        if !inside || shifts && !whole {
            return Err(EINVAL.into());
        }
        Ok(!matches!(self, Self::Punch) || at < size)
    }
}

impl Fs {
    /// What an operation needs that gives blocks away, beside both locks: on DAX a broken layout.
    fn break_held(&self, task: &Task, held: &mut Locked<'_>) -> Answer<()> {
        if held.inode.medium == Medium::Dax {
            self.break_layouts(task, std::slice::from_mut(held), Interruptible::Signal)?;
        }
        if self.is_down(held.inode) && !self.has(Variant::ShutdownEndsBreak) {
            return Err(EIO.into());
        }
        Ok(())
    }

    /// Changes the size.
    ///
    /// The layout is broken whatever the new size is, as file systems do: what lies behind the
    /// end matters too.
    pub fn truncate(&self, task: &Task, inode: &Inode, size: u64) -> Answer<()> {
        let range = (size / SIZE, u64::MAX);
        self.operation(task, inode, OperationKind::Truncate, range, || {
            let mut held = inode.hold(task)?;
            self.break_held(task, &mut held)?;
            let mut state = inode.state();
            self.extend(task, inode, &mut state, size)?;
            self.zero_bytes(task, inode, &mut state, size, size.next_multiple_of(SIZE) - size)?;
            state.size = size;
            let behind = size.div_ceil(SIZE)..u64::MAX;
            Self::unmap(inode, &behind, true);
            self.free_range(task, inode, &mut state, behind);
            Ok(())
        })
    }

    /// Makes a file longer, if `size` is. What lay behind its end shows nothing of what was there.
    pub(crate) fn extend(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        size: u64,
    ) -> Answer<()> {
        let end = state.size;
        if size > end {
            if !self.has(Variant::ShowsBehindEnd) {
                self.zero_bytes(task, inode, state, end, end.next_multiple_of(SIZE) - end)?;
            }
            state.size = size;
        }
        Ok(())
    }

    /// Zeroes bytes of one page in place, if it has a block.
    pub(crate) fn zero_bytes(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        at: u64,
        len: u64,
    ) -> Answer<()> {
        for (index, at, len) in pieces(at, len) {
            // Linux commit 64e6edc185da ("xfs: use dax ops for zero and truncate in fsdax mode"), in
            // v6.2: what was shared had been left alone.
            let skipped = self.has(Variant::ZeroSkipsShared)
                && state
                    .extents
                    .get(&index)
                    .is_some_and(|extent| self.volume(inode).shares(&extent.page) > 1);
            if skipped {
                continue;
            }
            let exists = state.extents.get(&index).is_some_and(|extent| extent.written)
                || state.entries.contains_key(&index);
            if exists {
                let page = self.own_in_place(task, inode, state, index)?;
                page.content(|content| content.fill(at, len, 0));
                if self.has(Variant::CopyNotFlushed) {
                    page.set_cached(true);
                }
            }
        }
        Ok(())
    }

    /// As `own_page`, where the layout is broken already.
    fn own_in_place(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
    ) -> Answer<Arc<crate::page::Page>> {
        use crate::fault::NotYours;
        loop {
            match self.own_page(inode, state, index) {
                Ok(page) => return Ok(page),
                Err(NotYours::Errno(errno)) => return Err(errno.into()),
                Err(NotYours::Shared) => self.copy_block(task, inode, state, index)?,
            }
        }
    }

    /// fallocate(2).
    pub fn fallocate(
        &self,
        task: &Task,
        inode: &Inode,
        mode: Mode,
        (at, len): (u64, u64),
    ) -> Answer<()> {
        let pages = touched(at, len);
        let range = (pages.start, pages.end - pages.start);
        self.operation(task, inode, OperationKind::Fallocate, range, || {
            if len == 0 {
                return Err(EINVAL.into());
            }
            let breaks = match mode {
                Mode::Allocate => false,
                Mode::Insert => !self.has(Variant::InsertWithoutBreak),
                _ => true,
            };
            let mut held = inode.hold(task)?;
            if self.looks_first && !mode.has_work(at, len, inode.state().size)? {
                return Ok(());
            }
            if breaks {
                self.break_held(task, &mut held)?;
            }
            let mut state = inode.state();
            if !mode.has_work(at, len, state.size)? {
                return Ok(());
            }
            match mode {
                Mode::Allocate => {
                    self.allocate(inode, &mut state, at, len)?;
                    self.extend(task, inode, &mut state, at + len)?;
                }
                Mode::Punch => self.punch(task, inode, &mut state, at, len)?,
                Mode::Zero => {
                    self.punch(task, inode, &mut state, at, len)?;
                    self.allocate(inode, &mut state, at, len)?;
                    self.extend(task, inode, &mut state, at + len)?;
                }
                Mode::Collapse => self.collapse(task, inode, &mut state, at, len),
                Mode::Insert => self.insert(task, inode, &mut state, at, len),
                Mode::Unshare => {
                    for index in touched(at, len) {
                        self.copy_block(task, inode, &mut state, index)?;
                    }
                    self.allocate(inode, &mut state, at, len)?;
                    self.extend(task, inode, &mut state, at + len)?;
                }
            }
            Ok(())
        })
    }

    fn allocate(&self, inode: &Inode, state: &mut InodeState, at: u64, len: u64) -> Answer<()> {
        let range = touched(at, len);
        let there = state.extents.range(range.clone()).count() as u64;
        if range.end - range.start - there > self.volume(inode).unused() {
            return Err(ENOSPC.into());
        }
        for index in range {
            if !state.extents.contains_key(&index) {
                self.fill_hole(inode, state, index, false)?;
            }
        }
        Ok(())
    }

    fn punch(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        at: u64,
        len: u64,
    ) -> Answer<()> {
        let whole = covered(at, len);
        let edges: Vec<_> =
            pieces(at, len).filter(|(index, _, _)| !whole.contains(index)).collect();
        for (index, from, len) in edges {
            self.zero_bytes(task, inode, state, index * SIZE + from, len)?;
        }
        Self::unmap(inode, &whole, false);
        self.free_range(task, inode, state, whole);
        Ok(())
    }

    fn collapse(&self, task: &Task, inode: &Inode, state: &mut InodeState, at: u64, len: u64) {
        let (first, end) = (at / SIZE, (at + len) / SIZE);
        self.forget_from(task, inode, state, first);
        self.free_range(task, inode, state, first..end);
        shift(&mut state.extents, end, |index| index - (end - first));
        state.size -= len;
    }

    fn insert(&self, task: &Task, inode: &Inode, state: &mut InodeState, at: u64, len: u64) {
        let first = at / SIZE;
        self.forget_from(task, inode, state, first);
        shift(&mut state.extents, first, |index| index + len / SIZE);
        state.size += len;
    }

    /// Forgets which page is where from `first` on, because that is about to change.
    pub(crate) fn forget_from(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        first: u64,
    ) {
        Self::unmap(inode, &(first..u64::MAX), true);
        self.write_back(task, inode, state, first..u64::MAX);
        self.remove_entries(task, inode, state, first..u64::MAX);
    }
}

fn shift(extents: &mut Extents, from: u64, to: impl Fn(u64) -> u64) {
    let moved = extents.split_off(&from);
    extents.extend(moved.into_iter().map(|(index, extent)| (to(index), extent)));
}
