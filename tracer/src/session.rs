//! The probes at work: loaded, filled in, put where they belong, and their ring.

use std::fs;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData, RingBuf, StackTraceMap};
use aya::{Btf, Ebpf, EbpfLoader};
use protocol::event::loss_mark;
use protocol::{Counting, Event, counters};

use crate::attach::Programs;
use crate::breaks::Breaks;
use crate::calls::Calls;
use crate::device::TracedFs;
use crate::drain::Drain;
use crate::error::Error;
use crate::globals::{Globals, counting};
use crate::hook::{self, Resolved};
use crate::hooks::Hooks;
use crate::options::{Options, ProbeLog};
use crate::preemption::preempts;
use crate::probelog::{self, Printer};
use crate::symbols::Symbols;
use crate::sys::Counters;
use crate::unseen::{self, Unseen};

pub(crate) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Attached probes. Dropping it detaches them.
pub struct Session {
    hooks: Hooks,
    /// Prints what the probes say of themselves as long as it is there.
    _printer: Option<Printer>,
    drain: Drain,
    counters: Counters,
    breaks: Breaks,
    calls: Calls,
    process: Array<MapData, u32>,
    stacks: StackTraceMap<MapData>,
    /// How references are counted.
    counting: Counting,
    /// The symbols with what the kernel made for the probes; read when an address is asked for.
    symbols_now: OnceLock<Option<Symbols>>,
}

/// What must be given before anything is looked at: root, probes, a kernel that is not locked.
pub fn preconditions() -> Result<(), Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoProbes);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    // The chosen mode stands in brackets; only "confidentiality" forbids reading kernel memory.
    if lockdown.contains("[confidentiality]") {
        return Err(Error::Lockdown("confidentiality".to_owned()));
    }
    Ok(())
}

impl Session {
    /// Loads and attaches the probes for a device.
    pub fn start(device: &TracedFs, options: &Options) -> Result<Self, Error> {
        preconditions()?;
        let symbols = Symbols::read()?;
        let counting = counting(&symbols);
        let preempts = preempts();
        let hooks = hook::resolve(&symbols, preempts, Some(&device.file_system));
        if let Some(missing) = hooks.iter().find(|hook| hook.step.needed && hook.chosen.is_none()) {
            return Err(Error::NoHook {
                step: missing.step.name,
                looked_for: missing
                    .step
                    .alternatives
                    .iter()
                    .map(|alternative| alternative.symbol)
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        let globals = Globals::collect(device, options, counting, &hooks, &symbols)?;

        let btf = Btf::from_sys_fs()
            .map_err(|error| Error::Lacks(format!("BTF of the kernel: {error}")))?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf)).map_max_entries("EVENTS", options.ring_size);
        globals.hand_over(&mut loader);
        let level = probelog::level(options.probe_log);
        loader.override_global(aya_log::LEVEL, &level, true);
        let mut ebpf = loader.load(OBJECT).map_err(Box::new)?;
        let printer = match options.probe_log {
            ProbeLog::Off => None,
            _ => Some(Printer::start(&mut ebpf)?),
        };
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(lacks("EVENTS"))?;
        let drain = Drain::start(ring, options).map_err(Error::Thread)?;
        // Not taken out: programs that are loaded later need it.
        let counters = counters(ebpf.map("COUNTERS"))?;
        let stacks =
            StackTraceMap::try_from(take(&mut ebpf, "STACKS")?).map_err(lacks("STACKS"))?;
        let mut process = Array::try_from(take(&mut ebpf, "PROCESS")?).map_err(lacks("PROCESS"))?;
        // From the first probe on: a break of somebody else that is under way while one probe after the
        // other is attached would be seen to begin and to end, and its scan would not.
        process.set(0, std::process::id(), 0).map_err(lacks("PROCESS"))?;
        let breaks = HashMap::try_from(take(&mut ebpf, "BREAKS")?).map_err(lacks("BREAKS"))?;
        let calls = HashMap::try_from(take(&mut ebpf, "CALLS")?).map_err(lacks("CALLS"))?;
        let programs = Programs::new(ebpf, btf);
        let mut hooks = Hooks::new(programs, hooks, symbols, preempts, printer.is_some());
        hooks.attach()?;
        Ok(Self {
            hooks,
            _printer: printer,
            drain,
            counters,
            breaks: Breaks::new(breaks),
            calls: Calls::new(calls),
            process,
            stacks,
            counting,
            symbols_now: OnceLock::new(),
        })
    }

    /// Attaches the next best way to see what the self-check missed. False if there is none.
    pub(crate) fn fall_back(&mut self, missing: &[&str]) -> Result<bool, Error> {
        self.symbols_now = OnceLock::new();
        self.hooks.fall_back(missing)
    }

    /// Detaches the probes that mean something only while a break waits, and those for a timeline.
    pub(crate) fn detach_idle(&mut self) -> Result<(), Error> {
        self.hooks.detach_idle()?;
        self.calls.forget_faults();
        Ok(())
    }

    /// A break waits: attaches the probes for that again.
    pub(crate) fn attach_for_wait(&mut self) -> Result<(), Error> {
        self.symbols_now = OnceLock::new();
        self.hooks.attach_for_wait()
    }

    /// The kernel has warned: see what it will not print a second time as well.
    pub(crate) fn watch_traps(&mut self) -> Result<(), Error> {
        self.symbols_now = OnceLock::new();
        self.hooks.watch_traps()
    }

    /// Counts breaks and other calls that ended unseen because their tasks are gone; see [`Breaks::settle`]
    /// and [`Calls::settle`].
    pub fn settle(&mut self) {
        self.breaks.settle();
        self.calls.settle();
    }

    /// The same, and those that neither wait nor end; see [`Breaks::settle_all`].
    pub fn settle_all(&mut self, patience: Duration) {
        self.breaks.settle_all(patience);
        self.calls.settle();
    }

    /// Traces only the breaks and operations of this process, or of all; at first, of the tracer's own.
    pub fn only(&mut self, process: Option<u32>) -> Result<(), Error> {
        self.process.set(0, process.unwrap_or(0), 0).map_err(lacks("PROCESS"))
    }

    /// The records that are there, at most so many, the oldest first. A row of pins is one for
    /// each page.
    pub fn take_events(&self, most: usize) -> impl Iterator<Item = Event> + use<> {
        self.drain.take(most).into_iter().flat_map(Event::pages)
    }

    /// Waits until everything that was recorded so far can be taken. False if that takes longer
    /// than anything should.
    pub fn sweep(&self) -> bool {
        self.drain.sweep()
    }

    /// What was not seen since the start, as far as a verdict needs it.
    pub fn unseen(&self) -> Unseen {
        Unseen {
            lost: self.counted(),
            not_judged: self.drain.dropped(),
            returns: self.breaks.returns() + self.calls.returns(),
            calls: self.missed(false).collect(),
            not_swept: 0,
            frees: self.frees(),
            why: None,
        }
    }

    /// How many losses the probes themselves know of since the start.
    pub fn counted(&self) -> u64 {
        self.counters.sum(counters::LOST, counters::PROCESSORS)
    }

    /// How many extents were freed whose pages are not known.
    fn frees(&self) -> u64 {
        self.counters.sum(counters::UNPLACED, counters::PROCESSORS)
    }

    /// How many calls the kernel did not let the probes see that no verdict needs.
    pub fn needless(&self) -> u64 {
        self.missed(true).map(|(_, count)| count).sum()
    }

    fn missed(&self, may_miss: bool) -> impl Iterator<Item = (String, u64)> {
        let sum = |counter| self.counters.sum(counter, counters::PROCESSORS);
        let mut missed = self.hooks.programs.missed();
        unseen::stood_in(&mut missed, sum(counters::SEEN), sum(counters::SEEN_TWICE));
        missed.into_iter().filter(move |(name, _)| hook::may_miss(name) == may_miss)
    }

    /// What [`Event::lost`] of a record is if nothing more is lost.
    pub fn losses(&self) -> u16 {
        loss_mark(self.counters.sum(counters::LOST_LAST, 1))
    }

    /// The most records that ever waited to be judged.
    pub fn peak(&self) -> usize {
        self.drain.peak()
    }

    /// What a task was called when its first record was seen; empty if it was gone by then.
    pub fn name(&self, task: u32) -> String {
        self.drain.name(task).unwrap_or_default()
    }

    /// A stack's functions, the innermost first, without the code of the probes.
    pub fn stack(&self, number: i32) -> Vec<String> {
        let Some(stack) = u32::try_from(number).ok().and_then(|n| self.stacks.get(&n, 0).ok())
        else {
            return Vec::new();
        };
        let symbols = self.symbols_now();
        let frames = stack.frames().iter().map(|frame| frame.ip);
        frames.filter(|&ip| !symbols.is_probe(ip)).map(|ip| symbols.describe(ip)).collect()
    }

    /// The function that an address is in.
    pub fn describe(&self, address: u64) -> String {
        self.symbols_now().describe(address)
    }

    /// The kernel function that an address is in, if it is in one.
    pub fn function(&self, address: u64) -> Option<&str> {
        self.symbols_now().function(address)
    }

    fn symbols_now(&self) -> &Symbols {
        let read = self.symbols_now.get_or_init(|| Symbols::read().ok());
        read.as_ref().unwrap_or(&self.hooks.symbols)
    }

    /// How this kernel counts references.
    pub fn counting(&self) -> Counting {
        self.counting
    }

    /// Which hook carries which step.
    pub fn hooks(&self) -> &[Resolved] {
        &self.hooks.resolved
    }

    /// Steps that are seen in a lesser way, or not at all, because the kernel refused a hook that
    /// it has, with what it said.
    pub fn refused(&self) -> &[(&'static str, Error)] {
        &self.hooks.refused
    }
}

fn take(ebpf: &mut Ebpf, map: &str) -> Result<Map, Error> {
    ebpf.take_map(map).ok_or_else(|| Error::Lacks(format!("the map {map}")))
}

/// The numbers that the probes count, mapped.
fn counters(map: Option<&Map>) -> Result<Counters, Error> {
    let Some(Map::Array(data)) = map else {
        return Err(Error::Lacks("an array COUNTERS".to_owned()));
    };
    Counters::new(data.fd().as_fd(), counters::LENGTH as usize)
        .map_err(|error| Error::Lacks(format!("a map COUNTERS that can be mapped: {error}")))
}

fn lacks(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Error {
    move |error| Error::Lacks(format!("a usable map {map}: {error}"))
}
