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
    let case = case(name, short);
    let mut next = Vec::new();
    if path.exists() {
        print::text(&case);
        next.push(format!("put the case above at the end of {}", path.display()));
    } else {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{}{case}", head(group)).as_bytes()))
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

fn head(group: &str) -> String {
    format!(
        "//! TODO: what the cases of {group} have in common, and why no axis expresses it.\n\
         \n\
         use crate::action::{{Action, page}};\n\
         use crate::case::{{case, origin}};\n\
         use crate::test::{{Checked, Test}};\n"
    )
}

fn case(name: &str, short: &str) -> String {
    let function = short.replace('-', "_");
    format!(
        "
case! {{
    /// TODO: what must hold, and why.
    {function}: \"{name}\",
    groups: [], needs: [], limit: 180, origin: origin::BREAK,
}}
fn {function}(t: &mut Test<'_>) -> Checked {{
    let data = t.file(\"data\", \"abcd\")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin(Action::Truncate {{ file: data.id, size: 0 }})?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.reads(data, \"\")
}}
"
    )
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
}
