//! One program whose tasks are held: what came of it, and whether it went as the holds ask for.
//!
//! Which of two tasks does its work first is not the program's to say any more, so nothing is
//! compared step by step. What comes of it in the end (what each operation returned, what pins and
//! files have, which operation returned while which page was pinned) must be what comes of it on the
//! reference if the same is done one after the other, in some order. What must hold in any order the
//! oracles check as ever.
//!
//! That nothing was wrong shows something only if the order came about: [`Forcing`] says so.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use cases::action::{Action, Content, Medium, PAGE, PinEnd, PinId, Reply, Sector, TaskId, pages};
use cases::oracle::Watch;
use cases::system::reference::{Reference, ReferenceSetup};
use cases::system::{Done, HoldEnd, HoldId, HoldPoint, Look, OpId, Signal, System, Tried, Trouble};

use super::execute::machinery;
use super::program::{FILES, Program, Step, first_map};
use super::scene::{self, process};
use super::seen::{Divergence, Seen};
use super::spent::{Spent, Timed};
use super::tolerance::{Situation, Tolerance};

/// What is said of an operation that gave away what a pin holds.
pub(super) const MISSED: &str = "returned while a page was pinned";

/// Steps whose order is tried on the reference, at most: each more takes as many times as long.
const MOST_ORDERED: usize = 5;

/// Whether a program went in the order that its holds ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forcing {
    /// It did: each task stood at its point until it was let go, and what was to happen meanwhile
    /// did.
    Forced,
    /// It cannot: while one task stood, this one waited.
    Waits {
        /// Which.
        task: u32,
        /// It waited for the pin; else for the task that stood, or for whom that one waited for.
        pin: bool,
    },
    /// A task did what it does and never came by this point.
    NotBy {
        /// Which.
        task: u32,
        /// Where it was to be held.
        point: HoldPoint,
    },
    /// A task went on by itself before it was let go: nobody knows what happened in which order.
    Undecided,
    /// It was not done to its end: why.
    LeftOut(String),
}

impl fmt::Display for Forcing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("forced"),
            Self::Waits { task, pin: false } => {
                write!(f, "not forceable: task {task} waits for the task that is held")
            }
            Self::Waits { task, pin: true } => {
                write!(f, "not forceable: task {task} waits for the pin")
            }
            Self::NotBy { task, point } => write!(f, "task {task} did not come by {point}"),
            Self::Undecided => f.write_str("undecided: a hold ended by its deadline"),
            Self::LeftOut(why) => write!(f, "left out: {why}"),
        }
    }
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Whether it went as it was to.
    pub(crate) forcing: Forcing,
    /// What was wrong.
    pub(crate) found: Vec<Divergence>,
    /// Its files are gone, as the next program needs it.
    pub(crate) clean: bool,
}

/// What came of a program, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramOutcome(BTreeMap<String, Fact>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// What an action had for an answer.
    Answer(Action, Seen),
    /// Whether the action returned before a pin was released.
    Before(Action, bool),
}

impl Fact {
    /// Whether it is what was expected. A load is no one access: where it met a change, a sector may
    /// have some of both.
    fn agrees(&self, expected: &Self) -> bool {
        let (Self::Answer(Action::Load { .. }, seen), Self::Answer(_, other)) = (self, expected)
        else {
            return self == expected;
        };
        let (
            Seen::Returned(Ok(Reply::Content(Content(seen)))),
            Seen::Returned(Ok(Reply::Content(Content(other)))),
        ) = (seen, other)
        else {
            return seen == other;
        };
        let same = |(here, there): (&Sector, &Sector)| here == there || *here == Sector::Torn;
        seen.len() == other.len() && seen.iter().zip(other).all(same)
    }

    /// What is wrong, in words that do not depend on the program.
    fn kind(&self, expected: &Self) -> String {
        match (self, expected) {
            (Self::Before(action, true), _) => format!("{}: {MISSED}", action.name()),
            (Self::Before(action, false), _) => {
                format!("{}: waited for a pin that is not in its way", action.name())
            }
            (Self::Answer(action, seen), Self::Answer(_, other)) => {
                let (here, there) = (seen.word(), other.word());
                if here == there {
                    format!("{}: another content", action.name())
                } else {
                    format!("{}: {here}, not {there}", action.name())
                }
            }
            (Self::Answer(action, _), Self::Before(..)) => format!("{}: no answer", action.name()),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(_, seen) => write!(f, "{seen}"),
            Self::Before(_, true) => f.write_str("yes"),
            Self::Before(_, false) => f.write_str("no"),
        }
    }
}

impl ProgramOutcome {
    /// What disagrees with another, that first which says most.
    fn disagreements<'o>(&'o self, other: &'o Self) -> Vec<(&'o String, &'o Fact, &'o Fact)> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter_map(|(name, fact)| {
                let expected = other.0.get(name)?;
                (!fact.agrees(expected)).then_some((name, fact, expected))
            })
            .collect();
        found.sort_by_key(|(_, fact, _)| !matches!(fact, Fact::Before(_, true)));
        found
    }

    /// Differs unless it is that of one of these orders.
    fn judge(&self, orders: &[Self]) -> Option<Divergence> {
        let nearest = orders
            .iter()
            .filter(|order| order.0.keys().eq(self.0.keys()))
            .map(|order| self.disagreements(order))
            .min_by_key(Vec::len);
        let Some(nearest) = nearest else {
            let text = format!("seen:\n{self}");
            return Some(Divergence::at_end("another outcome".to_owned(), text));
        };
        let (_, fact, expected) = nearest.first()?;
        let mut text = String::from("no order of one after the other has this; the nearest:\n");
        for (name, seen, expected) in &nearest {
            // Writing to a string cannot fail.
            let _ = write!(text, "{name}\n    seen:     {seen}\n    expected: {expected}\n");
        }
        let _ = write!(text, "all that was seen:\n{self}");
        Some(Divergence::at_end(fact.kind(expected), text))
    }
}

impl fmt::Display for ProgramOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, fact) in &self.0 {
            writeln!(f, "    {name}: {fact}")?;
        }
        Ok(())
    }
}

/// The outcomes that programs have on the reference if what is done beside holds is done one after
/// the other, in each order. Programs differ in their holds far more often than in the rest.
#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<String, Vec<ProgramOutcome>>);

impl Orders {
    /// Those of `program` on a reference like this.
    fn of(
        &mut self,
        program: &Program,
        like: &ReferenceSetup,
    ) -> Result<&[ProgramOutcome], String> {
        let (before, together) = parts(program);
        if together.len() > MOST_ORDERED {
            return Err(format!(
                "{} steps are done beside holds; of more than {MOST_ORDERED} not every order is tried",
                together.len()
            ));
        }
        let key = serde_json::to_string(&(program.huge, &before, &together))
            .map_err(|why| why.to_string())?;
        if !self.0.contains_key(&key) {
            let mut outcomes = Vec::new();
            for order in permutations(together.len()) {
                let mut reference = Reference::new(like);
                let steps = order.into_iter().map(|at| together[at]);
                let outcome = in_order(program, &before, steps, &mut reference)?;
                if !outcomes.contains(&outcome) {
                    outcomes.push(outcome);
                }
            }
            self.0.insert(key.clone(), outcomes);
        }
        Ok(&self.0[&key])
    }
}

/// What is done before anybody is to be held, and what is done then.
fn parts(program: &Program) -> (Vec<&Step>, Vec<&Step>) {
    let is_hold = |step: &Step| matches!(step, Step::Hold { .. });
    let first = program.steps.iter().position(is_hold).unwrap_or(program.steps.len());
    let (before, then) = program.steps.split_at(first);
    let acts = |step: &&Step| !matches!(step, Step::Hold { .. } | Step::Go(_));
    (before.iter().collect(), then.iter().filter(acts).collect())
}

/// Every order of the numbers below `count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for at in 0..count {
            let mut order = shorter.clone();
            order.insert(at, count - 1);
            all.push(order);
        }
    }
    all
}

/// The outcome of these steps of `program`, one after the other.
fn in_order<'p>(
    program: &Program,
    before: &[&'p Step],
    steps: impl Iterator<Item = &'p Step>,
    reference: &mut Reference,
) -> Result<ProgramOutcome, String> {
    scene::set_up(reference, program)?;
    let mut run = HeldRun::new(program, reference, None)?;
    let went = run.go(before, steps).and_then(|()| run.finish());
    match went {
        Ok(outcome) => Ok(outcome),
        Err(Stopped::LeftOut(why)) => Err(format!("the reference: {why}")),
        Err(Stopped::Diverged(divergence)) => Err(format!("the reference: {divergence}")),
    }
}

/// Runs `program` on `subject`, of whose kernel this is `known`, and holds what came of it against
/// `orders` on a reference that is `like` it.
pub(super) fn run(
    program: &Program,
    subject: &mut dyn System,
    known: Option<&Tolerance>,
    (orders, like): (&mut Orders, &ReferenceSetup),
    spent: &Spent,
) -> Ran {
    let failed = |kind: &str, why| {
        let found = vec![Divergence::at_end(kind.to_owned(), why)];
        Ran { forcing: Forcing::LeftOut(kind.to_owned()), found, clean: false }
    };
    let orders = match spent.on("other orders, on the reference", || orders.of(program, like)) {
        Ok(orders) => orders,
        Err(why) => return failed("the orders of one after the other are not known", why),
    };
    let mut timed = Timed { system: subject, spent: spent.clone() };
    let mut watched = Watch::new(&mut timed);
    let findings = watched.findings();
    let set_up = scene::set_up(&mut watched, program);
    let begun = set_up.and_then(|()| HeldRun::new(program, &mut watched, known));
    let mut run = match begun {
        Ok(run) => run,
        Err(why) => return failed("the program could not begin", why),
    };
    let first = program.steps.iter().position(|step| matches!(step, Step::Hold { .. }));
    let (before, then) = program.steps.split_at(first.unwrap_or(program.steps.len()));
    let before: Vec<_> = before.iter().collect();
    let outcome = run.go(&before, then.iter()).and_then(|()| run.finish());
    let mut forcing = run.forcing();
    let mut clean = true;
    let mut found = match outcome {
        Ok(outcome) => outcome.judge(orders).into_iter().collect(),
        Err(Stopped::LeftOut(why)) => {
            forcing = Forcing::LeftOut(why);
            clean = run.finish().is_ok();
            Vec::new()
        }
        Err(Stopped::Diverged(divergence)) => {
            run.let_all_go();
            clean = false;
            vec![*divergence]
        }
    };
    drop(run);
    if found.is_empty()
        && clean
        && let Err(why) = watched.finish()
    {
        found.push(machinery(why.to_string()));
    }
    // What an oracle found is the cause of what differs then.
    for finding in findings.take() {
        let tolerated = known.and_then(|known| known.forgives(&finding));
        let divergence = Divergence::found(finding.rule(), finding.text);
        found.insert(0, Divergence { tolerated, ..divergence });
    }
    Ran { forcing, found, clean }
}

/// Why a program does not go on.
enum Stopped {
    /// It is not to be done here.
    LeftOut(String),
    /// Something went wrong.
    Diverged(Box<Divergence>),
}

impl From<Trouble> for Stopped {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotOffered(why) => Self::LeftOut(why),
            other => Self::Diverged(Box::new(machinery(other.to_string()))),
        }
    }
}

type Went<T = ()> = Result<T, Stopped>;

struct HeldRun<'a> {
    program: &'a Program,
    system: &'a mut dyn System,
    known: Option<&'a Tolerance>,
    stage: Situation,
    ops: Vec<BegunOp>,
    /// What each task does, by its place in `ops`.
    busy: BTreeMap<u32, usize>,
    holds: BTreeMap<u32, HeldTask>,
    pins: BTreeMap<PinId, TakenPin>,
    beside: Vec<Beside>,
    /// What begins now is what the holds are about.
    together: bool,
}

struct BegunOp {
    task: u32,
    action: Action,
    id: OpId,
    done: Option<Done>,
    together: bool,
}

struct HeldTask {
    point: HoldPoint,
    id: HoldId,
    until: Option<u32>,
    /// It was seen to stand there.
    stood: bool,
    end: Option<HoldEnd>,
}

struct TakenPin {
    /// What takes it, by its place in `ops`.
    op: usize,
    /// When it was released.
    released: Option<u64>,
}

/// A task that began something while another one stood.
struct Beside {
    task: u32,
    /// It waited then.
    waited: bool,
    /// What ended the wait, once something has: a pin, or else another task.
    ended_by: Option<Cause>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Pin,
    Task,
}

impl<'a> HeldRun<'a> {
    fn new(
        program: &'a Program,
        system: &'a mut dyn System,
        known: Option<&'a Tolerance>,
    ) -> Result<Self, String> {
        let stage = scene::stage(system, program)?;
        Ok(Self {
            program,
            system,
            known,
            stage,
            ops: Vec::new(),
            busy: BTreeMap::new(),
            holds: BTreeMap::new(),
            pins: BTreeMap::new(),
            beside: Vec::new(),
            together: false,
        })
    }

    fn go<'p>(&mut self, before: &[&'p Step], then: impl Iterator<Item = &'p Step>) -> Went {
        for step in before {
            self.step(step)?;
        }
        self.together = true;
        for step in then {
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Went {
        match step {
            Step::Do(task, action) => self.begin(*task, action),
            Step::Release(pin) => self.release(*pin),
            Step::Signal(task) => {
                if !self.busy.contains_key(task) {
                    return Ok(());
                }
                self.system.signal(TaskId(*task), Signal::Handled)?;
                self.settle()
            }
            Step::Hold { task, point, until } => self.hold(*task, *point, *until),
            Step::Go(task) => self.let_go(*task),
            Step::Load(_) => Err(Stopped::LeftOut("no task can be held under a load".to_owned())),
            Step::Spawn { .. } => Err(Stopped::LeftOut("it makes a task".to_owned())),
        }
    }

    fn begin(&mut self, task: u32, action: &Action) -> Went {
        if self.busy.contains_key(&task) {
            return Ok(());
        }
        if let Some(known) = self.known
            && let Some(reason) = known.avoids(process(task), action, &self.stage)
        {
            return Err(Stopped::LeftOut(reason.to_owned()));
        }
        let mut is_beside = false;
        for (other, held) in &self.holds {
            is_beside |= *other != task && held.end.is_none() && self.system.stands(held.id)?;
        }
        let id = self.system.start(TaskId(task), action.clone())?;
        let at = self.ops.len();
        let (action, together) = (action.clone(), self.together);
        self.stage.begin(process(task), &action);
        if let Action::Pin { pin, .. } = &action {
            self.pins.insert(*pin, TakenPin { op: at, released: None });
        }
        self.ops.push(BegunOp { task, action, id, done: None, together });
        self.busy.insert(task, at);
        self.settle()?;
        if is_beside {
            let waited = self.waits(task);
            self.beside.push(Beside { task, waited, ended_by: None });
        }
        Ok(())
    }

    /// Whether a task has neither done what it does nor come to its hold.
    fn waits(&self, task: u32) -> bool {
        self.busy.contains_key(&task) && !self.holds.get(&task).is_some_and(|held| held.stood)
    }

    /// Whose wait this has ended, if that of any.
    fn attribute(&mut self, cause: Cause) {
        for at in 0..self.beside.len() {
            let Beside { task, waited, ended_by } = self.beside[at];
            if waited && ended_by.is_none() && !self.waits(task) {
                self.beside[at].ended_by = Some(cause);
            }
        }
    }

    fn hold(&mut self, task: u32, point: HoldPoint, until: Option<u32>) -> Went {
        if self.holds.contains_key(&task) {
            return Ok(());
        }
        let id = self.system.hold(TaskId(task), point)?;
        self.holds.insert(task, HeldTask { point, id, until, stood: false, end: None });
        // It may be armed later than who waits for it.
        for held in self.holds.values() {
            if let Some(other) = held.until.and_then(|other| self.holds.get(&other)) {
                self.system.go_after(held.id, other.id)?;
            }
        }
        Ok(())
    }

    fn let_go(&mut self, task: u32) -> Went {
        let Some(held) = self.holds.get_mut(&task).filter(|held| held.end.is_none()) else {
            return Ok(());
        };
        held.end = Some(self.system.go(held.id)?);
        self.settle()?;
        self.attribute(Cause::Task);
        Ok(())
    }

    fn release(&mut self, pin: PinId) -> Went {
        let Some(TakenPin { op, released: None }) = self.pins.get(&pin) else {
            return Ok(());
        };
        match &self.ops[*op].done {
            // Not before it is taken, else there is nothing to release.
            None => return Ok(()),
            Some(Done { result: Err(_), .. }) => {
                // vmsplice leaves in the pipe what came before the page that it could not have.
                // Where nothing is held there is nothing to release either.
                let _ = self.system.release(pin);
                self.pins.remove(&pin);
            }
            Some(_) => {
                let at = self.system.release(pin)?;
                self.pins.insert(pin, TakenPin { op: *op, released: Some(at) });
            }
        }
        self.stage.pinned.remove(&pin);
        self.settle()?;
        self.attribute(Cause::Pin);
        Ok(())
    }

    /// Lets all operations come to rest: they have returned, stand at a hold, or wait. What ends may
    /// be what another waited for, so all are looked at again then.
    fn settle(&mut self) -> Went {
        let mut again = true;
        while again {
            again = false;
            for (task, at) in self.busy.clone() {
                let hold = self.holds.get(&task).filter(|held| held.end.is_none());
                let hold = hold.map(|held| held.id);
                match self.system.rest(self.ops[at].id, hold)? {
                    None => {
                        if let Some(held) = self.holds.get_mut(&task) {
                            held.stood = true;
                        }
                    }
                    Some(Look::Done(done)) => {
                        self.ended(task, at, done);
                        again = true;
                    }
                    Some(Look::Blocked(_)) => {}
                    Some(look @ (Look::Running | Look::Gone)) => {
                        let action = &self.ops[at].action;
                        let kind = format!("{}: {}", action.name(), Seen::of(Ok(look)).word());
                        let text = format!("{action}\n{}", self.system.describe());
                        return Err(Stopped::Diverged(Box::new(Divergence::at_end(kind, text))));
                    }
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, task: u32, at: usize, done: Done) {
        let action = &self.ops[at].action;
        if done.result.is_ok() {
            self.stage.end(action);
            if let Action::Unmap { map } = action {
                self.stage.maps.remove(&(process(task), *map));
            }
        }
        self.ops[at].done = Some(done);
        self.busy.remove(&task);
    }

    /// Lets go whoever still stands, whatever is wrong.
    fn let_all_go(&mut self) {
        for held in self.holds.values_mut().filter(|held| held.end.is_none()) {
            // What cannot be let go goes at its deadline.
            held.end = self.system.go(held.id).ok();
        }
    }

    /// Lets everything end, which it must, and looks at what is left. The files are gone afterwards.
    fn finish(&mut self) -> Went<ProgramOutcome> {
        for task in self.holds.keys().copied().collect::<Vec<_>>() {
            self.let_go(task)?;
        }
        for pin in self.pins.keys().copied().collect::<Vec<_>>() {
            self.release(pin)?;
        }
        for (task, at) in self.busy.clone() {
            let done = self.must_end(at)?;
            self.ended(task, at, done);
        }
        // Those that were only taken now.
        for pin in self.pins.keys().copied().collect::<Vec<_>>() {
            self.release(pin)?;
        }
        let mut facts = self.facts();
        for (file, medium) in FILES {
            if medium == Medium::Dax {
                let first = self.program.first_pages(file);
                // It may have grown meanwhile.
                let span = pages(0, 2 * first);
                for action in [
                    Action::Fsync { file, data_only: false },
                    Action::Stat { file },
                    Action::Read { file, span },
                    Action::Load { map: first_map(file), span: pages(0, first) },
                ] {
                    let seen = self.answer(&action)?;
                    facts.insert(format!("{action} at the end"), Fact::Answer(action, seen));
                }
            }
            // The next program begins with an empty directory.
            for action in [Action::Truncate { file, size: PAGE }, Action::Unlink { file }] {
                let seen = self.answer(&action)?;
                facts.insert(format!("{action} at the end"), Fact::Answer(action, seen));
            }
        }
        Ok(ProgramOutcome(facts))
    }

    fn must_end(&mut self, at: usize) -> Went<Done> {
        let BegunOp { action, id, .. } = &self.ops[at];
        self.system.wait(*id).map_err(|trouble| {
            let Seen::Trouble { kind, text } = Seen::trouble(&trouble) else {
                return trouble.into();
            };
            let kind = format!("{}: trouble: {kind}", action.name());
            Stopped::Diverged(Box::new(Divergence::at_end(kind, text)))
        })
    }

    /// What `action` of the main task has for an answer, with nothing else under way.
    fn answer(&mut self, action: &Action) -> Went<Seen> {
        let id = self.system.start(TaskId(0), action.clone())?;
        self.ops.push(BegunOp { task: 0, action: action.clone(), id, done: None, together: false });
        let done = self.must_end(self.ops.len() - 1)?;
        Ok(Seen::Returned(done.result).plain(action))
    }

    /// What came of the operations that the holds are about, and of all pins.
    fn facts(&mut self) -> BTreeMap<String, Fact> {
        let mut facts = BTreeMap::new();
        for op in self.ops.iter().filter(|op| op.together) {
            let Some(done) = &op.done else {
                continue;
            };
            let words = Step::Do(op.task, op.action.clone()).to_string();
            let seen = Seen::Returned(done.result.clone()).plain(&op.action);
            facts.insert(words.clone(), Fact::Answer(op.action.clone(), seen));
            for (number, pin) in &self.pins {
                let own = matches!(&op.action, Action::Pin { pin, .. } if pin == number);
                if let (Some(at), false) = (pin.released, own) {
                    let name = format!("{words}, returned before the release of pin {}", number.0);
                    facts.insert(name, Fact::Before(op.action.clone(), done.ended < at));
                }
            }
        }
        for (number, pin) in &self.pins {
            let action = &self.ops[pin.op].action;
            if matches!(action, Action::Pin { kind, .. } if kind.end() == PinEnd::Release) {
                let seen = Seen::of_content(self.system.transferred(*number));
                let name = format!("content of pin {}", number.0);
                facts.insert(name, Fact::Answer(action.clone(), seen));
            }
        }
        facts
    }

    fn forcing(&self) -> Forcing {
        if self.holds.values().any(|held| held.end == Some(HoldEnd::Deadline)) {
            return Forcing::Undecided;
        }
        if let Some(waiting) = self.beside.iter().find(|beside| beside.waited) {
            let pin = waiting.ended_by == Some(Cause::Pin);
            return Forcing::Waits { task: waiting.task, pin };
        }
        let missed = |held: &HeldTask| held.end != Some(HoldEnd::Go);
        match self.holds.iter().find(|(_, held)| missed(held)) {
            Some((task, held)) => Forcing::NotBy { task: *task, point: held.point },
            None => Forcing::Forced,
        }
    }
}

impl Seen {
    /// What a pin's holder has, or why that is not known.
    fn of_content(content: Tried<Content>) -> Self {
        match content {
            Ok(content) => Self::Returned(Ok(Reply::Content(content))),
            Err(why) => Self::trouble(&why),
        }
    }
}

#[cfg(test)]
mod tests {
    use cases::action::{PinKind, page};
    use reference::Variant;

    use super::*;

    fn program(steps: Vec<Step>) -> Program {
        Program { steps, seed: 0, huge: 0, bare: false }
    }

    fn hold(task: u32, point: HoldPoint, until: Option<u32>) -> Step {
        Step::Hold { task, point, until }
    }

    fn punch() -> Step {
        let (file, mode) = (FILES[0].0, cases::action::Mode::Punch);
        Step::Do(1, Action::Fallocate { file, mode, span: pages(0, 2) })
    }

    fn pin(number: u32, task: u32, index: u64) -> Step {
        let (map, kind) = (first_map(FILES[0].0), PinKind::Splice);
        Step::Do(task, Action::Pin { pin: PinId(number), map, span: page(index), kind })
    }

    fn on(variant: Option<Variant>, program: &Program) -> Ran {
        let mut subject = Reference::new(&ReferenceSetup { variant, ..ReferenceSetup::default() });
        let (mut orders, like) = (Orders::default(), ReferenceSetup::default());
        run(program, &mut subject, None, (&mut orders, &like), &Spent::default())
    }

    /// Race B of 2018.
    fn scan_again() -> Program {
        program(vec![
            pin(8, 0, 0),
            pin(9, 0, 1),
            hold(1, HoldPoint::ScanFoundBusy, None),
            punch(),
            Step::Release(PinId(8)),
            Step::Go(1),
        ])
    }

    #[test]
    fn a_bug_shows_in_the_order_that_it_needs() {
        let good = on(None, &scan_again());
        assert_eq!(good.forcing, Forcing::Forced);
        assert!(good.found.is_empty() && good.clean, "{:?}", good.found);
        let bad = on(Some(Variant::RetryFlag), &scan_again());
        assert_eq!(bad.forcing, Forcing::Forced);
        let kinds: Vec<_> = bad.found.iter().map(|found| &found.kind[..]).collect();
        assert!(kinds.contains(&format!("punch: {MISSED}").as_str()), "{kinds:?}");
    }

    #[test]
    fn an_order_that_a_lock_forbids_is_told_as_such() {
        let newcomer =
            program(vec![hold(1, HoldPoint::Unmapped, None), punch(), pin(8, 3, 0), Step::Go(1)]);
        assert_eq!(on(None, &newcomer).forcing, Forcing::Waits { task: 3, pin: false });
        let second = program(vec![
            pin(9, 0, 1),
            hold(3, HoldPoint::FaultEntered, Some(1)),
            hold(1, HoldPoint::WaitEntered, None),
            pin(8, 3, 0),
            punch(),
            Step::Go(3),
            Step::Go(1),
        ]);
        assert_eq!(on(None, &second).forcing, Forcing::Waits { task: 1, pin: false });
    }

    #[test]
    fn who_does_not_come_by_is_told_as_such() {
        let idle = program(vec![hold(1, HoldPoint::ScanFoundBusy, None), punch(), Step::Go(1)]);
        let ran = on(None, &idle);
        let point = HoldPoint::ScanFoundBusy;
        assert_eq!(ran.forcing, Forcing::NotBy { task: 1, point });
        assert!(ran.found.is_empty(), "{:?}", ran.found);
    }

    #[test]
    fn what_is_done_beside_a_hold_has_every_order() {
        let orders: std::collections::BTreeSet<_> = permutations(3).into_iter().collect();
        assert_eq!(orders.len(), 6);
        let many = program(vec![
            hold(1, HoldPoint::Unmapped, None),
            punch(),
            pin(1, 2, 0),
            pin(2, 3, 0),
            pin(3, 4, 0),
            pin(4, 0, 0),
            Step::Release(PinId(1)),
        ]);
        let ran = on(None, &many);
        assert!(matches!(ran.forcing, Forcing::LeftOut(_)) && ran.found.len() == 1);
    }

    #[test]
    fn a_load_that_met_a_change_may_have_some_of_both() {
        let fact = |sector| {
            let action = Action::Load { map: first_map(FILES[0].0), span: page(0) };
            Fact::Answer(action, Seen::Returned(Ok(Reply::Content(Content(vec![sector])))))
        };
        assert!(fact(Sector::Torn).agrees(&fact(Sector::Uniform(b'a'))));
        assert!(!fact(Sector::Uniform(b'b')).agrees(&fact(Sector::Uniform(b'a'))));
    }
}
