//! Files of the traced file system.

use crate::globals::{
    DEVICE, FILE_INODE, INODE_FLAGS, INODE_NUMBER, INODE_SB, MAPPING_HOST, SB_DEVICE, get,
};
use crate::memory::{Lost, field};

/// A file of the traced file system.
#[derive(Clone, Copy)]
pub(crate) struct TracedInode {
    pub(crate) address: u64,
    pub(crate) number: u64,
}

/// `S_DAX`: include/linux/fs.h, the same since Linux commit d475c6346a38 ("dax,ext2: replace XIP
/// read and write with DAX I/O") added it.
const S_DAX: u32 = 1 << 13;

impl TracedInode {
    /// The inode at `address`, if it is on the traced device.
    pub(crate) fn at(address: u64) -> Result<Option<Self>, Lost> {
        if address == 0 {
            return Ok(None);
        }
        let sb: u64 = field(address, &INODE_SB)?;
        let device: u32 = field(sb, &SB_DEVICE)?;
        if u64::from(device) != get(&DEVICE) {
            return Ok(None);
        }
        Ok(Some(Self { address, number: field(address, &INODE_NUMBER)? }))
    }

    /// The file behind a mapping, likewise.
    pub(crate) fn of_mapping(mapping: u64) -> Result<Option<Self>, Lost> {
        if mapping == 0 {
            return Ok(None);
        }
        Self::at(field(mapping, &MAPPING_HOST)?)
    }

    /// The file behind a `struct file`, likewise.
    pub(crate) fn of_file(file: u64) -> Result<Option<Self>, Lost> {
        Self::at(field(file, &FILE_INODE)?)
    }

    pub(crate) fn is_dax(self) -> Result<bool, Lost> {
        let flags: u32 = field(self.address, &INODE_FLAGS)?;
        Ok(flags & S_DAX != 0)
    }
}

/// The inode at `address`, if it is a DAX file on the traced device.
pub(crate) fn dax_inode(address: u64) -> Result<Option<TracedInode>, Lost> {
    match TracedInode::at(address)? {
        Some(inode) if inode.is_dax()? => Ok(Some(inode)),
        _ => Ok(None),
    }
}
