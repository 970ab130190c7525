//! Who acts: a task's view of its process, and what the threads of the process share.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folders::Folders;
use super::pin::Flight;
use super::sys::{Mapping, SharedVars};
use crate::action::{FileId, MapId, PinId};
use crate::patience::Patience;

/// What the threads of one process share.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// `None`: closed for good.
    pub(super) files: HashMap<FileId, Option<Arc<File>>>,
    pub(super) maps: HashMap<MapId, Arc<Mapping>>,
    pub(super) flights: HashMap<PinId, Flight>,
    /// Pipes whose pins the process keeps to itself.
    pub(super) kept: Vec<OwnedFd>,
    /// The sockets of this process's tasks.
    pub(super) sockets: Vec<Arc<OwnedFd>>,
}

/// One task's view of its process.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    tables: Arc<Mutex<Tables>>,
    pub(super) folders: Arc<Folders>,
    /// Shared by all processes.
    pub(crate) vars: SharedVars,
    pub(super) patience: Patience,
}

impl Actor {
    /// The first task of a process.
    pub(super) fn new(folders: Folders, vars: SharedVars, patience: Patience) -> Self {
        Self { tables: Arc::default(), folders: Arc::new(folders), vars, patience }
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes and unmaps all that the process has: what is in flight first, which may use the rest.
    pub(super) fn let_go(&self) {
        let mut tables = self.tables();
        let left = (
            std::mem::take(&mut tables.flights),
            std::mem::take(&mut tables.kept),
            std::mem::take(&mut tables.maps),
            std::mem::take(&mut tables.files),
        );
        // The end of an inode may wait, and only for itself.
        drop(tables);
        drop(left);
    }

    pub(super) fn file(&self, file: FileId) -> io::Result<Arc<File>> {
        let mut tables = self.tables();
        if let Some(known) = tables.files.get(&file) {
            return known.clone().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF));
        }
        let opened = self.open(file)?;
        tables.files.insert(file, Some(Arc::clone(&opened)));
        Ok(opened)
    }

    /// Opens a file that the process has closed.
    pub(super) fn reopen(&self, file: FileId) -> io::Result<()> {
        // Before the tables are locked: an inode that is leaving memory is waited for.
        let opened = self.open(file)?;
        self.tables().files.insert(file, Some(opened));
        Ok(())
    }

    fn open(&self, file: FileId) -> io::Result<Arc<File>> {
        let path = self.folders.find(file);
        File::options().read(true).write(true).open(path).map(Arc::new)
    }

    /// The mapping called `map`.
    pub(crate) fn mapping(&self, map: MapId) -> io::Result<Arc<Mapping>> {
        self.tables()
            .maps
            .get(&map)
            .cloned()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))
    }
}
