//! Manual pages: one for a program, and one for each of its commands.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::suggest;

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program has no such command, but perhaps one like it.
    #[error("there is no command {typed}{hint}")]
    Unknown {
        /// What was asked for.
        typed: String,
        /// What it may have been meant to be.
        hint: String,
    },
    /// Somebody's file is not replaced.
    #[error("{} is there already: name an empty folder", .0.display())]
    Taken(PathBuf),
    /// A page could not be written.
    #[error("{}: {source}", .path.display())]
    Write {
        /// Its file, or the folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The program, its commands and theirs.
fn commands(program: Command) -> Vec<Command> {
    let mut program = program.disable_help_subcommand(true);
    // What is inherited, and that a command's page is called PROGRAM-COMMAND, is only known then.
    program.build();
    let mut commands = vec![program];
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
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn rendered(man: &Man) -> String {
    let mut page = Vec::new();
    man.render(&mut page).expect("a vector takes all");
    String::from_utf8(page).expect("clap's texts are UTF-8")
}

/// The page of a command, in as many words as it has, or of the program, as man(1) reads it.
pub fn page(program: Command, words: &[String]) -> Result<String, Error> {
    let commands = commands(program);
    let wanted = [&[name(&commands[0]).to_owned()], words].concat().join("-");
    if let Some(found) = commands.iter().find(|command| name(command) == wanted) {
        return Ok(rendered(&Man::new(found.clone())));
    }
    let typed = words.join(" ");
    let prefix = format!("{}-", name(&commands[0]));
    let known = commands.iter().filter_map(|command| name(command).strip_prefix(&prefix));
    let nearest = suggest::nearest(&typed, known);
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
    Err(Error::Unknown { typed, hint })
}

/// Writes all pages to a folder, in which none of them may be yet; their paths.
pub fn write(program: Command, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut pages = Vec::new();
    for command in commands(program) {
        let man = Man::new(command);
        let path = folder.join(man.get_filename());
        if path.symlink_metadata().is_ok() {
            return Err(Error::Taken(path));
        }
        pages.push((path, rendered(&man)));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (path, page) in &pages {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(page.as_bytes()))
            .map_err(failed(path))?;
    }
    Ok(pages.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn program(name: &'static str) -> Command {
        let mail = Command::new("mail").about("Print a find as a mail");
        let finds = Command::new("finds").about("List the finds").subcommand(mail);
        let report = Command::new("report").about("Rebuild the reports");
        let hidden = Command::new("__sweep").hide(true);
        Command::new(name).about("Test").subcommands([finds, report, hidden])
    }

    fn words(typed: &str) -> Vec<String> {
        typed.split_whitespace().map(str::to_owned).collect()
    }

    /// `runner\-report(1)` and the like.
    fn cited(page: &str) -> BTreeSet<String> {
        let pages = regex::Regex::new(r"([a-z]+(?:\\-[a-z]+)*)\(1\)").unwrap();
        pages.captures_iter(page).map(|found| found[1].replace('\\', "")).collect()
    }

    #[test]
    fn every_page_that_is_cited_exists() {
        for name in ["runner", "daxtests"] {
            let folder = tempfile::tempdir().unwrap();
            let written = write(program(name), folder.path()).unwrap();
            let named = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let names: BTreeSet<_> = written.iter().map(named).collect();
            let all = ["", "-finds", "-finds-mail", "-report"].map(|end| format!("{name}{end}"));
            assert_eq!(names, BTreeSet::from(all));
            let first = page(program(name), &[]).unwrap();
            assert!(cited(&first).contains(&format!("{name}-report")), "{first}");
            for path in &written {
                let page = fs::read_to_string(path).unwrap();
                assert!(cited(&page).is_subset(&names), "{}: {:?}", path.display(), cited(&page));
            }
            let mail = fs::read_to_string(folder.path().join(format!("{name}-finds-mail.1")));
            assert_eq!(page(program(name), &words("finds mail")).unwrap(), mail.unwrap());
        }
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("runner-report.1");
        fs::write(&theirs, "theirs").unwrap();
        let error = write(program("runner"), folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is there already: name an empty folder"), "{error}");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_mistyped_command_gets_a_suggestion() {
        let error = page(program("runner"), &words("reprot")).unwrap_err().to_string();
        assert_eq!(error, "there is no command reprot; did you mean report?");
    }
}
