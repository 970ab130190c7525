//! Puts `expected/` into the binary, so that the runner can be copied anywhere by itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let expected = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../expected")
        .canonicalize()?;
    println!("cargo::rerun-if-changed={}", expected.display());

    let mut table = String::from("[\n");
    for group in sorted(&expected)? {
        if !group.is_dir() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", group.display());
        for file in sorted(&group)? {
            if file.extension().is_none_or(|extension| extension != "out") {
                continue;
            }
            let name =
                file.strip_prefix(&expected).expect("the walk began there").with_extension("");
            writeln!(
                table,
                "    ({:?}, include_str!({:?})),",
                name.display().to_string(),
                file.display().to_string()
            )
            .expect("a string takes all");
        }
    }
    table.push_str("]\n");

    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("transcripts.rs"), table)?;
    fs::copy(expected.join("known.toml"), out.join("known.toml"))?;
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
