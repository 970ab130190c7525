//! What must hold at every step of every case and every random program, whatever they are about.
//!
//! [`Watch`] stands between a case and its [`System`]. It sees what begins and what ends, and while
//! nothing is under way it looks at the files: [`kept`] at the blocks of pinned pages, [`foreign`]
//! at what files show, [`bystanders`] at those that nobody touches. [`durable`] asks what was written
//! back when a sync has ended. Whoever looks keeps nothing open and maps nothing, so nothing is
//! changed by it. While an operation is under way nobody looks, for it may hold the locks that a look takes;
//! what was not seen then is no evidence either way.
//!
//! What is right and what is wrong is `protocol`'s to say.

mod bystanders;
mod durable;
mod foreign;
mod kept;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub use protocol::oracle::bystanders::Stood;
use protocol::{How, Rule};
use serde::{Deserialize, Serialize};

use self::bystanders::Bystanders;
use self::durable::Durability;
use self::foreign::Contents;
use self::kept::PinBlocks;
use crate::action::{Action, Content, FileId, Medium, PinId, Reply, Span, TaskId, VarId};
use crate::patience::Patience;
use crate::system::{
    Conclusion, Done, Errno, HoldEnd, HoldId, HoldPoint, Kinship, Look, Need, OpId, Released,
    Signal, System, Tried, WriteBacks,
};
use crate::transcript::Names;

/// What an oracle found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// In which way a rule is broken.
    pub how: How,
    /// The file, as the case calls it, or the bystander.
    pub file: String,
    /// The index of the page in its file, of the first one if there are several.
    pub index: u64,
    /// Pages from there on that are alike.
    pub count: u64,
    /// The block that the page has, or had, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// The byte that is there and ought not to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte: Option<u8>,
    /// What was done before it was seen, by the action's name; none when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The same in words.
    pub after: String,
    /// What was done and what was seen then: a sentence, lower case, no full stop.
    pub text: String,
}

impl Found {
    /// The rule that is broken.
    pub fn rule(&self) -> Rule {
        self.how.rule()
    }

    /// One page of `file`, seen after something was done, of which `wrong` is said.
    fn new(how: How, file: &str, index: u64, after: &After, wrong: &str) -> Self {
        Self {
            how,
            file: file.to_owned(),
            index,
            count: 1,
            block: None,
            byte: None,
            action: after.action.map(str::to_owned),
            after: after.words.clone(),
            text: format!("after {}: {wrong}", after.words),
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule(), self.text)
    }
}

/// What was done before somebody looks.
#[derive(Clone, Debug)]
struct After {
    action: Option<&'static str>,
    words: String,
}

impl After {
    /// This was done.
    fn action(action: &Action, names: &Names) -> Self {
        Self { action: Some(action.name()), words: names.say(action) }
    }

    /// Nothing was done, but this was.
    fn moment(words: &str) -> Self {
        Self { action: None, words: words.to_owned() }
    }
}

/// What is to be looked at in a file of the file system under test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Which.
    pub file: FileId,
    /// Pages whose blocks are of interest, with the block that each had.
    pub pages: Vec<(u64, u64)>,
    /// The values that it may show, if its content is of interest.
    pub may_show: Option<Vec<u8>>,
}

/// What was seen in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inspected {
    /// It has a name.
    Named {
        /// The block of each page that was asked for; none for a hole, and for a block that was
        /// never written, which no page maps.
        blocks: Vec<Option<u64>>,
        /// The first byte that it may not show, if any: where, what, and in which block.
        foreign: Option<(u64, u8, u64)>,
    },
    /// It has no name any more. Whether each of the blocks that were asked for is free.
    Nameless {
        /// As the file system counts it.
        free: Vec<bool>,
    },
}

/// A file that nobody touches, to be made or looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BystanderSpec {
    /// Which.
    pub file: FileId,
    /// What each of its pages is filled with.
    pub fill: Vec<u8>,
    /// Whether to ask which of its blocks are free, which takes longer than the rest.
    pub with_free: bool,
}

/// What a look shows, in the order of what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Of files of the case.
    pub files: Vec<Inspected>,
    /// Of bystanders; none of one that has no name any more.
    pub bystanders: Vec<Option<Stood>>,
}

/// How many bytes of a file are looked at. Files of cases are shorter, but for those that take all
/// free space or are mapped by huge entries.
pub const LOOKED_AT: u64 = 64 * crate::action::PAGE;

/// What was found so far.
pub type Findings = Rc<RefCell<Vec<Found>>>;

/// A system with somebody who watches.
pub struct Watch<'s> {
    system: &'s mut dyn System,
    names: Names,
    /// What is under way.
    busy: BTreeMap<OpId, Action>,
    /// The DAX files that were made.
    files: BTreeSet<FileId>,
    pinned: PinBlocks,
    contents: Contents,
    durability: Durability,
    bystanders: Bystanders,
    found: Findings,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("found", &self.found).finish_non_exhaustive()
    }
}

impl<'s> Watch<'s> {
    /// Watches what is done to `system` from now on.
    pub fn new(system: &'s mut dyn System) -> Self {
        Self {
            system,
            names: Names::default(),
            busy: BTreeMap::new(),
            files: BTreeSet::new(),
            pinned: PinBlocks::default(),
            contents: Contents::default(),
            durability: Durability::default(),
            bystanders: Bystanders::default(),
            found: Findings::default(),
        }
    }

    /// What is found, now and later.
    pub fn findings(&self) -> Findings {
        Rc::clone(&self.found)
    }

    /// Why a rule could not be judged, if one could not: its name and the reason.
    pub fn undecided(&self) -> Option<(Rule, &str)> {
        self.durability.undecided().map(|why| (Rule::Durable, why))
    }

    /// Looks at all files once more, if nothing is under way.
    pub fn finish(&mut self) -> Tried<()> {
        self.forget_the_gone()?;
        if !self.busy.is_empty() {
            return Ok(());
        }
        let wanted = self.files.iter().copied().collect();
        self.look_at(&After::moment("all was over"), &wanted, true)
    }

    /// Makes a file that nobody touches, where one is to be.
    fn bystand(&mut self) -> Tried<()> {
        if let Some(next) = self.bystanders.next().filter(|_| self.pinned.is_empty()) {
            let seen = self.system.bystand(&next)?;
            self.found.borrow_mut().extend(self.bystanders.add(next, seen.as_ref()));
        }
        Ok(())
    }

    /// Takes those off the list that have ended, or were killed.
    fn forget_the_gone(&mut self) -> Tried<()> {
        let busy: Vec<_> = self.busy.keys().copied().collect();
        for op in busy {
            if matches!(self.system.look(op)?, Look::Done(_) | Look::Gone)
                && let Some(action) = self.busy.remove(&op)
            {
                self.contents.end(&action);
                self.durability.end(op, None);
            }
        }
        Ok(())
    }

    /// `op` has ended, with this result, or its task was killed.
    fn ended(&mut self, op: OpId, result: Option<&Result<Reply, Errno>>) -> Tried<()> {
        let Some(action) = self.busy.remove(&op) else {
            return Ok(());
        };
        self.contents.end(&action);
        if self.durability.asks_after(op) {
            self.durability.learn(self.system.written_back()?);
        }
        let missing = self.durability.end(op, result);
        let after = After::action(&action, &self.names);
        self.found.borrow_mut().extend(durable::found(&missing, &after, &self.names));
        let is_quiet = self.busy.is_empty();
        let went_well = result.is_some_and(Result::is_ok);
        if let (Action::Pin { pin, map, span, kind }, true, true) = (&action, went_well, is_quiet)
            && let Some(file) = self.contents.shared_file(*map, &self.files)
        {
            let at = self.contents.offset(*map);
            let pages: Vec<_> = kept::pages(at, *span).map(|index| (index, 0)).collect();
            let what = Inspection { file, pages: pages.clone(), may_show: None };
            let seen = self.system.inspect(&[what], &[])?;
            if let [Inspected::Named { blocks, .. }] = &seen.files[..] {
                let there = pages.iter().zip(blocks);
                let held = there.filter_map(|((index, _), block)| Some((*index, (*block)?)));
                self.pinned.add(*pin, file, held.collect(), kind.is_kept());
            }
        }
        if is_quiet && changes(&action) {
            let mut wanted = self.contents.touched(&action, &self.files);
            wanted.extend(self.pinned.files());
            self.look_at(&after, &wanted, false)?;
        }
        if is_quiet && makes_file(&action) && went_well {
            self.bystand()?;
        }
        Ok(())
    }

    /// Looks at files, after something was done; also at what is free if that was the end.
    fn look_at(&mut self, after: &After, wanted: &BTreeSet<FileId>, at_end: bool) -> Tried<()> {
        let what: Vec<_> = wanted
            .iter()
            .map(|file| Inspection {
                file: *file,
                pages: self.pinned.pages(*file),
                may_show: self.contents.may_show(*file).map(|written| written.values().collect()),
            })
            .filter(|what| !what.pages.is_empty() || what.may_show.is_some())
            .collect();
        // What touches no file of the case touches no other either.
        let looks = at_end || !wanted.is_empty();
        let bystanders = if looks { self.bystanders.wanted(at_end) } else { Vec::new() };
        if what.is_empty() && bystanders.is_empty() {
            return Ok(());
        }
        let view = self.system.inspect(&what, &bystanders)?;
        self.found.borrow_mut().extend(self.bystanders.judge(&view.bystanders, after));
        for (what, seen) in what.iter().zip(view.files) {
            let name = self.names.file(what.file).into_owned();
            let mut found = self.pinned.judge(what, &seen, after, &name);
            found.extend(self.contents.judge(what.file, &seen, after, &name));
            self.found.borrow_mut().extend(found);
        }
        Ok(())
    }
}

/// Whether an action makes a file of the file system under test.
fn makes_file(action: &Action) -> bool {
    matches!(action, Action::Create { medium: Medium::Dax, .. } | Action::CreateHuge { .. })
}

/// Whether an action may change what a file shows, or where its blocks are.
fn changes(action: &Action) -> bool {
    !matches!(
        action,
        Action::Create { .. }
            | Action::CreateHuge { .. }
            | Action::Read { .. }
            | Action::Stat { .. }
            | Action::Blocks { .. }
            | Action::FindBlock { .. }
            | Action::IsFree { .. }
            | Action::Stored { .. }
            | Action::Map { .. }
            | Action::Touch { .. }
            | Action::Load { .. }
            | Action::Pin { .. }
            | Action::Reap { .. }
            | Action::PinLongterm { .. }
    )
}

impl System for Watch<'_> {
    fn offers(&mut self, need: Need) -> Result<(), String> {
        self.system.offers(need)
    }

    fn spawn(&mut self, of: TaskId, kinship: Kinship) -> Tried<TaskId> {
        self.system.spawn(of, kinship)
    }

    fn start(&mut self, task: TaskId, action: Action) -> Tried<OpId> {
        self.names.learn(&action);
        self.contents.learn(&action);
        match &action {
            Action::Create { file, medium: Medium::Dax, .. } | Action::CreateHuge { file, .. } => {
                self.files.insert(*file);
            }
            _ => {}
        }
        if changes(&action) {
            self.bystanders.complete();
        } else if makes_file(&action) && self.busy.is_empty() && self.bystanders.is_empty() {
            self.bystand()?;
        }
        if Durability::asks_before(&action, &self.contents, &self.files) {
            self.durability.learn(self.system.written_back()?);
        }
        let op = self.system.start(task, action.clone())?;
        self.durability.begin(op, &action, &self.contents, &self.files);
        self.busy.insert(op, action);
        Ok(op)
    }

    fn look(&mut self, op: OpId) -> Tried<Look> {
        let look = self.system.look(op)?;
        self.heard(op, &look)?;
        Ok(look)
    }

    fn settle(&mut self, op: OpId) -> Tried<Look> {
        let look = self.system.settle(op)?;
        self.heard(op, &look)?;
        Ok(look)
    }

    fn conclude(&mut self, what: Conclusion) {
        self.system.conclude(what);
    }

    fn wait(&mut self, op: OpId) -> Tried<Done> {
        let done = self.system.wait(op)?;
        self.ended(op, Some(&done.result))?;
        Ok(done)
    }

    fn wait_for(&mut self, op: OpId, seconds: u64) -> Tried<Option<Done>> {
        let done = self.system.wait_for(op, seconds)?;
        if let Some(done) = &done {
            self.ended(op, Some(&done.result))?;
        }
        Ok(done)
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Tried<()> {
        if signal == Signal::Kill {
            // Whose they are is the case's to know; what nobody else keeps may go with any process.
            self.pinned.forget_own();
        }
        self.system.signal(task, signal)?;
        if signal == Signal::Kill { self.forget_the_gone() } else { Ok(()) }
    }

    fn release(&mut self, pin: PinId) -> Tried<u64> {
        self.pinned.remove(pin);
        self.system.release(pin)
    }

    fn release_last(&mut self, pin: PinId, op: OpId) -> Tried<Released> {
        self.pinned.remove(pin);
        self.system.release_last(pin, op)
    }

    fn hold(&mut self, task: TaskId, point: HoldPoint) -> Tried<HoldId> {
        self.system.hold(task, point)
    }

    fn forget_flushes(&mut self) -> Tried<()> {
        self.system.forget_flushes()
    }

    fn not_flushed(&mut self, file: FileId, span: Span) -> Tried<Vec<Span>> {
        self.system.not_flushed(file, span)
    }

    fn hold_in_copy(&mut self, task: TaskId) -> Tried<HoldId> {
        self.system.hold_in_copy(task)
    }

    fn arrived(&mut self, hold: HoldId) -> Tried<bool> {
        self.system.arrived(hold)
    }

    fn go_after(&mut self, hold: HoldId, other: HoldId) -> Tried<()> {
        self.system.go_after(hold, other)
    }

    fn rest(&mut self, op: OpId, hold: Option<HoldId>) -> Tried<Option<Look>> {
        let look = self.system.rest(op, hold)?;
        if let Some(look) = &look {
            self.heard(op, look)?;
        }
        Ok(look)
    }

    fn stands(&mut self, hold: HoldId) -> Tried<bool> {
        self.system.stands(hold)
    }

    fn go(&mut self, hold: HoldId) -> Tried<HoldEnd> {
        self.system.go(hold)
    }

    fn transferred(&mut self, pin: PinId) -> Tried<Content> {
        self.system.transferred(pin)
    }

    fn var(&self, var: VarId) -> u64 {
        self.system.var(var)
    }

    fn set_var(&mut self, var: VarId, value: u64) {
        self.system.set_var(var, value);
    }

    fn bystand(&mut self, what: &BystanderSpec) -> Tried<Option<Stood>> {
        self.system.bystand(what)
    }

    fn inspect(&mut self, files: &[Inspection], bystanders: &[BystanderSpec]) -> Tried<View> {
        self.system.inspect(files, bystanders)
    }

    fn written_back(&mut self) -> Tried<WriteBacks> {
        self.system.written_back()
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

impl Watch<'_> {
    /// What a look at `op` tells of its end.
    fn heard(&mut self, op: OpId, look: &Look) -> Tried<()> {
        match look {
            Look::Done(done) => self.ended(op, Some(&done.result)),
            Look::Gone => self.ended(op, None),
            Look::Blocked(_) | Look::Running => Ok(()),
        }
    }
}
