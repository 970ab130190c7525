//! `runner finds`: the finds, their index, and a mail that reports one.
//!
//! The facts are `known.toml`'s, where a find was seen is for journals to tell, and the prose is
//! written by hand; this puts them together. See CONTRIBUTING.md for how a find comes to be.

mod explain;
mod index;
mod mail;
mod page;
mod seen;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anstyle::Style;
use anyhow::{Context as _, bail, ensure};
use program::suggest;
use serde::Serialize;

use crate::find::{Facts, Find};
use crate::fs::FsType;
use crate::known::{self, Deviation, Deviations};
use crate::report::compare;
use crate::target::Target;
use crate::{machine, name, output, print};
use index::in_order;
use seen::{SeenOn, Sightings};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum FindsRequest {
    /// All finds, for people or for programs.
    List {
        /// One JSON document.
        json: bool,
    },
    /// The index.
    Index {
        /// Results folders or journals.
        results: Vec<PathBuf>,
        /// The folder of the documentation to bring up to date; none: print the index.
        update: Option<PathBuf>,
        /// Forget what was seen before.
        fresh: bool,
    },
    /// What explains the findings of a tracer, for programs.
    Explain {
        /// The lines of the tracer.
        path: PathBuf,
        /// What was traced.
        target: Target,
    },
    /// The mail that reports a find.
    Mail(&'static Find, Facts),
}

/// Does it.
pub(crate) fn run(request: &FindsRequest) -> anyhow::Result<()> {
    let deviations = Deviations::built_in("")?;
    match request {
        FindsRequest::List { json: true } => print::json(&items(&deviations)),
        FindsRequest::List { json: false } => print::text(list(&items(&deviations))),
        FindsRequest::Index { results, update: Some(docs), fresh } => {
            update(docs, results, *fresh, &deviations)?;
        }
        FindsRequest::Index { results, update: None, .. } => {
            let seen = if results.is_empty() {
                page::seen()?
            } else {
                with(Sightings::default(), results, &deviations)?
            };
            print::text(index::text(&seen, &deviations));
        }
        FindsRequest::Explain { path, target } => {
            let here = Deviations::built_in(&machine::here().kernel)?;
            print::json(&explain::all(path, target, &here)?);
        }
        FindsRequest::Mail(find, facts) => {
            print::text(mail::text(find, *facts, &page::seen()?, &deviations)?);
        }
    }
    Ok(())
}

/// The find of this number or id.
pub(crate) fn named(name: &str) -> anyhow::Result<(&'static Find, Facts)> {
    let told: Vec<_> = known::FINDS.iter().filter_map(|find| Some((find, find.facts?))).collect();
    let is_meant =
        |(find, facts): &&(&Find, Facts)| find.id == name || name.parse() == Ok(facts.number);
    if let Some(found) = told.iter().find(is_meant) {
        return Ok(*found);
    }
    match suggest::nearest(name, told.iter().map(|(find, _)| find.id.as_str())) {
        Some(near) => bail!("there is no find {name}; did you mean {near}?"),
        None => bail!("there is no find {name}; {} finds list shows all", name::own()),
    }
}

/// A find, as programs read it.
#[derive(Debug, Serialize)]
struct ListedFind<'f> {
    number: u32,
    id: &'f str,
    severity: &'static str,
    what: &'f str,
    case: &'static str,
    program: &'static str,
    /// Where the program's case shows it: on these file systems, and with these shapes.
    fs: Vec<&'static str>,
    shapes: Vec<&'f str>,
    /// Whether the program may leave what only a reboot undoes, by whatever find.
    wedges: bool,
    introduced_by: &'f [String],
    fixed_by: &'f [String],
}

fn items(deviations: &Deviations) -> Vec<ListedFind<'_>> {
    let item = |(find, facts): (_, Facts)| {
        let find: &Find = find;
        let entries = || deviations.entries(&find.id).filter(|known| known.is_about(facts.program));
        let shapes: BTreeSet<_> =
            entries().flat_map(Deviation::shapes).map(String::as_str).collect();
        ListedFind {
            number: facts.number,
            id: &find.id,
            severity: facts.severity.words(),
            what: &find.what,
            case: facts.case.name,
            program: facts.program.name,
            fs: [FsType::Xfs, FsType::Ext4]
                .into_iter()
                .filter(|fs| entries().any(|known| known.is_on(*fs)))
                .map(FsType::name)
                .collect(),
            shapes: shapes.into_iter().collect(),
            wedges: deviations
                .finds()
                .iter()
                .flat_map(|other| deviations.entries(&other.id))
                .any(|known| known.wedges && known.is_about(facts.program)),
            introduced_by: &find.introduced_by,
            fixed_by: &find.fixed_by,
        }
    };
    in_order(deviations).into_iter().map(item).collect()
}

/// A line a find.
fn list(items: &[ListedFind]) -> String {
    let bold = Style::new().bold();
    let width = |of: fn(&ListedFind) -> usize| items.iter().map(of).max().unwrap_or_default();
    let (id, severity) = (width(|item| item.id.len()), width(|item| item.severity.len()));
    let mut text = String::new();
    for item in items {
        let _ = writeln!(
            text,
            "{:>3}  {bold}{:id$}{bold:#}  {:severity$}  {}",
            item.number, item.id, item.severity, item.what
        );
    }
    text
}

/// What was seen, with what `results` tell.
fn with(
    mut seen: Sightings,
    results: &[PathBuf],
    deviations: &Deviations,
) -> anyhow::Result<Sightings> {
    for path in results {
        let shown = path.display();
        let history = compare::read(path)?;
        let place = SeenOn::of(&history, deviations).with_context(|| shown.to_string())?;
        for id in seen::unknown(&history, deviations) {
            print::note(format_args!(
                "{}: {shown}: passed over what failed as {id}, a find that expected/known.toml \
                 does not have",
                name::own()
            ));
        }
        seen.add(place, deviations);
    }
    Ok(seen)
}

/// Brings the documentation up to date: what was seen, the pages' heads, the index.
fn update(
    docs: &Path,
    results: &[PathBuf],
    fresh: bool,
    deviations: &Deviations,
) -> anyhow::Result<()> {
    let folder = docs.join("finds");
    ensure!(
        folder.is_dir(),
        "{}: there is no such folder; name the docs of daxtests' source",
        folder.display()
    );
    let path = folder.join(page::SEEN);
    let before = match read(&path)? {
        Some(text) => Sightings::parse(&text).with_context(|| path.display().to_string())?,
        None => Sightings::default(),
    };
    let before = if fresh { Sightings::default() } else { before };
    let seen = with(before, results, deviations)?;
    // All of it, before anything is written.
    let mut files = vec![(path, seen.text())];
    for (find, facts) in in_order(deviations) {
        let path = folder.join(find.page().unwrap_or_default());
        let old = read(&path)?;
        let text = page::text(find, facts, old.as_deref(), &seen, deviations)
            .with_context(|| path.display().to_string())?;
        files.push((path, text));
    }
    let path = folder.with_extension("md");
    if let Some(old) = read(&path)? {
        ensure!(index::is_ours(&old), "{} is not an index of finds; move it away", path.display());
    }
    files.push((path, index::text(&seen, deviations)));
    for (path, text) in files {
        if read(&path)?.as_deref() != Some(&text) {
            output::replace(&path, text.as_bytes())?;
            print::line(format_args!("wrote {}", path.display()));
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why).with_context(|| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_find_has_two_names() {
        let (find, facts) = named("unmapped").unwrap();
        assert_eq!(named(&facts.number.to_string()).unwrap().0.id, find.id);
        for (name, words) in [
            ("unmaped", "there is no find unmaped; did you mean unmapped?"),
            ("99", "there is no find 99; runner finds list shows all"),
        ] {
            assert_eq!(named(name).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn the_list_says_where_the_program_shows_it() {
        let deviations = Deviations::built_in("").unwrap();
        let items = items(&deviations);
        let item = |id: &str| items.iter().find(|item| item.id == id).unwrap();
        assert_eq!(item("unmapped").fs, ["xfs", "ext4"]);
        assert_eq!(
            (item("cow-spills").fs.as_slice(), item("cow-spills").shapes.as_slice()),
            (["xfs"].as_slice(), ["stripe-4k"].as_slice())
        );
        assert_eq!(item("move-ext-takes-dax").shapes, ["dax-inode"]);
        // Its program is that of another, which wedges.
        assert!(item("evict-frees-pinned").wedges && !item("unmapped").wedges);
        for item in &items {
            assert!(!item.fs.is_empty(), "{}", item.id);
        }
    }

    #[test]
    fn the_list_has_every_find() {
        let deviations = Deviations::built_in("").unwrap();
        let items = items(&deviations);
        let text = list(&items);
        for item in &items {
            assert!(text.contains(item.id) && text.contains(item.what));
        }
        assert_eq!(text.lines().count(), items.len());
        assert!(items.is_sorted_by_key(|item| item.number));
    }
}
