//! Builds the probes into `OUT_DIR/tracer-ebpf`, or leaves an empty file there.
//!
//! An empty file means "built without probes": the crate compiles and tests everywhere, and the
//! command refuses to trace and says why. The eBPF compiler is looked for where
//! `EBPF_TOOLCHAIN` points (a rustup toolchain or a directory such as `/usr`), then in `/usr`,
//! where Debian's `libstd-rust-web-dev-bpf` puts a `core` for the target.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use aya_build::{Package, Toolchain};

/// The library folder of the target in a compiler's root.
const TARGET: &str = "lib/rustlib/bpfel-unknown-none/lib";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=EBPF_TOOLCHAIN");
    println!("cargo:rerun-if-env-changed=PATH");
    println!("cargo:rerun-if-changed=../protocol/src");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let object = out.join("tracer-ebpf");
    // Whatever an earlier build left there must not pass for this build's probes.
    std::fs::write(&object, []).with_context(|| object.display().to_string())?;

    let Some(toolchain) = toolchain() else {
        without("no eBPF toolchain");
        return Ok(());
    };
    if !runs("bpf-linker") {
        without("no bpf-linker");
        return Ok(());
    }
    let package = Package { name: "tracer-ebpf", root_dir: "../tracer-ebpf", ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
}

/// Warns that there will be no probes, and has the next build look again once something was
/// installed: by cargo, by rustup, or by dpkg.
fn without(what: &str) {
    println!(
        "cargo:warning={what}: the tracer is built without probes (ci/ebpf-toolchain installs what is \
         missing)"
    );
    let home = |variable, default| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(default)))
    };
    let installed = [
        home("CARGO_HOME", ".cargo").map(|cargo| cargo.join("bin")),
        home("RUSTUP_HOME", ".rustup").map(|rustup| rustup.join("update-hashes")),
        Some(PathBuf::from("/var/lib/dpkg/status")),
    ];
    // A path that does not exist would make every build look again, and build the tracer anew.
    for path in installed.into_iter().flatten().filter(|path| path.exists()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn toolchain() -> Option<String> {
    if let Ok(named) = std::env::var("EBPF_TOOLCHAIN") {
        return (!named.is_empty()).then_some(named);
    }
    if Path::new("/usr").join(TARGET).is_dir() && runs("/usr/bin/rustc") {
        return Some("/usr".to_owned());
    }
    // A nightly builds its own `core`, for which it needs the source.
    let root = Command::new("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let root = PathBuf::from(String::from_utf8(root.stdout).ok()?.trim());
    root.join("lib/rustlib/src/rust/library/core").is_dir().then(|| "nightly".to_owned())
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
