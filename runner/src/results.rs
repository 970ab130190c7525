//! The results folder: the journal, `junit.xml`, and a folder for each case that needs a look.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::journal::{self, Entry, Journal, Outcome};
use crate::kmsg::Log;
use crate::verdict::Verdict;
use crate::watch::Watched;

/// The folder of the cases' folders.
const CASES: &str = "cases";

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

    /// Where the JUnit report is written.
    pub(crate) fn junit(&self) -> PathBuf {
        self.folder.join("junit.xml")
    }

    fn journal(&self) -> PathBuf {
        self.folder.join(journal::NAME)
    }

    /// Begins a new run here; the results of an earlier one make way.
    pub(crate) fn begin(&self) -> anyhow::Result<Journal> {
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        // Locked and emptied first, so that no other runner's results are removed.
        let journal = Journal::create(&self.journal())?;
        let cases = self.folder.join(CASES);
        if cases.exists() {
            fs::remove_dir_all(&cases).with_context(|| cases.display().to_string())?;
        }
        let _ = fs::remove_file(self.junit());
        Ok(journal)
    }

    /// Goes on with the run that is recorded here.
    pub(crate) fn resume(&self) -> anyhow::Result<(Journal, Vec<Entry>)> {
        let path = self.journal();
        anyhow::ensure!(path.exists(), "{}: there is no journal", self.folder.display());
        Ok(Journal::resume(&path)?)
    }

    /// The events recorded here.
    pub(crate) fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        Ok(journal::read(&self.journal())?.0)
    }

    /// Where a case's standard error is kept while it runs.
    pub(crate) fn stderr(&self) -> PathBuf {
        self.folder.join("stderr.tmp")
    }

    /// The folder of a case inside the results.
    pub(crate) fn inside(case: &str, iteration: u64) -> PathBuf {
        let mut name = case.to_owned();
        if iteration > 0 {
            name = format!("{name}.{}", iteration + 1);
        }
        Path::new(CASES).join(name)
    }

    /// Keeps what was seen of a case, if someone may want to look at it.
    pub(crate) fn keep(
        &self,
        outcome: &mut Outcome,
        watched: &Watched,
        log: &Log,
    ) -> anyhow::Result<()> {
        if matches!(outcome.verdict, Verdict::Pass | Verdict::NotRun) {
            return Ok(());
        }
        let inside = Self::inside(&outcome.case, outcome.iteration);
        let folder = self.folder.join(&inside);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let write = |name: &str, text: &str| -> anyhow::Result<()> {
            if text.is_empty() {
                return Ok(());
            }
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        let problems: Vec<_> = outcome
            .problems
            .iter()
            .map(|problem| format!("{}\n\n{}\n", problem.title, problem.text))
            .collect();
        write("problems.txt", &problems.join("\n"))?;
        write("transcript.out", &watched.transcript)?;
        if let Some(golden) = crate::expected::transcript(&outcome.case) {
            write("expected.out", golden)?;
        }
        write("kernel.log", &log.text())?;
        write("stacks.txt", watched.stacks.as_deref().unwrap_or_default())?;
        write("stderr.txt", &watched.stderr)?;
        outcome.folder = Some(inside);
        Ok(())
    }
}
