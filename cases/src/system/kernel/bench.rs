//! The devices around the file system under test: one that withholds completion, one that is
//! slow, one that carries a file system with a page cache.
//!
//! All are made of null_blk (through configfs, so that none of the user's own devices is ever
//! touched) and device-mapper, and all carry the run that they belong to in their names, so that
//! whatever a killed case leaves behind can be found and released, and nothing of another run's.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::flushes;
use super::owner::Owner;
use super::spare::SPARE;
use super::sys::{self, Aligned, Dm};
use super::writeback;
use crate::action::Content;
use crate::patience::Limit;
use crate::system::{Tried, Trouble};

/// Part of the name of a mount point of a page-cache file system.
const CACHE: &str = "cache-";

/// How many devices of one role a run has at most. More than one only while an older one cannot
/// be given back.
const MOST: u32 = 100;

/// The most characters of a disk's name: `DISK_NAME_LEN`, include/linux/blkdev.h, less the end.
const DISK_NAME: usize = 31;

/// Bytes of the held device that one pin may use.
const SLICE: u64 = 4 << 20;

/// How many pins may be held at a time.
const SLICES: u64 = 16;

/// Turns an error into trouble with the machinery.
pub(crate) fn trouble(what: impl ToString) -> impl FnOnce(io::Error) -> Trouble {
    move |error| Trouble::Machinery { what: what.to_string(), why: error.to_string() }
}

/// A null_blk device of the project's own.
#[derive(Debug)]
struct NullBlk {
    folder: PathBuf,
    /// `/dev/nullbN`.
    node: PathBuf,
}

/// Where configfs is, mounted if it was not.
fn nullb_folder() -> Result<PathBuf, String> {
    modprobe("null_blk", &["nr_devices=0"])?;
    let configfs = Path::new("/sys/kernel/config");
    if !configfs.join("nullb").exists() {
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("configfs"), configfs, Some("configfs"), none, None::<&str>)
            .map_err(|error| format!("cannot mount configfs: {error}"))?;
    }
    let folder = configfs.join("nullb");
    if folder.exists() { Ok(folder) } else { Err("null_blk has no configfs interface".to_owned()) }
}

/// Has a module loaded, if it is not.
pub(super) fn modprobe(module: &str, options: &[&str]) -> Result<(), String> {
    if Path::new("/sys/module").join(module).exists() {
        return Ok(());
    }
    let output = Command::new("modprobe")
        .arg(module)
        .args(options)
        .output()
        .map_err(|error| format!("cannot run modprobe: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("no {module}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl NullBlk {
    fn new(owner: Owner, role: &str, settings: &[(&str, String)]) -> Result<Self, String> {
        let all = nullb_folder()?;
        let folder = unused(|number| {
            let folder = all.join(format!("{}{role}{number}", owner.prefix()));
            fs::create_dir(&folder).map(|()| folder)
        })
        .map_err(|error| format!("{}: {error}", all.display()))?;
        let device = Self { node: PathBuf::new(), folder };
        for (name, value) in settings.iter().map(|(n, v)| (*n, v.as_str())).chain([("power", "1")])
        {
            fs::write(device.folder.join(name), value)
                .map_err(|error| format!("null_blk {name}={value}: {error}"))?;
        }
        let index =
            fs::read_to_string(device.folder.join("index")).map_err(|error| error.to_string())?;
        // The directory's drop would otherwise be skipped by moving fields out of it.
        let mut device = device;
        device.node = PathBuf::from(format!("/dev/nullb{}", index.trim()));
        if !device.node.exists() {
            // Newer kernels name the disk after the directory.
            let name = device.folder.file_name().expect("it was joined").to_string_lossy();
            let named = Path::new("/dev").join(&name[..name.len().min(DISK_NAME)]);
            if named.exists() {
                device.node = named;
            }
        }
        Ok(device)
    }

    fn open_direct(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(&self.node)
    }

    fn number(&self) -> io::Result<String> {
        let name = self.node.file_name().expect("a device node has a name");
        Ok(fs::read_to_string(Path::new("/sys/block").join(name).join("dev"))?.trim().to_owned())
    }
}

impl Drop for NullBlk {
    fn drop(&mut self) {
        // What fails here is found by `sweep`, which reports it.
        let _ = fs::write(self.folder.join("power"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A slice of the held device behind a device-mapper device of its own.
#[derive(Debug)]
pub(crate) struct HeldSlice {
    control: OwnedFd,
    name: String,
    number: u64,
    bytes: u64,
    backing: File,
    /// The device, for direct I/O.
    opened: Option<OwnedFd>,
}

impl HeldSlice {
    /// Lets the I/O through.
    pub(crate) fn resume(&self) -> io::Result<()> {
        sys::device_mapper(self.control.as_fd(), &self.name, &Dm::Resume)?;
        Ok(())
    }

    /// What the device holds.
    pub(crate) fn content(&self) -> io::Result<Content> {
        let mut bytes = Aligned::filled(self.bytes as usize, 0);
        self.backing.read_exact_at(&mut bytes, self.number * SLICE)?;
        Ok(Content::of(&bytes))
    }
}

impl Drop for HeldSlice {
    fn drop(&mut self) {
        let _ = self.resume();
        drop(self.opened.take());
        // Busy while a task still has it open; `sweep` removes it then.
        let _ = sys::device_mapper(self.control.as_fd(), &self.name, &Dm::Remove);
    }
}

/// The devices of a case, or of many one after the other; made when first asked for.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Whose they are.
    owner: Owner,
    /// Slices that nobody uses, before the device that they are of: the order of their end.
    spare: Vec<HeldSlice>,
    held: Option<NullBlk>,
    taken: u64,
    slow: Option<NullBlk>,
    cache: Option<CacheFs>,
    /// Whether any of them was ever asked for.
    used: bool,
}

/// A mounted file system that uses the page cache.
#[derive(Debug)]
struct CacheFs {
    mount: PathBuf,
    _device: NullBlk,
}

impl Drop for CacheFs {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.mount);
    }
}

impl Bench {
    /// No device yet.
    pub(crate) fn new(owner: Owner) -> Self {
        Self {
            owner,
            spare: Vec::new(),
            held: None,
            taken: 0,
            slow: None,
            cache: None,
            used: false,
        }
    }

    /// Whether it may have left something to sweep up.
    pub(crate) const fn is_used(&self) -> bool {
        self.used
    }

    /// Takes note that a file system of the case's own will be mounted.
    pub(crate) fn expect_spare(&mut self) {
        self.used = true;
    }

    /// Makes sure that there is a device that can withhold completion.
    pub(crate) fn prepare_held(&mut self) -> Result<(), String> {
        if self.held.is_none() {
            self.used = true;
            super::mapper::offered()?;
            let size = (SLICE * SLICES) >> 20;
            self.held = Some(NullBlk::new(
                self.owner,
                "held",
                &[
                    ("size", size.to_string()),
                    ("memory_backed", "1".to_owned()),
                    ("blocksize", "512".to_owned()),
                ],
            )?);
        }
        Ok(())
    }

    /// A new slice, filled with `byte`, that withholds completion from now on; and a
    /// descriptor for direct I/O to its first `bytes` bytes.
    pub(crate) fn hold(&mut self, bytes: u64, byte: u8) -> Tried<(HeldSlice, OwnedFd)> {
        self.prepare_held().map_err(Trouble::NotOffered)?;
        let mut slice = match self.spare.pop() {
            Some(spare) => spare,
            None => self.new_slice()?,
        };
        if bytes > SLICE {
            return Err(Trouble::Machinery {
                what: "a held device".to_owned(),
                why: format!("a slice has {SLICE} bytes"),
            });
        }
        let why = format!("the held device {}", slice.name);
        slice.bytes = bytes;
        let fill = Aligned::filled(bytes as usize, byte);
        slice.backing.write_all_at(&fill, slice.number * SLICE).map_err(trouble(&why))?;
        let opened = slice.opened.as_ref().expect("only its end closes it");
        let opened = opened.try_clone().map_err(trouble(&why))?;
        sys::device_mapper(slice.control.as_fd(), &slice.name, &Dm::Suspend)
            .map_err(trouble(&why))?;
        Ok((slice, opened))
    }

    /// Takes back a slice that lets everything through, for another to use.
    pub(crate) fn give_back(&mut self, slice: HeldSlice) -> io::Result<()> {
        slice.resume()?;
        self.spare.push(slice);
        Ok(())
    }

    /// Empties the page-cache file system, whose files end with their case.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let Some(cache) = &self.cache else {
            return Ok(());
        };
        for entry in fs::read_dir(&cache.mount)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new slice, which lets everything through.
    fn new_slice(&mut self) -> Tried<HeldSlice> {
        let held = self.held.as_ref().expect("it was prepared");
        let number = self.taken;
        if number == SLICES {
            return Err(Trouble::Machinery {
                what: "a held device".to_owned(),
                why: format!("a case has {SLICES}"),
            });
        }
        self.taken += 1;
        let control = control().map_err(trouble("/dev/mapper/control"))?;
        let backing = held.open_direct().map_err(trouble("the held device"))?;
        let device = held.number().map_err(trouble("the held device"))?;
        let (name, minor) = unused(|unique| {
            let name = format!("{}{number}-{unique}", self.owner.prefix());
            let minor = sys::device_mapper(control.as_fd(), &name, &Dm::Create)?;
            Ok((name, minor))
        })
        .map_err(trouble("a held device"))?;
        let why = || format!("the held device {name}");
        let mut slice =
            HeldSlice { control, name: name.clone(), number, bytes: 0, backing, opened: None };
        let table =
            Dm::Load { device: &device, offset: number * SLICE / 512, sectors: SLICE / 512 };
        for what in [table, Dm::Resume] {
            sys::device_mapper(slice.control.as_fd(), &name, &what).map_err(trouble(why()))?;
        }
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(format!("/dev/dm-{minor}"))
            .map_err(trouble(format!("/dev/dm-{minor}")))?;
        slice.opened = Some(opened.into());
        Ok(slice)
    }

    /// Makes sure that there is a slow device.
    pub(crate) fn prepare_slow(&mut self) -> Result<(), String> {
        if self.slow.is_none() {
            self.used = true;
            self.slow = Some(NullBlk::new(
                self.owner,
                "slow",
                &[
                    ("size", "64".to_owned()),
                    ("memory_backed", "0".to_owned()),
                    ("queue_mode", "2".to_owned()),
                    ("irqmode", "2".to_owned()),
                    ("completion_nsec", "2000000".to_owned()),
                    ("hw_queue_depth", "128".to_owned()),
                ],
            )?);
        }
        Ok(())
    }

    /// A descriptor for direct I/O to the slow device, on which each transfer takes 2 ms.
    pub(crate) fn slow(&mut self) -> Tried<OwnedFd> {
        self.prepare_slow().map_err(Trouble::NotOffered)?;
        let slow = self.slow.as_ref().expect("just prepared");
        Ok(slow.open_direct().map_err(trouble("the slow device"))?.into())
    }

    /// Makes sure that a file system of the same kind as that of `like`, with a page cache, is
    /// mounted on `mount`.
    pub(crate) fn prepare_cache(&mut self, like: &Path, mount: &Path) -> Result<(), String> {
        if self.cache.is_some() {
            return Ok(());
        }
        self.used = true;
        let (kind, options): (_, &[&str]) = match nix::sys::statfs::statfs(like)
            .map_err(|error| format!("{}: {error}", like.display()))?
            .filesystem_type()
        {
            nix::sys::statfs::XFS_SUPER_MAGIC => ("xfs", &["-q", "-f"]),
            nix::sys::statfs::EXT4_SUPER_MAGIC => ("ext4", &["-q", "-F"]),
            other => {
                return Err(format!(
                    "a file system of type {:#x} is neither xfs nor ext4",
                    other.0
                ));
            }
        };
        let device = NullBlk::new(
            self.owner,
            "page",
            &[
                // The smallest that mkfs.xfs makes is 300 MiB; memory is taken as it is written.
                ("size", "512".to_owned()),
                ("memory_backed", "1".to_owned()),
            ],
        )?;
        let output = Command::new(format!("mkfs.{kind}"))
            .args(options)
            .arg(&device.node)
            .output()
            .map_err(|error| format!("cannot run mkfs.{kind}: {error}"))?;
        if !output.status.success() {
            return Err(format!("mkfs.{kind}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        fs::create_dir_all(mount).map_err(|error| format!("{}: {error}", mount.display()))?;
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some(&device.node), mount, Some(kind), none, None::<&str>)
            .map_err(|error| format!("cannot mount {}: {error}", device.node.display()))?;
        self.cache = Some(CacheFs { mount: mount.to_owned(), _device: device });
        Ok(())
    }
}

pub(super) fn control() -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open("/dev/mapper/control")?.into())
}

/// What the first number makes that nobody else has.
fn unused<T>(make: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
    for number in 0..MOST {
        match make(number) {
            // Device-mapper says that a name is taken with EBUSY.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy
                ) => {}
            made => return made,
        }
    }
    Err(io::Error::other(format!("{MOST} devices of this run still exist; they were not released")))
}

/// Where the page-cache file system of this case is mounted.
pub(crate) fn cache_mount(owner: Owner) -> PathBuf {
    std::env::temp_dir().join(format!("{}{CACHE}{}", owner.prefix(), std::process::id()))
}

/// How long something may be busy after its user has ended: the kernel may close a file later, and
/// udev looks into every device.
pub(crate) const BUSY: Limit = Limit::secs(10);

/// Gives back all that ended or killed cases of this owner left behind, and of those that are gone;
/// returns what could not be released. What is busy is tried again until `patience` is over.
pub(crate) fn sweep(owner: Owner, patience: Duration) -> Vec<String> {
    let until = Instant::now() + patience;
    loop {
        let left = sweep_once(owner);
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sweep_once(owner: Owner) -> Vec<String> {
    let mut left = Vec::new();
    let mut note = |what: &Path, result: io::Result<()>| {
        if let Err(error) = result {
            left.push(format!("{}: {error}", what.display()));
        }
    };
    for block in entries(Path::new("/sys/block")) {
        let Ok(name) = fs::read_to_string(block.join("dm/name")) else {
            continue;
        };
        let name = name.trim();
        // What the file system under test is on stays as long as its run.
        if !owner.may_take(name) || name == owner.shape() {
            continue;
        }
        let result = control().and_then(|control| {
            sys::device_mapper(control.as_fd(), name, &Dm::Resume)?;
            sys::device_mapper(control.as_fd(), name, &Dm::Remove).map(drop)
        });
        note(&block, result);
    }
    let takes = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.filter(|name| owner.may_take(name))
    };
    let is_mount = |path: &PathBuf| {
        takes(path).is_some_and(|name| name.contains(CACHE) || name.contains(SPARE))
    };
    for mount in entries(&std::env::temp_dir()).filter(is_mount) {
        // Frozen, it would keep its device. It seldom is, and then the kernel says so.
        let _ = File::open(&mount).and_then(|root| sys::thaw(&root));
        match nix::mount::umount(&mount) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => note(&mount, fs::remove_dir(&mount)),
            Err(error) => note(&mount, Err(error.into())),
        }
    }
    // The probes last: while something is recorded of them, they stay.
    for (path, result) in writeback::sweep(owner).into_iter().chain(flushes::sweep(owner)) {
        note(&path, result);
    }
    for device in entries(Path::new("/sys/kernel/config/nullb")) {
        if takes(&device).is_some() {
            let result =
                fs::write(device.join("power"), "0").and_then(|()| fs::remove_dir(&device));
            note(&device, result);
        }
    }
    left
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
