//! What a kernel, its file system and the machine's devices offer, found by trying.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::flushes::FlushWatch;
use super::{KernelSystem, bench, mapper, sys};
use crate::action::{
    Action, FileId, LARGE, MapId, Medium, PAGE, Partner, Reply, Sharing, Span, Tracker, page,
};
use crate::system::{MAIN, Need, System};

fn can_track(by: Tracker) -> Result<(), String> {
    sys::can_track(by).map_err(|why| format!("{by}: {why}"))
}

fn can_tell_what_is_cached() -> Result<(), String> {
    let own = std::fs::File::open("/proc/self/exe");
    let cached = own.and_then(|file| sys::cached(&file));
    cached.map(drop).map_err(|why| format!("cachestat: {why}"))
}

fn can_withhold() -> Result<(), String> {
    sys::userfault::can_withhold().map_err(|why| format!("userfaultfd: {why}"))
}

impl KernelSystem {
    /// Does an action that nothing blocks, for the controller's own purposes.
    fn try_out(&mut self, action: Action) -> Result<Reply, String> {
        let words = action.to_string();
        // What it is done to is the probe's own and tells nobody anything.
        let what = words.split(' ').next().unwrap_or_default().to_owned();
        let op = self.start(MAIN, action).map_err(|trouble| trouble.to_string())?;
        let done = self.wait(op).map_err(|trouble| trouble.to_string())?;
        done.result.map_err(|errno| format!("{what} was refused with {errno}"))
    }

    /// Tries whether something is possible by doing it to a file that is removed again.
    pub(super) fn probe(&mut self, need: Need) -> Result<(), String> {
        // Out of the way of the identifiers that cases count up from 1.
        let (file, map) = (FileId(u32::MAX), MapId(u32::MAX));
        match need {
            Need::Pin(kind) => return self.offers_pin(kind),
            Need::Hold(point) => return self.offers_hold(point),
            Need::HoldInCopy => return can_withhold(),
            Need::Spare
            | Need::LargeSpare
            | Need::ShutDown
            | Need::Unbind
            | Need::BadBlocks
            | Need::Immutable
            | Need::PoisonBlock
            | Need::BulkStat
            | Need::Mapper => return self.offers_spare(need),
            Need::Poison => return sys::can_poison().map_err(|why| format!("madvise: {why}")),
            Need::WriteProtect => {
                return sys::can_write_protect().map_err(|why| format!("userfaultfd: {why}"));
            }
            Need::SoftDirty => return can_track(Tracker::SoftDirty),
            Need::PagemapScan => return can_track(Tracker::Scan),
            Need::CacheStat => return can_tell_what_is_cached(),
            Need::Flushes => return self.offers_flushes(),
            Need::HeldIo => return self.bench().prepare_held(),
            Need::SlowIo => return self.bench().prepare_slow(),
            Need::Uring => {
                return sys::Uring::new().map(drop).map_err(|error| format!("io_uring: {error}"));
            }
            Need::PageCache => {
                let mount = bench::cache_mount(self.devices.owner);
                return self.bench().prepare_cache(&self.setup.directory, &mount);
            }
            Need::Reflink
            | Need::Fallocate(_)
            | Need::MapSync
            | Need::SwapExtents
            | Need::ExchangeRange
            | Need::Scrub
            | Need::Repair
            | Need::SwapBoot => {
                let name = "probe".to_owned();
                self.try_out(Action::Create {
                    file,
                    name,
                    medium: Medium::Dax,
                    fill: vec![b'p'; 4],
                })?;
            }
            Need::WithoutDax | Need::MoveExtents => {
                let (name, fill) = ("probe".to_owned(), vec![b'p'; 4]);
                self.try_out(Action::CreateWithoutDax { file, name, fill })
                    .map_err(|why| format!("{why}: --shape dax-inode has files without DAX"))?;
            }
            Need::Huge => {
                let name = "probe".to_owned();
                self.try_out(Action::CreateHuge { file, name, len: 2 << 20, byte: b'p' })?;
            }
        }
        let all =
            |len| Action::Map { map, file, span: Span { at: 0, len }, sharing: Sharing::Shared };
        let tried = match need {
            Need::Reflink => self
                .try_out(Action::Clone { from: file, span: page(0), to: file, at: 2 * PAGE })
                .map(drop),
            Need::Fallocate(mode) => {
                self.try_out(Action::Fallocate { file, mode, span: page(1) }).map(drop)
            }
            Need::MapSync => {
                let sharing = Sharing::Sync;
                let mapped = self.try_out(Action::Map { map, file, span: page(0), sharing });
                mapped.and_then(|_| self.try_out(Action::Unmap { map })).map(drop)
            }
            Need::SwapExtents => self.exchanges_with_another(file, Partner::File),
            Need::ExchangeRange => self
                .exchanges_with_another(file, Partner::Range)
                .map_err(|why| format!("{why}: --shape exchange makes a file system that can")),
            Need::WithoutDax => Ok(()),
            Need::Scrub => self.try_out(Action::Scrub { file }).map(drop),
            Need::Repair => self.try_out(Action::Repair { file }).map(drop),
            Need::MoveExtents => self.moves_into_another(file),
            // Twice: what the boot loader has is its own.
            Need::SwapBoot => {
                let swap = Action::Exchange { file, with: Partner::BootLoader };
                self.try_out(swap.clone()).and_then(|_| self.try_out(swap)).map(drop)
            }
            _ => self.try_out(all(2 << 20)).and_then(|_| {
                let faults = self.try_out(Action::Store {
                    map,
                    span: Span { at: 0, len: 2 << 20 },
                    byte: b'q',
                });
                self.try_out(Action::Unmap { map })?;
                match faults? {
                    Reply::Count(1) => Ok(()),
                    other => Err(format!("filling 2 MiB took not one fault but {other}")),
                }
            }),
        };
        self.forget(file)?;
        tried
    }

    /// Whether the spare device, or the file system on it, can do this.
    fn offers_spare(&mut self, need: Need) -> Result<(), String> {
        let spare = self.spare.clone()?;
        self.bench().expect_spare();
        match need {
            Need::LargeSpare => spare.has_room(LARGE),
            Need::Unbind => spare.can_unbind(),
            Need::BadBlocks => spare.can_spoil(),
            Need::PoisonBlock => spare.can_poison(),
            Need::Mapper => mapper::offered(),
            Need::BulkStat => spare.can_bulkstat(),
            _ => Ok(()),
        }
    }

    /// Tries whether `file`, of four pages, can exchange its blocks with another.
    fn exchanges_with_another(
        &mut self,
        file: FileId,
        partner: fn(FileId) -> Partner,
    ) -> Result<(), String> {
        let other = FileId(file.0 - 1);
        let (name, medium) = ("probe-2".to_owned(), Medium::Dax);
        self.try_out(Action::Create { file: other, name, medium, fill: vec![b'q'; 4] })?;
        let tried = self.try_out(Action::Exchange { file, with: partner(other) });
        self.forget(other)?;
        tried.map(drop)
    }

    /// Tries whether `file`, of four pages, can move into the blocks of another.
    fn moves_into_another(&mut self, file: FileId) -> Result<(), String> {
        let donor = FileId(file.0 - 1);
        let (name, fill) = ("probe-2".to_owned(), vec![b'q'; 4]);
        self.try_out(Action::CreateWithoutDax { file: donor, name, fill })?;
        let tried = self.try_out(Action::MoveExtents { file, donor });
        self.forget(donor)?;
        tried.map(drop)
    }

    /// Whether it can be seen what is flushed from the processor's caches: if so it is, from now on.
    fn offers_flushes(&mut self) -> Result<(), String> {
        let (file, map) = (FileId(u32::MAX), MapId(u32::MAX));
        let (name, medium, fill) = ("probe".to_owned(), Medium::Dax, vec![b'p']);
        let device = std::fs::metadata(&self.setup.directory).map_err(|why| why.to_string())?.dev();
        let mapped = format!("/sys/dev/block/{}:{}/dm", major(device), minor(device));
        if Path::new(&mapped).exists() {
            return Err("on device-mapper nobody knows which block is flushed".to_owned());
        }
        let mut watch = FlushWatch::begin(self.devices.owner).map_err(|why| why.to_string())?;
        self.try_out(Action::Create { file, name, medium, fill })?;
        let sharing = Sharing::Shared;
        self.try_out(Action::Map { map, file, span: page(0), sharing })?;
        self.try_out(Action::Fsync { file, data_only: false })?;
        watch.forget()?;
        self.try_out(Action::Store { map, span: page(0), byte: b'q' })?;
        self.try_out(Action::Fsync { file, data_only: false })?;
        let blocks = self.blocks_of(file, page(0))?;
        watch.locate(blocks[0])?;
        self.try_out(Action::Unmap { map })?;
        self.flushes = Some(watch);
        self.forget(file)
    }

    /// The block of each page.
    pub(super) fn blocks_of(&mut self, file: FileId, span: Span) -> Result<Vec<u64>, String> {
        match self.try_out(Action::Blocks { file, span })? {
            Reply::Blocks(blocks) if !blocks.contains(&0) => Ok(blocks),
            other => Err(format!("blocks has {other}")),
        }
    }

    /// Removes a file.
    fn forget(&mut self, file: FileId) -> Result<(), String> {
        for action in [Action::Unlink { file }, Action::Close { file }] {
            self.try_out(action)?;
        }
        Ok(())
    }
}
