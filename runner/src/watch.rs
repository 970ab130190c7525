//! One case in a process of its own: the side that watches it.
//!
//! It has the deadline. What does not end in time is described as it is, then killed.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cases::{Ending, Limit, Patience, Telling, pause};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::child::{Assignment, Message};
use crate::expected;
use crate::finding::FindingRecord;
use crate::interrupt::{self, Interrupt};
use crate::kmsg::Kmsg;
use crate::task;
use crate::tool::{self, Tool, ended};

/// How long tasks that a case has started may outlive its process: the kernel ends them with it.
const OUTLIVE: Limit = Limit::secs(2);

/// How often the user must ask until a case is cut short. They may have begun before it did.
const CUT: u32 = 2;

/// How often the terminal is brought up to date, and interrupts are looked for.
const TICK: u8 = 100;

/// How the process ended, as far as its parent saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChildEnd {
    /// The case said how it ended.
    Said(Ending),
    /// It was not back at its deadline.
    Late(Duration),
    /// Its process ended without a word.
    Died(String),
    /// The user did not want to wait for it.
    Interrupted,
}

/// What was seen of a case.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// How it ended.
    pub(crate) end: ChildEnd,
    /// Its transcript.
    pub(crate) transcript: String,
    /// What was observed in a cell, a line each.
    pub(crate) observed: String,
    /// Its notes.
    pub(crate) notes: Vec<(String, String)>,
    /// What the rules found in the reference's own events.
    pub(crate) findings: Vec<FindingRecord>,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// States, stacks and open files, if it hung.
    pub(crate) stacks: Option<String>,
    /// What a case left running although it ended.
    pub(crate) left: Option<Left>,
    /// What could not be killed or released, in words.
    pub(crate) wedged: Option<String>,
}

impl Watched {
    /// A case that ended so and told nothing.
    pub(crate) fn of(end: ChildEnd) -> Self {
        Self {
            end,
            transcript: String::new(),
            observed: String::new(),
            notes: Vec::new(),
            findings: Vec::new(),
            stderr: String::new(),
            took: Duration::ZERO,
            stacks: None,
            left: None,
            wedged: None,
        }
    }
}

/// What a case left running although it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The tasks, in words.
    pub(crate) tasks: String,
    /// How long they were waited for.
    pub(crate) waited: Duration,
    /// Whether the case's own process is among them: then the case itself does not end.
    pub(crate) own: bool,
}

/// What a watch needs from the run.
pub(crate) struct ChildWatch<'r> {
    /// The runner's own binary.
    pub(crate) program: &'r Path,
    /// When the case is taken to hang.
    pub(crate) limit: Duration,
    /// How long to wait for what was killed.
    pub(crate) grace: Duration,
    /// Read while the case runs, so that little is lost.
    pub(crate) kmsg: Option<&'r mut Kmsg>,
    /// The user's wish to end.
    pub(crate) interrupt: &'r mut Interrupt,
    /// Called now and then with the case's age.
    pub(crate) tick: &'r mut dyn FnMut(Duration),
}

impl ChildWatch<'_> {
    /// Runs `task` to its end, and leaves none of its processes behind if that can be.
    pub(crate) fn run(mut self, task: &Assignment) -> anyhow::Result<Watched> {
        let began = Instant::now();
        // In memory: it is told with the rest, and a file would have to be found and removed.
        let stderr = memfd_create("daxtests-stderr", MemfdFlags::CLOEXEC)?;
        let mut stderr = File::from(stderr);
        let mut child = self.start(task, stderr.try_clone()?)?;
        let pipe = child.stdout.take().expect("it was asked for");
        let mut told = Heard::default();
        let end = self.listen(pipe, &mut child, began, &mut told)?;
        let mut watched = Watched {
            transcript: told.transcript,
            observed: told.observed,
            notes: told.notes,
            findings: told.findings,
            took: began.elapsed(),
            ..Watched::of(end)
        };
        self.finish(&mut child, &mut watched, task.patience);
        let mut said = Vec::new();
        stderr.rewind()?;
        stderr.read_to_end(&mut said)?;
        watched.stderr = String::from_utf8_lossy(&said).into_owned();
        Ok(watched)
    }

    fn start(&self, task: &Assignment, stderr: File) -> anyhow::Result<Child> {
        let mut command = Command::new(self.program);
        let child = command
            .args(task.arguments()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // The terminal's signals stay with the runner.
            .process_group(0)
            .spawn()?;
        Ok(child)
    }

    /// Follows the case until it said how it ended, or will not say it any more.
    fn listen(
        &mut self,
        mut pipe: ChildStdout,
        child: &mut Child,
        began: Instant,
        told: &mut Heard,
    ) -> anyhow::Result<ChildEnd> {
        loop {
            let readable = wait_for(&pipe, self.kmsg.as_deref(), self.interrupt)?;
            if let Some(kmsg) = &mut self.kmsg {
                kmsg.read()?;
            }
            if readable {
                let mut buffer = [0; 16384];
                match pipe.read(&mut buffer)? {
                    0 => return Ok(self.died(child)),
                    length => told.take(&buffer[..length]),
                }
                if let Some(ending) = told.ending.take() {
                    return Ok(ChildEnd::Said(ending));
                }
            }
            if began.elapsed() >= self.limit {
                return Ok(ChildEnd::Late(self.limit));
            }
            if self.interrupt.count() >= CUT {
                return Ok(ChildEnd::Interrupted);
            }
            (self.tick)(began.elapsed());
        }
    }

    /// Why the case's process said nothing more.
    fn died(&mut self, child: &mut Child) -> ChildEnd {
        match ended(child, Instant::now() + self.grace) {
            // A terminal's Ctrl-C is for all of its processes, and this one had just begun.
            Some(status)
                if status.signal().is_some_and(interrupt::is_wish)
                    && self.interrupt.count() > 0 =>
            {
                ChildEnd::Interrupted
            }
            Some(status) => ChildEnd::Died(tool::status_words(status)),
            None => ChildEnd::Died("closed its output and did not end".to_owned()),
        }
    }

    /// Collects the evidence of a hang, then sees to it that every process of the case is gone.
    fn finish(&mut self, child: &mut Child, watched: &mut Watched, patience: Patience) {
        let me = std::process::id().cast_signed();
        let hangs = matches!(watched.end, ChildEnd::Said(Ending::Hang(_)) | ChildEnd::Late(_));
        if hangs {
            watched.stacks = Some(task::evidence(&task::descendants(me)));
        }
        let clean = matches!(
            watched.end,
            ChildEnd::Said(Ending::Pass | Ending::NotRun(_) | Ending::Fail(_) | Ending::Error(_))
        );
        if clean {
            // It has said its last word and needs only to give back what it holds.
            drop(child.stdin.take());
            let begun = Instant::now();
            let own = ended(child, begun + self.grace).is_none();
            if !own && gone(child, patience.of(OUTLIVE)) {
                return;
            }
            let tasks = task::descendants(me);
            watched.stacks = Some(task::evidence(&tasks));
            let (tasks, waited) = (task::brief(&tasks), begun.elapsed());
            watched.left = Some(Left { tasks, waited, own });
        }
        task::kill_all(&task::descendants(me));
        // What is stuck behind a device that withholds completion can only die once that lets
        // it through, and until it has died the device is busy: what this leaves is asked below.
        let _ = sweep(self.program, self.grace);
        // Those that were being forked when the others were killed.
        task::kill_all(&task::descendants(me));
        if gone(child, self.grace) {
            watched.wedged = sweep(self.program, self.grace).err();
            return;
        }
        let tasks = task::descendants(me);
        if watched.stacks.is_none() {
            watched.stacks = Some(task::evidence(&tasks));
        }
        watched.wedged = Some(format!("could not kill: {}", task::brief(&tasks)));
    }
}

/// Waits until no process of the case lives, collecting those that ended.
fn gone(child: &mut Child, patience: Duration) -> bool {
    let me = std::process::id().cast_signed();
    let begun = Instant::now();
    loop {
        // A subreaper that has no child has no descendant. To look for them in /proc takes longer
        // than many a case.
        if matches!(child.try_wait(), Ok(Some(_))) && reap() {
            return true;
        }
        if begun.elapsed() >= patience {
            return task::descendants(me).is_empty();
        }
        std::thread::sleep(pause(begun.elapsed()));
    }
}

/// Gives back what killed cases left behind, in a process that may get stuck.
pub(crate) fn sweep(program: &Path, patience: Duration) -> Result<(), String> {
    // Half of the time, so that it can say what is still busy.
    let milliseconds = (patience / 2).as_millis().to_string();
    match Tool::new(program).args(["__sweep", "--milliseconds", &milliseconds]).output(patience) {
        Ok(output) if output.status.success() && output.text.is_empty() => Ok(()),
        Ok(output) => Err(format!("could not release: {}", output.text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Collects orphans that ended. Only while no other child of this process is waited for. Whether
/// none is left.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return errno == Errno::ECHILD,
        }
    }
}

/// Waits until one of the descriptors has something, for a tick at most. Whether it is `pipe`.
fn wait_for(pipe: &ChildStdout, kmsg: Option<&Kmsg>, interrupt: &Interrupt) -> nix::Result<bool> {
    let mut fds = vec![
        PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
        PollFd::new(interrupt.as_fd(), PollFlags::POLLIN),
    ];
    if let Some(kmsg) = kmsg {
        fds.push(PollFd::new(kmsg.as_fd(), PollFlags::POLLIN));
    }
    match poll(&mut fds, TICK) {
        Ok(_) | Err(Errno::EINTR) => Ok(fds[0].any().unwrap_or(false)),
        Err(errno) => Err(errno),
    }
}

/// What the child has told so far.
#[derive(Debug, Default)]
struct Heard {
    rest: Vec<u8>,
    transcript: String,
    observed: String,
    notes: Vec<(String, String)>,
    findings: Vec<FindingRecord>,
    ending: Option<Ending>,
}

impl Heard {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Message::Report(Telling::Line(line))) => {
                    self.transcript.push_str(&line);
                    self.transcript.push('\n');
                }
                Ok(Message::Report(Telling::Observed(observed))) => {
                    self.observed = expected::lines(&observed);
                }
                Ok(Message::Report(Telling::Note { name, value })) => {
                    self.notes.push((name, value));
                }
                Ok(Message::Report(Telling::Found(found))) => self.findings.push((&found).into()),
                Ok(Message::Finding(finding)) => self.findings.push(finding),
                Ok(Message::Ending(ending)) => self.ending = Some(ending),
                // Something else wrote to standard output.
                Err(_) => self.notes.push((
                    "stray output".to_owned(),
                    String::from_utf8_lossy(&line).trim_end().to_owned(),
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the test that a watch runs in, alone.
    const ALONE: &str = "watch::tests::a_process_lingers";

    #[test]
    fn a_failure_outlives_a_process_that_lingers() {
        // A watch ends every process that descends from its own, other tests' as well.
        let alone = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", ALONE])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "it needs a process of its own, which the test above gives it"]
    fn a_process_lingers() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("case");
        let says = r#"[ "$1" = __sweep ] && exit
echo "$*"
echo '{"ending":{"fail":"expected: it waits"}}'
sleep 60
"#;
        std::fs::write(&program, format!("#!/bin/sh\n{says}")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let mut interrupt = Interrupt::listen().unwrap();
        let watched = ChildWatch {
            program: &program,
            limit: Duration::from_secs(50),
            grace: Duration::from_secs(1),
            kmsg: None,
            interrupt: &mut interrupt,
            tick: &mut |_| {},
        }
        .run(&Assignment {
            case: "waits/punch/splice/mapped".to_owned(),
            fs: crate::fs::FsType::Reference,
            directory: None,
            spare: None,
            seed: 1,
            variant: None,
            patience: Patience::times(2.5),
            holds: Err("none".to_owned()),
        })
        .unwrap();
        assert_eq!(watched.end, ChildEnd::Said(Ending::Fail("expected: it waits".to_owned())));
        let left = watched.left.unwrap();
        assert!(left.own && left.waited >= Duration::from_secs(1));
        assert!(left.waited < Duration::from_secs(50), "the limit was never waited");
        assert_eq!(watched.wedged, None);
        assert!(watched.notes[0].1.contains("\"patience\":2.5"), "{:?}", watched.notes);
    }

    #[test]
    fn lines_may_arrive_in_pieces() {
        let mut told = Heard::default();
        let line = serde_json::to_vec(&Message::Report(Telling::Line("a".to_owned()))).unwrap();
        told.take(&line[..4]);
        told.take(&line[4..]);
        assert_eq!(told.transcript, "");
        told.take(b"\nnonsense\n{\"ending\":\"pass\"}\n");
        assert_eq!(told.transcript, "a\n");
        assert_eq!(told.notes[0].1, "nonsense");
        assert_eq!(told.ending, Some(Ending::Pass));
    }
}
