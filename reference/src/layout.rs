//! The layout break: no new pins, and wait until the old ones are gone.

use protocol::HoldPoint;
use protocol::event::{Counting, Event, Kind, flag};

use crate::errno::{Answer, EINTR, Failure, code};
use crate::fs::Fs;
use crate::inode::{Inode, Locked};
use crate::page::Page;
use crate::rwsem::Rwsem;
use crate::sync::{Arc, turn};
use crate::task::{Interruptible, Sleep, Task};
use crate::variant::Variant;

impl Fs {
    /// Breaks the layout of `held`, of each in its range.
    ///
    /// On success no page of theirs is pinned, and none can be pinned before the invalidate
    /// locks are dropped: no entry is mapped, and a fault needs that lock. While it waits, all
    /// invalidate locks are dropped, of every file that is held, and afterwards everything is
    /// looked at again. The inode locks stay.
    pub fn break_layouts(
        &self,
        task: &Task,
        held: &mut [Locked<'_>],
        interrupt: Interruptible,
    ) -> Answer<()> {
        if self.has(Variant::NoBreak) {
            return Ok(());
        }
        for file in held.iter().filter(|file| !file.range.is_empty()) {
            self.say_break(task, file, Kind::BreakBegin, 0);
        }
        let answer = self.break_until_idle(task, held, interrupt);
        for file in held.iter().filter(|file| !file.range.is_empty()) {
            if answer.is_ok() && self.shape == Counting::IdleAtZero {
                // Linux commit bde708f1a65d ("fs/dax: always remove DAX page-cache entries when
                // breaking layouts"), in v6.15. That one forgets what is dirty, as the variant does.
                let mut state = file.inode.state();
                if !self.has(Variant::BreakForgetsDirty) {
                    self.write_back(task, file.inode, &mut state, file.range.clone());
                }
                self.remove_entries(task, file.inode, &mut state, file.range.clone());
            } else if answer.is_ok() && self.has(Variant::BreakForgetsDirty) {
                let mut state = file.inode.state();
                let dirty: Vec<u64> = state.dirty.range(file.range.clone()).copied().collect();
                for index in dirty {
                    self.mark_clean(task, file.inode, &mut state, index);
                }
            }
            self.say_break(task, file, Kind::BreakEnd, code(&answer));
        }
        if answer == Err(Failure::Errno(EINTR)) && self.has(Variant::LeakLockOnSignal) {
            for file in held {
                if let Some(guard) = file.invalidate.take() {
                    Rwsem::leak(guard);
                }
            }
        }
        answer
    }

    fn break_until_idle(
        &self,
        task: &Task,
        held: &mut [Locked<'_>],
        interrupt: Interruptible,
    ) -> Answer<()> {
        loop {
            let mut busy = None;
            for file in &*held {
                if let Some(page) = self.find_busy_page(task, file)? {
                    busy = Some((file.inode, page));
                    break;
                }
            }
            let Some((inode, page)) = busy else {
                return Ok(());
            };
            let slept = self.wait_until_idle(task, inode, &page, held, interrupt)?;
            if self.has(Variant::RetryFlag) && !slept {
                // Linux commit b1f382178d15 ("ext4: close race between direct IO and
                // ext4_break_layouts()"), in v4.19, removed this.
                return Ok(());
            }
        }
    }

    fn say_break(&self, task: &Task, file: &Locked<'_>, kind: Kind, value: i64) {
        self.log.record(
            task,
            Event {
                inode: file.inode.number,
                index: file.range.start,
                count: file.range.end.saturating_sub(file.range.start),
                value,
                ..self.event(kind)
            },
        );
    }

    /// Unmaps the range, so that whoever wants a new pin must fault, and then looks for a page
    /// that somebody has pinned.
    ///
    /// A page counts that is entered in the file's mapping, or whose block this file alone uses:
    /// one of the two is what the caller is about to give away.
    fn find_busy_page(&self, task: &Task, file: &Locked<'_>) -> Answer<Option<Arc<Page>>> {
        if file.range.is_empty() {
            return Ok(None);
        }
        let inode = file.inode;
        let mut range = file.range.clone();
        if self.has(Variant::FirstPageOnly) {
            // Linux commit 7851bf649d42 ("fuse: fix dax truncate/punch_hole fault path"),
            // in v6.15: a range of (0, 0) meant the first page.
            range.end = range.start + 1;
        }
        if !self.has(Variant::NoUnmap) {
            Self::unmap(inode, &range, false);
        }
        self.pass(task, HoldPoint::Unmapped)?;
        if self.has(Variant::SkipUnmapped) && inode.vmas().is_empty() {
            // Linux commit cee91fa13a8e ("fs/dax: return unmapped busy pages from
            // dax_layout_busy_page_range()"), in v6.15, removed this.
            return Ok(None);
        }
        let state = inode.state();
        let busy = state.extents.range(range).find_map(|(index, extent)| {
            let page = &extent.page;
            let counts = self
                .matters(inode, &state, *index)
                .then(|| page.counts())
                .filter(|counts| self.shape.pins(counts.refs, counts.maps) > 0)
                .filter(|_| !self.gives_up(inode, page))?;
            Some((*index, Arc::clone(page), counts))
        });
        let mut event = Event { inode: inode.number, ..self.event(Kind::Scan) };
        if let Some((index, page, counts)) = &busy {
            event.page = page.number;
            event.index = *index;
            event.refs = counts.refs;
            event.maps = counts.maps;
        }
        self.log.record(task, event);
        drop(state);
        // A page goes idle before it is waited for, or is pinned before it is given away.
        turn();
        let point =
            if busy.is_some() { HoldPoint::ScanFoundBusy } else { HoldPoint::ScanFoundNone };
        self.pass(task, point)?;
        Ok(busy.map(|(_, page, _)| page))
    }

    fn matters(&self, inode: &Inode, state: &crate::inode::InodeState, index: u64) -> bool {
        // Linux looks at entries alone, so that a file does not wait for a pin of its block that
        // was taken through another one: `cow-takes-pinned`.
        let entries_alone = self.has(Variant::NoBreakOnCowFault)
            || self.has(Variant::NoBreakOnCowWrite)
            || self.has(Variant::StaleMappingAfterCow)
            || self.has(Variant::UnmountTakesPinned);
        state.entries.contains_key(&index)
            || !entries_alone && self.volume(inode).shares(&state.extents[&index].page) == 1
    }

    /// Waits for one page; whether it slept.
    fn wait_until_idle(
        &self,
        task: &Task,
        inode: &Inode,
        page: &Page,
        held: &mut [Locked<'_>],
        interrupt: Interruptible,
    ) -> Answer<bool> {
        // What dax_break_layout_final() does, and no other break may.
        // Linux commit 0e2f80afcfa6 ("fs/dax: ensure all pages are idle prior to filesystem
        // unmount"), in v6.15.
        let interrupt =
            if self.has(Variant::UninterruptibleBreak) { Interruptible::Never } else { interrupt };
        let about = Event { inode: inode.number, page: page.number, ..self.event(Kind::WaitBegin) };
        self.log.record(task, about);
        self.pass(task, HoldPoint::WaitEntered)?;
        let mut slept = false;
        let answer = page.waiters.wait(
            task,
            interrupt,
            || {
                // The variant is what Linux does since a mapping takes a reference: docs/finds.md,
                // 4 and 11.
                self.gives_up(inode, page)
                    || page.pins(self.shape) == 0
                        && !(self.has(Variant::WaitForMappings) && page.counts().maps > 0)
            },
            || {
                slept = true;
                self.drop_locks(task, held);
                let mut locks = 0;
                for file in &*held {
                    locks |= file
                        .lock
                        .as_ref()
                        .map_or(0, |lock| if lock.is_held() { flag::INODE_LOCK } else { 0 });
                    locks |= file
                        .invalidate
                        .as_ref()
                        .map_or(0, |lock| if lock.is_held() { flag::INVALIDATE_LOCK } else { 0 });
                }
                self.log.record(task, Event { kind: Kind::Sleep as u16, detail: locks, ..about });
                task.park(Sleep::LayoutBreak(page.number))?;
                Self::retake_locks(task, held)
            },
        );
        self.log.record(task, Event { kind: Kind::WaitEnd as u16, value: code(&answer), ..about });
        answer.map(|()| slept)
    }

    /// Faults must go on while the break sleeps: who holds the pin may need one to let it go.
    /// The inode locks stay, or direct I/O that needs them could pin for ever.
    fn drop_locks(&self, task: &Task, held: &mut [Locked<'_>]) {
        for file in held {
            match &mut file.invalidate {
                Some(_) if self.has(Variant::HoldInvalidateLock) => {}
                Some(guard) => guard.give_up(),
                None if self.has(Variant::AssumeLockState)
                    && !file.inode.invalidate.release_blindly() =>
                {
                    self.warn(task, file.inode);
                }
                None => {}
            }
            if self.has(Variant::DropAllLocks)
                && let Some(guard) = &mut file.lock
            {
                guard.give_up();
            }
        }
    }

    fn retake_locks(task: &Task, held: &mut [Locked<'_>]) -> Answer<()> {
        for file in &mut *held {
            if let Some(guard) = &mut file.lock {
                guard.retake(task)?;
            }
        }
        for file in held {
            if let Some(guard) = &mut file.invalidate {
                guard.retake(task)?;
            }
        }
        Ok(())
    }
}
