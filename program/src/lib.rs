//! What the programs of daxtests have in common: the name by which the user called one, its version with
//! the commit, its manual pages, and how it says that it cannot use its arguments.
//!
//! What the arguments are and mean is each program's own. An installed program goes by another name
//! (`daxtests` for `runner`), and what it prints names it as the user knows it.

#![forbid(unsafe_code)]

pub mod pages;
pub mod suggest;

use std::ffi::OsStr;
use std::path::Path;

/// The version, and the commit that the program was built from, if it was built in the repository.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("DAXTESTS_COMMIT"), ")");

/// The name of the program, whose first argument is `typed`; `usual`, if that does not tell.
pub fn name(typed: Option<&OsStr>, usual: &str) -> String {
    let name = typed.map(Path::new).and_then(Path::file_name);
    name.and_then(|name| name.to_str()).unwrap_or(usual).to_owned()
}

/// What clap says of arguments that `program` cannot use, without the usage that it adds.
pub fn in_a_line(said: &clap::Error, program: &str) -> String {
    let text = said.render().to_string();
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if !line.is_empty() {
            line.push_str(if part.starts_with("tip:") { "; " } else { " " });
        }
        line.push_str(part);
    }
    format!("{} (see {program} --help)", line.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_the_name_by_which_it_was_called() {
        for (typed, name_of_it) in [
            (Some("/usr/bin/daxtests"), "daxtests"),
            (Some("target/debug/runner"), "runner"),
            (Some("daxtests"), "daxtests"),
            (Some(".."), "runner"),
            (Some(""), "runner"),
            (None, "runner"),
        ] {
            assert_eq!(name(typed.map(OsStr::new), "runner"), name_of_it);
        }
    }
}
