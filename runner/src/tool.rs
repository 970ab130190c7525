//! Other programs, run with a deadline: mkfs, fsck, umount, blkid, and the runner itself where
//! what it does may never return.

use std::ffi::OsString;
use std::io::{PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cases::system::kernel;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct ToolOutput {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its standard output and error together, trimmed.
    pub(crate) text: String,
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It could not be started.
    #[error("{program}: {why}{}", hint(.why))]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// It did not end in time, and was killed or cannot be.
    #[error("{command} did not return within {} s", .limit.as_secs_f64())]
    Stuck {
        /// The command line.
        command: String,
        /// The deadline.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("{command}: {}{}", status_words(*.status), after(.text))]
    Failed {
        /// Its name.
        program: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        text: String,
    },
}

fn hint(why: &std::io::Error) -> &'static str {
    if why.kind() == std::io::ErrorKind::NotFound { " (is its package installed?)" } else { "" }
}

fn after(text: &str) -> String {
    let said = before_usage(text).collect::<Vec<_>>().join("; ");
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What a program said before it explained itself at length, which helps nobody here.
fn before_usage(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.to_ascii_lowercase().starts_with("usage:"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

/// What a program that failed complained of: the last line before its usage, for what comes
/// before are warnings.
pub(crate) fn complaint(text: &str) -> Option<&str> {
    before_usage(text).last()
}

/// Where programs are looked for: also where mkfs and fsck are, which sudo and minimal systems
/// may leave out.
fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// "exit status 1", "killed by SIGKILL".
pub(crate) fn status_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// A command line to be run.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    program: OsString,
    args: Vec<OsString>,
}

impl Tool {
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The command line, for people.
    pub(crate) fn line(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to its end, which may be an unsuccessful one.
    pub(crate) fn output(&self, limit: Duration) -> Result<ToolOutput, Error> {
        let start =
            |why| Error::Start { program: self.program.to_string_lossy().into_owned(), why };
        let (mut reader, writer) = std::io::pipe().map_err(start)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env("LC_ALL", "C")
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(start)?)
            .stderr(writer)
            // A signal from the terminal is for the runner, which ends what it started itself.
            .process_group(0);
        let mut child = command.spawn().map_err(start)?;
        // The command holds the pipe's other end, which must close for the reader to see its end.
        drop(command);
        let deadline = Instant::now() + limit;
        let text = collect(&mut reader, deadline);
        match wait(&mut child, deadline, limit / REAP) {
            Some(status) => Ok(ToolOutput { status, text: text.trim().to_owned() }),
            None => Err(Error::Stuck { command: self.line(), limit }),
        }
    }

    /// Runs it; anything but success is an error. Returns what it said.
    pub(crate) fn run(&self, limit: Duration) -> Result<String, Error> {
        let ToolOutput { status, text } = self.output(limit)?;
        if status.success() {
            Ok(text)
        } else {
            let program = self.program.to_string_lossy().into_owned();
            Err(Error::Failed { program, command: self.line(), status, text })
        }
    }
}

fn collect(reader: &mut PipeReader, deadline: Instant) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => break,
            Ok(_) => match reader.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            },
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What part of a command's time its end may take once it was killed.
const REAP: u32 = 10;

/// Waits for `child` until `deadline`, then kills it. None if it did not end in time.
fn wait(child: &mut Child, deadline: Instant, reap: Duration) -> Option<ExitStatus> {
    if let Some(status) = ended(child, deadline) {
        return Some(status);
    }
    let _ = child.kill();
    // Reaped if it can be; if it cannot, what comes next finds that out.
    let _ = ended(child, Instant::now() + reap);
    None
}

/// Waits for `child` until `deadline`.
pub(crate) fn ended(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    // std offers no wait with a deadline. This can be read from once the child has ended.
    let end = kernel::process(child.id().cast_signed());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if !left.is_zero() => match &end {
                Ok(end) => {
                    let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    // Why it returned, the child's status tells.
                    let _ = poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], limit);
                }
                // A sandbox may refuse it.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            },
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_program_said() {
        let limit = Duration::from_secs(20);
        let said = Tool::new("sh").args(["-c", "echo a; echo b >&2"]).run(limit);
        assert_eq!(said.unwrap(), "a\nb");
        let error =
            Tool::new("sh").args(["-c", "echo no such thing; exit 3"]).run(limit).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sh -c echo no such thing; exit 3: exit status 3: no such thing"
        );
    }

    #[test]
    fn the_usage_is_nobodys_answer() {
        // mkfs.xfs 6.1.0 on 512 MiB.
        let text = "log stripe unit (2097152 bytes) is too large (maximum is 256KiB)\n\
            log stripe unit adjusted to 32KiB\n\
            Log size must be at least 64MB.\n\
            Usage: mkfs.xfs\n\
            /* blocksize */\t\t[-b size=num]\n";
        assert_eq!(complaint(text), Some("Log size must be at least 64MB."));
        assert!(after(text).ends_with("; Log size must be at least 64MB."), "{}", after(text));
        assert_eq!(after("Usage: x"), "");
    }

    #[test]
    fn does_not_wait_for_ever() {
        let error = Tool::new("sleep").arg("60").run(Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "sleep 60 did not return within 0.05 s");
    }

    #[test]
    fn a_missing_program_is_said() {
        let error = Tool::new("mkfs.nothing").run(Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("is its package installed?"), "{error}");
    }
}
