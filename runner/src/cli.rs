//! The arguments, as typed and as understood.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cases::{Case, Excluded};
use clap::builder::{PathBufValueParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::{ArgValueCandidates, ArgValueCompleter, Shell};
use program::suggest;
use reference::Variant;

use crate::complete;
use crate::destination::Destination;
use crate::exit;
use crate::explore::{self, ExploreRequest};
use crate::export::shortest::{self, ShortestRequest};
use crate::export::{ExportRequest, Exportable};
use crate::finds;
use crate::fs::FsType;
use crate::fuzz::FuzzRequest;
use crate::history::History;
use crate::known::{Deviations, KnownFile};
use crate::name;
use crate::plan::{Caller, Keep, Plan};
use crate::report::Format;
use crate::report::compare::{self, Form};
use crate::report::kcidb::{self, Origin, Submission};
use crate::results::Results;
use crate::retell::Retelling;
use crate::run::RunRequest;
use crate::runs::Runs;
use crate::select::{self, Exclusion, Selection, exclude_file};
use crate::shard::{Shard, Share};
use crate::target::{self, Target};

/// Test the layout break of filesystem DAX on a real kernel.
///
/// Makes a file system on the device, mounts it with DAX, runs each case in a process of its
/// own, and compares what happened with what must happen. Everything on the device is lost. A
/// device that is in use, or that carries anything daxtests did not make, is refused.
#[derive(Debug, Parser)]
#[command(
    name = "runner",
    version = program::VERSION,
    args_conflicts_with_subcommands = true,
    after_long_help = exit::table()
)]
pub(crate) struct Typed {
    #[command(subcommand)]
    command: Option<TypedCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum TypedCommand {
    /// Rebuild the reports of a run from its journal, even if it was cut off, or make one report of
    /// several
    ///
    /// With one folder, rebuild the reports in it. With several (shards of a run, other kernels or
    /// file systems), change none of them and write one combined report, with one suite for each
    /// kernel, file system and shape. Two results of one case in a suite are an error. A run with a
    /// missing shard is incomplete.
    ///
    /// The exit code covers all runs.
    Report {
        /// Results folder of a run; repeatable
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Write the JUnit report to PATH, too; with '-' it goes to stdout, and all other output to
        /// stderr
        #[arg(long, value_name = "PATH")]
        junit: Option<PathBuf>,
        /// Write the HTML report to PATH, too; with '-' it goes to stdout, and all other output to
        /// stderr
        #[arg(long, value_name = "PATH")]
        html: Option<PathBuf>,
        /// Write a report for KCIDB, KernelCI's database, to PATH; nothing is sent. With '-' it goes to
        /// stdout, and all other output to stderr
        #[arg(long, value_name = "PATH", requires_all = ["kcidb_build", "kcidb_origin"])]
        kcidb: Option<PathBuf>,
        /// With --kcidb: the id of the tested build in KCIDB, such as 'maestro:65c0f1d2'
        #[arg(long, value_name = "ORIGIN:ID", value_parser = kcidb::parse_build, requires = "kcidb")]
        kcidb_build: Option<String>,
        /// With --kcidb: the name under which your CI system reports to KCIDB
        #[arg(long, value_name = "ORIGIN", value_parser = Origin::parse, requires = "kcidb")]
        kcidb_origin: Option<Origin>,
        /// Print the summary, the events of the journals, or KTAP
        #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
        format: Format,
    },
    /// Compare two runs: new failures, fixed cases, cases that did not run
    ///
    /// With one folder, compare the last run in it with the one before: in a folder of --runs, the
    /// last on the same file system and shape; in a results folder, that in previous/. Without any,
    /// do so in daxtests-results.
    ///
    /// Exit with 1 if a case fails in NEW that did not fail in OLD, if NEW is incomplete or lacks a
    /// planned result, or if something outside of the cases went wrong in NEW only.
    Compare {
        /// Results folder, or journal, of the run to compare with
        #[arg(default_value = RESULTS, hide_default_value = true)]
        old: PathBuf,
        /// Results folder, or journal, of the run to judge
        new: Option<PathBuf>,
        /// Output format: for people, programs or a pull request
        #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORMAT")]
        format: Form,
    },
    /// Print a case as a C program that needs nothing of daxtests
    ///
    /// The program does what the case, or a program of the fuzzer, does. It exits with 0 if the
    /// kernel does what it must, 1 if not, and 2 if it could not be tried.
    Export {
        /// Case to export, its folder in the results, or a program that `runner fuzz` left (its
        /// .json)
        #[arg(value_name = "CASE|FILE", add = ArgValueCompleter::new(complete::cases))]
        case: String,
        /// Add it as a test to this checkout of xfstests instead: a program below src/, a test and
        /// its output below tests/generic/. Files that are there stay as they are
        #[arg(long, value_name = "DIR")]
        xfstests: Option<PathBuf>,
        /// Drop every step without which it still fails in the same way, on the file system that --fs
        /// and --dev name (its contents are lost), or on the reference with --variant
        ///
        /// The steps of a case become a program of the fuzzer: what must come of each, the reference
        /// says. A case that leaves the outcome open is refused, and so is what shows to an oracle or a
        /// rule alone.
        #[arg(long)]
        minimize: bool,
        #[command(flatten)]
        target: TargetArgs,
        /// With --minimize: enable a historical bug in the reference
        #[arg(long, value_name = "NAME", requires = "minimize", value_parser = known_variant, add = ArgValueCandidates::new(complete::variants))]
        variant: Option<Variant>,
        /// With --minimize: multiply every time limit; for slow machines
        #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "minimize", value_parser = factor)]
        timeout_factor: f64,
    },
    /// List the kernel bugs found so far, index where each was seen, report one as a mail
    #[command(subcommand)]
    Finds(FindsCommand),
    /// Run random programs on a file system and on the reference, and compare
    Fuzz(FuzzArgs),
    /// Force every interleaving of two short operations
    ///
    /// Hold tasks inside the kernel to force each order, and check what must hold in every order.
    /// Orders that a lock rules out are reported as such. A kernel needs root, two CPUs and BPF.
    Explore(ExploreArgs),
    /// Show which case and which rule catches each bug of the reference
    Variants {
        /// Stop at the first case that catches each bug instead of listing all
        #[arg(long)]
        first: bool,
        /// List the bugs and exit
        #[arg(long, conflicts_with_all = ["first", "table", "format"])]
        list: bool,
        /// Update FILE, the table of what makes each case fail: expected/red.toml
        #[arg(long, value_name = "FILE", conflicts_with_all = ["first", "format"])]
        table: Option<PathBuf>,
        /// Output format: text, or one JSON document
        #[arg(long, value_parser = text_or_json, default_value = "text", value_name = "FORMAT")]
        format: Format,
    },
    /// Write a stub for a case that is not a cell; change no existing file
    New {
        /// Its name: GROUP/NAME
        name: String,
    },
    /// Print a shell completion script
    Completions {
        /// Shell to print it for
        shell: Shell,
    },
    /// Print the manual page, or that of a command
    Man {
        /// Command to print it for, such as 'finds mail'
        #[arg(conflicts_with = "output")]
        command: Vec<String>,
        /// Write a page for each command to FOLDER instead
        #[arg(long, value_name = "FOLDER", value_parser = folder())]
        output: Option<PathBuf>,
    },
    /// Release what killed cases left behind
    #[command(name = "__sweep", hide = true)]
    Sweep {
        #[arg(long)]
        milliseconds: u64,
    },
}

#[derive(Debug, Subcommand)]
enum FindsCommand {
    /// List the finds: number, id, severity, what is wrong
    List {
        /// Output format: text, or one JSON document
        #[arg(long, value_parser = text_or_json, default_value = "text", value_name = "FORMAT")]
        format: Format,
    },
    /// Print an index in Markdown of the kernels and file systems on which each find was seen
    ///
    /// Read the given results or, without any, what docs/finds/seen.json has recorded.
    Index {
        /// Results folders, or journals, of runs on kernels
        results: Vec<PathBuf>,
        /// Add the results to DIR/finds/seen.json, and rewrite the index (DIR/finds.md) and the
        /// facts on each page in DIR/finds
        #[arg(long, value_name = "DIR")]
        update: Option<PathBuf>,
        /// With --update: discard earlier results
        #[arg(long, requires = "update", requires = "results")]
        fresh: bool,
    },
    /// Name the find that explains each finding of a tracer, as one JSON document
    ///
    /// Compare with what expected/known.toml lists for this kernel and file system. Only finds count
    /// that loads meet which are no cases.
    Explain {
        /// File system that was traced
        #[arg(long)]
        fs: FsType,
        /// What the tracer printed with --json; with '-' it is read from stdin
        #[arg(value_name = "FILE")]
        findings: PathBuf,
    },
    /// Print a mail that reports a find to the maintainers of the code; send nothing
    Mail {
        /// Number or id of the find
        #[arg(add = ArgValueCandidates::new(complete::finds))]
        find: String,
    },
}

impl FindsCommand {
    fn understand(self) -> anyhow::Result<finds::FindsRequest> {
        Ok(match self {
            Self::List { format } => finds::FindsRequest::List { json: format == Format::Json },
            Self::Index { results, update, fresh } => {
                finds::FindsRequest::Index { results, update, fresh }
            }
            Self::Explain { fs, findings } => finds::FindsRequest::Explain {
                path: findings,
                target: Target { fs, ..Target::reference() },
            },
            Self::Mail { find } => {
                let (find, facts) = finds::named(&find)?;
                finds::FindsRequest::Mail(find, facts)
            }
        })
    }
}

/// Arguments that say what a run is to do. A run that is resumed has its own.
const PLANNING: [&str; 25] = [
    "names",
    "variant",
    "no_reflink",
    "shape",
    "mkfs_options",
    "mount_options",
    "force",
    "group",
    "find",
    "exclude",
    "exclude_file",
    "shard",
    "last_failed",
    "list",
    "iterations",
    "duration",
    "until_fail",
    "seed",
    "require",
    "timeout_factor",
    "bless",
    "known",
    "results",
    "runs",
    "keep",
];

/// Arguments that only a run heeds. None is to be passed over in silence.
const RUNNING: [&str; 18] = [
    "fs",
    "dev",
    "variant",
    "no_reflink",
    "shape",
    "mkfs_options",
    "mount_options",
    "force",
    "iterations",
    "duration",
    "until_fail",
    "seed",
    "require",
    "timeout_factor",
    "bless",
    "trace",
    "known",
    "junit",
];

/// Where results go if nobody says.
const RESULTS: &str = "daxtests-results";

/// What is tested, as typed.
#[derive(Args, Debug)]
struct TargetArgs {
    /// File system to test
    #[arg(long)]
    fs: Option<FsType>,
    /// Make the file system on this device; its contents are lost. Repeatable, for shapes that use
    /// several
    #[arg(long, value_name = "PATH")]
    dev: Vec<PathBuf>,
    /// Make, mount or place the file system in this way (see --list-shapes); repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',', add = ArgValueCandidates::new(complete::shapes))]
    shape: Vec<String>,
    /// Make XFS without reflink: --shape no-reflink
    #[arg(long)]
    no_reflink: bool,
    /// Pass these options to mkfs, as in MKFS_OPTIONS of xfstests; they override the defaults
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    mkfs_options: Option<String>,
    /// Add mount options, as in MOUNT_OPTIONS of xfstests, with or without -o
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    mount_options: Option<String>,
    /// Overwrite the device even if daxtests did not make what is on it
    #[arg(long)]
    force: bool,
}

impl TargetArgs {
    /// Whether anything of it was typed.
    fn is_given(&self) -> bool {
        let Self { fs, dev, shape, no_reflink, mkfs_options, mount_options, force } = self;
        fs.is_some()
            || !dev.is_empty()
            || !shape.is_empty()
            || *no_reflink
            || *force
            || mkfs_options.is_some()
            || mount_options.is_some()
    }

    /// The target on `fs`, if all of it goes together.
    fn understand(self, fs: FsType) -> anyhow::Result<Target> {
        let mut shapes = self.shape;
        if self.no_reflink {
            needs_a_kernel(fs, &[("--no-reflink", true)])?;
            if fs != FsType::Xfs {
                bail!("{} has no reflink: --no-reflink is for --fs xfs", fs.name());
            }
            shapes.push("no-reflink".to_owned());
        }
        let parsed = |name, typed: Option<String>, parse: fn(&str) -> Result<_, String>| {
            let words = typed.map(|text| parse(&text)).transpose();
            words.map(Option::unwrap_or_default).map_err(|why| anyhow::anyhow!("{name}: {why}"))
        };
        let target = Target {
            fs,
            devices: self.dev,
            shapes,
            mkfs_options: parsed("--mkfs-options", self.mkfs_options, target::mkfs_options)?,
            mount_options: parsed("--mount-options", self.mount_options, target::mount_options)?,
            force: self.force,
        };
        target.check()?;
        Ok(target)
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Args, Debug)]
struct RunArgs {
    /// Cases to run: names or globs such as 'waits/punch/**' [default: all but those
    /// in group dangerous, which can crash the kernel]
    #[arg(value_name = "CASE", add = ArgValueCompleter::new(complete::cases))]
    names: Vec<String>,

    #[command(flatten)]
    target: TargetArgs,
    /// Enable a historical bug in the reference; the run should fail
    #[arg(long, value_name = "NAME", value_parser = variant, add = ArgValueCandidates::new(complete::variants))]
    variant: Option<String>,

    /// Run the cases of this group; repeatable
    #[arg(short, long, value_name = "GROUP", help_heading = "Selection", add = ArgValueCandidates::new(complete::groups))]
    group: Vec<String>,
    /// Run the cases that show this find of docs/finds.md, given by its id; repeatable
    #[arg(long, value_name = "ID", help_heading = "Selection", add = ArgValueCandidates::new(complete::finds))]
    find: Vec<String>,
    /// Exclude a case, a glob or a group; repeatable
    #[arg(short = 'x', long, value_name = "CASE", help_heading = "Selection", add = ArgValueCompleter::new(complete::excludable))]
    exclude: Vec<String>,
    /// Exclude what FILE lists, one a line; '#' starts a comment
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    exclude_file: Vec<PathBuf>,
    /// Run share I of N of the selected cases; a case is always in the same share
    #[arg(long, value_name = "I/N", help_heading = "Selection")]
    shard: Option<Shard>,
    /// Rerun the cases that needed attention or did not finish in the last run; its results move to
    /// previous/ in the results folder
    #[arg(long, help_heading = "Selection")]
    last_failed: bool,
    /// List the selected cases instead of running them
    #[arg(long, help_heading = "Selection", conflicts_with_all = RUNNING)]
    list: bool,
    /// List the shapes that --shape knows
    #[arg(long, help_heading = "Selection", exclusive = true)]
    list_shapes: bool,
    /// With --list: list the combinations that are no case instead, with the reasons
    #[arg(
        long,
        help_heading = "Selection",
        requires = "list",
        conflicts_with_all = ["group", "find", "exclude", "exclude_file", "shard", "last_failed"]
    )]
    excluded: bool,
    /// Check the arguments and do nothing: for ci/vm, before it boots
    #[arg(long, hide = true, conflicts_with = "list")]
    check: bool,
    /// How the user called what calls the runner, file system and all: for ci/vm
    #[arg(long, hide = true, value_name = "COMMAND")]
    called_as: Option<String>,

    /// Run all cases this many times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Repetition")]
    iterations: Option<u64>,
    /// Repeat the cases until this much time has passed: 10m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Repetition")]
    duration: Option<Duration>,
    /// Repeat the cases until one needs attention
    #[arg(long, help_heading = "Repetition")]
    until_fail: bool,
    /// Seed of everything random [default: a new one, which is printed]
    #[arg(long, value_name = "NUMBER", help_heading = "Repetition")]
    seed: Option<u64>,

    /// Fail if a case cannot run here
    #[arg(long, help_heading = "Judgement")]
    require: bool,
    /// Read more known deviations, or fixes that this kernel has, from FILE; repeatable. The head of
    /// expected/known.toml describes the format
    #[arg(long, value_name = "FILE", help_heading = "Judgement")]
    known: Vec<PathBuf>,
    /// Multiply every time limit, for slow machines and kernels
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor, help_heading = "Judgement")]
    timeout_factor: f64,
    /// Write the transcripts of passing cases to DIR instead of comparing them
    #[arg(long, value_name = "DIR", value_parser = folder(), help_heading = "Judgement")]
    bless: Option<PathBuf>,

    /// Trace each case with eBPF and judge it by the rules of the protocol, too; keep every timeline,
    /// or only those of cases that need attention
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "all", value_name = "WHICH", conflicts_with = "resume", help_heading = "Judgement")]
    trace: Option<Keep>,

    /// Write the results to DIR [default: daxtests-results]; earlier ones move to previous/ in it.
    /// A folder that is neither empty nor made by daxtests is refused
    #[arg(long, value_name = "DIR", value_parser = folder(), help_heading = "Results")]
    results: Option<PathBuf>,
    /// Write the results to a new folder in DIR, named after the time (UTC), the file system and the
    /// kernel; the link DIR/latest leads to the last run that came to a case. --last-failed reads that
    #[arg(long, value_name = "DIR", value_parser = folder(), conflicts_with = "results", help_heading = "Results")]
    runs: Option<PathBuf>,
    /// With --runs: when the run is over, remove the oldest until N are left, this one included
    /// [default: keep all]
    #[arg(long, value_name = "N", requires = "runs", value_parser = RangedU64ValueParser::<usize>::new().range(1..), help_heading = "Results")]
    keep: Option<usize>,
    /// Write the JUnit report to PATH, too; with '-' it goes to stdout, and all other output to
    /// stderr
    #[arg(long, value_name = "PATH", help_heading = "Results")]
    junit: Option<PathBuf>,
    /// Resume the run in DIR with its options, after the last case that it began
    #[arg(long, value_name = "DIR", conflicts_with_all = PLANNING, help_heading = "Results")]
    resume: Option<PathBuf>,
    /// Output format; --list has no ktap
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Results")]
    format: Format,
}

#[derive(Args, Debug)]
struct FuzzArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Compare the reference with this bug to the reference without it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["fs", "dev", "shape", "no_reflink", "mkfs_options", "mount_options", "force"], value_parser = known_variant, add = ArgValueCandidates::new(complete::variants))]
    against_variant: Option<Variant>,
    /// Run for this long: 10m, 1h30m [default: 1m]. With --replay, repeat the programs until one
    /// diverges or the time is up
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Seed of the first program; each further one has the next
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Steps in a program before it is shrunk
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    steps: usize,
    /// Replay a saved program, or every program in a folder; repeatable
    #[arg(long, value_name = "PATH", conflicts_with_all = ["seed", "steps", "results"])]
    replay: Vec<PathBuf>,
    /// Read more known deviations, or fixes that this kernel has, from FILE; repeatable. The head of
    /// expected/known.toml describes the format
    #[arg(long, value_name = "FILE", conflicts_with = "against_variant")]
    known: Vec<PathBuf>,
    /// Multiply every time limit; for slow machines
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    timeout_factor: f64,
    /// Write programs that diverge to DIR [default: daxtests-results/fuzz]. A folder that is
    /// neither empty nor made by daxtests is refused
    #[arg(long, value_name = "DIR", value_parser = folder())]
    results: Option<PathBuf>,
    /// Output format; json prints one document at the end, and text for people to stderr
    #[arg(long, value_parser = text_or_json, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

impl FuzzArgs {
    fn understand(
        self,
        program: PathBuf,
        chance: u64,
        caller: Caller,
    ) -> anyhow::Result<FuzzRequest> {
        let target = match (self.target.fs, self.against_variant) {
            (Some(fs), _) => self.target.understand(fs)?,
            (None, Some(_)) => Target::reference(),
            (None, None) => {
                bail!("say what to fuzz: --fs with --dev PATH, or --against-variant NAME")
            }
        };
        let seed = self.seed.unwrap_or(chance % 1_000_000_000);
        let known = KnownFile::read(&self.known)?;
        let plan = Plan {
            duration: self.duration,
            timeout_factor: self.timeout_factor,
            known,
            ..plan_of_programs(target, seed, caller)
        };
        Ok(FuzzRequest {
            plan,
            variant: self.against_variant,
            duration: self.duration,
            steps: self.steps,
            replay: self.replay,
            json: self.format == Format::Json,
            results: results_of(self.results, "fuzz"),
            program,
        })
    }
}

#[derive(Args, Debug)]
struct ExploreArgs {
    /// Pairs of operations to explore: names or globs such as 'punch+*' [default: all]
    #[arg(value_name = "PAIR", add = ArgValueCandidates::new(complete::pairs))]
    pairs: Vec<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// Enable a historical bug in the reference; the exploration should find it
    #[arg(long, value_name = "NAME", value_parser = known_variant, add = ArgValueCandidates::new(complete::variants))]
    variant: Option<Variant>,
    /// List the pairs instead of exploring them
    #[arg(long, conflicts_with_all = ["fs", "dev", "variant", "shape", "no_reflink", "mkfs_options", "mount_options", "force", "replay", "known", "results", "format"])]
    list: bool,
    /// Replay a saved order, or every order in a folder; repeatable
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pairs", "results"])]
    replay: Vec<PathBuf>,
    /// Read more known deviations, or fixes that this kernel has, from FILE; repeatable. The head of
    /// expected/known.toml describes the format
    #[arg(long, value_name = "FILE", conflicts_with = "variant")]
    known: Vec<PathBuf>,
    /// Multiply every time limit; for slow machines
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    timeout_factor: f64,
    /// Write the journal and what was found to DIR [default: daxtests-results/explore]. A folder that
    /// is neither empty nor made by daxtests is refused
    #[arg(long, value_name = "DIR", value_parser = folder())]
    results: Option<PathBuf>,
    /// Output format; json prints one document at the end, and text for people to stderr
    #[arg(long, value_parser = text_or_json, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

impl ExploreArgs {
    fn understand(self, program: PathBuf, caller: Caller) -> anyhow::Result<Command> {
        let pairs = explore::select(&self.pairs)?;
        if self.list {
            return Ok(Command::ListPairs(pairs));
        }
        let Some(fs) = self.target.fs else {
            bail!("say what to explore: --fs xfs or --fs ext4 with --dev PATH, or --fs reference");
        };
        if self.variant.is_some() && fs != FsType::Reference {
            bail!("only the reference has variants: --fs reference");
        }
        needs_a_kernel(fs, &[("--known", !self.known.is_empty())])?;
        let target = self.target.understand(fs)?;
        let known = KnownFile::read(&self.known)?;
        let plan = Plan {
            timeout_factor: self.timeout_factor,
            known,
            ..plan_of_programs(target, 0, caller)
        };
        let json = self.format == Format::Json;
        let results = results_of(self.results, "explore");
        let variant = self.variant;
        if !self.replay.is_empty() {
            let (duration, steps, replay) = (None, 1, self.replay);
            let request =
                FuzzRequest { plan, variant, duration, steps, replay, json, results, program };
            return Ok(Command::Fuzz(Box::new(request)));
        }
        let request = ExploreRequest { plan, variant, pairs, json, results, program };
        Ok(Command::Explore(Box::new(request)))
    }
}

/// What those commands plan that run programs, not cases.
fn plan_of_programs(target: Target, seed: u64, caller: Caller) -> Plan {
    Plan {
        target,
        variant: None,
        cases: Vec::new(),
        shard: None,
        iterations: None,
        duration: None,
        until_fail: false,
        require: false,
        seed,
        timeout_factor: 1.0,
        bless: None,
        trace: None,
        known: Vec::new(),
        caller,
    }
}

/// The folders to make in turn, the last for what `command` leaves: what is made inside the usual
/// folder must not make that somebody else's.
fn results_of(typed: Option<PathBuf>, command: &str) -> Vec<PathBuf> {
    match typed {
        Some(folder) => vec![folder],
        None => vec![RESULTS.into(), Path::new(RESULTS).join(command)],
    }
}

/// What is exported: a case, by its name or its folder in some results, or a program in a file.
fn exportable(named: String) -> anyhow::Result<Exportable> {
    let path = Path::new(&named);
    if path.is_file() {
        return Ok(Exportable::Replay(path.to_owned()));
    }
    let name = if path.is_dir() { Results::case_of(path)? } else { named };
    let one = Selection { names: vec![name], ..Selection::default() };
    match one.of(&cases::all())?[..] {
        [case] => Ok(Exportable::Case(case)),
        ref many => bail!("{} cases match; name one", many.len()),
    }
}

fn known_variant(text: &str) -> Result<Variant, String> {
    text.parse().map_err(|unknown: String| {
        let names = Variant::ALL.iter().map(|variant| variant.name());
        match suggest::nearest(text, names) {
            Some(name) => format!("did you mean {name}? `{} variants` shows all", name::own()),
            None => unknown,
        }
    })
}

fn variant(text: &str) -> Result<String, String> {
    Ok(known_variant(text)?.to_string())
}

/// A format that is not the kernel's test protocol, which knows nothing but tests.
fn text_or_json(text: &str) -> Result<Format, String> {
    match Format::from_str(text, false) {
        Ok(format) if format != Format::Ktap => Ok(format),
        _ => Err("must be text or json".to_owned()),
    }
}

/// A folder that will be made. `-`, which is standard output where a file is named, is none.
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new()
        .try_map(|path| if path == Path::new("-") { Err("name a folder") } else { Ok(path) })
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("the duration must be longer than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// Refuses what only a kernel's file system has: the reference would pass over it.
fn needs_a_kernel(fs: FsType, given: &[(&str, bool)]) -> anyhow::Result<()> {
    match given.iter().find(|(_, is_given)| *is_given && fs == FsType::Reference) {
        Some((name, _)) => bail!("the reference has no {name}: use it with --fs xfs or --fs ext4"),
        None => Ok(()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if f64::is_finite(factor) && (0.1..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 0.1 to 1000 is needed".to_owned()),
    }
}

/// All that can be typed, under the name by which the program was called.
pub(crate) fn command() -> clap::Command {
    Typed::command().name(name::own())
}

/// What to do, ready to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Nothing: the arguments are good.
    Nothing,
    /// Print the shapes.
    ListShapes,
    /// Run cases.
    Run(Box<RunRequest>),
    /// Print the selected cases.
    List {
        /// Which.
        cases: Vec<&'static Case>,
        /// How.
        format: Format,
    },
    /// Print these combinations of coordinates that are no cell, and why.
    Excluded(Vec<&'static Excluded>, Format),
    /// Begin a case of this name.
    New(String),
    /// Report runs again.
    Report(Retelling),
    /// Compare two runs.
    Compare {
        /// The one to compare with.
        old: PathBuf,
        /// The one to judge.
        new: PathBuf,
        /// How to tell.
        format: Form,
    },
    /// Export a case or a program of the fuzzer.
    Export(Box<ExportRequest>),
    /// Tell of the finds.
    Finds(finds::FindsRequest),
    /// Hold a file system against the reference.
    Fuzz(Box<FuzzRequest>),
    /// Have operations meet in every order.
    Explore(Box<ExploreRequest>),
    /// Name the pairs of operations that can meet.
    ListPairs(Vec<String>),
    /// Show what catches each variant of the reference.
    Variants {
        /// Stop at the first case that catches each.
        first: bool,
        /// Only name them.
        list: bool,
        /// Bring this table of what turns each case red up to date instead.
        table: Option<PathBuf>,
        /// How to tell.
        format: Format,
    },
    /// Print a completion script.
    Completions(Shell),
    /// Print a manual page, or write all to a folder.
    Man(ManPages),
    /// Give back what killed cases left, within this time.
    Sweep(Duration),
}

/// Which manual pages are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManPages {
    /// That of the command of these words, or of the runner, to standard output.
    One(Vec<String>),
    /// All, as files of this folder.
    All(PathBuf),
}

impl Typed {
    /// Takes the arguments of this process.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches()?)
    }

    /// Understands the arguments. `program` is the runner's own binary, `chance` a number that
    /// is new each time, `caller` who called it if no argument says otherwise.
    pub(crate) fn understand(
        self,
        program: PathBuf,
        chance: u64,
        caller: Caller,
    ) -> anyhow::Result<Command> {
        Ok(match self.command {
            Some(TypedCommand::Report {
                folders,
                junit,
                html,
                kcidb,
                kcidb_build,
                kcidb_origin,
                format,
            }) => {
                let submission = kcidb_origin.zip(kcidb_build);
                let submission = submission.map(|(origin, build)| Submission { origin, build });
                let kcidb = kcidb.zip(submission);
                Command::Report(Retelling { folders, junit, html, kcidb, format })
            }
            Some(TypedCommand::Compare { old, new, format }) => {
                let [old, new] = match new {
                    Some(new) => [old, new],
                    None => compare::last_two(&old)?,
                };
                Command::Compare { old, new, format }
            }
            Some(TypedCommand::Export {
                case,
                xfstests,
                minimize,
                target,
                variant,
                timeout_factor,
            }) => {
                let shortest = if minimize {
                    let Some(fs) = target.fs else {
                        bail!(
                            "say where it fails: --fs xfs or --fs ext4 with --dev PATH, or --fs reference with --variant NAME"
                        );
                    };
                    shortest::check(fs, variant)?;
                    let plan = plan_of_programs(target.understand(fs)?, 0, caller);
                    Some(ShortestRequest {
                        plan: Plan { timeout_factor, ..plan },
                        variant,
                        program,
                    })
                } else {
                    ensure!(
                        !target.is_given(),
                        "only what is shrunk runs somewhere: add --minimize"
                    );
                    None
                };
                let what = exportable(case)?;
                Command::Export(Box::new(ExportRequest { what, xfstests, shortest }))
            }
            Some(TypedCommand::Finds(finds)) => Command::Finds(finds.understand()?),
            Some(TypedCommand::Fuzz(fuzz)) => {
                Command::Fuzz(Box::new(fuzz.understand(program, chance, caller)?))
            }
            Some(TypedCommand::Explore(explore)) => explore.understand(program, caller)?,
            Some(TypedCommand::Variants { first, list, table, format }) => {
                Command::Variants { first, list, table, format }
            }
            Some(TypedCommand::New { name }) => Command::New(name),
            Some(TypedCommand::Completions { shell }) => Command::Completions(shell),
            Some(TypedCommand::Man { output: Some(folder), .. }) => {
                Command::Man(ManPages::All(folder))
            }
            Some(TypedCommand::Man { command, output: None }) => {
                Command::Man(ManPages::One(command))
            }
            Some(TypedCommand::Sweep { milliseconds }) => {
                Command::Sweep(Duration::from_millis(milliseconds))
            }
            None => self.run.understand(program, chance, caller)?,
        })
    }
}

impl RunArgs {
    fn understand(self, program: PathBuf, chance: u64, caller: Caller) -> anyhow::Result<Command> {
        let format = self.format;
        if self.list_shapes {
            return Ok(Command::ListShapes);
        }
        if let Some(results) = self.resume {
            let results = Runs::results(&results)?;
            let begun = History::of(&Results::at(&results).entries()?).plan;
            let differs = begun.is_some_and(|plan| {
                let (asked, target) = (&self.target, plan.target);
                asked.fs.is_some_and(|fs| fs != target.fs)
                    || !asked.dev.is_empty() && asked.dev != target.devices
            });
            if differs {
                bail!("the last run in {} was on another file system or device", results.display());
            }
            if self.check {
                return Ok(Command::Nothing);
            }
            return Ok(Command::Run(Box::new(RunRequest {
                plan: None,
                results: Destination::Folder(results),
                junit: self.junit,
                format,
                program,
            })));
        }
        if self.excluded {
            ensure!(format != Format::Ktap, "--list is printed as text or json");
            return Ok(Command::Excluded(select::excluded(&self.names)?, format));
        }
        let selection = self.selection()?;
        let selected = selection.whole(&cases::all())?;
        let shard = selection.shard.map(|shard| {
            let selected = selected.iter().map(|case| case.name.to_owned()).collect();
            Share { shard, selected }
        });
        let cases = selection.share(selected)?;
        if self.list {
            if format == Format::Ktap {
                bail!("--list is printed as text or json");
            }
            if (self.results.is_some() || self.runs.is_some()) && !self.last_failed {
                bail!(
                    "--list has no results: --results and --runs go with --list --last-failed only"
                );
            }
            return Ok(Command::List { cases, format });
        }
        let Some(fs) = self.target.fs else {
            bail!("say what to test: --fs xfs or --fs ext4 with --dev PATH, or --fs reference");
        };
        if self.variant.is_some() && fs != FsType::Reference {
            bail!("only the reference has variants: --fs reference");
        }
        needs_a_kernel(
            fs,
            &[("--trace", self.trace.is_some()), ("--known", !self.known.is_empty())],
        )?;
        let target = self.target.understand(fs)?;
        let repeats = self.duration.is_some() || self.until_fail;
        let plan = Plan {
            target,
            variant: self.variant,
            cases: cases.iter().map(|case| case.name.to_owned()).collect(),
            shard,
            iterations: self.iterations.or((!repeats).then_some(1)),
            duration: self.duration,
            until_fail: self.until_fail,
            require: self.require,
            // Short enough to be typed.
            seed: self.seed.unwrap_or(chance % 1_000_000_000),
            timeout_factor: self.timeout_factor,
            bless: self.bless,
            trace: self.trace,
            known: KnownFile::read(&self.known)?,
            caller: self.called_as.map_or(caller, Caller::Harness),
        };
        if self.check {
            return Ok(Command::Nothing);
        }
        let results = match self.runs {
            Some(folder) => Destination::Runs { folder, keep: self.keep },
            None => Destination::Folder(self.results.unwrap_or_else(|| RESULTS.into())),
        };
        Ok(Command::Run(Box::new(RunRequest {
            plan: Some(plan),
            results,
            junit: self.junit,
            format,
            program,
        })))
    }

    fn selection(&self) -> anyhow::Result<Selection> {
        let commands = command();
        if let Some(name) = self.names.iter().find(|name| commands.find_subcommand(name).is_some())
        {
            bail!(
                "{name} is a command, not a case: put it first, as in {} {name} --help",
                name::own()
            );
        }
        let mut exclude: Vec<_> = self.exclude.iter().map(|name| Exclusion::typed(name)).collect();
        for path in &self.exclude_file {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            exclude.extend(exclude_file(path, &text));
        }
        let mut only = if self.last_failed {
            let named = self.runs.as_deref().or(self.results.as_deref());
            let folder = named.unwrap_or(Path::new(RESULTS));
            let history = History::of(&Results::at(&Runs::results(folder)?).last_entries()?);
            let failed = history.all_outcomes().into_iter();
            let failed = failed.filter(|outcome| outcome.verdict.needs_attention());
            let mut wanted: BTreeSet<_> = failed.map(|outcome| outcome.case).collect();
            wanted.extend(history.without_end());
            if wanted.is_empty() {
                bail!("no case of the last run in {} needs attention", folder.display());
            }
            Some(wanted)
        } else {
            None
        };
        if !self.find.is_empty() {
            let known = Deviations::with("", &KnownFile::read(&self.known)?)?;
            let shown = known.showing(&self.find, self.target.fs, &cases::all())?;
            only = Some(match only {
                Some(only) => only.intersection(&shown).cloned().collect(),
                None => shown,
            });
        }
        Ok(Selection {
            names: self.names.clone(),
            groups: self.group.clone(),
            exclude,
            only,
            shard: self.shard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understand(args: &[&str]) -> anyhow::Result<Command> {
        let args = std::iter::once("runner").chain(args.iter().copied());
        let caller = Caller::user("", "runner", false);
        Typed::try_parse_from(args)?.understand("/runner".into(), 12_345_678_901, caller)
    }

    fn plan(args: &[&str]) -> Plan {
        match understand(args).unwrap() {
            Command::Run(order) => order.plan.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_fault() {
        Typed::command().debug_assert();
    }

    #[test]
    fn a_plain_run_goes_once_through_everything() {
        let plan = plan(&["--fs", "xfs", "--dev", "/dev/pmem0"]);
        assert_eq!(plan.iterations, Some(1));
        let harmless = cases::all().iter().filter(|case| !case.is_in(cases::DANGEROUS)).count();
        assert_eq!(plan.cases.len(), harmless);
        assert_eq!(plan.seed, 345_678_901);
        assert!(plan.target.shapes.is_empty());
    }

    #[test]
    fn a_target_is_typed_as_xfstests_has_it() {
        let plan = plan(&[
            "--fs",
            "xfs",
            "--dev",
            "a",
            "--dev",
            "b",
            "--shape",
            "stripe,no-reflink",
            "--mkfs-options",
            "-d agcount=4",
            "--mount-options",
            "-o noatime",
        ]);
        assert_eq!(plan.target.devices, [PathBuf::from("a"), "b".into()]);
        assert_eq!(plan.target.name(), "xfs-stripe-no-reflink-options");
        assert_eq!(plan.target.mkfs_options, ["-d", "agcount=4"]);
        assert_eq!(plan.target.mount_options, ["noatime"]);
    }

    #[test]
    fn programs_are_as_patient_as_asked() {
        let args = ["--fs", "xfs", "--dev", "/dev/pmem0", "--timeout-factor", "3"];
        for command in ["fuzz", "explore"] {
            let args: Vec<_> = [command].into_iter().chain(args).collect();
            let plan = match understand(&args).unwrap() {
                Command::Fuzz(request) => request.plan,
                Command::Explore(request) => request.plan,
                other => panic!("{other:?}"),
            };
            assert_eq!(plan.patience(cases::Limit::secs(2)), Duration::from_secs(6), "{command}");
        }
    }

    #[test]
    fn durations_repeat() {
        let timed = plan(&["--fs", "ext4", "--dev", "/dev/pmem0", "--duration", "10m"]);
        assert_eq!(timed.iterations, None);
        assert_eq!(timed.duration, Some(Duration::from_mins(10)));
        let both = plan(&["--fs", "ext4", "--dev", "x", "--until-fail", "--iterations", "9"]);
        assert_eq!(both.iterations, Some(9));
    }

    #[test]
    fn what_clap_says_takes_a_line() {
        for (args, line) in [
            (
                &["runner", "--sed", "1"][..],
                "unexpected argument '--sed' found; tip: a similar argument exists: '--seed' (see \
                 runner --help)",
            ),
            (
                &["runner", "--fs", "zfs"],
                "invalid value 'zfs' for '--fs <FS>' [possible values: xfs, ext4, reference]; tip: \
                 a similar value exists: 'xfs' (see runner --help)",
            ),
        ] {
            let said = Typed::try_parse_from(args).unwrap_err();
            assert_eq!(program::in_a_line(&said, name::own()), line);
        }
    }

    #[test]
    fn what_cannot_run_is_said() {
        for (args, words) in [
            (&["--dev", "/dev/pmem0"][..], "--fs xfs"),
            (&["--fs", "xfs"], "--dev PATH"),
            (&["--fs", "xfs", "--dev", "x", "race/none"], "race/none"),
            (&["--fs", "xfs", "--dev", "x", "--timeout-factor", "0"], "0.1 to 1000"),
            (&["--resume", "x", "--list"], "cannot be used with"),
            (&["fuzz"], "say what to fuzz"),
            (&["explore"], "say what to explore"),
            (&["explore", "--fs", "reference", "punch+lod"], "did you mean punch+load?"),
            (
                &["explore", "--fs", "xfs", "--dev", "x", "--variant", "no-break"],
                "only the reference",
            ),
            (&["--fs", "xfs", "--dev", "x", "--mkfs-options", "-m 'x"], "--mkfs-options: a quote"),
            (&["--fs", "xfs", "--dev", "x", "--mount-options", "-o "], "empty option list"),
            (&["--fs", "xfs", "--dev", "x", "--shape", "strip"], "did you mean stripe?"),
        ] {
            let error = format!("{:#}", understand(args).unwrap_err());
            assert!(error.contains(words), "{args:?}: {error}");
        }
    }
}
