//! Manual pages: one for the runner, and one for each of its commands.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Typed;
use crate::suggest;

/// The runner, its commands and theirs.
fn commands() -> Vec<clap::Command> {
    let mut runner = Typed::command().disable_help_subcommand(true);
    // What is inherited, and that a command's page is called runner-COMMAND, is only known then.
    runner.build();
    let mut commands = vec![runner];
    let mut at = 0;
    while let Some(command) = commands.get(at) {
        let below: Vec<_> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
        commands.extend(below);
        at += 1;
    }
    commands
}

/// What the page of a command is called: "runner-finds-mail".
fn name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command, in as many words as it has, or of the runner, as man(1) reads it.
pub(crate) fn page(words: &[String]) -> anyhow::Result<String> {
    let commands = commands();
    let wanted = [&["runner".to_owned()], words].concat().join("-");
    let Some(found) = commands.iter().find(|command| name(command) == wanted) else {
        let typed = words.join(" ");
        let known = commands.iter().filter_map(|command| name(command).strip_prefix("runner-"));
        let nearest = suggest::nearest(&typed, known);
        let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
        bail!("there is no command {typed}{hint}");
    };
    let mut page = Vec::new();
    Man::new(found.clone()).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}

/// Writes all pages to a folder, in which none of them may be yet; their paths.
pub(crate) fn write(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for command in commands() {
        let man = Man::new(command);
        let path = folder.join(man.get_filename());
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already: name an empty folder", path.display());
        }
        let mut page = Vec::new();
        man.render(&mut page)?;
        pages.push((path, page));
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (path, page) in &pages {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(page))
            .with_context(|| path.display().to_string())?;
    }
    Ok(pages.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `runner\-report(1)` and the like.
    fn cited(page: &str) -> BTreeSet<String> {
        let pages = regex::Regex::new(r"(runner(?:\\-[a-z]+)*)\(1\)").unwrap();
        pages.captures_iter(page).map(|found| found[1].replace('\\', "")).collect()
    }

    #[test]
    fn every_page_that_is_cited_exists() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path()).unwrap();
        let names: BTreeSet<_> = written
            .iter()
            .map(|path| {
                path.file_name().unwrap().to_str().unwrap().trim_end_matches(".1").to_owned()
            })
            .collect();
        let said = |words: &[&str]| {
            page(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert!(cited(&said(&[])).contains("runner-report"));
        for path in &written {
            let page = fs::read_to_string(path).unwrap();
            assert!(cited(&page).is_subset(&names), "{}: {:?}", path.display(), cited(&page));
        }
        let mail = fs::read_to_string(folder.path().join("runner-finds-mail.1")).unwrap();
        assert_eq!(said(&["finds", "mail"]), mail);
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("runner-report.1");
        fs::write(&theirs, "theirs").unwrap();
        let error = write(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is there already: name an empty folder"), "{error}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_mistyped_command_gets_a_suggestion() {
        let error = page(&["reprot".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "there is no command reprot; did you mean report?");
    }
}
