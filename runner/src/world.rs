//! What the cases stand on: a mounted file system of the running kernel, or the reference, which
//! needs nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cases::Limit;
use cases::system::kernel::{Owner, Recording};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::device;
use crate::filesystem::{Error, FileSystem};
use crate::kmsg::{KernelLog, Kmsg};
use crate::mapper::Mapper;
use crate::plan::Plan;
use crate::shape::DmTable;
use crate::smallest;
use crate::tool::{self, Tool};
use crate::turn::{Turn, TurnWait};
use crate::verdict::Problem;
use crate::watch;

/// Time for mkfs, umount or fsck: generous, these are seconds of an emulated machine.
const PATIENCE: Limit = Limit::mins(2);
/// Time to look at what a device carries.
const ASK: Limit = Limit::secs(30);
/// Time for what was killed to end.
const GRACE: Limit = Limit::secs(20);
/// How long another runner may have its turn: longer than any case takes, with all that comes after
/// one that hangs.
const TURN: Limit = Limit::mins(30);

const DEBUGFS: &str = "/sys/kernel/debug";

/// Where tracefs is mounted, and is already where debugfs is.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Written to, it has each WARN_ON_ONCE warn once more.
pub(crate) const WARN_AGAIN: &str = "/sys/kernel/debug/clear_warn_once";

/// What the cases run on.
#[derive(Debug)]
pub(crate) enum World {
    /// A file system of the running kernel.
    Kernel(Box<KernelFs>),
    /// The reference implementation, and how long to wait for a case of it that was killed.
    Reference(Duration),
}

/// A file system of the running kernel.
#[derive(Debug)]
pub(crate) struct KernelFs {
    files: FileSystem,
    devices: Vec<PathBuf>,
    /// What device-mapper is to make of them.
    dm_table: Option<DmTable>,
    mapper: Option<Mapper>,
    patience: Duration,
    mounted: bool,
    /// The kernel log since it was last drained.
    pub(crate) kmsg: Kmsg,
    /// Of what the kernel writes back, for the cases to read; or why there is none.
    recording: Result<Recording, String>,
    turn: Turn,
    /// How long to wait for it.
    longest: Duration,
    program: PathBuf,
    grace: Duration,
    cases: u64,
}

/// Something about the world is not as it must be.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The machine needs a reboot.
    Wedged(String),
    /// The run cannot go on.
    Broken(anyhow::Error),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        match error {
            Error::Tool(tool::Error::Stuck { .. }) => Self::Wedged(error.to_string()),
            // What was killed is gone, and still something holds the file system.
            Error::Tool(tool::Error::Failed { ref text, .. }) if text.contains("busy") => {
                Self::Wedged(error.to_string())
            }
            other => Self::Broken(other.into()),
        }
    }
}

/// Checks that `plan` can run here, without changing anything but what a killed run left behind.
/// `program` is the runner's own binary.
pub(crate) fn check(plan: &Plan, program: &Path) -> anyhow::Result<()> {
    let Some(row) = plan.target.fs.row() else {
        return Ok(());
    };
    if !nix::unistd::geteuid().is_root() {
        bail!("not root: making and mounting a file system needs it");
    }
    let ask = plan.patience(ASK);
    for dev in &plan.target.devices {
        match device::check(dev, plan.target.force, ask) {
            // A run that was killed may have left a device on it.
            Err(device::Refusal::Held { .. })
                if watch::sweep(program, plan.patience(GRACE)).is_ok() =>
            {
                device::check(dev, plan.target.force, ask)?;
            }
            checked => checked?,
        }
    }
    if plan.target.dm_table().is_none() {
        let patience = plan.patience(PATIENCE);
        let files = FileSystem::new(row, &plan.target, PathBuf::new(), patience)?;
        smallest::check(&files, files.device(), patience)?;
    }
    Ok(())
}

/// Has each WARN_ON_ONCE warn once more.
pub(crate) fn warn_again() {
    // Where it is missing, the run says so when it begins.
    let _ = fs::write(WARN_AGAIN, "1");
}

/// Has what is written back recorded from now on.
fn record() -> Result<Recording, String> {
    let none: Option<&str> = None;
    if !Path::new(TRACEFS).join("instances").exists() {
        // In this mount namespace; where it cannot be had, what follows says so.
        let _ = mount(none, TRACEFS, Some("tracefs"), MsFlags::empty(), none);
    }
    let begun = Owner::here().and_then(Recording::begin);
    begun.map_err(|why| {
        format!("what is written back cannot be seen, nor whether fsync does: {why}")
    })
}

impl World {
    /// Enters the world of `plan`; nothing is made yet. `program` is the runner's own binary.
    ///
    /// The mount is in the runner's own mount namespace: it goes away with the runner,
    /// even if that is killed.
    pub(crate) fn enter(plan: &Plan, program: &Path) -> anyhow::Result<Self> {
        // What a case leaves behind when its parent dies is still found.
        nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
        let Some(row) = plan.target.fs.row() else {
            return Ok(Self::Reference(plan.patience(GRACE)));
        };
        unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).context("make mounts private")?;

        // Not "daxtests-": mount points of that name are the cases' own, and are swept away when
        // their run is over.
        let point = std::env::temp_dir().join(format!("daxtests.{}", std::process::id()));
        fs::create_dir_all(&point).with_context(|| point.display().to_string())?;
        if !Path::new(WARN_AGAIN).exists() {
            // Where it cannot be had, the run says so when it begins.
            let _ = mount(none, DEBUGFS, Some("debugfs"), MsFlags::empty(), none);
        }
        let patience = plan.patience(PATIENCE);
        Ok(Self::Kernel(Box::new(KernelFs {
            files: FileSystem::new(row, &plan.target, point, patience)?,
            devices: plan.target.devices.clone(),
            dm_table: plan.target.dm_table(),
            mapper: None,
            patience,
            mounted: false,
            kmsg: Kmsg::open().context("/dev/kmsg")?,
            recording: record(),
            turn: Turn::new().context("/dev/kmsg")?,
            longest: plan.patience(TURN),
            program: program.to_owned(),
            grace: plan.patience(GRACE),
            cases: 0,
        })))
    }

    /// How long to wait for what was killed.
    pub(crate) fn grace(&self) -> Duration {
        match self {
            Self::Kernel(kernel) => kernel.grace,
            Self::Reference(grace) => *grace,
        }
    }

    /// Lets another runner on this machine have its turn, and waits for the next one of this. False
    /// if the user wants to `stop` instead.
    ///
    /// What the kernel logged in another's turn is the other's.
    pub(crate) fn take_turn(&mut self, stop: &mut dyn FnMut() -> bool) -> anyhow::Result<bool> {
        let Self::Kernel(kernel) = self else {
            return Ok(true);
        };
        let wait = kernel.turn.next(kernel.longest, stop)?;
        if wait == TurnWait::AnothersTurn {
            kernel.kmsg.drain().context("/dev/kmsg")?;
        }
        Ok(wait != TurnWait::GivenUp)
    }

    /// Whether what happens in the kernel now is this run's doing, as far as runners go.
    pub(crate) fn has_turn(&self) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.turn.is_held(),
            Self::Reference(_) => true,
        }
    }

    /// Makes the file system and mounts it. The command and the mount options, for the journal.
    pub(crate) fn prepare(&mut self) -> Result<Option<(String, String)>, Unusable> {
        let Self::Kernel(kernel) = self else {
            return Ok(None);
        };
        watch::sweep(&kernel.program, kernel.grace).map_err(Unusable::Wedged)?;
        if let Some(dm_table) = kernel.dm_table {
            let owner = Owner::here().context("/proc/self").map_err(Unusable::Broken)?;
            let made = Mapper::make(dm_table, &kernel.devices, owner, kernel.patience)
                .map_err(|error| Unusable::Broken(error.into()))?;
            kernel.files.put_on(dm_table, made.node.clone());
            kernel.mapper = Some(made);
        }
        kernel.files.make()?;
        kernel.mount()?;
        kernel.files.fill()?;
        Ok(Some((kernel.files.mkfs().line(), kernel.files.options())))
    }

    /// Why cases will not see what is written back, if they will not.
    pub(crate) fn unrecorded(&self) -> Option<&str> {
        match self {
            Self::Kernel(kernel) => kernel.recording.as_ref().err().map(String::as_str),
            Self::Reference(_) => None,
        }
    }

    /// Before a case: a directory of its own, and a kernel that warns again.
    pub(crate) fn begin(&mut self) -> Result<Option<PathBuf>, Unusable> {
        let Self::Kernel(kernel) = self else {
            return Ok(None);
        };
        warn_again();
        kernel.cases += 1;
        let directory = kernel.files.point().join(format!("case-{}", kernel.cases));
        fs::create_dir(&directory)
            .with_context(|| directory.display().to_string())
            .map_err(Unusable::Broken)?;
        Ok(Some(directory))
    }

    /// After a case: removes its directory, if the case did not come to it. That frees its blocks,
    /// so it belongs to the case.
    pub(crate) fn remove(&mut self, directory: &Path) -> Result<(), Unusable> {
        let Self::Kernel(kernel) = self else {
            return Ok(());
        };
        if fs::symlink_metadata(directory).is_err_and(|why| why.kind() == ErrorKind::NotFound) {
            return Ok(());
        }
        Tool::new("rm").args(["-rf", "--"]).arg(directory).run(kernel.grace).map_err(|error| {
            match error {
                tool::Error::Stuck { .. } => Unusable::Wedged(error.to_string()),
                other => Unusable::Broken(other.into()),
            }
        })?;
        Ok(())
    }

    /// The device that the file system is on.
    pub(crate) fn device(&self) -> Option<&Path> {
        match self {
            Self::Kernel(kernel) => Some(kernel.files.device()),
            Self::Reference(_) => None,
        }
    }

    /// What the kernel logged since this was last asked.
    pub(crate) fn log(&mut self) -> anyhow::Result<KernelLog> {
        match self {
            // A log that cannot be read is no clean one.
            Self::Kernel(kernel) => kernel.kmsg.drain().context("/dev/kmsg"),
            Self::Reference(_) => Ok(KernelLog::default()),
        }
    }

    /// Unmounts and checks the file system, then makes a new one if `again`. What the check
    /// complains about.
    pub(crate) fn renew(&mut self, again: bool) -> Result<Option<Problem>, Unusable> {
        let Self::Kernel(kernel) = self else {
            return Ok(None);
        };
        if !kernel.mounted {
            return Ok(None);
        }
        kernel.files.unmount()?;
        kernel.mounted = false;
        let complaint = kernel.files.check()?;
        if again {
            if complaint.is_some() {
                kernel.files.make()?;
            }
            kernel.mount()?;
        }
        Ok(complaint)
    }

    /// Gives back what is left of it. After this nothing of the run is mounted, unless the
    /// machine is wedged.
    pub(crate) fn leave(&mut self) {
        if let Self::Kernel(kernel) = self {
            kernel.leave();
        }
    }
}

impl Drop for KernelFs {
    fn drop(&mut self) {
        self.leave();
    }
}

impl KernelFs {
    fn leave(&mut self) {
        // The mount would go with this process, and what is below it would stay.
        if self.mounted && self.mapper.is_some() {
            self.mounted = self.files.unmount().is_err();
        }
        if !self.mounted {
            self.mapper = None;
            let _ = fs::remove_dir(self.files.point());
        }
    }

    fn mount(&mut self) -> Result<(), Unusable> {
        // Also when the file turns out not to be DAX it is mounted.
        let mounted = self.files.mount(&mut self.kmsg);
        self.mounted = !matches!(mounted, Err(Error::Mount { .. }));
        if let (Err(_), true) = (&mounted, self.mounted) {
            self.files.unmount()?;
            self.mounted = false;
        }
        Ok(mounted?)
    }
}
