//! What happened, written as it happens: one JSON object a line, on the disk before the next
//! thing is done.
//!
//! The journal is the only record. The results' other files and every report are made from the
//! same events, so whatever kills the runner or the kernel loses nothing that was finished.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::plan::Plan;
use crate::verdict::{Problem, Verdict};

/// The journal's name in the results folder.
pub(crate) const NAME: &str = "journal.jsonl";

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum RunEvent {
    /// The run began.
    Begun {
        /// What it is to do.
        plan: Box<Plan>,
        /// On which machine.
        machine: Machine,
    },
    /// A run that had stopped goes on.
    Resumed {
        /// On which machine, after how many reboots.
        machine: Machine,
    },
    /// The machine went down. Written from outside, by ci/vm.
    Down {
        /// What the console says of it: "kernel panic: sysrq triggered crash".
        why: String,
    },
    /// A file system was made and mounted.
    Prepared {
        /// The command that made it.
        mkfs: String,
        /// The options it was mounted with.
        mount: String,
    },
    /// A case began.
    CaseBegun {
        /// Its name.
        case: String,
        /// Which time, from 0.
        iteration: u64,
        /// The seed it was given.
        seed: u64,
    },
    /// A case ended and was judged.
    CaseEnded(Box<Outcome>),
    /// The user ended a case before it came to its end: it has no result, and a run that is resumed goes
    /// on with it.
    CaseCut {
        /// Its name.
        case: String,
        /// Which time, from 0.
        iteration: u64,
    },
    /// The kernel does not report something, or no longer: what its log does not show then
    /// proves nothing. Before the first case, or while one runs.
    Silenced {
        /// What: "lockdep is off ...".
        what: String,
    },
    /// Something outside of any case went wrong: the check at the end, for example.
    Trouble(Problem),
    /// The device cannot be freed: the machine needs a reboot.
    Wedged {
        /// What holds it.
        why: String,
    },
    /// The user ended the run.
    Interrupted,
    /// Results that were put together are not all that there should be. In no journal: only among
    /// the events that `report` prints of several.
    Lacking {
        /// What is missing: "shard 2/3 is missing".
        what: String,
    },
    /// The run ended.
    Ended(RunEnd),
}

/// How a run ended, for those who read nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunEnd {
    /// The runner's exit code.
    pub(crate) exit: u8,
    /// How many executions of cases were planned, if their number is what ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<u64>,
    /// How many of them ended, over all boots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<u64>,
    /// Whether all that was planned came to an end.
    #[serde(default)]
    pub(crate) complete: bool,
}

/// How one execution of a case went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) case: String,
    /// Which time, from 0.
    pub(crate) iteration: u64,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// How long it ran.
    pub(crate) seconds: f64,
    /// Why it is NOTRUN, XFAIL, XPASS or ERROR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The id of the find that it deviates by, or ought to: XFAIL, XPASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) find: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
    /// What it measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<(String, String)>,
    /// Its folder in the results folder, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
}

impl Outcome {
    /// The case's name; with its iteration if that is not the first.
    pub(crate) fn title(&self) -> String {
        match self.iteration {
            0 => self.case.clone(),
            n => format!("{} (iteration {})", self.case, n + 1),
        }
    }

    /// One line that says what is the matter, if something is.
    pub(crate) fn gist(&self) -> Option<String> {
        let titles = || {
            let titles: Vec<_> = self.problems.iter().map(|p| p.title.as_str()).collect();
            (!titles.is_empty()).then(|| titles.join("; "))
        };
        match self.verdict {
            Verdict::Fail | Verdict::Hang => titles().or_else(|| self.reason.clone()),
            _ => self.reason.clone().or_else(titles),
        }
    }
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// RFC 3339, in milliseconds.
    pub(crate) time: String,
    /// What.
    #[serde(flatten)]
    pub(crate) event: RunEvent,
}

impl Entry {
    /// `event`, now.
    pub(crate) fn now(event: RunEvent) -> Self {
        Self { time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(), event }
    }
}

/// Why a journal could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file could not be opened, read, written or synced.
    #[error("{path}: {why}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Another runner writes it.
    #[error("{path} is being written by another runner")]
    Busy {
        /// The journal.
        path: PathBuf,
    },
    /// Half an entry stands at its end, which could not be taken back.
    #[error("{path}: the last line was written in part; nothing more is appended")]
    Torn {
        /// The journal.
        path: PathBuf,
    },
    /// A line in the middle is no event.
    #[error("{path}: line {line}: {why}")]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        why: serde_json::Error,
    },
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How many bytes its whole entries take.
    whole: u64,
    /// Whether what a failed append left could not be taken back.
    torn: bool,
}

/// How long a lock may outlive the journal that took it: a child of this process that was forked
/// and has not executed its program yet shares it.
const FORK: Duration = Duration::from_secs(2);

impl Journal {
    /// Begins an empty journal at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let journal = Self::open(path)?;
        journal.file.set_len(0).map_err(|why| journal.error(why))?;
        Ok(journal)
    }

    /// Opens the journal at `path` to go on with it. An event that was cut off by whatever
    /// stopped the run is dropped.
    pub(crate) fn resume(path: &Path) -> Result<(Self, Vec<Entry>), Error> {
        let mut journal = Self::open(path)?;
        let (entries, whole) = read(path)?;
        journal.file.set_len(whole).map_err(|why| journal.error(why))?;
        journal.whole = whole;
        journal.file.seek(SeekFrom::End(0)).map_err(|why| journal.error(why))?;
        Ok((journal, entries))
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let io = |why| Error::Io { path: path.to_owned(), why };
        let file =
            OpenOptions::new().create(true).read(true).append(true).open(path).map_err(io)?;
        take_lock(&file, path)?;
        Ok(Self { path: path.to_owned(), file, whole: 0, torn: false })
    }

    /// Appends an entry. When this returns it is on the disk; if it could not be written whole,
    /// nothing of it is there, so that what is appended next does not follow half a line.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        if self.torn {
            return Err(Error::Torn { path: self.path.clone() });
        }
        let mut line = serde_json::to_vec(entry).expect("events have string keys only");
        line.push(b'\n');
        if let Err(why) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            self.torn = self.file.set_len(self.whole).is_err();
            return Err(self.error(why));
        }
        self.whole += line.len() as u64;
        Ok(())
    }

    fn error(&self, why: std::io::Error) -> Error {
        Error::Io { path: self.path.clone(), why }
    }
}

/// Keeps other runners from the journal at `path` for as long as the file is open.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::open(path).map_err(|why| Error::Io { path: path.to_owned(), why })?;
    take_lock(&file, path)?;
    Ok(file)
}

fn take_lock(file: &File, path: &Path) -> Result<(), Error> {
    let end = Instant::now() + FORK;
    while let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
        if Instant::now() > end {
            return Err(Error::Busy { path: path.to_owned() });
        }
        std::thread::yield_now();
    }
    // Any other error: a shared folder of a virtual machine may not know locks; then there is
    // no other runner to be kept out either.
    Ok(())
}

/// All whole entries of the journal at `path`, and the bytes they take. If its first line is damaged
/// and an event follows, it is a journal that lacks its beginning.
pub(crate) fn read(path: &Path) -> Result<(Vec<Entry>, u64), Error> {
    let io = |why| Error::Io { path: path.to_owned(), why };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut entries = Vec::new();
    let mut whole = 0;
    let mut line = Vec::new();
    let mut damaged = None;
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(io)?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => entries.push(entry),
            // A crash may leave a last line that is long enough but not what was written.
            Err(_) if reader.fill_buf().map_err(io)?.is_empty() => break,
            Err(_) if damaged.is_some() && entries.is_empty() => break,
            Err(why) => {
                let corrupt = Error::Corrupt { path: path.to_owned(), line: number, why };
                if number > 1 {
                    return Err(corrupt);
                }
                damaged = Some(corrupt);
            }
        }
        whole += length as u64;
    }
    match damaged {
        Some(corrupt) if entries.is_empty() => Err(corrupt),
        _ => Ok((entries, whole)),
    }
}

/// When `entry` happened, if its time can be read.
pub(crate) fn time_of(entry: &Entry) -> Option<SystemTime> {
    humantime::parse_rfc3339(&entry.time).ok()
}

/// Seconds, as events have them.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{DIED, History};
    use crate::plan;

    fn begun() -> Entry {
        Entry::now(RunEvent::Begun { plan: plan::example().into(), machine: Machine::default() })
    }

    fn case_begun(case: &str) -> Entry {
        Entry::now(RunEvent::CaseBegun { case: case.to_owned(), iteration: 0, seed: u64::MAX })
    }

    fn case_ended(case: &str) -> Entry {
        Entry::now(RunEvent::CaseEnded(Box::new(Outcome {
            case: case.to_owned(),
            iteration: 0,
            verdict: Verdict::Pass,
            seconds: 0.25,
            reason: None,
            find: None,
            problems: Vec::new(),
            notes: vec![("rounds".to_owned(), "3".to_owned())],
            folder: None,
        })))
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let entries = [
            begun(),
            case_begun("race/retry"),
            case_ended("race/retry"),
            Entry::now(RunEvent::Wedged { why: "task 1".to_owned() }),
            Entry::now(RunEvent::Ended(RunEnd {
                exit: 3,
                planned: Some(2),
                finished: Some(1),
                complete: false,
            })),
        ];
        let mut journal = Journal::create(&path).unwrap();
        for entry in &entries {
            journal.append(entry).unwrap();
        }
        assert_eq!(read(&path).unwrap().0, entries);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&begun()).unwrap();
        journal.append(&case_begun("waits/truncate-down/splice/mapped")).unwrap();
        journal.append(&case_ended("waits/truncate-down/splice/mapped")).unwrap();
        journal.append(&case_begun("race/retry")).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let mut line = serde_json::to_vec(&case_ended("race/retry")).unwrap();
        line.push(b'\n');
        for cut in 0..line.len() {
            std::fs::write(&path, [&whole[..], &line[..cut]].concat()).unwrap();
            let (mut journal, entries) = Journal::resume(&path).unwrap();
            let history = History::of(&entries);
            assert_eq!(history.outcomes.len(), 1, "cut at {cut}");
            assert_eq!(history.died().unwrap().problems[0].title, DIED);
            assert_eq!(history.next(), (1, 0), "race/retry was the last of the plan");
            journal.append(&Entry::now(RunEvent::Interrupted)).unwrap();
            assert_eq!(read(&path).unwrap().0.len(), 5);
        }
    }

    #[test]
    fn who_watches_the_machine_tells_why_a_case_died() {
        let down = Entry::now(RunEvent::Down { why: "kernel panic: test".to_owned() });
        let mut history = History::of(&[case_begun("race/retry"), down]);
        assert_eq!(history.died().unwrap().problems[0].title, "kernel panic: test");
        history.add(&case_ended("race/retry"));
        history.add(&case_begun("race/canary"));
        assert_eq!(history.died().unwrap().problems[0].title, DIED);
    }

    #[test]
    fn zeroes_after_a_crash_are_no_events() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&begun()).unwrap();
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 100]);
        bytes.push(b'\n');
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::resume(&path).unwrap().1.len(), 1);
    }

    #[test]
    fn nonsense_in_the_middle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let event = String::from_utf8(serde_json::to_vec(&begun()).unwrap()).unwrap();
        for (text, line) in [
            ("nonsense\n{}\n".to_owned(), "line 1"),
            ("nonsense\n{}\n{}\n".to_owned(), "line 1"),
            ("nonsense\nhalf a line".to_owned(), "line 1"),
            (format!("nonsense\n{{}}\n{event}\n"), "line 1"),
            (format!("nonsense\n{event}\n{{}}\n{event}\n"), "line 3"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn a_first_line_that_is_damaged_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let rest: String = [case_begun("race/retry"), case_ended("race/retry")]
            .iter()
            .map(|entry| serde_json::to_string(entry).unwrap() + "\n")
            .collect();
        let text = format!("\"plan\":{{}}}}\n{rest}");
        std::fs::write(&path, &text).unwrap();
        let (entries, whole) = read(&path).unwrap();
        assert_eq!((entries.len(), whole), (2, text.len() as u64));
    }

    /// Set for the child that [`a_full_disk_leaves_no_half_line`] runs: where its journal is.
    const FULL: &str = "DAXTESTS_FULL";

    /// In a process whose files may grow to a few hundred bytes only.
    #[test]
    fn a_full_disk_leaves_no_half_line() {
        if let Some(path) = std::env::var_os(FULL) {
            return fill(Path::new(&path));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        // SIGXFSZ, which would end it, stays ignored over exec.
        let done = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::a_full_disk_leaves_no_half_line"])
            .env(FULL, &path)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let (entries, whole) = read(&path).unwrap();
        assert_eq!(whole, std::fs::metadata(&path).unwrap().len(), "half a line was left");
        assert!(matches!(entries.last().unwrap().event, RunEvent::Interrupted));
    }

    fn fill(path: &Path) {
        let mut journal = Journal::create(path).unwrap();
        // So long that something shorter still fits after the last, whether a shell counts in
        // blocks of 512 or of 1024 bytes.
        while journal.append(&case_begun(&"x".repeat(250))).is_ok() {}
        journal.append(&Entry::now(RunEvent::Interrupted)).unwrap();
    }

    #[test]
    fn nothing_follows_half_a_line_that_stays() {
        // It takes nothing, and cannot be made shorter either.
        let mut journal = Journal::open(Path::new("/dev/full")).unwrap();
        assert!(matches!(journal.append(&begun()).unwrap_err(), Error::Io { .. }));
        assert!(matches!(journal.append(&begun()).unwrap_err(), Error::Torn { .. }));
    }

    #[test]
    fn two_runners_do_not_share_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let _first = Journal::create(&path).unwrap();
        let second = Journal::create(&path).unwrap_err();
        assert!(matches!(second, Error::Busy { .. }), "{second}");
    }
}
