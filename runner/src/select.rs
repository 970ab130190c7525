//! Which cases run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use cases::{Case, DANGEROUS, Excluded};
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use program::suggest;

use crate::shard::Shard;

/// What was asked for. Empty lists ask for everything and exclude nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Names and globs; a case must match one.
    pub(crate) names: Vec<String>,
    /// Groups; a case must be in one.
    pub(crate) groups: Vec<String>,
    /// Names, globs and groups that are left out.
    pub(crate) exclude: Vec<Exclusion>,
    /// Only these, whatever else is asked.
    pub(crate) only: Option<BTreeSet<String>>,
    /// Only those of this share.
    pub(crate) shard: Option<Shard>,
}

/// What is left out.
#[derive(Clone, Debug)]
pub(crate) struct Exclusion {
    /// A name, a glob or a group.
    name: String,
    /// The line of the file that says so: "slow.txt:3".
    at: Option<String>,
}

impl Exclusion {
    /// One of the command line.
    pub(crate) fn typed(name: &str) -> Self {
        Self { name: name.to_owned(), at: None }
    }
}

/// The combinations that are no cell and match one of `names`; all, if there are no names.
pub(crate) fn excluded(names: &[String]) -> anyhow::Result<Vec<&'static Excluded>> {
    let patterns = globs(names)?;
    let all = cases::excluded();
    for (index, name) in names.iter().enumerate() {
        if !all.iter().any(|excluded| patterns.matches(&excluded.name, index)) {
            bail!(
                "no combination that is left out matches \"{name}\"; without names all are listed"
            );
        }
    }
    Ok(all.iter().filter(|it| names.is_empty() || patterns.is_match(&it.name)).collect())
}

impl Selection {
    /// The cases of `all` that are selected, in their order: of a shard, its own.
    pub(crate) fn of(&self, all: &[&'static Case]) -> anyhow::Result<Vec<&'static Case>> {
        self.share(self.whole(all)?)
    }

    /// The cases of `all` that are selected for all shards together.
    ///
    /// A name, glob or group that matches no case at all is an error: most likely it is a typing
    /// mistake, and a run that silently leaves something out, or in, proves nothing.
    pub(crate) fn whole(&self, all: &[&'static Case]) -> anyhow::Result<Vec<&'static Case>> {
        let names = globs(&self.names)?;
        let excluded: Vec<_> = self.exclude.iter().map(|entry| entry.name.clone()).collect();
        let exclude = globs(&excluded)?;
        for (index, name) in self.names.iter().enumerate() {
            if !all.iter().any(|case| names.matches(case.name, index)) {
                bail!("no case matches \"{name}\"; {}", instead_of_name(name, all));
            }
        }
        for group in &self.groups {
            if !all.iter().any(|case| case.is_in(group)) {
                bail!("no case is in group \"{group}\"; {}", instead_of_group(group, all));
            }
        }
        for (index, Exclusion { name, at }) in self.exclude.iter().enumerate() {
            let is_meant = |case: &&Case| exclude.matches(case.name, index) || case.is_in(name);
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
            .filter(|case| self.dares(case))
            .filter(|case| !exclude.is_match(case.name))
            .filter(|case| !excluded.iter().any(|group| case.is_in(group)))
            .collect();
        if selected.is_empty() {
            if all.iter().any(|case| case.is_in(DANGEROUS) && names.is_match(case.name)) {
                bail!("only cases that can crash the kernel match: add -g {DANGEROUS} to run them");
            }
            bail!("nothing is selected");
        }
        Ok(selected)
    }

    /// Whether `case` may run: one that can crash the kernel must be asked for by its name, its group, or by
    /// what it was in before.
    fn dares(&self, case: &Case) -> bool {
        !case.is_in(DANGEROUS)
            || self.only.is_some()
            || self.groups.iter().any(|group| group == DANGEROUS)
            || self.names.iter().any(|name| name == case.name)
    }

    /// What of `selected` is this shard's.
    pub(crate) fn share(&self, selected: Vec<&'static Case>) -> anyhow::Result<Vec<&'static Case>> {
        let Some(shard) = self.shard else {
            return Ok(selected);
        };
        let share: Vec<_> = selected.iter().copied().filter(|case| shard.has(case.name)).collect();
        if share.is_empty() {
            bail!("shard {shard} has none of the {} selected cases", selected.len());
        }
        Ok(share)
    }
}

/// What may have been meant by a name that matches no case.
fn instead_of_name(name: &str, all: &[&'static Case]) -> String {
    if let Some(none) = cases::excluded().iter().find(|excluded| excluded.name == name) {
        return format!("there is none because {}", none.why);
    }
    if all.iter().any(|case| case.is_in(name)) {
        return format!("did you mean -g {name}?");
    }
    if let Some(pattern) = all.iter().find_map(|case| cells_at(name, case)) {
        return format!("did you mean '{pattern}'?");
    }
    near(name, names_of(all))
}

/// The pattern of all cells at this coordinate, if `case` is one.
fn cells_at(coordinate: &str, case: &Case) -> Option<String> {
    let parts: Vec<_> = case.name.split('/').collect();
    let at = parts.iter().position(|part| case.is_cell() && *part == coordinate)?;
    let star = |n| if n == at { coordinate } else { "*" };
    Some((0..parts.len()).map(star).collect::<Vec<_>>().join("/"))
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
    all.iter().flat_map(|case| case.all_groups())
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
pub(crate) fn exclude_file(path: &Path, text: &str) -> Vec<Exclusion> {
    text.lines()
        .map(|line| line.split_once('#').map_or(line, |(entry, _)| entry).trim())
        .zip(1..)
        .filter(|(entry, _)| !entry.is_empty())
        .map(|(entry, number)| Exclusion {
            name: entry.to_owned(),
            at: Some(format!("{}:{number}", path.display())),
        })
        .collect()
}

/// Globs over case names.
struct Globs(GlobSet);

/// Globs over case names, in which `*` does not cross the slash. One that says only how names
/// begin, part by part, stands for all that begin so: `waits/punch` is `waits/punch/**`, too.
fn globs(patterns: &[String]) -> anyhow::Result<Globs> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(glob(pattern)?);
        // A group alone is selected with -g, and most likely a mistake here.
        let begins = pattern.contains('/');
        set.add(glob(&if begins { format!("{pattern}/**") } else { pattern.clone() })?);
    }
    Ok(Globs(set.build()?))
}

impl Globs {
    fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Whether the pattern of this number is one that matches.
    fn matches(&self, name: &str, index: usize) -> bool {
        self.0.matches(name).iter().any(|at| at / 2 == index)
    }
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

    #[test]
    fn what_is_no_cell_is_listed_by_name() {
        let listed = |words: &[&str]| excluded(&strings(words)).unwrap();
        let all = listed(&[]).len();
        let several = listed(&["several/**"]);
        assert!(!several.is_empty() && several.len() < all);
        let durable = listed(&["durable/punch/vm-read/mapped"]);
        assert!(durable[0].why.contains("splice stands for all"), "{durable:?}");
        let error = excluded(&strings(&["waits/punch/splice/mapped"])).unwrap_err().to_string();
        assert!(error.starts_with("no combination that is left out matches"), "{error}");
    }

    fn names(selection: &Selection) -> Vec<&'static str> {
        let all = cases::all();
        let selected = selection.of(&all).unwrap();
        selected.iter().map(|case| case.name).collect()
    }

    #[test]
    fn everything_by_default() {
        let harmless = cases::all().iter().filter(|case| !case.is_in(DANGEROUS)).count();
        assert_eq!(names(&Selection::default()).len(), harmless);
    }

    #[test]
    fn by_name_glob_and_group() {
        for name in ["race/retry", "race/retr*", "*/retry"] {
            let selection = Selection { names: strings(&[name]), ..Selection::default() };
            assert_eq!(names(&selection), ["race/retry"], "{name}");
        }
        let selection = Selection { groups: strings(&["race"]), ..Selection::default() };
        assert!(names(&selection).iter().all(|name| name.starts_with("race/")));
    }

    #[test]
    fn cells_by_their_coordinates() {
        for (name, ends) in [
            ("waits/punch/splice/mapped", "/mapped"),
            ("*/punch/*/unmapped", "/unmapped"),
            ("waits/**/first", "/first"),
            ("waits/*/aio-read", ""),
            ("kept/punch", ""),
            ("kept/punch/**", ""),
        ] {
            let selection = Selection { names: strings(&[name]), ..Selection::default() };
            let names = names(&selection);
            assert!(names.iter().all(|name| name.ends_with(ends)), "{name}: {names:?}");
            assert_eq!(names.len() == 1, !name.contains('*') && !ends.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_can_crash_the_kernel_must_be_asked_for() {
        let dangerous = |selection: &Selection| {
            let all = cases::all();
            let selected = selection.of(&all).unwrap();
            selected.iter().filter(|case| case.is_in(DANGEROUS)).count()
        };
        let every = Selection::default();
        assert_eq!(dangerous(&every), 0);
        for name in ["huge/*", "huge/**", "**"] {
            assert_eq!(dangerous(&Selection { names: strings(&[name]), ..every.clone() }), 0);
        }
        let name = "huge/shared-in-parts-punch-waits";
        assert_eq!(dangerous(&Selection { names: strings(&[name]), ..every.clone() }), 1);
        assert!(dangerous(&Selection { groups: strings(&[DANGEROUS]), ..every.clone() }) >= 1);
        let only = Some([name.to_owned()].into());
        assert_eq!(dangerous(&Selection { only, ..every.clone() }), 1);
        let alone = Selection { names: strings(&["huge/shared-in-*"]), ..every };
        let error = alone.of(&cases::all()).unwrap_err().to_string();
        assert!(error.ends_with("add -g dangerous to run them"), "{error}");
    }

    #[test]
    fn exclusion_wins() {
        let selection = Selection {
            names: strings(&["race/*"]),
            exclude: vec![Exclusion::typed("race")],
            ..Selection::default()
        };
        let error = selection.of(&cases::all()).unwrap_err();
        assert_eq!(error.to_string(), "nothing is selected");
    }

    #[test]
    fn a_mistyped_name_is_an_error() {
        let selection =
            Selection { names: strings(&["race/retry", "race/rettry"]), ..Selection::default() };
        let error = selection.of(&cases::all()).unwrap_err();
        assert!(error.to_string().contains("race/rettry"), "{error}");
    }

    #[test]
    fn what_was_meant_is_offered() {
        let all = cases::all();
        let said = |selection: Selection| selection.of(&all).unwrap_err().to_string();
        for (name, expected) in [
            ("waits", "no case matches \"waits\"; did you mean -g waits?"),
            (
                "waits/open-truncate/splice/unlinked",
                "no case matches \"waits/open-truncate/splice/unlinked\"; there is none because the \
                 operation finds the file by its name, and it has none",
            ),
            ("race/retri", "no case matches \"race/retri\"; did you mean race/retry?"),
            ("retry", "no case matches \"retry\"; did you mean race/retry?"),
            ("punch", "no case matches \"punch\"; did you mean '*/punch/*/*'?"),
            ("unmapped", "no case matches \"unmapped\"; did you mean '*/*/*/unmapped'?"),
            ("xyzzy", "no case matches \"xyzzy\"; --list shows all"),
        ] {
            let names = strings(&[name]);
            assert_eq!(said(Selection { names, ..Selection::default() }), expected);
        }
        for (group, expected) in [
            ("wait", "no case is in group \"wait\"; did you mean waits?"),
            (
                "waits/punch/splice/mapped",
                "no case is in group \"waits/punch/splice/mapped\"; did you mean the case waits/punch/splice/mapped, without -g?",
            ),
        ] {
            let groups = strings(&[group]);
            assert_eq!(said(Selection { groups, ..Selection::default() }), expected);
        }
    }

    #[test]
    fn an_exclusion_that_excludes_nothing_is_an_error() {
        for name in ["nosuch", "race/nosuch*", "rac"] {
            let exclude = ["waits/punch/splice/mapped", name].map(Exclusion::typed).to_vec();
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
