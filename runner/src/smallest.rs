//! Whether a device is large enough: asked of mkfs, which alone knows its limits, without a byte
//! written.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::filesystem::FileSystem;
use crate::tool;

/// The least that the cases need, where mkfs would do with less.
const LEAST: u64 = 300 * MIB;

/// If mkfs refuses this much, it is not for the size.
const ENOUGH: u64 = 8 << 30;

const MIB: u64 = 1 << 20;

/// Why a device does not do. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("{dev} is too small: {size} MiB, needs {least} MiB{}", words(.said.as_deref()))]
    Small { dev: PathBuf, size: u64, least: u64, said: Option<String> },
    #[error(transparent)]
    Tool(#[from] tool::Error),
}

fn words(said: Option<&str>) -> String {
    said.map_or(String::new(), |said| format!(" ({said})"))
}

/// Checks that `files` can be made on `dev`.
pub(crate) fn check(files: &FileSystem, dev: &Path, patience: Duration) -> Result<(), Refusal> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |why| Refusal::Io { path, why }
    };
    let size = File::open(dev).and_then(|mut file| file.seek(SeekFrom::End(0))).map_err(io(dev))?;
    let small = |least: u64, said| {
        Err(Refusal::Small { dev: dev.to_owned(), size: size / MIB, least: least / MIB, said })
    };
    let Err(refusal) = files.try_on(dev).run(patience) else {
        return if size < LEAST { small(LEAST, None) } else { Ok(()) };
    };
    let folder = std::env::temp_dir();
    let sparse = tempfile::NamedTempFile::new_in(&folder).map_err(io(&folder))?;
    let fits = |size: u64| -> Result<bool, Refusal> {
        sparse.as_file().set_len(size).map_err(io(sparse.path()))?;
        Ok(files.try_on(sparse.path()).run(patience).is_ok())
    };
    if size >= ENOUGH || !fits(ENOUGH)? {
        return Err(refusal.into());
    }
    let (mut no, mut yes) = (size / MIB, ENOUGH / MIB);
    while yes - no > 1 {
        let middle = no.midpoint(yes);
        if fits(middle * MIB)? { yes = middle } else { no = middle }
    }
    let said = match refusal {
        tool::Error::Failed { program, text, .. } => {
            Some(format!("{program}: {}", tool::complaint(&text).unwrap_or_default()))
        }
        _ => None,
    };
    small((yes * MIB).max(LEAST), said)
}
