//! Where the files of a case live, how a process finds one that another made, and what a look at
//! one shows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use protocol::oracle::Written;

use super::sys;
use crate::action::{FileId, Medium, PAGE, page};
use crate::oracle::{Inspected, Inspection, LOOKED_AT};

/// Where the files of a case live.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// On the DAX file system.
    pub(crate) dax: PathBuf,
    /// On the file system that uses the page cache; made on demand.
    pub(crate) page_cache: PathBuf,
}

impl Folders {
    pub(super) fn path(&self, medium: Medium, file: FileId) -> PathBuf {
        let folder = match medium {
            Medium::Dax => &self.dax,
            Medium::PageCache => &self.page_cache,
        };
        folder.join(format!("f{}", file.0))
    }

    /// Finds a file that some process made.
    pub(super) fn find(&self, file: FileId) -> PathBuf {
        let there = self.path(Medium::PageCache, file);
        if there.exists() { there } else { self.path(Medium::Dax, file) }
    }

    /// Looks at a file of the DAX file system, which is open no longer than that takes.
    pub(super) fn inspect(&self, what: &Inspection) -> io::Result<Inspected> {
        let path = self.path(Medium::Dax, what.file);
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = File::open(&self.dax)?;
                let blocks = what.pages.iter();
                let free = blocks.map(|(_, block)| sys::is_free(folder.as_raw_fd(), *block));
                return Ok(Inspected::Nameless { free: free.collect::<io::Result<_>>()? });
            }
            Err(error) => return Err(error),
        };
        let pages = what.pages.iter();
        let blocks = pages
            .map(|(index, _)| sys::written_block(file.as_raw_fd(), *index))
            .collect::<io::Result<_>>()?;
        let foreign = match &what.may_show {
            Some(values) => foreign(&file, &values.iter().copied().collect())?,
            None => None,
        };
        Ok(Inspected::Named { blocks, foreign })
    }

    /// Allocates, writes, syncs and removes a file in each of them.
    pub(super) fn exercise(&self) -> io::Result<()> {
        for folder in [&self.dax, &self.page_cache].into_iter().filter(|folder| folder.exists()) {
            let path = folder.join("control");
            let file = File::options().write(true).create(true).truncate(true).open(&path)?;
            let written = file.write_all_at(&[b'c'; PAGE as usize], 0);
            let synced = written.and_then(|()| file.sync_all());
            std::fs::remove_file(&path)?;
            synced?;
        }
        Ok(())
    }
}

/// The first byte of a file that it may not show: where, what, and in which block.
fn foreign(file: &File, may_show: &Written) -> io::Result<Option<(u64, u8, u64)>> {
    let size = file.metadata()?.len().min(LOOKED_AT);
    let mut bytes = vec![0; size as usize];
    // Nothing is under way that could make it shorter.
    file.read_exact_at(&mut bytes, 0)?;
    let Some((at, byte)) = may_show.foreign(&bytes) else {
        return Ok(None);
    };
    let blocks = sys::blocks(file.as_raw_fd(), page(at as u64 / PAGE))?;
    Ok(Some((at as u64, byte, blocks[0])))
}
