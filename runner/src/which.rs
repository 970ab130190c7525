//! Which cases a known deviation is about: a name or a glob, or where cells stand on their axes.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use cases::Case;
use globset::GlobMatcher;
use program::suggest;

use crate::select;

/// Each axis, with the values that some cell has on it.
pub(crate) type Axes = BTreeMap<&'static str, Vec<&'static str>>;

/// A choice of cases.
#[derive(Debug)]
pub(crate) enum Which {
    /// One, by its name.
    One(String),
    /// By name.
    Named(GlobMatcher),
    /// Cells, by the values that they have on each of these axes.
    Cells(Vec<(String, Vec<String>)>),
}

impl Which {
    /// What `value` of a TOML file says: a glob, or a table of axes with one or several values
    /// each. A value that no cell has would choose nothing, for ever and unseen: it is an error.
    pub(crate) fn parse(value: &toml::Value, axes: &Axes) -> anyhow::Result<Self> {
        let table = match value {
            // Most are, and a glob takes its time to compile.
            toml::Value::String(name) if cases::find(name).is_some() => {
                return Ok(Self::One(name.clone()));
            }
            toml::Value::String(glob) => {
                return Ok(Self::Named(select::glob(glob)?.compile_matcher()));
            }
            toml::Value::Table(table) => table,
            other => bail!("a case is a name, a glob or a table of axes, not {other}"),
        };
        ensure!(!table.is_empty(), "a table of axes names none");
        let mut cells = Vec::new();
        for (axis, value) in table {
            let known = axes.get(axis.as_str()).with_context(|| {
                format!("there is no axis \"{axis}\"{}", hint(axis, axes.keys().copied()))
            })?;
            let values = match value {
                toml::Value::String(value) => vec![value.clone()],
                toml::Value::Array(values) => values
                    .iter()
                    .map(|value| value.as_str().map(str::to_owned))
                    .collect::<Option<_>>()
                    .with_context(|| format!("the values of \"{axis}\" are not all strings"))?,
                other => bail!("\"{axis}\" is a value or a list of values, not {other}"),
            };
            ensure!(!values.is_empty(), "\"{axis}\" has no value");
            for value in &values {
                ensure!(
                    known.contains(&value.as_str()),
                    "no cell has the {axis} \"{value}\"{}",
                    hint(value, known.iter().copied())
                );
            }
            cells.push((axis.clone(), values));
        }
        Ok(Self::Cells(cells))
    }

    /// Whether `case` is one of them.
    pub(crate) fn is_match(&self, case: &Case) -> bool {
        match self {
            Self::One(name) => case.name == name,
            Self::Named(glob) => glob.is_match(case.name),
            Self::Cells(axes) => axes.iter().all(|(axis, values)| {
                case.coordinate(axis).is_some_and(|at| values.iter().any(|value| value == at))
            }),
        }
    }
}

fn hint<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> String {
    match suggest::nearest(typed, names) {
        Some(name) => format!("; did you mean \"{name}\"?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        [
            ("law", vec!["waits"]),
            ("operation", vec!["punch", "collapse"]),
            ("place", vec!["first", "unmapped"]),
        ]
        .into()
    }

    fn parse(text: &str) -> anyhow::Result<Which> {
        let file: toml::Table = toml::from_str(&format!("case = {text}")).unwrap();
        Which::parse(&file["case"], &axes())
    }

    fn case(name: &str) -> &'static Case {
        cases::find(name).unwrap()
    }

    #[test]
    fn cells_are_chosen_by_each_axis_that_is_named() {
        let which = parse(r#"{ place = "unmapped", operation = ["punch", "collapse"] }"#).unwrap();
        assert!(which.is_match(case("waits/punch/splice/unmapped")));
        assert!(!which.is_match(case("waits/punch/splice/first")));
        assert!(!which.is_match(case("waits/zero/splice/unmapped")));
        assert!(!which.is_match(case("race/retry")), "a case that is no cell stands nowhere");
    }

    #[test]
    fn names_are_globs() {
        let cell = case("waits/punch/splice/unmapped");
        assert!(parse("\"waits/*/splice/*\"").unwrap().is_match(cell));
        assert!(!parse("\"race/*\"").unwrap().is_match(cell));
    }

    #[test]
    fn a_typo_is_an_error_of_one_line() {
        for (text, words) in [
            (
                r#"{ place = "unmaped" }"#,
                "no cell has the place \"unmaped\"; did you mean \"unmapped\"?",
            ),
            (r#"{ plase = "unmapped" }"#, "there is no axis \"plase\"; did you mean \"place\"?"),
            (r#"{ operation = ["punch", "mow"] }"#, "no cell has the operation \"mow\""),
            ("{ operation = [] }", "\"operation\" has no value"),
            ("{}", "names none"),
            ("7", "a case is a name, a glob or a table of axes, not 7"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words) && error.lines().count() == 1, "{text}: {error}");
        }
    }
}
