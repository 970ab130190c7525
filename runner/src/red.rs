//! What turns each case red: `expected/red.toml`.
//!
//! A case that was never seen to fail is not trusted. Its row names a bug in the reference under
//! which it fails by its own word (what the rules find in its run does not count), or a fault of
//! `ci/faults/` under which `ci/test` shows it red. A law has one row for all of its cells, with the
//! bugs that together turn red each cell that the reference can run. `runner variants --table`
//! writes the rows; only the faults are entered by hand. A case that fails on a stock kernel needs
//! no row: `expected/known.toml` says so.
//! The tests here run each bug again; those of `ci/` see to the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use cases::system::System as _;
use cases::system::reference::{Reference, ReferenceSetup};
use cases::{Case, all};
use rayon::prelude::*;
use reference::Variant;
use serde::Deserialize;

use crate::exit::Exit;
use crate::known::Deviations;
use crate::output::Output;
use crate::print;
use crate::variants::{fails, with};

const HEAD: &str = "\
# What turns each case red. Kept by `cargo run -p runner -- variants --table expected/red.toml`.
#
# A case that no axis expresses has a row of its own, a law one for all of its cells. A case that a
# stock kernel fails, as known.toml says, may do without.
#
#   variants  bugs in the reference with which the case fails: of all such bugs the one that fewest
#             cases fail with. Of a law those that each of its cells fails with at least one of, if
#             the reference can run it.
#   fault     a fault of ci/faults/ under which a step of ci/test shows it to fail; entered by hand
";

/// What turns a case red.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    variants: Vec<String>,
    fault: Option<String>,
}

type Table = BTreeMap<String, Row>;

/// Brings the table in a file up to date; the file is tried before the bugs are.
pub(crate) fn keep(path: &Path) -> anyhow::Result<Exit> {
    let output = Output::open(path, None)?;
    let Some(file) = output.file() else {
        bail!("{}: the table is read and replaced; name a regular file", path.display());
    };
    let old = if file.exists() {
        let text = fs::read_to_string(file).with_context(|| path.display().to_string())?;
        parse(&text).with_context(|| path.display().to_string())?
    } else {
        Table::new()
    };
    let (table, never) = make(&old)?;
    output.write(render(&table).as_bytes())?;
    for case in &never {
        print::line(format_args!("nothing turns {case} red"));
    }
    Ok(if never.is_empty() { Exit::Expected } else { Exit::Unexpected })
}

/// The row that a case belongs to.
fn row_of(case: &Case) -> &'static str {
    case.coordinate("law").unwrap_or(case.name)
}

fn parse(text: &str) -> Result<Table, toml::de::Error> {
    toml::from_str(text)
}

fn render(table: &Table) -> String {
    let mut text = HEAD.to_owned();
    for (case, row) in table {
        let mut fields = Vec::new();
        if !row.variants.is_empty() {
            fields.push(format!("variants = {:?}", row.variants));
        }
        fields.extend(row.fault.iter().map(|fault| format!("fault = {fault:?}")));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[{case:?}]\n{}\n", fields.join("\n"));
    }
    text
}

/// The table as it is now, and the cases that nothing turns red; what was entered by hand is as it
/// was in `old`.
fn make(old: &Table) -> anyhow::Result<(Table, Vec<&'static str>)> {
    let cases = all();
    let mut failed: Vec<(Variant, BTreeSet<&str>)> = Variant::ALL
        .par_iter()
        .map(|variant| {
            let fail = |case: &&&Case| fails(case, &mut Reference::new(&with(*variant)));
            (*variant, cases.iter().filter(fail).map(|case| case.name).collect())
        })
        .collect();
    failed.sort_by_key(|(_, cases)| cases.len());
    let deviations = Deviations::built_in("")?;
    let (mut table, mut never) = (Table::new(), Vec::new());
    for case in &cases {
        let name = row_of(case);
        let row = table.entry(name.to_owned()).or_insert_with(|| Row {
            fault: old.get(name).and_then(|row| row.fault.clone()),
            ..Row::default()
        });
        // What fails now and then makes a poor row.
        let variant = failed
            .iter()
            .filter(|(_, cases)| cases.contains(case.name))
            .find(|(variant, _)| fails(case, &mut Reference::new(&with(*variant))))
            .map(|(variant, _)| variant.to_string());
        let is_red = variant.is_some() || deviations.is_failed_by_some_kernel(case);
        if !is_red && !is_left_to_the_fault(row, case) {
            never.push(case.name);
        }
        row.variants.extend(variant.filter(|variant| !row.variants.contains(variant)));
    }
    table.retain(|_, row| *row != Row::default());
    for row in table.values_mut() {
        row.variants.sort_unstable();
    }
    Ok((table, never))
}

/// Whether no variant need turn `case` red: its own row has a fault that does, or it is a cell that
/// the reference cannot run, and its law's row has one.
fn is_left_to_the_fault(row: &Row, case: &Case) -> bool {
    if case.is_cell() {
        row.fault.is_some() && !is_run_by_the_reference(case)
    } else {
        row.fault.is_some()
    }
}

fn is_run_by_the_reference(case: &Case) -> bool {
    let mut system = Reference::new(&ReferenceSetup::default());
    case.needs.iter().all(|need| system.offers(*need).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../expected/red.toml"));

    const UPDATE: &str = "run `cargo run -p runner -- variants --table expected/red.toml`";

    /// How often a bug that shows in a race may fail to.
    const TRIES: u32 = 5;

    #[test]
    fn every_row_is_some_case_s() {
        let rows: BTreeSet<_> = all().iter().map(|case| row_of(case)).collect();
        for (name, row) in parse(TEXT).unwrap() {
            assert!(rows.contains(name.as_str()), "there is no {name}: {UPDATE}");
            assert_ne!(row, Row::default(), "nothing turns {name} red");
        }
    }

    #[test]
    fn something_still_turns_every_case_red() {
        let table = parse(TEXT).unwrap();
        let deviations = Deviations::built_in("").unwrap();
        let known: BTreeSet<_> = all()
            .iter()
            .filter(|case| deviations.is_failed_by_some_kernel(case))
            .map(|case| case.name)
            .collect();
        let green: Vec<_> = all()
            .par_iter()
            .filter(|case| {
                let row = table.get(row_of(case)).cloned();
                // A case's own variant must do it, whatever else does.
                let must =
                    !case.is_cell() && row.as_ref().is_some_and(|row| !row.variants.is_empty());
                // A case that is new may have no row yet: any bug will do then.
                let any = || Variant::ALL.iter().map(ToString::to_string).collect();
                let row = row.unwrap_or_else(|| Row { variants: any(), ..Row::default() });
                let red = |variant: &String| {
                    fails(case, &mut Reference::new(&with(variant.parse().unwrap())))
                };
                // Each once before one twice: of a law's variants few turn the same cell red.
                let is_red = || (0..TRIES).any(|_| row.variants.iter().any(red));
                let otherwise = is_left_to_the_fault(&row, case) || known.contains(case.name);
                (must || !otherwise) && !is_red()
            })
            .map(|case| case.name)
            .collect();
        assert!(green.is_empty(), "stay green: {}\n{UPDATE}", green.join(" "));
    }

    #[test]
    fn a_table_survives_its_file_and_says_what_it_does_not_know() {
        let owned = |words: &[&str]| words.iter().copied().map(str::to_owned).collect();
        let row = |variants: &[&str], fault: Option<&str>| Row {
            variants: owned(variants),
            fault: fault.map(str::to_owned),
        };
        let table: Table = [
            ("a/one".to_owned(), row(&["no-break", "no-unmap"], None)),
            ("a/two".to_owned(), row(&["retry-flag"], Some("retry"))),
            ("a/zero".to_owned(), row(&[], Some("retry"))),
        ]
        .into();
        assert_eq!(parse(&render(&table)).unwrap(), table);
        assert!(parse("[\"a/one\"]\nvariant = []").is_err());
    }
}
