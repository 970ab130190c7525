//! Which cases run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use cases::Case;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::suggest;

/// What was asked for. Empty lists ask for everything and exclude nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Names and globs; a case must match one.
    pub(crate) names: Vec<String>,
    /// Groups; a case must be in one.
    pub(crate) groups: Vec<String>,
    /// Names, globs and groups that are left out.
    pub(crate) exclude: Vec<Excluded>,
    /// Only these, whatever else is asked.
    pub(crate) only: Option<BTreeSet<String>>,
}

/// What is left out.
#[derive(Clone, Debug)]
pub(crate) struct Excluded {
    /// A name, a glob or a group.
    name: String,
    /// The line of the file that says so: "slow.txt:3".
    at: Option<String>,
}

impl Excluded {
    /// One of the command line.
    pub(crate) fn typed(name: &str) -> Self {
        Self { name: name.to_owned(), at: None }
    }
}

impl Selection {
    /// The cases of `all` that are selected, in their order.
    ///
    /// A name, glob or group that matches no case at all is an error: most likely it is a typing
    /// mistake, and a run that silently leaves something out, or in, proves nothing.
    pub(crate) fn of(&self, all: &[&'static Case]) -> anyhow::Result<Vec<&'static Case>> {
        let names = globs(&self.names)?;
        let excluded: Vec<_> = self.exclude.iter().map(|entry| entry.name.clone()).collect();
        let exclude = globs(&excluded)?;
        for (index, name) in self.names.iter().enumerate() {
            if !all.iter().any(|case| names.matches(case.name).contains(&index)) {
                bail!("no case matches \"{name}\"; {}", instead_of_name(name, all));
            }
        }
        for group in &self.groups {
            if !all.iter().any(|case| case.is_in(group)) {
                bail!("no case is in group \"{group}\"; {}", instead_of_group(group, all));
            }
        }
        for (index, Excluded { name, at }) in self.exclude.iter().enumerate() {
            let is_meant =
                |case: &&Case| exclude.matches(case.name).contains(&index) || case.is_in(name);
            if !all.iter().any(is_meant) {
                let instead = instead_of_excluded(name, all);
                let at = at.as_ref().map_or(String::new(), |at| format!("{at}: "));
                bail!("{at}nothing to exclude: no case or group matches \"{name}\"; {instead}");
            }
        }
        let selected: Vec<_> = all
            .iter()
            .copied()
            .filter(|case| self.only.as_ref().is_none_or(|only| only.contains(case.name)))
            .filter(|case| self.names.is_empty() || names.is_match(case.name))
            .filter(|case| {
                self.groups.is_empty() || self.groups.iter().any(|group| case.is_in(group))
            })
            .filter(|case| !exclude.is_match(case.name))
            .filter(|case| !excluded.iter().any(|group| case.is_in(group)))
            .collect();
        if selected.is_empty() {
            bail!("nothing is selected");
        }
        Ok(selected)
    }
}

/// What may have been meant by a name that matches no case.
fn instead_of_name(name: &str, all: &[&'static Case]) -> String {
    if all.iter().any(|case| case.is_in(name)) {
        return format!("did you mean -g {name}?");
    }
    near(name, names_of(all))
}

/// What may have been meant by a group that no case is in.
fn instead_of_group(group: &str, all: &[&'static Case]) -> String {
    if all.iter().any(|case| case.name == group) {
        return format!("did you mean the case {group}, without -g?");
    }
    near(group, groups_of(all))
}

fn instead_of_excluded(name: &str, all: &[&'static Case]) -> String {
    near(name, groups_of(all).chain(names_of(all)))
}

fn names_of(all: &[&'static Case]) -> impl Iterator<Item = &'static str> {
    all.iter().map(|case| case.name)
}

fn groups_of(all: &[&'static Case]) -> impl Iterator<Item = &'static str> {
    all.iter().flat_map(|case| std::iter::once(case.group()).chain(case.groups.iter().copied()))
}

fn near(typed: &str, known: impl Iterator<Item = &'static str>) -> String {
    // A case's name may have been typed without its group.
    let known: Vec<_> = known.collect();
    let short = known
        .iter()
        .copied()
        .find(|name| name.split_once('/').is_some_and(|(_, short)| short == typed));
    match short.or_else(|| suggest::nearest(typed, known)) {
        Some(word) => format!("did you mean {word}?"),
        None => "--list shows all".to_owned(),
    }
}

/// The entries of an exclude file: one a line, `#` begins a comment.
pub(crate) fn exclude_file(path: &Path, text: &str) -> Vec<Excluded> {
    text.lines()
        .map(|line| line.split_once('#').map_or(line, |(entry, _)| entry).trim())
        .zip(1..)
        .filter(|(entry, _)| !entry.is_empty())
        .map(|(entry, number)| Excluded {
            name: entry.to_owned(),
            at: Some(format!("{}:{number}", path.display())),
        })
        .collect()
}

/// Globs over case names, in which `*` does not cross the slash.
fn globs(patterns: &[String]) -> anyhow::Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
    }
    Ok(set.build()?)
}

/// One of them.
pub(crate) fn glob(pattern: &str) -> anyhow::Result<Glob> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .with_context(|| format!("\"{pattern}\" is not a glob"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(selection: &Selection) -> Vec<&'static str> {
        let all = cases::all();
        let selected = selection.of(&all).unwrap();
        selected.iter().map(|case| case.name).collect()
    }

    #[test]
    fn everything_by_default() {
        assert_eq!(names(&Selection::default()).len(), cases::all().len());
    }

    #[test]
    fn by_name_glob_and_group() {
        for name in ["pin/truncate-down-waits", "pin/truncate-d*", "*/truncate-down-waits"] {
            let selection = Selection { names: strings(&[name]), ..Selection::default() };
            assert_eq!(names(&selection), ["pin/truncate-down-waits"], "{name}");
        }
        let selection = Selection { groups: strings(&["pin"]), ..Selection::default() };
        assert!(names(&selection).iter().all(|name| name.starts_with("pin/")));
    }

    #[test]
    fn exclusion_wins() {
        let selection = Selection {
            names: strings(&["pin/*"]),
            exclude: vec![Excluded::typed("pin")],
            ..Selection::default()
        };
        let error = selection.of(&cases::all()).unwrap_err();
        assert_eq!(error.to_string(), "nothing is selected");
    }

    #[test]
    fn a_mistyped_name_is_an_error() {
        let selection = Selection {
            names: strings(&["pin/truncate-down-waits", "pin/trunkate"]),
            ..Selection::default()
        };
        let error = selection.of(&cases::all()).unwrap_err();
        assert!(error.to_string().contains("pin/trunkate"), "{error}");
    }

    #[test]
    fn what_was_meant_is_offered() {
        let all = cases::all();
        let said = |selection: Selection| selection.of(&all).unwrap_err().to_string();
        for (name, expected) in [
            ("pin", "no case matches \"pin\"; did you mean -g pin?"),
            ("pin/punch-wait", "no case matches \"pin/punch-wait\"; did you mean pin/punch-waits?"),
            ("punch-waits", "no case matches \"punch-waits\"; did you mean pin/punch-waits?"),
            ("xyzzy", "no case matches \"xyzzy\"; --list shows all"),
        ] {
            let names = strings(&[name]);
            assert_eq!(said(Selection { names, ..Selection::default() }), expected);
        }
        for (group, expected) in [
            ("pins", "no case is in group \"pins\"; did you mean pin?"),
            (
                "pin/punch-waits",
                "no case is in group \"pin/punch-waits\"; did you mean the case pin/punch-waits, without -g?",
            ),
        ] {
            let groups = strings(&[group]);
            assert_eq!(said(Selection { groups, ..Selection::default() }), expected);
        }
    }

    #[test]
    fn an_exclusion_that_excludes_nothing_is_an_error() {
        for name in ["nosuch", "race/nosuch*", "rac"] {
            let exclude = ["pin/punch-waits", name].map(Excluded::typed).to_vec();
            let error = Selection { exclude, ..Selection::default() }.of(&cases::all());
            let error = error.unwrap_err().to_string();
            let begin = format!("nothing to exclude: no case or group matches \"{name}\"; ");
            assert!(error.starts_with(&begin), "{error}");
        }
    }

    #[test]
    fn exclude_files_have_comments() {
        let entries = exclude_file(Path::new("slow"), "# all\nrace/*\n\n pin/x # slow\n");
        let entries: Vec<_> =
            entries.iter().map(|e| (e.name.as_str(), e.at.as_deref().unwrap())).collect();
        assert_eq!(entries, [("race/*", "slow:2"), ("pin/x", "slow:4")]);
    }
}
