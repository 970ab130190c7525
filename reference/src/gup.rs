//! get_user_pages: how pages are pinned, and let go.

use protocol::event::{Event, Kind, flag};

use crate::errno::{Answer, EFAULT, EOPNOTSUPP, Failure};
use crate::fs::Fs;
use crate::inode::{Medium, pieces};
use crate::mm::{Mm, Pte, Sharing, Vma};
use crate::page::SIZE;
use crate::pins::{Dropper, PinnedPage, Pins};
use crate::sync::Arc;
use crate::task::Task;
use crate::variant::Variant;

impl Fs {
    /// Pins `len` bytes of a mapping from `at`. `write` asks for pages that may be stored to.
    pub fn pin(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        (at, len): (u64, u64),
        write: bool,
    ) -> Answer<Pins> {
        let pins = self.pin_front(task, mm, vma, (at, len), write)?;
        if pins.len < len {
            self.unpin(task, &pins, Dropper::Process);
            return Err(EFAULT.into());
        }
        Ok(pins)
    }

    /// As [`Fs::pin`]; where a mapping goes on behind the end of its file, what is before that.
    pub(crate) fn pin_front(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        (at, len): (u64, u64),
        write: bool,
    ) -> Answer<Pins> {
        let mut pins = Pins { pages: Vec::new(), at: at % SIZE, len: 0, holder: self.new_holder() };
        for (page, _, len) in pieces(at, len) {
            match self.pin_page(task, mm, vma, (page, write), pins.holder) {
                Ok(pinned) => {
                    pins.pages.push(pinned);
                    pins.len += len;
                }
                Err(Failure::Errno(EFAULT)) if pins.len > 0 => break,
                Err(end) => {
                    self.unpin(task, &pins, Dropper::Process);
                    return Err(end);
                }
            }
        }
        Ok(pins)
    }

    fn pin_page(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        (at, write): (u64, bool),
        holder: i64,
    ) -> Answer<PinnedPage> {
        loop {
            if at >= vma.count || vma.is_dead() {
                return Err(EFAULT.into());
            }
            if let Some(pinned) = self.pin_mapped(task, vma, (at, write), holder) {
                return Ok(pinned);
            }
            self.fault(task, mm, vma, at, write)?;
        }
    }

    /// The fast path: a reference, if the page table allows what is asked for.
    fn pin_mapped(
        &self,
        task: &Task,
        vma: &Arc<Vma>,
        (at, write): (u64, bool),
        holder: i64,
    ) -> Option<PinnedPage> {
        let table = vma.table();
        match table.get(&at)? {
            Pte::File { page, writable } if *writable || !write => {
                self.log.with(task, || {
                    let counts = page.reference(1);
                    let event = page.is_storage.then(|| Event {
                        inode: vma.inode.number,
                        page: page.number,
                        index: vma.first + at,
                        refs: counts.refs,
                        maps: counts.maps,
                        detail: if write { flag::WRITE } else { 0 },
                        value: holder,
                        ..self.event(Kind::Pin)
                    });
                    ((), event)
                });
                Some(PinnedPage::Page {
                    page: Arc::clone(page),
                    inode: Arc::clone(&vma.inode),
                    index: vma.first + at,
                })
            }
            Pte::Anon(anon) if !write || anon.is_sole() => Some(PinnedPage::Anon(Arc::clone(anon))),
            Pte::Zero if !write => Some(PinnedPage::Zero),
            _ => None,
        }
    }

    /// Lets go of pins, and wakes who waits for a page that has none left.
    pub fn unpin(&self, task: &Task, pins: &Pins, dropper: Dropper) {
        for pinned in &pins.pages {
            let PinnedPage::Page { page, .. } = pinned else {
                continue;
            };
            let idle = self.log.with(task, || {
                let counts = page.reference(-1);
                let event = page.is_storage.then(|| Event {
                    value: pins.holder,
                    page: page.number,
                    refs: counts.refs,
                    maps: counts.maps,
                    ..self.event(Kind::Unpin)
                });
                (self.shape.pins(counts.refs, counts.maps) == 0, event)
            });
            if !idle || self.has(Variant::LostWakeup) && dropper == Dropper::Device {
                // Linux commit f4f451a16dd1 ("mm: fix missing wake-up event for FSDAX pages"),
                // in v5.19: unpin_user_page had forgotten the wake-up that put_page does.
                continue;
            }
            if page.is_storage {
                self.log.record(task, Event { page: page.number, ..self.event(Kind::Wake) });
            }
            page.waiters.wake_all();
        }
    }

    /// Marks the pages of a page-cache file dirty that a device has written, as direct I/O does
    /// when it completes. A DAX page needs no such mark: what a device wrote is on the storage.
    pub(crate) fn dirty_pinned(&self, task: &Task, pins: &Pins) {
        for pinned in &pins.pages {
            if let PinnedPage::Page { page, inode, index } = pinned
                && inode.medium == Medium::PageCache
            {
                let mut state = inode.state();
                if state.entries.get(index).is_some_and(|cached| Arc::ptr_eq(cached, page)) {
                    self.mark_dirty(task, inode, &mut state, *index);
                }
            }
        }
    }

    /// Asks for a long-term pin. It is refused for a DAX mapping: nothing would bound how long a
    /// break has to wait.
    ///
    /// Where it is granted nothing is held: the protocol is about DAX pages only.
    pub fn pin_longterm(
        &self,
        task: &Task,
        mm: &Mm,
        vma: &Arc<Vma>,
        span: (u64, u64),
    ) -> Answer<()> {
        match (vma.inode.medium, vma.sharing) {
            // Linux commit 2bb6d2837083 ("mm: introduce get_user_pages_longterm"), in v4.15:
            // nobody had refused them.
            (Medium::Dax, _) if self.has(Variant::LongtermPin) => self.leak(task, mm, vma, span),
            (Medium::Dax, _) => {
                // The same commit pins first, looks at the mappings then, and has to give the
                // pages back when it refuses.
                if self.has(Variant::LongtermRefusalLeaks) {
                    self.leak(task, mm, vma, span)?;
                }
                Err(EOPNOTSUPP.into())
            }
            // Writing to it would go past the file system's dirty tracking.
            (Medium::PageCache, Sharing::Shared | Sharing::Sync) => Err(EFAULT.into()),
            (Medium::PageCache, Sharing::Private) => Ok(()),
        }
    }

    /// Pins for good.
    fn leak(&self, task: &Task, mm: &Mm, vma: &Arc<Vma>, span: (u64, u64)) -> Answer<()> {
        self.pin(task, mm, vma, span, false).map(drop)
    }
}
