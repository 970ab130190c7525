//! Where the files of a case live, and how a process finds one that another made.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::action::{FileId, Medium, PAGE};

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
