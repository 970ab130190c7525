//! A find's page in `docs/finds/`: a head with the facts, which is made, and prose, which is
//! written. Both are built into the runner, for the mails.

use std::fmt::Write as _;

use anyhow::{Context as _, bail, ensure};

use super::seen::{Column, Sightings, WantedSight};
use crate::find::{Facts, Find};
use crate::fs::FsType;
use crate::known::Deviations;
use crate::plan::quoted;
use crate::shape::{self, Shape};

/// What stands in `docs/finds/`: names and texts.
static FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/finds.rs"));

/// The file of what was seen.
pub(crate) const SEEN: &str = "seen.json";

/// Where the head ends.
const END: &str =
    "<!-- Written by `runner finds index --update docs` up to here, and by hand from here on. -->";

/// The prose of a page that nobody has written.
const STUB: &str = "\
TODO: what goes wrong, for a kernel developer who does not know daxtests.

## Seen

TODO: what is expected and what is seen; the stack.

## Cause

TODO: the function, and the source or commit that shows it.

## Notes

TODO: the cases, how it was found; what is not for a mail.
";

/// The prose of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prose {
    /// What goes wrong.
    pub(crate) summary: String,
    /// What was expected and what was seen.
    pub(crate) seen: String,
    /// Why.
    pub(crate) cause: String,
    /// What is for readers of the page only.
    pub(crate) notes: String,
}

fn built_in(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

/// What the index begins with.
pub(crate) fn introduction() -> &'static str {
    built_in("introduction.md").unwrap_or_default()
}

/// What was seen, as the tree has it that the runner was built from.
pub(crate) fn seen() -> anyhow::Result<Sightings> {
    Ok(Sightings::parse(built_in(SEEN).unwrap_or("{\"places\": []}"))?)
}

/// The prose of a find's page that is built in.
pub(crate) fn prose(find: &Find) -> anyhow::Result<Prose> {
    let name = find.page().with_context(|| format!("{} has no page", find.id))?;
    let text = built_in(&name)
        .with_context(|| format!("docs/finds/{name} was not there when the runner was built"))?;
    Prose::parse(by_hand(text).context(name.clone())?).context(name)
}

/// What is written by hand of a page.
fn by_hand(text: &str) -> anyhow::Result<&str> {
    let (_, prose) = text.split_once(END).with_context(|| format!("it lacks the line {END}"))?;
    Ok(prose.trim())
}

impl Prose {
    /// The sections of a page.
    fn parse(text: &str) -> anyhow::Result<Self> {
        const NAMES: [&str; 4] = ["", "Seen", "Cause", "Notes"];
        let mut sections = vec![String::new()];
        let mut code = false;
        for line in text.lines() {
            code ^= line.starts_with("```");
            match line.strip_prefix("## ") {
                Some(title) if !code => {
                    ensure!(
                        NAMES.get(sections.len()) == Some(&title),
                        "its sections are Seen, Cause and Notes, in this order, and not {title}"
                    );
                    sections.push(String::new());
                }
                _ => {
                    let last = sections.last_mut().expect("there is one from the start");
                    last.push_str(line);
                    last.push('\n');
                }
            }
        }
        ensure!(!code, "a code block does not end");
        let mut sections = sections.iter().map(|text| text.trim().to_owned());
        let mut next = |name: &str| match sections.next() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => bail!("{name} is missing or empty"),
        };
        Ok(Self {
            summary: next("the summary")?,
            seen: next("## Seen")?,
            cause: next("## Cause")?,
            notes: next("## Notes")?,
        })
    }
}

/// A find's page: its head made anew over what is written by hand, if something is.
pub(crate) fn text(
    find: &Find,
    facts: Facts,
    old: Option<&str>,
    seen: &Sightings,
    deviations: &Deviations,
) -> anyhow::Result<String> {
    let prose = match old {
        Some(text) => by_hand(text)?,
        None => STUB.trim(),
    };
    Ok(format!("{}\n{END}\n\n{prose}\n", head(find, facts, seen, deviations)))
}

fn head(find: &Find, facts: Facts, seen: &Sightings, deviations: &Deviations) -> String {
    let mut rows =
        vec![("id", format!("`{}`", find.id)), ("severity", facts.severity.words().to_owned())];
    for (what, wanted) in [("seen", WantedSight::Seen), ("not seen", WantedSight::NotSeen)] {
        let places = places(&seen.places_of(find, wanted, deviations), seen);
        rows.extend((!places.is_empty()).then_some((what, places)));
    }
    for (what, commits) in [("introduced by", &find.introduced_by), ("fixed by", &find.fixed_by)] {
        rows.extend(commits.iter().map(|commit| (what, commit.clone())));
    }
    let target = words(find, facts, seen, deviations);
    let run =
        |more: &[&str]| format!("`{}`", quoted(target.iter().copied().chain(more.iter().copied())));
    rows.push(("smallest case", run(&[facts.case.name])));
    rows.push(("all cases", run(&["--find", &find.id])));
    rows.push(("as a mail", format!("`runner finds mail {}`", facts.number)));
    let mut text = format!("# {}. {}\n\n| | |\n|---|---|\n", facts.number, title(&find.what));
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

/// "XFS 6.1, 6.12; ext4 6.1".
fn places(columns: &[Column], seen: &Sightings) -> String {
    let mut text = String::new();
    let mut last = None;
    for column in columns {
        let label = seen.label(&column.kernel);
        let _ = match last {
            Some(fs) if fs == column.fs => write!(text, ", {label}"),
            Some(_) => write!(text, "; {} {label}", fs_title(column.fs)),
            None => write!(text, "{} {label}", fs_title(column.fs)),
        };
        last = Some(column.fs);
    }
    text
}

/// "XFS 6.1".
pub(crate) fn column(seen: &Sightings, column: &Column) -> String {
    format!("{} {}", fs_title(column.fs), seen.label(&column.kernel))
}

/// As people write it.
pub(crate) fn fs_title(fs: FsType) -> &'static str {
    fs.row().map_or(fs.name(), |row| row.title)
}

/// The file system on which the find shows best: that of the newest kernel that has it.
pub(crate) fn fs_of(find: &Find, seen: &Sightings, deviations: &Deviations) -> FsType {
    let seen_on = seen.places_of(find, WantedSight::Seen, deviations);
    let newest = seen_on
        .iter()
        .max_by_key(|column| (crate::known::numbers(&column.kernel), std::cmp::Reverse(column.fs)));
    newest.map_or_else(
        || {
            let is_on = |fs: &FsType| deviations.entries(&find.id).any(|known| known.is_on(*fs));
            [FsType::Xfs, FsType::Ext4].into_iter().find(is_on).unwrap_or(FsType::Xfs)
        },
        |column| column.fs,
    )
}

/// The shapes that the find's own case needs.
pub(crate) fn shapes_of<'d>(find: &Find, facts: Facts, deviations: &'d Deviations) -> &'d [String] {
    let mut entries = deviations.entries(&find.id).filter(|known| known.is_about(facts.case));
    entries.next().map_or(&[], |known| known.shapes())
}

/// The command that shows it.
pub(crate) fn command(
    find: &Find,
    facts: Facts,
    seen: &Sightings,
    deviations: &Deviations,
) -> String {
    let mut words = words(find, facts, seen, deviations);
    words.push(facts.case.name);
    quoted(words)
}

/// The words of a run on what shows it, without the cases.
fn words<'d>(
    find: &Find,
    facts: Facts,
    seen: &Sightings,
    deviations: &'d Deviations,
) -> Vec<&'d str> {
    let fs = fs_of(find, seen, deviations);
    let shapes = shapes_of(find, facts, deviations);
    let mut words = vec!["runner", "--fs", fs.name(), "--dev", "/dev/pmem0"];
    if shapes.iter().filter_map(|name| shape::find(name).ok()).any(Shape::needs_two) {
        words.extend(["--dev", "/dev/pmem1"]);
    }
    for shape in shapes {
        words.extend(["--shape", shape.as_str()]);
    }
    words
}

/// A line with a capital at its beginning.
fn title(what: &str) -> String {
    let mut chars = what.chars();
    // "write(2)" and "FIDEDUPERANGE" stay as they are.
    let first = chars.next().filter(|_| !what.starts_with("write(2)"));
    match first {
        Some(first) => format!("{}{}", first.to_ascii_uppercase(), chars.as_str()),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finds::index::in_order;

    #[test]
    fn each_find_has_a_page_and_each_page_a_find() {
        let deviations = Deviations::built_in("").unwrap();
        let seen = seen().unwrap();
        let mut names = vec!["introduction.md".to_owned(), "beside.md".to_owned(), SEEN.to_owned()];
        for (find, facts) in in_order(&deviations) {
            let name = find.page().unwrap();
            let there = built_in(&name).unwrap_or_default();
            let made = text(find, facts, Some(there), &seen, &deviations)
                .unwrap_or_else(|why| panic!("docs/finds/{name}: {why}"));
            assert!(
                there == made,
                "docs/finds/{name} is not what its sources say: run `cargo run -p runner -- finds \
                 index --update docs`"
            );
            prose(find).unwrap();
            assert!(!there.contains("TODO"), "docs/finds/{name} is not written");
            names.push(name);
        }
        for (name, _) in FILES {
            assert!(names.iter().any(|known| known == name), "docs/finds/{name} is of no find");
        }
    }

    #[test]
    fn prose_has_its_sections() {
        let prose = Prose::parse(STUB).unwrap();
        assert!(prose.summary.starts_with("TODO: what goes wrong"));
        assert!(prose.notes.ends_with("not for a mail."));
        for (from, to, words) in [
            ("## Cause", "## Why", "in this order, and not Why"),
            ("## Notes", "", "## Notes is missing"),
            ("TODO: the function", "```", "a code block does not end"),
        ] {
            let error = Prose::parse(&STUB.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(words), "{to}: {error}");
        }
        assert!(Prose::parse(&STUB.replace("TODO: the function", "```\n## x\n```\n")).is_ok());
    }
}
