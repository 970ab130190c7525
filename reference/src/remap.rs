//! Reflink and dedupe: one file's blocks become another's too. And exchange: they become the other's.

use protocol::HoldPoint;
use protocol::event::OperationKind;

use crate::errno::{Answer, EINVAL, EOPNOTSUPP, EXDEV};
use crate::extent::Extent;
use crate::fs::Fs;
use crate::inode::{Inode, Locked, Medium};
use crate::page::SIZE;
use crate::sync::Arc;
use crate::task::{Interruptible, Task};
use crate::variant::Variant;

/// What is to be shared.
#[derive(Clone, Copy, Debug)]
pub struct Remap {
    /// First byte in the source.
    pub from: u64,
    /// Bytes; 0: to the source's end.
    pub len: u64,
    /// First byte in the destination.
    pub to: u64,
    /// Only if the content is the same already.
    pub dedupe: bool,
}

impl Fs {
    /// Shares blocks of `source` with `destination`; the bytes shared, 0 if dedupe found a
    /// difference.
    ///
    /// The layouts of both are broken: the destination gives blocks away, and the source's must
    /// not change under the new owner. Each wait drops what faults need of *both* files.
    pub fn remap(
        &self,
        task: &Task,
        source: &Arc<Inode>,
        destination: &Arc<Inode>,
        what: Remap,
    ) -> Answer<u64> {
        let range = (what.to / SIZE, what.len.div_ceil(SIZE));
        self.operation(task, destination, OperationKind::Remap, range, || {
            if what.dedupe && what.from + what.len > source.state().size {
                // fs/remap_range.c, `vfs_dedupe_file_range`: before any lock is taken.
                return Err(EINVAL.into());
            }
            if source.medium != destination.medium {
                return Err(EXDEV.into());
            }
            if source.medium == Medium::PageCache {
                return Err(EOPNOTSUPP.into());
            }
            let mut held = self.hold_both(task, source, destination)?;
            self.break_layouts(task, &mut held, Interruptible::Signal)?;
            self.share_blocks(task, source, destination, what)
        })
    }

    /// Refuses to move a file into the blocks of another: that goes through the page cache, which DAX files
    /// do not have. Linux commit 73f34a5e2ced ("ext4: online defrag not supported with DAX").
    pub fn move_extents() -> Answer<()> {
        Err(EOPNOTSUPP.into())
    }

    /// Exchanges all blocks and the sizes of two files.
    ///
    /// Each gives all of its blocks away, so the layouts of both are broken, and nothing stays mapped.
    pub fn exchange(&self, task: &Task, one: &Arc<Inode>, other: &Arc<Inode>) -> Answer<()> {
        self.operation(task, one, OperationKind::Remap, (0, u64::MAX), || {
            if Arc::ptr_eq(one, other) {
                return Err(EINVAL.into());
            }
            if [one, other].iter().any(|file| file.medium == Medium::PageCache) {
                return Err(EOPNOTSUPP.into());
            }
            let mut held = self.hold_both(task, one, other)?;
            self.break_layouts(task, &mut held, Interruptible::Signal)?;
            for file in [one, other] {
                self.forget_from(task, file, &mut file.state(), 0);
            }
            let (mut files, ours) = ([one, other], one.number < other.number);
            if !ours {
                files.reverse();
            }
            let [first, second] = files;
            let (mut first, mut second) = (first.state(), second.state());
            std::mem::swap(&mut first.extents, &mut second.extents);
            std::mem::swap(&mut first.size, &mut second.size);
            Ok(())
        })
    }

    fn hold_both<'a>(
        &self,
        task: &Task,
        source: &'a Arc<Inode>,
        destination: &'a Arc<Inode>,
    ) -> Answer<Vec<Locked<'a>>> {
        let mut files = vec![destination];
        if !Arc::ptr_eq(source, destination) {
            files.push(source);
            files.sort_by_key(|file| file.number);
        }
        let mut locks = Vec::new();
        for file in &files {
            locks.push(file.lock.write(task)?);
        }
        let mut held = Vec::new();
        for (file, lock) in files.into_iter().zip(locks) {
            let skipped =
                Arc::ptr_eq(file, destination) && self.has(Variant::NoBreakOnReflinkDestination);
            held.push(Locked {
                inode: file,
                lock: Some(lock),
                invalidate: Some(file.invalidate.write(task)?),
                range: if skipped { 0..0 } else { 0..u64::MAX },
            });
        }
        Ok(held)
    }

    fn share_blocks(
        &self,
        task: &Task,
        source: &Arc<Inode>,
        destination: &Arc<Inode>,
        what: Remap,
    ) -> Answer<u64> {
        let same = Arc::ptr_eq(source, destination);
        let source_size = source.state().size;
        let destination_size = destination.state().size;
        let len = match what.len {
            0 => source_size.saturating_sub(what.from),
            len => len,
        };
        if len == 0 {
            return Ok(0);
        }
        let ends_at_end = what.from + len == source_size;
        let misaligned = !what.from.is_multiple_of(SIZE)
            || !what.to.is_multiple_of(SIZE)
            || !(len.is_multiple_of(SIZE) || ends_at_end && what.to + len >= destination_size);
        let overlaps = same && what.from < what.to + len && what.to < what.from + len;
        let outside =
            what.from + len > source_size || what.dedupe && what.to + len > destination_size;
        if misaligned || overlaps || outside {
            return Err(EINVAL.into());
        }
        let (from, to) = (what.from / SIZE, what.to / SIZE);
        let count = len.div_ceil(SIZE);
        if what.dedupe {
            Self::readable(source, what.from, len)?;
            Self::readable(destination, what.to, len)?;
            let (a, b) =
                (self.contents(source, from, count), self.contents(destination, to, count));
            self.pass(task, HoldPoint::Compared)?;
            if a != b {
                return Ok(0);
            }
        }
        let blocks: Vec<(u64, Extent)> = source
            .state()
            .extents
            .range(from..from + count)
            .map(|(index, extent)| (index - from, extent.clone()))
            .collect();
        let volume = self.volume(source);
        for (_, extent) in &blocks {
            volume.share(&extent.page);
        }
        self.write_back(task, source, &mut source.state(), from..from + count);
        for index in from..from + count {
            for vma in source.vmas() {
                vma.write_protect(index);
            }
        }
        let mut state = destination.state();
        // fs/xfs/xfs_reflink.c, `xfs_reflink_zero_posteof`.
        self.extend(task, destination, &mut state, what.to)?;
        Self::unmap(destination, &(to..to + count), false);
        self.free_range(task, destination, &mut state, to..to + count);
        for (index, extent) in blocks {
            if extent.written {
                state.extents.insert(to + index, extent);
            } else {
                self.drop_block(task, destination, &extent.page);
            }
        }
        state.size = state.size.max(what.to + len);
        Ok(len)
    }

    fn contents(&self, inode: &Inode, first: u64, count: u64) -> Vec<crate::page::PageContent> {
        let state = inode.state();
        let content = |index| match state.extents.get(&index) {
            // What Linux does: `dedupe-unwritten`.
            Some(extent) if self.has(Variant::DedupeComparesUnwritten) => {
                extent.page.content(|content| content.clone())
            }
            _ => Self::content_of(&state, index),
        };
        // Linux commit 0e79e3736d54 ("fsdax: dedupe: iter two files at the same time"), in v6.2: of
        // the source only the first extent had been looked at.
        let count = if self.has(Variant::DedupeComparesFirst) { 1 } else { count };
        (first..first + count).map(content).collect()
    }
}
