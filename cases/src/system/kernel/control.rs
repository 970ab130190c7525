//! The control experiment: a task that does what any operation of a file system may wait for.
//!
//! An operation that sleeps may wait for a pin, or else for the journal, for memory or for the
//! device, and on a busy machine each of these takes any time. To tell them apart without knowing
//! the function in which the operation sleeps, another task allocates, writes, syncs and removes
//! a file of its own on the same file system. What goes through there does not hold the operation
//! up. The task is forked before the first pin is taken, so it holds none.
//!
//! While no operation is under way the same task looks at files for the oracles: it has none open
//! and none mapped, so nothing depends on whether it looks.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::bench::trouble;
use super::proc;
use super::wire::{self, Response, TaskRequest};
use crate::oracle::{BystanderSpec, Inspection, Stood, View};
use crate::system::{Errno, Tried, Trouble};

/// The task, and how far it has come.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
    /// Its process.
    pub(super) pid: i32,
    begun: u32,
    passed: u32,
    refused: Option<Errno>,
}

/// A moment in the experiment; only rounds that begin after it count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round(u32);

impl Control {
    /// A task that has said hello over `socket`.
    pub(super) const fn new(socket: OwnedFd, pid: i32) -> Self {
        Self { socket, pid, begun: 0, passed: 0, refused: None }
    }

    /// The same task for somebody else to talk to, once it does nothing.
    pub(super) fn idle(&mut self, limit: Duration) -> Tried<Self> {
        self.rest(Instant::now() + limit, limit)?;
        let socket = self.socket.try_clone().map_err(trouble("the control"))?;
        Ok(Self::new(socket, self.pid))
    }

    /// Waits until the round that is under way is done.
    fn rest(&mut self, until: Instant, limit: Duration) -> Tried<()> {
        while self.passed < self.begun {
            self.hear(until, limit)?;
            self.rounds_end()?;
        }
        Ok(())
    }

    /// Now.
    pub(super) const fn mark(&self) -> Round {
        Round(self.begun)
    }

    /// Lets it do another round if it has done the last, without waiting for either. Returns how
    /// many rounds since `mark` went through.
    pub(super) fn rounds_since(&mut self, mark: Round) -> Tried<u32> {
        if self.passed < self.begun && wire::readable(&self.socket, Duration::ZERO)? {
            self.rounds_end()?;
        }
        if self.passed == self.begun && self.refused.is_none() {
            wire::send(self.socket.as_fd(), &TaskRequest::Control(self.begun), &[])
                .map_err(trouble("the control"))?;
            self.begun += 1;
        }
        Ok(self.passed.saturating_sub(mark.0))
    }

    /// Takes in that the round under way ended, which it has said.
    fn rounds_end(&mut self) -> Tried<()> {
        match wire::receive(self.socket.as_fd(), false).map_err(trouble("the control"))? {
            Some((Response::Done(_, done, _), _)) => {
                self.passed += 1;
                self.refused = done.result.err();
                Ok(())
            }
            Some((other, _)) => Err(out_of_turn("the control", &other)),
            None => Err(gone()),
        }
    }

    /// Lets it make a file that nobody touches, once the round that is under way is done.
    pub(super) fn bystand(
        &mut self,
        what: &BystanderSpec,
        limit: Duration,
    ) -> Tried<Option<Stood>> {
        let view = self.see(&TaskRequest::Bystand(what.clone()), limit)?;
        Ok(view.bystanders.into_iter().next().flatten())
    }

    /// Lets it look at files, once the round that is under way is done.
    pub(super) fn inspect(
        &mut self,
        files: &[Inspection],
        bystanders: &[BystanderSpec],
        limit: Duration,
    ) -> Tried<View> {
        self.see(&TaskRequest::Inspect(files.to_vec(), bystanders.to_vec()), limit)
    }

    /// Asks for what ends with a look.
    fn see(&mut self, request: &TaskRequest, limit: Duration) -> Tried<View> {
        let until = Instant::now() + limit;
        self.rest(until, limit)?;
        wire::send(self.socket.as_fd(), request, &[]).map_err(trouble("a look at the files"))?;
        self.hear(until, limit)?;
        match wire::receive(self.socket.as_fd(), false).map_err(trouble("a look at the files"))? {
            Some((Response::Inspected(Ok(seen)), _)) => Ok(seen),
            Some((Response::Inspected(Err(errno)), _)) => Err(Trouble::Machinery {
                what: "a look at the files".to_owned(),
                why: errno.to_string(),
            }),
            Some((other, _)) => Err(out_of_turn("the control", &other)),
            None => Err(gone()),
        }
    }

    /// Waits until it says something.
    fn hear(&self, until: Instant, limit: Duration) -> Tried<()> {
        if wire::readable_until(&self.socket, until)? {
            return Ok(());
        }
        let state = proc::describe(self.pid);
        let what = "a look at the files, with nothing else under way,".to_owned();
        Err(Trouble::Stuck { what, seconds: limit.as_secs(), state })
    }

    /// Whether the experiment cannot be made, because there is no space for example.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}

fn gone() -> Trouble {
    Trouble::Machinery { what: "the control".to_owned(), why: "its task is gone".to_owned() }
}

/// A task said something that nobody asked for.
pub(super) fn out_of_turn(who: &str, answer: &Response) -> Trouble {
    Trouble::Machinery { what: who.to_owned(), why: format!("it said \"{answer}\" out of turn") }
}
