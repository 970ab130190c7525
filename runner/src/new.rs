//! `runner new GROUP/NAME`: begins a case that no axis expresses, and says what comes next.
//!
//! Nothing that exists is touched. A group without a file gets one; of a group that has one the
//! case is printed, for its author to put where it belongs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use crate::print;

/// Where cases are written, from the top of the source.
const SOURCE: &str = "cases/src";

/// Begins the case of this name in the source below the current folder.
pub(crate) fn begin(name: &str) -> anyhow::Result<()> {
    let (group, short) = parts(name)?;
    ensure!(
        Path::new(SOURCE).join("lib.rs").is_file(),
        "there is no {SOURCE}/lib.rs here; run it at the top of daxtests' source"
    );
    let module = group.replace('-', "_");
    let path = Path::new(SOURCE).join(format!("{module}.rs"));
    let (head, case) = stub(name, short);
    let mut next = Vec::new();
    if path.exists() {
        print::text(&case);
        next.push(format!("put the case above at the end of {}", path.display()));
    } else {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{head}{case}").as_bytes()))
            .with_context(|| path.display().to_string())?;
        print::line(format_args!("created {}", path.display()));
        next.push(format!("add `mod {module};` to {SOURCE}/lib.rs"));
    }
    next.extend([
        "write the body: set up, act, check; fill in the description and the origin".to_owned(),
        format!(
            "cargo run -p runner -- --fs reference --bless expected {name}, and read \
             expected/{name}.out"
        ),
        "cargo test -p runner red: a bug of the reference turns it red, or a fault that \
         expected/red.toml names, or a kernel that expected/known.toml knows"
            .to_owned(),
        format!("./ci/vm --fs xfs --fs ext4 {name}"),
    ]);
    for (number, step) in next.iter().enumerate() {
        print::line(format_args!("{}. {step}", number + 1));
    }
    Ok(())
}

/// The group and the rest of a name that a new case may have.
fn parts(name: &str) -> anyhow::Result<(&str, &str)> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let Some((group, short)) = name.split_once('/').filter(|(a, b)| plain(a) && plain(b)) else {
        bail!(
            "\"{name}\" is not a case name; use GROUP/NAME in letters, digits and -, as in race/new-pin"
        );
    };
    ensure!(cases::find(name).is_none(), "there is a case {name} already");
    ensure!(
        !cases::all().iter().any(|case| case.is_cell() && case.group() == group),
        "{group} is a law; its cells come from the tables in {SOURCE}/axis"
    );
    Ok((group, short))
}

/// What a new case looks like. The tests of `cases` compile and run it.
const STUB: &str = include_str!("../../cases/src/stub.rs");

/// The head of a group's file, and the case of this name.
fn stub(name: &str, short: &str) -> (String, String) {
    let (head, case) = STUB.split_at(STUB.find("\ncase! {").expect("the stub is a case"));
    let function = short.replace('-', "_");
    let case = case
        .replace("\"stub/short\"", &format!("\"{name}\""))
        .replace("    short: ", &format!("    {function}: "))
        .replace("fn short(", &format!("fn {function}("));
    (head.to_owned(), case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_told_in_a_line() {
        for (name, why) in [
            ("race", "not a case name"),
            ("race/New", "not a case name"),
            ("../x", "not a case name"),
            ("a/b/c", "not a case name"),
            ("race/retry", "already"),
            ("waits/more", "is a law"),
        ] {
            let error = parts(name).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{name}: {error}");
        }
        assert_eq!(parts("race/other").unwrap(), ("race", "other"));
    }

    #[test]
    fn the_stub_gets_its_name_everywhere() {
        let (head, case) = stub("my-group/must-wait", "must-wait");
        assert!(head.starts_with("//! TODO: ") && head.contains("\nuse "), "{head}");
        for line in [
            "    must_wait: \"my-group/must-wait\",",
            "fn must_wait(t: &mut Test<'_>) -> Checked {",
        ] {
            assert!(case.lines().any(|it| it == line), "{case}");
        }
        assert!(!case.contains("short") && !case.contains("stub"), "{case}");
    }
}
