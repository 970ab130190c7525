//! Page faults, and copy-on-write.

use protocol::HoldPoint;
use protocol::event::OperationKind;

use crate::errno::{Answer, EFAULT, Errno};
use crate::fs::Fs;
use crate::inode::{Inode, InodeState, Locked, Medium};
use crate::mm::{Anon, Mm, Pte, Sharing, Vma};
use crate::page::{Page, PageContent, SIZE};
use crate::sync::Arc;
use crate::task::{Interruptible, Task};
use crate::variant::Variant;

/// Why a block cannot be stored to at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotYours {
    /// Another file uses it too.
    Shared,
    /// It could not be allocated.
    Errno(Errno),
}

impl Fs {
    /// Makes page `at` of the mapping accessible.
    pub fn fault(&self, task: &Task, mm: &Mm, vma: &Arc<Vma>, at: u64, write: bool) -> Answer<()> {
        let inode = &vma.inode;
        let index = vma.first + at;
        let fault = || {
            loop {
                let mmap = mm.lock.read(task)?;
                // Linux commit ea3d7209ca01 ("ext4: fix races between page faults and hole punching"):
                // before it there was no such lock.
                let invalidate = if self.has(Variant::FaultUnlocked) {
                    None
                } else {
                    Some(inode.invalidate.read(task)?)
                };
                if vma.is_dead() || self.is_down(inode) {
                    return Err(EFAULT.into());
                }
                self.pass(task, HoldPoint::FaultEntered)?;
                // Both in one step here.
                self.pass(task, HoldPoint::PageFound)?;
                match self.enter(task, vma, at, write) {
                    Ok(()) => return Ok(()),
                    Err(NotYours::Errno(errno)) => return Err(errno.into()),
                    Err(NotYours::Shared) => {}
                }
                // The break needs the invalidate lock exclusively and may sleep: both locks go,
                // and the fault begins anew.
                drop(invalidate);
                drop(mmap);
                let mut held = [Locked {
                    inode,
                    lock: None,
                    invalidate: Some(inode.invalidate.write(task)?),
                    range: index..index + 1,
                }];
                if !self.has(Variant::NoBreakOnCowFault) {
                    self.break_layouts(task, &mut held, Interruptible::Kill)?;
                }
                self.copy_block(task, inode, &mut inode.state(), index)?;
                drop(held);
                self.pass(task, HoldPoint::CopyWritten)?;
            }
        };
        let changes = write && vma.sharing != Sharing::Private;
        self.operation(task, inode, OperationKind::Fault, (index, 1), || {
            if changes { self.thawed(task, inode, fault) } else { fault() }
        })
    }

    /// Enters the page in the page table. The caller holds the invalidate lock.
    fn enter(&self, task: &Task, vma: &Vma, at: u64, write: bool) -> Result<(), NotYours> {
        let inode = &*vma.inode;
        let index = vma.first + at;
        let mut state = inode.state();
        if index >= state.size.div_ceil(SIZE) {
            return Err(NotYours::Errno(EFAULT));
        }
        let copies = vma.sharing == Sharing::Private && write;
        if copies {
            let mut table = vma.table();
            let content = match table.get(&at) {
                Some(Pte::Anon(anon)) if anon.is_sole() => return Ok(()),
                Some(Pte::Anon(anon)) => anon.content(|content| content.clone()),
                _ => Self::content_of(&state, index),
            };
            vma.set(&mut table, at, Pte::Anon(Anon::new(content)));
            return Ok(());
        }
        let page = if write {
            Some(self.own_page(inode, &mut state, index)?)
        } else if inode.medium == Medium::PageCache {
            Some(self.cached_page(&mut state, index))
        } else {
            state
                .extents
                .get(&index)
                .filter(|extent| extent.written)
                .map(|extent| Arc::clone(&extent.page))
        };
        if let Some(page) = &page {
            state.entries.insert(index, Arc::clone(page));
        }
        if write {
            self.mark_dirty(task, inode, &mut state, index);
        }
        let mut table = vma.table();
        let pte = match (page, table.get(&at)) {
            // Somebody else's fault was faster.
            (_, Some(Pte::Anon(_))) => return Ok(()),
            (Some(_), Some(Pte::File { .. })) if !write => return Ok(()),
            (Some(page), _) => Pte::File { page, writable: write },
            (None, _) => Pte::Zero,
        };
        vma.set(&mut table, at, pte);
        Ok(())
    }

    /// The page behind `index`, allocated, written and used by no other file, so that it may be
    /// stored to.
    pub(crate) fn own_page(
        &self,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
    ) -> Result<Arc<Page>, NotYours> {
        let volume = self.volume(inode);
        match state.extents.get_mut(&index) {
            Some(extent) if volume.shares(&extent.page) > 1 => return Err(NotYours::Shared),
            Some(extent) => {
                if !extent.written {
                    extent.written = true;
                    if !self.has(Variant::NewBlockNotZeroed) {
                        extent.page.content(|content| *content = PageContent::Filled(0));
                    }
                    self.unmap_zero(inode, index);
                }
            }
            None => {
                self.fill_hole(inode, state, index, true).map_err(NotYours::Errno)?;
                self.unmap_zero(inode, index);
            }
        }
        Ok(match inode.medium {
            Medium::Dax => Arc::clone(&state.extents[&index].page),
            Medium::PageCache => self.cached_page(state, index),
        })
    }

    /// Who mapped the hole's zeros must fault again to see what came into it.
    fn unmap_zero(&self, inode: &Inode, index: u64) {
        // The variant is what ext4 does to a short unwritten extent: `zeros-stay-mapped`. Linux
        // commit e3fce68cdbed ("dax: Avoid page invalidation races and unnecessary radix tree
        // traversals") closed a race with the same outcome.
        if inode.medium == Medium::Dax && !self.has(Variant::StaleZeroPage) {
            Self::unmap(inode, &(index..index + 1), false);
        }
    }

    /// The content that a reader of `index` gets.
    pub(crate) fn content_of(state: &InodeState, index: u64) -> PageContent {
        if let Some(page) = state.entries.get(&index) {
            return page.content(|content| content.clone());
        }
        match state.extents.get(&index) {
            Some(extent) if extent.written => extent.page.content(|content| content.clone()),
            _ => PageContent::Filled(0),
        }
    }

    /// The cached page of `index`, read in if need be.
    pub(crate) fn cached_page(&self, state: &mut InodeState, index: u64) -> Arc<Page> {
        if let Some(page) = state.entries.get(&index) {
            return Arc::clone(page);
        }
        let content = Self::content_of(state, index);
        let page = Arc::new(self.new_cached_page());
        page.content(|mine| *mine = content);
        state.entries.insert(index, Arc::clone(&page));
        page
    }

    /// Gives the file a block of its own in place of the shared one. The caller has broken the
    /// layout, or holds the inode lock over a file that is not mapped.
    pub(crate) fn copy_block(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
    ) -> Answer<()> {
        let volume = self.volume(inode);
        let Some(extent) = state.extents.get(&index).cloned() else {
            return Ok(());
        };
        if volume.shares(&extent.page) == 1 {
            return Ok(());
        }
        let new = volume.allocate()?;
        new.copy_from(&extent.page);
        new.set_cached(self.has(Variant::CopyNotFlushed));
        // Linux commit f80e1668888f ("fsdax: invalidate pages when CoW"), in v6.2: write(2) had
        // left the old page mapped.
        if !self.has(Variant::StaleMappingAfterCow) {
            Self::unmap(inode, &(index..index + 1), false);
        }
        self.remove_entries(task, inode, state, index..index + 1);
        if let Some(extent) = state.extents.get_mut(&index) {
            extent.page = new;
        }
        self.drop_block(task, inode, &extent.page);
        Ok(())
    }
}
