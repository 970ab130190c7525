//! What turns each case red: `expected/red.toml`.
//!
//! A case that was never seen to fail is not trusted. Each has a row that names a bug in the
//! reference under which it fails by its own word (what the rules find in its run does not count),
//! a fault of `ci/faults/` under which `ci/test` shows it red, or a stock kernel on which it was
//! seen to fail. `runner variants --table` writes the rows; only the faults are entered by hand.
//! The tests here run each bug again; those of `ci/` see to the faults.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;
use cases::system::reference::Reference;
use cases::{Case, all};
use rayon::prelude::*;
use reference::Variant;
use serde::Deserialize;

use crate::exit::Exit;
use crate::known::Deviations;
use crate::print;
use crate::variants::{fails, with};

const HEAD: &str = "\
# What turns each case red. Kept by `cargo run -p runner -- variants --table expected/red.toml`.
#
#   variant   a bug in the reference with which the case fails: of all such bugs the one that
#             fewest cases fail with
#   fault     a fault of ci/faults/ under which a step of ci/test shows it to fail; entered by hand
#   known     the deviations of known.toml with which it fails on a stock kernel
";

/// What turns a case red.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    variant: Option<String>,
    fault: Option<String>,
    #[serde(default)]
    known: Vec<String>,
}

type Table = BTreeMap<String, Row>;

impl Row {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Brings the table in a file up to date.
pub(crate) fn keep(path: &Path) -> anyhow::Result<Exit> {
    let old = match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| path.display().to_string())?,
        Err(error) if error.kind() == ErrorKind::NotFound => Table::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let table = make(&old)?;
    std::fs::write(path, render(&table)).with_context(|| path.display().to_string())?;
    let never: Vec<_> = table.iter().filter(|(_, row)| row.is_empty()).collect();
    for (case, _) in &never {
        print::line(format_args!("nothing turns {case} red"));
    }
    Ok(if never.is_empty() { Exit::Expected } else { Exit::Unexpected })
}

fn parse(text: &str) -> Result<Table, toml::de::Error> {
    toml::from_str(text)
}

fn render(table: &Table) -> String {
    let mut text = HEAD.to_owned();
    for (case, row) in table {
        let mut fields = Vec::new();
        fields.extend(row.variant.iter().map(|variant| format!("variant = {variant:?}")));
        fields.extend(row.fault.iter().map(|fault| format!("fault = {fault:?}")));
        if !row.known.is_empty() {
            fields.push(format!("known = {:?}", row.known));
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[{case:?}]\n{}\n", fields.join("\n"));
    }
    text
}

/// The table as it is now; what was entered by hand is as it was in `old`.
fn make(old: &Table) -> anyhow::Result<Table> {
    let cases = all();
    let failed: Vec<(Variant, Vec<&str>)> = Variant::ALL
        .par_iter()
        .map(|variant| {
            let fail = |case: &&&Case| fails(case, &mut Reference::new(&with(*variant)));
            (*variant, cases.iter().filter(fail).map(|case| case.name).collect())
        })
        .collect();
    let deviations = Deviations::built_in("")?;
    let row = |case: &Case| {
        let mut failing: Vec<_> =
            failed.iter().filter(|(_, cases)| cases.contains(&case.name)).collect();
        failing.sort_by_key(|(_, cases)| cases.len());
        // What fails now and then makes a poor row.
        let again =
            failing.iter().find(|(variant, _)| fails(case, &mut Reference::new(&with(*variant))));
        Row {
            variant: again.map(|(variant, _)| variant.to_string()),
            fault: old.get(case.name).and_then(|row| row.fault.clone()),
            known: deviations.finds_of(case),
        }
    };
    Ok(cases.iter().map(|case| (case.name.to_owned(), row(case))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../expected/red.toml"));

    const UPDATE: &str = "run `cargo run -p runner -- variants --table expected/red.toml`";

    /// How often a bug that shows in a race may fail to.
    const TRIES: u32 = 5;

    #[test]
    fn something_turns_every_case_red() {
        let table = parse(TEXT).unwrap();
        let rows: Vec<_> = table.keys().map(String::as_str).collect();
        let names: Vec<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(rows, names, "{UPDATE}");
        for (case, row) in &table {
            assert!(!row.is_empty(), "nothing turns {case} red");
        }
    }

    #[test]
    fn every_variant_of_the_table_still_turns_its_case_red() {
        let table = parse(TEXT).unwrap();
        let stale: Vec<_> = all()
            .par_iter()
            .filter_map(|case| {
                let name = table.get(case.name)?.variant.as_ref()?;
                let variant: Variant = name.parse().unwrap();
                let red = (0..TRIES).any(|_| fails(case, &mut Reference::new(&with(variant))));
                (!red).then(|| format!("{} passes with {name}", case.name))
            })
            .collect();
        assert!(stale.is_empty(), "{}\n{UPDATE}", stale.join("\n"));
    }

    #[test]
    fn every_known_deviation_of_the_table_is_known() {
        let deviations = Deviations::built_in("").unwrap();
        for (case, row) in parse(TEXT).unwrap() {
            assert_eq!(
                row.known,
                deviations.finds_of(cases::find(&case).unwrap()),
                "{case}: {UPDATE}"
            );
        }
    }

    #[test]
    fn a_table_survives_its_file_and_says_what_it_does_not_know() {
        let row = |variant: Option<&str>, fault: Option<&str>, known: &[&str]| Row {
            variant: variant.map(str::to_owned),
            fault: fault.map(str::to_owned),
            known: known.iter().copied().map(str::to_owned).collect(),
        };
        let table: Table = [
            ("a/one".to_owned(), row(Some("no-break"), None, &[])),
            ("a/two".to_owned(), row(None, Some("retry"), &["inode-end", "unmapped"])),
            ("a/zero".to_owned(), row(None, None, &[])),
        ]
        .into();
        assert_eq!(parse(&render(&table)).unwrap(), table);
        assert!(parse("[\"a/one\"]\nvariants = []").is_err());
    }
}
