//! What each action is on the reference, and the loop of a task that does them.

use reference::sync::Arc;
use reference::{Answer, Dropper, Errno, Failure, Fs, Inode, Remap};

use super::actor::{Duty, Worker};
use super::script;
use crate::action::{Action, Content, FileId, Medium, PAGE, Partner, Reply, Whole};
use crate::system::Done;

impl Worker {
    /// Does what it is told until it is killed or the run is over.
    pub(super) fn serve(&self) {
        let fs = &self.shared.fs;
        while self.task.handle_signals() && self.task.check().is_ok() {
            let order = self.order.with(|slot| match std::mem::replace(slot, Duty::Busy) {
                Duty::Ordered(order) => Some(order),
                other => {
                    *slot = other;
                    None
                }
            });
            let Some((action, end)) = order else {
                // What ends this sleep is seen by the loop's condition.
                let _ = self.task.park(reference::Sleep::Idle);
                continue;
            };
            let began = fs.log.now();
            let answer = self.perform(&action);
            if !self.task.handle_signals() {
                break;
            }
            let result = match answer {
                Ok(reply) => Ok(reply),
                Err(failure) => match errno(failure) {
                    Some(errno) => Err(errno),
                    None => break,
                },
            };
            let ended = fs.log.now();
            self.order.with(|slot| *slot = Duty::Free);
            end.with(|end| *end = Some(Done { result, began, ended }));
            fs.board.tell();
        }
        if self.process.task_ends() && self.task.check().is_ok() {
            for pins in self.process_pins() {
                fs.unpin(&self.task, &pins, Dropper::Process);
            }
            // What fails here fails because the run is over.
            let _ = fs.exit(&self.task, &self.process);
        }
        self.task.end();
    }

    /// Does one action.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(super) fn perform(&self, action: &Action) -> Answer<Reply> {
        let (fs, task, mm) = (&*self.shared.fs, &self.task, &self.process.mm);
        match action {
            Action::Create { file, medium, fill, .. } => self.create(*file, *medium, fill),
            Action::CreateWithoutDax { file, fill, .. } => {
                self.create(*file, Medium::PageCache, fill)
            }
            Action::CreateSpare { file, fill, .. } | Action::CreateInFolder { file, fill, .. } => {
                self.fill(*file, &fs.create_on_whole(), fill)
            }
            Action::Whole(what) => self.does(*what).map(done),
            Action::DropCaches => fs.drop_caches(task).map(Reply::Count),
            Action::Poison { map, span } => {
                fs.poison(task, mm, &self.vma(*map)?, span.at).map(|()| Reply::Count(1))
            }
            // A folder is none of the file's affairs.
            Action::RemoveFolder { file } => self.find(*file).map(|_| Reply::Done),
            Action::BulkStat { file, .. } => self.find(*file).map(|_| Reply::Count(1)),
            // Who has it mapped finds it as it was.
            Action::PoisonBlock { file, .. } => self.on(*file, |_| Ok(Reply::Done)),
            // A page table that is not written to is none of the file's affairs.
            Action::WriteProtect { map } | Action::Track { map, .. } => {
                self.vma(*map).map(|_| Reply::Done)
            }
            // To name more than were stored to is no error.
            Action::StoredTo { map, span, .. } => {
                self.vma(*map).map(|_| Reply::Count(span.len / PAGE))
            }
            // What is storage cannot be moved elsewhere.
            Action::SoftOffline { map, .. } => {
                self.vma(*map)?;
                Err(Errno(libc::EIO).into())
            }
            // A mapping shows its file in order, and a kernel need not offer more; files have no flags.
            Action::Remap { .. } | Action::Immutable { .. } => Err(Errno(libc::EOPNOTSUPP).into()),
            Action::SpoilBlocks { file, span } => self
                .on(*file, |inode| {
                    Fs::spoil(inode, span.at, span.len);
                    Ok(())
                })
                .map(done),
            // Nobody has it; and who gets it writes all of it, which mends it.
            Action::SpoilBlock { file, .. } => self.on(*file, |_| Ok(())).map(done),
            // Nothing of a DAX file is ever there.
            Action::CacheStat { file } | Action::Scrub { file } | Action::Repair { file } => {
                self.on(*file, |_| Ok(Reply::Count(0)))
            }
            Action::CreateHuge { file, len, byte, .. } => {
                self.create(*file, Medium::Dax, &vec![*byte; (len / PAGE) as usize])
            }
            Action::Close { file } => {
                self.on(*file, |_| Ok(()))?;
                fs.close(task, &self.process, file.0).map(done)
            }
            Action::Reopen { file } => {
                let inode = self.find(*file)?;
                inode.state().users += 1;
                self.process.open(file.0, inode);
                Ok(Reply::Done)
            }
            // An inode that leaves memory takes nothing with it: what is pinned is known by its block.
            Action::FlipDax { file } => self.on(*file, |_| Ok(())).map(done),
            Action::Unlink { file } => fs.unlink(task, &*self.find(*file)?).map(done),
            Action::Read { file, span } => self
                .on(*file, |inode| fs.read(task, inode, span.at, span.len))
                .map(|bytes| Reply::Content(Content::of(&bytes))),
            Action::Write { file, span, byte } => self
                .on(*file, |inode| fs.write(task, inode, span.at, &vec![*byte; span.len as usize]))
                .map(done),
            Action::DirectIo { file, span, map, buffer, direction } => {
                let vma = self.vma(*map)?;
                let buffer = (*buffer, span.len);
                self.on(*file, |inode| {
                    fs.direct_io(task, inode, span.at, (mm, &vma), buffer, *direction)
                })
                .map(Reply::Count)
            }
            Action::Gather { file, span, maps } => {
                let mut bytes = Vec::new();
                for map in maps {
                    bytes.extend(fs.load(task, mm, &self.vma(*map)?, (0, span.len / 2))?);
                }
                self.on(*file, |inode| fs.write(task, inode, span.at, &bytes))
                    .map(|()| Reply::Count(span.len))
            }
            Action::Truncate { file, size } => {
                let truncate =
                    |inode: &Arc<_>| fs.changing(task, inode, || fs.truncate(task, inode, *size));
                self.on(*file, truncate).map(done)
            }
            Action::OpenTruncate { file } => {
                let inode = self.find(*file)?;
                fs.truncate(task, &inode, 0).map(done)
            }
            Action::CancelledOpenTruncate { file } => {
                fs.board.signal(task.id(), false);
                let inode = self.find(*file)?;
                fs.truncate(task, &inode, 0).map(done)
            }
            Action::Fallocate { file, mode, span } => self
                .on(*file, |inode| {
                    let span = (span.at, span.len);
                    fs.changing(task, inode, || fs.fallocate(task, inode, *mode, span))
                })
                .map(done),
            Action::CancelledFallocate { file, mode, span } => {
                // As to whoever works for the ring: a signal that is there before it sleeps.
                fs.board.signal(task.id(), false);
                self.on(*file, |inode| fs.fallocate(task, inode, *mode, (span.at, span.len)))
                    .map(done)
            }
            Action::Clone { from, span, to, at } => {
                let what = Remap { from: span.at, len: span.len, to: *at, dedupe: false };
                self.on(*from, |from| self.on(*to, |to| fs.remap(task, from, to, what))).map(done)
            }
            Action::Dedupe { from, span, to, at } => {
                let what = Remap { from: span.at, len: span.len, to: *at, dedupe: true };
                self.on(*from, |from| self.on(*to, |to| fs.remap(task, from, to, what)))
                    .map(Reply::Count)
            }
            Action::MoveExtents { .. } => Fs::move_extents().map(done),
            Action::Exchange { file, with: Partner::File(other) | Partner::Range(other) } => self
                .on(*file, |one| self.on(*other, |other| fs.exchange(task, one, other)))
                .map(done),
            Action::Exchange { file, with: Partner::BootLoader } => {
                let boot_loader = fs.boot_loader();
                self.on(*file, |file| fs.exchange(task, file, &boot_loader)).map(done)
            }
            Action::Fsync { file, .. } => self.on(*file, |inode| fs.fsync(task, inode)).map(done),
            Action::Stat { file } => {
                self.on(*file, |inode| fs.stat(task, inode)).map(|stat| Reply::Stat {
                    size: stat.size,
                    allocated: stat.allocated,
                    links: stat.links,
                    inode: stat.inode,
                })
            }
            Action::Blocks { file, span } => {
                self.on(*file, |inode| Ok(Fs::blocks(inode, span.at, span.len))).map(Reply::Blocks)
            }
            Action::FindBlock { file, block } => self.on(*file, |inode| {
                let state = inode.state();
                let found = state.extents.iter().find(|(_, extent)| extent.page.number == *block);
                Ok(Reply::Count(found.map_or(0, |(index, _)| index + 1)))
            }),
            Action::IsFree { file, block } => {
                self.on(*file, |inode| Ok(Reply::Count(u64::from(fs.is_free(inode, *block)))))
            }
            Action::Stored { file, span } => self
                .on(*file, |inode| Ok(fs.stored(inode, span.at, span.len)))
                .map(|bytes| Reply::Content(Content::of(&bytes))),
            Action::Map { map, file, span, sharing } => {
                let pages = span.at / PAGE..span.end().div_ceil(PAGE);
                self.on(*file, |inode| fs.map(task, mm, map.0, inode, pages, *sharing)).map(done)
            }
            Action::Unmap { map } => fs.unmap_all_of(task, mm, map.0).map(done),
            // What the page table has goes with the mapping.
            Action::Protect { map } | Action::Move { map } => {
                mm.lock.write(task)?;
                self.vma(*map).map(|_| Reply::Done)
            }
            Action::Touch { map, span } => {
                fs.touch(task, mm, &self.vma(*map)?, (span.at, span.len)).map(Reply::Count)
            }
            Action::Store { map, span, byte } => {
                fs.store(task, mm, &self.vma(*map)?, (span.at, span.len), *byte).map(Reply::Count)
            }
            Action::Load { map, span } => fs
                .load(task, mm, &self.vma(*map)?, (span.at, span.len))
                .map(|bytes| Reply::Content(Content::of(&bytes))),
            Action::Msync { map } => {
                let vma = self.vma(*map)?;
                fs.fsync(task, &vma.inode).map(done)
            }
            Action::FutexWait { map } => {
                self.shared.futexes.at(&*self.vma(*map)?).wait(task).map(done)
            }
            Action::FutexWake { map } => {
                Ok(Reply::Count(self.shared.futexes.at(&*self.vma(*map)?).wake()))
            }
            Action::Pin { pin, map, span, kind } => self.take(*pin, *map, *span, *kind).map(done),
            Action::Reap { pin } => self.reap(*pin).map(Reply::Count),
            Action::PinLongterm { map, span } => {
                fs.pin_longterm(task, mm, &self.vma(*map)?, (span.at, span.len)).map(done)
            }
            Action::DirectLoad { map, span, piece, inflight, direction, submitted, stop } => {
                let load = script::Load {
                    map: *map,
                    span: *span,
                    piece: *piece,
                    inflight: *inflight,
                    direction: *direction,
                    submitted: *submitted,
                    stop: *stop,
                };
                load.run(self).map(Reply::Count)
            }
            Action::Run(script) => {
                script::run(self, script, &|action| self.perform(action)).map(Reply::Count)
            }
        }
    }

    fn create(&self, file: FileId, medium: Medium, fill: &[u8]) -> Answer<Reply> {
        self.fill(file, &self.shared.fs.create(medium), fill)
    }

    /// Does something to the file system that is the case's own.
    fn does(&self, what: Whole) -> Answer<()> {
        let (fs, task) = (&*self.shared.fs, &self.task);
        match what {
            Whole::Make | Whole::MakeLarge | Whole::MakeMapped => fs.make_whole(),
            Whole::Unmount => fs.unmount(task)?,
            Whole::Mount => fs.mount()?,
            Whole::ReadOnly => fs.set_read_only()?,
            Whole::Freeze => fs.freeze(task)?,
            Whole::Thaw => fs.thaw()?,
            Whole::ShutDown => fs.shut_down(),
            Whole::Crash => {
                fs.shut_down();
                fs.unmount(task)?;
                fs.mount()?;
            }
            Whole::Unbind => fs.unbind(task)?,
            // It is consistent, as large as it gets, and its device comes back, or stays where it is.
            Whole::Check | Whole::Grow | Whole::Bind | Whole::Move => {}
        }
        Ok(())
    }

    /// Fills a new file, which is `file` from now on.
    fn fill(&self, file: FileId, inode: &Arc<Inode>, fill: &[u8]) -> Answer<Reply> {
        let (fs, task) = (&*self.shared.fs, &self.task);
        self.shared.files.with(|files| files.insert(file, Arc::clone(inode)));
        self.process.open(file.0, Arc::clone(inode));
        inode.state().size = fill.len() as u64 * PAGE;
        let mut at = 0;
        for run in fill.chunk_by(|a, b| a == b) {
            let len = run.len() as u64 * PAGE;
            if run[0] != 0 {
                fs.write(task, inode, at, &vec![run[0]; len as usize])?;
            }
            at += len;
        }
        fs.fsync(task, inode).map(done)
    }
}

fn done<T>(_: T) -> Reply {
    Reply::Done
}

/// A failure of the reference as the case sees it; `None` if the run is over.
fn errno(end: Failure) -> Option<Errno> {
    match end {
        Failure::Errno(errno) => Some(errno),
        Failure::Cancelled => None,
    }
}
