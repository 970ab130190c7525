//! The words for how a case went, and what they mean for the run.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// A line that is the same each time: "WARNING in dax_disassociate_entry".
    pub(crate) title: String,
    /// Everything known about it.
    pub(crate) text: String,
    /// The tracer saw it, and the title is what a rule says of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) traced: bool,
}

impl Problem {
    pub(crate) fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), traced: false }
    }

    /// What the tracer found.
    pub(crate) fn traced(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { traced: true, ..Self::new(title, text) }
    }
}
