//! The words for how a case went, and what they mean for the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finding::FindingRecord;

/// How a case went, measured against what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    /// Everything held.
    Pass,
    /// Something did not hold.
    Fail,
    /// Something did not return.
    Hang,
    /// It could not run here; the reason is given.
    NotRun,
    /// It deviated in a way that `expected/known.toml` knows.
    XFail,
    /// It passed although `expected/known.toml` says that it does not.
    XPass,
    /// The machinery failed, so nothing is known.
    Error,
}

impl Verdict {
    /// In the order in which summaries count them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Pass, Self::Fail, Self::Hang, Self::Error, Self::XPass, Self::XFail, Self::NotRun];

    /// Whether a person should look at it. An unexpected pass is unexpected.
    pub(crate) fn needs_attention(self) -> bool {
        matches!(self, Self::Fail | Self::Hang | Self::XPass | Self::Error)
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Hang => "HANG",
            Self::NotRun => "NOTRUN",
            Self::XFail => "XFAIL",
            Self::XPass => "XPASS",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Who or what reports a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Witness {
    /// The case: what it expected, and what it saw.
    #[default]
    Case,
    /// The deadline: the case was not back.
    Deadline,
    /// The case's process wrote to standard error before it died.
    Stderr,
    /// Tasks were left behind.
    Tasks,
    /// The kernel log.
    KernelLog,
    /// A rule of the protocol, in the reference or in the tracer: the problem has a finding.
    Rule,
    /// The transcript is not the expected one.
    Transcript,
    /// The check of the file system.
    Check,
    /// Something that cannot be undone without a reboot.
    Wedge,
    /// The machine, or the runner, went down.
    Machine,
    /// The run as a whole.
    Run,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// Who reports it.
    #[serde(default)]
    pub(crate) witness: Witness,
    /// A line that is the same each time: "WARNING in dax_disassociate_entry".
    pub(crate) title: String,
    /// Everything known about it.
    pub(crate) text: String,
    /// What a rule found, in fields; the title is its sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finding: Option<FindingRecord>,
}

impl Problem {
    pub(crate) fn new(witness: Witness, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { witness, title: title.into(), text: text.into(), finding: None }
    }

    /// What a rule found.
    pub(crate) fn found(finding: FindingRecord, text: impl Into<String>) -> Self {
        let title = finding.to_string();
        Self { finding: Some(finding), ..Self::new(Witness::Rule, title, text) }
    }
}
