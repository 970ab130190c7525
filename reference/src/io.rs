//! Reading and writing: by system call, through a mapping, and as direct I/O between the two.

use protocol::HoldPoint;
use protocol::event::OperationKind;

use crate::device::Direction;
use crate::errno::{Answer, EFAULT, EIO};
use crate::fault::NotYours;
use crate::fs::Fs;
use crate::inode::{Inode, InodeState, Locked, Medium, pieces, touched};
use crate::mm::{Mm, Pte, Sharing, Vma};
use crate::page::{PageContent, SIZE};
use crate::pins::{Dropper, Pins};
use crate::sync::Arc;
use crate::task::{Interruptible, Task};
use crate::variant::Variant;

/// What a file has been asked for: allocated and, as far as is known, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Blocks.
    pub allocated: u64,
    /// Names.
    pub links: u64,
    /// The inode's number.
    pub inode: u64,
}

impl Fs {
    /// The device's own task, until the run is over.
    ///
    /// It completes the older half of what is in flight at a time, so that a load that keeps
    /// it busy always has something in flight.
    pub fn serve_device(&self, task: &Task) -> Answer<()> {
        loop {
            for transfer in self.device.batch(task)? {
                let content =
                    self.transfer(task, &transfer.pins, transfer.direction, transfer.byte);
                self.unpin(task, &transfer.pins, Dropper::Device);
                transfer.ring.finish(transfer.tag, content);
            }
        }
    }

    /// read(2).
    pub fn read(&self, task: &Task, inode: &Inode, at: u64, len: u64) -> Answer<Vec<u8>> {
        let pages = touched(at, len);
        let range = (pages.start, pages.end - pages.start);
        self.operation(task, inode, OperationKind::Read, range, || {
            let _lock = inode.lock.read(task)?;
            self.pass(task, HoldPoint::BlockFound)?;
            Self::readable(inode, at, len)?;
            Ok(Self::read_held(inode, at, len))
        })
    }

    /// The blocks of these pages cannot be read, until somebody writes all of one.
    pub fn spoil(inode: &Inode, at: u64, len: u64) {
        let state = inode.state();
        for extent in touched(at, len).filter_map(|index| state.extents.get(&index)) {
            extent.page.set_bad(true);
        }
    }

    /// Fails if one of these pages cannot be read.
    pub(crate) fn readable(inode: &Inode, at: u64, len: u64) -> Answer<()> {
        let state = inode.state();
        let bad = |index| state.extents.get(&index).is_some_and(|extent| extent.page.is_bad());
        if touched(at, len).any(bad) { Err(EIO.into()) } else { Ok(()) }
    }

    /// What a read of up to `len` bytes from the file's beginning would show now. Nothing tells of
    /// it, and no lock is taken but that of the file's state.
    pub fn shown(inode: &Inode, len: u64) -> Vec<u8> {
        Self::read_held(inode, 0, len)
    }

    fn read_held(inode: &Inode, at: u64, len: u64) -> Vec<u8> {
        let state = inode.state();
        let len = len.min(state.size.saturating_sub(at));
        let mut bytes = vec![0; len as usize];
        let mut rest = bytes.as_mut_slice();
        for (index, at, len) in pieces(at, len) {
            let (here, behind) = rest.split_at_mut(len as usize);
            Self::content_of(&state, index).read(at, here);
            rest = behind;
        }
        bytes
    }

    /// write(2).
    pub fn write(&self, task: &Task, inode: &Inode, at: u64, bytes: &[u8]) -> Answer<()> {
        let pages = touched(at, bytes.len() as u64);
        let range = (pages.start, pages.end - pages.start);
        self.operation(task, inode, OperationKind::Write, range, || {
            let mut held = Locked {
                inode,
                lock: Some(inode.lock.write(task)?),
                invalidate: None,
                range: 0..0,
            };
            self.zero_behind_end(task, &mut held, at)?;
            self.prepare_write(task, &mut held, at, bytes.len() as u64)?;
            self.write_held(task, &mut held, at, bytes)
        })
    }

    /// Zeroes what lies behind the end of a file in its last page, up to `to`, where it is about to
    /// go on: a mapping may have stored there.
    fn zero_behind_end(&self, task: &Task, held: &mut Locked<'_>, to: u64) -> Answer<()> {
        let size = held.inode.state().size;
        let len = size.next_multiple_of(SIZE).min(to).saturating_sub(size);
        // The variant is what ext4 does: `shows-behind-end`.
        if len == 0 || self.has(Variant::ShowsBehindEnd) {
            return Ok(());
        }
        self.prepare_write(task, held, size, len)?;
        self.zero_bytes(task, held.inode, &mut held.inode.state(), size, len)
    }

    /// Sees to it that bytes can be stored in place: what is shared is copied, after its layout
    /// was broken. The inode lock is held; the invalidate lock is taken where it is needed.
    fn prepare_write(&self, task: &Task, held: &mut Locked<'_>, at: u64, len: u64) -> Answer<()> {
        let inode = held.inode;
        let volume = self.volume(inode);
        // Of what is written in part the rest is to be read.
        for (index, at, len) in pieces(at, len).filter(|(_, _, len)| *len < SIZE) {
            Self::readable(inode, index * SIZE + at, len)?;
        }
        for index in touched(at, len) {
            let shared = inode
                .state()
                .extents
                .get(&index)
                .is_some_and(|extent| volume.shares(&extent.page) > 1);
            if !shared {
                continue;
            }
            held.invalidate = Some(inode.invalidate.write(task)?);
            held.range = index..index + 1;
            // The variants are what XFS does: `cow-takes-pinned`.
            let breaks =
                !self.has(Variant::NoBreakOnCowWrite) && !self.has(Variant::StaleMappingAfterCow);
            let broken = if breaks {
                self.break_layouts(task, std::slice::from_mut(held), Interruptible::Signal)
            } else {
                Ok(())
            };
            let copied =
                broken.and_then(|()| self.copy_block(task, inode, &mut inode.state(), index));
            held.invalidate = None;
            held.range = 0..0;
            copied?;
            self.pass(task, HoldPoint::CopyWritten)?;
        }
        Ok(())
    }

    fn write_held(&self, task: &Task, held: &mut Locked<'_>, at: u64, bytes: &[u8]) -> Answer<()> {
        let inode = held.inode;
        let len = bytes.len() as u64;
        let mut rest = bytes;
        for (index, at, len) in pieces(at, len) {
            let (here, behind) = rest.split_at(len as usize);
            // The block is looked up once more afterwards: a store may have moved the page.
            self.pass(task, HoldPoint::BlockFound)?;
            loop {
                let mut state = inode.state();
                let is_new = inode.medium == Medium::Dax
                    && state.extents.get(&index).is_none_or(|extent| !extent.written);
                match self.own_page(inode, &mut state, index) {
                    Ok(page) => {
                        if is_new {
                            drop(state);
                            self.pass(task, HoldPoint::WriteAllocated)?;
                            state = inode.state();
                        }
                        if len == SIZE {
                            page.set_bad(false);
                        } else if page.is_bad() {
                            return Err(EIO.into());
                        }
                        page.content(|content| content.write(at, here));
                        if inode.medium == Medium::PageCache {
                            self.mark_dirty(task, inode, &mut state, index);
                        } else if len < SIZE && self.has(Variant::PartWriteForgetsDirty) {
                            // What XFS does where copy-on-write has a block at hand.
                            self.mark_clean(task, inode, &mut state, index);
                        }
                        break;
                    }
                    Err(NotYours::Errno(errno)) => return Err(errno.into()),
                    Err(NotYours::Shared) => {}
                }
                drop(state);
                self.prepare_write(task, held, index * SIZE, SIZE)?;
            }
            rest = behind;
        }
        let mut state = inode.state();
        state.size = state.size.max(at + len);
        if self.has(Variant::WriteSpills) && len > 0 {
            self.spill(inode, &state, (at + len - 1) / SIZE, bytes[bytes.len() - 1]);
        }
        Ok(())
    }

    /// What a write goes on with behind the block of its last page. XFS does so where a device below
    /// it is striped: cow-spills in expected/known.toml.
    fn spill(&self, inode: &Inode, state: &InodeState, last: u64, byte: u8) {
        const SECTOR: u64 = 512;
        let block = state.extents.get(&last).map(|extent| extent.page.number);
        if let Some(next) = block.and_then(|block| self.volume(inode).page(block + 1)) {
            next.content(|content| content.fill(0, SECTOR, byte));
        }
    }

    /// fstat(2).
    pub fn stat(&self, task: &Task, inode: &Inode) -> Answer<Stat> {
        self.operation(task, inode, OperationKind::Stat, (0, 0), || {
            let state = inode.state();
            Ok(Stat {
                size: state.size,
                allocated: state.extents.len() as u64,
                links: u64::from(state.links),
                inode: inode.number,
            })
        })
    }

    /// The block behind each page, 0 for a hole.
    pub fn blocks(inode: &Inode, at: u64, len: u64) -> Vec<u64> {
        let state = inode.state();
        touched(at, len)
            .map(|index| state.extents.get(&index).map_or(0, |extent| extent.page.number))
            .collect()
    }

    /// The pages whose block has what a power failure loses, although nobody stored to it.
    pub fn not_flushed(inode: &Inode, at: u64, len: u64) -> Vec<u64> {
        let state = inode.state();
        let is_cached =
            |index: &u64| state.extents.get(index).is_some_and(|extent| extent.page.is_cached());
        touched(at, len).filter(is_cached).collect()
    }

    /// Whether the block at `place` of the file's volume is free.
    pub fn is_free(&self, inode: &Inode, place: u64) -> bool {
        self.volume(inode).is_free(place)
    }

    /// The same of the volume whose blocks are pages.
    pub fn is_free_storage(&self, place: u64) -> bool {
        self.storage().is_free(place)
    }

    /// Accesses each page of a mapping's bytes as the processor does, faulting as often as it
    /// takes; how often that was.
    fn access(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        (at, len): (u64, u64),
        write: bool,
        mut each: impl FnMut(u64, u64, &mut PageContent),
    ) -> Answer<u64> {
        let mut faults = 0;
        for (page, at, len) in pieces(at, len) {
            loop {
                if page >= vma.count || vma.is_dead() {
                    return Err(EFAULT.into());
                }
                {
                    let table = vma.table();
                    let done = match table.get(&page) {
                        Some(Pte::File { page: file, writable }) if *writable || !write => {
                            file.content(|content| each(at, len, content));
                            true
                        }
                        Some(Pte::Anon(anon)) if !write || anon.is_sole() => {
                            anon.content(|content| each(at, len, content));
                            true
                        }
                        Some(Pte::Zero) if !write => {
                            each(at, len, &mut PageContent::Filled(0));
                            true
                        }
                        _ => false,
                    };
                    if done {
                        break;
                    }
                }
                Self::readable(&vma.inode, (vma.first + page) * SIZE, SIZE).map_err(|_| EFAULT)?;
                self.fault(task, mm, vma, page, write)?;
                faults += 1;
            }
        }
        Ok(faults)
    }

    /// Reads a byte of each page; the faults it took.
    pub fn touch(&self, task: &Task, mm: &Mm, vma: &Arc<Vma>, span: (u64, u64)) -> Answer<u64> {
        self.access(task, mm, vma, span, false, |_, _, _| {})
    }

    /// Fills bytes; the faults it took.
    pub fn store(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        span: (u64, u64),
        byte: u8,
    ) -> Answer<u64> {
        self.access(task, mm, vma, span, true, |at, len, content| {
            content.fill(at, len, byte);
        })
    }

    /// Reads bytes.
    pub fn load(&self, task: &Task, mm: &Mm, vma: &Arc<Vma>, span: (u64, u64)) -> Answer<Vec<u8>> {
        let mut bytes = Vec::with_capacity(span.1 as usize);
        self.access(task, mm, vma, span, false, |at, len, content| {
            let from = bytes.len();
            bytes.resize(from + len as usize, 0);
            content.read(at, &mut bytes[from..]);
        })?;
        Ok(bytes)
    }

    /// mmap(2) of a file's pages.
    pub fn map(
        &self,
        task: &Task,
        mm: &Mm,
        name: u32,
        inode: &Arc<Inode>,
        pages: std::ops::Range<u64>,
        sharing: Sharing,
    ) -> Answer<()> {
        let range = (pages.start, pages.end - pages.start);
        self.operation(task, inode, OperationKind::Map, range, || {
            let _lock = mm.lock.write(task)?;
            // As `hugetlbfs_file_mmap` does (Linux fs/hugetlbfs/inode.c).
            let takes_lock = self.has(Variant::MapTakesInodeLock);
            let _inode_lock = takes_lock.then(|| inode.lock.write(task)).transpose()?;
            mm.insert(name, inode, pages, sharing);
            Ok(())
        })
    }

    /// munmap(2).
    pub fn unmap_all_of(&self, task: &Task, mm: &Mm, name: u32) -> Answer<()> {
        let vma = mm.find(name)?;
        let inode = Arc::clone(&vma.inode);
        let range = (vma.first, vma.count);
        self.operation(task, &inode, OperationKind::Unmap, range, || {
            let lock = mm.lock.write(task)?;
            mm.remove(name)?;
            drop(lock);
            self.put(task, &inode)
        })
    }

    /// Direct I/O between a file and a mapping, which may be one of the same file.
    ///
    /// The inode lock is held from before the pages are pinned until they are let go. So whoever
    /// holds that lock exclusively knows that no new pins come from here; and the blocks to be
    /// written are made ready first, because breaking their layout could mean to wait for a pin
    /// of one's own.
    pub fn direct_io(
        &self,
        task: &Task,
        inode: &Inode,
        at: u64,
        (mm, vma): (&Mm, &Arc<Vma>),
        buffer: (u64, u64),
        direction: Direction,
    ) -> Answer<u64> {
        let len = buffer.1;
        let pages = touched(at, len);
        let range = (pages.start, pages.end - pages.start);
        match direction {
            Direction::FromMemory => {
                self.operation(task, inode, OperationKind::Write, range, || {
                    let mut held = Locked {
                        inode,
                        lock: Some(inode.lock.write(task)?),
                        invalidate: None,
                        range: 0..0,
                    };
                    self.zero_behind_end(task, &mut held, at)?;
                    self.prepare_write(task, &mut held, at, len)?;
                    let pins = self.pin_buffer(task, inode, (mm, vma), buffer, false)?;
                    let written = self
                        .break_under_pin(task, &mut held, &pages)
                        .and_then(|()| self.write_held(task, &mut held, at, &pins.read()));
                    self.unpin(task, &pins, Dropper::Process);
                    written.map(|()| pins.len)
                })
            }
            Direction::IntoMemory => {
                self.operation(task, inode, OperationKind::Read, range, || {
                    let _lock = inode.lock.read(task)?;
                    Self::readable(inode, at, len)?;
                    let pins = self.pin_buffer(task, inode, (mm, vma), buffer, true)?;
                    let bytes = Self::read_held(inode, at, len);
                    pins.write(&bytes);
                    self.dirty_pinned(task, &pins);
                    self.unpin(task, &pins, Dropper::Process);
                    Ok(bytes.len() as u64)
                })
            }
        }
    }

    /// Pins the buffer of direct I/O to or from `inode`.
    fn pin_buffer(
        &self,
        task: &Task,
        inode: &Inode,
        (mm, vma): (&Mm, &Arc<Vma>),
        buffer: (u64, u64),
        write: bool,
    ) -> Answer<Pins> {
        // Why it may not be held here: Chinner and Williams, "xfs, dax: wire up dax_flush_dma
        // support", 2018-01-03.
        let holds = self.has(Variant::DirectIoHoldsInvalidateLock);
        let _invalidate = holds.then(|| inode.invalidate.write(task)).transpose()?;
        if write {
            self.pin(task, mm, vma, buffer, write)
        } else {
            // A write takes what it can get.
            self.pin_front(task, mm, vma, buffer, write)
        }
    }

    /// The variant's break, where none may be: its task may hold the pin that it waits for. From
    /// the same thread.
    fn break_under_pin(
        &self,
        task: &Task,
        held: &mut Locked<'_>,
        pages: &std::ops::Range<u64>,
    ) -> Answer<()> {
        if !self.has(Variant::DirectWriteBreaksUnderPin) || held.inode.medium != Medium::Dax {
            return Ok(());
        }
        held.invalidate = Some(held.inode.invalidate.write(task)?);
        held.range = pages.clone();
        let broken = self.break_layouts(task, std::slice::from_mut(held), Interruptible::Signal);
        held.invalidate = None;
        held.range = 0..0;
        broken
    }

    /// The content of a file's blocks, whatever its cache has.
    pub fn stored(&self, inode: &Inode, at: u64, len: u64) -> Vec<u8> {
        let state = inode.state();
        let mut bytes = vec![0; len as usize];
        let mut rest = bytes.as_mut_slice();
        for (index, at, len) in pieces(at, len) {
            let (here, behind) = rest.split_at_mut(len as usize);
            if let Some(extent) = state.extents.get(&index).filter(|extent| extent.written) {
                extent.page.content(|content| content.read(at, here));
            }
            rest = behind;
        }
        bytes
    }

    /// What a device does with pinned pages at the end of a transfer: what it read from them,
    /// or gave to them.
    pub fn transfer(&self, task: &Task, pins: &Pins, direction: Direction, byte: u8) -> Vec<u8> {
        match direction {
            Direction::FromMemory => pins.read(),
            Direction::IntoMemory => {
                let bytes = vec![byte; pins.len() as usize];
                pins.write(&bytes);
                self.dirty_pinned(task, pins);
                bytes
            }
        }
    }
}
