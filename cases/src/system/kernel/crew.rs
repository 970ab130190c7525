//! What a program leaves to the next one in the same directory: the control, and the main process
//! with its threads, which have let go of all that was the program's.
//!
//! Making and ending processes takes longer than most of what random programs do. A process that
//! was forked under way is not kept: what it inherited was the program's.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bench::{self, trouble};
use super::control::Control;
use super::folders::Folders;
use super::spare::Spare;
use super::sys::SharedVars;
use super::wire::{self, Response, TaskRequest};
use super::{Devices, KernelSetup, TaskHandle, first_task, kill, proc};
use crate::system::{Done, Tried};

/// The control, the main task, and threads of its process that nobody uses yet.
#[derive(Debug)]
pub(super) struct Crew {
    directory: PathBuf,
    pub(super) control: Control,
    pub(super) main: TaskHandle,
    pub(super) threads: Vec<TaskHandle>,
}

impl Crew {
    /// A new one, whose files are in the directory of `setup`.
    pub(super) fn new(setup: &KernelSetup, devices: &Devices, vars: SharedVars) -> Tried<Self> {
        let folders = Folders {
            dax: setup.directory.clone(),
            page_cache: bench::cache_mount(devices.owner),
            spare: spare(setup, devices).ok(),
        };
        // Both before there is any pin, of which a fork would be another holder.
        let patience = setup.patience;
        let (socket, control) = first_task(c"control", &folders, vars, patience)?;
        let control = Control::new(socket, control.pid);
        let (socket, main) = match first_task(c"daxtests-case", &folders, vars, patience) {
            Ok(main) => main,
            Err(trouble) => {
                kill(control.pid);
                return Err(trouble);
            }
        };
        let directory = setup.directory.clone();
        Ok(Self { directory, control, main: TaskHandle::new(socket, main), threads: Vec::new() })
    }

    /// One that has let go of everything within `limit`; none if it has not. Its processes are then
    /// the caller's to end.
    pub(super) fn rested(
        directory: &Path,
        control: &mut Control,
        tasks: Vec<TaskHandle>,
        limit: Duration,
    ) -> Option<Self> {
        let mut tasks = tasks.into_iter();
        let main = tasks.next()?;
        let control = control.idle(limit).ok()?;
        lets_go(&main.socket, limit).ok()?.then_some(())?;
        let directory = directory.to_owned();
        Some(Self { directory, control, main, threads: tasks.collect() })
    }

    /// Whether it can go on in this directory.
    pub(super) fn serves(&self, directory: &Path) -> bool {
        self.directory == directory
            && !proc::is_gone(self.control.pid)
            && !proc::is_gone(self.main.pid)
    }
}

/// The file system that is the case's own, or why there is none.
pub(super) fn spare(setup: &KernelSetup, devices: &Devices) -> Result<Spare, String> {
    let Some(device) = &setup.spare else {
        return Err("no device for a file system of its own: --shape spare".to_owned());
    };
    Spare::new(device, &setup.directory, devices.owner)
}

/// Has the process of this task close and unmap all that it has; whether it did in time.
fn lets_go(main: &OwnedFd, limit: Duration) -> Tried<bool> {
    wire::send(main.as_fd(), &TaskRequest::LetGo, &[]).map_err(trouble("the main task"))?;
    if !wire::readable_until(main, Instant::now() + limit)? {
        return Ok(false);
    }
    let said = wire::receive(main.as_fd(), false).map_err(trouble("the main task"))?;
    Ok(matches!(said, Some((Response::Done(_, Done { result: Ok(_), .. }, _), _))))
}
