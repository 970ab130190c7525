//! The reference implementation as a file system under test.
//!
//! Tasks are threads, actions are calls, and nothing is guessed: whether an operation is
//! blocked, and whether anything will ever change again, is looked up on the reference's board
//! of tasks. A run that cannot go on is therefore known to be stuck at once.

mod actor;
mod futex;
mod perform;
mod pin;
mod script;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use protocol::Finding;
use protocol::event::{Counting, Event};
use reference::sync::{Arc, Leaf, thread};
use reference::{Dropper, Failure, Fs, Scatter, Stage, Standing, Task, Variant};

use self::actor::{Commons, Worker};
use super::{
    Done, HoldEnd, HoldId, HoldPoint, Kinship, Look, MAIN, Need, OpId, Released, Signal, System,
    Tried, Trouble, WaitChannel, WriteBacks,
};
use crate::action::{Action, Content, FileId, PinId, Span, TaskId, VarId, page};
use crate::oracle::{BystanderSpec, Inspection, Stood, View};
use crate::patience::{Limit, Patience};
use crate::transcript::Names;

/// How the reference is to be.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceSetup {
    /// The bug in it.
    pub variant: Option<Variant>,
    /// How it counts references.
    pub shape: Counting,
    /// Whether fallocate looks at its range before it breaks the layout.
    pub looks_first: bool,
    /// Whether blocks are handed out by lot.
    pub scatter: Option<Scatter>,
    /// The seed of the case, for its report; the reference itself draws no lots.
    pub seed: u64,
    /// What the time limits are multiplied by.
    pub patience: Patience,
}

impl Default for ReferenceSetup {
    fn default() -> Self {
        Self {
            variant: None,
            shape: Counting::IdleAtZero,
            looks_first: false,
            scatter: None,
            seed: 1,
            patience: Patience::default(),
        }
    }
}

/// How long an operation may take that others could still let go on.
const PATIENCE: Limit = Limit::secs(10);

/// A second of a case, whose limits are made for an emulated kernel, is this long here.
const SECOND: Limit = Limit::millis(50);

/// How long a task must sleep in one place to count as blocked while others run.
const REST: Limit = Limit::millis(20);

/// Blocks of each volume: the largest file of a case several times over.
const BLOCKS: u64 = 4096;

/// How often pins newer than a break may hold it up before it counts as starved. The loads that
/// a break is protected from do not hold it up at all; a race case does a few times.
const NEWER_PINS: u32 = 500;

/// The reference, as a [`System`].
#[derive(Debug)]
pub struct Reference {
    shared: Arc<Commons>,
    tasks: BTreeMap<TaskId, Worker>,
    ops: BTreeMap<OpId, ReferenceOp>,
    threads: Vec<thread::JoinHandle<()>>,
    /// The tasks that are to be held.
    held: Vec<(TaskId, usize)>,
    /// In whose name the case itself lets go of pins.
    hand: Task,
    names: Names,
    patience: Patience,
}

#[derive(Debug)]
struct ReferenceOp {
    task: TaskId,
    words: String,
    end: Arc<Leaf<Option<Done>>>,
}

/// Opens the reference for one case.
pub fn open(setup: &ReferenceSetup) -> Tried<Box<dyn System>> {
    Ok(Box::new(Reference::new(setup)))
}

impl Reference {
    /// A file system with one process of one task.
    pub fn new(setup: &ReferenceSetup) -> Self {
        let fs = Fs::new(&reference::FsSetup {
            shape: setup.shape,
            variant: setup.variant,
            looks_first: setup.looks_first,
            blocks: BLOCKS,
            scatter: setup.scatter,
            newer_pins: NEWER_PINS,
        });
        let device = fs.board.add(0);
        let hand = fs.board.add_name(0);
        let shared = Arc::new(Commons::new(Arc::clone(&fs)));
        let mut system = Self {
            shared,
            tasks: BTreeMap::new(),
            ops: BTreeMap::new(),
            threads: Vec::new(),
            held: Vec::new(),
            hand,
            names: Names::default(),
            patience: setup.patience,
        };
        system.threads.push(thread::spawn(move || {
            // Ends with the run.
            let _ = fs.serve_device(&device);
        }));
        let main = Worker::first(&system.shared);
        system.admit(MAIN, main);
        system
    }

    /// What the rules found in the run so far; if it is over or stuck, also what never ended.
    pub fn findings(&self) -> Vec<Finding> {
        self.shared.fs.sample();
        if self.shared.fs.board.is_quiet() {
            self.shared.fs.log.findings_at_end()
        } else {
            self.shared.fs.log.findings()
        }
    }

    /// The latest events, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.shared.fs.log.events()
    }

    fn admit(&mut self, id: TaskId, actor: Worker) {
        let serving = actor.clone();
        self.threads.push(thread::spawn(move || serving.serve()));
        self.tasks.insert(id, actor);
    }

    fn task(&self, id: TaskId) -> Tried<&Worker> {
        self.tasks.get(&id).ok_or_else(|| Trouble::Machinery {
            what: format!("task {}", id.0),
            why: "there is no such task".to_owned(),
        })
    }

    fn operation(&self, op: OpId) -> Tried<(&ReferenceOp, u32)> {
        let operation = self.ops.get(&op).ok_or_else(|| Trouble::Machinery {
            what: format!("operation {}", op.0),
            why: "it was not started".to_owned(),
        })?;
        Ok((operation, self.task(operation.task)?.task.id()))
    }

    /// What `op` does, if it is not under way.
    fn ended(operation: &ReferenceOp, standing: Standing) -> Option<Look> {
        if let Some(done) = operation.end.with(|end| end.clone()) {
            return Some(Look::Done(done));
        }
        (standing == Standing::Gone).then_some(Look::Gone)
    }

    /// What to say of an operation that did not end since `begin`.
    fn stuck(&mut self, op: OpId, begin: Instant) -> Trouble {
        let seconds = begin.elapsed().as_secs();
        let what = self.ops.get(&op).map_or_else(String::new, |operation| operation.words.clone());
        let mut state = self.describe();
        if self.shared.fs.board.is_quiet() {
            state.insert_str(0, "nobody can go on: this lasts for ever\n");
        }
        Trouble::Stuck { what, seconds, state }
    }

    /// Waits for the end of `op`; `None` if it does not come, by itself or in time.
    fn end_of(&self, op: OpId, patience: Duration) -> Tried<Option<Done>> {
        let (operation, task) = self.operation(op)?;
        let end = self.shared.fs.board.watch(patience, |view| {
            match Self::ended(operation, view.standing(task)) {
                Some(end) => Some(Some(end)),
                None => view.is_quiet().then_some(None),
            }
        });
        match end.flatten() {
            Some(Look::Done(done)) => Ok(Some(done)),
            Some(_) => Err(Trouble::Machinery {
                what: operation.words.clone(),
                why: "its task is gone".to_owned(),
            }),
            None => Ok(None),
        }
    }
}

fn wait_channel(place: reference::Sleep) -> WaitChannel {
    match place {
        reference::Sleep::LayoutBreak(_) => WaitChannel::LayoutBreak,
        reference::Sleep::Lock(name) | reference::Sleep::For(name) => {
            WaitChannel::Elsewhere(name.to_owned())
        }
        reference::Sleep::Idle => WaitChannel::Elsewhere("a script".to_owned()),
    }
}

impl System for Reference {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        match need {
            Need::Huge => Err("the reference has pages of one size".to_owned()),
            Need::LargeSpare => Err(format!("the reference has {BLOCKS} blocks")),
            Need::Immutable => Err("the files of the reference have no flags".to_owned()),
            _ => Ok(()),
        }
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        let actor = self.task(of)?.spawn(kinship);
        let id = TaskId(self.tasks.len() as u32);
        self.admit(id, actor);
        Ok(id)
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        self.names.learn(&action);
        let words = self.names.say(&action);
        let actor = self.task(task)?;
        let op = OpId(self.ops.len() as u32);
        let end = Arc::new(Leaf::new(None));
        if !actor.order(action, Arc::clone(&end)) {
            return Err(Trouble::Machinery {
                what: words,
                why: "its task still does something else".to_owned(),
            });
        }
        self.ops.insert(op, ReferenceOp { task, words, end });
        Ok(op)
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        thread::yield_now();
        let (operation, task) = self.operation(op)?;
        Ok(self.shared.fs.board.look(|view| {
            let standing = view.standing(task);
            Self::ended(operation, standing).unwrap_or(match standing {
                Standing::Sleeping(at) if at != reference::Sleep::Idle => {
                    Look::Blocked(wait_channel(at))
                }
                _ => Look::Running,
            })
        }))
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        // Nobody is asked about a hold, so it cannot be said to stand at one.
        Ok(self.rest(op, None)?.unwrap_or(Look::Running))
    }

    fn rest(&mut self, op: OpId, hold: Option<HoldId>) -> Tried<Option<Look>> {
        let (operation, task) = self.operation(op)?;
        let holds = &self.shared.fs.holds;
        let hold = hold.map(|hold| self.held[hold.0].1);
        let rest = self.patience.of(REST);
        let mut since = (Instant::now(), 0, None);
        let seen = self.shared.fs.board.watch(self.patience.of(PATIENCE), |view| {
            let standing = view.standing(task);
            if let Some(end) = Self::ended(operation, standing) {
                return Some(Some(end));
            }
            if hold.is_some_and(|number| holds.stage(number) == Stage::Stands) {
                return Some(None);
            }
            let Standing::Sleeping(at) = standing else {
                since.2 = None;
                return None;
            };
            let sleep = Some((at, view.sleeps(task)));
            if since.2 == sleep {
                since.1 += 1;
            } else {
                since = (Instant::now(), 0, sleep);
            }
            let rests = since.1 > 3 && (cfg!(feature = "shuttle") || since.0.elapsed() > rest);
            (view.is_quiet() || rests).then(|| Some(Look::Blocked(wait_channel(at))))
        });
        Ok(seen.unwrap_or(Some(Look::Running)))
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        let begin = Instant::now();
        match self.end_of(op, self.patience.of(PATIENCE))? {
            Some(done) => Ok(done),
            None => Err(self.stuck(op, begin)),
        }
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        let second = self.patience.of(SECOND);
        self.end_of(op, second.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        let actor = self.task(task)?;
        let fatal = signal == Signal::Kill;
        self.shared.fs.board.signal(actor.task.id(), fatal);
        if !fatal {
            return Ok(());
        }
        let process = actor.process.number;
        // Its pipes go first: else a file that it held last could wait for its own pins.
        for pins in actor.process_pins() {
            self.shared.fs.unpin(&self.hand, &pins, Dropper::Process);
        }
        let begin = Instant::now();
        let gone = self.shared.fs.board.watch(self.patience.of(PATIENCE), |view| {
            if view.is_gone(process) { Some(true) } else { view.is_quiet().then_some(false) }
        });
        if gone == Some(true) {
            return Ok(());
        }
        Err(Trouble::Stuck {
            what: format!("process {process}, sent SIGKILL,"),
            seconds: begin.elapsed().as_secs(),
            state: self.describe(),
        })
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        let before = self.shared.fs.log.now();
        if self.shared.let_go(&self.hand, pin) {
            return Ok(before);
        }
        Err(Trouble::Machinery {
            what: format!("the release of pin {}", pin.0),
            why: "it is not held here".to_owned(),
        })
    }

    fn release_last(&mut self, pin: PinId, _op: OpId) -> Tried<Released> {
        // Where it sleeps is known here, so nothing else can have blocked it.
        Ok(Released { at: self.release(pin)?, slept_on: None })
    }

    fn hold(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        let number = self.shared.fs.holds.arm(self.task(task)?.task.id(), point);
        self.held.push((task, number));
        Ok(HoldId(self.held.len() - 1))
    }

    fn hold_in_copy(&mut self, task: TaskId) -> Tried<HoldId> {
        // A page is copied at once here, so this is before its first sector.
        self.hold(task, HoldPoint::BlockFound)
    }

    fn arrived(&mut self, hold: HoldId) -> Tried<bool> {
        let (_, number) = self.held[hold.0];
        let holds = &self.shared.fs.holds;
        let arrived = self.shared.fs.board.watch(self.patience.of(PATIENCE), |view| {
            if holds.stage(number) == Stage::Stands {
                return Some(true);
            }
            view.is_quiet().then_some(false)
        });
        Ok(arrived.unwrap_or(false))
    }

    fn stands(&mut self, hold: HoldId) -> Tried<bool> {
        Ok(self.shared.fs.holds.stage(self.held[hold.0].1) == Stage::Stands)
    }

    fn go(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        let (task, number) = self.held[hold.0];
        let holds = &self.shared.fs.holds;
        holds.release(number);
        if holds.stage(number) == Stage::LetGo {
            self.task(task)?.task.wake();
            return Ok(HoldEnd::Go);
        }
        Ok(HoldEnd::NeverArrived)
    }

    fn forget_flushes(&mut self) -> Tried<()> {
        // What is in the caches is known at any time.
        Ok(())
    }

    fn not_flushed(&mut self, file: FileId, span: Span) -> Tried<Vec<Span>> {
        let pages = self.shared.files.with(|files| {
            let file = files.get(&file)?;
            Some(Fs::not_flushed(file, span.at, span.len))
        });
        let pages = pages.ok_or_else(|| Trouble::Machinery {
            what: format!("file {}", file.0),
            why: "there is none".to_owned(),
        })?;
        Ok(pages.into_iter().map(page).collect())
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        self.shared.content(pin).ok_or_else(|| Trouble::Machinery {
            what: format!("the content of pin {}", pin.0),
            why: "it is not over".to_owned(),
        })
    }

    fn var(&self, var: VarId) -> u64 {
        self.shared.vars.get(var)
    }

    fn set_var(&mut self, var: VarId, value: u64) {
        self.shared.vars.change(var, |old| *old = value);
    }

    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>> {
        let made = self.shared.bystand(&self.hand, what);
        made.map_err(|end| Trouble::Machinery {
            what: "a file that nobody touches".to_owned(),
            why: match end {
                Failure::Errno(errno) => errno.to_string(),
                Failure::Cancelled => "the run is over".to_owned(),
            },
        })?;
        Ok(self.shared.stood(what))
    }

    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View> {
        Ok(View {
            files: files.iter().map(|what| self.shared.inspect(what)).collect(),
            bystanders: bystanders.iter().map(|what| self.shared.stood(what)).collect(),
        })
    }

    fn written_back(&mut self) -> Tried<WriteBacks> {
        let pages = self.shared.fs.take_written_back();
        let file = |inode| {
            self.shared.files.with(|files| {
                let found = files.iter().find(|(_, file)| file.number == inode);
                found.map(|(file, _)| *file)
            })
        };
        let pages =
            pages.into_iter().filter_map(|(inode, index)| Some((file(inode)?, index..index + 1)));
        Ok(WriteBacks { pages: pages.collect(), missed: None })
    }

    fn patience(&self) -> Patience {
        self.patience
    }

    fn now(&self) -> u64 {
        self.shared.fs.log.now()
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for (id, actor) in &self.tasks {
            let standing = self.shared.fs.board.look(|view| view.standing(actor.task.id()));
            let does = match standing {
                Standing::Running => "runs".to_owned(),
                Standing::Sleeping(reference::Sleep::LayoutBreak(page)) => {
                    format!("sleeps in the layout break, for page {page}")
                }
                Standing::Sleeping(reference::Sleep::Lock(name)) => {
                    format!("sleeps for {name}")
                }
                Standing::Sleeping(reference::Sleep::For(what)) => {
                    format!("sleeps for {what}")
                }
                Standing::Sleeping(reference::Sleep::Idle) => "is idle".to_owned(),
                Standing::Gone => "is gone".to_owned(),
            };
            let doing = self
                .ops
                .values()
                .rev()
                .find(|op| op.task == *id && op.end.with(|end| end.is_none()))
                .map_or_else(String::new, |op| format!(" in {}", op.words));
            let process = actor.process.number;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "task {} of process {process} {does}{doing}", id.0);
        }
        text
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.shared.fs.board.cancel();
        if thread::panicking() {
            return;
        }
        for thread in self.threads.drain(..) {
            // A task that panicked has said so.
            let _ = thread.join();
        }
    }
}
