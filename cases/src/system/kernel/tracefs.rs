//! What the kernel records in tracefs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

/// Where it is mounted.
pub(super) fn root() -> io::Result<PathBuf> {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let found = places.iter().map(Path::new).find(|root| root.join("instances").is_dir());
    found.map(Path::to_owned).ok_or_else(|| io::Error::other("tracefs is not mounted"))
}

/// An error that names its file.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::other(format!("{}: {error}", path.display()))
}

/// The records of an instance, each of which is read once.
#[derive(Debug)]
pub(super) struct TracePipe {
    file: File,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl TracePipe {
    /// Those of the instance in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("trace_pipe");
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        Ok(Self { file: options.open(&path).map_err(at(&path))?, rest: Vec::new() })
    }

    /// The whole lines that were recorded since this was last called.
    pub(super) fn lines(&mut self) -> Result<String, String> {
        // Until there is no more: that is an error, as of every empty pipe.
        if let Err(error) = self.file.read_to_end(&mut self.rest)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(format!("trace_pipe: {error}"));
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        Ok(String::from_utf8_lossy(&lines).into_owned())
    }
}
