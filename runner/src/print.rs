//! Standard output and standard error: the one place that writes to them.
//!
//! `println!` panics when it cannot write. Whoever closed the pipe (`runner --list | head`) has
//! seen enough and is told nothing. Any other failure, a full disk for example, is kept: the run
//! goes on, for the journal has it all, and [`concluded`] reports it and changes the exit code.
//!
//! A case's own process talks to its parent through a pipe; that is `child`'s.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use crate::name;

/// Why standard output takes no more.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Whether standard output is somebody else's: the JUnit report's.
static YIELDED: AtomicBool = AtomicBool::new(false);

/// Leaves standard output to a report: what is for people goes to standard error from now on.
pub(crate) fn yield_stdout() {
    YIELDED.store(true, Ordering::Relaxed);
}

/// Prints text for people as it stands; colours follow the terminal.
pub(crate) fn text(text: impl Display) {
    if YIELDED.load(Ordering::Relaxed) {
        to_stderr(text);
    } else {
        let mut out = anstream::stdout().lock();
        if FAILED.get().is_none()
            && let Err(error) = write!(out, "{text}").and_then(|()| out.flush())
        {
            keep(&error);
        }
    }
}

/// Prints a line for people; colours follow the terminal.
pub(crate) fn line(line: impl Display) {
    text(format_args!("{line}\n"));
}

/// Standard output, for what programs read: a failure is returned to the writer and remembered here.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).inspect_err(keep)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(keep)
    }
}

/// Prints a document for programs, which then have standard output for themselves.
pub(crate) fn json(document: &impl serde::Serialize) {
    let line = serde_json::to_string(document).expect("it has string keys only");
    // A failure is kept.
    let _ = writeln!(Stdout, "{line}").and_then(|()| Stdout.flush());
}

/// Prints a text for programs, which then have standard output for themselves.
pub(crate) fn document(text: &str) {
    // A failure is kept.
    let _ = Stdout.write_all(text.as_bytes()).and_then(|()| Stdout.flush());
}

/// Prints a line to standard error, which is where errors are told: its own cannot be.
pub(crate) fn note(line: impl Display) {
    to_stderr(format_args!("{line}\n"));
}

fn to_stderr(text: impl Display) {
    let _ = write!(anstream::stderr().lock(), "{text}");
}

/// Keeps why standard output takes no more.
pub(crate) fn keep(error: &io::Error) {
    let error = error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error);
    let _ = FAILED.set(error);
}

/// How the command went in the end, now that all is printed: nothing that was to be told may be
/// lost without a word.
pub(crate) fn concluded(exit: Exit) -> Exit {
    match FAILED.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(format_args!("{}: standard output: {error}", name::own()));
            match exit {
                Exit::Expected | Exit::Unexpected => Exit::CouldNotRun,
                other => other,
            }
        }
        _ => exit,
    }
}
