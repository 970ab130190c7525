//! One case in a process of its own: the side that runs the case.
//!
//! It tells its parent what happens as JSON lines on standard output, and ends. What hangs is
//! left as it is for the parent to look at.

use std::env::ArgsOs;
use std::io::{Read as _, Write as _, stdin, stdout};
use std::path::PathBuf;

use anyhow::Context as _;
use cases::system::kernel::SpareDevice;
use cases::system::reference::Reference;
use cases::system::{System, Tried, Trouble, kernel, reference};
use cases::{Case, Ending, Patience, Telling};
use serde::{Deserialize, Serialize};

use crate::finding::FindingRecord;
use crate::fs::FsType;
use crate::interrupt::Interrupt;

/// What a case is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// Its name.
    pub(crate) case: String,
    /// On what.
    pub(crate) fs: FsType,
    /// Its own empty directory; the reference needs none.
    pub(crate) directory: Option<PathBuf>,
    /// A device for a file system of its own.
    pub(crate) spare: Option<SpareDevice>,
    /// Of everything random in it.
    pub(crate) seed: u64,
    /// The bug that the reference is to have.
    pub(crate) variant: Option<String>,
    /// What its time limits are multiplied by.
    pub(crate) patience: Patience,
    /// The control page of holds in the runner's hands, or why there is none.
    pub(crate) holds: Result<i32, String>,
}

/// The command by which the runner starts a case's process. It is none of [`crate::cli`]'s: each case
/// begins with it, and to make all that the command line knows takes longer than many a case does.
const COMMAND: &str = "__case";

impl Assignment {
    /// The arguments with which the runner is to be started for it.
    pub(crate) fn arguments(&self) -> anyhow::Result<[String; 2]> {
        Ok([COMMAND.to_owned(), serde_json::to_string(self)?])
    }

    /// What this process was started for, if it is a case's.
    pub(crate) fn of(arguments: ArgsOs) -> Option<anyhow::Result<Self>> {
        let mut arguments = arguments.skip(1);
        if arguments.next()? != COMMAND {
            return None;
        }
        let json = arguments.next().unwrap_or_default();
        Some(serde_json::from_slice(json.as_encoded_bytes()).context("a case's assignment"))
    }
}

/// A line from the child to the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The case tells something.
    Report(Telling),
    /// A rule of the protocol was broken.
    Finding(FindingRecord),
    /// The case ended; nothing follows.
    Ending(Ending),
}

/// Runs the case in this process, which the runner started for it.
pub(crate) fn perform(task: &Assignment) -> anyhow::Result<()> {
    Interrupt::forget()?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("prctl")?;
    // The name under which its tasks stand in the kernel log and in stacks.
    nix::sys::prctl::set_name(c"daxtests-case").context("prctl")?;

    let case = cases::find_only(&task.case).with_context(|| unknown(&task.case))?;
    let mut out = stdout().lock();
    let mut tell = move |message: &Message| -> std::io::Result<()> {
        serde_json::to_writer(&mut out, message)?;
        out.write_all(b"\n")?;
        out.flush()
    };
    let mut lost = None;
    let mut world = None;
    let ending = match open(task) {
        Ok(opened) => {
            cases::perform(case, world.insert(opened).system(), task.seed, &mut |report| {
                let message = match report {
                    Telling::Found(found) => Message::Finding((&found).into()),
                    other => Message::Report(other),
                };
                if let Err(error) = tell(&message) {
                    lost.get_or_insert(error);
                }
            })
        }
        Err(trouble) => trouble.into(),
    };
    if let Some(error) = lost {
        return Err(error).context("the runner does not listen");
    }
    for finding in world.iter().flat_map(Open::findings) {
        tell(&finding)?;
    }
    let hangs = matches!(ending, Ending::Hang(_));
    tell(&Message::Ending(ending))?;
    if hangs {
        // The parent collects evidence from the tasks as they are, then ends this process.
        stdin().read_to_end(&mut Vec::new())?;
    }
    drop(world);
    if let Some(directory) = &task.directory {
        // It belongs to the case, for it frees its blocks. What this leaves, or never comes to, is
        // the parent's.
        std::fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}

/// The case of that name.
pub(crate) fn find(name: &str) -> anyhow::Result<&'static Case> {
    cases::find(name).with_context(|| unknown(name))
}

fn unknown(name: &str) -> String {
    format!("there is no case {name}")
}

/// A system that was opened for one case.
enum Open {
    Kernel(Box<dyn System>),
    Reference(Box<Reference>),
}

impl Open {
    fn system(&mut self) -> &mut dyn System {
        match self {
            Self::Kernel(system) => system.as_mut(),
            Self::Reference(system) => system.as_mut(),
        }
    }

    /// What the protocol's rules say of what happened. A kernel is judged by the tracer.
    fn findings(&self) -> Vec<Message> {
        let Self::Reference(system) = self else {
            return Vec::new();
        };
        system.findings().iter().map(|found| Message::Finding(found.into())).collect()
    }
}

fn open(task: &Assignment) -> Tried<Open> {
    let machinery = |what: &str, why: String| Trouble::Machinery { what: what.to_owned(), why };
    match (task.fs.row(), &task.directory) {
        (Some(_), Some(directory)) => {
            let directory = directory.to_owned();
            let patience = task.patience;
            // The runner is what answers for its cases' devices.
            let owner = kernel::Owner::parent()
                .map_err(|error| machinery("the runner's process", error.to_string()))?;
            let setup = kernel::KernelSetup { directory, patience, spare: task.spare.clone() };
            let holds = task.holds.clone().map(kernel::HoldPageFd::of_parent);
            kernel::open(&setup, owner, holds).map(Open::Kernel)
        }
        (Some(_), None) => Err(machinery("the case's directory", "none was given".to_owned())),
        (None, _) => {
            let variant = task.variant.as_deref().map(str::parse).transpose();
            let setup = reference::ReferenceSetup {
                variant: variant.map_err(|why| machinery("the variant", why))?,
                seed: task.seed,
                patience: task.patience,
                ..reference::ReferenceSetup::default()
            };
            Ok(Open::Reference(Box::new(Reference::new(&setup))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_survives_the_command_line() {
        for (directory, holds) in [
            (None, Err("the reference has its own".to_owned())),
            (Some(PathBuf::from("/tmp/daxtests.1/case-1")), Ok(7)),
        ] {
            let task = Assignment {
                case: "waits/punch/splice/mapped".to_owned(),
                fs: FsType::Reference,
                spare: directory.clone().map(|path| SpareDevice {
                    path,
                    mkfs: vec!["-O".to_owned(), "fast_commit".to_owned()],
                }),
                directory,
                seed: u64::MAX,
                variant: None,
                patience: Patience::times(2.5),
                holds,
            };
            let [command, json] = task.arguments().unwrap();
            assert_eq!(command, COMMAND);
            assert_eq!(serde_json::from_str::<Assignment>(&json).unwrap(), task);
        }
    }

    #[test]
    fn messages_survive_the_pipe() {
        for message in [
            Message::Report(Telling::Line("pin page 2".to_owned())),
            Message::Report(Telling::Note { name: "rounds".to_owned(), value: "12".to_owned() }),
            Message::Ending(Ending::Pass),
            Message::Ending(Ending::Hang("truncate\n[<0>] x".to_owned())),
        ] {
            let line = serde_json::to_string(&message).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Message>(&line).unwrap(), message);
        }
    }
}
