//! What a case holds in its hands while it runs.
//!
//! [`Test`] wraps a [`System`] with names, a transcript and expectations, so that a case reads
//! as a paragraph. Everything a case does is said in the transcript; what it merely looks up
//! is not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{
    Action, Direction, Engine, FileId, Instruction, MapId, Medium, PAGE, PinId, PinKind, Reply,
    Script, Sharing, Span, TaskId, VarId, page,
};
use crate::attempt::{Attempts, MOST};
use crate::patience::Limit;
use crate::system::{
    Conclusion, Done, Errno, HoldEnd, HoldId, HoldPoint, Kinship, Look, MAIN, OpId, Signal, System,
    Trouble, WaitChannel,
};
use crate::transcript::{Names, Telling};

/// How a case ended, as far as the case can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Everything it checked held.
    Pass,
    /// Something did not hold: what was expected, what was seen, where to look.
    Fail(String),
    /// It could not run here, and why.
    NotRun(String),
    /// Something did not return.
    Hang(String),
    /// The machinery of the test failed.
    Error(String),
}

/// How many files are made to get one that is locked after another.
const MOST_IN_VAIN: u32 = 32;

/// Pages as [`Action::Create`] takes them, of a letter each (`.`: a hole).
pub(crate) fn fill(letters: &[u8]) -> Vec<u8> {
    letters.iter().map(|letter| if *letter == b'.' { 0 } else { *letter }).collect()
}

/// Why a case stops before its end.
#[derive(Debug)]
pub struct Stop(pub(crate) Ending);

impl From<Trouble> for Ending {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.to_string();
        match trouble {
            Trouble::Stuck { .. } => Self::Hang(text),
            Trouble::HeldUp { .. } => Self::Fail(text),
            Trouble::NotOffered(_) => Self::NotRun(text),
            Trouble::Machinery { .. } => Self::Error(text),
        }
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.into())
    }
}

/// What each step of a case returns.
pub type Checked<T = ()> = Result<T, Stop>;

/// A file of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its identifier.
    pub id: FileId,
    /// Pages it was created with.
    pub pages: u64,
}

/// How many looks in a row must find a task asleep that waits for one that is held.
const LOOKS: u32 = 3;

/// An operation that was begun, with the words for it.
#[derive(Clone, Debug)]
pub struct Op {
    id: OpId,
    words: String,
}

/// A task that is to be held.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    id: HoldId,
    /// Where it stands then, as the transcript has it.
    place: &'static str,
}

/// Operations that came to their points in an order.
#[derive(Debug)]
pub(crate) struct OrderedOps<const N: usize> {
    /// What was begun, the first first.
    pub(crate) ops: [Op; N],
    /// The last of them, which stands.
    pub(crate) last: Hold,
    /// Each of the others stood until the next had come.
    kept: bool,
}

/// Where a task that is held stands, as the transcript has it.
const fn point_words(point: HoldPoint) -> &'static str {
    match point {
        HoldPoint::Unmapped => "between unmapping and scan",
        HoldPoint::ScanFoundBusy => "after a scan that found a busy page",
        HoldPoint::ScanFoundNone => "after a scan that found no busy page",
        HoldPoint::WaitEntered => "before it queues itself for the wake-up",
        HoldPoint::FaultEntered => "at the beginning of a fault",
        HoldPoint::EntryLocked => "in a write-back that has locked the entry of a page",
        HoldPoint::WriteAllocated => "in a write that has its blocks",
        HoldPoint::CopyWritten => "in a write that has written a copy",
        HoldPoint::BlockFound => "before it copies from or to a block",
        HoldPoint::PageFound => "in a fault that has found its page",
        HoldPoint::Compared => "in a dedupe that has compared the files",
    }
}

/// A case's view of the system it runs on.
pub struct Test<'s> {
    system: &'s mut dyn System,
    sink: &'s mut dyn FnMut(Telling),
    pub(crate) names: Names,
    seed: u64,
    next: u32,
    idle: Vec<TaskId>,
    busy: Vec<(OpId, TaskId)>,
    pub(crate) attempts: Attempts,
    /// What was observed so far.
    pub(crate) observed: Vec<String>,
    /// The operation that was begun first: what a cell is about.
    subject: Option<OpId>,
}

/// Ends a case: `expected` is what the protocol demands, `seen` what happened, `look` where to
/// look next.
pub(crate) fn fail<T>(expected: &str, seen: &str, look: &str) -> Checked<T> {
    let look = if look.is_empty() { String::new() } else { format!("\nlook at: {look}") };
    Err(Stop(Ending::Fail(format!("expected: {expected}\nseen: {seen}{look}"))))
}

impl<'s> Test<'s> {
    /// The view of a case that has not begun.
    pub(crate) fn new(
        system: &'s mut dyn System,
        seed: u64,
        sink: &'s mut dyn FnMut(Telling),
    ) -> Self {
        Self {
            system,
            sink,
            names: Names::default(),
            seed,
            next: 1,
            idle: Vec::new(),
            busy: Vec::new(),
            attempts: Attempts::default(),
            observed: Vec::new(),
            subject: None,
        }
    }
}

impl Test<'_> {
    /// Adds a line to the transcript.
    pub(crate) fn say(&mut self, line: &str) {
        if self.attempts.is_news() {
            (self.sink)(Telling::Line(line.to_owned()));
        }
    }

    /// Notes what was observed, in a word or two that are the same wherever it is right.
    pub(crate) fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(what.into());
    }

    /// Notes what was observed of `op`, by its verb unless a cell is about it.
    fn observe_op(&mut self, op: &Op, what: &str) {
        let verb = op.words.split(' ').next().unwrap_or_default();
        let is_subject = self.subject.is_none_or(|subject| subject == op.id);
        self.observe(if is_subject { what.to_owned() } else { format!("{verb} {what}") });
    }

    /// Reports something that is not compared.
    pub(crate) fn note(&mut self, name: &str, value: &impl ToString) {
        (self.sink)(Telling::Note { name: name.to_owned(), value: value.to_string() });
    }

    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Variables that nobody uses yet.
    pub(crate) fn new_vars<const N: usize>(&mut self) -> [VarId; N] {
        std::array::from_fn(|_| VarId(self.fresh()))
    }

    /// Waits until `var`, which the running `op` counts up, has reached `least`.
    pub(crate) fn await_var(&mut self, op: &Op, var: VarId, least: u64) -> Checked {
        while self.var(var) < least {
            match self.system.look(op.id)? {
                Look::Done(done) => {
                    return fail(
                        &format!("{} goes on", op.words),
                        &format!("it returned {}", outcome(&done)),
                        "",
                    );
                }
                Look::Gone => {
                    return fail(&format!("{} goes on", op.words), "its task is gone", "");
                }
                Look::Blocked(_) | Look::Running => {}
            }
        }
        Ok(())
    }

    /// The value of a variable.
    pub(crate) fn var(&self, var: VarId) -> u64 {
        self.system.var(var)
    }

    /// Sets a variable.
    pub(crate) fn set_var(&mut self, var: VarId, value: u64) {
        self.system.set_var(var, value);
    }

    /// Does `attempt`, a whole case, until it says that `precondition` was met. An attempt that
    /// says that it was not has checked all that it could.
    ///
    /// The transcript is that of one attempt.
    pub(crate) fn until(
        &mut self,
        precondition: &str,
        mut attempt: impl FnMut(&mut Self) -> Checked<bool>,
    ) -> Checked {
        let names = self.names.clone();
        self.attempts = Attempts::default();
        for number in 1..=MOST {
            if attempt(self)? {
                if number > 1 {
                    self.note("attempts", &number);
                }
                return Ok(());
            }
            self.attempts.again();
            self.observed.clear();
            self.names = names.clone();
        }
        Err(Stop(Ending::NotRun(format!("not exercised: in {MOST} attempts never {precondition}"))))
    }

    // Tasks.

    /// A new task.
    pub(crate) fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Checked<TaskId> {
        Ok(self.system.spawn(of, kinship)?)
    }

    /// A new process, forked from the main one.
    pub(crate) fn fork(&mut self) -> Checked<TaskId> {
        self.say("fork");
        self.spawn(MAIN, Kinship::Process)
    }

    /// Sends a signal and says so.
    pub(crate) fn signal(&mut self, task: TaskId, signal: Signal) -> Checked {
        self.say(match signal {
            Signal::Handled => "send it a signal that it handles",
            Signal::Kill => "send it SIGKILL",
        });
        Ok(self.system.signal(task, signal)?)
    }

    /// The task that runs `op`.
    pub(crate) fn task_of(&self, op: &Op) -> TaskId {
        self.busy.iter().find(|(id, _)| *id == op.id).map_or(MAIN, |(_, task)| *task)
    }

    // Actions that are expected to return.

    /// Lets `task` do `action` and returns its result, without a word.
    pub(crate) fn quietly(
        &mut self,
        task: TaskId,
        action: Action,
    ) -> Checked<Result<Reply, Errno>> {
        self.names.learn(&action);
        let op = self.system.start(task, action)?;
        Ok(self.system.wait(op)?.result)
    }

    /// Lets `task` do `action`, whose answer may be anything as long as what comes is the same; without a
    /// word.
    pub(crate) fn whatever(
        &mut self,
        task: TaskId,
        action: Action,
    ) -> Checked<Result<Reply, Errno>> {
        self.names.learn(&action);
        let op = self.system.start(task, action)?;
        let result = self.system.wait(op)?.result;
        self.system.conclude(Conclusion::Whatever(op));
        Ok(result)
    }

    /// Lets the main task do `action`, which must succeed.
    pub(crate) fn run(&mut self, action: Action) -> Checked<Reply> {
        self.run_as(MAIN, action)
    }

    /// Lets `task` do `action`, which must succeed.
    pub(crate) fn run_as(&mut self, task: TaskId, action: Action) -> Checked<Reply> {
        self.names.learn(&action);
        let words = self.names.say(&action);
        self.say(&words);
        let reply = match self.quietly(task, action)? {
            Ok(reply) => reply,
            Err(errno) => return fail(&format!("{words}: success"), &errno.to_string(), ""),
        };
        Ok(reply)
    }

    /// Lets `task` do `action`, which must fail with `errno`.
    pub(crate) fn refused_as(&mut self, task: TaskId, action: Action, errno: i32) -> Checked {
        let words = self.names.say(&action);
        let expected = Errno(errno);
        let reply = self.quietly(task, action)?;
        let seen = reply.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned());
        self.say(&format!("{words}: {seen}"));
        self.observe(seen.clone());
        if reply != Err(expected) {
            return fail(&format!("{words}: {expected}"), &seen, "");
        }
        Ok(())
    }

    // Operations on their own.

    /// Begins `action` on a thread of the main process.
    pub(crate) fn begin(&mut self, action: Action) -> Checked<Op> {
        let task = match self.idle.pop() {
            Some(task) => task,
            None => self.spawn(MAIN, Kinship::Thread)?,
        };
        self.begin_as(task, action)
    }

    /// Begins `action` on `task`.
    pub(crate) fn begin_as(&mut self, task: TaskId, action: Action) -> Checked<Op> {
        self.names.learn(&action);
        let words = self.names.say(&action);
        let id = self.system.start(task, action)?;
        self.busy.push((id, task));
        self.subject.get_or_insert(id);
        Ok(Op { id, words })
    }

    /// `op` must be seen to be blocked. That it is the pin that blocks it shows at the release.
    pub(crate) fn blocked(&mut self, op: &Op) -> Checked {
        let line = format!("{}: blocked", op.words);
        let look = self.system.settle(op.id)?;
        let seen = match &look {
            Look::Blocked(_) => "blocked".to_owned(),
            Look::Done(done) => format!("returned {}", outcome(done)),
            Look::Running => "spins".to_owned(),
            Look::Gone => "gone".to_owned(),
        };
        self.say(&format!("{}: {seen}", op.words));
        self.observe_op(op, &seen);
        match look {
            Look::Blocked(place) => {
                self.system.conclude(Conclusion::Blocked(op.id));
                if let WaitChannel::Elsewhere(function) = place {
                    self.note("blocked in", &function);
                }
                Ok(())
            }
            Look::Done(_) => fail(&line, &format!("it {seen}"), "the page was pinned"),
            Look::Running => {
                let state = self.system.describe();
                fail(&line, "it spins: it neither sleeps nor returns", &state)
            }
            Look::Gone => fail(&line, "its task is gone", ""),
        }
    }

    /// `op` must return, with success.
    pub(crate) fn finished(&mut self, op: &Op) -> Checked<Done> {
        let done = self.returned(op)?;
        self.came_to(op, &done);
        match &done.result {
            Ok(_) => Ok(done),
            Err(errno) => fail(&format!("{}: success", op.words), &errno.to_string(), ""),
        }
    }

    /// Releases `pin`, the last one, with which `op` must finish: no sooner, and because of it.
    pub(crate) fn ends_with(&mut self, op: &Op, pin: PinId) -> Checked {
        self.say("release the pin");
        let released = self.system.release_last(pin, op.id)?;
        let done = self.finished(op)?;
        waited(op, &done, released.at)?;
        match released.slept_on {
            None => Ok(()),
            Some(place) => fail(
                &format!("{} waits for the pin and for nothing else", op.words),
                &format!("when no pin was left it slept on, in {place}, and returned later"),
                "what wakes it",
            ),
        }
    }

    /// Does `action` on a thread of its own; it must return, with success.
    pub(crate) fn progresses(&mut self, action: Action) -> Checked {
        let op = self.begin(action)?;
        self.finished(&op).map(drop)
    }

    /// `op` must return, with `errno`.
    pub(crate) fn failed(&mut self, op: &Op, errno: i32) -> Checked {
        let expected = Errno(errno);
        let done = self.returned(op)?;
        self.came_to(op, &done);
        if done.result == Err(expected) {
            return Ok(());
        }
        fail(&format!("{}: {expected}", op.words), &outcome(&done), "")
    }

    /// Notes what came of `op`, before it is judged.
    fn came_to(&mut self, op: &Op, done: &Done) {
        let seen = done.result.as_ref().map_or_else(Errno::to_string, |_| "done".to_owned());
        self.say(&format!("{}: {seen}", op.words));
        self.observe_op(op, &seen);
    }

    /// Waits for `op` without a word.
    pub(crate) fn returned(&mut self, op: &Op) -> Checked<Done> {
        let done = self.system.wait(op.id)?;
        self.free(op);
        Ok(done)
    }

    /// Waits for `op`, which must succeed, without a word.
    pub(crate) fn succeeded(&mut self, op: &Op) -> Checked {
        let done = self.returned(op)?;
        check_result(Some(&done))
    }

    /// Waits at most `seconds` for `op`, without a word.
    pub(crate) fn returned_within(&mut self, op: &Op, seconds: u64) -> Checked<Option<Done>> {
        let done = self.system.wait_for(op.id, seconds)?;
        if done.is_some() {
            self.free(op);
        }
        Ok(done)
    }

    /// `op` may wait or have returned, whichever the protocol leaves open; it must not spin. Whether it
    /// has returned.
    pub(crate) fn settled(&mut self, op: &Op) -> Checked<bool> {
        let look = self.system.settle(op.id)?;
        if look == Look::Running {
            let state = self.system.describe();
            let expected = format!("{}: sleeps or returns", op.words);
            return fail(&expected, "it spins: it neither sleeps nor returns", &state);
        }
        Ok(matches!(look, Look::Done(_)))
    }

    /// The case takes more than one way in which `op` goes on from here for right.
    pub(crate) fn is_open(&mut self, op: &Op) {
        self.system.conclude(Conclusion::Open(op.id));
    }

    fn free(&mut self, op: &Op) {
        if let Some(at) = self.busy.iter().position(|(id, _)| *id == op.id) {
            let (_, task) = self.busy.swap_remove(at);
            if !self.idle.contains(&task) && task != MAIN {
                self.idle.push(task);
            }
        }
    }

    /// A limit of `seconds`, in seconds, for the machine that the case runs on.
    pub(crate) fn patience(&self, seconds: u64) -> u64 {
        self.system.patience().count(seconds)
    }

    /// `limit` for the machine that the case runs on.
    pub(crate) fn limit(&self, limit: Limit) -> Duration {
        self.system.patience().of(limit)
    }

    /// States and stacks of all tasks.
    pub(crate) fn describe(&mut self) -> String {
        self.system.describe()
    }

    // Holds.

    /// Has `task` held when it next comes to `point`: to be called before it begins what leads
    /// there.
    pub(crate) fn hold(&mut self, task: TaskId, point: HoldPoint) -> Checked<Hold> {
        Ok(Hold { id: self.system.hold(task, point)?, place: point_words(point) })
    }

    /// Has `task` held in the copy of its next read(2) or write(2): to be called before it begins that.
    pub(crate) fn hold_in_copy(&mut self, task: TaskId) -> Checked<Hold> {
        Ok(Hold { id: self.system.hold_in_copy(task)?, place: "in its copy" })
    }

    /// Waits until the task stands there. If it ends without having come by, [`Test::go`] says so.
    pub(crate) fn arrived(&mut self, hold: &Hold) -> Checked {
        self.system.arrived(hold.id)?;
        self.say(&format!("held {}", hold.place));
        Ok(())
    }

    /// `op` must not return while the other task is held; it is seen to sleep meanwhile.
    pub(crate) fn waits_for_held(&mut self, op: &Op, hold: &Hold) -> Checked {
        let line = format!("{}: waits", op.words);
        let mut asleep = 0;
        while asleep < LOOKS {
            let look = self.system.look(op.id)?;
            // Asked afterwards: if it stands now, it did then.
            let stands = self.system.stands(hold.id)?;
            match look {
                Look::Done(done) if stands => {
                    let seen = format!("it returned {}", outcome(&done));
                    return fail(&line, &seen, hold.place);
                }
                Look::Gone => return fail(&line, "its task is gone", ""),
                Look::Blocked(_) => asleep += 1,
                Look::Running | Look::Done(_) => asleep = 0,
            }
            if !stands {
                break;
            }
        }
        self.say(&line);
        Ok(())
    }

    /// Begins these in turn. Each task is held at its point until the next one has come to its own;
    /// the last stands there until [`Test::end_order`].
    pub(crate) fn order<const N: usize>(
        &mut self,
        steps: [(TaskId, HoldPoint, Action); N],
    ) -> Checked<OrderedOps<N>> {
        let mut holds = Vec::new();
        for (task, point, _) in &steps {
            holds.push(self.hold(*task, *point)?);
        }
        // Where that is possible each goes by itself: two that stand may leave no processor for this.
        for pair in holds.windows(2) {
            self.system.go_after(pair[0].id, pair[1].id)?;
        }
        let mut ops = Vec::new();
        let mut kept = true;
        for (at, (task, _, action)) in steps.into_iter().enumerate() {
            ops.push(self.begin_as(task, action)?);
            self.arrived(&holds[at])?;
            if at > 0 {
                kept &= self.go_silently(&holds[at - 1])?;
            }
        }
        let last = holds.pop().expect("an order has a last");
        let ops = ops.try_into().expect("one was begun for each step");
        Ok(OrderedOps { ops, last, kept })
    }

    /// Lets the last of an order go. Whether all stood as they were to: else nothing was shown.
    pub(crate) fn end_order<const N: usize>(&mut self, order: &OrderedOps<N>) -> Checked<bool> {
        Ok(self.go(&order.last)? && order.kept)
    }

    /// `op` may wait for a task that is held, or have returned, whichever the protocol leaves open.
    pub(crate) fn rests(&mut self, op: &Op) -> Checked {
        self.system.rest(op.id, None)?;
        Ok(())
    }

    /// Lets the task go. Whether it stood there until now: else nothing was shown.
    pub(crate) fn go(&mut self, hold: &Hold) -> Checked<bool> {
        self.say("let it go");
        self.go_silently(hold)
    }

    fn go_silently(&mut self, hold: &Hold) -> Checked<bool> {
        let end = self.system.go(hold.id)?;
        match end {
            HoldEnd::Go => {}
            HoldEnd::Deadline => self.note("hold", &"ended by its deadline"),
            HoldEnd::NeverArrived => self.note("hold", &"the task did not come by"),
        }
        Ok(end == HoldEnd::Go)
    }

    // Files and maps.

    /// A DAX file with one page per letter of `fill` (`.`: a hole).
    pub(crate) fn file(&mut self, name: &str, fill: &str) -> Checked<File> {
        self.file_on(Medium::Dax, name, fill)
    }

    /// A file on `medium` with one page per letter of `fill` (`.`: a hole).
    pub(crate) fn file_on(&mut self, medium: Medium, name: &str, fill: &str) -> Checked<File> {
        self.made(name, fill, |file, name, fill| Action::Create { file, name, medium, fill })
    }

    /// A file on the DAX file system, but without DAX, with one page per letter of `fill`.
    pub(crate) fn file_without_dax(&mut self, name: &str, fill: &str) -> Checked<File> {
        self.made(name, fill, |file, name, fill| Action::CreateWithoutDax { file, name, fill })
    }

    /// A DAX file on the spare file system, with one page per letter of `fill`.
    pub(crate) fn file_on_spare(&mut self, name: &str, fill: &str) -> Checked<File> {
        self.made(name, fill, |file, name, fill| Action::CreateSpare { file, name, fill })
    }

    /// A DAX file on the spare file system, in a folder of its own, with one page per letter of `fill`.
    pub(crate) fn file_in_folder(&mut self, name: &str, fill: &str) -> Checked<File> {
        self.made(name, fill, |file, name, fill| Action::CreateInFolder { file, name, fill })
    }

    fn made(
        &mut self,
        name: &str,
        fill: &str,
        create: impl FnOnce(FileId, String, Vec<u8>) -> Action,
    ) -> Checked<File> {
        let fill = self::fill(fill.as_bytes());
        let file = File { id: FileId(self.fresh()), pages: fill.len() as u64 };
        self.run(create(file.id, self.attempts.name(name), fill))?;
        self.names.call(file.id, name);
        Ok(file)
    }

    /// Two DAX files, of which the first has the lower inode number: the order in which a file
    /// system locks them.
    pub(crate) fn files_in_order(&mut self, named: [(&str, &str); 2]) -> Checked<[File; 2]> {
        let mut made = Vec::new();
        for (name, _) in named {
            let (file, name) = (self.new_file_id(), self.attempts.name(name));
            let create = Action::Create { file, name, medium: Medium::Dax, fill: Vec::new() };
            if let Err(errno) = self.quietly(MAIN, create)? {
                return fail("files can be made", &errno.to_string(), "");
            }
            made.push((self.inode(file)?, file));
        }
        made.sort_unstable();
        if let [(_, first), (_, second)] = made[..] {
            self.system.conclude(Conclusion::InOrder([first, second]));
        }
        let mut files = [File { id: FileId(0), pages: 0 }; 2];
        for (((name, fill), (_, id)), file) in named.into_iter().zip(made).zip(&mut files) {
            self.names.call(id, name);
            self.say(&format!("create {name}: {fill}"));
            for (index, byte) in fill.bytes().enumerate() {
                let write = Action::Write { file: id, span: page(index as u64), byte };
                if let Err(errno) = self.quietly(MAIN, write)? {
                    return fail("files can be written", &errno.to_string(), "");
                }
            }
            *file = File { id, pages: fill.len() as u64 };
        }
        Ok(files)
    }

    /// A file that `create` makes, with as many pages as `first`, and with a higher inode number if it can
    /// be had: so a file system locks `first` first.
    pub(crate) fn file_locked_after(
        &mut self,
        first: File,
        name: &str,
        create: impl Fn(FileId, String) -> Action,
    ) -> Checked<File> {
        let before = self.inode(first.id)?;
        let unique = self.attempts.name(name);
        let mut file = File { id: FileId(self.fresh()), ..first };
        self.run(create(file.id, unique.clone()))?;
        // The numbers of files that are gone are given again. What is made in vain keeps one of them.
        for again in 0..MOST_IN_VAIN {
            if self.inode(file.id)? > before {
                break;
            }
            file.id = FileId(self.fresh());
            if let Err(errno) = self.quietly(MAIN, create(file.id, format!("{unique}.{again}")))? {
                return fail("files can be made", &errno.to_string(), "");
            }
        }
        self.names.call(file.id, name);
        Ok(file)
    }

    pub(crate) fn inode(&mut self, file: FileId) -> Checked<u64> {
        match self.quietly(MAIN, Action::Stat { file })? {
            Ok(Reply::Stat { inode, .. }) => Ok(inode),
            other => fail("stat succeeds", &answer(&other), ""),
        }
    }

    /// A DAX file of `len` bytes of `byte`, laid out so that huge mappings are possible.
    pub(crate) fn huge_file(&mut self, name: &str, len: u64, byte: u8) -> Checked<File> {
        let file = File { id: FileId(self.fresh()), pages: len / PAGE };
        let unique = self.attempts.name(name);
        self.run(Action::CreateHuge { file: file.id, name: unique, len, byte })?;
        self.names.call(file.id, name);
        Ok(file)
    }

    /// An identifier for a file that another task than the main one creates.
    pub(crate) fn new_file_id(&mut self) -> FileId {
        FileId(self.fresh())
    }

    /// A shared mapping of all of `file`, in the main process.
    pub(crate) fn map(&mut self, file: File) -> Checked<MapId> {
        self.map_as(MAIN, file, Sharing::Shared)
    }

    /// A mapping of all of `file`, made by `task`.
    pub(crate) fn map_as(&mut self, task: TaskId, file: File, sharing: Sharing) -> Checked<MapId> {
        self.map_span(task, file, Span { at: 0, len: file.pages * PAGE }, sharing)
    }

    /// A mapping of `span` of `file`, which may reach behind its end, made by `task`.
    pub(crate) fn map_span(
        &mut self,
        task: TaskId,
        file: File,
        span: Span,
        sharing: Sharing,
    ) -> Checked<MapId> {
        let map = MapId(self.fresh());
        self.run_as(task, Action::Map { map, file: file.id, span, sharing })?;
        Ok(map)
    }

    /// How many bytes it has.
    pub(crate) fn size(&mut self, file: File) -> Checked<u64> {
        match self.quietly(MAIN, Action::Stat { file: file.id })? {
            Ok(Reply::Stat { size, .. }) => Ok(size),
            other => fail("stat succeeds", &answer(&other), ""),
        }
    }

    /// `file` must hold `expected`, read with read(2) to its end, and have that size.
    pub(crate) fn reads(&mut self, file: File, expected: &str) -> Checked {
        let size = self.size(file)?;
        let reply =
            self.quietly(MAIN, Action::Read { file: file.id, span: Span { at: 0, len: size } })?;
        let name = self.names.file(file.id).into_owned();
        self.observe(format!("{name} {}", quoted(&reply)));
        self.same(&format!("{name} reads"), reply, expected)
    }

    /// `span` of `file`, created with the letters from `a`, must still hold them.
    pub(crate) fn reads_part(&mut self, file: File, span: Span) -> Checked {
        let first = span.at / PAGE;
        let letters = (first..first + span.len / PAGE).map(|page| char::from(b'a' + page as u8));
        let expected: String = letters.collect();
        self.reads_at(file, span, &expected)
    }

    /// `span` of `file` must hold `expected`, read with read(2).
    pub(crate) fn reads_at(&mut self, file: File, span: Span, expected: &str) -> Checked {
        let reply = self.quietly(MAIN, Action::Read { file: file.id, span })?;
        let name = self.names.file(file.id).into_owned();
        self.same(&format!("{span} of {name} reads"), reply, expected)
    }

    /// `span` of `map` must hold `expected`, seen through the mapping.
    pub(crate) fn loads(&mut self, map: MapId, span: Span, expected: &str) -> Checked {
        let reply = self.quietly(MAIN, Action::Load { map, span })?;
        let name = self.names.map(map).into_owned();
        self.same(&format!("{span} of the {name} holds"), reply, expected)
    }

    /// What went through a released pin must be `expected`.
    pub(crate) fn transferred(&mut self, pin: PinId, expected: &str) -> Checked {
        let reply = Ok(Reply::Content(self.system.transferred(pin)?));
        self.observe(format!("holder {}", quoted(&reply)));
        self.same("the pin's holder transferred", reply, expected)
    }

    /// What was read must be `expected`.
    pub(crate) fn same(
        &mut self,
        what: &str,
        reply: Result<Reply, Errno>,
        expected: &str,
    ) -> Checked {
        let seen = quoted(&reply);
        self.say(&format!("{what} {seen}"));
        match reply {
            Ok(Reply::Content(content)) if content.to_string() == expected => Ok(()),
            _ => fail(&format!("{what} \"{expected}\""), &seen, ""),
        }
    }

    /// Physical blocks, without a word.
    pub(crate) fn blocks(&mut self, file: File) -> Checked<Vec<u64>> {
        let span = Span { at: 0, len: file.pages * PAGE };
        match self.quietly(MAIN, Action::Blocks { file: file.id, span })? {
            Ok(Reply::Blocks(blocks)) => Ok(blocks),
            other => fail("the file's blocks can be found", &answer(&other), ""),
        }
    }

    /// The physical block of a page, without a word.
    pub(crate) fn block(&mut self, file: File, index: u64) -> Checked<u64> {
        match self.quietly(MAIN, Action::Blocks { file: file.id, span: page(index) })? {
            Ok(Reply::Blocks(blocks)) if blocks.len() == 1 => Ok(blocks[0]),
            other => fail("the page's block can be found", &answer(&other), ""),
        }
    }

    /// What the device has in `span` of `file` must be `expected`, whatever a cache says.
    pub(crate) fn stored(&mut self, file: File, span: Span, expected: &str) -> Checked {
        let reply = self.quietly(MAIN, Action::Stored { file: file.id, span })?;
        let name = self.names.file(file.id).into_owned();
        self.same(&format!("the device has in {span} of {name}"), reply, expected)
    }

    /// All of `span` of `file` was flushed from the processor's caches since that was last forgotten.
    pub(crate) fn flushed(&mut self, file: File, span: Span, look: &str) -> Checked {
        let missing = self.system.not_flushed(file.id, span)?;
        let what = format!("on the medium: {span} of {}", self.names.file(file.id));
        if missing.is_empty() {
            self.say(&what);
            return Ok(());
        }
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let seen = format!("not flushed from the processor's caches: {}", missing.join(", "));
        fail(&what, &seen, look)
    }

    /// The same of a span of a page that was in this block, and on the medium, when it was forgotten.
    pub(crate) fn flushed_or_left(
        &mut self,
        file: File,
        span: Span,
        block: u64,
        look: &str,
    ) -> Checked {
        if self.block(file, span.at / PAGE)? != block {
            return self.flushed(file, span, look);
        }
        self.say(&format!("on the medium: {span} of {}", self.names.file(file.id)));
        Ok(())
    }

    /// From now on it counts what is flushed.
    pub(crate) fn forget_flushes(&mut self) -> Checked {
        Ok(self.system.forget_flushes()?)
    }

    /// The number that `action` replies, without a word.
    pub(crate) fn ask(&mut self, action: Action) -> Checked<u64> {
        let words = self.names.say(&action);
        match self.quietly(MAIN, action)? {
            Ok(Reply::Count(count)) => Ok(count),
            other => fail(&format!("{words}: an answer"), &answer(&other), ""),
        }
    }

    // Pins.

    /// An identifier for a pin that is taken on its own.
    pub(crate) fn new_pin_id(&mut self) -> PinId {
        PinId(self.fresh())
    }

    /// Pins `span` of `map` with vmsplice.
    pub(crate) fn pin(&mut self, map: MapId, span: Span) -> Checked<PinId> {
        self.pin_as(MAIN, map, span, PinKind::Splice)
    }

    /// Pins `span` of `map` by `task`.
    pub(crate) fn pin_as(
        &mut self,
        task: TaskId,
        map: MapId,
        span: Span,
        kind: PinKind,
    ) -> Checked<PinId> {
        let pin = PinId(self.fresh());
        let action = Action::Pin { pin, map, span, kind };
        let words = self.names.say(&action);
        self.say(&words);
        let op = Op { id: self.system.start(task, action)?, words };
        // What spins is told at once, and not when it has taken too long.
        self.settled(&op)?;
        self.system.conclude(Conclusion::Returns(op.id));
        match self.system.wait(op.id)?.result {
            Ok(_) => Ok(pin),
            Err(errno) => fail(&format!("{}: success", op.words), &errno.to_string(), ""),
        }
    }

    /// Pins `span` of `map` with vmsplice by `task`, which keeps the pin to itself.
    pub(crate) fn keep_pin(&mut self, task: TaskId, map: MapId, span: Span) -> Checked {
        let pin = PinId(self.fresh());
        self.run_as(task, Action::Pin { pin, map, span, kind: PinKind::OwnPipe })?;
        Ok(())
    }

    /// Pins `span` of `map` with direct I/O that the device holds back.
    pub(crate) fn pin_direct(
        &mut self,
        map: MapId,
        span: Span,
        engine: Engine,
        direction: Direction,
        byte: u8,
    ) -> Checked<PinId> {
        self.pin_as(MAIN, map, span, PinKind::Direct { engine, direction, byte })
    }

    /// Releases a pin; the time just before.
    pub(crate) fn release(&mut self, pin: PinId) -> Checked<u64> {
        self.say("release the pin");
        Ok(self.system.release(pin)?)
    }

    /// Collects a direct-I/O pin's result, which must be `expected` bytes.
    pub(crate) fn reap(&mut self, pin: PinId, expected: u64) -> Checked {
        self.reap_as(MAIN, pin, expected)
    }

    /// The same by `task`, of the process that pinned.
    pub(crate) fn reap_as(&mut self, task: TaskId, pin: PinId, expected: u64) -> Checked {
        let reply = self.quietly(task, Action::Reap { pin })?;
        if let Ok(Reply::Count(seen)) = reply {
            self.say(&format!("the direct I/O transferred {seen} bytes"));
            if seen == expected {
                return Ok(());
            }
        }
        fail(&format!("the direct I/O transfers {expected} bytes"), &answer(&reply), "")
    }

    // Scripts.

    /// Begins a script of `steps` on a thread of the main process.
    pub(crate) fn begin_script(
        &mut self,
        steps: Vec<Instruction>,
        rounds: u64,
        stop: VarId,
    ) -> Checked<Op> {
        let seed = self.seed.wrapping_add(u64::from(self.fresh()));
        self.begin(Action::Run(Script { steps, rounds, stop, seed }))
    }
}

/// `done` must be a success.
pub(crate) fn check_result(done: Option<&Done>) -> Checked {
    match done.map(|done| &done.result) {
        Some(Err(errno)) => fail("success", &errno.to_string(), ""),
        _ => Ok(()),
    }
}

/// `done`, which had to wait for a pin, must have returned after `released`.
pub(crate) fn waited(op: &Op, done: &Done, released: u64) -> Checked {
    if done.ended < released {
        return fail(
            &format!("{} returns after the pin was released", op.words),
            "it returned while the page was pinned",
            "",
        );
    }
    Ok(())
}

/// What came of an action, in words.
pub(crate) fn answer(result: &Result<Reply, Errno>) -> String {
    match result {
        Ok(reply) => reply.to_string(),
        Err(errno) => errno.to_string(),
    }
}

/// What was read, in quotes; or what came instead.
fn quoted(reply: &Result<Reply, Errno>) -> String {
    match reply {
        Ok(Reply::Content(content)) => format!("\"{content}\""),
        other => answer(other),
    }
}

fn outcome(done: &Done) -> String {
    match &done.result {
        Ok(_) => "success".to_owned(),
        Err(errno) => errno.to_string(),
    }
}
