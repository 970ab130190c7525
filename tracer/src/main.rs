//! `tracer`: watches a mounted DAX file system under any load and prints what goes wrong.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::Typed::of_process() {
        Ok(arguments) => arguments,
        Err(said) if said.use_stderr() => {
            let name = cli::name();
            cli::note(&format!("{name}: {}", program::in_a_line(&said, name)));
            return ExitCode::from(2);
        }
        // Help, or the version.
        Err(said) => {
            return match said.print() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => could_not_run(&error.into()),
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
    cli::note(&format!("{}: {error:#}", cli::name()));
    ExitCode::from(2)
}
