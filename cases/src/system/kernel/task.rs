//! A task: it takes actions from its socket and performs them.
//!
//! The case itself never touches the file system under test, so it cannot get stuck; its
//! tasks can, and are then looked at from outside.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, OFlag};

use super::actor::Actor;
use super::dax::{choose_dax, choose_immutable};
use super::folders::Folders;
use super::held_copy;
use super::pin;
use super::script;
use super::storage;
use super::sys::{self, Aligned, Mapping, SharedVars, Uring};
use super::wire::{self, MadeFile, Response, TaskRequest};
use crate::action::{
    Action, Content, Direction, FileId, MapId, Medium, Mode, PAGE, Partner, Reply, Sharing, Span,
    page, pages,
};
use crate::patience::Patience;
use crate::system::{Done, Errno, Kinship};

/// The time of [`Done`].
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("every kernel has a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// The first task of a new process: serves `socket` until the case lets go. Returns the exit code.
pub(crate) fn serve_process(
    socket: OwnedFd,
    folders: Folders,
    vars: SharedVars,
    patience: Patience,
) -> i32 {
    let actor = Actor::new(folders, vars, patience);
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
    /// Performs what comes until the other end is gone.
    fn serve(&self, socket: OwnedFd) -> io::Result<()> {
        let socket = Arc::new(socket);
        self.tables().sockets.push(Arc::clone(&socket));
        let served = self.obey(&socket);
        self.tables().sockets.retain(|known| !Arc::ptr_eq(known, &socket));
        served
    }

    fn obey(&self, socket: &OwnedFd) -> io::Result<()> {
        let hello = Response::Hello {
            pid: nix::unistd::getpid().as_raw(),
            tid: nix::unistd::gettid().as_raw(),
        };
        wire::send(socket.as_fd(), &hello, &[])?;
        while let Some((command, fds)) = wire::receive(socket.as_fd(), true)? {
            match command {
                TaskRequest::Do(number, action) => {
                    let began = now();
                    let result = self.perform(&action, fds).map_err(|error| errno(&error));
                    let done = Done { result, began, ended: now() };
                    let made = if done.result.is_ok() { self.made(&action) } else { None };
                    wire::send(socket.as_fd(), &Response::Done(number, done, made), &[])?;
                }
                TaskRequest::Control(number) => {
                    let began = now();
                    let result = self.folders.exercise().map(done).map_err(|error| errno(&error));
                    let done = Done { result, began, ended: now() };
                    wire::send(socket.as_fd(), &Response::Done(number, done, None), &[])?;
                }
                TaskRequest::Inspect(files, bystanders) => {
                    let seen = self.folders.look(&files, &bystanders);
                    let seen = seen.map_err(|error| errno(&error));
                    wire::send(socket.as_fd(), &Response::Inspected(seen), &[])?;
                }
                TaskRequest::Bystand(what) => {
                    let made = self.folders.bystand(&what);
                    let seen = made.and_then(|()| self.folders.look(&[], &[what]));
                    let seen = seen.map_err(|error| errno(&error));
                    wire::send(socket.as_fd(), &Response::Inspected(seen), &[])?;
                }
                TaskRequest::LetGo => {
                    let began = now();
                    self.let_go();
                    let done = Done { result: Ok(Reply::Done), began, ended: now() };
                    wire::send(socket.as_fd(), &Response::Done(0, done, None), &[])?;
                }
                TaskRequest::Spawn(kinship) => {
                    let Some(theirs) = fds.into_iter().next() else {
                        return Err(io::Error::other("a new task came without its socket"));
                    };
                    if let Err(error) = self.spawn(kinship, theirs) {
                        wire::send(socket.as_fd(), &Response::NoSpawn(errno(&error)), &[])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The file that `action`, which went well, made on the file system under test.
    fn made(&self, action: &Action) -> Option<MadeFile> {
        let (Action::Create { file, medium: Medium::Dax, .. } | Action::CreateHuge { file, .. }) =
            action
        else {
            return None;
        };
        let inode = self.file(*file).and_then(|file| file.metadata()).ok()?.ino();
        Some(MadeFile { file: *file, inode })
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

    /// Does one action.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(crate) fn perform(&self, action: &Action, fds: Vec<OwnedFd>) -> io::Result<Reply> {
        match action {
            Action::Create { file, medium, fill, .. } => self.create(*file, *medium, fill),
            Action::CreateWithoutDax { file, fill, .. } => {
                self.fill(*file, self.folders.create_without_dax(*file)?, fill)
            }
            Action::CreateSpare { file, fill, .. } => {
                self.fill(*file, self.folders.create_spare(*file)?, fill)
            }
            Action::Whole(what) => self.folders.spare()?.does(*what).map(done),
            Action::DropCaches => {
                // What is dirty stays. fsync leaves an inode that was stored to through a mapping in that state.
                nix::unistd::sync();
                std::fs::write("/proc/sys/vm/drop_caches", "2")?;
                unused_inodes().map(Reply::Count)
            }
            Action::Poison { map, span } => {
                self.mapping(*map)?.poison(*span).map(|told| Reply::Count(u64::from(told)))
            }
            Action::CreateInFolder { file, fill, .. } => {
                self.fill(*file, self.folders.create_in_folder(*file)?, fill)
            }
            Action::RemoveFolder { file } => self.folders.remove_folder(*file).map(done),
            Action::BulkStat { inode, .. } => {
                let root = File::open(self.folders.spare()?.folder())?;
                sys::bulkstat(&root, *inode).map(Reply::Count)
            }
            Action::PoisonBlock { block, .. } => self.folders.spare()?.poison(*block).map(done),
            Action::WriteProtect { map } => self.mapping(*map)?.write_protect().map(done),
            Action::Track { map, by } => self.mapping(*map)?.track(*by).map(done),
            Action::StoredTo { map, span, by } => {
                self.mapping(*map)?.stored_to(*span, *by).map(Reply::Count)
            }
            Action::Remap { map, span, at } => self.mapping(*map)?.remap(*span, *at).map(done),
            Action::SoftOffline { map, span } => self.mapping(*map)?.soft_offline(*span).map(done),
            Action::Scrub { file } => {
                sys::scrub(&*self.file(*file)?).map(|corrupt| Reply::Count(u64::from(corrupt)))
            }
            Action::CacheStat { file } => sys::cached(&*self.file(*file)?).map(Reply::Count),
            Action::SpoilBlocks { file, span } => {
                let first = span.at / PAGE;
                let all = pages(first, span.end().div_ceil(PAGE) - first);
                let blocks = sys::blocks(self.file(*file)?.as_raw_fd(), all)?;
                self.folders.spare()?.spoil(&blocks, *span).map(done)
            }
            Action::SpoilBlock { block, .. } => {
                self.folders.spare()?.spoil(&[*block], page(0)).map(done)
            }
            Action::Immutable { file, on } => choose_immutable(&*self.file(*file)?, *on).map(done),
            Action::Repair { file } => {
                sys::repair(&*self.file(*file)?).map(|corrupt| Reply::Count(u64::from(corrupt)))
            }
            Action::CreateHuge { file, len, byte, .. } => self.create_huge(*file, *len, *byte),
            Action::Close { file } => {
                self.file(*file)?;
                let closed = self.tables().files.insert(*file, None);
                // After the tables are unlocked: the end of an inode may wait, and only for itself.
                drop(closed);
                Ok(Reply::Done)
            }
            Action::Reopen { file } => self.reopen(*file).map(done),
            Action::FlipDax { file } => {
                let file = self.file(*file)?;
                choose_dax(&file, false)?;
                choose_dax(&file, true).map(done)
            }
            Action::Unlink { file } => std::fs::remove_file(self.folders.find(*file)).map(done),
            Action::Read { file, span } if !fds.is_empty() => {
                let bytes = held_copy::read(&pin::sent(fds)?, &*self.file(*file)?, *span)?;
                Ok(Reply::Content(Content::of(&bytes)))
            }
            Action::Write { file, span, byte } if !fds.is_empty() => {
                held_copy::write(&pin::sent(fds)?, &*self.file(*file)?, *span, *byte).map(done)
            }
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
            Action::Gather { file, span, maps: [first, second] } => {
                let maps = [&*self.mapping(*first)?, &*self.mapping(*second)?];
                Mapping::gather(maps, span.len / 2, self.file(*file)?.as_raw_fd(), span.at)
                    .map(Reply::Count)
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
            Action::CancelledOpenTruncate { file } => {
                Uring::new()?.cancelled_open_truncate(&self.folders.find(*file)).map(done)
            }
            Action::Fallocate { file, mode, span } => {
                let (at, len) = (span.at as i64, span.len as i64);
                nix::fcntl::fallocate(self.file(*file)?, fallocate_flags(*mode), at, len)?;
                Ok(Reply::Done)
            }
            Action::CancelledFallocate { file, mode, span } => {
                let flags = fallocate_flags(*mode).bits();
                Uring::new()?.cancelled_fallocate(self.file(*file)?.as_fd(), flags, *span).map(done)
            }
            Action::Clone { from, span, to, at } => {
                let (from, to) = (self.file(*from)?, self.file(*to)?);
                sys::clone_range(from.as_raw_fd(), *span, to.as_raw_fd(), *at).map(done)
            }
            Action::Dedupe { from, span, to, at } => {
                let (from, to) = (self.file(*from)?, self.file(*to)?);
                sys::dedupe_range(from.as_raw_fd(), *span, to.as_raw_fd(), *at).map(Reply::Count)
            }
            Action::MoveExtents { file, donor } => {
                sys::move_extents(&*self.file(*file)?, &*self.file(*donor)?).map(done)
            }
            Action::Exchange { file, with: Partner::File(other) } => {
                sys::swap_extents(&*self.file(*file)?, &*self.file(*other)?).map(done)
            }
            Action::Exchange { file, with: Partner::Range(other) } => {
                sys::exchange_range(&*self.file(*file)?, &*self.file(*other)?).map(done)
            }
            Action::Exchange { file, with: Partner::BootLoader } => {
                sys::swap_boot(&*self.file(*file)?).map(done)
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
            Action::Blocks { file, span } => {
                sys::blocks(self.file(*file)?.as_raw_fd(), *span).map(Reply::Blocks)
            }
            Action::FindBlock { file, block } => {
                sys::find_block(self.file(*file)?.as_raw_fd(), *block).map(Reply::Count)
            }
            Action::IsFree { file, block } => {
                let file = self.file(*file)?;
                let free = sys::is_free(file.as_raw_fd(), storage::device(&file)?, *block)?;
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
            Action::Protect { map } => self.mapping(*map)?.protect().map(done),
            Action::Move { map } => self.mapping(*map)?.relocate().map(done),
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
            Action::FutexWait { map } => self.mapping(*map)?.futex_wait().map(done),
            Action::FutexWake { map } => self.mapping(*map)?.futex_wake().map(Reply::Count),
            Action::Pin { pin, map, span, kind } => {
                self.pin(*pin, *map, *span, *kind, fds).map(done)
            }
            Action::Reap { pin } => self.reap(*pin).map(Reply::Count),
            Action::PinLongterm { map, span } => {
                let buffer = self.mapping(*map)?.buffer(*span)?;
                Uring::new()?.register(&buffer).map(done)
            }
            Action::DirectLoad { map, span, piece, inflight, direction, submitted, stop } => {
                let device = pin::sent(fds)?;
                let buffers = (0..span.len / piece)
                    .map(|i| {
                        self.mapping(*map)?.buffer(Span { at: span.at + i * piece, len: *piece })
                    })
                    .collect::<io::Result<Vec<_>>>()?;
                let write = *direction == Direction::FromMemory;
                let (submitted, stop) = (self.vars.var(submitted.0), self.vars.var(stop.0));
                script::load(&device, &buffers, *inflight, write, submitted, stop).map(Reply::Count)
            }
            Action::Run(script) => {
                let perform = |action: &Action| self.perform(action, Vec::new());
                script::run(self, script, perform).map(Reply::Count)
            }
        }
    }

    fn create(&self, id: FileId, medium: Medium, fill: &[u8]) -> io::Result<Reply> {
        self.fill(id, File::create_new(self.folders.path(medium, id))?, fill)
    }

    /// Writes a new file, and has it be `id` from now on.
    fn fill(&self, id: FileId, file: File, fill: &[u8]) -> io::Result<Reply> {
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
        let file = File::create_new(self.folders.path(Medium::Dax, id))?;
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
}

/// How many inodes the kernel has in memory although nobody uses them.
fn unused_inodes() -> io::Result<u64> {
    // Linux Documentation/admin-guide/sysctl/fs.rst: "nr_inodes" and "nr_free_inodes".
    let numbers = std::fs::read_to_string("/proc/sys/fs/inode-nr")?;
    let unused = numbers.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    unused.ok_or_else(|| io::Error::other("/proc/sys/fs/inode-nr has no second number"))
}

/// Reads the blocks of a file from the device that carries its file system.
fn stored(file: &File, span: Span) -> io::Result<Reply> {
    let number = storage::device(file)?;
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let named = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
    let name = named.file_name().ok_or_else(|| io::Error::other("the device has no name"))?;
    let node = Path::new("/dev").join(name);
    let device = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(node)?;
    let mut bytes = Aligned::filled(span.len as usize, 0);
    for (block, page) in
        sys::blocks(file.as_raw_fd(), span)?.into_iter().zip(bytes.chunks_mut(PAGE as usize))
    {
        if block != 0 {
            device.read_exact_at(page, block * PAGE)?;
        }
    }
    Ok(Reply::Content(Content::of(&bytes)))
}

/// Runs of equal bytes: first index, length, value.
fn runs(fill: &[u8]) -> impl Iterator<Item = (usize, usize, u8)> {
    let mut at = 0;
    fill.chunk_by(|a, b| a == b).map(move |run| {
        at += run.len();
        (at - run.len(), run.len(), run[0])
    })
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
