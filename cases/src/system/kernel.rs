//! A real file system under a real kernel.
//!
//! [`Kernel`] is the controller: it never opens a file of the file system under test. The
//! actions are performed by tasks in processes of their own ([`task`]), which it observes
//! through their sockets and through /proc.

mod bench;
mod offer;
mod proc;
mod script;
mod sys;
mod task;
mod wire;

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bench::{Bench, HeldSlice, trouble};
use nix::errno::Errno as Raw;
use nix::fcntl::{FcntlArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proc::Glance;
use sys::Cells;
use task::Folders;
use wire::{Answer, Command};

use super::{Done, Kinship, Look, MAIN, Need, OpId, Place, Signal, System, Tried, Trouble};
use crate::action::{Action, CellId, Content, PAGE, PinId, PinKind, TaskId};

/// How long an operation may take that nothing should hold up, before it is said to hang.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a task must be seen to sleep in one place, other than the layout break, before that
/// counts as blocked: it may be waiting for a journal or a device.
const REST: Duration = Duration::from_secs(5);

/// How long a task must sleep in the layout break, unmoved, after the last pin has gone before it
/// is said to have been forgotten: the wake-up comes with the release itself.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Clock ticks that an operation may run in the kernel without settling: 3 s, which no operation
/// on a few pages takes however slow the machine, since time off the processor does not count.
const SPIN: u64 = 300;

/// The most of them that count from one look to the next: a virtual machine that stood still in
/// between may take that for time that its task ran.
const LEAP: u64 = 10;

/// How many looks in a row must find a task asleep in the layout break and unmoved.
const LOOKS: u32 = 4;

/// Where and how to test.
#[derive(Clone, Debug)]
pub struct Config {
    /// An empty directory of the case's own on the mounted DAX file system.
    pub directory: PathBuf,
}

/// Opens the kernel's file system for one case.
pub fn open(config: &Config) -> Tried<Box<dyn System>> {
    Ok(Box::new(Kernel::new(config, Devices::default())?))
}

/// What many short programs use one after the other: making devices and a page-cache file system
/// takes longer than most of them. It ends with its last user.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    bench: Rc<RefCell<Bench>>,
    stuck: Rc<RefCell<Vec<i32>>>,
}

impl Devices {
    /// Opens the kernel's file system for one program. Its files are the program's to remove,
    /// but for those in the page cache.
    pub fn open(&self, config: &Config) -> Tried<Box<dyn System>> {
        Ok(Box::new(Kernel::new(config, self.clone())?))
    }

    /// Processes of programs that were killed and have not ended yet.
    pub fn stuck(&self) -> Vec<i32> {
        let mut stuck = self.stuck.borrow_mut();
        stuck.retain(|pid| !proc::is_gone(*pid));
        stuck.clone()
    }
}

/// Gives back what cases that were killed left behind: held devices, mounts, null_blk devices.
/// Returns what could not be given back, in words.
pub fn sweep() -> Vec<String> {
    bench::sweep()
}

#[derive(Debug)]
struct Task {
    socket: OwnedFd,
    pid: i32,
    tid: i32,
    gone: bool,
    busy: bool,
}

#[derive(Debug)]
struct Operation {
    task: TaskId,
    words: String,
    done: Option<Done>,
}

/// The controller's side of a pin.
#[derive(Debug)]
enum Holder {
    /// The only reader of the pipe.
    Pipe {
        reader: OwnedFd,
        len: u64,
    },
    Device(HeldSlice),
    /// Read out of the pipe at release.
    Released(Content),
    /// The task keeps it.
    Selfish,
}

struct Kernel {
    config: Config,
    cells: Cells,
    tasks: BTreeMap<TaskId, Task>,
    operations: BTreeMap<OpId, Operation>,
    pins: BTreeMap<PinId, Holder>,
    devices: Devices,
    offers: BTreeMap<Need, Result<(), String>>,
}

impl Kernel {
    fn new(config: &Config, devices: Devices) -> Tried<Self> {
        let cells = Cells::new().map_err(trouble("shared memory"))?;
        let (ours, theirs) = wire::pair().map_err(trouble("a socket"))?;
        let folders = Folders { dax: config.directory.clone(), page_cache: bench::cache_mount() };
        let child = sys::fork().map_err(trouble("fork"))?;
        if child == 0 {
            drop(ours);
            task::serve_process(theirs, folders, cells);
        }
        drop(theirs);
        let mut kernel = Self {
            config: config.clone(),
            cells,
            tasks: BTreeMap::new(),
            operations: BTreeMap::new(),
            pins: BTreeMap::new(),
            devices,
            offers: BTreeMap::new(),
        };
        if let Err(trouble) = kernel.admit(MAIN, ours) {
            // Nobody else knows of it. It may have ended by itself.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(child),
                nix::sys::signal::SIGKILL,
            );
            return Err(trouble);
        }
        Ok(kernel)
    }

    /// The processes that are not known to be gone, each once.
    fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<_> =
            self.tasks.values().filter(|task| !task.gone).map(|task| task.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn bench(&self) -> RefMut<'_, Bench> {
        self.devices.bench.borrow_mut()
    }

    /// Waits for a new task's first word.
    fn admit(&mut self, id: TaskId, socket: OwnedFd) -> Tried<()> {
        let begun = Instant::now();
        let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], limit) {
                Ok(0) => {}
                Ok(_) => break,
                Err(Raw::EINTR) if begun.elapsed() < PATIENCE => continue,
                Err(Raw::EINTR) => {}
                Err(error) => return Err(trouble("poll")(error.into())),
            }
            return Err(Trouble::Machinery {
                what: "a new task".to_owned(),
                why: format!("it said nothing within {} s", PATIENCE.as_secs()),
            });
        }
        match wire::receive(socket.as_fd(), true).map_err(trouble("a new task"))? {
            Some((Answer::Hello { pid, tid }, _)) => {
                self.tasks.insert(id, Task { socket, pid, tid, gone: false, busy: false });
                Ok(())
            }
            other => Err(Trouble::Machinery {
                what: "a new task".to_owned(),
                why: format!("it said {:?}", other.map(|(answer, _)| answer)),
            }),
        }
    }

    fn task(&self, id: TaskId) -> Tried<&Task> {
        self.tasks.get(&id).ok_or_else(|| Trouble::Machinery {
            what: format!("task {}", id.0),
            why: "there is none".to_owned(),
        })
    }

    fn operation(&self, op: OpId) -> Tried<&Operation> {
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
        let limit = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(task.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, limit) {
            Ok(0) | Err(Raw::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(trouble("poll")(error.into())),
        }
        match wire::receive(task.socket.as_fd(), false) {
            Ok(Some((Answer::Done(number, done), _))) => {
                if let Some(operation) = self.operations.get_mut(&OpId(number)) {
                    operation.done = Some(done);
                }
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.busy = false;
                }
                Ok(())
            }
            Ok(None) => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.gone = true;
                }
                Ok(())
            }
            Ok(Some((other, _))) => Err(Trouble::Machinery {
                what: format!("task {}", id.0),
                why: format!("it said {other:?} out of turn"),
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(trouble(format!("task {}", id.0))(error)),
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

    fn glance(&self, op: OpId) -> Tried<Option<Glance>> {
        let task = self.task(self.operation(op)?.task)?;
        Ok(Glance::at(task.pid, task.tid))
    }

    /// A look at every task that does something.
    fn glances(&mut self) -> Tried<Vec<Option<Glance>>> {
        let busy = |task: &Task| task.busy && !task.gone;
        let ids: Vec<_> =
            self.tasks.iter().filter(|(_, task)| busy(task)).map(|(id, _)| *id).collect();
        for id in ids {
            // It may be done and only not have been listened to.
            self.hear(id, Duration::ZERO)?;
        }
        let tasks = self.tasks.values().filter(|task| busy(task));
        Ok(tasks.map(|task| Glance::at(task.pid, task.tid)).collect())
    }

    /// Whether any pin may still be held.
    fn holds(&self) -> bool {
        self.pins.values().any(|holder| match holder {
            Holder::Pipe { .. } | Holder::Selfish => true,
            Holder::Device(slice) => !slice.is_resumed(),
            Holder::Released(_) => false,
        })
    }

    fn drain(reader: &OwnedFd, len: u64) -> io::Result<Content> {
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match nix::unistd::read(reader, &mut bytes[filled..]) {
                Ok(0) | Err(Raw::EAGAIN) => break,
                Ok(count) => filled += count,
                Err(Raw::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Content::of(&bytes[..filled]))
    }

    /// What `action` needs to be sent along: our side of a pin or device stays here.
    fn equip(&mut self, action: &Action) -> Tried<Vec<OwnedFd>> {
        match action {
            Action::Pin { pin, selfish: true, .. } => {
                self.pins.insert(*pin, Holder::Selfish);
                Ok(Vec::new())
            }
            Action::Pin { pin, span, kind: PinKind::Splice, .. } => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
                    .map_err(|error| trouble("a pipe")(error.into()))?;
                let size = span.len.max(PAGE) as i32;
                for command in [FcntlArg::F_SETPIPE_SZ(size), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)]
                {
                    nix::fcntl::fcntl(&reader, command)
                        .map_err(|error| trouble("a pipe's size")(error.into()))?;
                }
                self.pins.insert(*pin, Holder::Pipe { reader, len: span.len });
                Ok(vec![writer])
            }
            Action::Pin { pin, span, kind: PinKind::Direct { byte, .. }, .. } => {
                let (slice, device) = self.bench().hold(span.len, *byte)?;
                self.pins.insert(*pin, Holder::Device(slice));
                Ok(vec![device])
            }
            Action::DirectLoad { .. } => Ok(vec![self.bench().slow()?]),
            _ => Ok(Vec::new()),
        }
    }
}

/// Whether all tasks wait, for a lock or in the layout break, and one does in the break: then the
/// locks are held by those that wait, and nothing moves until a pin or a signal comes.
fn is_closed(tasks: &[Option<Glance>]) -> bool {
    let breaks = |glance: &Glance| glance.sleeps() && glance.place() == Place::LayoutBreak;
    tasks.iter().flatten().any(breaks)
        && tasks
            .iter()
            .all(|task| task.as_ref().is_some_and(|task| breaks(task) || task.waits_for_lock()))
}

impl System for Kernel {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        if let Some(known) = self.offers.get(&need) {
            return known.clone();
        }
        let answer = self.probe(need);
        self.offers.insert(need, answer.clone());
        answer
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        let (ours, theirs) = wire::pair().map_err(trouble("a socket"))?;
        let parent = self.task(of)?.socket.as_fd();
        wire::send(parent, &Command::Spawn(kinship), &[theirs.as_raw_fd()])
            .map_err(trouble("a new task"))?;
        drop(theirs);
        let id = TaskId(self.tasks.len() as u32);
        self.admit(id, ours)?;
        Ok(id)
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        if self.task(task)?.busy {
            return Err(Trouble::Machinery {
                what: format!("{action:?}"),
                why: "its task still does something else".to_owned(),
            });
        }
        let fds = self.equip(&action)?;
        let op = OpId(self.operations.len() as u32);
        let words = format!("{action:?}");
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        wire::send(self.task(task)?.socket.as_fd(), &Command::Do(op.0, action), &raw)
            .map_err(trouble(&words))?;
        self.operations.insert(op, Operation { task, words, done: None });
        if let Some(task) = self.tasks.get_mut(&task) {
            task.busy = true;
        }
        Ok(op)
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        if let Some(end) = self.ended(op, Duration::ZERO)? {
            return Ok(end);
        }
        Ok(match self.glance(op)? {
            Some(glance) if glance.sleeps() => Look::Blocked(glance.place()),
            _ => Look::Running,
        })
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        let begun = Instant::now();
        let mut last: Option<Glance> = None;
        let (mut same, mut since) = (0, Instant::now());
        let (mut all_same, mut all) = (0, Vec::new());
        let (mut ran, mut before) = (0, self.glance(op)?.map_or(0, |glance| glance.ran));
        loop {
            if let Some(end) = self.ended(op, Duration::from_millis(2))? {
                return Ok(end);
            }
            let glance = self.glance(op)?;
            if glance == last {
                same += 1;
            } else {
                (same, since) = (0, Instant::now());
                last.clone_from(&glance);
            }
            if glance.as_ref().is_some_and(Glance::waits_for_lock) {
                let now = self.glances()?;
                all_same = if now == all { all_same + 1 } else { 0 };
                all = now;
            }
            if let Some(glance) = &glance {
                ran += glance.ran.saturating_sub(before).min(LEAP);
                before = glance.ran;
            }
            if ran > SPIN {
                return Ok(Look::Running);
            }
            if let Some(glance) = glance.filter(Glance::sleeps) {
                let place = glance.place();
                let settled = if place == Place::LayoutBreak {
                    same >= LOOKS
                } else {
                    all_same >= LOOKS && is_closed(&all) || since.elapsed() > REST
                };
                if settled {
                    return Ok(Look::Blocked(place));
                }
            }
            if begun.elapsed() > PATIENCE {
                return Ok(Look::Running);
            }
        }
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        let begun = Instant::now();
        let mut last = (self.glance(op)?, Instant::now());
        loop {
            if let Some(done) = self.wait_for(op, 1)? {
                return Ok(done);
            }
            let glance = self.glance(op)?;
            if glance != last.0 {
                last = (glance, Instant::now());
            }
            let waits = last.0.as_ref().is_some_and(|glance| glance.place() == Place::LayoutBreak);
            let forgotten = waits && !self.holds() && last.1.elapsed() > FORGOTTEN;
            if forgotten || begun.elapsed() > PATIENCE {
                let what = self.operation(op)?.words.clone();
                let seconds = begun.elapsed().as_secs();
                let mut state = self.describe();
                if forgotten {
                    state.insert_str(0, "it sleeps in the layout break although no pin is left\n");
                }
                return Err(Trouble::Stuck { what, seconds, state });
            }
        }
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        let end = Instant::now() + Duration::from_secs(seconds);
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

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        let (pid, tid) = (self.task(task)?.pid, self.task(task)?.tid);
        match signal {
            Signal::Handled => {
                sys::kill_thread(pid, tid, libc::SIGUSR1).map_err(trouble("a signal"))
            }
            Signal::Kill => {
                let target = nix::unistd::Pid::from_raw(pid);
                nix::sys::signal::kill(target, nix::sys::signal::SIGKILL)
                    .map_err(|error| trouble("SIGKILL")(error.into()))?;
                let end = Instant::now() + PATIENCE;
                while !proc::is_gone(pid) {
                    if Instant::now() > end {
                        return Err(Trouble::Stuck {
                            what: format!("process {pid}, sent SIGKILL,"),
                            seconds: PATIENCE.as_secs(),
                            state: self.describe(),
                        });
                    }
                    self.hear(task, Duration::from_millis(2))?;
                    std::thread::yield_now();
                }
                for other in self.tasks.values_mut().filter(|other| other.pid == pid) {
                    other.gone = true;
                }
                Ok(())
            }
        }
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        let unknown = |why: &str| {
            Err(Trouble::Machinery {
                what: format!("the release of pin {}", pin.0),
                why: why.to_owned(),
            })
        };
        match self.pins.remove(&pin) {
            Some(Holder::Pipe { reader, len }) => {
                let before = task::now();
                let content = Self::drain(&reader, len).map_err(trouble("a pipe"))?;
                drop(reader);
                self.pins.insert(pin, Holder::Released(content));
                Ok(before)
            }
            Some(Holder::Device(mut slice)) => {
                let before = task::now();
                slice.resume().map_err(trouble("the held device"))?;
                self.pins.insert(pin, Holder::Device(slice));
                Ok(before)
            }
            Some(Holder::Selfish) => unknown("its task keeps it"),
            Some(Holder::Released(_)) | None => unknown("there is no such pin"),
        }
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        match self.pins.get(&pin) {
            Some(Holder::Released(content)) => Ok(content.clone()),
            Some(Holder::Device(slice)) => slice.content().map_err(trouble("the held device")),
            _ => Err(Trouble::Machinery {
                what: format!("the content of pin {}", pin.0),
                why: "it is not released".to_owned(),
            }),
        }
    }

    fn cell(&self, cell: CellId) -> u64 {
        self.cells.cell(cell.0).load(std::sync::atomic::Ordering::SeqCst)
    }

    fn set_cell(&mut self, cell: CellId, value: u64) {
        self.cells.cell(cell.0).store(value, std::sync::atomic::Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        task::now()
    }

    fn describe(&mut self) -> String {
        self.pids().into_iter().map(proc::describe).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // Held I/O first: a process with direct I/O in flight cannot end before it completes.
        for holder in std::mem::take(&mut self.pins).into_values() {
            if let Holder::Device(slice) = holder {
                let given = self.bench().give_back(slice);
                if let Err(error) = given {
                    eprintln!("a held device: {error}");
                }
            }
        }
        let mut pids = self.pids();
        for pid in &pids {
            // It may have ended by itself.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::SIGKILL);
        }
        // What does not end is the runner's to find and report.
        let end = Instant::now() + REST;
        while !pids.iter().all(|pid| proc::is_gone(*pid)) && Instant::now() < end {
            std::thread::yield_now();
        }
        pids.retain(|pid| !proc::is_gone(*pid));
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
        *self.bench() = Bench::default();
        for left in bench::sweep() {
            eprintln!("left behind: {left}");
        }
    }
}
