//! The acting side: a thread that takes actions from its socket and performs them.
//!
//! The case itself never touches the file system under test, so it cannot get stuck; its
//! tasks can, and are then looked at from outside.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, FcntlArg, OFlag};

use super::sys::{self, Aio, Aligned, Buffer, Cells, Mapping, Uring};
use super::wire::{self, Answer, Command};
use super::{proc, script};
use crate::action::{
    Action, Content, Direction, Engine, FileId, MapId, Medium, Mode, PAGE, PinId, PinKind, Reply,
    Sharing, Span,
};
use crate::system::{Done, Errno, Kinship};

/// Where the files of a case live.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// On the DAX file system.
    pub(crate) dax: PathBuf,
    /// On the file system that uses the page cache; made on demand.
    pub(crate) page_cache: PathBuf,
}

impl Folders {
    fn path(&self, medium: Medium, file: FileId) -> PathBuf {
        let folder = match medium {
            Medium::Dax => &self.dax,
            Medium::PageCache => &self.page_cache,
        };
        folder.join(format!("f{}", file.0))
    }

    /// Finds a file that some process made.
    fn find(&self, file: FileId) -> PathBuf {
        let there = self.path(Medium::PageCache, file);
        if there.exists() { there } else { self.path(Medium::Dax, file) }
    }

    /// Allocates, writes, syncs and removes a file in each of them.
    fn exercise(&self) -> io::Result<()> {
        for folder in [&self.dax, &self.page_cache].into_iter().filter(|folder| folder.exists()) {
            let path = folder.join("control");
            let file = File::options().write(true).create(true).truncate(true).open(&path)?;
            let written = file.write_all_at(&[b'c'; PAGE as usize], 0);
            let synced = written.and_then(|()| file.sync_all());
            std::fs::remove_file(&path)?;
            synced?;
        }
        Ok(())
    }
}

/// A direct I/O in flight, with what it needs to live.
#[derive(Debug)]
enum Flight {
    Aio(Aio, Kept),
    Uring(Box<UringFlight>),
}

/// The device and the memory that a transfer is between.
type Kept = (OwnedFd, Buffer);

struct UringFlight(Uring, #[expect(dead_code, reason = "kept until it is over")] Kept);

impl std::fmt::Debug for UringFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UringFlight")
    }
}

/// What the threads of one process share.
#[derive(Debug, Default)]
struct Tables {
    /// `None`: closed for good.
    files: HashMap<FileId, Option<Arc<File>>>,
    maps: HashMap<MapId, Arc<Mapping>>,
    flights: HashMap<PinId, Flight>,
    /// Pipes whose pins the process keeps to itself.
    kept: Vec<OwnedFd>,
    /// The sockets of this process's tasks.
    sockets: Vec<Arc<OwnedFd>>,
}

/// One task's view of its process.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    tables: Arc<Mutex<Tables>>,
    folders: Arc<Folders>,
    /// Shared by all processes.
    pub(crate) cells: Cells,
}

/// The time of [`Done`].
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("every kernel has a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// The first task of a new process: serves `socket` until the case lets go. Returns the exit code.
pub(crate) fn serve_process(socket: OwnedFd, folders: Folders, cells: Cells) -> i32 {
    let actor = Actor { tables: Arc::default(), folders: Arc::new(folders), cells };
    code(sys::install_handlers().and_then(|()| actor.serve(socket)))
}

/// The exit code of a process whose first task ended so.
fn code(served: io::Result<()>) -> i32 {
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("a task ended: {error}");
            1
        }
    }
}

impl Actor {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs what comes until the other end is gone.
    fn serve(&self, socket: OwnedFd) -> io::Result<()> {
        let socket = Arc::new(socket);
        self.tables().sockets.push(Arc::clone(&socket));
        let served = self.obey(&socket);
        self.tables().sockets.retain(|known| !Arc::ptr_eq(known, &socket));
        served
    }

    fn obey(&self, socket: &OwnedFd) -> io::Result<()> {
        let hello = Answer::Hello {
            pid: nix::unistd::getpid().as_raw(),
            tid: nix::unistd::gettid().as_raw(),
        };
        wire::send(socket.as_fd(), &hello, &[])?;
        while let Some((command, fds)) = wire::receive(socket.as_fd(), true)? {
            match command {
                Command::Do(number, action) => {
                    let began = now();
                    let result = self.perform(&action, fds).map_err(|error| errno(&error));
                    let done = Done { result, began, ended: now() };
                    wire::send(socket.as_fd(), &Answer::Done(number, done), &[])?;
                }
                Command::Control(number) => {
                    let began = now();
                    let result = self.folders.exercise().map(done).map_err(|error| errno(&error));
                    let done = Done { result, began, ended: now() };
                    wire::send(socket.as_fd(), &Answer::Done(number, done), &[])?;
                }
                Command::Spawn(kinship) => {
                    let Some(theirs) = fds.into_iter().next() else {
                        return Err(io::Error::other("a new task came without its socket"));
                    };
                    if let Err(error) = self.spawn(kinship, theirs) {
                        wire::send(socket.as_fd(), &Answer::NoSpawn(errno(&error)), &[])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a new task, which serves `socket`.
    fn spawn(&self, kinship: Kinship, socket: OwnedFd) -> io::Result<()> {
        match kinship {
            Kinship::Thread => {
                let actor = self.clone();
                std::thread::Builder::new().spawn(move || {
                    if let Err(error) = actor.serve(socket) {
                        eprintln!("a task ended: {error}");
                    }
                })?;
                Ok(())
            }
            Kinship::Process => {
                // Held across the fork, so that the child's copy is consistent and unlocked.
                let mut tables = self.tables();
                let sockets = std::mem::take(&mut tables.sockets);
                let mut tables = Some(tables);
                // Else the case would not see that the parent was killed.
                let closing: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                let forked = sys::fork(&closing, || {
                    drop(tables.take());
                    code(self.serve(socket))
                });
                if let Some(tables) = &mut tables {
                    tables.sockets = sockets;
                }
                forked.map(drop)
            }
        }
    }

    fn file(&self, file: FileId) -> io::Result<Arc<File>> {
        let mut tables = self.tables();
        if let Some(known) = tables.files.get(&file) {
            return known.clone().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF));
        }
        let opened =
            Arc::new(File::options().read(true).write(true).open(self.folders.find(file))?);
        tables.files.insert(file, Some(Arc::clone(&opened)));
        Ok(opened)
    }

    /// The mapping called `map`.
    pub(crate) fn mapping(&self, map: MapId) -> io::Result<Arc<Mapping>> {
        self.tables()
            .maps
            .get(&map)
            .cloned()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))
    }

    /// Does one action.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(crate) fn perform(&self, action: &Action, fds: Vec<OwnedFd>) -> io::Result<Reply> {
        match action {
            Action::Create { file, medium, fill, .. } => self.create(*file, *medium, fill),
            Action::CreateHuge { file, len, byte, .. } => self.create_huge(*file, *len, *byte),
            Action::Close { file } => {
                self.file(*file)?;
                let closed = self.tables().files.insert(*file, None);
                // After the tables are unlocked: the end of an inode may wait, and only for itself.
                drop(closed);
                Ok(Reply::Done)
            }
            Action::Unlink { file } => std::fs::remove_file(self.folders.find(*file)).map(done),
            Action::Read { file, span } => {
                let mut bytes = vec![0; span.len as usize];
                let file = self.file(*file)?;
                let mut filled = 0;
                while filled < bytes.len() {
                    match file.read_at(&mut bytes[filled..], span.at + filled as u64)? {
                        0 => break,
                        count => filled += count,
                    }
                }
                Ok(Reply::Content(Content::of(&bytes[..filled])))
            }
            Action::Write { file, span, byte } => {
                self.file(*file)?.write_all_at(&vec![*byte; span.len as usize], span.at).map(done)
            }
            Action::DirectIo { file, span, map, buffer, direction } => {
                self.direct_io(*file, *span, *map, *buffer, *direction)
            }
            Action::Truncate { file, size } => {
                nix::unistd::ftruncate(self.file(*file)?, *size as i64)?;
                Ok(Reply::Done)
            }
            Action::OpenTruncate { file } => {
                let path = self.folders.find(*file);
                // Not File::open(): it tries again after EINTR, which a case wants to see.
                let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
                nix::fcntl::open(&path, flags, nix::sys::stat::Mode::empty())?;
                Ok(Reply::Done)
            }
            Action::Fallocate { file, mode, span } => {
                let (at, len) = (span.at as i64, span.len as i64);
                nix::fcntl::fallocate(self.file(*file)?, fallocate_flags(*mode), at, len)?;
                Ok(Reply::Done)
            }
            Action::Clone { from, span, to, at } => {
                let (from, to) = (self.file(*from)?, self.file(*to)?);
                sys::clone_range(from.as_raw_fd(), *span, to.as_raw_fd(), *at).map(done)
            }
            Action::Dedupe { from, span, to, at } => {
                let (from, to) = (self.file(*from)?, self.file(*to)?);
                sys::dedupe_range(from.as_raw_fd(), *span, to.as_raw_fd(), *at).map(Reply::Count)
            }
            Action::Fsync { file, data_only } => {
                let file = self.file(*file)?;
                if *data_only { file.sync_data() } else { file.sync_all() }.map(done)
            }
            Action::Stat { file } => {
                let meta = self.file(*file)?.metadata()?;
                let allocated = meta.blocks() * 512 / PAGE;
                Ok(Reply::Stat {
                    size: meta.len(),
                    allocated,
                    links: meta.nlink(),
                    inode: meta.ino(),
                })
            }
            Action::Places { file, span } => {
                sys::places(self.file(*file)?.as_raw_fd(), *span).map(Reply::Places)
            }
            Action::FindPlace { file, place } => {
                sys::find_place(self.file(*file)?.as_raw_fd(), *place).map(Reply::Count)
            }
            Action::IsFree { file, place } => {
                let free = sys::is_free(self.file(*file)?.as_raw_fd(), *place)?;
                Ok(Reply::Count(u64::from(free)))
            }
            Action::Stored { file, span } => stored(&*self.file(*file)?, *span),
            Action::Map { map, file, span, sharing } => {
                let flags = match sharing {
                    Sharing::Shared => libc::MAP_SHARED,
                    Sharing::Private => libc::MAP_PRIVATE,
                    Sharing::Sync => libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC,
                };
                let mapping = Mapping::new(self.file(*file)?.as_raw_fd(), *span, flags)?;
                self.tables().maps.insert(*map, Arc::new(mapping));
                Ok(Reply::Done)
            }
            Action::Unmap { map } => {
                let mapping = self.mapping(*map)?;
                self.tables().maps.remove(map);
                mapping.unmap().map(done)
            }
            Action::Touch { map, span } => {
                let mapping = self.mapping(*map)?;
                counting_faults(|| mapping.touch(*span))
            }
            Action::Store { map, span, byte } => {
                let mapping = self.mapping(*map)?;
                counting_faults(|| mapping.store(*span, *byte))
            }
            Action::Load { map, span } => {
                self.mapping(*map)?.load(*span).map(|bytes| Reply::Content(Content::of(&bytes)))
            }
            Action::Msync { map } => self.mapping(*map)?.sync().map(done),
            Action::Pin { pin, map, span, kind, selfish } => {
                self.pin(*pin, *map, *span, *kind, *selfish, fds).map(done)
            }
            Action::Reap { pin } => self.reap(*pin),
            Action::PinLongterm { map, span } => {
                let buffer = self.mapping(*map)?.buffer(*span)?;
                Uring::new()?.register(&buffer).map(done)
            }
            Action::DirectLoad { map, span, piece, inflight, direction, submitted, stop } => {
                let device = first(fds)?;
                let buffers = (0..span.len / piece)
                    .map(|i| {
                        self.mapping(*map)?.buffer(Span { at: span.at + i * piece, len: *piece })
                    })
                    .collect::<io::Result<Vec<_>>>()?;
                let write = *direction == Direction::FromMemory;
                let (submitted, stop) = (self.cells.cell(submitted.0), self.cells.cell(stop.0));
                script::load(&device, &buffers, *inflight, write, submitted, stop).map(Reply::Count)
            }
            Action::Run(script) => script::run(self, script).map(Reply::Count),
        }
    }

    fn create(&self, id: FileId, medium: Medium, fill: &[u8]) -> io::Result<Reply> {
        let file = new_file(&self.folders.path(medium, id))?;
        let size = fill.len() as u64 * PAGE;
        file.set_len(size)?;
        for run in runs(fill).filter(|run| run.2 != 0) {
            file.write_all_at(&vec![run.2; run.1 * PAGE as usize], run.0 as u64 * PAGE)?;
        }
        file.sync_all()?;
        self.tables().files.insert(id, Some(Arc::new(file)));
        Ok(Reply::Done)
    }

    fn create_huge(&self, id: FileId, len: u64, byte: u8) -> io::Result<Reply> {
        let file = new_file(&self.folders.path(Medium::Dax, id))?;
        nix::fcntl::fallocate(&file, FallocateFlags::empty(), 0, len as i64)?;
        file.write_all_at(&vec![byte; len as usize], 0)?;
        file.sync_all()?;
        self.tables().files.insert(id, Some(Arc::new(file)));
        Ok(Reply::Done)
    }

    fn direct_io(
        &self,
        file: FileId,
        span: Span,
        map: MapId,
        buffer: u64,
        direction: Direction,
    ) -> io::Result<Reply> {
        let mapping = self.mapping(map)?;
        let path = self.folders.find(file);
        let direct =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path)?;
        let buffer = Span { at: buffer, len: span.len };
        let write = direction == Direction::FromMemory;
        mapping.transfer(buffer, direct.as_raw_fd(), span.at, write).map(Reply::Count)
    }

    fn pin(
        &self,
        pin: PinId,
        map: MapId,
        span: Span,
        kind: PinKind,
        selfish: bool,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mapping = self.mapping(map)?;
        match kind {
            PinKind::Splice if selfish => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
                nix::fcntl::fcntl(&writer, FcntlArg::F_SETPIPE_SZ(span.len.max(PAGE) as i32))?;
                mapping.splice(span, writer.as_fd())?;
                self.tables().kept.extend([reader, writer]);
                Ok(())
            }
            PinKind::Splice => mapping.splice(span, first(fds)?.as_fd()),
            PinKind::Direct { engine, direction, .. } => {
                let device = first(fds)?;
                let (buffer, write) = (mapping.buffer(span)?, direction == Direction::FromMemory);
                let flight = match engine {
                    Engine::Aio => {
                        let aio = Aio::new(1)?;
                        aio.submit(device.as_fd(), &buffer, 0, write, 0)?;
                        // What pins no page is over at once, and only its completion says so;
                        // the device withholds every other.
                        if let Some(event) = aio.completed()?.first() {
                            let code = i32::try_from(-event.result).unwrap_or(libc::EIO);
                            return Err(io::Error::from_raw_os_error(code));
                        }
                        Flight::Aio(aio, (device, buffer))
                    }
                    Engine::Uring => {
                        let mut ring = Uring::new()?;
                        ring.submit(device.as_fd(), &buffer, 0, write)?;
                        wait_for_workers();
                        Flight::Uring(Box::new(UringFlight(ring, (device, buffer))))
                    }
                };
                self.tables().flights.insert(pin, flight);
                Ok(())
            }
        }
    }

    fn reap(&self, pin: PinId) -> io::Result<Reply> {
        let flight = self.tables().flights.remove(&pin);
        match flight {
            Some(Flight::Aio(aio, _kept)) => {
                let event = aio.complete()?[0];
                if event.result < 0 {
                    return Err(io::Error::from_raw_os_error(-event.result as i32));
                }
                Ok(Reply::Count(event.result as u64))
            }
            Some(Flight::Uring(mut flight)) => flight.0.complete().map(Reply::Count),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }
}

/// Waits until the io_uring workers of this process that took over a submission have handed it
/// to the device and idle again.
///
/// A submission that would block (and one to a suspended device would) is repeated by a worker
/// after io_uring_enter(2) has returned; only then are the pages pinned.
fn wait_for_workers() {
    let pid = nix::unistd::getpid().as_raw();
    let mut last: (Vec<proc::Glance>, Instant) = (Vec::new(), Instant::now());
    loop {
        let workers: Vec<_> = proc::threads(pid)
            .into_iter()
            .filter_map(|tid| proc::Glance::at(pid, tid))
            .filter(|glance| glance.is_io_worker)
            .collect();
        let idle = |glance: &proc::Glance| {
            glance.sleeps() && glance.stack.first().is_some_and(|function| is_worker_loop(function))
        };
        if workers.iter().all(idle) {
            return;
        }
        if workers != last.0 {
            last = (workers, Instant::now());
        } else if workers.iter().all(proc::Glance::sleeps) && last.1.elapsed() > IDLE {
            return;
        }
        std::thread::yield_now();
    }
}

/// How long a worker must have slept unmoved to count as idle in a kernel whose worker has another
/// name than those known: handing a transfer to the device takes microseconds.
const IDLE: Duration = Duration::from_secs(1);

/// Reads the blocks of a file from the device that carries its file system.
fn stored(file: &File, span: Span) -> io::Result<Reply> {
    let number = file.metadata()?.dev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let named = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
    let name = named.file_name().ok_or_else(|| io::Error::other("the device has no name"))?;
    let node = Path::new("/dev").join(name);
    let device = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(node)?;
    let mut bytes = Aligned::filled(span.len as usize, 0);
    for (place, page) in
        sys::places(file.as_raw_fd(), span)?.into_iter().zip(bytes.chunks_mut(PAGE as usize))
    {
        if place != 0 {
            device.read_exact_at(page, place * PAGE)?;
        }
    }
    Ok(Reply::Content(Content::of(&bytes)))
}

/// The function in which an idle io_uring worker sleeps in kernels that are known, by its two
/// names.
fn is_worker_loop(function: &str) -> bool {
    function.starts_with("io_wq_worker") || function.starts_with("io_wqe_worker")
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}

/// Runs of equal bytes: first index, length, value.
fn runs(fill: &[u8]) -> impl Iterator<Item = (usize, usize, u8)> {
    let mut at = 0;
    fill.chunk_by(|a, b| a == b).map(move |run| {
        at += run.len();
        (at - run.len(), run.len(), run[0])
    })
}

fn first(fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    fds.into_iter().next().ok_or_else(|| io::Error::other("the action came without its descriptor"))
}

fn counting_faults(access: impl FnOnce() -> io::Result<()>) -> io::Result<Reply> {
    let before = sys::faults();
    access()?;
    Ok(Reply::Count(sys::faults() - before))
}

fn done<T>(_: T) -> Reply {
    Reply::Done
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

fn fallocate_flags(mode: Mode) -> FallocateFlags {
    match mode {
        Mode::Allocate => FallocateFlags::empty(),
        Mode::Punch => FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
        Mode::Zero => FallocateFlags::FALLOC_FL_ZERO_RANGE,
        Mode::Collapse => FallocateFlags::FALLOC_FL_COLLAPSE_RANGE,
        Mode::Insert => FallocateFlags::FALLOC_FL_INSERT_RANGE,
        Mode::Unshare => FallocateFlags::FALLOC_FL_UNSHARE_RANGE,
    }
}
