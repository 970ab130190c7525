//! The programs of the probes: put on, taken off, and asked what they missed.
//!
//! Which of them goes where is for the session to say.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::Map;
use aya::programs::perf_event::{
    BreakpointConfig, PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent,
};
use aya::programs::{
    FEntry, FExit, KProbe, PerfEvent, Program, ProgramError, RawTracePoint, TracePoint,
};
use aya::util::online_cpus;
use aya::{Btf, Ebpf};

use crate::error::{Error, chain};
use crate::hook::Attach;
use crate::kprobe::{self, Kprobe};
use crate::symbols::Symbols;

/// How often the sampler looks, in Hertz.
const SAMPLES: u64 = 20;

/// The loaded programs. Dropping them takes them off.
pub(crate) struct Programs {
    /// By program. Before those, for a program in use stays in the kernel.
    kprobes: BTreeMap<String, Vec<Kprobe>>,
    ebpf: Ebpf,
    btf: Btf,
    /// What programs missed that are not in the kernel any more.
    past: BTreeMap<String, u64>,
}

/// Where a program goes.
pub(crate) struct Site<'a> {
    symbol: &'a str,
    /// The module that it is in: a name may be in several.
    module: Option<&'a str>,
    address: u64,
}

impl<'a> Site<'a> {
    /// The function of this name, or a tracepoint.
    pub(crate) fn of(symbols: &'a Symbols, symbol: &'a str) -> Self {
        let named = symbols.named(symbol);
        Self {
            symbol,
            module: named.and_then(|symbol| symbol.module.as_deref()),
            address: named.map_or(0, |symbol| symbol.address),
        }
    }

    /// As tracefs wants it.
    fn qualified(&self) -> String {
        match self.module {
            Some(module) => format!("{module}:{}", self.symbol),
            None => self.symbol.to_owned(),
        }
    }
}

impl Programs {
    /// Programs that are nowhere yet.
    pub(crate) fn new(ebpf: Ebpf, btf: Btf) -> Self {
        // Of a process that was killed.
        kprobe::sweep();
        Self { kprobes: BTreeMap::new(), ebpf, btf, past: BTreeMap::new() }
    }

    /// The descriptor of a map of theirs.
    pub(crate) fn map_fd(&self, name: &str) -> Option<BorrowedFd<'_>> {
        match self.ebpf.map(name)? {
            Map::Array(data) => Some(data.fd().as_fd()),
            _ => None,
        }
    }

    /// Puts programs on, each in its way: all of them, or none.
    ///
    /// The last one first: what has seen a call begin has to see it return, and of a call that the first of two
    /// saw, the one that stands in for it has to know.
    pub(crate) fn attach(
        &mut self,
        ways: &[(&str, Attach)],
        place: &Site<'_>,
    ) -> Result<(), Error> {
        all_or_none(
            self,
            ways,
            |programs, &(name, how)| {
                let taken = programs.attach_one(name, how, place);
                taken.map_err(|refused| refused.into_error(name, place.symbol))
            },
            |programs, &(name, _)| {
                let gone = programs.unload(name);
                gone.map_err(|refused| refused.into_error(name, place.symbol))
            },
        )
    }

    /// Takes programs off that are at a function.
    pub(crate) fn detach(&mut self, ways: &[(&str, Attach)], symbol: &str) -> Result<(), Error> {
        let misses = kprobe::misses();
        for &(name, _) in ways {
            let count = self.ebpf.program(name).and_then(kept_out).unwrap_or(0)
                + self.missed_by_kprobes(name, &misses);
            *self.past.entry(name.to_owned()).or_default() += count;
            self.unload(name).map_err(|refused| refused.into_error(name, symbol))?;
        }
        Ok(())
    }

    fn attach_one(&mut self, name: &str, how: Attach, place: &Site<'_>) -> Result<(), NotAttached> {
        let &Site { symbol, address, .. } = place;
        let program = self.ebpf.program_mut(name).ok_or(NotAttached::NoProgram)?;
        match how {
            Attach::Kprobe | Attach::Kretprobe => {
                let program: &mut KProbe = program.try_into()?;
                if program.fd().is_err() {
                    program.load()?;
                }
                let fd = program.fd()?.as_fd();
                let symbol = place.qualified();
                let probe = Kprobe::attach(fd, name, &symbol, how == Attach::Kretprobe);
                let probe = probe.map_err(ProgramError::IOError)?;
                self.kprobes.entry(name.to_owned()).or_default().push(probe);
            }
            Attach::Fentry => {
                let program: &mut FEntry = program.try_into()?;
                program.load(symbol, &self.btf)?;
                program.attach()?;
            }
            Attach::Fexit => {
                let program: &mut FExit = program.try_into()?;
                program.load(symbol, &self.btf)?;
                program.attach()?;
            }
            Attach::Breakpoint => {
                let program: &mut PerfEvent = program.try_into()?;
                if program.fd().is_err() {
                    program.load()?;
                }
                for cpu in online_cpus().map_err(|(_, error)| ProgramError::IOError(error))? {
                    program.attach(
                        PerfEventConfig::Breakpoint(BreakpointConfig::Instruction { address }),
                        PerfEventScope::AllProcessesOneCpu { cpu },
                        SamplePolicy::Period(1),
                        false,
                    )?;
                }
            }
            Attach::RawTracepoint => {
                let program: &mut RawTracePoint = program.try_into()?;
                program.load()?;
                program.attach(symbol.split_once(':').map_or(symbol, |(_, name)| name))?;
            }
            Attach::Tracepoint => {
                let program: &mut TracePoint = program.try_into()?;
                program.load()?;
                let (category, name) = symbol.split_once(':').unwrap_or(("", symbol));
                program.attach(category, name)?;
            }
        }
        Ok(())
    }

    /// Takes a program off and out of the kernel.
    fn unload(&mut self, name: &str) -> Result<(), NotAttached> {
        self.kprobes.remove(name);
        match self.ebpf.program_mut(name).ok_or(NotAttached::NoProgram)? {
            Program::KProbe(program) => program.unload()?,
            Program::FEntry(program) => program.unload()?,
            Program::FExit(program) => program.unload()?,
            Program::PerfEvent(program) => program.unload()?,
            Program::RawTracePoint(program) => program.unload()?,
            Program::TracePoint(program) => program.unload()?,
            // No step has any other.
            _ => return Err(NotAttached::NoProgram),
        }
        Ok(())
    }

    /// Looks at the pages that breaks wait for, from time to time.
    pub(crate) fn sample(&mut self) -> Result<(), Error> {
        self.try_sample().map_err(|refused| refused.into_error("sample_waiters", "a timer"))
    }

    fn try_sample(&mut self) -> Result<(), NotAttached> {
        let program: &mut PerfEvent =
            self.ebpf.program_mut("sample_waiters").ok_or(NotAttached::NoProgram)?.try_into()?;
        program.load()?;
        program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu: 0 },
            SamplePolicy::Frequency(SAMPLES),
            false,
        )?;
        Ok(())
    }

    /// How many calls each program missed, by name.
    pub(crate) fn missed(&self) -> BTreeMap<String, u64> {
        let misses = if self.kprobes.is_empty() { BTreeMap::new() } else { kprobe::misses() };
        let programs = self.ebpf.programs().map(|(name, program)| {
            let past = self.past.get(name).copied().unwrap_or(0);
            let probes = self.missed_by_kprobes(name, &misses);
            (name.to_owned(), past + probes + kept_out(program).unwrap_or(0))
        });
        programs.filter(|(_, count)| *count > 0).collect()
    }

    fn missed_by_kprobes(&self, name: &str, misses: &BTreeMap<String, u64>) -> u64 {
        let probes = self.kprobes.get(name).map_or(&[][..], Vec::as_slice);
        probes.iter().map(|probe| probe.missed(misses)).sum()
    }

    /// How many steps the verifier took to believe a program.
    pub(crate) fn cost(&self, name: &str) -> u32 {
        let info = self.ebpf.program(name).and_then(|program| program.info().ok());
        info.and_then(|info| info.verified_instruction_count()).unwrap_or(0)
    }
}

/// Does each of the parts, or none: what was done before one that fails is undone.
fn all_or_none<C, P, E>(
    on: &mut C,
    parts: &[P],
    mut run: impl FnMut(&mut C, &P) -> Result<(), E>,
    mut undo: impl FnMut(&mut C, &P) -> Result<(), E>,
) -> Result<(), E> {
    for (n, part) in parts.iter().enumerate().rev() {
        if let Err(error) = run(on, part) {
            // The part that failed too: it may be half done.
            for done in &parts[n..] {
                // What was never done cannot be undone; the first error is the one to tell.
                let _ = undo(on, done);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// A program that is not there, or that the kernel did not take.
enum NotAttached {
    NoProgram,
    Kernel(Box<ProgramError>),
}

impl NotAttached {
    fn into_error(self, program: &str, symbol: &str) -> Error {
        match self {
            Self::NoProgram => Error::Lacks(format!("the program {program}")),
            Self::Kernel(source) => Error::Attach {
                program: program.to_owned(),
                symbol: symbol.to_owned(),
                said: brief(&source),
            },
        }
    }
}

impl From<ProgramError> for NotAttached {
    fn from(error: ProgramError) -> Self {
        Self::Kernel(Box::new(error))
    }
}

/// How often the kernel kept a program from running, because it ran already on that processor.
///
/// kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`: what `bpf_prog_info.recursion_misses` is, too.
fn kept_out(program: &Program) -> Option<u64> {
    // Of a program that is not attached there is nothing to miss.
    let fd = program.fd().ok()?;
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let told = fs::read_to_string(path).ok()?;
    told.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

/// What the kernel said, in one line: the verifier's log can have megabytes, and its reason is the
/// last line that is not a count.
fn brief(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        return match reason(&log) {
            Some(reason) => format!("{io_error}; the verifier: {reason}"),
            None => io_error.to_string(),
        };
    }
    chain(error)
}

/// The verifier's reason in its log.
fn reason(log: &str) -> Option<&str> {
    let counts = ["verification time", "stack depth", "processed", "insns processed"];
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !counts.iter().any(|count| line.starts_with(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_of_which_a_part_is_refused_leaves_nothing_attached() {
        let run = |attached: &mut Vec<&str>, part: &&'static str| {
            attached.push(part);
            if *part == "refused" { Err("no") } else { Ok(()) }
        };
        let undo = |attached: &mut Vec<&str>, part: &&'static str| {
            attached.retain(|known| known != part);
            Ok(())
        };
        let mut attached = Vec::new();
        assert_eq!(all_or_none(&mut attached, &["begin", "refused", "end"], run, undo), Err("no"));
        assert!(attached.is_empty(), "{attached:?}");
        assert_eq!(all_or_none(&mut attached, &["begin", "end"], run, undo), Ok(()));
        assert_eq!(attached, ["end", "begin"]);
    }

    #[test]
    fn the_verifiers_reason_is_before_its_counts() {
        let log = "646: (15) if r0 == 0x0 goto pc+1\nThe sequence of 8193 jumps is too complex.\n\
                   verification time 37822821 usec\nstack depth 168+0+16\ninsns processed 713264\n\
                   processed 713264 insns (limit 1000000)\n";
        assert_eq!(reason(log), Some("The sequence of 8193 jumps is too complex."));
        assert_eq!(reason(""), None);
    }
}
