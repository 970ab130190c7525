//! All that was observed of one execution of a case: collected first, judged once, by
//! [`crate::judge`].

use cases::Ending;

use crate::kmsg::KernelLog;
use crate::trace::Traced;
use crate::verdict::Problem;
use crate::watch::{ChildEnd, Watched};

/// What was observed of a case.
pub(crate) struct Evidence {
    /// What its process said and did, and what it left behind.
    pub(crate) watched: Watched,
    /// What the kernel logged meanwhile.
    pub(crate) log: KernelLog,
    /// What the tracer saw, if one was attached.
    pub(crate) traced: Option<Traced>,
    /// What the check of the file system complains about, if it was made.
    pub(crate) check: Option<Problem>,
    /// What the kernel stopped telling of while it ran.
    pub(crate) silenced: Vec<String>,
}

impl Evidence {
    /// What was seen of its process. The rest is added as it is looked at.
    pub(crate) fn of(watched: Watched) -> Self {
        Self { watched, log: KernelLog::default(), traced: None, check: None, silenced: Vec::new() }
    }

    /// Adds what the kernel logged since.
    pub(crate) fn add_log(&mut self, more: KernelLog) {
        self.log.lost += more.lost;
        self.log.records.extend(more.records);
    }

    /// Whether the case itself says that all was well, or that it could not run.
    pub(crate) fn is_content(&self) -> bool {
        matches!(
            self.watched.end,
            ChildEnd::Said(Ending::Pass | Ending::NotRun(_)) | ChildEnd::Interrupted
        )
    }

    /// What the rules of the protocol found: in the reference's own events and in the trace.
    pub(crate) fn found(&self) -> Vec<Problem> {
        let own = self.watched.findings.iter().map(|finding| {
            let text = finding.to_string();
            Problem::found(finding.clone(), text)
        });
        own.chain(self.traced.iter().flat_map(Traced::problems)).collect()
    }

    /// What is told beside the verdict.
    pub(crate) fn notes(&self) -> Vec<(String, String)> {
        let mut notes = self.watched.notes.clone();
        notes.extend(self.silenced.iter().map(|what| ("silenced".to_owned(), what.clone())));
        notes.extend(self.traced.as_ref().map(Traced::note));
        notes
    }
}
