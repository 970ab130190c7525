//! What a shell offers while a command is typed: what the program itself knows, asked for at each Tab.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap_complete::CompletionCandidate;
use clap_complete::env::Shells;
use clap_complete::shells::Shell;
use reference::Variant;

use crate::known::FINDS;
use crate::shape::SHAPES;
use crate::{explore, name};

/// Where a shell's script says that it wants to be told, and which shell it is.
pub(crate) const ASKED: &str = "DAXTESTS_COMPLETE";

/// The script that has a shell ask the program of this name.
pub(crate) fn script(shell: Shell) -> anyhow::Result<String> {
    let name = name::own();
    let shells = Shells::builtins();
    let writer = shells.completer(&shell.to_string()).expect("it has the shells that clap names");
    let mut script = Vec::new();
    writer.write_registration(ASKED, name, name, name, &mut script)?;
    let mut script = String::from_utf8(script)?;
    if shell == Shell::Zsh {
        // In a file of $fpath, the script is what is called at the first Tab, and has to answer it.
        let function = name.replace('-', "_");
        writeln!(
            script,
            "if [ \"$funcstack[1]\" = _{name} ]; then _clap_dynamic_completer_{function}; fi"
        )?;
    }
    Ok(script)
}

/// The cases, level by level: there are too many for one list.
pub(crate) fn cases(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let mut offered = BTreeMap::new();
    for case in cases::all().into_iter().filter(|case| case.name.starts_with(typed)) {
        match case.name[typed.len()..].split_once('/') {
            Some((level, _)) => {
                offered.insert(&case.name[..=typed.len() + level.len()], None);
            }
            None => {
                offered.insert(case.name, Some(case.description()));
            }
        }
    }
    let sentence =
        |about: String| about.split_inclusive(". ").next().map(|it| it.trim().to_owned());
    let offer = |(name, about): (&str, Option<String>)| {
        candidate(name, about.and_then(sentence).as_deref())
    };
    offered.into_iter().map(offer).collect()
}

/// What `--exclude` takes: a group, too.
pub(crate) fn excludable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let groups = groups().into_iter();
    let is_meant = |group: &CompletionCandidate| {
        typed.to_str().is_some_and(|typed| group.get_value().to_string_lossy().starts_with(typed))
    };
    groups.filter(is_meant).chain(cases(typed)).collect()
}

/// The groups of cases.
pub(crate) fn groups() -> Vec<CompletionCandidate> {
    let mut sizes = BTreeMap::<_, usize>::new();
    for group in cases::all().iter().flat_map(|case| case.all_groups()) {
        *sizes.entry(group).or_default() += 1;
    }
    let about = |size| format!("{size} cases");
    sizes.into_iter().map(|(group, size)| candidate(group, Some(&about(size)))).collect()
}

/// The ids of the finds.
pub(crate) fn finds() -> Vec<CompletionCandidate> {
    FINDS.iter().map(|find| candidate(&find.id, None)).collect()
}

/// The shapes.
pub(crate) fn shapes() -> Vec<CompletionCandidate> {
    SHAPES.iter().map(|shape| candidate(shape.name, Some(shape.about))).collect()
}

/// The bugs of the reference.
pub(crate) fn variants() -> Vec<CompletionCandidate> {
    let all = Variant::ALL.iter();
    all.map(|variant| candidate(variant.name(), Some(variant.about()))).collect()
}

/// The pairs of operations that can meet.
pub(crate) fn pairs() -> Vec<CompletionCandidate> {
    explore::select(&[]).unwrap_or_default().iter().map(|pair| candidate(pair, None)).collect()
}

fn candidate(value: &str, about: Option<&str>) -> CompletionCandidate {
    CompletionCandidate::new(value).help(about.map(|about| StyledStr::from(about.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli;

    /// What is offered for the last of the words.
    fn offered(line: &[&str]) -> Vec<String> {
        let words: Vec<_> = ["runner"].iter().chain(line).map(OsString::from).collect();
        let last = words.len() - 1;
        let offers =
            clap_complete::engine::complete(&mut cli::command(), words, last, None).unwrap();
        offers.iter().map(|offer| offer.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_can_be_named_is_offered() {
        for (line, word) in [
            (&["wai"][..], "waits/"),
            (&["waits/punch/splice/"], "waits/punch/splice/mapped"),
            (&["re"], "report"),
            (&["--fs", "xfs", "race/can"], "race/canary"),
            (&["-g", "qu"], "quick"),
            (&["--group", "dang"], "dangerous"),
            (&["-x", "live"], "livelock"),
            (&["-x", "livelock/"], "livelock/aio-dio-punch"),
            (&["--find", "unm"], "unmapped"),
            (&["--variant", "skip"], "skip-unmapped"),
            (&["--shape", "str"], "stripe"),
            (&["--shape", "stripe,no-r"], "stripe,no-reflink"),
            (&["--fs", "x"], "xfs"),
            (&["export", "waits/punch/splice/"], "waits/punch/splice/unmapped"),
            (&["explore", "punch+l"], "punch+load"),
            (&["explore", "--shape", "str"], "stripe"),
            (&["fuzz", "--against-variant", "skip"], "skip-unmapped"),
            (&["finds", "mail", "unm"], "unmapped"),
        ] {
            let offers = offered(line);
            assert!(offers.iter().any(|offer| offer == word), "{line:?}: {offers:?}");
        }
    }

    #[test]
    fn nothing_else_is_offered() {
        assert_eq!(offered(&["waits/nothing/"]), Vec::<String>::new());
        let levels = offered(&["waits/punch/"]);
        assert!(levels.iter().all(|level| level.starts_with("waits/punch/")), "{levels:?}");
        assert!(levels.len() < 40, "{levels:?}");
    }

    #[test]
    fn a_script_asks_the_program_as_it_is_called() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = script(shell).unwrap();
            assert!(script.contains(ASKED) && script.contains("runner"), "{script}");
        }
    }
}
