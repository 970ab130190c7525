//! Where a program that diverged is left, with what was seen of it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::output;

use super::program::Program;
use super::skeleton;

/// A program as it is kept: to run it again, to make a case of it, to read what it did.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// The program.
    pub(crate) program: &'a Program,
    /// What it shows.
    pub(crate) kind: &'a str,
    /// All that was seen: states, stacks, the kernel's log.
    pub(crate) evidence: &'a str,
}

impl Kept<'_> {
    /// Writes it into `folder`, beside what is there; the path of the program.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut replay = serde_json::to_vec_pretty(self.program)?;
        replay.push(b'\n');
        let case = skeleton::of(self.program, self.kind);
        let evidence = format!(
            "seed {}: {}\n\n{}\n{}\n",
            self.program.seed, self.kind, self.program, self.evidence
        );
        for number in 1_u32.. {
            let path = folder.join(format!("{}.json", self.name(number)));
            match create(&path, &replay) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                done => {
                    done.with_context(|| path.display().to_string())?;
                    for (ending, text) in [("rs", &case), ("txt", &evidence)] {
                        let path = path.with_extension(ending);
                        output::replace(&path, text.as_bytes())?;
                    }
                    return Ok(path);
                }
            }
        }
        unreachable!("no folder has so many files")
    }

    /// What it is called: by what it shows and its seed, and by a number if that name is taken.
    fn name(&self, number: u32) -> String {
        let kind: String = self
            .kind
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(60)
            .collect();
        let more = if number > 1 { format!("-{number}") } else { String::new() };
        format!("{kind}-{}{more}", self.program.seed)
    }
}

fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::File::create_new(path)?.write_all(bytes)
}

/// Reads the programs that are in these files and folders, each with its path.
pub(crate) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Program)>> {
    let mut programs = Vec::new();
    for path in paths {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            files = fs::read_dir(path)
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .with_context(|| path.display().to_string())?;
            files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
            files.sort();
            if files.is_empty() {
                anyhow::bail!("{}: no program of the fuzzer is in it", path.display());
            }
        }
        for file in files {
            let program = read(&file)?;
            programs.push((file, program));
        }
    }
    Ok(programs)
}

/// Reads a program that was left in a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Program> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name)?;
    let program: Program = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a program of the fuzzer", name()))?;
    program.check().map_err(|why| anyhow::anyhow!("{}: {why}", name()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_program_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::of_a_refusal();
        let keep = |evidence| {
            let kept = Kept { program: &program, kind: "Punch: success, not EINVAL", evidence };
            kept.write(folder.path()).unwrap()
        };
        let first = keep("the first");
        assert_eq!(first.file_name().unwrap(), "punch--success--not-einval-0.json");
        let second = keep("the second");
        assert_eq!(second.file_name().unwrap(), "punch--success--not-einval-0-2.json");
        let evidence = fs::read_to_string(first.with_extension("txt")).unwrap();
        assert!(evidence.contains("the first") && evidence.contains("  1. task 0: "), "{evidence}");
        assert_eq!(read(&first).unwrap(), program);
    }

    #[test]
    fn what_is_no_program_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        let whole = serde_json::to_string(&Program::of_a_refusal()).unwrap();
        for text in ["", "nonsense", &whole[..whole.len() / 2], "{}", r#"{"steps":[],"seed":1}"#] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains("p.json") && error.lines().count() == 1, "{error}");
        }
        fs::write(&path, whole.replace("\"Do\":[0", "\"Do\":[9")).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("task 9"), "{error}");
    }
}
