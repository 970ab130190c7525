//! Where the time of a session goes: programs a second are worth knowing only with what takes them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cases::Patience;
use cases::action::{Action, Content, PinId, TaskId, VarId};
use cases::oracle::{BystanderSpec, Inspection, Stood, View};
use cases::system::{
    Done, HoldEnd, HoldId, HoldPoint, Kinship, Look, Need, OpId, Released, Signal, System, Tried,
    WriteBacks,
};

/// Time by what took it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent(Rc<RefCell<BTreeMap<&'static str, (Duration, u64)>>>);

impl Spent {
    /// Counts what `work` takes as `what`.
    pub(super) fn on<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = work();
        self.add(what, begin.elapsed());
        done
    }

    fn add(&self, what: &'static str, time: Duration) {
        let mut rows = self.0.borrow_mut();
        let (total, times) = rows.entry(what).or_default();
        *total += time;
        *times += 1;
    }

    /// What took how many seconds, the most first.
    pub(super) fn rows(&self) -> Vec<(&'static str, f64, u64)> {
        let rows = self.0.borrow();
        let mut rows: Vec<_> =
            rows.iter().map(|(what, (time, times))| (*what, time.as_secs_f64(), *times)).collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        rows
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, seconds, times) in self.rows() {
            write!(f, "\n    {seconds:6.1} s  {what} ({times} times)")?;
        }
        Ok(())
    }
}

/// A system whose answers are timed.
pub(super) struct Timed<'s> {
    pub(super) system: &'s mut dyn System,
    pub(super) spent: Spent,
}

impl System for Timed<'_> {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        let spent = self.spent.clone();
        spent.on("probing what there is", || self.system.offers(need))
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        let spent = self.spent.clone();
        spent.on("making tasks", || self.system.spawn(of, kinship))
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        let spent = self.spent.clone();
        spent.on("beginning operations", || self.system.start(task, action))
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        self.system.look(op)
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        let begin = Instant::now();
        let look = self.system.settle(op);
        let what = match &look {
            Ok(Look::Done(_)) => "operations that return",
            Ok(Look::Blocked(_)) => "operations that block",
            _ => "operations that neither return nor block",
        };
        self.spent.add(what, begin.elapsed());
        look
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        let spent = self.spent.clone();
        spent.on("operations that must end", || self.system.wait(op))
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        let spent = self.spent.clone();
        spent.on("operations that end late", || self.system.wait_for(op, seconds))
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        self.system.signal(task, signal)
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        let spent = self.spent.clone();
        spent.on("releasing pins", || self.system.release(pin))
    }

    fn release_last(&mut self, pin: PinId, op: OpId) -> Tried<Released> {
        self.system.release_last(pin, op)
    }

    fn hold(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        self.system.hold(task, point)
    }

    fn arrived(&mut self, hold: HoldId) -> Tried<bool> {
        self.system.arrived(hold)
    }

    fn go_after(&mut self, hold: HoldId, other: HoldId) -> Tried<()> {
        self.system.go_after(hold, other)
    }

    fn rest(&mut self, op: OpId, hold: Option<HoldId>) -> Tried<Option<Look>> {
        let spent = self.spent.clone();
        spent.on("operations beside tasks that are held", || self.system.rest(op, hold))
    }

    fn stands(&mut self, hold: HoldId) -> Tried<bool> {
        self.system.stands(hold)
    }

    fn go(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        let spent = self.spent.clone();
        spent.on("letting tasks go", || self.system.go(hold))
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        let spent = self.spent.clone();
        spent.on("releasing pins", || self.system.transferred(pin))
    }

    fn var(&self, var: VarId) -> u64 {
        self.system.var(var)
    }

    fn set_var(&mut self, var: VarId, value: u64) {
        self.system.set_var(var, value);
    }

    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>> {
        let spent = self.spent.clone();
        spent.on("making bystanders", || self.system.bystand(what))
    }

    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View> {
        let spent = self.spent.clone();
        spent.on("looks of the oracles", || self.system.inspect(files, bystanders))
    }

    fn written_back(&mut self) -> Tried<WriteBacks> {
        let spent = self.spent.clone();
        spent.on("looks of the oracles", || self.system.written_back())
    }

    fn patience(&self) -> Patience {
        self.system.patience()
    }

    fn now(&self) -> u64 {
        self.system.now()
    }

    fn describe(&mut self) -> String {
        self.system.describe()
    }
}
