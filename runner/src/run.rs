//! A run: each case in turn, from its selection to its verdict in the journal.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use cases::{Case, Patience};

use crate::bless;
use crate::child::{self, Assignment};
use crate::destination::Destination;
use crate::evidence::Evidence;
use crate::exit::Exit;
use crate::expected;
use crate::fs::FsType;
use crate::history::History;
use crate::holding::Holding;
use crate::interrupt::Interrupt;
use crate::journal::{Entry, Journal, Outcome, RunEvent, seconds};
use crate::judge::{Judgement, Measure, is_doubtful, judge, judge_died};
use crate::known::{Deviation, Deviations};
use crate::machine;
use crate::name;
use crate::output::Output;
use crate::plan::Plan;
use crate::print;
use crate::report::github::Github;
use crate::report::{self, Format, Reporter};
use crate::results::Results;
use crate::runs::NewRun;
use crate::silence;
use crate::trace::Trace;
use crate::verdict::{Problem, Verdict, Witness};
use crate::watch::{ChildEnd, ChildWatch, Watched};
use crate::world::{self, Unusable, World};

/// How much of a problem's text goes into the journal; the rest is in the case's folder.
const TEXT: usize = 64 << 10;

/// What to run, and where the results go.
#[derive(Debug)]
pub(crate) struct RunRequest {
    /// What to do; none resumes what the results folder records.
    pub(crate) plan: Option<Plan>,
    /// Where the results go.
    pub(crate) results: Destination,
    /// Another place for the JUnit report.
    pub(crate) junit: Option<PathBuf>,
    /// How to show the run.
    pub(crate) format: Format,
    /// The runner's own binary.
    pub(crate) program: PathBuf,
}

/// Does what `request` says.
pub(crate) fn run(request: RunRequest, github: Option<&Github>) -> anyhow::Result<Exit> {
    let place = &request.results;
    let resuming = request.plan.is_none();
    // All that the run will write to is tried before anything is made or removed.
    place.check()?;
    let junit = request.junit.as_deref().map(|path| place.open_other(path)).transpose()?;
    if junit.as_ref().is_some_and(Output::is_stdout) {
        if request.format != Format::Text {
            bail!("--junit - and --format would both write to standard output");
        }
        print::yield_stdout();
    }
    let mut reporter: Box<dyn Reporter> = match request.format {
        Format::Text => Box::new(report::terminal::Terminal::new()),
        Format::Json => Box::new(report::json::Json::new()),
        Format::Ktap => Box::new(report::ktap::Ktap::new()),
    };
    let (plan, journal, entries, results, among) = if let Some(plan) = request.plan {
        if let Some(folder) = &plan.bless {
            bless::check(folder, &plan.cases)?;
        }
        world::check(&plan, &request.program)?;
        let (results, among) = place.begin(&plan)?;
        let journal = results.begin().inspect_err(|_| {
            if among.is_some() {
                results.leave_empty();
            }
        })?;
        (plan, journal, Vec::new(), results, among)
    } else {
        let Destination::Folder(folder) = place else {
            bail!("a run that goes on has its folder");
        };
        let results = Results::at(folder);
        let (journal, entries) = results.resume()?;
        let plan = History::of(&entries).plan.with_context(|| {
            format!(
                "{}: the journal does not say what is to be done: its first line is missing; \
                 begin a new run",
                folder.display()
            )
        })?;
        world::check(&plan, &request.program)?;
        (plan, journal, entries, results, None)
    };
    let mut run = Run {
        interrupt: Interrupt::listen().context("signalfd")?,
        trace: None,
        holding: Holding::default(),
        silent: BTreeSet::new(),
        timeline: None,
        world: World::enter(&plan, &request.program)?,
        deviations: Deviations::with(&machine::here().kernel, &plan.known)?,
        history: History::of(&entries),
        program: request.program,
        plan,
        journal,
        results,
        among,
        is_pointed_to: false,
        reporter: reporter.as_mut(),
    };
    run.reporter.resume(&entries);
    let went = run.go(resuming);
    run.world.leave();
    let exit = match &went {
        Ok(()) => Exit::at_end(&run.history),
        Err(_) => Exit::CouldNotRun,
    };
    // Even if the end cannot be written down any more, the reports tell what was: without it.
    let ended = run.end(exit);
    let written = write_reports(&run.history, &run.results, junit.as_ref());
    run.reporter.finish(&run.history, run.results.folder());
    if let Some(timeline) = &run.timeline {
        run.reporter.timeline(timeline);
    }
    if let Some(new) = run.among.as_ref().filter(|_| run.is_pointed_to && went.is_ok())
        && let Err(why) = new.prune()
    {
        print::note(format_args!("{}: an old run is not removed: {why:#}", name::own()));
    }
    if let Some(github) = github {
        github.tell(&[&run.history], request.format);
    }
    went.and(ended).and(written).map(|()| exit)
}

/// Writes the reports that are made from the journal alone.
pub(crate) fn write_reports(
    history: &History,
    results: &Results,
    junit: Option<&Output>,
) -> anyhow::Result<()> {
    let xml = report::junit::xml(&[history])?;
    let own = results.write_junit(&xml);
    // The other place is tried whatever became of the first.
    let other = junit.map_or(Ok(()), |output| output.write(&xml));
    own.and(other)?;
    results.write_html(&report::html::page(&[history], results.folder()))?;
    Ok(())
}

struct Run<'r> {
    plan: Plan,
    journal: Journal,
    history: History,
    results: Results,
    /// The run, if it has a folder among others.
    among: Option<NewRun>,
    /// Whether `latest` leads to it.
    is_pointed_to: bool,
    world: World,
    deviations: Deviations,
    interrupt: Interrupt,
    /// What the kernel does not report.
    silent: BTreeSet<String>,
    /// Attached when the file system is there.
    trace: Option<Trace>,
    /// The probes that hold tasks, while cases need them.
    holding: Holding,
    /// The timeline of the only case of the run.
    timeline: Option<String>,
    program: PathBuf,
    reporter: &'r mut dyn Reporter,
}

/// Whether the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhatNext {
    Case,
    End,
}

impl Run<'_> {
    fn emit(&mut self, event: RunEvent) -> anyhow::Result<()> {
        let entry = Entry::now(event);
        self.journal.append(&entry)?;
        self.history.add(&entry);
        self.reporter.entry(&entry, &self.history);
        Ok(())
    }

    fn end(&mut self, exit: Exit) -> anyhow::Result<()> {
        let end = self.history.end(exit);
        self.emit(RunEvent::Ended(end))
    }

    fn go(&mut self, resuming: bool) -> anyhow::Result<()> {
        let (iteration, index) = self.history.next();
        let machine = machine::here();
        if resuming {
            self.emit(RunEvent::Resumed { machine })?;
            if let Some(died) = self.history.died() {
                let died = self.judge_died(died)?;
                self.emit(RunEvent::CaseEnded(Box::new(died)))?;
            }
        } else {
            let plan = self.plan.clone().into();
            self.emit(RunEvent::Begun { plan, machine })?;
        }
        if !self.take_turn()? {
            return Ok(());
        }
        self.listen_to_silence()?;
        let prepared = self.world.prepare();
        match self.faultless(prepared)? {
            Some(Some((mkfs, mount))) => self.emit(RunEvent::Prepared { mkfs, mount })?,
            Some(None) => {}
            None => return Ok(()),
        }
        if let Some(what) = self.world.unrecorded().map(str::to_owned) {
            self.emit(RunEvent::Silenced { what })?;
        }
        self.complain_of_log("while the file system was made")?;
        if let (Some(keep), Some(dev)) = (self.plan.trace, self.world.device()) {
            let trace = Trace::attach(dev, keep, self.plan.timeout_factor)?;
            for problem in trace.self_check() {
                self.emit(RunEvent::Trouble(problem))?;
            }
            self.trace = Some(trace);
            self.complain_of_log("while the tracer was attached")?;
        }
        if self.cases(iteration, index)? == WhatNext::Case {
            let closed = self.world.renew(false);
            if let Some(Some(problem)) = self.faultless(closed)? {
                self.emit(RunEvent::Trouble(problem))?;
            }
            self.complain_of_log("while the file system was unmounted")?;
        }
        Ok(())
    }

    /// Runs the cases from `index` of `iteration` on. `WhatNext::End` says that the world is not to
    /// be touched any more.
    fn cases(&mut self, first: u64, index: usize) -> anyhow::Result<WhatNext> {
        let cases = self
            .plan
            .cases
            .iter()
            .map(|name| child::find(name))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut skip = index;
        for iteration in first.. {
            if self.plan.iterations.is_some_and(|n| iteration >= n) {
                break;
            }
            for case in cases.iter().skip(std::mem::take(&mut skip)) {
                if self.is_over() || !self.take_turn()? {
                    return Ok(WhatNext::Case);
                }
                if self.case(case, iteration)? == WhatNext::End {
                    return Ok(WhatNext::End);
                }
                if self.interrupt.count() > 0 {
                    self.emit(RunEvent::Interrupted)?;
                    return Ok(WhatNext::Case);
                }
                if self.plan.until_fail && self.history.has_failures() {
                    return Ok(WhatNext::Case);
                }
            }
        }
        Ok(WhatNext::Case)
    }

    /// Waits for this run's turn, if other runners are at work. False if the user does not want to.
    fn take_turn(&mut self) -> anyhow::Result<bool> {
        // Late words of the kernel may belong to the case before or to none: to be seen at least.
        self.complain_of_log("between cases")?;
        let interrupt = &mut self.interrupt;
        let taken = self.world.take_turn(&mut || interrupt.count() > 0)?;
        if !taken {
            self.emit(RunEvent::Interrupted)?;
        }
        Ok(taken)
    }

    /// Whether the time for the run is over. At least one case runs.
    fn is_over(&self) -> bool {
        let age = self.history.began.and_then(|began| SystemTime::now().duration_since(began).ok());
        !self.history.outcomes.is_empty()
            && self.plan.duration.zip(age).is_some_and(|(limit, age)| age >= limit)
    }

    fn case(&mut self, case: &'static Case, iteration: u64) -> anyhow::Result<WhatNext> {
        let begun = self.world.begin();
        let Some(directory) = self.faultless(begun)? else {
            return Ok(WhatNext::End);
        };
        let seed = self.plan.seed_of(case.name, iteration);
        if let Some(new) = self.among.as_ref().filter(|_| !self.is_pointed_to) {
            new.point()?;
            self.is_pointed_to = true;
        }
        self.emit(RunEvent::CaseBegun { case: case.name.to_owned(), iteration, seed })?;
        let task = Assignment {
            case: case.name.to_owned(),
            fs: self.plan.target.fs,
            directory: directory.clone(),
            spare: self.plan.target.spare(),
            seed,
            variant: self.plan.variant.clone(),
            patience: Patience::times(self.plan.timeout_factor),
            holds: match &self.world {
                World::Kernel(_) => self.holding.lend(case.holds()),
                World::Reference(_) => Err("the reference has its own".to_owned()),
            },
        };
        self.results.begin_case(case.name, iteration)?;
        let evidence = self.collect(&task, case)?;
        let judgement = judge(&evidence, &self.measure(case, &self.known(case)?));
        if evidence.watched.end == ChildEnd::Interrupted && judgement.verdict == Verdict::NotRun {
            self.emit(RunEvent::CaseCut { case: case.name.to_owned(), iteration })?;
        } else {
            self.conclude(case, iteration, &evidence, judgement)?;
        }
        if let Some(why) = evidence.watched.wedged {
            self.emit(RunEvent::Wedged { why })?;
            return Ok(WhatNext::End);
        }
        Ok(WhatNext::Case)
    }

    /// Runs a case, and looks at all that may speak against it.
    fn collect(&mut self, task: &Assignment, case: &'static Case) -> anyhow::Result<Evidence> {
        if let Some(trace) = &mut self.trace {
            trace.begin();
        }
        let mut evidence = Evidence::of(self.watch(task, case)?);
        if let (Some(directory), None) = (&task.directory, &evidence.watched.wedged) {
            let removed = self.world.remove(directory);
            note_wedge(removed, &mut evidence)?;
        }
        evidence.traced = self.trace.as_mut().map(Trace::end);
        evidence.add_log(self.world.log()?);
        let doubtful = is_doubtful(&evidence, &self.measure(case, &self.known(case)?));
        if evidence.watched.wedged.is_none() && (doubtful || case.is_in("fsck")) {
            let checked = self.world.renew(true);
            evidence.check = note_wedge(checked, &mut evidence)?.flatten();
            evidence.add_log(self.world.log()?);
        }
        evidence.silenced = self.listen_to_silence()?;
        Ok(evidence)
    }

    /// The deviations that are known of a case here.
    fn known(&self, case: &Case) -> anyhow::Result<Vec<&Deviation>> {
        self.deviations.of(case, &self.plan.target)
    }

    /// What a case is measured against.
    fn measure<'m>(&self, case: &'m Case, known: &'m [&'m Deviation]) -> Measure<'m> {
        Measure {
            case: case.name,
            golden: expected::of(case.name),
            provokes: case.provokes(),
            known,
            require: self.plan.require,
            bless: self.plan.bless.is_some(),
        }
    }

    fn watch(&mut self, task: &Assignment, case: &Case) -> anyhow::Result<Watched> {
        let grace = self.world.grace();
        let reporter = &mut *self.reporter;
        let name = case.name;
        let trace = &mut self.trace;
        let mut tick = |age: Duration| {
            if let Some(trace) = trace {
                trace.pump();
            }
            reporter.tick(name, age);
        };
        ChildWatch {
            program: &self.program,
            limit: self.plan.patience(case.limit),
            grace,
            kmsg: match &mut self.world {
                World::Kernel(kernel) => Some(&mut kernel.kmsg),
                World::Reference(_) => None,
            },
            interrupt: &mut self.interrupt,
            tick: &mut tick,
        }
        .run(task)
        .with_context(|| format!("running {name}"))
    }

    /// Keeps and records what came of a case.
    fn conclude(
        &mut self,
        case: &Case,
        iteration: u64,
        evidence: &Evidence,
        judgement: Judgement,
    ) -> anyhow::Result<()> {
        if let (Some(folder), Verdict::Pass) = (&self.plan.bless, judgement.verdict) {
            bless::write(folder, case.name, &evidence.watched)?;
        }
        let mut outcome = Outcome {
            case: case.name.to_owned(),
            iteration,
            verdict: judgement.verdict,
            seconds: seconds(evidence.watched.took),
            reason: judgement.reason,
            find: judgement.find,
            problems: judgement.problems,
            notes: evidence.notes(),
            folder: None,
        };
        self.results.keep(&mut outcome, evidence)?;
        if let (Some(traced), [_]) = (&evidence.traced, &self.plan.cases[..]) {
            self.timeline = Some(traced.text());
        }
        for problem in &mut outcome.problems {
            shorten(&mut problem.text);
        }
        self.emit(RunEvent::CaseEnded(Box::new(outcome)))
    }

    /// A case whose end nobody saw may be known to kill the kernel.
    fn judge_died(&self, died: Outcome) -> anyhow::Result<Outcome> {
        let known = self.deviations.of(child::find(&died.case)?, &self.plan.target)?;
        let Judgement { verdict, problems, reason, find } = judge_died(died.problems, &known);
        Ok(Outcome { verdict, reason, find, problems, ..died })
    }

    /// The value, or none if the machine is wedged, which is recorded.
    fn faultless<T>(&mut self, result: Result<T, Unusable>) -> anyhow::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Unusable::Broken(error)) => Err(error),
            Err(Unusable::Wedged(why)) => {
                self.emit(RunEvent::Wedged { why })?;
                Ok(None)
            }
        }
    }

    /// Reports what the kernel has stopped telling since the last time this was asked.
    fn listen_to_silence(&mut self) -> anyhow::Result<Vec<String>> {
        if self.plan.target.fs == FsType::Reference {
            return Ok(Vec::new());
        }
        let silent = silence::here()?;
        let new: Vec<_> = silent.difference(&self.silent).cloned().collect();
        self.silent = silent;
        for what in &new {
            self.emit(RunEvent::Silenced { what: what.clone() })?;
        }
        Ok(new)
    }

    /// Reports what the kernel said, unless it may have said it in another runner's turn.
    fn complain_of_log(&mut self, when: &str) -> anyhow::Result<()> {
        let log = self.world.log()?;
        if !self.world.has_turn() {
            return Ok(());
        }
        for problem in crate::alarm::alarms(&log) {
            let title = format!("{} {when}", problem.title);
            self.emit(RunEvent::Trouble(Problem { title, ..problem }))?;
        }
        if log.lost > 0 {
            let title = format!("the kernel log overflowed {when}");
            let text = format!("{} records were lost; a larger log_buf_len helps", log.lost);
            self.emit(RunEvent::Trouble(Problem::new(Witness::KernelLog, title, text)))?;
        }
        Ok(())
    }
}

/// The value; of a machine that is wedged none, which becomes part of the evidence.
fn note_wedge<T>(
    result: Result<T, Unusable>,
    evidence: &mut Evidence,
) -> anyhow::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Unusable::Broken(error)) => Err(error),
        Err(Unusable::Wedged(why)) => {
            evidence.watched.wedged = Some(why);
            Ok(None)
        }
    }
}

fn shorten(text: &mut String) {
    if text.len() > TEXT {
        let mut at = TEXT;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push_str("\n(cut; the case's folder has the rest)\n");
    }
}
