//! The results folder: the journal, the reports, and a folder for each case that needs a look.
//!
//! Nothing that daxtests did not make is removed, replaced or followed in it. It carries a marker;
//! a folder that has none and is not empty is refused. What is removed are regular files of known
//! names, in the folders of cases that the folder's own journal names.
//!
//! A run moves the results of the one before to `previous/`. So they are still there when it comes
//! to nothing, and a run of what failed last does not take away what it came from. A run without a
//! single case leaves no results, and takes nobody's place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, File, FileType, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::fcntl::OFlag;

use crate::case_file::CaseFile;
use crate::evidence::Evidence;
use crate::journal::{self, Entry, Journal, Outcome, RunEvent};
use crate::output::{self, Output, PathKind};
use crate::verdict::Verdict;

/// Says that daxtests made the folder. ci/vm writes it too.
const MARKER: &str = ".daxtests-results";

/// Says that daxtests made a folder of runs, which is none of results.
pub(crate) const RUNS: &str = ".daxtests-runs";

/// The marker's text, for curious readers.
const MARK: &str = "daxtests keeps results here: it replaces and removes what it wrote itself.\n";

/// The folder of the cases' folders.
const CASES: &str = "cases";

/// The folder of the run before.
const PREVIOUS: &str = "previous";

const JUNIT: &str = "junit.xml";
const HTML: &str = "report.html";

/// Why a folder is not taken. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0} is not a folder")]
    NotAFolder(PathBuf),
    #[error("{0} is not empty and daxtests did not make it; name another folder for the results")]
    Foreign(PathBuf),
    #[error("{0} holds the runs of --runs; name a folder in it, or another folder for the results")]
    HoldsRuns(PathBuf),
    #[error("{0} is not empty and daxtests did not make it for runs; name another folder")]
    NotRuns(PathBuf),
    #[error("{0} is not a link to a run beside it; daxtests did not make it, move it away")]
    NotLatest(PathBuf),
    #[error("{0} is not a regular file, so it is no journal")]
    NoJournal(PathBuf),
    #[error("{0} is one of the results themselves; name another file")]
    Own(PathBuf),
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: io::Error },
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// A results folder.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    folder: PathBuf,
}

impl Results {
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The results of the run before.
    pub(crate) fn previous(&self) -> Self {
        Self::at(&self.folder.join(PREVIOUS))
    }

    fn journal(&self) -> PathBuf {
        self.folder.join(journal::NAME)
    }

    /// Checks that the folder may be taken and written to; nothing is changed.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.check_ours()?;
        self.previous().check_ours()?;
        Ok(output::try_to_make(&self.folder, &self.folder)?)
    }

    fn check_ours(&self) -> Result<(), Refusal> {
        match fs::metadata(&self.folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Refusal::NotAFolder(self.folder.clone())),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(why) => return Err(Refusal::Io { path: self.folder.clone(), why }),
        }
        if is_file(&self.folder.join(RUNS)) {
            return Err(Refusal::HoldsRuns(self.folder.clone()));
        }
        if !self.is_ours()? {
            return Err(Refusal::Foreign(self.folder.clone()));
        }
        for name in [MARKER, journal::NAME, JUNIT, HTML] {
            output::free_or(&self.folder.join(name), PathKind::File)?;
        }
        for name in [CASES, PREVIOUS] {
            output::free_or(&self.folder.join(name), PathKind::Folder)?;
        }
        Ok(())
    }

    /// Whether daxtests made it, or may: it carries the marker, or a journal, which is what is
    /// left of results that were copied without hidden files; or it is empty.
    fn is_ours(&self) -> Result<bool, Refusal> {
        let io = |why| Refusal::Io { path: self.folder.clone(), why };
        if self.is_marked() {
            return Ok(true);
        }
        let journal = self.journal();
        if is_file(&journal) && begins_a_run(&journal) {
            return Ok(true);
        }
        Ok(fs::read_dir(&self.folder).map_err(io)?.next().is_none())
    }

    /// Whether it carries the marker.
    pub(crate) fn is_marked(&self) -> bool {
        is_file(&self.folder.join(MARKER))
    }

    /// Takes the folder, which is made if it is not there.
    pub(crate) fn claim(&self) -> Result<(), Refusal> {
        self.check_ours()?;
        fs::create_dir_all(&self.folder)
            .map_err(|why| Refusal::Io { path: self.folder.clone(), why })?;
        let path = self.folder.join(MARKER);
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        match made.and_then(|mut file| file.write_all(MARK.as_bytes())) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                Err(Refusal::Io { path, why })
            }
            _ => Ok(()),
        }
    }

    /// Tries another place for a report, which may be in this folder but not in place of what is
    /// written here.
    pub(crate) fn open_other(&self, path: &Path) -> Result<Output, Refusal> {
        let output = Output::open(path, Some(&self.folder))?;
        if let (Some(file), Ok(folder)) = (output.file(), std::path::absolute(&self.folder)) {
            let folder = folder.canonicalize().unwrap_or(folder);
            let own = [MARKER, journal::NAME, HTML, CASES, PREVIOUS];
            if own.iter().any(|name| file.starts_with(folder.join(name))) {
                return Err(Refusal::Own(path.to_owned()));
            }
        }
        Ok(output)
    }

    /// Begins a new run here; the results of an earlier one make way.
    pub(crate) fn begin(&self) -> anyhow::Result<Journal> {
        self.claim()?;
        let path = self.journal();
        // Whoever holds the journal's lock writes these results.
        let lock = if path.exists() { Some(journal::lock(&path)?) } else { None };
        if self.has_results() {
            let previous = self.previous();
            previous.check_ours()?;
            previous.clear()?;
            previous.claim()?;
            self.move_to(&previous)?;
        } else {
            self.clear()?;
        }
        let journal = Journal::create(&path)?;
        drop(lock);
        Ok(journal)
    }

    /// Goes on with the run that is recorded here.
    pub(crate) fn resume(&self) -> anyhow::Result<(Journal, Vec<Entry>)> {
        let path = self.journal();
        anyhow::ensure!(path.exists(), "{}: there is no journal", self.folder.display());
        self.check()?;
        Ok(Journal::resume(&path)?)
    }

    /// The events recorded here.
    pub(crate) fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let path = self.journal();
        if path.exists() && !path.is_file() {
            return Err(Refusal::NoJournal(path).into());
        }
        Ok(journal::read(&path)?.0)
    }

    /// The events of the last run that came to a case.
    pub(crate) fn last_entries(&self) -> anyhow::Result<Vec<Entry>> {
        let previous = self.previous();
        if !self.has_results() && previous.has_results() {
            return previous.entries();
        }
        self.entries()
    }

    /// Whether a case has begun here. A run that came to none has no results.
    pub(crate) fn has_results(&self) -> bool {
        lines(&self.journal()).any(|entry| matches!(entry.event, RunEvent::CaseBegun { .. }))
    }

    /// The folders that cases of the journal may have, from this one.
    fn case_folders(&self) -> BTreeSet<PathBuf> {
        lines(&self.journal())
            .filter_map(|entry| match entry.event {
                RunEvent::CaseBegun { case, iteration, .. } => Some(Self::inside(&case, iteration)),
                _ => None,
            })
            .filter(|inside| inside.components().all(|part| matches!(part, Component::Normal(_))))
            .collect()
    }

    /// The same, where they are there: the folder above, and the names of those in it. Results may
    /// lie on a slow file system, so each folder is looked at once.
    fn found_folders(&self) -> anyhow::Result<Vec<(PathBuf, Vec<OsString>)>> {
        let mut named = BTreeMap::<PathBuf, BTreeSet<OsString>>::new();
        for folder in self.case_folders() {
            if let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) {
                named.entry(above.to_owned()).or_default().insert(name.to_owned());
            }
        }
        let mut found = Vec::new();
        for (above, names) in named {
            if !self.is_folder(&above)? {
                continue;
            }
            let there = entries(&self.folder.join(&above))?;
            let is_there = |name: &OsString| there.get(name).is_some_and(FileType::is_dir);
            found.push((above, names.into_iter().filter(is_there).collect()));
        }
        Ok(found)
    }

    /// Removes what the journal names, the journal itself last: until all else is gone it must
    /// tell what there is.
    fn clear(&self) -> anyhow::Result<()> {
        for (above, names) in self.found_folders()? {
            for name in names {
                let folder = self.folder.join(&above).join(name);
                for (name, kind) in entries(&folder)? {
                    if CaseFile::is_name(&name) && kind.is_file() {
                        let path = folder.join(name);
                        fs::remove_file(&path).with_context(|| path.display().to_string())?;
                    }
                }
                // What is somebody else's stays, and so does its folder.
                let _ = fs::remove_dir(&folder);
            }
            self.leave(&above);
        }
        for name in [JUNIT, HTML, journal::NAME] {
            if let Some(path) = self.found(Path::new(name))? {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Removes the run that is recorded here and the folder, if nothing else is in it. One that never
    /// began, or that another runner writes, stays.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        self.check_ours()?;
        let journal = self.journal();
        let _lock = match journal::lock(&journal) {
            Ok(lock) => lock,
            Err(journal::Error::Busy { .. }) => return Ok(()),
            Err(_) if !journal.exists() => return Ok(()),
            Err(why) => return Err(why.into()),
        };
        self.clear()?;
        if entries(&self.folder)?.keys().all(|name| name == MARKER) {
            let marker = self.folder.join(MARKER);
            fs::remove_file(&marker).with_context(|| marker.display().to_string())?;
            fs::remove_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        }
        Ok(())
    }

    /// Gives up a folder that was made for a run, and in which there is none yet.
    pub(crate) fn leave_empty(&self) {
        // What is somebody else's stays, and so does the folder.
        if entries(&self.folder).is_ok_and(|there| there.keys().all(|name| name == MARKER)) {
            let _ = fs::remove_file(self.folder.join(MARKER));
            let _ = fs::remove_dir(&self.folder);
        }
    }

    /// Moves what the journal names, the journal itself last.
    fn move_to(&self, other: &Self) -> anyhow::Result<()> {
        for (above, names) in self.found_folders()? {
            if names.is_empty() {
                continue;
            }
            other.make_folder(&above)?;
            for name in names {
                self.move_case(other, &above.join(name))?;
            }
            self.leave(&above);
        }
        for name in [JUNIT, HTML, journal::NAME] {
            if self.found(Path::new(name))?.is_some() {
                self.move_file(other, Path::new(name))?;
            }
        }
        Ok(())
    }

    /// Moves the folder of a case; of one that holds what is somebody else's, only what is not.
    fn move_case(&self, other: &Self, inside: &Path) -> anyhow::Result<()> {
        let (from, to) = (self.folder.join(inside), other.folder.join(inside));
        let there = entries(&from)?;
        let is_ours =
            |(name, kind): &(&OsString, &FileType)| CaseFile::is_name(name) && kind.is_file();
        if there.iter().all(|entry| is_ours(&entry)) && fs::symlink_metadata(&to).is_err() {
            return fs::rename(&from, &to).with_context(|| to.display().to_string());
        }
        other.make_folder(inside)?;
        for (name, _) in there.iter().filter(is_ours) {
            self.move_file(other, &inside.join(name))?;
        }
        let _ = fs::remove_dir(&from);
        Ok(())
    }

    fn move_file(&self, other: &Self, inside: &Path) -> anyhow::Result<()> {
        let to = other.folder.join(inside);
        output::free_or(&to, PathKind::File)?;
        fs::rename(self.folder.join(inside), &to).with_context(|| to.display().to_string())
    }

    /// Whether it is a folder, and no link leads to it.
    fn is_folder(&self, inside: &Path) -> Result<bool, Refusal> {
        let mut path = self.folder.clone();
        for part in inside.components() {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Ok(false),
                Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(why) => return Err(Refusal::Io { path, why }),
            }
        }
        Ok(true)
    }

    /// The path of a regular file, if it is there and no link leads to it.
    fn found(&self, inside: &Path) -> Result<Option<PathBuf>, Refusal> {
        if !self.is_folder(inside.parent().unwrap_or(Path::new("")))? {
            return Ok(None);
        }
        let path = self.folder.join(inside);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(path)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Refusal::Io { path, why }),
        }
    }

    /// Removes a folder and those above it, as far as they have become empty. One that has not holds
    /// what is somebody else's.
    fn leave(&self, inside: &Path) {
        for folder in inside.ancestors().filter(|folder| *folder != Path::new("")) {
            if fs::remove_dir(self.folder.join(folder)).is_err() {
                return;
            }
        }
    }

    /// Makes a folder inside, in which no part is a link.
    fn make_folder(&self, inside: &Path) -> Result<(), Refusal> {
        let mut path = self.folder.clone();
        for part in inside.components() {
            path.push(part);
            match fs::create_dir(&path) {
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                    output::free_or(&path, PathKind::Folder)?;
                }
                made => made.map_err(|why| Refusal::Io { path: path.clone(), why })?,
            }
        }
        Ok(())
    }

    /// Replaces the JUnit report.
    pub(crate) fn write_junit(&self, xml: &[u8]) -> Result<(), output::Error> {
        output::replace(&self.folder.join(JUNIT), xml)
    }

    /// Replaces the report that is a page.
    pub(crate) fn write_html(&self, page: &str) -> Result<(), output::Error> {
        output::replace(&self.folder.join(HTML), page.as_bytes())
    }

    /// The folder of a case inside the results.
    pub(crate) fn inside(case: &str, iteration: u64) -> PathBuf {
        let mut name = case.to_owned();
        if iteration > 0 {
            name = format!("{name}.{}", iteration + 1);
        }
        Path::new(CASES).join(name)
    }

    /// The case whose folder this is.
    pub(crate) fn case_of(folder: &Path) -> anyhow::Result<String> {
        let text = folder.display().to_string();
        let inside = text.trim_end_matches('/').rsplit_once(&format!("{CASES}/"));
        let Some((_, name)) = inside else {
            bail!("{text} is no folder of a case: those are RESULTS/{CASES}/CASE");
        };
        // A later iteration has its number behind the name.
        let numbered = name.rsplit_once('.').filter(|(_, number)| number.parse::<u64>().is_ok());
        Ok(numbered.map_or(name, |(name, _)| name).to_owned())
    }

    /// Removes what an interrupted run may have left of a case that begins: its files must not
    /// be taken for this run's.
    pub(crate) fn begin_case(&self, case: &str, iteration: u64) -> anyhow::Result<()> {
        let inside = Self::inside(case, iteration);
        if matches!(self.folder.join(&inside).try_exists(), Ok(false)) {
            return Ok(());
        }
        for file in CaseFile::ALL {
            if let Some(path) = self.found(&inside.join(file.name()))? {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Writes a file into a case's folder.
    pub(crate) fn write(&self, inside: &Path, file: CaseFile, bytes: &[u8]) -> anyhow::Result<()> {
        self.make_folder(inside)?;
        let path = self.folder.join(inside).join(file.name());
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .and_then(|mut file| file.write_all(bytes))
            .with_context(|| path.display().to_string())
    }

    /// Keeps what was seen of a case, if someone may want to look at it.
    pub(crate) fn keep(&self, outcome: &mut Outcome, evidence: &Evidence) -> anyhow::Result<()> {
        let inside = Self::inside(&outcome.case, outcome.iteration);
        if let Some(traced) = evidence.traced.as_ref().filter(|it| it.is_kept(outcome.verdict)) {
            for (file, bytes) in traced.files() {
                self.write(&inside, file, &bytes)?;
            }
        }
        if matches!(outcome.verdict, Verdict::Pass | Verdict::NotRun) {
            return Ok(());
        }
        let Evidence { watched, log, .. } = evidence;
        self.make_folder(&inside)?;
        let write = |file: CaseFile, text: &str| -> anyhow::Result<()> {
            if text.is_empty() {
                return Ok(());
            }
            self.write(&inside, file, text.as_bytes())
        };
        let problems: Vec<_> = outcome
            .problems
            .iter()
            .map(|problem| format!("{}\n\n{}\n", problem.title, problem.text))
            .collect();
        write(CaseFile::Problems, &problems.join("\n"))?;
        write(CaseFile::Transcript, &watched.transcript)?;
        write(CaseFile::Observed, &watched.observed)?;
        if let Some(golden) = crate::expected::of(&outcome.case) {
            write(CaseFile::Expected, golden)?;
        }
        write(CaseFile::KernelLog, &log.text())?;
        write(CaseFile::Stacks, watched.stacks.as_deref().unwrap_or_default())?;
        write(CaseFile::Stderr, &watched.stderr)?;
        outcome.folder = Some(inside);
        Ok(())
    }
}

/// What is in a folder. Of a link the kind is that of the link.
fn entries(folder: &Path) -> anyhow::Result<BTreeMap<OsString, FileType>> {
    let named = |entry: io::Result<DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name(), entry.file_type()?))
    };
    let read = fs::read_dir(folder).and_then(|entries| entries.map(named).collect());
    read.with_context(|| folder.display().to_string())
}

/// Whether it is a file, and no link to one.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|path| path.is_file())
}

/// Whether the first line is a run's.
fn begins_a_run(journal: &Path) -> bool {
    let mut line = Vec::new();
    let read =
        File::open(journal).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    let entry = read.ok().and_then(|_| serde_json::from_slice::<Entry>(&line).ok());
    entry.is_some_and(|entry| matches!(entry.event, RunEvent::Begun { .. }))
}

/// The entries of a journal that can be read. What cannot is passed over: this is for what the
/// journal names, and of what it does not name nothing is touched. A pipe would be waited for.
fn lines(journal: &Path) -> impl Iterator<Item = Entry> {
    let file = journal.is_file().then(|| File::open(journal).ok()).flatten();
    file.into_iter()
        .flat_map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok))
        .filter_map(|line| serde_json::from_slice(&line).ok())
}

#[cfg(test)]
mod tests;
