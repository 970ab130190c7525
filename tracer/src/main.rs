//! `tracer`: watches a mounted DAX file system under any load and prints what goes wrong.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match cli::Typed::try_parse() {
        Ok(arguments) => arguments,
        // Help and version too; clap knows which of them goes where.
        Err(said) => {
            let printed = said.print();
            return match printed {
                Err(error) => could_not_run(&error.into()),
                Ok(()) if said.use_stderr() => ExitCode::from(2),
                Ok(()) => ExitCode::SUCCESS,
            };
        }
    };
    match cli::run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => could_not_run(&error),
    }
}

/// Says why in one line. A reader that closed the pipe has seen enough and is told nothing; but what was
/// not printed is not known to be good, so the exit code stays.
fn could_not_run(error: &anyhow::Error) -> ExitCode {
    let closed = error.downcast_ref::<io::Error>().map(io::Error::kind);
    if closed == Some(ErrorKind::BrokenPipe) {
        return ExitCode::from(2);
    }
    cli::note(&format!("tracer: {error:#}"));
    ExitCode::from(2)
}
