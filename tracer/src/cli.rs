//! The command line: as typed, and what it asks for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use nix::sys::signal::{SigSet, Signal};
use program::pages;
use protocol::event::Counting;
use protocol::{Finding, HoldPoint, Ruling};
use serde::Serialize;
use tracer::holds::{self, HoldCheck, HoldProbes, Placed};
use tracer::hook;
use tracer::load;
use tracer::options::{Options, ProbeLog};
use tracer::preemption::preempts;
use tracer::stream::{INTERVAL, Stream, WatchOutcome};
use tracer::symbols::Symbols;
use tracer::{globals, session};

/// Watch the layout breaks of a mounted DAX file system and report what violates the protocol
#[derive(Debug, Parser)]
#[command(name = "tracer", version = program::VERSION, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Typed {
    #[command(subcommand)]
    command: Option<TypedCommand>,
    /// Watch the file system mounted from this block device
    #[arg(long, required = true, value_name = "DEVICE")]
    dev: Option<PathBuf>,
    /// Stop after this long (10s, 5m) [default: on Ctrl-C]
    #[arg(long, value_parser = time)]
    duration: Option<Duration>,
    /// Print findings as lines of JSON
    #[arg(long)]
    json: bool,
    /// Watch only the breaks and operations of this process
    #[arg(long)]
    pid: Option<u32>,
    /// Size of the ring buffer; a power of two
    #[arg(long, default_value_t = Options::default().ring_size, value_name = "BYTES", value_parser = ring_size)]
    ring_size: u32,
    /// Print which probe lost a record, or every record the probes see (to debug the probes)
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Said::Off)]
    probe_log: Said,
}

/// What `--probe-log` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Said {
    Off,
    Lost,
    All,
}

impl From<Said> for ProbeLog {
    fn from(said: Said) -> Self {
        match said {
            Said::Off => Self::Off,
            Said::Lost => Self::Lost,
            Said::All => Self::All,
        }
    }
}

#[derive(Debug, Subcommand)]
enum TypedCommand {
    /// Print the kernel function that each step of the protocol is traced at
    Hooks,
    /// Test every hold point on a mounted DAX file system and print the kernel function behind it
    Holds {
        /// Use the file system mounted from this block device
        #[arg(long, value_name = "DEVICE")]
        dev: PathBuf,
    },
    /// Put a load on a mounted DAX file system and print its rounds per second, mean and
    /// undisturbed, for ci/bench
    Bench {
        /// Use the file system mounted from this block device
        #[arg(long, value_name = "DEVICE")]
        dev: PathBuf,
        /// Write to this file or device with direct I/O from its start; its contents are lost
        #[arg(long, value_name = "PATH")]
        target: PathBuf,
        /// Run for this long
        #[arg(long, value_parser = time, default_value = "5s")]
        duration: Duration,
    },
    /// Print the manual page, or that of a command
    Man {
        /// Command to print it for
        #[arg(conflicts_with = "output")]
        command: Vec<String>,
        /// Write a page for each command to FOLDER instead
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
}

/// The name by which the user called this program: what it prints names it so. An installed one is
/// `daxtests-tracer`.
static NAME: LazyLock<String> =
    LazyLock::new(|| program::name(std::env::args_os().next().as_deref(), "tracer"));

/// The name.
pub(crate) fn name() -> &'static str {
    &NAME
}

/// All that can be typed, under the name by which the program was called.
fn command() -> clap::Command {
    Typed::command().name(name())
}

impl Typed {
    /// Takes the arguments of this process.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches()?)
    }
}

/// What a BPF ring may be: bpf(2), BPF_MAP_TYPE_RINGBUF.
fn ring_size(text: &str) -> Result<u32, String> {
    const PAGE: u32 = 4096;
    match text.parse::<u32>() {
        Ok(bytes) if bytes.is_power_of_two() && bytes >= PAGE => Ok(bytes),
        _ => Err(format!("must be a power of two, at least {PAGE}")),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("the duration must be longer than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Does what was asked; returns whether all is well.
pub(crate) fn run(arguments: &Typed) -> Result<bool> {
    match (&arguments.command, &arguments.dev) {
        (Some(TypedCommand::Hooks), _) => hooks().map(|()| true),
        (Some(TypedCommand::Bench { dev, target, duration }), _) => {
            let rate = load::run(dev, target, *duration)?;
            writeln!(std::io::stdout(), "{:.1} {:.1}", rate.mean, rate.undisturbed)?;
            Ok(true)
        }
        (Some(TypedCommand::Holds { dev }), _) => check_holds(dev),
        (Some(TypedCommand::Man { output: None, command: words }), _) => {
            write!(std::io::stdout(), "{}", pages::page(command(), words)?)?;
            Ok(true)
        }
        (Some(TypedCommand::Man { output: Some(folder), .. }), _) => {
            for path in pages::write(command(), folder)? {
                writeln!(std::io::stdout(), "wrote {}", path.display())?;
            }
            Ok(true)
        }
        (None, Some(_)) => watch(arguments),
        (None, None) => unreachable!("clap asks for --dev"),
    }
}

fn hooks() -> Result<()> {
    session::preconditions()?;
    let symbols = Symbols::read()?;
    let idle = match globals::counting(&symbols) {
        Counting::IdleAtOne => 1,
        Counting::IdleAtZero => 0,
    };
    // No `println!`, which panics when the reader has seen enough.
    let mut out = std::io::stdout().lock();
    writeln!(out, "a page is idle at refs={idle}")?;
    for resolved in hook::resolve(&symbols, preempts(), None) {
        let step = format!(
            "{}{}",
            resolved.step.name,
            resolved.step.file_system.map_or(String::new(), |name| format!(" ({name})"))
        );
        let missing = resolved.step.file_system.filter(|name| !hook::is_loaded(name));
        if let Some(name) = missing {
            // What carries the step once it is there cannot be known.
            writeln!(out, "{step:<28} - ({name} is not loaded)")?;
        } else if let Some((alternative, symbol)) = resolved.chosen {
            let ways: Vec<String> = alternative
                .programs
                .iter()
                .map(|(_, how)| format!("{how:?}").to_lowercase())
                .collect();
            let when = resolved.step.when.words();
            writeln!(out, "{step:<28} {symbol:<36} {}{when}", ways.join(" + "))?;
        } else {
            let looked: Vec<&str> =
                resolved.step.alternatives.iter().map(|way| way.symbol).collect();
            let why = if resolved.step.needed { "needed" } else { "done without" };
            writeln!(out, "{step:<28} - ({why}; looked for {})", looked.join(", "))?;
        }
    }
    Ok(())
}

/// Prints what came of each point; whether a task was held at all that this kernel has.
fn check_holds(dev: &Path) -> Result<bool> {
    let holds = HoldProbes::attach()?;
    let mut out = std::io::stdout().lock();
    let mut all = true;
    for point in HoldPoint::ALL {
        let (place, came) = match holds.placed(*point) {
            Ok(Placed { symbol, how }) => {
                let came = match holds::check(&holds, dev, *point)? {
                    HoldCheck::Held => "held".to_owned(),
                    HoldCheck::Missed(why) => {
                        all = false;
                        format!("not held: {why}")
                    }
                    HoldCheck::Absent(why) => format!("nobody comes by: {why}"),
                };
                (format!("{symbol} {}", format!("{how:?}").to_lowercase()), came)
            }
            Err(why) => ("-".to_owned(), format!("cannot be held: {why}")),
        };
        writeln!(out, "{:<16} {place:<36} {came}", point.name())?;
    }
    Ok(all)
}

fn watch(arguments: &Typed) -> Result<bool> {
    let path = arguments.dev.as_deref().context("--dev is missing")?;
    if let Some(process) = arguments.pid
        && !Path::new("/proc").join(process.to_string()).exists()
    {
        // Nothing would be seen of it, and nothing held against it.
        bail!("--pid: there is no process {process}");
    }
    let options = Options {
        process: arguments.pid,
        ring_size: arguments.ring_size,
        probe_log: arguments.probe_log.into(),
        ..Options::default()
    };
    stop_on_signals()?;
    let mut stream = Stream::open(path, &options)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        tell(
            &mut out,
            &Line::Watching {
                device: path,
                file_system: &stream.device().file_system,
                mount: &stream.device().mount,
            },
        )?;
    }
    note(&format!(
        "watching {} ({} on {}); the self-check saw its break",
        path.display(),
        stream.device().file_system,
        stream.device().mount.display()
    ));
    if let Some(why) = &stream.device().blocks.unknown {
        note(&format!("note: cannot tell which page a freed block is: {why}"));
    }
    let own = stream.self_check().to_vec();
    for finding in &own {
        note("the self-check's own break violated the protocol:");
        print(&mut out, arguments.json, &stream, finding)?;
    }
    let end = arguments.duration.map(|duration| Instant::now() + duration);
    while !STOP.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        for finding in stream.pump() {
            print(&mut out, arguments.json, &stream, &finding)?;
        }
        tell_refusals(&mut stream);
        std::thread::sleep(INTERVAL);
    }
    for finding in stream.pump_all() {
        print(&mut out, arguments.json, &stream, &finding)?;
    }
    tell_refusals(&mut stream);
    let (_, outcome) = stream.finish();
    conclude(&mut out, arguments.json, &outcome)?;
    Ok(outcome.ruling == Ruling::Holds)
}

fn tell_refusals(stream: &mut Stream) {
    for refusal in stream.refusals() {
        note(&format!("note: {refusal}"));
    }
}

/// Tells something on standard error. That this cannot be told has no place to be told.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Ctrl-C ends the watch, not the program.
fn stop_on_signals() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("blocking signals")?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            STOP.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// A line of `--json`. What is not known of a finding is not there.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line<'l> {
    /// The probes see; nothing before this is judged.
    Watching { device: &'l Path, file_system: &'l str, mount: &'l Path },
    /// A rule was broken.
    Finding {
        rule: &'static str,
        how: &'static str,
        text: &'l str,
        tasks: &'l [u32],
        /// Of the tasks.
        names: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        inode: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        page: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        function: Option<&'l str>,
        events: &'l [u64],
        /// Of the events.
        stacks: Vec<Vec<String>>,
    },
    /// The watch is over.
    Ended {
        verdict: &'static str,
        findings: usize,
        /// What was not seen that a verdict needs.
        lost: u64,
        /// The same in words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What was not seen that no verdict needs.
        unseen: u64,
        peak: usize,
        records: u64,
        breaks: u64,
        waits: u64,
        pins: u64,
    },
}

fn tell(out: &mut impl Write, line: &Line<'_>) -> Result<()> {
    let json = serde_json::to_string(line).context("a line of JSON")?;
    writeln!(out, "{json}")?;
    out.flush()?;
    Ok(())
}

fn print(out: &mut impl Write, json: bool, stream: &Stream, finding: &Finding) -> Result<()> {
    let events: Vec<_> = finding.events.iter().filter_map(|&n| stream.event(n)).collect();
    if json {
        let known = |number| (number != 0).then_some(number);
        tell(
            out,
            &Line::Finding {
                rule: finding.rule.id(),
                how: finding.how.id(),
                text: &finding.text,
                tasks: &finding.tasks,
                names: finding.tasks.iter().map(|&task| stream.task(task)).collect(),
                inode: known(finding.inode),
                page: known(finding.page),
                index: finding.index,
                function: finding.function.as_deref(),
                events: &finding.events,
                stacks: events.iter().map(|event| stream.session().stack(event.stack)).collect(),
            },
        )?;
    } else {
        let tasks: Vec<String> = finding.tasks.iter().map(|&task| stream.task(task)).collect();
        writeln!(out, "{}: {} ({})", finding.rule, finding.text, tasks.join(", "))?;
        for event in events {
            for frame in stream.session().stack(event.stack).iter().take(12) {
                writeln!(out, "    {frame}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn conclude(out: &mut impl Write, json: bool, outcome: &WatchOutcome) -> Result<()> {
    let (word, findings) = match &outcome.ruling {
        Ruling::Holds => ("holds", 0),
        Ruling::Violated(findings) => ("violated", findings.len()),
        Ruling::Undecided => ("undecided", 0),
    };
    if json {
        let lost = outcome.unseen.total();
        return tell(
            out,
            &Line::Ended {
                verdict: word,
                findings,
                lost,
                reason: (lost > 0).then(|| outcome.unseen.to_string()),
                unseen: outcome.needless,
                peak: outcome.peak,
                records: outcome.summary.records,
                breaks: outcome.summary.breaks,
                waits: outcome.summary.waits,
                pins: outcome.summary.pins,
            },
        );
    }
    write!(out, "{}", outcome.summary)?;
    let unseen = &outcome.unseen;
    writeln!(out, "not seen: {unseen}; at most {} records waited to be judged", outcome.peak)?;
    if outcome.needless > 0 {
        writeln!(out, "{} calls were not seen, none that a verdict needs", outcome.needless)?;
    }
    match outcome.ruling {
        Ruling::Holds => writeln!(out, "the protocol held in all that was seen")?,
        Ruling::Violated(_) => writeln!(out, "the protocol was violated: {findings} findings")?,
        Ruling::Undecided => {
            let larger = if unseen.lost > 0 { "; try a larger --ring-size" } else { "" };
            writeln!(out, "undecided: {unseen}; the absence of findings proves nothing{larger}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Typed::command().debug_assert();
    }
}
