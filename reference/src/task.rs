//! Tasks, and the one place where they sleep.
//!
//! Every wait of the reference ends in [`Task::park`], which tells the [`Board`]. So whether
//! a task is blocked, and where, is looked up and not guessed; a deadlock is seen at the moment
//! nobody runs any more; and a run can be cancelled wherever its tasks are.

use std::time::Duration;

use crate::errno::{Answer, Failure};
use crate::sync::{Arc, Condvar, Flag, Mutex, MutexGuard, lock, wait, wait_a_while};

/// Where a task sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sleep {
    /// In the layout break, until this page is idle.
    LayoutBreak(u64),
    /// For a lock, by its kernel name.
    Lock(&'static str),
    /// For something else, by a word.
    For(&'static str),
    /// For something outside of the protocol: its next action, or a word from another task.
    Idle,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It runs or could.
    Running,
    /// It sleeps.
    Sleeping(Sleep),
    /// It has ended.
    Gone,
}

/// What may end a sleep early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruptible {
    /// Nothing.
    Never,
    /// Any signal.
    Signal,
    /// A fatal signal.
    Kill,
}

#[derive(Debug)]
struct BoardEntry {
    process: u32,
    standing: Standing,
    /// A wake-up that was given and not yet taken.
    token: bool,
    signalled: bool,
    killed: bool,
    /// Sleeps in the protocol's own waits, ever.
    sleeps: u64,
    wake: Arc<Condvar>,
}

/// All tasks of a run and what they do.
#[derive(Debug)]
pub struct Board {
    entries: Mutex<Vec<BoardEntry>>,
    /// Told when the last running task falls asleep, and by [`Board::tell`].
    changed: Condvar,
    cancelled: Flag,
}

/// One task's view of the board.
#[derive(Clone, Debug)]
pub struct Task {
    board: Arc<Board>,
    id: u32,
    process: u32,
}

/// What the board says about a moment.
#[derive(Debug)]
pub struct BoardView<'a>(&'a [BoardEntry]);

impl BoardView<'_> {
    /// What a task does.
    pub fn standing(&self, task: u32) -> Standing {
        self.0[task as usize].standing
    }

    /// How often it has slept.
    pub fn sleeps(&self, task: u32) -> u64 {
        self.0[task as usize].sleeps
    }

    /// Whether nobody runs, so that nothing will change by itself.
    pub fn is_quiet(&self) -> bool {
        self.0.iter().all(|entry| entry.standing != Standing::Running)
    }

    /// Whether all tasks of a process have ended.
    pub fn is_gone(&self, process: u32) -> bool {
        self.0
            .iter()
            .filter(|entry| entry.process == process)
            .all(|entry| entry.standing == Standing::Gone)
    }
}

impl Board {
    /// A board without tasks.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(Vec::new()),
            changed: Condvar::new(),
            cancelled: Flag::default(),
        })
    }

    /// Adds a running task of `process`.
    pub fn add(self: &Arc<Self>, process: u32) -> Task {
        let mut entries = lock(&self.entries);
        let id = entries.len() as u32;
        entries.push(BoardEntry {
            process,
            standing: Standing::Running,
            token: false,
            signalled: false,
            killed: false,
            sleeps: 0,
            wake: Arc::new(Condvar::new()),
        });
        Task { board: Arc::clone(self), id, process }
    }

    /// The task with this number.
    pub fn task(self: &Arc<Self>, id: u32) -> Task {
        Task { board: Arc::clone(self), id, process: lock(&self.entries)[id as usize].process }
    }

    /// Adds a task of `process` that never runs by itself: one in whose name others act.
    pub fn add_name(self: &Arc<Self>, process: u32) -> Task {
        let task = self.add(process);
        lock(&self.entries)[task.id as usize].standing = Standing::Sleeping(Sleep::Idle);
        task
    }

    /// Ends every sleep, now and later: the run is over.
    pub fn cancel(&self) {
        self.cancelled.raise();
        let mut entries = lock(&self.entries);
        for entry in entries.iter_mut() {
            set_running(entry);
        }
        self.changed.notify_all();
    }

    /// Whether the run is over.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_raised()
    }

    /// Lets watchers look again.
    pub fn tell(&self) {
        // Taken so that no watcher is between its look and its sleep.
        drop(lock(&self.entries));
        self.changed.notify_all();
    }

    /// The sleeping breaks: the task and the page it waits for.
    pub fn awaited(&self) -> Vec<(u32, u64)> {
        lock(&self.entries)
            .iter()
            .enumerate()
            .filter_map(|(id, entry)| match entry.standing {
                Standing::Sleeping(Sleep::LayoutBreak(page)) => Some((id as u32, page)),
                _ => None,
            })
            .collect()
    }

    /// Whether nobody runs, so that nothing will change by itself.
    pub fn is_quiet(&self) -> bool {
        BoardView(&lock(&self.entries)).is_quiet()
    }

    /// Looks at the tasks once.
    pub fn look<T>(&self, see: impl FnOnce(&BoardView<'_>) -> T) -> T {
        see(&BoardView(&lock(&self.entries)))
    }

    /// Looks whenever something changed until `see` is content, but no longer than `patience`.
    pub fn watch<T>(
        &self,
        patience: Duration,
        mut see: impl FnMut(&BoardView<'_>) -> Option<T>,
    ) -> Option<T> {
        const GLANCE: Duration = Duration::from_millis(2);
        let begin = std::time::Instant::now();
        let mut entries = lock(&self.entries);
        loop {
            if let Some(seen) = see(&BoardView(&entries)) {
                return Some(seen);
            }
            if begin.elapsed() >= patience {
                return None;
            }
            entries = wait_a_while(&self.entries, &self.changed, entries, GLANCE);
        }
    }

    /// Sends a signal to a task; `fatal` ones go to its whole process.
    pub fn signal(&self, task: u32, fatal: bool) {
        let mut entries = lock(&self.entries);
        let process = entries[task as usize].process;
        for (id, entry) in entries.iter_mut().enumerate() {
            if fatal && entry.process == process {
                entry.killed = true;
            } else if id as u32 == task {
                entry.signalled = true;
            } else {
                continue;
            }
            set_running(entry);
        }
    }
}

fn set_running(entry: &mut BoardEntry) {
    entry.token = true;
    if let Standing::Sleeping(_) = entry.standing {
        entry.standing = Standing::Running;
        entry.wake.notify_all();
    }
}

impl Task {
    /// Its number, from 0.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Its board.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    fn entries(&self) -> MutexGuard<'_, Vec<BoardEntry>> {
        lock(&self.board.entries)
    }

    /// Sleeps until somebody wakes it. A wake-up given earlier counts, so a caller looks at its
    /// condition again whenever this returns.
    pub fn park(&self, place: Sleep) -> Answer<()> {
        let mut entries = self.entries();
        let me = self.id as usize;
        if !entries[me].token && !self.board.is_cancelled() {
            entries[me].standing = Standing::Sleeping(place);
            if place != Sleep::Idle {
                entries[me].sleeps += 1;
            }
            if BoardView(&entries).is_quiet() {
                self.board.changed.notify_all();
            }
            let wake = Arc::clone(&entries[me].wake);
            while !entries[me].token {
                entries = wait(&wake, entries);
            }
        }
        entries[me].token = false;
        drop(entries);
        self.check()
    }

    /// Fails if the run is over.
    pub fn check(&self) -> Answer<()> {
        if self.board.is_cancelled() { Err(Failure::Cancelled) } else { Ok(()) }
    }

    /// Wakes it.
    pub fn wake(&self) {
        set_running(&mut self.entries()[self.id as usize]);
    }

    /// Whether a sleep that `interrupt` describes may not begin or go on.
    pub fn is_interrupted(&self, interrupt: Interruptible) -> bool {
        let entries = self.entries();
        let me = &entries[self.id as usize];
        match interrupt {
            Interruptible::Never => false,
            Interruptible::Signal => me.killed || me.signalled,
            Interruptible::Kill => me.killed,
        }
    }

    /// Handles what signals came; whether it goes on living.
    pub fn handle_signals(&self) -> bool {
        let mut entries = self.entries();
        let me = &mut entries[self.id as usize];
        me.signalled = false;
        !me.killed
    }

    /// How often it has slept.
    pub fn sleeps(&self) -> u64 {
        self.entries()[self.id as usize].sleeps
    }

    /// Ends.
    pub fn end(&self) {
        self.entries()[self.id as usize].standing = Standing::Gone;
        self.board.tell();
    }
}
