//! The machine that the run is on: its name for the reports, and the facts that conditions in
//! `expected/known.toml` ask for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::Context as _;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

/// The machine a run was on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `uname -r`.
    pub(crate) kernel: String,
    /// `uname -v`.
    pub(crate) version: String,
    /// `uname -m`.
    pub(crate) arch: String,
    /// How many processors.
    pub(crate) cpus: usize,
    /// The runner's own version.
    pub(crate) runner: String,
    /// What taints the kernel, as /proc/sys/kernel/tainted numbers it, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tainted: Option<u64>,
}

/// A livepatch was applied: include/linux/panic.h.
const TAINT_LIVEPATCH: u32 = 15;

impl Machine {
    /// Whether the kernel was patched while it ran, as the faults of `ci/faults/` do it.
    pub(crate) fn is_livepatched(&self) -> bool {
        self.tainted.is_some_and(|tainted| tainted & 1 << TAINT_LIVEPATCH != 0)
    }
}

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
