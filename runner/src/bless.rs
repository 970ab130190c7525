//! `--bless DIR`: what passing cases showed, as what they must show.
//!
//! A transcript that is there is replaced, and of a law's file the line of the cell, for that is
//! what was asked; anything else is not.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::expected;
use crate::output::{self, Error, PathKind};
use crate::watch::Watched;

fn path(folder: &Path, case: &str) -> PathBuf {
    folder.join(format!("{}.out", expected::name(case)))
}

/// Tries whether what `cases` show can be written; nothing is changed.
pub(crate) fn check(folder: &Path, cases: &[String]) -> Result<(), Error> {
    output::try_to_make(folder, folder)?;
    for case in cases {
        let path = path(folder, case);
        let group = path.parent().unwrap_or(folder);
        output::free_or(group, PathKind::Folder)?;
        output::free_or(&path, PathKind::File)?;
        if group.exists() {
            output::try_to_make(&path, group)?;
        }
    }
    Ok(())
}

/// Writes what was seen of `case`.
pub(crate) fn write(folder: &Path, case: &str, watched: &Watched) -> Result<(), Error> {
    let path = path(folder, case);
    let group = path.parent().unwrap_or(folder);
    fs::create_dir_all(group).map_err(|why| Error::Io { path: group.to_owned(), why })?;
    if expected::name(case) == case {
        return output::replace(&path, watched.transcript.as_bytes());
    }
    let contract = match fs::read_to_string(&path) {
        Ok(contract) => contract,
        Err(why) if why.kind() == ErrorKind::NotFound => String::new(),
        Err(why) => return Err(Error::Io { path, why }),
    };
    output::replace(&path, expected::with_cell(&contract, case, &watched.observed).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cases::Ending;

    use super::*;
    use crate::watch::ChildEnd;

    #[test]
    fn a_cell_takes_its_own_line_only() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["waits/punch/splice/first", "waits/punch/splice/last"];
        let seen = |observed: &str| Watched {
            observed: observed.to_owned(),
            ..Watched::of(ChildEnd::Said(Ending::Pass))
        };
        write(folder.path(), second, &seen("blocked\ndone\n")).unwrap();
        write(folder.path(), first, &seen("blocked\n")).unwrap();
        write(folder.path(), first, &seen("done\n")).unwrap();
        let text = fs::read_to_string(folder.path().join("waits.out")).unwrap();
        assert_eq!(text, "punch/splice/first: done\npunch/splice/last: blocked; done\n");
    }

    #[test]
    fn what_is_no_transcript_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let case = "race/retry";
        let seen = |transcript: &str| Watched {
            transcript: transcript.to_owned(),
            ..Watched::of(ChildEnd::Said(Ending::Pass))
        };
        check(folder.path(), &[case.to_owned()]).unwrap();
        write(folder.path(), case, &seen("a\n")).unwrap();
        check(folder.path(), &[case.to_owned()]).unwrap();
        write(folder.path(), case, &seen("b\n")).unwrap();
        let out = folder.path().join("race/retry.out");
        assert_eq!(fs::read_to_string(&out).unwrap(), "b\n");

        fs::remove_file(&out).unwrap();
        symlink("/etc/passwd", &out).unwrap();
        let error = check(folder.path(), &[case.to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} is not a regular file", out.display())), "{error}");
    }
}
