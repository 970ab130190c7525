//! A file: its two locks, its blocks, its mapping entries, and who maps it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::errno::Answer;
use crate::extent::Extents;
use crate::mm::Vma;
use crate::page::{Page, SIZE};
use crate::rwsem::{Exclusive, Rwsem};
use crate::sync::{Arc, Mutex, MutexGuard, Weak, lock};
use crate::task::Task;

/// Whether a file's pages are the storage itself or a cache of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Medium {
    /// The pages are the blocks.
    Dax,
    /// The pages are copies.
    PageCache,
}

/// A file.
#[derive(Debug)]
pub struct Inode {
    /// Its number; never 0.
    pub number: u64,
    /// Where its pages are.
    pub medium: Medium,
    /// `i_rwsem`; XFS calls it IOLOCK. Taken before `invalidate`.
    pub lock: Rwsem,
    /// The invalidate lock; XFS calls it MMAPLOCK. Faults take it shared.
    pub invalidate: Rwsem,
    state: Mutex<InodeState>,
    /// Who maps it (`i_mmap`). A mapping holds its file, as in the kernel, and not the other way
    /// round: the address space it is in is what keeps it.
    vmas: Mutex<Vec<Weak<Vma>>>,
}

/// What `Inode::state` protects (XFS: ILOCK and the XArray's lock).
#[derive(Debug)]
pub struct InodeState {
    /// Bytes.
    pub size: u64,
    /// Names.
    pub links: u32,
    /// Descriptors, mappings and operations under way.
    pub users: u32,
    /// Blocks.
    pub extents: Extents,
    /// Mapping entries (DAX), or cached pages.
    pub entries: BTreeMap<u64, Arc<Page>>,
    /// Entries that fsync has to see to.
    pub dirty: BTreeSet<u64>,
}

impl Inode {
    /// An empty file with one name and one user.
    pub fn new(number: u64, medium: Medium) -> Self {
        Self {
            number,
            medium,
            lock: Rwsem::new("i_rwsem"),
            invalidate: Rwsem::new("invalidate_lock"),
            state: Mutex::new(InodeState {
                size: 0,
                links: 1,
                users: 1,
                extents: Extents::new(),
                entries: BTreeMap::new(),
                dirty: BTreeSet::new(),
            }),
            vmas: Mutex::new(Vec::new()),
        }
    }

    /// The state, locked. Nothing that sleeps may be done while it is.
    pub fn state(&self) -> MutexGuard<'_, InodeState> {
        lock(&self.state)
    }

    /// Who maps it, at this moment.
    pub fn vmas(&self) -> Vec<Arc<Vma>> {
        lock(&self.vmas).iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn add_vma(&self, vma: &Arc<Vma>) {
        lock(&self.vmas).push(Arc::downgrade(vma));
    }

    pub(crate) fn remove_vma(&self, vma: &Arc<Vma>) {
        lock(&self.vmas).retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(vma)));
    }

    /// Takes both locks, in their order, for an operation that breaks the layout.
    pub fn hold(&self, task: &Task) -> Answer<Locked<'_>> {
        let lock = self.lock.write(task)?;
        let invalidate = self.invalidate.write(task)?;
        Ok(Locked {
            inode: self,
            lock: Some(lock),
            invalidate: Some(invalidate),
            range: 0..u64::MAX,
        })
    }
}

/// A file with those of its locks that the holder has exclusively.
///
/// A break takes this and not the file: it learns what it may drop from what it is given.
#[derive(Debug)]
pub struct Locked<'a> {
    /// The file.
    pub inode: &'a Inode,
    /// Its inode lock, if held.
    pub lock: Option<Exclusive<'a>>,
    /// Its invalidate lock, if held.
    pub invalidate: Option<Exclusive<'a>>,
    /// The pages whose layout a break is to break; empty if the file is only held.
    pub range: Range<u64>,
}

/// The pages that contain any of `len` bytes from `at`.
pub(crate) fn touched(at: u64, len: u64) -> Range<u64> {
    at / SIZE..at.saturating_add(len).div_ceil(SIZE)
}

/// The pages that lie wholly within `len` bytes from `at`.
pub(crate) fn covered(at: u64, len: u64) -> Range<u64> {
    let first = at.div_ceil(SIZE);
    first..first.max(at.saturating_add(len) / SIZE)
}

/// `len` bytes from `at`, cut at page borders: index, offset within the page, bytes.
pub(crate) fn pieces(at: u64, len: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    touched(at, len).map(move |index| {
        let from = at.max(index * SIZE);
        let to = (at + len).min((index + 1) * SIZE);
        (index, from - index * SIZE, to - from)
    })
}
