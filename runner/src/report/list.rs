//! `--list`: the selected cases and what is known about them.

use std::fmt::Write as _;

use anstyle::Style;
use cases::Case;
use serde::Serialize;

#[derive(Serialize)]
struct Item {
    name: &'static str,
    description: String,
    groups: Vec<&'static str>,
    needs: Vec<String>,
    limit_seconds: u64,
    origin: &'static str,
}

impl Item {
    fn of(case: &Case) -> Self {
        let mut groups = vec![case.group()];
        groups.extend(case.groups);
        Self {
            name: case.name,
            description: case.description(),
            groups,
            needs: case.needs.iter().map(ToString::to_string).collect(),
            limit_seconds: case.limit.as_secs(),
            origin: case.origin,
        }
    }
}

/// For programs: one array.
pub(crate) fn json(cases: &[&Case]) -> String {
    let items: Vec<_> = cases.iter().map(|case| Item::of(case)).collect();
    let mut text = serde_json::to_string_pretty(&items).expect("an item has string keys only");
    text.push('\n');
    text
}

/// For people: a paragraph a case.
pub(crate) fn text(cases: &[&Case]) -> String {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let mut text = String::new();
    for item in cases.iter().map(|case| Item::of(case)) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
