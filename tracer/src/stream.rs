//! The records, fed to the rules, without losing sight of what was lost.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use protocol::{Config, Event, Finding, Judge, Kind, Rule, Verdict};

use crate::device::{self, Device};
use crate::selfcheck;
use crate::session::{self, Options, Session};
use crate::summary::Summary;
use crate::timeline::Timeline;

/// Why nothing is traced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`session::Error`].
    #[error(transparent)]
    Session(#[from] session::Error),
    /// See [`device::Error`].
    #[error(transparent)]
    Device(#[from] device::Error),
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
    device: Device,
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
    /// What was lost before this judgement began, and what was not seen.
    base: u64,
    unseen: u64,
    summary: Summary,
    names: BTreeMap<u32, String>,
}

/// What a watch came to.
pub struct Outcome {
    /// The verdict on all that was seen.
    pub verdict: Verdict,
    /// How many records and returns were lost.
    pub lost: u64,
    /// How many calls were not seen that no verdict needs.
    pub unseen: u64,
    /// The most records that ever waited to be judged.
    pub peak: usize,
    /// Counts and waits.
    pub summary: Summary,
}

/// How long to leave the ring alone between two looks at it.
pub const INTERVAL: Duration = Duration::from_millis(10);

impl Stream {
    /// Attaches the probes to the device's file system and checks that they see a break.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        Device::check(path)?;
        session::preconditions()?;
        let device = Device::find(path)?;
        let mut session = Session::start(&device, options)?;
        let process = std::process::id();
        session.only(Some(process))?;
        let self_check = loop {
            match selfcheck::check(&device, &session) {
                // A function whose callers have it inlined is there and never called.
                Err(selfcheck::Error::Blind { ref missing, .. })
                    if session.fall_back(missing)? => {}
                checked => break checked?,
            }
        };
        session.only(options.process)?;
        if !options.detail && options.process.is_none() {
            session.rest()?;
        }
        let mut stream = Self {
            judge: Judge::new(Config::kernel(session.shape())),
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
            base: 0,
            unseen: 0,
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
        self.take(batch)
    }

    /// Takes all records of what happened until now, and returns what they violate.
    pub fn pump_all(&mut self) -> Vec<Finding> {
        let swept = self.session.sweep();
        // Before the count: what is counted after this look was lost after the sweep.
        let lost = self.session.lost() + self.session.dropped();
        let batch = self.session.take_events(usize::MAX);
        let mut findings = self.take(batch);
        let lost = (lost - self.base).saturating_sub(self.told) + u64::from(!swept);
        if lost > 0 {
            // No record came after the loss, or none that could tell of so much.
            self.lose(now(), lost, &mut findings);
        }
        findings
    }

    fn take(&mut self, batch: impl Iterator<Item = Event>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for event in batch {
            if event.kind == Kind::Lost as u16 {
                // Lost on the way from the ring to here.
                self.told += event.value as u64;
                self.feed(Event { time: now(), ..event }, &mut findings);
                continue;
            }
            if event.lost != self.mark {
                // Two processors that lose at once may make the number run backwards; then, too,
                // something is missing.
                let count = event.lost.wrapping_sub(self.mark);
                self.mark = event.lost;
                self.lose(event.time, u64::from(count.min(count.wrapping_neg())), &mut findings);
            }
            let watched = match Kind::from_number(event.kind) {
                Some(Kind::WaitBegin) => self.session.rouse(),
                Some(Kind::Warning) => self.session.heed(),
                _ => Ok(()),
            };
            if watched.is_err() {
                // What stays off is not seen from now on.
                self.lose(event.time, 1, &mut findings);
            }
            self.feed(event, &mut findings);
        }
        findings
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
        let new = self.judge.feed(&event).to_vec();
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
    }

    /// Forgets what was seen so far, and judges anew what comes.
    ///
    /// A break that is under way keeps the tracer's knowledge of it only in the kernel: its end
    /// will not be judged.
    pub fn begin(&mut self) {
        // A sweep that did not come to its end leaves old records, which are judged as new ones.
        self.session.sweep();
        drop(self.session.take_events(usize::MAX));
        let (lost, mark) = (self.session.lost(), self.session.losses());
        self.judge = Judge::new(Config::kernel(self.session.shape()));
        self.history.clear();
        self.first = 0;
        self.evidence.clear();
        self.mark = mark;
        self.told = 0;
        self.base = lost + self.session.dropped();
        self.unseen = self.session.unseen();
        self.summary = Summary::default();
    }

    /// The verdict on what was seen since [`Stream::begin`], and its timeline.
    pub fn conclude(&mut self) -> (Verdict, Timeline) {
        self.pump_all();
        let fresh = Judge::new(Config::kernel(self.session.shape()));
        let verdict = std::mem::replace(&mut self.judge, fresh).finish(now());
        let findings = match &verdict {
            Verdict::Violated(findings) => findings.clone(),
            _ => Vec::new(),
        };
        (verdict, self.timeline(findings))
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
        let mut stacks = BTreeMap::new();
        let told = findings.iter().flat_map(|finding| &finding.events);
        let told: BTreeMap<u64, Event> =
            told.filter_map(|&number| Some((number, *self.event(number)?))).collect();
        for event in events.iter().chain(told.values()).filter(|event| event.stack >= 0) {
            stacks.entry(event.stack).or_insert_with(|| self.session.stack(event.stack));
        }
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
            lost: self.told,
            unseen: self.unseen(),
        }
    }

    /// A warning's finding has an address; a reader wants a function.
    fn name_warning(&self, finding: &mut Finding) {
        if finding.rule != Rule::Warning {
            return;
        }
        let event = finding.events.first().and_then(|&number| self.event(number));
        if let Some(event) = event {
            finding.text = format!(
                "warning at {} in {}",
                self.session.describe(event.value as u64),
                self.task(event.task)
            );
        }
    }

    /// Ends the watch.
    pub fn finish(mut self) -> (Vec<Finding>, Outcome) {
        let findings = self.pump_all();
        let (unseen, peak) = (self.unseen(), self.session.peak());
        let verdict = self.judge.finish(now());
        (findings, Outcome { verdict, lost: self.told, unseen, peak, summary: self.summary })
    }

    /// `task` and its name, as it stands in a sentence.
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
                session::chain(error),
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
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many calls of this judgement were not seen so far that no verdict needs.
    fn unseen(&self) -> u64 {
        self.session.unseen().saturating_sub(self.unseen)
    }

    /// How many records of this judgement were lost so far.
    pub fn lost(&self) -> u64 {
        self.told
    }
}

/// The time in the unit of a kernel trace's events.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock is always there");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
