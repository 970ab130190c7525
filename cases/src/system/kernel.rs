//! A real file system under a real kernel.
//!
//! [`KernelSystem`] is the controller: it never opens a file of the file system under test. The
//! actions are performed by tasks in processes of their own ([`task`]), which it observes
//! through their sockets and through /proc.

mod actor;
mod bad_blocks;
mod bench;
mod control;
mod crew;
mod dax;
mod failure;
mod flushes;
mod folders;
mod held_copy;
mod hold;
mod mapper;
mod observe;
mod offer;
mod owner;
mod pin;
mod proc;
mod script;
mod spare;
mod stat;
mod storage;
mod sys;
mod task;
mod tracefs;
mod wire;
mod writeback;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use bench::{Bench, trouble};
use control::{Control, out_of_turn};
use crew::Crew;
use flushes::FlushWatch;
use folders::Folders;
use hold::ArmedHolds;
use pin::HeldPins;
use spare::Spare;
use sys::SharedVars;

use wire::{MadeFile, Response, TaskRequest};

pub use self::dax::{choose_dax, is_dax};
pub use self::hold::{HoldPageFd, Lent};
pub use self::owner::Owner;
pub use self::stat::{ProcStat, numbers};
pub use self::writeback::Recording;
use super::{
    Done, HoldEnd, HoldId, HoldPoint, Kinship, Look, MAIN, Need, OpId, Released, Signal, System,
    Tried, Trouble, WriteBacks,
};
use crate::action::{Action, Content, FileId, PAGE, PinId, Span, TaskId, VarId, Whole, pages};
use crate::oracle::{BystanderSpec, Inspection, Stood, View};
use crate::patience::{Limit, Patience, pause};
use crate::transcript::Names;

/// How long an operation may take that nothing should hold up, before it is said to hang.
const PATIENCE: Limit = Limit::mins(1);

/// How long to wait for what was killed when a case is over: what does not end is the runner's to
/// find and report.
const GRACE: Limit = Limit::secs(5);

/// Where and how to test.
#[derive(Clone, Debug)]
pub struct KernelSetup {
    /// An empty directory of the case's own on the mounted DAX file system.
    pub directory: PathBuf,
    /// What the time limits are multiplied by.
    pub patience: Patience,
    /// A device for a file system of the case's own, which is lost.
    pub spare: Option<SpareDevice>,
}

/// A device for a file system of a case's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpareDevice {
    /// Its node.
    pub path: PathBuf,
    /// What mkfs gets besides, and instead of what it gets otherwise.
    pub mkfs: Vec<String>,
}

/// Opens the kernel's file system for one case of `owner`'s, which may hold tasks with what was
/// `lent` to it.
pub fn open(setup: &KernelSetup, owner: Owner, lent: Lent) -> Tried<Box<dyn System>> {
    Ok(Box::new(KernelSystem::new(setup, Devices::new(owner), lent)?))
}

/// What many short programs use one after the other: making devices and a page-cache file system
/// takes longer than most of them. It ends with its last user.
#[derive(Clone, Debug)]
pub struct Devices {
    owner: Owner,
    bench: Rc<RefCell<Bench>>,
    /// What the last program left to the next.
    crew: Rc<RefCell<Option<Crew>>>,
    /// Shared by all processes of a program, and by all programs.
    vars: Rc<Cell<Option<SharedVars>>>,
    stuck: Rc<RefCell<Vec<i32>>>,
}

impl Devices {
    /// No device yet; those to come are `owner`'s.
    pub fn new(owner: Owner) -> Self {
        let bench = Rc::new(RefCell::new(Bench::new(owner)));
        Self { owner, bench, crew: Rc::default(), vars: Rc::default(), stuck: Rc::default() }
    }

    /// Opens the kernel's file system for one program, which may hold tasks with what was `lent` to
    /// it. Its files are the program's to remove, but for those in the page cache.
    pub fn open(&self, setup: &KernelSetup, lent: Lent) -> Tried<Box<dyn System>> {
        Ok(Box::new(KernelSystem::new(setup, self.clone(), lent)?))
    }

    /// Vars that are all 0. Mapping them anew would let every program leave some memory.
    fn vars(&self) -> io::Result<SharedVars> {
        let vars = match self.vars.get() {
            Some(vars) => vars,
            None => SharedVars::new()?,
        };
        self.vars.set(Some(vars));
        for number in 0..SharedVars::COUNT as u32 {
            vars.var(number).store(0, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(vars)
    }

    /// What the last program left, if that was in this directory.
    fn crew(&self, directory: &Path) -> Option<Crew> {
        self.crew.borrow_mut().take().filter(|crew| crew.serves(directory))
    }

    /// Ends what the last program left to the next, for the file system is to be unmounted.
    pub fn dismiss(&self) {
        self.crew.borrow_mut().take();
    }

    /// Processes of programs that were killed and have not ended yet.
    pub fn stuck(&self) -> Vec<i32> {
        let mut stuck = self.stuck.borrow_mut();
        stuck.retain(|pid| !proc::is_gone(*pid));
        stuck.clone()
    }
}

/// Releases what killed cases of `owner` left behind, and of owners that are gone: held devices,
/// mounts, null_blk devices. Returns what could not be released within `patience`, in words.
pub fn sweep(owner: Owner, patience: Duration) -> Vec<String> {
    bench::sweep(owner, patience)
}

/// A descriptor that can be read from once the process has ended: what a wait with a deadline polls.
pub fn process(pid: i32) -> io::Result<OwnedFd> {
    sys::process(pid)
}

#[derive(Debug)]
struct TaskHandle {
    socket: OwnedFd,
    pid: i32,
    tid: i32,
    gone: bool,
    busy: bool,
}

impl TaskHandle {
    /// One that has said hello over `socket`.
    const fn new(socket: OwnedFd, Hello { pid, tid }: Hello) -> Self {
        Self { socket, pid, tid, gone: false, busy: false }
    }

    /// Whether it is there and does something.
    const fn is_busy(&self) -> bool {
        self.busy && !self.gone
    }
}

#[derive(Debug)]
struct KernelOp {
    task: TaskId,
    action: Action,
    /// What it does, with the names of the case.
    words: String,
    done: Option<Done>,
}

impl KernelOp {
    /// Whether its task sleeps while a program does the work, which nobody looks at.
    fn runs_program(&self) -> bool {
        matches!(self.action, Action::Whole(Whole::Make | Whole::MakeLarge | Whole::Check))
    }
}

/// What is flushed cannot be told.
fn unseen(why: &str) -> Trouble {
    Trouble::NotOffered(format!("what is flushed cannot be seen: {why}"))
}

struct KernelSystem {
    setup: KernelSetup,
    vars: SharedVars,
    tasks: BTreeMap<TaskId, TaskHandle>,
    operations: BTreeMap<OpId, KernelOp>,
    pins: HeldPins,
    names: Names,
    control: Control,
    /// Threads of the main process that a program before made and this one has no use for yet.
    idle: Vec<TaskHandle>,
    /// Operations that were found blocked.
    rested: BTreeMap<OpId, observe::Rested>,
    /// Releases and signals so far: what a blocked operation may wait for.
    stirred: u64,
    devices: Devices,
    writeback: writeback::WritebackReader,
    /// What is flushed, once a case wants to know.
    flushes: Option<FlushWatch>,
    holds: ArmedHolds,
    /// A file system of the case's own, or why there is none.
    spare: Result<Spare, String>,
    offers: BTreeMap<Need, Result<(), String>>,
}

impl KernelSystem {
    fn new(setup: &KernelSetup, devices: Devices, lent: Lent) -> Tried<Self> {
        let vars = devices.vars().map_err(trouble("shared memory"))?;
        let spare = crew::spare(setup, &devices);
        let crew = match devices.crew(&setup.directory) {
            Some(crew) => crew,
            None => Crew::new(setup, &devices, vars)?,
        };
        // After the forks, so that nobody else has it open when this is over.
        let writeback = writeback::WritebackReader::open(devices.owner, &setup.directory)
            .map_err(trouble(setup.directory.display()));
        let writeback = match writeback {
            Ok(reader) => reader,
            Err(trouble) => {
                kill(crew.control.pid);
                kill(crew.main.pid);
                return Err(trouble);
            }
        };
        Ok(Self {
            setup: setup.clone(),
            vars,
            tasks: [(MAIN, crew.main)].into(),
            operations: BTreeMap::new(),
            pins: HeldPins::default(),
            names: Names::default(),
            control: crew.control,
            idle: crew.threads,
            rested: BTreeMap::new(),
            stirred: 0,
            devices,
            writeback,
            flushes: None,
            holds: ArmedHolds::new(lent),
            spare,
            offers: BTreeMap::new(),
        })
    }

    /// The processes that are not known to be gone, each once.
    fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<_> =
            self.tasks.values().filter(|task| !task.gone).map(|task| task.pid).collect();
        pids.push(self.control.pid);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Leaves to the next program what that can go on with, if there may be one and all is at rest.
    /// The processes that are this one's to end.
    fn leave_crew(&mut self) -> Vec<i32> {
        let mut pids = self.pids();
        let at_rest = self.operations.values().all(|operation| operation.done.is_some())
            && self.tasks.values().all(|task| !task.gone);
        let Some(main) = self.tasks.get(&MAIN).map(|task| task.pid) else {
            return pids;
        };
        if Rc::strong_count(&self.devices.bench) == 1 || !at_rest {
            return pids;
        }
        let tasks = std::mem::take(&mut self.tasks).into_values();
        let tasks = tasks.chain(std::mem::take(&mut self.idle));
        let tasks = tasks.filter(|task| task.pid == main).collect();
        let limit = self.setup.patience.of(GRACE);
        let directory = &self.setup.directory;
        if let Some(crew) = Crew::rested(directory, &mut self.control, tasks, limit) {
            pids.retain(|pid| *pid != main && *pid != self.control.pid);
            *self.devices.crew.borrow_mut() = Some(crew);
        }
        pids
    }

    fn flushes(&mut self) -> Tried<&mut FlushWatch> {
        self.flushes.as_mut().ok_or_else(|| unseen("nobody watches"))
    }

    fn bench(&self) -> RefMut<'_, Bench> {
        self.devices.bench.borrow_mut()
    }

    fn task(&self, id: TaskId) -> Tried<&TaskHandle> {
        self.tasks.get(&id).ok_or_else(|| Trouble::Machinery {
            what: format!("task {}", id.0),
            why: "there is none".to_owned(),
        })
    }

    fn operation(&self, op: OpId) -> Tried<&KernelOp> {
        self.operations.get(&op).ok_or_else(|| Trouble::Machinery {
            what: format!("operation {}", op.0),
            why: "there is none".to_owned(),
        })
    }

    /// Takes in what `task` has said, waiting at most `wait` for it to say something.
    fn hear(&mut self, id: TaskId, wait: Duration) -> Tried<()> {
        let task = self.task(id)?;
        if task.gone {
            return Ok(());
        }
        if !wire::readable(&task.socket, wait)? {
            return Ok(());
        }
        match wire::receive(task.socket.as_fd(), false) {
            Ok(Some((Response::Done(number, done, made), _))) => {
                if let Some(MadeFile { file, inode }) = made {
                    self.writeback.learn(file, inode);
                }
                let refused = done.result.is_err();
                let mut action = None;
                if let Some(operation) = self.operations.get_mut(&OpId(number)) {
                    operation.done = Some(done);
                    action = Some(&operation.action);
                }
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.busy = false;
                }
                match action {
                    Some(Action::Pin { pin, .. }) if refused => {
                        let pin = *pin;
                        self.refused(pin)
                    }
                    _ => Ok(()),
                }
            }
            Ok(None) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.gone = true;
                }
                Ok(())
            }
            Ok(Some((other, _))) => Err(out_of_turn(&format!("task {}", id.0), &other)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(trouble(format!("task {}", id.0))(error)),
        }
    }

    /// What `op` returned, or none if it has not within `limit`.
    fn done_within(&mut self, op: OpId, limit: Duration) -> Tried<Option<Done>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.ended(op, left)? {
                Some(Look::Done(done)) => return Ok(Some(done)),
                Some(_) => {
                    return Err(Trouble::Machinery {
                        what: self.operation(op)?.words.clone(),
                        why: "its task is gone".to_owned(),
                    });
                }
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }

    /// The end of `op` if it has ended, having waited at most `wait`.
    fn ended(&mut self, op: OpId, wait: Duration) -> Tried<Option<Look>> {
        let task = self.operation(op)?.task;
        if self.operation(op)?.done.is_none() {
            self.hear(task, wait)?;
        }
        Ok(match &self.operation(op)?.done {
            Some(done) => Some(Look::Done(done.clone())),
            None if self.task(task)?.gone => Some(Look::Gone),
            None => None,
        })
    }
}

/// A first word.
#[derive(Clone, Copy, Debug)]
struct Hello {
    pid: i32,
    tid: i32,
}

/// Forks a process of that name, whose first task talks over the socket returned.
fn first_task(
    name: &CStr,
    folders: &Folders,
    vars: SharedVars,
    patience: Patience,
) -> Tried<(OwnedFd, Hello)> {
    let (ours, theirs) = wire::pair().map_err(trouble("a socket"))?;
    let folders = folders.clone();
    let child = sys::fork(&[ours.as_fd()], || {
        // For stacks and the kernel log only.
        let _ = nix::sys::prctl::set_name(name);
        task::serve_process(theirs, folders, vars, patience)
    })
    .map_err(trouble("fork"))?;
    match greeted(&ours, None, patience.of(PATIENCE)) {
        Ok(hello) => Ok((ours, hello)),
        Err(trouble) => {
            // Nobody else knows of it.
            kill(child);
            Err(trouble)
        }
    }
}

/// It may have ended by itself.
fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
}

/// Waits for the first word of a new task, which `parent` was asked to make.
fn greeted(new: &OwnedFd, parent: Option<&OwnedFd>, limit: Duration) -> Tried<Hello> {
    let until = Instant::now() + limit;
    let refused = |why: String| Err(Trouble::Machinery { what: "a new task".to_owned(), why });
    let late = || refused(format!("it said nothing within {} s", limit.as_secs_f64()));
    if !wire::readable_until(new, until)? {
        return late();
    }
    match wire::receive(new.as_fd(), true).map_err(trouble("a new task"))? {
        Some((Response::Hello { pid, tid }, _)) => return Ok(Hello { pid, tid }),
        Some((other, _)) => return Err(out_of_turn("a new task", &other)),
        None => {}
    }
    // It could not be made, or has ended at once. Its parent knows which.
    let Some(parent) = parent else {
        return refused("it ended before it said anything".to_owned());
    };
    if !wire::readable_until(parent, until)? {
        return late();
    }
    match wire::receive(parent.as_fd(), true).map_err(trouble("a new task"))? {
        Some((Response::NoSpawn(errno), _)) => refused(format!("it could not be made: {errno}")),
        Some((other, _)) => Err(out_of_turn("the parent of a new task", &other)),
        None => refused("its parent is gone".to_owned()),
    }
}

impl System for KernelSystem {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        if let Some(known) = self.offers.get(&need) {
            return known.clone();
        }
        let answer = self.probe(need);
        self.offers.insert(need, answer.clone());
        answer
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        let id = TaskId(self.tasks.len() as u32);
        if of == MAIN
            && kinship == Kinship::Thread
            && let Some(idle) = self.idle.pop()
        {
            self.tasks.insert(id, idle);
            return Ok(id);
        }
        let (ours, theirs) = wire::pair().map_err(trouble("a socket"))?;
        let parent = &self.task(of)?.socket;
        wire::send(parent.as_fd(), &TaskRequest::Spawn(kinship), &[theirs.as_raw_fd()])
            .map_err(trouble("a new task"))?;
        drop(theirs);
        let hello = greeted(&ours, Some(parent), self.setup.patience.of(PATIENCE))?;
        self.tasks.insert(id, TaskHandle::new(ours, hello));
        Ok(id)
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        self.names.learn(&action);
        let words = self.names.say(&action);
        if self.task(task)?.busy {
            return Err(Trouble::Machinery {
                what: words,
                why: "its task still does something else".to_owned(),
            });
        }
        let fds = self.equip(task, &action)?;
        let op = OpId(self.operations.len() as u32);
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let command = TaskRequest::Do(op.0, action.clone());
        wire::send(self.task(task)?.socket.as_fd(), &command, &raw).map_err(trouble(&words))?;
        self.operations.insert(op, KernelOp { task, action, words, done: None });
        if let Some(task) = self.tasks.get_mut(&task) {
            task.busy = true;
        }
        Ok(op)
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        self.seen(op)
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        self.settled(op)
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        self.awaited(op)
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        self.done_within(op, Duration::from_secs(seconds))
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        let (pid, tid) = (self.task(task)?.pid, self.task(task)?.tid);
        self.stirred += 1;
        match signal {
            Signal::Handled => {
                sys::kill_thread(pid, tid, libc::SIGUSR1).map_err(trouble("a signal"))
            }
            Signal::Kill => {
                let target = nix::unistd::Pid::from_raw(pid);
                nix::sys::signal::kill(target, nix::sys::signal::SIGKILL)
                    .map_err(|error| trouble("SIGKILL")(error.into()))?;
                let begun = Instant::now();
                let limit = self.setup.patience.of(PATIENCE);
                while !proc::is_gone(pid) {
                    if begun.elapsed() > limit {
                        return Err(Trouble::Stuck {
                            what: format!("process {pid}, sent SIGKILL,"),
                            seconds: begun.elapsed().as_secs(),
                            state: self.describe(),
                        });
                    }
                    self.hear(task, pause(begun.elapsed()))?;
                    std::thread::yield_now();
                }
                for other in self.tasks.values_mut().filter(|other| other.pid == pid) {
                    other.gone = true;
                }
                self.idle.retain(|other| other.pid != pid);
                Ok(())
            }
        }
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        self.let_go(pin)
    }

    fn release_last(&mut self, pin: PinId, op: OpId) -> Tried<Released> {
        self.let_last_go(pin, op)
    }

    fn hold(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        self.held(task, point)
    }

    fn hold_in_copy(&mut self, task: TaskId) -> Tried<HoldId> {
        Ok(self.held_in_copy(task))
    }

    fn arrived(&mut self, hold: HoldId) -> Tried<bool> {
        self.awaited_at(hold)
    }

    fn go_after(&mut self, hold: HoldId, other: HoldId) -> Tried<()> {
        self.let_follow(hold, other)
    }

    fn rest(&mut self, op: OpId, hold: Option<HoldId>) -> Tried<Option<Look>> {
        self.judged(op, hold)
    }

    fn stands(&mut self, hold: HoldId) -> Tried<bool> {
        self.is_held(hold)
    }

    fn go(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        self.let_on(hold)
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        self.content(pin)
    }

    fn var(&self, var: VarId) -> u64 {
        self.vars.var(var.0).load(std::sync::atomic::Ordering::SeqCst)
    }

    fn set_var(&mut self, var: VarId, value: u64) {
        self.vars.var(var.0).store(value, std::sync::atomic::Ordering::SeqCst);
    }

    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>> {
        self.control.bystand(what, self.setup.patience.of(PATIENCE))
    }

    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View> {
        self.control.inspect(files, bystanders, self.setup.patience.of(PATIENCE))
    }

    fn written_back(&mut self) -> Tried<WriteBacks> {
        Ok(self.writeback.take())
    }

    fn forget_flushes(&mut self) -> Tried<()> {
        self.flushes()?.forget().map_err(|why| unseen(&why))
    }

    fn not_flushed(&mut self, file: FileId, span: Span) -> Tried<Vec<Span>> {
        let first = span.at / PAGE;
        let whole = pages(first, span.end().div_ceil(PAGE) - first);
        let blocks = self
            .blocks_of(file, whole)
            .map_err(|why| Trouble::Machinery { what: format!("the blocks of {span}"), why })?;
        let watch = self.flushes()?;
        let mut missing: Vec<Span> = Vec::new();
        for (index, block) in (first..).zip(blocks) {
            let (from, to) = (span.at.max(index * PAGE), span.end().min((index + 1) * PAGE));
            missing.extend(
                watch
                    .missing(block, Span { at: from, len: to - from })
                    .map_err(|why| unseen(&why))?,
            );
        }
        Ok(missing)
    }

    fn patience(&self) -> Patience {
        self.setup.patience
    }

    fn now(&self) -> u64 {
        task::now()
    }

    fn describe(&mut self) -> String {
        self.pids().into_iter().map(proc::describe).collect()
    }
}

impl Drop for KernelSystem {
    fn drop(&mut self) {
        self.give_up();
        let mut pids = self.leave_crew();
        for pid in &pids {
            kill(*pid);
        }
        let end = Instant::now() + self.setup.patience.of(GRACE);
        pids.retain(|pid| !proc::ends(*pid, end));
        self.devices.stuck.borrow_mut().append(&mut pids);
        while nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            .is_ok_and(|status| status != nix::sys::wait::WaitStatus::StillAlive)
        {}
        if Rc::strong_count(&self.devices.bench) > 1 {
            let cleared = self.bench().clear();
            if let Err(error) = cleared {
                eprintln!("the page-cache file system: {error}");
            }
            return;
        }
        if let Ok(spare) = &self.spare
            && let Err(error) = spare.bind_again()
        {
            eprintln!("the spare device: {error}");
        }
        let owner = self.devices.owner;
        let bench = std::mem::replace(&mut *self.bench(), Bench::new(owner));
        if !bench.is_used() {
            return;
        }
        drop(bench);
        for left in bench::sweep(owner, self.setup.patience.of(bench::BUSY)) {
            eprintln!("left behind: {left}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Errno;

    #[test]
    fn why_a_task_could_not_be_made_is_told() {
        let (new, theirs) = wire::pair().unwrap();
        let (parent, other) = wire::pair().unwrap();
        drop(theirs);
        wire::send(other.as_fd(), &Response::NoSpawn(Errno(libc::EAGAIN)), &[]).unwrap();
        let refused = greeted(&new, Some(&parent), Duration::from_secs(10)).unwrap_err();
        assert_eq!(refused.to_string(), "a new task: it could not be made: EAGAIN");
        drop(other);
        let gone = greeted(&new, Some(&parent), Duration::from_secs(10)).unwrap_err();
        assert_eq!(gone.to_string(), "a new task: its parent is gone");
    }
}
