//! The machine that the run is on: its name for the reports, and the facts that conditions in
//! `expected/known.toml` ask for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::Context as _;
use nix::sys::utsname::uname;

use crate::journal::Machine;

/// This machine.
pub(crate) fn here() -> Machine {
    let name = uname().ok();
    let text = |field: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        name.as_ref().map_or(String::new(), |name| field(name).to_string_lossy().into_owned())
    };
    Machine {
        kernel: text(|name| name.release()),
        version: text(|name| name.version()),
        arch: text(|name| name.machine()),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        runner: env!("CARGO_PKG_VERSION").to_owned(),
        tainted: std::fs::read_to_string("/proc/sys/kernel/tainted")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    }
}

/// Which of `wanted` are symbols of the running kernel and its loaded modules.
pub(crate) fn symbols(wanted: &BTreeSet<&str>) -> anyhow::Result<BTreeSet<String>> {
    let path = "/proc/kallsyms";
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).context(path)?);
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).context(path)? == 0 {
            return Ok(found);
        }
        // "ffffffff81000000 t name\t[module]"
        let text = String::from_utf8_lossy(&line);
        if let Some(name) = text.split_whitespace().nth(2)
            && wanted.contains(name)
        {
            found.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_a_release() {
        let machine = here();
        assert!(machine.kernel.starts_with(|c: char| c.is_ascii_digit()), "{machine:?}");
        assert!(machine.cpus > 0);
        assert!(machine.tainted.is_some(), "{machine:?}");
    }
}
