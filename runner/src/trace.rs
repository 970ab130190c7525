//! The tracer beside the cases: attached once for a run, asked about each case.
//!
//! What it finds is evidence of a case, beside what the case itself says. It is another witness,
//! not another judge: a finding that no known deviation explains fails the case.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tracer::options::Options;
use tracer::stream::Stream;
use tracer::timeline::{self, Timeline};

use crate::case_file::CaseFile;
use crate::plan::Keep;
use crate::print;
use crate::verdict::{Problem, Verdict};

/// The attached tracer.
pub(crate) struct Trace {
    stream: Stream,
    keep: Keep,
}

/// What was traced of a case.
pub(crate) struct Traced {
    ruling: protocol::Ruling,
    timeline: Timeline,
    keep: Keep,
}

impl Trace {
    /// Attaches to the file system of `dev`, which is mounted.
    pub(crate) fn attach(dev: &Path, keep: Keep, patience: f64) -> anyhow::Result<Self> {
        let options = Options { detail: true, patience, ..Options::default() };
        let stream = Stream::open(dev, &options).context("--trace")?;
        Ok(Self { stream, keep })
    }

    /// What the break violated by which the tracer made sure that it sees one: on a kernel that does this
    /// nothing is well.
    pub(crate) fn self_check(&self) -> Vec<Problem> {
        let text = "The tracer broke the layout of a file of its own, to see whether it sees that.";
        self.stream
            .self_check()
            .iter()
            .map(|finding| Problem::found(finding.into(), text))
            .collect()
    }

    /// A case begins.
    pub(crate) fn begin(&mut self) {
        self.stream.begin();
    }

    /// Takes what is there, so that the ring does not run over.
    pub(crate) fn pump(&mut self) {
        self.stream.pump();
    }

    /// The case ended.
    pub(crate) fn end(&mut self) -> Traced {
        let (ruling, timeline) = self.stream.conclude();
        for refusal in self.stream.refusals() {
            print::note(format_args!("--trace: {refusal}"));
        }
        Traced { ruling, timeline, keep: self.keep }
    }
}

/// Lines of the timeline that a problem's text carries; all of it is in a file.
const LINES: usize = 120;

impl Traced {
    /// A trace in which this was found.
    #[cfg(test)]
    pub(crate) fn with(finding: protocol::Finding) -> Self {
        let ruling = protocol::Ruling::Violated(vec![finding.clone()]);
        let timeline = Timeline { findings: vec![finding], ..Timeline::default() };
        Self { ruling, timeline, keep: Keep::Failed }
    }

    /// What was found.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for finding in &self.timeline.findings {
            let mut text = self.describe(finding);
            // Once is enough to read it.
            if problems.is_empty() {
                text.push_str(&self.last_lines());
            }
            problems.push(Problem::found(finding.into(), text));
        }
        problems
    }

    /// The note about the trace: whether it proves anything.
    pub(crate) fn note(&self) -> (String, String) {
        let mut text = match &self.ruling {
            protocol::Ruling::Holds => "the protocol held".to_owned(),
            protocol::Ruling::Violated(findings) => format!("{} findings", findings.len()),
            protocol::Ruling::Undecided => {
                format!("undecided: {}", self.timeline.unseen)
            }
        };
        if self.timeline.needless > 0 {
            let _ =
                write!(text, "; {} calls not seen that it does not need", self.timeline.needless);
        }
        ("trace".to_owned(), text)
    }

    /// Whether this case's timeline is kept.
    pub(crate) fn is_kept(&self, verdict: Verdict) -> bool {
        self.keep == Keep::All || verdict.needs_attention()
    }

    /// The timeline as text.
    pub(crate) fn text(&self) -> String {
        timeline::text::write(&self.timeline)
    }

    /// The timeline in all its forms.
    pub(crate) fn files(&self) -> [(CaseFile, Vec<u8>); 4] {
        [
            (CaseFile::TimelineText, self.text().into_bytes()),
            (CaseFile::TimelineJson, timeline::json::write(&self.timeline).into_bytes()),
            (CaseFile::TimelinePerfetto, timeline::perfetto::write(&self.timeline)),
            (CaseFile::TimelineSvg, timeline::svg::write(&self.timeline).into_bytes()),
        ]
    }

    fn describe(&self, finding: &protocol::Finding) -> String {
        let mut text = format!("{finding}\n");
        for (what, stack) in self.timeline.stacks_of(finding) {
            let _ = writeln!(text, "\n{what}:");
            for frame in stack {
                let _ = writeln!(text, "  {frame}");
            }
        }
        text
    }

    /// The end of the timeline.
    fn last_lines(&self) -> String {
        let mut text = String::new();
        let all = self.text();
        let lines: Vec<&str> = all.lines().collect();
        let skipped = lines.len().saturating_sub(LINES);
        let _ = write!(text, "\ntimeline");
        if skipped > 0 {
            let _ = write!(text, " (the last lines; {skipped} more are in timeline.txt)");
        }
        let _ = writeln!(text, ":\n{}", lines[skipped..].join("\n"));
        text
    }
}
