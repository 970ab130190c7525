//! Tasks that are held in the copy of a read(2) or a write(2): most of their memory is withheld by
//! userfaultfd(2), so that the kernel waits for it in the middle, with all that it has locked.
//!
//! That takes no probe, and no deadline: the wait ends when the memory is provided, or with the process. The
//! task tells the controller over a line of their own where its memory is, and whence its events come.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use super::bench::trouble;
use super::sys::{Withheld, WithheldRange};
use super::wire;
use crate::action::{Action, SECTOR, Span, TaskId};
use crate::system::{HoldEnd, Tried};

/// What the controller has of a hold.
#[derive(Debug)]
pub(super) struct HeldCopy {
    /// Who is to be held.
    pub(super) task: TaskId,
    stage: CopyStage,
}

#[derive(Debug)]
enum CopyStage {
    /// The task has not begun.
    Armed,
    /// It has, and may not have its memory yet.
    Begun { line: OwnedFd, byte: u8 },
    /// Its memory, and the events of that.
    Told { memory: WithheldRange, events: OwnedFd, byte: u8 },
    /// It is not to be held any more.
    Over,
}

impl HeldCopy {
    /// Has `task` held in its next read(2) or write(2).
    pub(super) fn new(task: TaskId) -> Self {
        Self { task, stage: CopyStage::Armed }
    }

    /// What `action` of `task` is to be sent with, if it is what is held.
    pub(super) fn equip(&mut self, task: TaskId, action: &Action) -> io::Result<Option<OwnedFd>> {
        let byte = match action {
            Action::Write { byte, .. } => *byte,
            Action::Read { .. } => 0,
            _ => return Ok(None),
        };
        if task != self.task || !matches!(self.stage, CopyStage::Armed) {
            return Ok(None);
        }
        let (line, theirs) = wire::pair()?;
        self.stage = CopyStage::Begun { line, byte };
        Ok(Some(theirs))
    }

    /// Whether the task waits for its memory at this moment.
    pub(super) fn stands(&mut self) -> Tried<bool> {
        if let CopyStage::Begun { line, byte } = &self.stage {
            if !wire::readable(line, Duration::ZERO)? {
                return Ok(false);
            }
            let told = wire::receive::<WithheldRange>(line.as_fd(), true);
            // Without memory it has failed, and says so itself.
            self.stage = match told.map_err(trouble("memory that is withheld"))? {
                Some((memory, events)) => match events.into_iter().next() {
                    Some(events) => CopyStage::Told { memory, events, byte: *byte },
                    None => CopyStage::Over,
                },
                None => CopyStage::Over,
            };
        }
        match &self.stage {
            CopyStage::Told { events, .. } => wire::readable(events, Duration::ZERO),
            _ => Ok(false),
        }
    }

    /// Provides the memory.
    pub(super) fn go(&mut self) -> Tried<HoldEnd> {
        let stood = self.stands()?;
        if let CopyStage::Told { memory, events, byte } =
            std::mem::replace(&mut self.stage, CopyStage::Over)
            && let Err(error) = memory.provide(events.as_fd(), byte)
            && stood
        {
            return Err(trouble("memory that is withheld")(error));
        }
        Ok(if stood { HoldEnd::Go } else { HoldEnd::NeverArrived })
    }
}

/// write(2) of `byte`, held in its copy; who controls is told of the memory over `line`.
pub(super) fn write(line: &OwnedFd, file: &File, span: Span, byte: u8) -> io::Result<()> {
    let mut memory = lend(line, span, byte)?;
    match memory.transfer(file.as_raw_fd(), span.at, true)? {
        written if written == span.len => Ok(()),
        written => Err(io::Error::other(format!("it wrote {written} bytes"))),
    }
}

/// read(2), held in its copy; who controls is told of the memory over `line`.
pub(super) fn read(line: &OwnedFd, file: &File, span: Span) -> io::Result<Vec<u8>> {
    let mut memory = lend(line, span, 0)?;
    let count = memory.transfer(file.as_raw_fd(), span.at, false)?;
    Ok(memory.bytes()[..count as usize].to_vec())
}

/// Memory for the bytes of `span`: the first sector is there, and full of `byte`.
fn lend(line: &OwnedFd, span: Span, byte: u8) -> io::Result<Withheld> {
    let mut memory = Withheld::new(SECTOR, span.len)?;
    memory.fill_beginning(byte);
    wire::send(line.as_fd(), &memory.range(), &[memory.asked().as_raw_fd()])?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use crate::action::{Action, FileId, Medium, Reply, page};
    use crate::patience::Patience;
    use crate::system::kernel::{KernelSetup, Owner, open};
    use crate::system::{HoldEnd, Kinship, Look, MAIN, Need, System};

    fn did(system: &mut dyn System, action: Action) -> Reply {
        let op = system.start(MAIN, action).unwrap();
        system.wait(op).unwrap().result.unwrap()
    }

    #[test]
    fn a_task_stands_in_its_copy_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, patience) = (folder.path().to_owned(), Patience::default());
        let setup = KernelSetup { directory, patience, spare: None };
        let mut system = open(&setup, Owner::here().unwrap(), Err("none".to_owned())).unwrap();
        let system = system.as_mut();
        if let Err(why) = system.offers(Need::HoldInCopy) {
            // A kernel without it, or one that keeps it from this user.
            assert!(why.starts_with("userfaultfd: "), "{why}");
            return;
        }
        let (file, name, fill) = (FileId(1), "data".to_owned(), b"ab".to_vec());
        did(system, Action::Create { file, name, medium: Medium::Dax, fill });
        let task = system.spawn(MAIN, Kinship::Thread).unwrap();
        let write = Action::Write { file, span: page(0), byte: b'w' };
        let read = Action::Read { file, span: page(1) };
        for (action, answer) in [(write, "success"), (read, "\"b\"")] {
            let hold = system.hold_in_copy(task).unwrap();
            assert!(!system.stands(hold).unwrap());
            let op = system.start(task, action).unwrap();
            assert!(system.arrived(hold).unwrap());
            assert!(!matches!(system.look(op).unwrap(), Look::Done(_)));
            assert_eq!(system.go(hold).unwrap(), HoldEnd::Go);
            let seen = system.wait(op).unwrap().result.unwrap().to_string();
            assert_eq!(seen, answer);
            assert!(!system.stands(hold).unwrap());
        }
        // It is held once.
        let op = system.start(task, Action::Read { file, span: page(0) }).unwrap();
        assert_eq!(system.wait(op).unwrap().result.unwrap().to_string(), "\"w\"");
        // What copies nothing does not come by.
        let hold = system.hold_in_copy(task).unwrap();
        let op = system.start(task, Action::Read { file: FileId(9), span: page(0) }).unwrap();
        assert!(!system.arrived(hold).unwrap());
        assert_eq!(system.go(hold).unwrap(), HoldEnd::NeverArrived);
        assert!(system.wait(op).unwrap().result.is_err());
    }
}
