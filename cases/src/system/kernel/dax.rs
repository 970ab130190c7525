//! What the flags of a file say: whether it is a DAX file, or is to be, and whether it can be changed.

use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, IFlags, StatxAttributes, StatxFlags};

/// `FS_DAX_FL` of linux/fs.h, for which there is no name here.
const DAX: IFlags = IFlags::from_bits_retain(0x0200_0000);

/// Whether it is a DAX file.
pub fn is_dax(file: &File) -> io::Result<bool> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let known = stat.stx_attributes_mask.contains(StatxAttributes::DAX);
    Ok(known && stat.stx_attributes.contains(StatxAttributes::DAX))
}

/// Whether a file, and what is made in a folder from now on, is to use DAX: that counts where the file system
/// is mounted with dax=inode, and for a file from when it comes into memory next. Folders hand it down.
pub fn choose_dax(of: &File, wanted: bool) -> io::Result<()> {
    let mut flags = rustix::fs::ioctl_getflags(of)?;
    flags.set(DAX, wanted);
    Ok(rustix::fs::ioctl_setflags(of, flags)?)
}

/// Whether a file is immutable from now on: nobody can change it, or open it to do so.
pub(super) fn choose_immutable(of: &File, wanted: bool) -> io::Result<()> {
    let mut flags = rustix::fs::ioctl_getflags(of)?;
    flags.set(IFlags::IMMUTABLE, wanted);
    Ok(rustix::fs::ioctl_setflags(of, flags)?)
}
