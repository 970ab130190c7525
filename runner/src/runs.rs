//! A folder of runs: a results folder for each, named so that they sort, and `latest`, a link to the
//! newest.
//!
//! As in a results folder, nothing is removed, replaced or followed that daxtests did not make. The
//! folder carries a marker; what in it has the name of a run and the marker of results is a run; the
//! link is ours if it leads to such a name beside it. `latest` moves when a run comes to its first
//! case: one that comes to none takes nobody's place.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};

use crate::fs::FsType;
use crate::history::History;
use crate::output::{self, Output};
use crate::plan::Plan;
use crate::results::{RUNS as MARKER, Refusal, Results};

/// The marker's text, for curious readers.
const MARK: &str = "daxtests keeps runs here: it removes the oldest only if --keep says so.\n";

/// The link to the newest run.
const LATEST: &str = "latest";

/// How long a run's name begins: 20261130T181629Z.
const STAMP: usize = 16;

/// Names that are tried for a run: others may begin within the same second.
const NAMES: u64 = 60;

/// A folder of runs.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    folder: PathBuf,
}

/// A run that begins in such a folder.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    runs: Runs,
    name: String,
    /// How many are to be left, this one counted.
    keep: Option<usize>,
}

impl Runs {
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Those in `folder`, if it is one of runs.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        is_file(&folder.join(MARKER)).then(|| Self::at(folder))
    }

    /// The results in `folder`; if it is one of runs, or its link to the newest, the newest.
    pub(crate) fn results(folder: &Path) -> anyhow::Result<PathBuf> {
        if let Some(runs) = Self::of(folder) {
            return runs.latest();
        }
        // Another run may move the link while this one is written.
        if folder.file_name().is_some_and(|name| name == LATEST)
            && let Some(runs) = folder.parent().and_then(|above| Self::of(&or_here(above)))
        {
            return runs.latest();
        }
        Ok(folder.to_owned())
    }

    /// Checks that the folder may be taken and written to; nothing is changed.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        match fs::metadata(&self.folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Refusal::NotAFolder(self.folder.clone())),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return Ok(output::try_to_make(&self.folder, &self.folder)?);
            }
            Err(why) => return Err(self.io(why)),
        }
        // Another runner that begins here for the first time tries the folder as this one does, and marks it
        // before it makes anything that stays.
        let stays = |entry: io::Result<fs::DirEntry>| {
            entry.map_or(true, |entry| {
                !entry.file_name().to_string_lossy().starts_with(output::TEMPORARY)
            })
        };
        let is_used = fs::read_dir(&self.folder).map_err(|why| self.io(why))?.any(stays)
            || Results::at(&self.folder).is_marked();
        if is_used && !is_file(&self.folder.join(MARKER)) {
            return Err(Refusal::NotRuns(self.folder.clone()));
        }
        self.link()?;
        Ok(output::try_to_make(&self.folder, &self.folder)?)
    }

    fn io(&self, why: io::Error) -> Refusal {
        Refusal::Io { path: self.folder.clone(), why }
    }

    /// The name to which `latest` leads, if it is there.
    fn link(&self) -> Result<Option<String>, Refusal> {
        let path = self.folder.join(LATEST);
        let target = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => fs::read_link(&path),
            Ok(_) => return Err(Refusal::NotLatest(path)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => Err(why),
        };
        let target = target.map_err(|why| Refusal::Io { path: path.clone(), why })?;
        match target.to_str() {
            Some(name) if is_name(name) => Ok(Some(name.to_owned())),
            _ => Err(Refusal::NotLatest(path)),
        }
    }

    /// The newest run.
    fn latest(&self) -> anyhow::Result<PathBuf> {
        let Some(name) = self.link()? else {
            bail!("no run in {} has come to a case", self.folder.display());
        };
        let folder = self.folder.join(&name);
        if !is_folder(&folder) {
            bail!("{} leads to {name}, which is gone", self.folder.join(LATEST).display());
        }
        Ok(folder)
    }

    /// The names of all runs, oldest first.
    fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string());
        for entry in entries? {
            let entry = entry.with_context(|| self.folder.display().to_string())?;
            if let Ok(name) = entry.file_name().into_string()
                && is_name(&name)
                && is_folder(&entry.path())
                && Results::at(&entry.path()).is_marked()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The newest run, and before it the newest of those before on the same file system and shape.
    pub(crate) fn last_two(&self) -> anyhow::Result<[PathBuf; 2]> {
        let new = self.latest()?;
        let configuration = |folder: &Path| -> anyhow::Result<Option<String>> {
            let history = History::of(&Results::at(folder).entries()?);
            Ok(history.plan.map(|plan| plan.configuration()))
        };
        let wanted = configuration(&new)?;
        let new_name = new.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for name in self.names()?.iter().rev().filter(|name| name.as_str() < new_name) {
            let old = self.folder.join(name);
            if Results::at(&old).has_results() && configuration(&old)? == wanted {
                return Ok([old, new]);
            }
        }
        bail!(
            "{}: no run before {new_name} is on {}; name the runs to compare",
            self.folder.display(),
            wanted.as_deref().unwrap_or("the same file system")
        )
    }

    /// Makes the folder for a run of `plan` on a kernel of this release.
    pub(crate) fn begin(
        &self,
        plan: &Plan,
        kernel: &str,
        keep: Option<usize>,
    ) -> Result<NewRun, Refusal> {
        self.check()?;
        self.claim()?;
        let now = SystemTime::now();
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for later in 0..NAMES {
            let name = name(now + Duration::from_secs(later), plan, kernel);
            // Two of one second have no order.
            let begins = |other: &String| other.starts_with(&name[..STAMP]);
            if self.names().is_ok_and(|names| names.iter().any(begins)) {
                continue;
            }
            match fs::create_dir(self.folder.join(&name)) {
                Ok(()) => {
                    let new = NewRun { runs: self.clone(), name, keep };
                    new.results().claim().inspect_err(|_| new.results().leave_empty())?;
                    return Ok(new);
                }
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => taken = why,
                Err(why) => return Err(self.io(why)),
            }
        }
        Err(self.io(taken))
    }

    /// Takes the folder, which is made if it is not there. If it cannot have its marker, it is left as
    /// it was.
    fn claim(&self) -> Result<(), Refusal> {
        let is_new = fs::symlink_metadata(&self.folder).is_err();
        fs::create_dir_all(&self.folder).map_err(|why| self.io(why))?;
        let path = self.folder.join(MARKER);
        let made = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(MARK.as_bytes()).inspect_err(|_| {
                // It is this run's own, and says nothing yet.
                let _ = fs::remove_file(&path);
            }),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(why) => Err(why),
        };
        made.map_err(|why| {
            if is_new {
                // What another runner has made in it stays.
                let _ = fs::remove_dir(&self.folder);
            }
            Refusal::Io { path, why }
        })
    }

    /// Tries another place for a report, which may not be in this folder: there it would be a run's.
    pub(crate) fn open_other(&self, path: &Path) -> Result<Output, Refusal> {
        let output = Output::open(path, None)?;
        if let (Some(file), Ok(folder)) = (output.file(), std::path::absolute(&self.folder))
            && file.starts_with(folder.canonicalize().unwrap_or(folder))
        {
            return Err(Refusal::Own(path.to_owned()));
        }
        Ok(output)
    }
}

impl NewRun {
    /// Its results.
    pub(crate) fn results(&self) -> Results {
        Results::at(&self.runs.folder.join(&self.name))
    }

    /// It comes to a case: `latest` leads here. Whoever reads it finds the old run or this one.
    pub(crate) fn point(&self) -> anyhow::Result<()> {
        let path = self.runs.folder.join(LATEST);
        if self.runs.link()?.is_some_and(|other| other > self.name) {
            // A newer one was quicker.
            return Ok(());
        }
        let fresh = self.runs.folder.join(format!(".{LATEST}-{}", self.name));
        if fs::symlink_metadata(&fresh).is_ok_and(|metadata| metadata.is_symlink()) {
            // It was interrupted here, and goes on.
            fs::remove_file(&fresh).with_context(|| fresh.display().to_string())?;
        }
        symlink(&self.name, &fresh).with_context(|| fresh.display().to_string())?;
        if let Err(why) = fs::rename(&fresh, &path) {
            // It is this run's own.
            let _ = fs::remove_file(&fresh);
            return Err(why).with_context(|| path.display().to_string());
        }
        Ok(())
    }

    /// It is over: the oldest runs go, if only some are to be kept, and those that came to no case. One
    /// that another runner writes stays, and what in one daxtests did not make.
    pub(crate) fn prune(&self) -> anyhow::Result<()> {
        let Some(keep) = self.keep else { return Ok(()) };
        let (counted, empty): (Vec<_>, Vec<_>) = self
            .runs
            .names()?
            .into_iter()
            .filter(|name| *name < self.name)
            .partition(|name| Results::at(&self.runs.folder.join(name)).has_results());
        let surplus = (counted.len() + 1).saturating_sub(keep);
        for name in counted[..surplus.min(counted.len())].iter().chain(&empty) {
            Results::at(&self.runs.folder.join(name)).remove()?;
        }
        Ok(())
    }
}

/// What a run is called that began then.
fn name(begin: SystemTime, plan: &Plan, kernel: &str) -> String {
    let stamp = humantime::format_rfc3339_seconds(begin).to_string().replace(['-', ':'], "");
    let mut name = format!("{stamp}-{}", plan.configuration());
    if plan.target.fs != FsType::Reference {
        name = format!("{name}-{kernel}");
    }
    name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.+~".contains(c)
}

/// Whether a run is called so.
fn is_name(name: &str) -> bool {
    let Some((stamp, rest)) = name.split_once('-') else { return false };
    let is_stamp = stamp.len() == STAMP
        && stamp.char_indices().all(|(at, c)| match at {
            8 => c == 'T',
            15 => c == 'Z',
            _ => c.is_ascii_digit(),
        });
    is_stamp && !rest.is_empty() && rest.chars().all(is_plain)
}

/// The folder above a bare name.
fn or_here(folder: &Path) -> PathBuf {
    if folder == Path::new("") { PathBuf::from(".") } else { folder.to_owned() }
}

/// Whether it is a file, and no link to one.
fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether it is a folder, and no link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests;
