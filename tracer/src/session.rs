//! The probes at work: loaded, filled in, put where they belong, and their ring.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, Map, MapData, RingBuf, StackTraceMap};
use aya::{Btf, Ebpf, EbpfLoader};
use protocol::event::loss_mark;
use protocol::segment::Segment;
use protocol::{Event, Shape, counters};

use crate::attach::{Place, Programs};
use crate::device::Device;
use crate::drain::Drain;
use crate::hook::{self, Resolved, When};
use crate::layout::{RANGES, SEGMENTS};
use crate::offsets::{self, KERNEL, Types};
use crate::preemption::preempts;
use crate::probelog::{self, Printer};
use crate::symbols::{self, Symbols};
use crate::sys::Counters;
use crate::tracefs::{field, tracepoint_file};
use crate::unseen::{self, Unseen};

/// Why tracing could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build had no eBPF toolchain.
    #[error("built without probes: build again with an eBPF toolchain (ci/ebpf-toolchain)")]
    NoProbes,
    /// Only root may.
    #[error("not root: tracing needs CAP_SYS_ADMIN")]
    NotRoot,
    /// The kernel is locked down.
    #[error("the kernel is locked down ({0}): it lets no probe read its memory")]
    Lockdown(String),
    /// See [`symbols::Error`].
    #[error(transparent)]
    Symbols(#[from] symbols::Error),
    /// See [`offsets::Error`].
    #[error(transparent)]
    Offsets(#[from] offsets::Error),
    /// A step that the rules need has no hook on this kernel.
    #[error("this kernel has no hook for {step:?}: looked for {looked_for}")]
    NoHook {
        /// The step.
        step: &'static str,
        /// Its alternatives.
        looked_for: String,
    },
    /// The kernel's memory map could not be found.
    #[error("cannot read the kernel's vmemmap_base from /proc/kcore")]
    Vmemmap(#[source] io::Error),
    /// A tracepoint's record lacks a field.
    #[error("tracepoint {0} has no field {1}, or tracefs is not mounted")]
    Tracepoint(String, &'static str),
    /// aya could not load the object.
    #[error("loading the probes")]
    Load(#[from] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("attaching {program} to {symbol}: {said}")]
    Attach {
        /// The program.
        program: String,
        /// Where to.
        symbol: String,
        /// What it said, in a line.
        said: String,
    },
    /// The thread that empties the ring could not be made.
    #[error("starting the thread that empties the ring")]
    Thread(#[source] io::Error),
    /// The object lacks something, or a map cannot be used.
    #[error("the probes lack {0}")]
    Lacks(String),
}

/// What to trace.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only breaks and operations of this process, if any.
    pub process: Option<u32>,
    /// Bytes of the ring; a power of two and at least a page.
    pub ring_size: u32,
    /// Record for a reader what no rule needs: stacks of all pins and breaks, all faults, all
    /// removals, and what else is done to a file. It is recorded of a single process in any case.
    pub detail: bool,
    /// What the probes say of themselves on standard error, for who writes them.
    pub probe_log: ProbeLog,
}

/// What the probes say of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeLog {
    /// Nothing, which costs nothing: the verifier drops the code.
    #[default]
    Off,
    /// Which probe lost a record.
    Lost,
    /// That, and every record.
    All,
}

impl Default for Options {
    fn default() -> Self {
        Self { process: None, ring_size: 16 << 20, detail: false, probe_log: ProbeLog::Off }
    }
}

/// What the probes know of a break under way: `Break` in tracer-ebpf/src/work.rs.
type Break = [u64; 10];

/// Whether it waits, as far as was seen: the lower half of its last word.
fn waits(a_break: &Break) -> bool {
    a_break[9] as u32 != 0
}

/// Between two looks at the breaks under way.
const PAUSE: Duration = Duration::from_millis(5);

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Attached probes. Dropping it detaches them.
pub struct Session {
    programs: Programs,
    /// Prints what the probes say of themselves as long as it is there.
    printer: Option<Printer>,
    drain: Drain,
    counters: Counters,
    breaks: HashMap<MapData, u32, Break>,
    /// Breaks that were found to have ended unseen.
    returns: u64,
    process: Array<MapData, u32>,
    stacks: StackTraceMap<MapData>,
    /// How references are counted.
    shape: Shape,
    /// The kernel preempts a task that is in it.
    preempts: bool,
    hooks: Vec<Resolved>,
    /// Steps whose best hook the kernel refused.
    refused: Vec<(&'static str, Error)>,
    /// What is of use only beside a wait is left off until there is one.
    resting: bool,
    /// The kernel has warned since it was booted, and what it does not print again is seen too.
    warned: bool,
    symbols: Symbols,
    /// The same with what the kernel made for the probes; read when an address is asked for.
    symbols_now: OnceLock<Option<Symbols>>,
}

/// How this kernel counts references of a DAX page.
///
/// Where it is idle at one reference the last put is special and has a function of its own,
/// `__put_devmap_managed_page_refs` or `_folio_refs`.
pub fn shape(symbols: &Symbols) -> Shape {
    let special = ["__put_devmap_managed_page_refs", "__put_devmap_managed_folio_refs"];
    if special.iter().any(|name| symbols.named(name).is_some()) {
        Shape::IdleAtOne
    } else {
        Shape::IdleAtZero
    }
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
    pub fn start(device: &Device, options: &Options) -> Result<Self, Error> {
        preconditions()?;
        let symbols = Symbols::read()?;
        let shape = shape(&symbols);
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
        let mut narrow = globals(device, options, shape, &hooks)?;
        let layout = &device.layout;
        narrow.push(("SEGMENTS", layout.segments.len() as u32));
        narrow.push(("RANGES", layout.ranges.len() as u32));
        let vmemmap = vmemmap(&symbols).map_err(Error::Vmemmap)?;
        let segments = words(layout.segments.iter().map(Segment::words), SEGMENTS);
        let ranges = words(layout.ranges.iter().map(|&(first, frames)| [first, frames]), RANGES);
        narrow.extend(free_fields(&hooks)?);

        let btf = Btf::from_sys_fs()
            .map_err(|error| Error::Lacks(format!("BTF of the kernel: {error}")))?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf)).map_max_entries("EVENTS", options.ring_size);
        for (name, value) in &narrow {
            loader.override_global(name, value, true);
        }
        loader.override_global("PAGES", &vmemmap, true);
        loader.override_global("SEGMENT", segments.as_slice(), true);
        loader.override_global("RANGE", ranges.as_slice(), true);
        let level = probelog::level(options.probe_log);
        loader.override_global(aya_log::LEVEL, &level, true);
        let mut ebpf = loader.load(OBJECT).map_err(Box::new)?;
        let probe_log = match options.probe_log {
            ProbeLog::Off => None,
            _ => Some(Printer::start(&mut ebpf)?),
        };
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(lacks("EVENTS"))?;
        let drain = Drain::start(ring, options.ring_size).map_err(Error::Thread)?;
        // Not taken out: programs that are loaded later need it.
        let counters = counters(ebpf.map("COUNTERS"))?;
        let stacks =
            StackTraceMap::try_from(take(&mut ebpf, "STACKS")?).map_err(lacks("STACKS"))?;
        let process = Array::try_from(take(&mut ebpf, "PROCESS")?).map_err(lacks("PROCESS"))?;
        let breaks = HashMap::try_from(take(&mut ebpf, "BREAKS")?).map_err(lacks("BREAKS"))?;
        let mut session = Self {
            programs: Programs::new(ebpf, btf),
            printer: probe_log,
            drain,
            counters,
            breaks,
            returns: 0,
            process,
            stacks,
            shape,
            preempts,
            hooks,
            symbols,
            symbols_now: OnceLock::new(),
            refused: Vec::new(),
            resting: false,
            warned: false,
        };
        session.attach()?;
        Ok(session)
    }

    fn attach(&mut self) -> Result<(), Error> {
        for n in 0..self.hooks.len() {
            if self.hooks[n].step.when != When::OnceWarned {
                self.hook(n, &[])?;
            }
        }
        if has_warned() {
            self.heed()?;
        }
        self.programs.sample()
    }

    /// Attaches hook `n` in the first way that the kernel takes, but not to functions that are
    /// `blind`.
    fn hook(&mut self, n: usize, blind: &[&str]) -> Result<(), Error> {
        let hook = &mut self.hooks[n];
        self.symbols_now = OnceLock::new();
        let mut refused = None;
        let mut ways = hook.step.ways(&self.symbols, self.preempts).into_iter();
        // A function can be there and yet not take a program; then the next best is tried.
        hook.chosen = ways.find(|(alternative, symbol)| {
            if blind.contains(&alternative.symbol) {
                return false;
            }
            let address = self.symbols.named(symbol).map_or(0, |symbol| symbol.address);
            let taken = self.programs.attach(alternative.programs, &Place { symbol, address });
            taken.map_err(|error| refused = Some(error)).is_ok()
        });
        if self.printer.is_some()
            && let Some((way, symbol)) = &hook.chosen
        {
            for &(program, _) in way.programs {
                let cost = self.programs.cost(program);
                eprintln!("probe: {program} is at {symbol}; the verifier took {cost} steps");
            }
        }
        match (refused, &hook.chosen) {
            (Some(error), None) if hook.step.needed => return Err(error),
            (Some(error), _) => self.refused.push((hook.step.name, error)),
            (None, _) => {}
        }
        Ok(())
    }

    /// Attaches the next best way to see what the self-check missed. False if there is none.
    pub(crate) fn fall_back(&mut self, missing: &[&str]) -> Result<bool, Error> {
        for n in 0..self.hooks.len() {
            let hook = &self.hooks[n];
            let Some((chosen, _)) = &hook.chosen else {
                continue;
            };
            let alternatives = hook.step.alternatives;
            let is_blind = hook.step.blind.is_some_and(|step| missing.contains(&step));
            // Functions that were tried stand before those that were not.
            let tried = alternatives.iter().rposition(|way| way.symbol == chosen.symbol);
            let tried = tried.map_or(0, |last| last + 1);
            let blind: Vec<_> = alternatives[..tried].iter().map(|way| way.symbol).collect();
            let mut ways = hook.step.ways(&self.symbols, self.preempts).into_iter();
            if is_blind && ways.any(|(way, _)| !blind.contains(&way.symbol)) {
                // Other callers may still call it, and then it would tell things twice.
                self.unhook(n)?;
                self.hook(n, &blind)?;
                return Ok(self.hooks[n].chosen.is_some());
            }
        }
        Ok(false)
    }

    /// Takes off what is of use only beside a wait, for it costs all others too, and what only a
    /// reader of a timeline asks for.
    pub(crate) fn rest(&mut self) -> Result<(), Error> {
        self.resting = true;
        let idle = [When::BesideWait, When::InDetail].map(|when| self.of_use(when));
        idle.into_iter().flatten().try_for_each(|n| self.unhook(n))
    }

    /// A break waits: puts it on again.
    pub(crate) fn rouse(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.resting) {
            self.of_use(When::BesideWait).into_iter().try_for_each(|n| self.hook(n, &[]))?;
        }
        Ok(())
    }

    /// The kernel has warned: from now on what it will not print a second time is seen as well, if
    /// there is a way. What warns meanwhile may be seen twice, but not missed.
    pub(crate) fn heed(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.warned, true) {
            return Ok(());
        }
        let traps = self.of_use(When::OnceWarned);
        for &n in &traps {
            self.hook(n, &[])?;
        }
        if traps.iter().any(|&n| self.hooks[n].chosen.is_some()) {
            self.of_use(When::UntilWarned).into_iter().try_for_each(|n| self.unhook(n))?;
        }
        Ok(())
    }

    fn of_use(&self, when: When) -> Vec<usize> {
        (0..self.hooks.len()).filter(|&n| self.hooks[n].step.when == when).collect()
    }

    /// Takes hook `n` off and its programs out of the kernel.
    fn unhook(&mut self, n: usize) -> Result<(), Error> {
        let Some((way, symbol)) = &self.hooks[n].chosen else {
            return Ok(());
        };
        self.programs.detach(way.programs, symbol)
    }

    /// Traces only the breaks and operations of this process, or of all.
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
            returns: self.returns,
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
        let mut missed = self.programs.missed();
        unseen::stood_in(&mut missed, sum(counters::SEEN), sum(counters::SEEN_TWICE));
        missed.into_iter().filter(move |(name, _)| hook::may_miss(name) == may_miss)
    }

    /// Looks for breaks that ended unseen, which [`Session::unseen`] then counts: those of tasks
    /// that are gone.
    ///
    /// The kernel counts what a probe missed; this is what no counter tells of.
    pub fn settle(&mut self) {
        // Whoever asks for a break's state keeps kprobes from running meanwhile; for its task, not.
        let tasks: Vec<u32> = self.breaks.keys().filter_map(Result::ok).collect();
        for task in tasks {
            if !Path::new(&format!("/proc/{task}")).exists()
                && let Ok(a_break) = self.breaks.get(&task, 0)
            {
                self.returns += self.forget(task, &a_break);
            }
        }
    }

    /// The same, and of those tasks that for so long neither waited in their break nor came to its
    /// end. One that began another break meanwhile is looked at again the next time.
    pub fn settle_all(&mut self, patience: Duration) {
        self.settle();
        let deadline = Instant::now() + patience;
        let begun = self.open();
        loop {
            let mut open = self.open();
            open.retain(|known| !waits(&known.1) && begun.contains(known));
            if open.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                for (task, a_break) in open {
                    self.returns += self.forget(task, &a_break);
                }
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Breaks under way.
    fn open(&self) -> Vec<(u32, Break)> {
        self.breaks.iter().filter_map(Result::ok).collect()
    }

    /// Takes a break out of what the probes know, if that is still the same; how many.
    fn forget(&mut self, task: u32, a_break: &Break) -> u64 {
        let still = self.breaks.get(&task, 0).is_ok_and(|now| now == *a_break);
        u64::from(still && self.breaks.remove(&task).is_ok())
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

    fn symbols_now(&self) -> &Symbols {
        let read = self.symbols_now.get_or_init(|| Symbols::read().ok());
        read.as_ref().unwrap_or(&self.symbols)
    }

    /// How this kernel counts references.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Which hook carries which step.
    pub fn hooks(&self) -> &[Resolved] {
        &self.hooks
    }

    /// Steps that are seen in a lesser way, or not at all, because the kernel refused a hook that
    /// it has, with what it said.
    pub fn refused(&self) -> &[(&'static str, Error)] {
        &self.refused
    }
}

/// Whether the kernel has warned since it was booted (Documentation/admin-guide/tainted-kernels.rst,
/// bit 9). One that does not tell may have.
fn has_warned() -> bool {
    let tainted = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    tainted.trim().parse().map_or(true, |bits: u64| bits & (1 << 9) != 0)
}

/// An error with its causes, in one line: what a verifier says has more.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    text.lines().next().unwrap_or_default().to_owned()
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

/// Rows of numbers as one, and zeros for the rows that are not there.
fn words<const N: usize>(rows: impl Iterator<Item = [u64; N]>, most: usize) -> Vec<u64> {
    let mut words: Vec<u64> = rows.flatten().collect();
    words.resize(most * N, 0);
    words
}

fn globals(
    device: &Device,
    options: &Options,
    shape: Shape,
    hooks: &[Resolved],
) -> Result<Vec<(&'static str, u32)>, Error> {
    let types = Types::kernel()?;
    let mut globals = vec![
        ("DEVICE", device.number),
        ("DETAIL", u32::from(options.detail)),
        ("GROUP_BLOCKS", device.group_blocks),
        ("PAGE_SIZE_OF", types.size("page")?),
    ];
    for &(name, fields) in KERNEL {
        globals.push((name, types.offset(fields)?));
    }
    let entry = types.offset(&["wait_bit_queue_entry.wq_entry"])?;
    globals.push(("WAIT_ENTRY", entry + types.offset(&["wait_queue_entry.entry"])?));
    let references = types.offset(&["page._refcount", "folio._refcount"])?;
    match shape {
        Shape::IdleAtOne => {
            globals.extend([
                ("IDLE", 1),
                ("WAIT_OFFSET", references),
                ("PAGE_HEAD_BIT", 64),
                ("FOLIO_LARGE_MAPS", 0),
            ]);
        }
        Shape::IdleAtZero => {
            let head = types
                .enumerator("pageflags", "PG_head")
                .ok_or_else(|| offsets::Error::Field("pageflags.PG_head".to_owned()))?;
            globals.extend([
                ("IDLE", 0),
                ("WAIT_OFFSET", 0),
                ("PAGE_HEAD_BIT", head),
                ("FOLIO_LARGE_MAPS", types.offset(&["folio._large_mapcount"])?),
            ]);
        }
    }
    let vfs = if device.file_system == "xfs" {
        types.module("xfs").or_else(|_| Types::kernel())?.offset(&["xfs_inode.i_vnode"])?
    } else {
        0
    };
    globals.push(("XFS_INODE_VFS", vfs));
    globals.extend(
        hooks.iter().filter_map(|hook| hook.chosen.as_ref()).filter_map(|(way, _)| way.tells),
    );
    Ok(globals)
}

/// Where the free tracepoint has its fields.
fn free_fields(hooks: &[Resolved]) -> Result<Vec<(&'static str, u32)>, Error> {
    let mut fields = Vec::new();
    let Some((_, symbol)) = hooks
        .iter()
        .find(|hook| hook.step.name == "block free")
        .and_then(|hook| hook.chosen.as_ref())
    else {
        return Ok(fields);
    };
    let (category, name) = symbol.split_once(':').unwrap_or(("", symbol));
    let format = tracepoint_file(category, name, "format").unwrap_or_default();
    let wanted: &[(&str, &[&'static str])] = match category {
        "xfs" => &[
            ("FREE_DEVICE", &["dev"]),
            ("FREE_GROUP", &["agno"]),
            ("FREE_BLOCK", &["agbno"]),
            ("FREE_LENGTH", &["len"]),
        ],
        _ => &[("FREE_DEVICE", &["dev"]), ("FREE_BLOCK", &["block"]), ("FREE_LENGTH", &["count"])],
    };
    for &(global, names) in wanted {
        let offset = names
            .iter()
            .find_map(|name| field(&format, name))
            .ok_or_else(|| Error::Tracepoint(symbol.clone(), names[0]))?;
        fields.push((static_name(global), offset));
    }
    Ok(fields)
}

/// The names of [`free_fields`] live as long as the program.
fn static_name(name: &str) -> &'static str {
    ["FREE_DEVICE", "FREE_GROUP", "FREE_BLOCK", "FREE_LENGTH"]
        .into_iter()
        .find(|known| *known == name)
        .expect("only these are asked for")
}

/// The address of the `struct page` of frame 0, which KASLR moves.
fn vmemmap(symbols: &Symbols) -> io::Result<u64> {
    let symbol = symbols
        .named("vmemmap_base")
        .ok_or_else(|| io::Error::other("the kernel has no symbol vmemmap_base"))?;
    kernel_word(symbol.address)
}

/// Reads eight bytes of kernel memory: /proc/kcore is an ELF core file of it.
fn kernel_word(address: u64) -> io::Result<u64> {
    let core = File::open("/proc/kcore")?;
    let word = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        core.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    // ELF-64: e_phoff at 32, e_phnum at 56; a program header of 56 bytes has its offset at 8, its
    // address at 16 and its length in memory at 40.
    let headers = word(32)?;
    let count = word(56)? & 0xffff;
    for n in 0..count {
        let header = headers + n * 56;
        let (offset, start, length) = (word(header + 8)?, word(header + 16)?, word(header + 40)?);
        if word(header)? & 0xffff_ffff == 1 && address.wrapping_sub(start) < length {
            return word(offset + (address - start));
        }
    }
    Err(io::Error::other("no segment has its address"))
}
