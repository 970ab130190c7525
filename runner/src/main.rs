//! The command `runner`: selects cases, runs each in a process of its own, judges it, reports.
//!
//! This file turns arguments into work and the work's outcome into an exit code, nothing else.

#![forbid(unsafe_code)]

mod alarm;
mod child;
mod cli;
mod device;
mod exit;
mod expected;
mod filesystem;
mod fuzz;
mod history;
mod interrupt;
mod journal;
mod judge;
mod kmsg;
mod known;
mod machine;
mod plan;
mod report;
mod results;
mod run;
mod select;
mod signature;
mod task;
mod tool;
mod trace;
mod variants;
mod verdict;
mod watch;
mod world;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use cli::{Command, Format, Typed};
use exit::Exit;
use report::Reporter;

fn main() -> ExitCode {
    let typed = Typed::parse();
    match work(typed) {
        Ok(exit) => exit.into(),
        Err(error) => {
            anstream::eprintln!("runner: {error:#}");
            Exit::CouldNotRun.into()
        }
    }
}

fn work(typed: Typed) -> anyhow::Result<Exit> {
    // Not the path it was started by: that may be replaced by a new build, or go away, while the
    // run lasts.
    let program = PathBuf::from("/proc/self/exe");
    let chance = RandomState::new().build_hasher().finish();
    match typed.understand(program, chance)? {
        Command::Run { order, format } => {
            let mut reporter: Box<dyn Reporter> = match format {
                Format::Text => Box::new(report::terminal::Terminal::new()),
                Format::Json => Box::new(report::json::Json),
                Format::Ktap => Box::new(report::ktap::Ktap::default()),
            };
            run::run(order, reporter.as_mut())
        }
        Command::List { cases, format } => {
            print(&match format {
                Format::Json => report::list::json(&cases),
                Format::Text | Format::Ktap => report::list::text(&cases),
            });
            Ok(Exit::Expected)
        }
        Command::Report { folder, junit } => {
            let history = run::report(&folder, junit.as_deref())?;
            report::terminal::print_summary(&history, &folder);
            Ok(Exit::of(&history))
        }
        Command::Fuzz(order) => fuzz::run(&order),
        Command::Variants { first } => Ok(variants::show(first)),
        Command::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Typed::command(), "runner", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(Exit::Expected)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Typed::command()).render(&mut page)?;
            print(&String::from_utf8_lossy(&page));
            Ok(Exit::Expected)
        }
        Command::Case(task) => {
            child::perform(&task)?;
            Ok(Exit::Expected)
        }
        Command::Sweep => {
            let left = cases::system::kernel::sweep();
            for line in &left {
                println!("{line}");
            }
            Ok(Exit::Expected)
        }
    }
}

/// Prints; whoever stopped reading does not want more.
fn print(text: &str) {
    let _ = write!(anstream::AutoStream::auto(stdout()), "{text}");
}
