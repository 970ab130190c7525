//! The acting side: what each action is on the reference.

use std::collections::BTreeMap;

use nix::libc;
use reference::sync::{Arc, Leaf, thread};
use reference::{
    Answer, Dropper, End, Errno, Fs, Inode, Pins, Process, Remap, Ring, Task, Transfer, Vma,
    WaitQueue,
};

use super::{errno, script};
use crate::action::{
    Action, CellId, Content, Direction, FileId, MapId, Medium, Mode, PAGE, PinId, PinKind, Reply,
    Sharing, Span,
};
use crate::system::{Done, Kinship};

/// What all tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fs: Arc<Fs>,
    /// Files by the names that the case gave them.
    files: Leaf<BTreeMap<FileId, Arc<Inode>>>,
    pub(super) pins: Leaf<BTreeMap<PinId, Pin>>,
    pub(super) cells: Cells,
}

impl Shared {
    pub(super) fn new(fs: Arc<Fs>) -> Self {
        Self { fs, files: Leaf::default(), pins: Leaf::default(), cells: Cells::default() }
    }
}

/// A pin that the case can release, in each of its states.
#[derive(Debug)]
pub(super) enum Pin {
    /// In a pipe.
    Splice(Pins),
    /// In direct I/O that the device withholds.
    Direct(Transfer),
    /// In direct I/O that the device may complete.
    Submitted(Arc<Ring>),
    /// Gone; what went through it.
    Over(Content),
    /// A process has it for itself.
    Selfish(u32, Option<Pins>),
}

/// How often a cell is looked at before the task that waits for it goes to sleep.
const LOOKS: u32 = 200;

/// Numbers that all tasks share.
#[derive(Debug, Default)]
pub(super) struct Cells {
    values: Leaf<BTreeMap<CellId, u64>>,
    waiters: WaitQueue,
}

impl Cells {
    pub(super) fn get(&self, cell: CellId) -> u64 {
        self.values.with(|values| values.get(&cell).copied().unwrap_or(0))
    }

    pub(super) fn change(&self, cell: CellId, change: impl FnOnce(&mut u64)) {
        self.values.with(|values| change(values.entry(cell).or_default()));
        self.waiters.wake_all();
    }

    /// Waits until `see` is content with the cells.
    pub(super) fn wait(&self, task: &Task, see: impl Fn(&Self) -> bool) -> Answer<()> {
        // A race is lost to a task that is put to sleep and woken each round: look a while first.
        for _ in 0..LOOKS {
            if see(self) {
                return Ok(());
            }
            task.check()?;
            thread::yield_now();
        }
        self.waiters.wait(
            task,
            reference::Interrupt::Kill,
            || see(self),
            || task.park(reference::Place::Idle),
        )
    }
}

type Order = (Action, Arc<Leaf<Option<Done>>>);

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) task: Task,
    pub(super) process: Arc<Process>,
    pub(super) shared: Arc<Shared>,
    order: Arc<Leaf<Slot>>,
}

/// What a task was told to do.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Free,
    Ordered(Order),
    Busy,
}

impl Actor {
    fn new(shared: &Arc<Shared>, process: Arc<Process>) -> Self {
        process.task_begins();
        Self {
            task: shared.fs.board.add(process.number),
            process,
            shared: Arc::clone(shared),
            order: Arc::default(),
        }
    }

    /// The first task of the first process.
    pub(super) fn first(shared: &Arc<Shared>) -> Self {
        Self::new(shared, Process::new(&shared.fs))
    }

    /// A new task, to be served by a thread of its own.
    pub(super) fn spawn(&self, kinship: Kinship) -> Self {
        let process = match kinship {
            Kinship::Thread => Arc::clone(&self.process),
            Kinship::Process => self.process.fork(&self.shared.fs),
        };
        Self::new(&self.shared, process)
    }

    /// Tells the task what to do; whether it was idle.
    pub(super) fn order(&self, action: Action, end: Arc<Leaf<Option<Done>>>) -> bool {
        let taken = self.order.with(|slot| match slot {
            Slot::Free => {
                *slot = Slot::Ordered((action, end));
                true
            }
            Slot::Ordered(_) | Slot::Busy => false,
        });
        if taken {
            self.task.wake();
        }
        taken
    }

    /// Does what it is told until it is killed or the run is over.
    pub(super) fn serve(&self) {
        let fs = &self.shared.fs;
        while self.task.handle_signals() && self.task.check().is_ok() {
            let order = self.order.with(|slot| match std::mem::replace(slot, Slot::Busy) {
                Slot::Ordered(order) => Some(order),
                other => {
                    *slot = other;
                    None
                }
            });
            let Some((action, end)) = order else {
                // What ends this sleep is seen by the loop's condition.
                let _ = self.task.park(reference::Place::Idle);
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
            self.order.with(|slot| *slot = Slot::Free);
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

    /// Takes the pins that the process keeps to itself.
    pub(super) fn process_pins(&self) -> Vec<Pins> {
        self.shared.pins.with(|pins| {
            pins.values_mut()
                .filter_map(|pin| match pin {
                    Pin::Selfish(process, held) if *process == self.process.number => held.take(),
                    _ => None,
                })
                .collect()
        })
    }

    /// Does something with a file, which the process opens if it has not yet.
    fn on<T>(&self, file: FileId, run: impl FnOnce(&Arc<Inode>) -> Answer<T>) -> Answer<T> {
        if !self.process.knows(file.0) {
            let inode = self.find(file)?;
            inode.state().users += 1;
            self.process.open(file.0, inode);
        }
        self.shared.fs.using(&self.task, &self.process, file.0, run)
    }

    /// Finds a file by its name.
    fn find(&self, file: FileId) -> Answer<Arc<Inode>> {
        let inode = self.shared.files.with(|files| files.get(&file).cloned());
        Ok(inode.filter(|inode| inode.state().links > 0).ok_or(Errno(libc::ENOENT))?)
    }

    pub(super) fn vma(&self, map: MapId) -> Answer<Arc<Vma>> {
        self.process.mm.find(map.0)
    }

    /// Pins bytes of a mapping.
    pub(super) fn pin(&self, map: MapId, span: Span, write: bool) -> Answer<Pins> {
        let vma = self.vma(map)?;
        let span = (span.at, span.len);
        self.shared.fs.pin(&self.task, &self.process.mm, &vma, span, write)
    }

    /// Does one action.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(super) fn perform(&self, action: &Action) -> Answer<Reply> {
        let (fs, task, mm) = (&*self.shared.fs, &self.task, &self.process.mm);
        match action {
            Action::Create { file, medium, fill, .. } => self.create(*file, *medium, fill),
            Action::CreateHuge { file, len, byte, .. } => {
                self.create(*file, Medium::Dax, &vec![*byte; (len / PAGE) as usize])
            }
            Action::Close { file } => {
                self.on(*file, |_| Ok(()))?;
                fs.close(task, &self.process, file.0).map(done)
            }
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
                    fs.direct_io(task, inode, span.at, (mm, &vma), buffer, towards(*direction))
                })
                .map(Reply::Count)
            }
            Action::Truncate { file, size } => {
                self.on(*file, |inode| fs.truncate(task, inode, *size)).map(done)
            }
            Action::OpenTruncate { file } => {
                let inode = self.find(*file)?;
                fs.truncate(task, &inode, 0).map(done)
            }
            Action::Fallocate { file, mode, span } => self
                .on(*file, |inode| fs.fallocate(task, inode, how(*mode), (span.at, span.len)))
                .map(done),
            Action::Clone { from, span, to, at } => {
                let what = Remap { from: span.at, len: span.len, to: *at, dedupe: false };
                self.on(*from, |from| self.on(*to, |to| fs.remap(task, from, to, what))).map(done)
            }
            Action::Dedupe { from, span, to, at } => {
                let what = Remap { from: span.at, len: span.len, to: *at, dedupe: true };
                self.on(*from, |from| self.on(*to, |to| fs.remap(task, from, to, what)))
                    .map(Reply::Count)
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
            Action::Places { file, span } => {
                self.on(*file, |inode| Ok(Fs::places(inode, span.at, span.len))).map(Reply::Places)
            }
            Action::FindPlace { file, place } => self.on(*file, |inode| {
                let state = inode.state();
                let found = state.extents.iter().find(|(_, extent)| extent.page.number == *place);
                Ok(Reply::Count(found.map_or(0, |(index, _)| index + 1)))
            }),
            Action::IsFree { file, place } => {
                self.on(*file, |inode| Ok(Reply::Count(u64::from(fs.is_free(inode, *place)))))
            }
            Action::Stored { file, span } => self
                .on(*file, |inode| Ok(fs.stored(inode, span.at, span.len)))
                .map(|bytes| Reply::Content(Content::of(&bytes))),
            Action::Map { map, file, span, sharing } => {
                let pages = span.at / PAGE..span.end().div_ceil(PAGE);
                let sharing = match sharing {
                    Sharing::Shared | Sharing::Sync => reference::Sharing::Shared,
                    Sharing::Private => reference::Sharing::Private,
                };
                self.on(*file, |inode| fs.map(task, mm, map.0, inode, pages, sharing)).map(done)
            }
            Action::Unmap { map } => fs.unmap_all_of(task, mm, map.0).map(done),
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
            Action::Pin { pin, map, span, kind, selfish } => {
                let held = match kind {
                    PinKind::Splice => {
                        let pins = self.pin(*map, *span, false)?;
                        if *selfish {
                            Pin::Selfish(self.process.number, Some(pins))
                        } else {
                            Pin::Splice(pins)
                        }
                    }
                    PinKind::Direct { direction, byte, .. } => Pin::Direct(Transfer {
                        pins: self.pin(*map, *span, *direction == Direction::IntoMemory)?,
                        direction: towards(*direction),
                        byte: *byte,
                        tag: 0,
                        ring: Arc::default(),
                    }),
                };
                self.shared.pins.with(|pins| pins.insert(*pin, held));
                Ok(Reply::Done)
            }
            Action::Reap { pin } => self.reap(*pin),
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
            Action::Run(script) => script::run(self, script).map(Reply::Count),
        }
    }

    fn create(&self, file: FileId, medium: Medium, fill: &[u8]) -> Answer<Reply> {
        let (fs, task) = (&*self.shared.fs, &self.task);
        let inode = fs.create(match medium {
            Medium::Dax => reference::Medium::Dax,
            Medium::PageCache => reference::Medium::PageCache,
        });
        self.shared.files.with(|files| files.insert(file, Arc::clone(&inode)));
        self.process.open(file.0, Arc::clone(&inode));
        inode.state().size = fill.len() as u64 * PAGE;
        let mut at = 0;
        for run in fill.chunk_by(|a, b| a == b) {
            let len = run.len() as u64 * PAGE;
            if run[0] != 0 {
                fs.write(task, &inode, at, &vec![run[0]; len as usize])?;
            }
            at += len;
        }
        fs.fsync(task, &inode).map(done)
    }

    fn reap(&self, pin: PinId) -> Answer<Reply> {
        let ring = self.shared.pins.with(|pins| match pins.get(&pin) {
            Some(Pin::Direct(transfer)) => Some(Arc::clone(&transfer.ring)),
            Some(Pin::Submitted(ring)) => Some(Arc::clone(ring)),
            _ => None,
        });
        let (_, bytes) = ring.ok_or(End::Errno(Errno(libc::ENOENT)))?.reap(&self.task)?;
        self.shared.pins.with(|pins| pins.insert(pin, Pin::Over(Content::of(&bytes))));
        Ok(Reply::Count(bytes.len() as u64))
    }
}

fn done<T>(_: T) -> Reply {
    Reply::Done
}

pub(super) fn towards(direction: Direction) -> reference::Direction {
    match direction {
        Direction::FromMemory => reference::Direction::FromMemory,
        Direction::IntoMemory => reference::Direction::IntoMemory,
    }
}

fn how(mode: Mode) -> reference::Mode {
    match mode {
        Mode::Allocate => reference::Mode::Allocate,
        Mode::Punch => reference::Mode::Punch,
        Mode::Zero => reference::Mode::Zero,
        Mode::Collapse => reference::Mode::Collapse,
        Mode::Insert => reference::Mode::Insert,
        Mode::Unshare => reference::Mode::Unshare,
    }
}
