//! What is to be done, ready to be done: the arguments after they were understood.
//!
//! The journal holds it, so that a run can be resumed without repeating the arguments.

use std::path::PathBuf;
use std::time::Duration;

use cases::{Limit, Patience};
use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::fs::FsType;
use crate::known::KnownFile;
use crate::shard::Share;
use crate::target::Target;

/// Who called the runner, and with which words, quoted for a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Caller {
    /// The user, by these words: `sudo target/debug/runner`.
    User(String),
    /// A harness that makes the machine and its devices, by these words, which say what is
    /// tested: `./ci/vm --kernel 6.12 --fs xfs`. It also goes on by itself after a reboot.
    Harness(String),
}

impl Default for Caller {
    fn default() -> Self {
        Self::User("runner".to_owned())
    }
}

impl Caller {
    /// The user, who typed `program`, in front of it sudo or not, and in front of that `within`, if it is a
    /// command that runs others elsewhere.
    pub(crate) fn user(within: &str, program: &str, sudo: bool) -> Self {
        let within = if within.is_empty() { String::new() } else { format!("{within} ") };
        let sudo = if sudo { "sudo " } else { "" };
        Self::User(format!("{within}{sudo}{}", quoted([program])))
    }
}

/// Words for a shell.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    // Only a NUL cannot be quoted, and no argument has one.
    shlex::try_join(words).unwrap_or_default()
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// On what.
    pub(crate) target: Target,
    /// The bug that the reference is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    /// The cases' names, in the order in which they run.
    pub(crate) cases: Vec<String>,
    /// What they are a share of, if other machines run the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<Share>,
    /// How often to go through them; none: until something else ends it.
    pub(crate) iterations: Option<u64>,
    /// When to begin no further case, counted from the start of the run.
    pub(crate) duration: Option<Duration>,
    /// Whether the first result that needs attention ends the run.
    pub(crate) until_fail: bool,
    /// A case that cannot run is an error.
    pub(crate) require: bool,
    /// Iteration `n` (from 0) runs each case with a seed made of `seed + n` and its name.
    pub(crate) seed: u64,
    /// Multiplies every deadline.
    pub(crate) timeout_factor: f64,
    /// Where transcripts of passing cases are written to instead of being compared.
    pub(crate) bless: Option<PathBuf>,
    /// Whether cases are traced, and which timelines are kept.
    #[serde(default)]
    pub(crate) trace: Option<Keep>,
    /// What else is known of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) known: Vec<KnownFile>,
    /// Who called the runner, for the commands that do something again.
    #[serde(default)]
    pub(crate) caller: Caller,
}

/// Which timelines of traced cases are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keep {
    /// Every one.
    All,
    /// Those of cases that need attention.
    Failed,
}

impl Plan {
    /// What the cases run on, such that another configuration's cases are other cases.
    pub(crate) fn configuration(&self) -> String {
        let mut name = self.target.name();
        if let Some(variant) = &self.variant {
            name.push('-');
            name.push_str(variant);
        }
        name
    }

    /// A deadline, stretched as asked.
    pub(crate) fn patience(&self, limit: Limit) -> Duration {
        Patience::times(self.timeout_factor).of(limit)
    }

    /// The seed of `case` in `iteration`.
    ///
    /// It depends on nothing else, so that the case alone, run with `--seed` of that iteration,
    /// does the same.
    pub(crate) fn seed_of(&self, case: &str, iteration: u64) -> u64 {
        // FNV-1a: stable between builds, which std's hashers do not promise.
        let start = 0xcbf2_9ce4_8422_2325_u64 ^ self.seed.wrapping_add(iteration);
        case.bytes()
            .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

#[cfg(test)]
pub(crate) fn example() -> Plan {
    Plan {
        target: Target {
            fs: FsType::Xfs,
            devices: vec!["/dev/pmem0".into()],
            ..Target::reference()
        },
        variant: None,
        cases: vec!["waits/truncate-down/splice/mapped".to_owned(), "race/retry".to_owned()],
        shard: None,
        iterations: Some(1),
        duration: None,
        until_fail: false,
        require: false,
        seed: 7,
        timeout_factor: 1.0,
        trace: None,
        bless: None,
        known: Vec::new(),
        caller: Caller::user("", "runner", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_can_be_repeated_alone() {
        let all = example();
        let alone = Plan { seed: all.seed + 3, ..all.clone() };
        assert_eq!(all.seed_of("race/retry", 3), alone.seed_of("race/retry", 0));
        assert_ne!(all.seed_of("race/retry", 0), all.seed_of("race/retry", 1));
        assert_ne!(all.seed_of("race/retry", 0), all.seed_of("race/canary", 0));
    }
}
