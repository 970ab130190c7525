//! Puts `expected/` and `docs/finds/` into the binary, so that the runner can be copied anywhere by
//! itself.
//!
//! What it prints and writes names no absolute path: a `target/` that is carried into another
//! folder, as a CI cache is, must look at the `expected/` beside it and not at the one it was
//! built from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// From the package's folder, in which Cargo runs this, and to which it takes what is printed as
/// relative.
const EXPECTED: &str = "../expected";
const FINDS: &str = "../docs/finds";

fn main() -> io::Result<()> {
    let expected = Path::new(EXPECTED);
    println!("cargo::rerun-if-changed={EXPECTED}");

    let mut table = String::from("[\n");
    let mut files = Vec::new();
    for entry in sorted(expected)? {
        // A law's file, or a group's folder.
        if entry.is_dir() {
            println!("cargo::rerun-if-changed={}", entry.display());
            files.extend(sorted(&entry)?);
        } else {
            files.push(entry);
        }
    }
    for file in files {
        if file.extension().is_some_and(|extension| extension == "out") {
            let name = file.strip_prefix(expected).expect("the walk began there");
            let name = name.with_extension("").display().to_string();
            // The text and not the file's name, which would have to be absolute.
            let text = fs::read_to_string(&file)?;
            writeln!(table, "    ({name:?}, {text:?}),").expect("a string takes all");
        }
    }
    table.push_str("]\n");

    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("transcripts.rs"), table)?;
    fs::copy(expected.join("known.toml"), out.join("known.toml"))?;

    println!("cargo::rerun-if-changed={FINDS}");
    let mut table = String::from("[\n");
    for file in sorted(Path::new(FINDS))? {
        let name = file.file_name().expect("it was found in a folder").display().to_string();
        let text = fs::read_to_string(&file)?;
        writeln!(table, "    ({name:?}, {text:?}),").expect("a string takes all");
    }
    table.push_str("]\n");
    fs::write(out.join("finds.rs"), table)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
