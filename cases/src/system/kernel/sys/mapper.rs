//! device-mapper: a device whose I/O can be withheld.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check::check;

/// `struct dm_ioctl` with one target behind it.
///
/// The layout is ABI: Linux include/uapi/linux/dm-ioctl.h.
#[repr(C)]
struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    target: DmTargetSpec,
}

/// `struct dm_target_spec` with its parameters behind it.
#[repr(C)]
struct DmTargetSpec {
    start: u64,
    sectors: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
    parameters: [u8; 128],
}

const DM_HEAD: usize = std::mem::offset_of!(DmIoctl, target);
const _: () = assert!(DM_HEAD == 312);

/// What to do with a device-mapper device.
pub(crate) enum Dm<'a> {
    /// Makes it.
    Create,
    /// Gives it one linear target of `sectors` on `device` (as `major:minor`) from `offset`.
    Load { device: &'a str, offset: u64, sectors: u64 },
    /// Withholds I/O from now on: neither flushes nor freezes.
    Suspend,
    /// Lets I/O through.
    Resume,
    /// Removes it.
    Remove,
}

/// Performs `what` on the device called `name`; its minor number.
pub(crate) fn device_mapper(control: BorrowedFd<'_>, name: &str, what: &Dm<'_>) -> io::Result<u32> {
    const SUSPEND: u32 = 1 << 1;
    const SKIP_LOCKFS: u32 = 1 << 10;
    const NOFLUSH: u32 = 1 << 11;
    // SAFETY: all-zero is a valid dm_ioctl.
    let mut call: DmIoctl = unsafe { std::mem::zeroed() };
    call.version = [4, 0, 0];
    call.data_size = size_of::<DmIoctl>() as u32;
    call.data_start = DM_HEAD as u32;
    put(&mut call.name, name)?;
    let number = match what {
        Dm::Create => 3,
        Dm::Remove => 4,
        Dm::Suspend => {
            call.flags = SUSPEND | SKIP_LOCKFS | NOFLUSH;
            6
        }
        Dm::Resume => 6,
        Dm::Load { device, offset, sectors } => {
            call.target_count = 1;
            call.target.sectors = *sectors;
            call.target.next = size_of::<DmTargetSpec>() as u32;
            put(&mut call.target.kind, "linear")?;
            put(&mut call.target.parameters, &format!("{device} {offset}"))?;
            9
        }
    };
    let request = libc::_IOWR::<[u8; DM_HEAD]>(0xfd, number);
    // SAFETY: head and target as `data_size` and `data_start` say.
    check(unsafe { libc::ioctl(control.as_raw_fd(), request as _, &raw mut call) }.into())?;
    Ok(((call.device & 0xff) | ((call.device >> 12) & 0xf_ff00)) as u32)
}

fn put(field: &mut [u8], text: &str) -> io::Result<()> {
    if text.len() >= field.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}
