//! A device of device-mapper that is a part of another device, and at times another part of it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::bench::{control, modprobe};
use super::sys::{self, Aligned, Dm};

/// Bytes of each part. The first begins where the device does.
const PART: u64 = 512 << 20;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Whether there is device-mapper, or why not.
pub(super) fn offered() -> Result<(), String> {
    modprobe("dm_mod", &[])?;
    control().map(drop).map_err(|error| format!("/dev/mapper/control: {error}"))
}

/// The node of the device called `name`, if there is one.
pub(super) fn node(name: &str) -> Option<PathBuf> {
    let blocks = fs::read_dir("/sys/class/block").ok()?;
    let is_it = |block: &PathBuf| {
        fs::read_to_string(block.join("dm/name")).is_ok_and(|called| called.trim() == name)
    };
    let block = blocks.flatten().map(|entry| entry.path()).find(is_it)?;
    Some(Path::new("/dev").join(block.file_name()?))
}

/// Makes a device called `name` of the first part of `device`.
pub(super) fn make(name: &str, device: &Path) -> io::Result<()> {
    let control = control()?;
    sys::device_mapper(control.as_fd(), name, &Dm::Create)?;
    load(name, device, 0)?;
    sys::device_mapper(control.as_fd(), name, &Dm::Resume).map(drop)
}

/// Removes it, if it is there.
pub(super) fn remove(name: &str) -> io::Result<()> {
    if node(name).is_none() {
        return Ok(());
    }
    sys::device_mapper(control()?.as_fd(), name, &Dm::Remove).map(drop)
}

/// Copies `bytes` of it to the second part of `device`, of which it is from then on.
pub(super) fn move_to_second(name: &str, device: &Path, bytes: u64) -> io::Result<()> {
    suspended(name, || copy(device, bytes).and_then(|()| load(name, device, PART)))
}

/// It is of the second part of `device` from then on.
pub(super) fn be_second(name: &str, device: &Path) -> io::Result<()> {
    suspended(name, || load(name, device, PART))
}

/// Does something while it is suspended.
fn suspended(name: &str, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let control = control()?;
    sys::device_mapper(control.as_fd(), name, &Dm::Suspend)?;
    let done = act();
    let resumed = sys::device_mapper(control.as_fd(), name, &Dm::Resume);
    done.and(resumed.map(drop))
}

/// The part of `device` that begins there is what it is once it is resumed.
fn load(name: &str, device: &Path, at: u64) -> io::Result<()> {
    let number = fs::metadata(device)?.rdev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let table =
        Dm::Load { device: &format!("{major}:{minor}"), offset: at / 512, sectors: PART / 512 };
    sys::device_mapper(control()?.as_fd(), name, &table).map(drop)
}

/// Copies the beginning of the first part to the second, as it is in memory: what is written through the device
/// of device-mapper, and not there yet, is not waited for.
pub(super) fn copy(device: &Path, bytes: u64) -> io::Result<()> {
    let device: File =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(device)?;
    let mut piece = Aligned::filled(PIECE, 0);
    for at in (0..bytes).step_by(PIECE) {
        device.read_exact_at(&mut piece, at)?;
        device.write_all_at(&piece, PART + at)?;
    }
    Ok(())
}
