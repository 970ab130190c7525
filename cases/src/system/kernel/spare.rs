//! The file system on the spare device: one of the case's own, for what changes a whole file system.
//!
//! It is made by the case and goes with it. Of the file system under test nothing is needed but its
//! kind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::MsFlags;

use super::bad_blocks;
use super::dax::is_dax;
use super::failure;
use super::mapper;
use super::owner::Owner;
use super::{SpareDevice, sys};
use crate::action::{LARGE, PAGE, Span, Whole};

/// Part of the name of the mount point.
pub(super) const SPARE: &str = "spare-";

/// MiB that a new one has: mkfs.xfs makes none of less than 300.
const SIZE: u64 = 320;

/// What the drivers of persistent memory are found by.
const DRIVERS: &str = "/sys/bus/nd/drivers";

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpareFs {
    Xfs,
    Ext4,
}

impl SpareFs {
    const fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }
}

/// The file system, whether it is there or not.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    device: PathBuf,
    /// What a part of it is called in device-mapper, if it is there.
    mapped: String,
    /// What mkfs gets besides.
    options: Vec<String>,
    kind: SpareFs,
    mount: PathBuf,
    /// Of the device: the driver's folder, and what the driver calls it.
    driver: Option<(PathBuf, String)>,
}

impl Spare {
    /// One of the same kind as that of `like`, to be made on `device`.
    pub(super) fn new(spare: &SpareDevice, like: &Path, owner: Owner) -> Result<Self, String> {
        use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
        let of = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let kind = match statfs(like).map_err(|why| of(like, &why))?.filesystem_type() {
            XFS_SUPER_MAGIC => SpareFs::Xfs,
            EXT4_SUPER_MAGIC => SpareFs::Ext4,
            other => {
                return Err(of(like, &format!("of type {:#x}, neither xfs nor ext4", other.0)));
            }
        };
        let mount = format!("{}{SPARE}{}", owner.prefix(), std::process::id());
        Ok(Self {
            driver: driver(&spare.path),
            device: spare.path.clone(),
            options: spare.mkfs.clone(),
            kind,
            mapped: mount.clone(),
            mount: std::env::temp_dir().join(mount),
        })
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.mount
    }

    /// Whether its driver can be taken from the device, or why not.
    pub(super) fn can_unbind(&self) -> Result<(), String> {
        let why = || format!("{} has no driver in {DRIVERS}", self.device.display());
        self.driver.as_ref().map(drop).ok_or_else(why)
    }

    /// Whether XFS of this many bytes has room on the device, or why not.
    pub(super) fn has_room(&self, bytes: u64) -> Result<(), String> {
        let has = self.bytes().map_err(|why| format!("{}: {why}", self.device.display()))?;
        match self.kind {
            SpareFs::Ext4 => Err("a large spare file system is of XFS".to_owned()),
            SpareFs::Xfs if has < bytes => Err(format!(
                "{} has {} MiB, and it takes {}",
                self.device.display(),
                has >> 20,
                bytes >> 20
            )),
            SpareFs::Xfs => Ok(()),
        }
    }

    /// Whether the driver of the device can be told of bad blocks, or why not.
    pub(super) fn can_spoil(&self) -> Result<(), String> {
        bad_blocks::known(&self.device).map(drop).map_err(|why| format!("bad blocks: {why}"))
    }

    /// What these blocks hold of `span` is bad from now on.
    pub(super) fn spoil(&self, blocks: &[u64], span: Span) -> io::Result<()> {
        let first = span.at / PAGE;
        (first..).zip(blocks).try_for_each(|(index, block)| {
            let from = span.at.max(index * PAGE);
            let to = span.end().min((index + 1) * PAGE);
            bad_blocks::add(&self.device, block * PAGE + from % PAGE, to - from)
        })
    }

    /// Whether the kernel can be told that the memory of a block fails, or why not.
    pub(super) fn can_poison(&self) -> Result<(), String> {
        failure::offered(&self.device)
    }

    /// Whether it has `XFS_IOC_BULKSTAT`, or why not.
    pub(super) fn can_bulkstat(&self) -> Result<(), String> {
        if self.kind == SpareFs::Xfs { Ok(()) } else { Err("bulkstat: XFS has it".to_owned()) }
    }

    /// The memory of this block fails.
    pub(super) fn poison(&self, block: u64) -> io::Result<()> {
        failure::inject(&self.device, block)
    }

    /// Does something to it.
    pub(super) fn does(&self, what: Whole) -> io::Result<()> {
        let root = || File::open(&self.mount);
        match what {
            Whole::Make => self.clear().and_then(|()| self.make(&self.layout())),
            Whole::MakeLarge => {
                self.clear().and_then(|()| self.make(&format!("size={LARGE},agcount=2")))
            }
            Whole::MakeMapped => {
                self.clear()?;
                mapper::make(&self.mapped, &self.device)?;
                self.make(&self.layout())
            }
            Whole::Move => {
                nix::unistd::sync();
                mapper::move_to_second(&self.mapped, &self.device, SIZE << 20)
            }
            Whole::Crash => {
                mapper::copy(&self.device, SIZE << 20)?;
                nix::mount::umount(&self.mount)?;
                mapper::be_second(&self.mapped, &self.device)?;
                self.repair()?;
                self.mount(MsFlags::empty())
            }
            Whole::Unmount => Ok(nix::mount::umount(&self.mount)?),
            Whole::Mount => self.mount(MsFlags::empty()),
            Whole::Check => self.check(),
            Whole::ReadOnly => self.mount(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY),
            Whole::Freeze => sys::freeze(&root()?),
            Whole::Thaw => sys::thaw(&root()?),
            Whole::ShutDown => sys::shut_down(&root()?),
            Whole::Grow => {
                let blocks = self.bytes()? / PAGE;
                match self.kind {
                    SpareFs::Xfs => sys::grow_xfs(&root()?, blocks),
                    SpareFs::Ext4 => sys::grow_ext4(&root()?, blocks),
                }
            }
            Whole::Unbind => self.drive("unbind"),
            Whole::Bind => self.drive("bind"),
        }
    }

    /// Gives the device back the driver that it had when this began.
    pub(super) fn bind_again(&self) -> io::Result<()> {
        if self.device.exists() { Ok(()) } else { self.drive("bind") }
    }

    /// Those of these options of XFS's metadata that are not given, as arguments of mkfs.xfs, which takes
    /// none twice.
    fn unless_given(&self, defaults: &[&'static str]) -> Vec<&'static str> {
        let is_given = |default: &str| {
            let name = default.split('=').next().unwrap_or(default);
            self.options.iter().any(|word| word.split(',').any(|part| part.starts_with(name)))
        };
        let left = defaults.iter().filter(|default| !is_given(default));
        left.flat_map(|default| ["-m", default]).collect()
    }

    /// The device that it is on.
    fn node(&self) -> PathBuf {
        mapper::node(&self.mapped).unwrap_or_else(|| self.device.clone())
    }

    /// Nothing is left of one that was made before.
    pub(super) fn clear(&self) -> io::Result<()> {
        let _ = nix::mount::umount(&self.mount);
        mapper::remove(&self.mapped)
    }

    /// Its size, and as the first file system a stripe of 2 MiB, so that files can be mapped by huge
    /// pages. With more than two groups the log of such a small one is not as large as that asks for.
    fn layout(&self) -> String {
        let has_groups = self.options.iter().any(|word| word.contains("agcount="));
        let stripe = if has_groups { "" } else { ",su=2m,sw=1,agcount=2" };
        format!("size={SIZE}m{stripe}")
    }

    /// Makes it, XFS of this size and these groups, and mounts it.
    fn make(&self, layout: &str) -> io::Result<()> {
        bad_blocks::mend(&self.device)?;
        let name = format!("mkfs.{}", self.kind.name());
        let mut mkfs = Command::new(name);
        match self.kind {
            SpareFs::Xfs => mkfs
                .args(["-q", "-f", "-L", "daxtests", "-b", &format!("size={PAGE}")])
                .args(["-d", layout])
                .args(self.unless_given(&["reflink=1", "rmapbt=1"]))
                .args(&self.options)
                .arg(self.node()),
            SpareFs::Ext4 => mkfs
                .args(["-q", "-F", "-L", "daxtests", "-b", &PAGE.to_string()])
                .args(["-E", "stride=512,stripe_width=512,lazy_itable_init=0,lazy_journal_init=0"])
                .args(&self.options)
                .arg(self.node())
                .arg(format!("{SIZE}M")),
        };
        run(&mut mkfs, &[0], libc::EIO)?;
        fs::create_dir_all(&self.mount)?;
        self.mount(MsFlags::empty())?;
        let probe = self.mount.join("probe");
        let has_dax = File::create_new(&probe).and_then(|file| is_dax(&file));
        fs::remove_file(&probe)?;
        if has_dax? { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOTSUP)) }
    }

    fn mount(&self, flags: MsFlags) -> io::Result<()> {
        let kind = self.kind.name();
        let mounted = nix::mount::mount(
            Some(&self.node()),
            &self.mount,
            Some(kind),
            flags,
            Some("dax=always"),
        );
        Ok(mounted?)
    }

    fn check(&self) -> io::Result<()> {
        let (program, option) = match self.kind {
            SpareFs::Xfs => ("xfs_repair", "-n"),
            SpareFs::Ext4 => ("e2fsck", "-fn"),
        };
        run(Command::new(program).arg(option).arg(self.node()), &[0], libc::EUCLEAN)
    }

    /// Has it repaired, if it can be without a log. XFS is not: a mount replays its log.
    fn repair(&self) -> io::Result<()> {
        match self.kind {
            SpareFs::Xfs => Ok(()),
            // e2fsck(8): 1 says that errors were corrected.
            SpareFs::Ext4 => {
                run(Command::new("e2fsck").arg("-fy").arg(self.node()), &[0, 1], libc::EUCLEAN)
            }
        }
    }

    /// Bytes of the device.
    fn bytes(&self) -> io::Result<u64> {
        use std::io::Seek as _;
        File::open(self.node())?.seek(io::SeekFrom::End(0))
    }

    fn drive(&self, how: &str) -> io::Result<()> {
        let (driver, name) =
            self.driver.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
        fs::write(driver.join(how), name)
    }
}

/// The driver of a device of persistent memory, and what the driver calls the device.
fn driver(device: &Path) -> Option<(PathBuf, String)> {
    let block = Path::new("/sys/class/block").join(device.file_name()?);
    let below = fs::canonicalize(block.join("device")).ok()?;
    let driver = fs::canonicalize(below.join("driver")).ok()?;
    let name = below.file_name()?.to_str()?.to_owned();
    driver.starts_with("/sys/bus/nd").then_some((driver, name))
}

/// Runs a program to its end; `errno` if that says anything but one of these.
fn run(command: &mut Command, good: &[i32], errno: i32) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(());
    }
    for stream in [&output.stdout, &output.stderr] {
        eprint!("{}", String::from_utf8_lossy(stream));
    }
    Err(io::Error::from_raw_os_error(errno))
}
