//! The files in a case's folder of the results.

use std::ffi::OsStr;

/// A file in a case's folder. There are no others, so that what is removed is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaseFile {
    Problems,
    Transcript,
    Observed,
    Expected,
    KernelLog,
    Stacks,
    Stderr,
    TimelineText,
    TimelineJson,
    TimelinePerfetto,
    TimelineSvg,
}

impl CaseFile {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Problems,
        Self::Transcript,
        Self::Observed,
        Self::Expected,
        Self::KernelLog,
        Self::Stacks,
        Self::Stderr,
        Self::TimelineText,
        Self::TimelineJson,
        Self::TimelinePerfetto,
        Self::TimelineSvg,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Problems => "problems.txt",
            Self::Transcript => "transcript.out",
            Self::Observed => "observed.out",
            Self::Expected => "expected.out",
            Self::KernelLog => "kernel.log",
            Self::Stacks => "stacks.txt",
            Self::Stderr => "stderr.txt",
            Self::TimelineText => "timeline.txt",
            Self::TimelineJson => "timeline.jsonl",
            Self::TimelinePerfetto => "timeline.pftrace",
            Self::TimelineSvg => "timeline.svg",
        }
    }

    /// Whether one of them has this name.
    pub(crate) fn is_name(name: &OsStr) -> bool {
        Self::ALL.iter().any(|file| file.name() == name)
    }
}
