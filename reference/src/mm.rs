//! Address spaces: mappings of files and the page tables behind them.

use std::collections::BTreeMap;

use protocol::event::Counting;
use serde::{Deserialize, Serialize};

use crate::errno::{Answer, EFAULT, Errno};
use crate::inode::{Inode, Medium};
use crate::page::{Page, PageContent};
use crate::rwsem::Rwsem;
use crate::sync::{Arc, Flag, Leaf, Mutex, MutexGuard, lock};

/// How a mapping relates to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    /// `MAP_SHARED`: stores go to the file.
    Shared,
    /// `MAP_PRIVATE`: stores go to a copy.
    Private,
    /// `MAP_SHARED_VALIDATE | MAP_SYNC`. Here the same as `Shared`.
    Sync,
}

/// A process's own copy of a page, shared with what it forked until one of them stores.
#[derive(Debug)]
pub struct Anon {
    content: Leaf<PageContent>,
    owners: Leaf<u32>,
}

impl Anon {
    pub(crate) fn new(content: PageContent) -> Arc<Self> {
        Arc::new(Self { content: Leaf::new(content), owners: Leaf::new(1) })
    }

    /// Does something with the content.
    pub fn content<R>(&self, f: impl FnOnce(&mut PageContent) -> R) -> R {
        self.content.with(f)
    }

    /// Whether a store needs no copy.
    pub(crate) fn is_sole(&self) -> bool {
        self.owners.with(|owners| *owners == 1)
    }
}

/// What a page table says about one page.
#[derive(Clone, Debug)]
pub enum Pte {
    /// The file's page.
    File {
        /// Which.
        page: Arc<Page>,
        /// Whether stores go through without a fault.
        writable: bool,
    },
    /// The zero page, for a hole.
    Zero,
    /// A private copy.
    Anon(Arc<Anon>),
}

/// A mapping of a file, with its part of the page table.
#[derive(Debug)]
pub struct Vma {
    /// The file.
    pub inode: Arc<Inode>,
    /// The file's page at the mapping's start.
    pub first: u64,
    /// Pages.
    pub count: u64,
    /// How.
    pub sharing: Sharing,
    shape: Counting,
    /// By page of the mapping. The lock is the page-table lock; and because a fast pin holds it
    /// from its look at the entry to its reference, whoever removed an entry knows that no
    /// fast pin is still under way with what it saw before. In the kernel the same follows
    /// from the fast path running with interrupts off, which holds up the flush of the TLB.
    table: Mutex<BTreeMap<u64, Pte>>,
    /// Raised by munmap: what still knows the mapping must not fault it in again.
    dead: Flag,
}

impl Vma {
    /// Whether its pages are storage.
    pub fn is_dax(&self) -> bool {
        self.inode.medium == Medium::Dax
    }

    /// Whether it was unmapped.
    pub fn is_dead(&self) -> bool {
        self.dead.is_raised()
    }

    /// Its page table, locked.
    pub fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Pte>> {
        lock(&self.table)
    }

    /// Whether `index` of the file is mapped here, and as which page of the mapping.
    pub fn page_of(&self, index: u64) -> Option<u64> {
        let at = index.checked_sub(self.first)?;
        (at < self.count).then_some(at)
    }

    /// Enters `pte`, replacing what was there.
    pub(crate) fn set(&self, table: &mut BTreeMap<u64, Pte>, at: u64, pte: Pte) {
        if let Pte::File { page, .. } = &pte {
            page.map(self.shape, 1);
        }
        if let Some(old) = table.insert(at, pte) {
            self.forget(old);
        }
    }

    fn forget(&self, pte: Pte) {
        match pte {
            Pte::File { page, .. } => page.map(self.shape, -1),
            Pte::Anon(anon) => anon.owners.with(|owners| *owners -= 1),
            Pte::Zero => {}
        }
    }

    /// Removes the entries of the file's pages in `range`; private copies only `with_copies`.
    pub(crate) fn zap(&self, range: &std::ops::Range<u64>, with_copies: bool) {
        let mut table = self.table();
        let from = range.start.saturating_sub(self.first);
        let to = range.end.saturating_sub(self.first);
        let gone: Vec<u64> = table
            .range(from..to.max(from))
            .filter(|(_, pte)| with_copies || !matches!(pte, Pte::Anon(_)))
            .map(|(at, _)| *at)
            .collect();
        for at in gone {
            if let Some(pte) = table.remove(&at) {
                self.forget(pte);
            }
        }
    }

    /// Makes the entry of the file's page `index` fault on the next store.
    pub(crate) fn write_protect(&self, index: u64) {
        if let Some(at) = self.page_of(index)
            && let Some(Pte::File { writable, .. }) = self.table().get_mut(&at)
        {
            *writable = false;
        }
    }
}

/// An address space.
#[derive(Debug)]
pub struct Mm {
    /// `mmap_lock`: shared by faults, exclusive to mmap and munmap. Taken before the
    /// invalidate lock.
    pub lock: Rwsem,
    vmas: Mutex<BTreeMap<u32, Arc<Vma>>>,
    shape: Counting,
}

impl Mm {
    /// An empty one.
    pub fn new(shape: Counting) -> Self {
        Self { lock: Rwsem::new("mmap_lock"), vmas: Mutex::new(BTreeMap::new()), shape }
    }

    /// The mapping called `name`.
    pub fn find(&self, name: u32) -> Answer<Arc<Vma>> {
        Ok(lock(&self.vmas).get(&name).cloned().ok_or(EFAULT)?)
    }

    pub(crate) fn insert(
        &self,
        name: u32,
        inode: &Arc<Inode>,
        range: std::ops::Range<u64>,
        sharing: Sharing,
    ) -> Arc<Vma> {
        let vma = Arc::new(Vma {
            inode: Arc::clone(inode),
            first: range.start,
            count: range.end - range.start,
            sharing,
            shape: self.shape,
            table: Mutex::new(BTreeMap::new()),
            dead: Flag::default(),
        });
        inode.state().users += 1;
        inode.add_vma(&vma);
        lock(&self.vmas).insert(name, Arc::clone(&vma));
        vma
    }

    /// Takes the mapping out of the address space and its entries out of the page table.
    pub(crate) fn remove(&self, name: u32) -> Result<Arc<Vma>, Errno> {
        let vma = lock(&self.vmas).remove(&name).ok_or(EFAULT)?;
        vma.dead.raise();
        vma.inode.remove_vma(&vma);
        vma.zap(&(0..u64::MAX), true);
        Ok(vma)
    }

    /// The names of all mappings.
    pub fn names(&self) -> Vec<u32> {
        lock(&self.vmas).keys().copied().collect()
    }

    /// A copy for a new process. Private copies are shared until one side stores.
    pub(crate) fn fork(&self) -> Self {
        let new = Self::new(self.shape);
        for (name, vma) in &*lock(&self.vmas) {
            let copy = new.insert(*name, &vma.inode, vma.first..vma.first + vma.count, vma.sharing);
            let theirs = vma.table();
            let mut ours = copy.table();
            for (at, pte) in &*theirs {
                // Entries of the file come back by faults; copies would not.
                if let Pte::Anon(anon) = pte {
                    anon.owners.with(|owners| *owners += 1);
                    ours.insert(*at, pte.clone());
                }
            }
        }
        new
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_with_the_last_address_space_that_maps_it() {
        let inode = Arc::new(Inode::new(1, Medium::Dax));
        let mm = Mm::new(Counting::IdleAtZero);
        drop(mm.insert(1, &inode, 0..4, Sharing::Shared));
        let forked = mm.fork();
        assert_eq!(inode.vmas().len(), 2);
        let file = Arc::downgrade(&inode);
        drop((inode, mm));
        assert_eq!(file.upgrade().expect("the child maps it").vmas().len(), 1);
        drop(forked);
        assert!(file.upgrade().is_none(), "what maps it and the file keep each other");
    }
}
