//! The records, fed to the rules, without losing sight of what was lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use protocol::{Bounds, Event, Finding, Judge, Kind, Rule, Ruling};

use crate::device::TracedFs;
use crate::error::{self, chain};
use crate::options::Options;
use crate::selfcheck;
use crate::session::{self, Session};
use crate::summary::Summary;
use crate::timeline::Timeline;
use crate::unseen::Unseen;
use crate::untraceable;

/// Why nothing is traced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`error::Error`].
    #[error(transparent)]
    Session(#[from] error::Error),
    /// See [`untraceable::Error`].
    #[error(transparent)]
    Device(#[from] untraceable::Error),
    /// See [`selfcheck::Error`].
    #[error(transparent)]
    SelfCheck(#[from] selfcheck::Error),
}

/// Events that are kept for findings and timelines; older ones are forgotten.
const KEPT: usize = 400_000;

/// Events that a timeline shows at most.
const DRAWN: usize = 5000;

/// The kernel function whose warnings, of the tracer's own making, are no findings, in a trace and
/// in the kernel's log alike.
pub const OWN_WARNING: &str = "rethook_find_ret_addr";

/// Records that are judged in one go: a twentieth of a second's work on a slow machine.
const PUMPED: usize = 65_536;

/// A device under watch.
pub struct Stream {
    session: Session,
    device: TracedFs,
    judge: Judge,
    self_check: Vec<Finding>,
    /// The tracer's own process.
    process: u32,
    history: VecDeque<Event>,
    /// The number of the first event that is kept.
    first: u64,
    /// Events that findings rest on, which are kept for good.
    evidence: BTreeMap<u64, Event>,
    /// How many of the session's refusals were told.
    refusals: usize,
    /// [`Event::lost`] of the last record.
    mark: u16,
    /// What was lost of this judgement's records and told to the rules.
    told: u64,
    /// What was not seen before this judgement began, and that no verdict needs.
    base: Unseen,
    needless: u64,
    /// Times that the ring was not emptied in time.
    not_swept: u64,
    /// [`Session::counted`] when a record last told of a loss.
    counted: u64,
    /// [`Unseen::unplaced`] at the last look at the counters, and when that was.
    unplaced: u64,
    looked: Instant,
    /// Until then something was missed, nobody knows where: no absence means anything.
    doubtful: u64,
    summary: Summary,
    names: BTreeMap<u32, String>,
}

/// What a watch came to.
pub struct WatchOutcome {
    /// The ruling on all that was seen.
    pub ruling: Ruling,
    /// What was not seen that a verdict needs.
    pub unseen: Unseen,
    /// How many calls were not seen that no verdict needs.
    pub needless: u64,
    /// The most records that ever waited to be judged.
    pub peak: usize,
    /// Counts and waits.
    pub summary: Summary,
}

/// How long to leave the ring alone between two looks at it.
pub const INTERVAL: Duration = Duration::from_millis(10);

/// How often the counters of what was missed are looked at, if no finding asks for them: each look
/// costs a file for each program.
const LOOK: Duration = Duration::from_secs(1);

/// How long a break that is under way at the end may be neither seen to wait nor to end: many
/// times what the sampler takes to come by.
const SETTLE: Duration = Duration::from_secs(1);

impl Stream {
    /// Attaches the probes to the device's file system and checks that they see a break.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        TracedFs::check(path)?;
        session::preconditions()?;
        let (device, points) = TracedFs::find(path)?;
        let mut session = Session::start(&device, options)?;
        let process = std::process::id();
        let self_check = loop {
            match selfcheck::check(&device, &session, options.patience) {
                // A function whose callers have it inlined is there and never called.
                Err(selfcheck::Error::Blind { ref missing, .. })
                    if session.fall_back(missing)? => {}
                checked => break checked?,
            }
        };
        selfcheck::frees(&device, &session, &points, options.patience)?;
        drop(points);
        session.only(options.process)?;
        if !options.detail && options.process.is_none() {
            session.detach_idle()?;
        }
        let mut stream = Self {
            judge: Judge::new(Bounds::kernel(session.counting())),
            self_check,
            process,
            session,
            device,
            history: VecDeque::new(),
            first: 0,
            evidence: BTreeMap::new(),
            refusals: 0,
            mark: 0,
            told: 0,
            base: Unseen::default(),
            needless: 0,
            not_swept: 0,
            counted: 0,
            unplaced: 0,
            looked: Instant::now(),
            doubtful: 0,
            summary: Summary::default(),
            names: BTreeMap::new(),
        };
        stream.begin();
        Ok(stream)
    }

    /// Takes records that are there, and returns what they violate.
    ///
    /// Of very many it leaves some for the next time, so that the caller gets to its other work.
    pub fn pump(&mut self) -> Vec<Finding> {
        let batch = self.session.take_events(PUMPED);
        let mut findings = Vec::new();
        // After the records are taken and before they are judged: what was missed beside them has
        // been counted by now.
        if self.looked.elapsed() >= LOOK {
            self.look(&mut findings);
        }
        self.take(batch, &mut findings);
        findings
    }

    /// Takes all records of what happened until now, and returns what they violate.
    pub fn pump_all(&mut self) -> Vec<Finding> {
        self.session.settle_all(SETTLE);
        self.not_swept += u64::from(!self.session.sweep());
        let batch = self.session.take_events(usize::MAX);
        let mut findings = Vec::new();
        self.look(&mut findings);
        let (unseen, mark) = (self.unseen().missed(), self.session.losses());
        self.take(batch, &mut findings);
        let lost = unseen.saturating_sub(self.told).max(u64::from(mark != self.mark));
        if lost > 0 {
            self.mark = mark;
            // No record came after the loss, or none that could tell of so much.
            self.lose(now(), lost, &mut findings);
        }
        findings
    }

    /// Looks at the counters of what was missed, and doubts all that was under way since the last
    /// look if there is more.
    fn look(&mut self, findings: &mut Vec<Finding>) {
        self.session.settle();
        let unplaced = self.session.unseen().unplaced();
        self.looked = Instant::now();
        let new = unplaced.saturating_sub(self.unplaced);
        if new > 0 {
            self.unplaced = unplaced;
            self.doubtful = now();
            self.lose(self.doubtful, new, findings);
        }
    }

    fn take(&mut self, batch: impl Iterator<Item = Event>, findings: &mut Vec<Finding>) {
        for event in batch {
            if event.kind == Kind::Lost as u16 {
                // Lost on the way from the ring to here.
                self.told += event.value as u64;
                self.feed(Event { time: now(), ..event }, findings);
                continue;
            }
            if event.lost != self.mark {
                self.mark = event.lost;
                let counted = self.session.counted();
                let count = counted.saturating_sub(self.counted).max(1);
                self.counted = counted;
                self.lose(event.time, count, findings);
            }
            let watched = match Kind::from_number(event.kind) {
                Some(Kind::WaitBegin) => self.session.attach_for_wait(),
                Some(Kind::Warning) => self.session.watch_traps(),
                _ => Ok(()),
            };
            if watched.is_err() {
                // What stays off is not seen from now on.
                self.lose(event.time, 1, findings);
            }
            self.feed(event, findings);
        }
    }

    /// Whether the tracer itself is the cause of it: its own break, which may outlast the
    /// self-check on a kernel that violates the protocol, and one warning.
    ///
    /// Reading /proc/PID/stack of a task that runs, and is in a function with a kretprobe, made
    /// the unwinder warn. Linux commit 5120d167e21c ("rethook: Remove warning messages printed for
    /// finding return address of a frame.") took that out; nothing was wrong.
    fn is_own(&self, event: &Event) -> bool {
        if event.kind != Kind::Warning as u16 {
            return event.process == self.process;
        }
        self.session.describe(event.value as u64).starts_with(OWN_WARNING)
    }

    /// Tells the rules that records are missing here.
    fn lose(&mut self, time: u64, count: u64, findings: &mut Vec<Finding>) {
        self.told += count;
        self.feed(Event { time, value: count as i64, ..Event::new(Kind::Lost) }, findings);
    }

    fn feed(&mut self, event: Event, findings: &mut Vec<Finding>) {
        if event.task != 0 && !self.names.contains_key(&event.task) {
            self.names.insert(event.task, self.session.name(event.task));
        }
        if self.is_own(&event) {
            return;
        }
        self.summary.count(&event);
        let doubted = event.time <= self.doubtful;
        let mut missed = false;
        let all_seen = || {
            self.session.settle();
            missed = self.session.unseen().unplaced() != self.unplaced;
            !missed && !doubted
        };
        let new = self.judge.feed_if(&event, all_seen).to_vec();
        if doubted {
            self.judge.lose();
        }
        self.history.push_back(event);
        for number in new.iter().flat_map(|finding| &finding.events) {
            if let Some(event) = self.event(*number) {
                self.evidence.insert(*number, *event);
            }
        }
        if self.history.len() > KEPT {
            self.history.pop_front();
            self.first += 1;
        }
        for mut finding in new {
            self.name_warning(&mut finding);
            findings.push(finding);
        }
        if missed {
            self.look(findings);
        }
    }

    /// Forgets what was seen so far, and judges anew what comes.
    ///
    /// A break that is under way keeps the tracer's knowledge of it only in the kernel: its end
    /// will not be judged.
    pub fn begin(&mut self) {
        // A sweep that did not come to its end leaves old records, which are judged as new ones.
        self.session.sweep();
        drop(self.session.take_events(usize::MAX));
        self.session.settle();
        let mark = self.session.losses();
        self.judge = Judge::new(Bounds::kernel(self.session.counting()));
        self.history.clear();
        self.first = 0;
        self.evidence.clear();
        self.mark = mark;
        self.told = 0;
        self.base = self.session.unseen();
        self.needless = self.session.needless();
        self.not_swept = 0;
        self.counted = self.session.counted();
        self.unplaced = self.base.unplaced();
        self.looked = Instant::now();
        self.doubtful = 0;
        self.summary = Summary::default();
    }

    /// The ruling on what was seen since [`Stream::begin`], and its timeline.
    pub fn conclude(&mut self) -> (Ruling, Timeline) {
        self.pump_all();
        let fresh = Judge::new(Bounds::kernel(self.session.counting()));
        let ruling = self.ruling(fresh, Vec::new());
        let findings = match &ruling {
            Ruling::Violated(findings) => findings.clone(),
            _ => Vec::new(),
        };
        (ruling, self.timeline(findings))
    }

    /// What is drawn: the last events up to a little after the last finding.
    fn timeline(&self, mut findings: Vec<Finding>) -> Timeline {
        let last = findings.iter().filter_map(|finding| finding.events.last()).max();
        let end = last.map_or(self.history.len(), |&number| {
            let after = number.saturating_sub(self.first) as usize + DRAWN / 20;
            after.min(self.history.len())
        });
        let begin = end.saturating_sub(DRAWN);
        let events: Vec<Event> = self.history.range(begin..end).copied().collect();
        let told = findings.iter().flat_map(|finding| &finding.events);
        let told: BTreeMap<u64, Event> =
            told.filter_map(|&number| Some((number, *self.event(number)?))).collect();
        let stacks: BTreeSet<i32> =
            told.values().map(|event| event.stack).filter(|&stack| stack >= 0).collect();
        let stacks = stacks.into_iter().map(|stack| (stack, self.session.stack(stack))).collect();
        for finding in &mut findings {
            self.name_warning(finding);
        }
        Timeline {
            events,
            first: self.first + begin as u64,
            evidence: told,
            names: self.names.clone(),
            stacks,
            findings,
            unseen: self.unseen(),
            needless: self.needless(),
        }
    }

    /// The ruling on what was seen until now, and on what was found before that; `fresh` judges what
    /// comes.
    fn ruling(&mut self, fresh: Judge, before: Vec<Finding>) -> Ruling {
        let (session, unplaced) = (&self.session, self.unplaced);
        let all_seen = || session.unseen().unplaced() == unplaced;
        match std::mem::replace(&mut self.judge, fresh).finish_if(now(), all_seen) {
            Ruling::Violated(findings) => Ruling::Violated([before, findings].concat()),
            _ if !before.is_empty() => Ruling::Violated(before),
            // Whose page a free took away can only be asked where the page is known.
            Ruling::Holds if self.unseen().frees > 0 => Ruling::Undecided,
            other => other,
        }
    }

    /// A warning's finding has an address; a reader wants a function.
    fn name_warning(&self, finding: &mut Finding) {
        if finding.rule != Rule::Warning {
            return;
        }
        let event = finding.events.first().and_then(|&number| self.event(number));
        if let Some(event) = event {
            let address = event.value as u64;
            let place = self.session.describe(address);
            finding.text = format!("warning at {place} in {}", self.task(event.task));
            finding.function = self.session.function(address).map(str::to_owned);
        }
    }

    /// Ends the watch. What the self-check's own break violated counts.
    pub fn finish(mut self) -> (Vec<Finding>, WatchOutcome) {
        let findings = self.pump_all();
        let fresh = Judge::new(Bounds::kernel(self.session.counting()));
        let own = std::mem::take(&mut self.self_check);
        let ruling = self.ruling(fresh, own);
        let outcome = WatchOutcome {
            ruling,
            unseen: self.unseen(),
            needless: self.needless(),
            peak: self.session.peak(),
            summary: self.summary,
        };
        (findings, outcome)
    }

    /// `task` and its name, for a sentence.
    pub fn task(&self, task: u32) -> String {
        match self.names.get(&task).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}/{task}"),
            None => format!("task {task}"),
        }
    }

    /// The event of this number, if it is still kept. Those that a finding rests on are, if they
    /// were when it was found.
    pub fn event(&self, number: u64) -> Option<&Event> {
        let kept = number
            .checked_sub(self.first)
            .and_then(|place| self.history.get(usize::try_from(place).ok()?));
        kept.or_else(|| self.evidence.get(&number))
    }

    /// Everything that is kept, the oldest first, and the number of the first one.
    pub fn history(&self) -> (u64, &VecDeque<Event>) {
        (self.first, &self.history)
    }

    /// The names of tasks, as far as they were still there to be asked.
    pub fn names(&self) -> &BTreeMap<u32, String> {
        &self.names
    }

    /// What the kernel refused since this was asked last, each in a line: from then on the step is
    /// seen in a lesser way, or not at all.
    pub fn refusals(&mut self) -> Vec<String> {
        let refused = self.session.refused();
        let new = &refused[self.refusals..];
        self.refusals = refused.len();
        let hooks = self.session.hooks();
        let instead = |step: &str| {
            let hook = hooks.iter().find(|hook| hook.step.name == step)?;
            hook.chosen.as_ref().map(|(_, symbol)| symbol.as_str())
        };
        let line = |step, error| {
            format!(
                "{step}: {}; going on with {}",
                chain(error),
                instead(step).unwrap_or("nothing")
            )
        };
        new.iter().map(|(step, error)| line(step, error)).collect()
    }

    /// The attached probes.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the self-check's own break violated; on a kernel that does this nothing is well.
    pub fn self_check(&self) -> &[Finding] {
        &self.self_check
    }

    /// The watched device.
    pub fn device(&self) -> &TracedFs {
        &self.device
    }

    /// How many calls of this judgement were not seen so far that no verdict needs.
    fn needless(&self) -> u64 {
        self.session.needless().saturating_sub(self.needless)
    }

    /// What of this judgement was not seen so far that a verdict needs.
    pub fn unseen(&self) -> Unseen {
        let why = self.device.blocks.unknown.clone();
        Unseen { not_swept: self.not_swept, why, ..self.session.unseen().since(&self.base) }
    }
}

/// The time in the unit of a kernel trace's events.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock is always there");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
