//! A rule's finding as the journal holds it: in fields, so that nobody has to
//! parse the sentence.

use serde::{Deserialize, Serialize};

/// One violation of one rule, in a kernel or in the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// The rule, by the name that people use: "missed wait".
    pub(crate) rule: String,
    /// What happened, in a sentence.
    pub(crate) text: String,
    /// The tasks that took part, the one that broke the rule first.
    pub(crate) tasks: Vec<u32>,
    /// The file, 0 if unknown.
    pub(crate) inode: u64,
    /// The page's frame number, 0 if it is about none.
    pub(crate) page: u64,
    /// The page's index in the file.
    pub(crate) index: u64,
    /// The events that it rests on, by their number in the history.
    pub(crate) events: Vec<u64>,
}

impl From<&protocol::Finding> for Finding {
    fn from(found: &protocol::Finding) -> Self {
        Self {
            rule: found.rule.name().to_owned(),
            text: found.text.clone(),
            tasks: found.tasks.clone(),
            inode: found.inode,
            page: found.page,
            index: found.index,
            events: found.events.clone(),
        }
    }
}

impl From<&cases::oracle::Found> for Finding {
    /// An oracle knows files by the names that the case gives them, which its sentence has.
    fn from(found: &cases::oracle::Found) -> Self {
        Self {
            rule: found.rule.clone(),
            text: found.text.clone(),
            tasks: Vec::new(),
            inode: 0,
            page: 0,
            index: found.index,
            events: Vec::new(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}
