//! The command `runner`: selects cases, runs each in a process of its own, judges it, reports.
//!
//! This file turns arguments into work and the work's outcome into an exit code, nothing else.

#![forbid(unsafe_code)]
// `print` does it, and loses no failure.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod alarm;
mod bless;
mod case_file;
mod child;
mod cli;
mod complete;
mod destination;
mod device;
mod evidence;
mod exit;
mod expected;
mod explore;
mod export;
mod filesystem;
mod find;
mod finding;
mod finds;
mod fs;
mod fuzz;
mod history;
mod holding;
mod incomplete;
mod interrupt;
mod journal;
mod judge;
mod kmsg;
mod known;
mod machine;
mod mapper;
mod merge;
mod name;
mod new;
mod output;
mod pattern;
mod plan;
mod print;
mod red;
mod report;
mod rerun;
mod results;
mod retell;
mod run;
mod runs;
mod select;
mod shape;
mod shard;
mod signature;
mod silence;
mod smallest;
mod target;
mod task;
mod tool;
mod trace;
mod turn;
mod variants;
mod verdict;
mod watch;
mod which;
mod world;
mod wrap;

use std::env::{args_os, current_dir, var, var_os};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use cases::system::kernel;
use clap_complete::CompleteEnv;
use program::pages;

use child::Assignment;
use cli::{Command, ManPages, Typed};
use exit::Exit;
use plan::Caller;
use report::Format;
use report::github::Github;

fn main() -> ExitCode {
    if let Some(task) = Assignment::of(args_os()) {
        let exit = match task.and_then(|task| child::perform(&task)) {
            Ok(()) => Exit::Expected,
            Err(error) => complain(&error),
        };
        return exit.into();
    }
    name::keep(program::name(args_os().next().as_deref(), name::own()));
    let shell = CompleteEnv::with_factory(cli::command).var(complete::ASKED);
    match shell.try_complete(args_os(), current_dir().ok().as_deref()) {
        Ok(false) => {}
        Ok(true) => return Exit::Expected.into(),
        Err(error) => return complain(&error.into()).into(),
    }
    let exit = match Typed::of_process() {
        Ok(typed) => {
            let github = Github::of(var_os("GITHUB_ACTIONS"), var_os("GITHUB_STEP_SUMMARY"));
            work(typed, github.as_ref()).unwrap_or_else(|error| {
                let exit = complain(&error);
                if github.is_some() {
                    Github::complain(&format!("{error:#}"));
                }
                exit
            })
        }
        Err(said) if said.use_stderr() => {
            let name = name::own();
            print::note(format_args!("{name}: {}", program::in_a_line(&said, name)));
            Exit::CouldNotRun
        }
        // Help, or the version.
        Err(said) => {
            let _ = said.print().inspect_err(print::keep);
            Exit::Expected
        }
    };
    print::concluded(exit).into()
}

/// Tells why nothing came of it.
fn complain(error: &anyhow::Error) -> Exit {
    print::note(format_args!("{}: {error:#}", name::own()));
    Exit::CouldNotRun
}

fn work(typed: Typed, github: Option<&Github>) -> anyhow::Result<Exit> {
    // Not the path it was started by: that may be replaced by a new build, or go away, while the
    // run lasts.
    let program = PathBuf::from("/proc/self/exe");
    let chance = RandomState::new().build_hasher().finish();
    let name = std::env::args().next().unwrap_or_else(|| "runner".to_owned());
    // What stands before a command in a machine of the harness, which sets it; sudo(8) sets the other.
    let within = var("DAXTESTS_WITHIN").unwrap_or_default();
    let caller = Caller::user(&within, &name, var_os("SUDO_UID").is_some());
    match typed.understand(program, chance, caller)? {
        Command::Nothing => Ok(Exit::Expected),
        Command::ListShapes => {
            print::text(shape::list());
            Ok(Exit::Expected)
        }
        Command::Run(order) => run::run(*order, github),
        Command::List { cases, format } => {
            print::text(match format {
                Format::Json => report::list::json(&cases),
                Format::Text | Format::Ktap => report::list::text(&cases),
            });
            Ok(Exit::Expected)
        }
        Command::Excluded(excluded, format) => {
            print::text(match format {
                Format::Json => report::list::excluded_json(&excluded),
                Format::Text | Format::Ktap => report::list::excluded_text(&excluded),
            });
            Ok(Exit::Expected)
        }
        Command::New(name) => {
            new::begin(&name)?;
            Ok(Exit::Expected)
        }
        Command::Report(retelling) => retell::tell(&retelling, github),
        Command::Compare { old, new, format } => {
            let comparison = report::compare::of(&old, &new)?;
            print::text(comparison.text(format));
            Ok(comparison.exit())
        }
        Command::Export(request) => export::run(&request),
        Command::Finds(request) => {
            finds::run(&request)?;
            Ok(Exit::Expected)
        }
        Command::Fuzz(order) => fuzz::run(&order),
        Command::Explore(order) => explore::run(&order),
        Command::ListPairs(pairs) => {
            print::text(explore::list(&pairs));
            Ok(Exit::Expected)
        }
        Command::Variants { list: true, .. } => Ok(variants::list()),
        Command::Variants { table: Some(path), .. } => red::keep(&path),
        Command::Variants { first, table: None, format, .. } => {
            Ok(variants::show(first, format == Format::Json))
        }
        Command::Completions(shell) => {
            print::text(complete::script(shell)?);
            Ok(Exit::Expected)
        }
        Command::Man(ManPages::One(command)) => {
            print::text(pages::page(cli::command(), &command)?);
            Ok(Exit::Expected)
        }
        Command::Man(ManPages::All(folder)) => {
            for path in pages::write(cli::command(), &folder)? {
                print::line(format!("wrote {}", path.display()));
            }
            Ok(Exit::Expected)
        }
        Command::Sweep(patience) => {
            let owner = kernel::Owner::parent().context("the runner's process")?;
            let left = kernel::sweep(owner, patience);
            for line in &left {
                print::line(line);
            }
            Ok(Exit::Expected)
        }
    }
}
