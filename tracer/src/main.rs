//! `tracer`: watches a mounted DAX file system under any load and prints what goes wrong.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(&cli::Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tracer: {error:#}");
            ExitCode::from(2)
        }
    }
}
