//! `docs/finds.md`: the index of all finds, and where each was seen.

use std::fmt::Write as _;

use super::page;
use super::seen::{Cell, Sight, Sightings};
use crate::find::{Facts, Find};
use crate::known::Deviations;

const HEAD: &str = "\
<!-- Written by `runner finds index` from expected/known.toml, docs/finds/introduction.md and docs/finds/seen.json. -->

# What daxtests found in kernels
";

const LEGEND: &str = "\
| | |
|---|---|
| seen | a case failed as `expected/known.toml` says of this find; in brackets the shape, if it takes one |
| by chance | the same case failed so and passed |
| not seen | the case on the find's page ran and passed |
| as 22 | that case failed, but as find 22 |
| undecided | that case failed in a way that is not known |
| not run | nothing is known |
| - | not a find of this file system |
";

/// The index.
pub(crate) fn text(seen: &Sightings, deviations: &Deviations) -> String {
    let columns = seen.columns();
    let mut text = format!("{HEAD}\n{}\n", page::introduction());
    let mut rule = String::from("|---|---|---|---|");
    text.push_str("| # | id | what | severity |");
    for column in &columns {
        let _ = write!(text, " {} |", page::column(seen, column));
        rule.push_str("---|");
    }
    let _ = writeln!(text, "\n{rule}");
    for (find, facts) in in_order(deviations) {
        let name = find.page().unwrap_or_default();
        let _ = write!(
            text,
            "| {} | [`{}`](finds/{name}) | {} | {} |",
            facts.number,
            find.id,
            find.what,
            facts.severity.words()
        );
        for column in &columns {
            let _ = write!(text, " {} |", words(&seen.cell(find, column, deviations), deviations));
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{LEGEND}\n| kernel | `uname -r` | `uname -v` |\n|---|---|---|\n");
    for (kernel, version) in seen.kernels() {
        let _ = writeln!(text, "| {} | {kernel} | {version} |", seen.label(kernel));
    }
    text
}

/// Whether a file is an index that was made.
pub(crate) fn is_ours(text: &str) -> bool {
    text.starts_with(HEAD)
}

/// The finds that have a page, by their numbers.
pub(crate) fn in_order(deviations: &Deviations) -> Vec<(&Find, Facts)> {
    let mut finds: Vec<_> =
        deviations.finds().iter().filter_map(|find| Some((find, find.facts?))).collect();
    finds.sort_by_key(|(_, facts)| facts.number);
    finds
}

fn words(cell: &Cell, deviations: &Deviations) -> String {
    let (sight, shape) = match cell {
        Cell::Known(sight, shape) => (sight, shape),
        Cell::NotRun => return "not run".to_owned(),
        Cell::DoesNotApply => return "-".to_owned(),
    };
    let what = match sight {
        Sight::Seen(_) => "seen".to_owned(),
        Sight::ByChance(_) => "by chance".to_owned(),
        Sight::NotSeen => "not seen".to_owned(),
        Sight::Undecided => "undecided".to_owned(),
        Sight::As(id) => {
            let find = deviations.finds().iter().find(|find| find.id == *id);
            let number = find.and_then(|find| find.facts).map(|facts| facts.number.to_string());
            format!("as {}", number.unwrap_or_else(|| format!("`{id}`")))
        }
    };
    match shape {
        Some(shape) => format!("{what} ({shape})"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_in_the_tree_is_what_the_command_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/finds.md");
        let deviations = Deviations::built_in("").unwrap();
        let there = std::fs::read_to_string(path).unwrap();
        assert!(
            there == text(&page::seen().unwrap(), &deviations),
            "docs/finds.md is not what its sources say: run `cargo run -p runner -- finds index \
             --update docs`"
        );
    }

    #[test]
    fn every_cell_has_its_words() {
        let deviations = Deviations::built_in("").unwrap();
        let known = |sight, shape: Option<&str>| {
            words(&Cell::Known(sight, shape.map(str::to_owned)), &deviations)
        };
        assert_eq!(known(Sight::Seen("a/b".to_owned()), Some("stripe-4k")), "seen (stripe-4k)");
        assert_eq!(known(Sight::ByChance("a/b".to_owned()), None), "by chance");
        assert_eq!(known(Sight::NotSeen, None), "not seen");
        assert_eq!(known(Sight::As("break-forgets-dirty".to_owned()), None), "as 22");
        assert_eq!(known(Sight::As("ours".to_owned()), None), "as `ours`");
        assert_eq!(words(&Cell::NotRun, &deviations), "not run");
        assert_eq!(words(&Cell::DoesNotApply, &deviations), "-");
    }
}
