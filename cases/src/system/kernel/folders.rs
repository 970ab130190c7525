//! Where the files of a case live, how a process finds one that another made, and what a look at
//! one shows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::libc;
use protocol::oracle::Written;

use super::dax::{choose_dax, is_dax};
use super::spare::Spare;
use super::{storage, sys};
use crate::action::{FileId, Medium, PAGE, page};
use crate::oracle::{BystanderSpec, Inspected, Inspection, LOOKED_AT, Stood, View};

/// Where the files of a case live.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// On the DAX file system.
    pub(crate) dax: PathBuf,
    /// On the file system that uses the page cache; made on demand.
    pub(crate) page_cache: PathBuf,
    /// The file system that is the case's own, if there is a device for it.
    pub(crate) spare: Option<Spare>,
}

/// What a file is called.
fn name(file: FileId) -> String {
    format!("f{}", file.0)
}

impl Folders {
    pub(super) fn path(&self, medium: Medium, file: FileId) -> PathBuf {
        let folder = match medium {
            Medium::Dax => &self.dax,
            Medium::PageCache => &self.page_cache,
        };
        folder.join(name(file))
    }

    /// On the DAX file system, but without DAX; made on demand.
    fn beside(&self) -> PathBuf {
        self.dax.join("without-dax")
    }

    /// Makes a file that is on the DAX file system, but without DAX. With `ENOTSUP`: there are none such.
    pub(super) fn create_without_dax(&self, file: FileId) -> io::Result<File> {
        let folder = self.beside();
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                choose_dax(&File::open(&folder)?, false)?;
            }
        }
        let path = folder.join(name(file));
        let made = File::create_new(&path)?;
        if is_dax(&made)? {
            std::fs::remove_file(&path)?;
            std::fs::remove_dir(&folder)?;
            return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
        }
        Ok(made)
    }

    /// The file system that is the case's own. With `ENODEV`: there is no device for it.
    pub(super) fn spare(&self) -> io::Result<&Spare> {
        self.spare.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Makes a file there.
    pub(super) fn create_spare(&self, file: FileId) -> io::Result<File> {
        File::create_new(self.spare()?.folder().join(name(file)))
    }

    /// The folder of a file that has one of its own.
    fn own_folder(&self, file: FileId) -> io::Result<PathBuf> {
        Ok(self.spare()?.folder().join(format!("d{}", file.0)))
    }

    /// Makes a file there, in a folder of its own.
    pub(super) fn create_in_folder(&self, file: FileId) -> io::Result<File> {
        let folder = self.own_folder(file)?;
        std::fs::create_dir(&folder)?;
        File::create_new(folder.join(name(file)))
    }

    /// Removes that folder, which must be empty.
    pub(super) fn remove_folder(&self, file: FileId) -> io::Result<()> {
        std::fs::remove_dir(self.own_folder(file)?)
    }

    /// Finds a file that some process made.
    pub(super) fn find(&self, file: FileId) -> PathBuf {
        let elsewhere = [self.path(Medium::PageCache, file), self.beside().join(name(file))];
        let spare = self.spare.iter().map(|spare| spare.folder().join(name(file)));
        let own = self.own_folder(file).into_iter().map(|folder| folder.join(name(file)));
        elsewhere
            .into_iter()
            .chain(spare)
            .chain(own)
            .find(|path| path.exists())
            .unwrap_or_else(|| self.path(Medium::Dax, file))
    }

    /// Looks at files of the DAX file system, each of which is open no longer than that takes.
    pub(super) fn look(
        &self,
        files: &[Inspection],
        bystanders: &[BystanderSpec],
    ) -> io::Result<View> {
        Ok(View {
            files: files.iter().map(|what| self.inspect(what)).collect::<io::Result<_>>()?,
            bystanders: bystanders
                .iter()
                .map(|what| self.stood(what))
                .collect::<io::Result<_>>()?,
        })
    }

    /// Opens a file of the DAX file system, if it has a name.
    fn open(&self, file: FileId) -> io::Result<Option<File>> {
        let path = self.path(Medium::Dax, file);
        match OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn inspect(&self, what: &Inspection) -> io::Result<Inspected> {
        let Some(file) = self.open(what.file)? else {
            let folder = File::open(&self.dax)?;
            let (blocks, device) = (what.pages.iter(), storage::device(&folder)?);
            let free = blocks.map(|(_, block)| sys::is_free(folder.as_raw_fd(), device, *block));
            return Ok(Inspected::Nameless { free: free.collect::<io::Result<_>>()? });
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

    /// Makes a file of the DAX file system that nobody touches, if it is not there.
    pub(super) fn bystand(&self, what: &BystanderSpec) -> io::Result<()> {
        let path = self.path(Medium::Dax, what.file);
        let file = match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            opened => opened?,
        };
        let pages = what.fill.iter().flat_map(|byte| [*byte; PAGE as usize]);
        file.write_all_at(&pages.collect::<Vec<_>>(), 0)
    }

    /// What is to be seen of it.
    fn stood(&self, what: &BystanderSpec) -> io::Result<Option<Stood>> {
        let Some(file) = self.open(what.file)? else {
            return Ok(None);
        };
        let meta = file.metadata()?;
        let blocks = sys::written_blocks(file.as_raw_fd(), 0, what.fill.len())?;
        let free = if what.with_free {
            let blocks: Vec<_> = blocks.iter().flatten().copied().collect();
            sys::free_one(file.as_raw_fd(), storage::device(&file)?, &blocks)?
        } else {
            None
        };
        Ok(Some(Stood {
            pages: meta.len().div_ceil(PAGE),
            counted: meta.blocks() * 512 / PAGE,
            blocks,
            other: differs(&file, &what.fill, meta.len())?,
            free,
        }))
    }

    /// Allocates, writes, syncs and removes a file in each of them.
    pub(super) fn exercise(&self) -> io::Result<()> {
        let folders = [&self.dax, &self.page_cache, &self.beside()];
        for folder in folders.into_iter().filter(|folder| folder.exists()) {
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

/// The first byte of a file of this size that is not what its page is filled with: where, and what.
fn differs(file: &File, fill: &[u8], size: u64) -> io::Result<Option<(u64, u8)>> {
    let mut bytes = vec![0; size.min(fill.len() as u64 * PAGE) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let mut each = bytes.iter().enumerate();
    let other = each.find(|(at, byte)| **byte != fill[at / PAGE as usize]);
    Ok(other.map(|(at, byte)| (at as u64, *byte)))
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
