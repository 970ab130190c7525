//! `--bless DIR`: the transcripts of passing cases, as golden ones.
//!
//! A transcript that is there is replaced, for that is what was asked; anything else is not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::output::{self, Error, Kind};

fn path(folder: &Path, case: &str) -> PathBuf {
    folder.join(format!("{case}.out"))
}

/// Tries whether the transcripts of `cases` can be written; nothing is changed.
pub(crate) fn check(folder: &Path, cases: &[String]) -> Result<(), Error> {
    output::try_to_make(folder, folder)?;
    for case in cases {
        let path = path(folder, case);
        let group = path.parent().unwrap_or(folder);
        output::free_or(group, Kind::Folder)?;
        output::free_or(&path, Kind::File)?;
        if group.exists() {
            output::try_to_make(&path, group)?;
        }
    }
    Ok(())
}

/// Writes the transcript of `case`.
pub(crate) fn write(folder: &Path, case: &str, transcript: &str) -> Result<(), Error> {
    let path = path(folder, case);
    let group = path.parent().unwrap_or(folder);
    fs::create_dir_all(group).map_err(|why| Error::Io { path: group.to_owned(), why })?;
    output::replace(&path, transcript.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_transcript_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cases = ["pin/punch-waits".to_owned()];
        check(folder.path(), &cases).unwrap();
        write(folder.path(), &cases[0], "a\n").unwrap();
        check(folder.path(), &cases).unwrap();
        write(folder.path(), &cases[0], "b\n").unwrap();
        let out = folder.path().join("pin/punch-waits.out");
        assert_eq!(fs::read_to_string(&out).unwrap(), "b\n");

        fs::remove_file(&out).unwrap();
        symlink("/etc/passwd", &out).unwrap();
        let error = check(folder.path(), &cases).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} is not a regular file", out.display())), "{error}");
    }
}
