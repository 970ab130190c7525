//! `runner report`: runs told again, from their journals alone, also those that were cut off. Several
//! are told as one.
//!
//! The reports inside a results folder tell of the run in it. What is printed, written elsewhere and
//! returned as the exit code tells of all that was named, and of a share as of a share: what is
//! missing of the whole makes that incomplete.

use std::collections::BTreeMap;
use std::path::{self, Path, PathBuf};

use anyhow::bail;

use crate::exit::Exit;
use crate::history::History;
use crate::merge;
use crate::name;
use crate::output::{self, Output};
use crate::print;
use crate::report::github::Github;
use crate::report::kcidb::{self, Submission};
use crate::report::{Format, html, json, junit, ktap, terminal};
use crate::results::{Refusal, Results};
use crate::run;
use crate::runs::Runs;

/// The options that name a place for a report.
const JUNIT: &str = "--junit";
const HTML: &str = "--html";
const KCIDB: &str = "--kcidb";

/// What to tell again, and where.
#[derive(Debug)]
pub(crate) struct Retelling {
    /// The runs' folders.
    pub(crate) folders: Vec<PathBuf>,
    /// Another place for the JUnit report.
    pub(crate) junit: Option<PathBuf>,
    /// Another place for the page.
    pub(crate) html: Option<PathBuf>,
    /// The place for the report to KCIDB, and what that is to know it by.
    pub(crate) kcidb: Option<(PathBuf, Submission)>,
    /// What to print.
    pub(crate) format: Format,
}

impl Retelling {
    /// The places that reports are to go to, with the options that name them.
    fn named(&self) -> Vec<(&'static str, &Path)> {
        let kcidb = self.kcidb.as_ref().map(|(path, _)| path);
        [(JUNIT, self.junit.as_ref()), (HTML, self.html.as_ref()), (KCIDB, kcidb)]
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?.as_path())))
            .collect()
    }
}

/// Does what `asked` says.
pub(crate) fn tell(asked: &Retelling, github: Option<&Github>) -> anyhow::Result<Exit> {
    let named = asked.named();
    for (at, (option, path)) in named.iter().enumerate() {
        for (other_option, other) in &named[..at] {
            if path.as_os_str() != "-" && path::absolute(path)? == path::absolute(other)? {
                bail!("{other_option} and {option} would both write to {}", other.display());
            }
        }
    }
    let folders = asked.folders.iter().map(|folder| Runs::results(folder));
    let folders = folders.collect::<anyhow::Result<Vec<_>>>()?;
    let read = |folder: &PathBuf| Ok((folder.clone(), Results::at(folder).entries()?));
    let runs = folders.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let own = match &runs[..] {
        [(folder, entries)] => Some((Results::at(folder), History::of(entries))),
        _ => None,
    };
    let suites = merge::suites(runs)?;
    let mut outputs = BTreeMap::new();
    for (option, path) in &named {
        if let Some(output) = other(path, &folders)? {
            outputs.insert(*option, output);
        }
    }
    let is_stdout = |option: &&str| outputs.get(option).is_some_and(Output::is_stdout);
    let to_stdout: Vec<_> = named.iter().map(|(option, _)| *option).filter(is_stdout).collect();
    match to_stdout[..] {
        [] => {}
        [_] if asked.format == Format::Text => print::yield_stdout(),
        [_] => bail!("a report and --format would both write to standard output"),
        [one, other, ..] => bail!("{one} and {other} would both write to standard output"),
    }
    if let Some((results, history)) = own {
        rebuild(&results, &history, !outputs.is_empty())?;
    }
    let told: Vec<&History> = suites.iter().map(|suite| &suite.history).collect();
    if let Some(output) = outputs.get(JUNIT) {
        output.write(&junit::xml(&told)?)?;
    }
    if let Some(output) = outputs.get(HTML) {
        let folder = output.file().and_then(Path::parent).unwrap_or(Path::new("."));
        output.write(html::page(&told, folder).as_bytes())?;
    }
    if let (Some(output), Some((_, submission))) = (outputs.get(KCIDB), &asked.kcidb) {
        output.write(&kcidb::json(&told, submission)?)?;
    }
    match asked.format {
        Format::Text => print::line(terminal::summaries(&told)),
        Format::Json => json::retell(&suites),
        Format::Ktap => ktap::retell(&suites),
    }
    if let Some(github) = github {
        github.tell(&told, asked.format);
    }
    Ok(Exit::of_all(told))
}

/// Another place for a report, tried. It may not be in place of what any of the runs wrote.
fn other(path: &Path, folders: &[PathBuf]) -> Result<Option<Output>, Refusal> {
    let mut output = None;
    for folder in folders {
        output = Some(Results::at(folder).open_other(path)?);
    }
    Ok(output)
}

/// Makes the reports in a run's folder anew, if it can be written to.
fn rebuild(results: &Results, history: &History, elsewhere: bool) -> anyhow::Result<()> {
    let why = match results.check() {
        Ok(()) => return run::write_reports(history, results, None),
        // Copied without hidden files, and its journal lacks its beginning.
        Err(Refusal::Foreign(folder)) => {
            format!("nothing says that daxtests made {}", folder.display())
        }
        // Results may lie where nobody can write: on a medium, or as somebody else's.
        Err(Refusal::Output(why @ output::Error::Closed { .. })) => why.to_string(),
        Err(Refusal::Output(why)) if elsewhere => why.to_string(),
        Err(why @ Refusal::Output(_)) => bail!("{why}; to report elsewhere: --junit PATH"),
        Err(why) => return Err(why.into()),
    };
    let folder = results.folder().display();
    print::note(format_args!("{}: the reports in {folder} are not rebuilt: {why}", name::own()));
    Ok(())
}
