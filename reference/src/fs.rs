//! The file system: what everything else is a part of.

use std::collections::BTreeSet;
use std::ops::Range;

use protocol::event::{Counting, Event, Kind, OperationKind};

use crate::device::Device;
use crate::errno::{Answer, Errno, code};
use crate::extent::{Extent, Scatter, Volume};
use crate::hold::Holds;
use crate::inode::{Inode, InodeState, Medium};
use crate::log::Log;
use crate::page::{Page, PageContent};
use crate::sync::{Arc, Leaf};
use crate::task::{Board, Task};
use crate::variant::Variant;
use crate::whole::WholeFs;

/// How a file system is to be.
#[derive(Clone, Copy, Debug)]
pub struct FsSetup {
    /// How it counts references.
    pub shape: Counting,
    /// The bug in it.
    pub variant: Option<Variant>,
    /// Whether fallocate looks at the range it is given before it breaks the layout, and breaks
    /// none for a range that it refuses or has nothing to do in. ext4 did, XFS does not.
    pub looks_first: bool,
    /// Blocks of each of its two volumes.
    pub blocks: u64,
    /// Whether they are handed out by lot.
    pub scatter: Option<Scatter>,
    /// How many pins taken after it began may hold a break up before it counts as starved.
    pub newer_pins: u32,
}

/// A file system with its device and the tasks that use it.
#[derive(Debug)]
pub struct Fs {
    /// How it counts references.
    pub shape: Counting,
    /// Its events and its clock.
    pub log: Log,
    /// Its tasks.
    pub board: Arc<Board>,
    /// Tasks that are to be held.
    pub holds: Holds,
    /// What direct I/O goes to.
    pub device: Device,
    variant: Option<Variant>,
    pub(crate) looks_first: bool,
    dax: Volume,
    cache: Volume,
    numbers: Leaf<Numbers>,
    written_back: Leaf<BTreeSet<(u64, u64)>>,
    boot_loader: Leaf<Option<Arc<Inode>>>,
    pub(crate) whole: WholeFs,
}

#[derive(Debug, Default)]
struct Numbers {
    inode: u64,
    cached: u64,
    process: u32,
    holder: i64,
}

impl Fs {
    /// An empty one.
    pub fn new(setup: &FsSetup) -> Arc<Self> {
        let board = Board::new();
        Arc::new(Self {
            shape: setup.shape,
            log: Log::new(protocol::Bounds {
                newer_pins: setup.newer_pins,
                ..protocol::Bounds::reference(setup.shape)
            }),
            holds: Holds::default(),
            device: Device::new(),
            board,
            variant: setup.variant,
            looks_first: setup.looks_first,
            dax: Volume::new(1, true, setup.shape, setup.blocks, setup.scatter),
            cache: Volume::new(2, false, setup.shape, setup.blocks, setup.scatter),
            numbers: Leaf::default(),
            written_back: Leaf::default(),
            boot_loader: Leaf::default(),
            whole: WholeFs::default(),
        })
    }

    /// Whether this bug is in it.
    pub(crate) fn has(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    /// The volume a file's blocks are on.
    pub(crate) fn volume(&self, inode: &Inode) -> &Volume {
        match inode.medium {
            Medium::Dax => &self.dax,
            Medium::PageCache => &self.cache,
        }
    }

    /// The volume whose blocks are pages.
    pub(crate) fn storage(&self) -> &Volume {
        &self.dax
    }

    /// A number for a new process.
    pub fn new_process(&self) -> u32 {
        self.numbers.with(|numbers| {
            numbers.process += 1;
            numbers.process
        })
    }

    /// A number for a new set of pins.
    pub(crate) fn new_holder(&self) -> i64 {
        self.numbers.with(|numbers| {
            numbers.holder += 1;
            numbers.holder
        })
    }

    /// An empty file.
    pub fn create(&self, medium: Medium) -> Arc<Inode> {
        let number = self.numbers.with(|numbers| {
            numbers.inode += 1;
            numbers.inode
        });
        Arc::new(Inode::new(number, medium))
    }

    /// The file without a name that keeps the boot loader; empty at first.
    pub fn boot_loader(&self) -> Arc<Inode> {
        self.boot_loader
            .with(|file| Arc::clone(file.get_or_insert_with(|| self.create(Medium::Dax))))
    }

    pub(crate) fn new_cached_page(&self) -> Page {
        const FIRST: u64 = 1 << 32;
        let number = self.numbers.with(|numbers| {
            numbers.cached += 1;
            FIRST + numbers.cached
        });
        Page::new(number, false, self.shape)
    }

    /// An event of this file system, to be completed.
    pub(crate) fn event(&self, kind: Kind) -> Event {
        Event { kind: kind as u16, device: self.dax.device, stack: -1, ..Event::default() }
    }

    /// Does an operation between its two events.
    pub(crate) fn operation<T>(
        &self,
        task: &Task,
        inode: &Inode,
        operation: OperationKind,
        (index, count): (u64, u64),
        run: impl FnOnce() -> Answer<T>,
    ) -> Answer<T> {
        let event = Event {
            inode: inode.number,
            device: self.volume(inode).device,
            detail: operation as u16,
            index,
            count,
            ..self.event(Kind::Begin)
        };
        self.log.record(task, event);
        let answer = run();
        self.log.record(task, Event { kind: Kind::End as u16, value: code(&answer), ..event });
        answer
    }

    /// Records that something that must not happen did.
    pub(crate) fn warn(&self, task: &Task, inode: &Inode) {
        self.log.record(task, Event { inode: inode.number, value: 1, ..self.event(Kind::Warning) });
    }

    /// Takes the pages of `range` out of all page tables; private copies only `with_copies`.
    pub(crate) fn unmap(inode: &Inode, range: &Range<u64>, with_copies: bool) {
        for vma in inode.vmas() {
            vma.zap(range, with_copies);
        }
    }

    /// Removes the mapping entries of `range`.
    pub(crate) fn remove_entries(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        range: Range<u64>,
    ) {
        let indices: Vec<u64> = state.entries.range(range.clone()).map(|(i, _)| *i).collect();
        for index in indices {
            let Some(page) = state.entries.remove(&index) else {
                continue;
            };
            if inode.medium == Medium::Dax {
                self.log.with(task, || {
                    let counts = page.counts();
                    let event = Event {
                        inode: inode.number,
                        page: page.number,
                        index,
                        refs: counts.refs,
                        maps: counts.maps,
                        detail: protocol::event::flag::BREAK,
                        ..self.event(Kind::Remove)
                    };
                    ((), Some(event))
                });
            }
        }
        let dirty: Vec<u64> = state.dirty.range(range).copied().collect();
        for index in dirty {
            self.mark_clean(task, inode, state, index);
        }
    }

    /// Notes that the next fsync has to see to the page.
    pub(crate) fn mark_dirty(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
    ) {
        if state.dirty.insert(index) {
            self.say_page(task, inode, index, Kind::Dirty);
        }
    }

    /// Notes that it was seen to.
    pub(crate) fn mark_clean(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
    ) {
        if state.dirty.remove(&index) {
            self.say_page(task, inode, index, Kind::Clean);
        }
    }

    /// Notes that a page's content is on the medium.
    pub(crate) fn note_written_back(&self, inode: &Inode, index: u64) {
        if inode.medium == Medium::Dax {
            self.written_back.with(|pages| pages.insert((inode.number, index)));
        }
    }

    /// The DAX pages that were written back since this was last asked: inode and index.
    pub fn take_written_back(&self) -> BTreeSet<(u64, u64)> {
        self.written_back.with(std::mem::take)
    }

    fn say_page(&self, task: &Task, inode: &Inode, index: u64, kind: Kind) {
        self.log.record(
            task,
            Event {
                inode: inode.number,
                index,
                device: self.volume(inode).device,
                ..self.event(kind)
            },
        );
    }

    /// Drops a file's use of a block, and frees it if it was the last.
    pub(crate) fn drop_block(&self, task: &Task, inode: &Inode, page: &Page) {
        let volume = self.volume(inode);
        if !volume.unshare(page) {
            return;
        }
        self.log.with(task, || {
            volume.free(page);
            let counts = page.counts();
            let event = page.is_storage.then(|| Event {
                inode: inode.number,
                page: page.number,
                count: 1,
                refs: counts.refs,
                maps: counts.maps,
                ..self.event(Kind::Free)
            });
            ((), event)
        });
    }

    /// Gives the blocks of `range` away. The caller has broken the layout.
    pub(crate) fn free_range(
        &self,
        task: &Task,
        inode: &Inode,
        state: &mut InodeState,
        range: Range<u64>,
    ) {
        self.remove_entries(task, inode, state, range.clone());
        let indices: Vec<u64> = state.extents.range(range).map(|(i, _)| *i).collect();
        let mut last = None;
        // From the end, so that the block handed out next is the first of them.
        for index in indices.into_iter().rev() {
            if let Some(extent) = state.extents.remove(&index) {
                last = last.max(Some(extent.page.number));
                self.drop_block(task, inode, &extent.page);
            }
        }
        if let Some(last) = last.filter(|_| self.has(Variant::FreesNext)) {
            self.volume(inode).free_next(last);
        }
    }

    /// Gives the hole at `index` a block.
    pub(crate) fn fill_hole(
        &self,
        inode: &Inode,
        state: &mut InodeState,
        index: u64,
        written: bool,
    ) -> Result<(), Errno> {
        let page = self.volume(inode).allocate()?;
        // Linux commit 708dfad2eb41 ("fsdax: zero the edges if source is HOLE or UNWRITTEN"), in v6.2,
        // repaired a case of this.
        if written && !self.has(Variant::NewBlockNotZeroed) {
            page.content(|content| *content = PageContent::Filled(0));
        }
        state.extents.insert(index, Extent { page, written });
        Ok(())
    }

    /// The page of the DAX volume with this number, if it was ever used.
    pub fn page(&self, number: u64) -> Option<Arc<Page>> {
        self.dax.page(number)
    }

    /// Records what the pages look like that sleeping breaks wait for.
    pub fn sample(&self) {
        for (task, number) in self.board.awaited() {
            if let Some(page) = self.page(number) {
                let counts = page.counts();
                self.log.record(
                    &self.board.task(task),
                    Event {
                        page: number,
                        refs: counts.refs,
                        maps: counts.maps,
                        ..self.event(Kind::Sample)
                    },
                );
            }
        }
    }
}
