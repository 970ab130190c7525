//! A case as a program for somebody who has no daxtests: one C file, readable, with the
//! expectation as its exit code.
//!
//! A case is written down as it runs on the reference ([`cases::record`]), whose answers are what a
//! kernel must answer. What cannot be said in C yet is refused with its reason: a program that
//! leaves something out would prove nothing.

mod c;

use anyhow::bail;
use cases::{Case, Ending};

use crate::judge::gist;

/// The seed of the recording; a case that is exported draws no lots.
const SEED: u64 = 1;

/// The case beside those of the law `durable` in which only the oracle sees what fsync leaves out.
const ONLY_DURABLE: &str = "fsync/part-written-beside-shared";

/// The C program of `case`.
pub(crate) fn c(case: &Case) -> anyhow::Result<String> {
    if case.group() == "durable" || case.name == ONLY_DURABLE {
        // It would say that all is well whatever fsync does.
        bail!(
            "{} cannot be exported: what was written back is not to be seen by a program",
            case.name
        );
    }
    let deeds = match cases::record(case, SEED) {
        Ok(deeds) => deeds,
        Err(Ending::NotRun(why)) => {
            bail!("{} cannot be exported: it does not run on the reference: {why}", case.name)
        }
        Err(Ending::Fail(why) | Ending::Hang(why) | Ending::Error(why)) => {
            bail!("{} does not pass on the reference: {}", case.name, gist(&why))
        }
        Err(Ending::Pass) => unreachable!("what passes is written down"),
    };
    match c::program(case, &deeds) {
        Ok(text) => Ok(text),
        Err(why) => bail!("{} cannot be exported: {why}", case.name),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What stands for all: a cell of each law that can be exported, and cases that no axis
    /// expresses.
    const SAMPLE: [&str; 13] = [
        "waits/punch/splice/unmapped",
        "waits/truncate-down/splice/other-process",
        "waits/collapse/splice/unlinked",
        "interrupted/punch/splice/handled",
        "interrupted/punch/splice/kill",
        "several/punch/splice/231",
        "progress/punch/splice/fault",
        "refused/punch/uring-buffer/mapped",
        "evict/own-pin-at-exit",
        "waits/punch/vm-read/unmapped",
        "waits/punch/vm-write/other-process",
        "reflink/dedupe-signal",
        "history/dedupe-two-extents-differ",
    ];

    #[test]
    fn a_compiler_has_nothing_to_say() {
        for name in SAMPLE {
            let text = c(cases::find(name).unwrap()).unwrap();
            let mut gcc = Command::new("gcc")
                .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
                .args(["-S", "-o", "/dev/null", "-xc", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            gcc.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let said = gcc.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success(), "{name}: {errors}\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_its_reason() {
        for (name, words) in [
            ("waits/punch/aio-read/mapped", "a device that holds it"),
            ("race/retry", "script"),
            ("durable/punch/splice/mapped", "not to be seen"),
            (ONLY_DURABLE, "not to be seen"),
            ("waits/punch/splice/huge", "does not run on the reference"),
        ] {
            let error = c(cases::find(name).unwrap()).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    #[test]
    fn every_case_is_exported_or_refused() {
        let mut exported = 0;
        // A case that pins by splice says the same as those that pin otherwise.
        for case in cases::all().iter().filter(|case| !matches!(case.group(), "race" | "livelock"))
        {
            if case.coordinate("pin").is_none_or(|pin| matches!(pin, "splice" | "vm-write")) {
                exported += usize::from(c(case).is_ok());
            }
        }
        assert!(exported > 100, "{exported}");
    }
}
