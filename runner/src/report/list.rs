//! `--list`: the selected cases and what is known about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use cases::{Case, Excluded, Patience};
use serde::Serialize;

#[derive(Serialize)]
struct ListedCase {
    name: &'static str,
    description: String,
    groups: Vec<&'static str>,
    needs: Vec<String>,
    limit_seconds: u64,
    origin: &'static str,
}

impl ListedCase {
    fn of(case: &Case) -> Self {
        Self {
            name: case.name,
            description: case.description(),
            groups: case.all_groups().collect(),
            needs: case.needs.iter().map(ToString::to_string).collect(),
            limit_seconds: Patience::default().of(case.limit).as_secs(),
            origin: case.origin,
        }
    }
}

/// For programs: one array.
pub(crate) fn json(cases: &[&Case]) -> String {
    let items: Vec<_> = cases.iter().map(|case| ListedCase::of(case)).collect();
    let mut text = serde_json::to_string_pretty(&items).expect("an item has string keys only");
    text.push('\n');
    text
}

/// For people: a paragraph a case.
pub(crate) fn text(cases: &[&Case]) -> String {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let mut text = String::new();
    for item in cases.iter().map(|case| ListedCase::of(case)) {
        let _ = writeln!(text, "{bold}{}{bold:#}", item.name);
        let _ = writeln!(text, "    {}", item.description);
        let _ = write!(text, "    {dim}groups: {}", item.groups.join(", "));
        if !item.needs.is_empty() {
            let _ = write!(text, "; needs: {}", item.needs.join(", "));
        }
        let _ = writeln!(text, "; limit: {} s", item.limit_seconds);
        let _ = writeln!(text, "    from: {}{dim:#}", item.origin);
    }
    text
}

/// For programs: combinations that are no cell, one array.
pub(crate) fn excluded_json(excluded: &[&Excluded]) -> String {
    let items: Vec<_> = excluded
        .iter()
        .map(|excluded| serde_json::json!({ "name": excluded.name, "why": excluded.why }))
        .collect();
    let mut text = serde_json::to_string_pretty(&items).expect("an item has string keys only");
    text.push('\n');
    text
}

/// For people: combinations that are no cell, under the reason.
pub(crate) fn excluded_text(excluded: &[&Excluded]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for excluded in excluded {
        reasons.entry(excluded.why).or_default().push(&excluded.name);
    }
    let bold = Style::new().bold();
    let mut text = String::new();
    for (why, mut names) in reasons {
        names.sort_unstable();
        let _ = writeln!(text, "{bold}{why}{bold:#}");
        for name in names {
            let _ = writeln!(text, "    {name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_has_a_reason_in_both_forms() {
        let all: Vec<_> = cases::excluded().iter().collect();
        let listed: serde_json::Value = serde_json::from_str(&excluded_json(&all)).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), all.len());
        let text = excluded_text(&all);
        for excluded in all {
            assert!(text.contains(&excluded.name) && text.contains(excluded.why));
            assert!(cases::find(&excluded.name).is_none());
        }
    }

    #[test]
    fn both_forms_name_every_case() {
        let all = cases::all();
        let listed: serde_json::Value = serde_json::from_str(&json(&all)).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), all.len());
        let text = text(&all);
        for case in all {
            assert!(text.contains(case.name) && text.contains(&case.description()));
        }
    }
}
