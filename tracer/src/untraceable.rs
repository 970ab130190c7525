//! Why a device cannot be traced.

use std::io;
use std::path::{Path, PathBuf};

/// Why a device cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing there.
    #[error("no such device: {0}")]
    Missing(PathBuf),
    /// It is something else.
    #[error("{0} is not a block device")]
    NotBlock(PathBuf),
    /// It carries no mounted file system.
    #[error("no file system of {0} is mounted; mount it first")]
    NotMounted(PathBuf),
    /// The tracer has no hooks for its file system.
    #[error("{device} has {kind} on it; the tracer supports {}", FILE_SYSTEMS.join(" and "))]
    FileSystem {
        /// The device.
        device: PathBuf,
        /// Its file system.
        kind: String,
    },
    /// Files there are not mapped directly.
    #[error("files on {0} are not DAX; mount it with -o dax=always")]
    NotDax(PathBuf),
    /// A file on it could not be used to find out where its pages are.
    #[error("{doing} {path}")]
    File {
        /// What was done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// Pages of this file system are not its blocks.
    #[error("the block size of {device} is {size}; the tracer supports 4096 only")]
    BlockSize {
        /// The device.
        device: PathBuf,
        /// Its block size in bytes.
        size: u64,
    },
}

pub(crate) const PAGE: u64 = 4096;

/// The file systems that there are hooks for. Not virtiofs: its pages are no block device's.
pub(crate) const FILE_SYSTEMS: [&str; 2] = ["xfs", "ext4"];

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { doing, path, source }
}
