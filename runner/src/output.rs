//! A file that somebody names for a report: `--junit PATH`. And how a file is replaced.
//!
//! It is tried before the work begins, without a byte written, so that an hour's run does not end
//! at a mistyped path. `-` is standard output. A regular file is replaced as a whole, and a link
//! to one is written through. What is no regular file (a pipe, `/dev/stderr`) is written to and
//! never replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Component, Path, PathBuf, absolute};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tempfile::NamedTempFile;

use crate::print;

/// How many links a path may lead through: Linux' own limit, MAXSYMLINKS of
/// include/linux/namei.h.
const LINKS: usize = 40;

/// Why a path cannot be written to. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is a folder; name a file")]
    Folder(PathBuf),
    #[error("{0} is a block device; name a file")]
    BlockDevice(PathBuf),
    #[error("{0}: nobody reads this pipe")]
    NoReader(PathBuf),
    #[error("{path}: there is no folder {folder}")]
    NoFolder { path: PathBuf, folder: PathBuf },
    #[error("{path}: {folder} is not a folder")]
    NotAFolder { path: PathBuf, folder: PathBuf },
    #[error("{path}: cannot create a file in {folder}: {why}")]
    Closed { path: PathBuf, folder: PathBuf, why: io::Error },
    #[error("{path} is not a {kind}; daxtests did not make it, move it away")]
    NotOurs { path: PathBuf, kind: &'static str },
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: io::Error },
}

impl Error {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { path, why }
    }
}

/// Somewhere for a report to go, tried.
#[derive(Debug)]
pub(crate) struct Output {
    /// As it was named.
    path: PathBuf,
    to: To,
}

#[derive(Debug)]
enum To {
    Stdout,
    Stderr,
    /// A pipe or a character device.
    Stream(File),
    /// A regular file, or none yet, behind all links.
    File(PathBuf),
}

impl Output {
    /// Tries `path`; nothing is written. `coming` is a folder that will be made before anything is.
    pub(crate) fn open(path: &Path, coming: Option<&Path>) -> Result<Self, Error> {
        let output = |to| Ok(Self { path: path.to_owned(), to });
        if path == Path::new("-") {
            return output(To::Stdout);
        }
        // `runner --junit ''` names no file, and `target/` none either.
        if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Error::Folder(path.to_owned()));
        }
        let target = behind_links(path).map_err(Error::io(path))?;
        match standard(&target) {
            Some(1) => return output(To::Stdout),
            Some(2) => return output(To::Stderr),
            _ => {}
        }
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let folder = folder_of(&target);
                if coming.is_some_and(|coming| is_same(coming, folder)) {
                    return output(To::File(target));
                }
                try_folder(path, folder)?;
                return output(To::File(target));
            }
            Err(why) => return Err(Error::Io { path: path.to_owned(), why }),
        };
        if kind.is_dir() {
            Err(Error::Folder(path.to_owned()))
        } else if kind.is_block_device() {
            Err(Error::BlockDevice(path.to_owned()))
        } else if kind.is_file() && !target.starts_with("/proc") {
            OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
            output(To::File(target))
        } else {
            // Not to be waited for: a pipe that nobody reads would hold up the run for ever.
            let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
            let file =
                OpenOptions::new().append(true).custom_flags(flags).open(path).map_err(|why| {
                    match why.raw_os_error() {
                        Some(libc) if libc == nix::errno::Errno::ENXIO as i32 => {
                            Error::NoReader(path.to_owned())
                        }
                        _ => Error::Io { path: path.to_owned(), why },
                    }
                })?;
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))
                .map_err(io::Error::from)
                .map_err(Error::io(path))?;
            output(To::Stream(file))
        }
    }

    /// Whether it is standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self.to, To::Stdout)
    }

    /// The regular file that it is, behind all links.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.to {
            To::File(path) => Some(path),
            _ => None,
        }
    }

    /// Writes the whole of it.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        match &self.to {
            To::Stdout => {
                let mut out = print::Stdout;
                out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::io(&self.path))
            }
            To::Stderr => io::stderr().write_all(bytes).map_err(Error::io(&self.path)),
            To::Stream(file) => {
                let mut file = file;
                file.write_all(bytes).map_err(Error::io(&self.path))
            }
            To::File(path) => replace(path, bytes),
        }
    }
}

/// Replaces the regular file `path`, or makes it. A reader sees all of the old or all of the new,
/// and when this fails the old is still there and nothing else is.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let old = free_or(path, PathKind::File)?;
    let fresh = match temporary(folder_of(path)) {
        Ok(fresh) => fresh,
        // The file may be open to us although its folder is not.
        Err(_) if old.is_some() => return overwrite(path, bytes),
        Err(why) => return Err(Error::Io { path: path.to_owned(), why }),
    };
    if let Some(old) = &old {
        // It stays whose it was; what has several names keeps them.
        let kept = old.nlink() == 1
            && fs::set_permissions(fresh.path(), old.permissions()).is_ok()
            && fchown(fresh.as_file(), Some(old.uid()), Some(old.gid())).is_ok();
        if !kept {
            return overwrite(path, bytes);
        }
    }
    let mut file = fresh.as_file();
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(Error::io(path))?;
    fresh.persist(path).map_err(|error| Error::Io { path: path.to_owned(), why: error.error })?;
    Ok(())
}

/// What a path is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathKind {
    File,
    Folder,
}

/// Checks that `path` is not taken by what daxtests would not have made there, a link for example.
/// What is there, if anything is.
pub(crate) fn free_or(path: &Path, kind: PathKind) -> Result<Option<fs::Metadata>, Error> {
    let (is, word): (fn(&fs::Metadata) -> bool, _) = match kind {
        PathKind::File => (fs::Metadata::is_file, "regular file"),
        PathKind::Folder => (fs::Metadata::is_dir, "folder"),
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if is(&metadata) => Ok(Some(metadata)),
        Ok(_) => Err(Error::NotOurs { path: path.to_owned(), kind: word }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::Io { path: path.to_owned(), why }),
    }
}

fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = |mut file: File| file.write_all(bytes).and_then(|()| file.sync_data());
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .and_then(write)
        .map_err(Error::io(path))
}

/// Tries whether files can be made in `folder`, or in the nearest folder above it that is there:
/// what is missing will be made. `path` is what the user named.
pub(crate) fn try_to_make(path: &Path, folder: &Path) -> Result<(), Error> {
    let folder = absolute(folder).map_err(Error::io(path))?;
    let there = folder.ancestors().find(|above| fs::symlink_metadata(above).is_ok());
    try_folder(path, there.unwrap_or(&folder))
}

/// Tries whether files can be made in `folder`.
fn try_folder(path: &Path, folder: &Path) -> Result<(), Error> {
    let (path, owned) = (path.to_owned(), folder.to_owned());
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Error::NotAFolder { path, folder: owned }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoFolder { path, folder: owned });
        }
        Err(why) => return Err(Error::Closed { path, folder: owned, why }),
    }
    temporary(folder).map(drop).map_err(|why| Error::Closed { path, folder: owned, why })
}

/// How the names of files begin that are gone soon.
pub(crate) const TEMPORARY: &str = ".daxtests-";

/// A file that is gone when it is dropped.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut said = None;
    let made = tempfile::Builder::new().prefix(TEMPORARY).make_in(folder, |path| {
        // As any new file; the umask takes its part.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(path);
        file.inspect_err(|why| said = why.raw_os_error())
    });
    // Without tempfile's own words, which name a file that nobody asked for.
    made.map_err(|why| said.map_or(why, io::Error::from_raw_os_error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What `path` stands for once its last component is no link any more, whether or not it exists.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let (Ok(folder), Some(name)) = (folder_of(&path).canonicalize(), path.file_name()) {
            path = folder.join(name);
        }
        match fs::read_link(&path) {
            // A link of /proc leads to what has no name.
            Ok(_) if standard(&path).is_some() => return Ok(path),
            Ok(next) => path = folder_of(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(nix::errno::Errno::ELOOP.into())
}

/// The descriptor of this process that `path` stands for, if it is one: /proc/self/fd/1.
fn standard(path: &Path) -> Option<i32> {
    let mut parts = path.components();
    let begin: Vec<_> = parts.by_ref().take(4).collect();
    let [
        Component::RootDir,
        Component::Normal(proc),
        Component::Normal(process),
        Component::Normal(fd),
    ] = begin[..]
    else {
        return None;
    };
    let me = std::process::id().to_string();
    if proc != "proc" || fd != "fd" || !(process == "self" || process == me.as_str()) {
        return None;
    }
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(number)), None) => number.to_str()?.parse().ok(),
        _ => None,
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (absolute(one), absolute(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
