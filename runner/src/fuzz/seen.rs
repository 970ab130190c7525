//! What was seen of an operation, and how two systems differ in it.

use std::fmt;

use cases::action::{Action, Reply};
use cases::system::{Done, Errno, Look, Place, Tried};

/// A difference.
#[derive(Clone, Debug)]
pub(crate) struct Divergence {
    /// Where: the number of the step, from 1; none at the end.
    pub(crate) step: Option<usize>,
    /// What it is, in words that do not depend on the program: two with the same words are taken
    /// for the same.
    pub(crate) kind: String,
    /// The whole of it.
    pub(crate) text: String,
    /// Why it is no fault, if it is none.
    pub(crate) tolerated: Option<&'static str>,
}

impl Divergence {
    /// One that shows when a program is over.
    pub(crate) fn at_end(kind: String, text: String) -> Self {
        Self { step: None, kind, text, tolerated: None }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => writeln!(f, "after step {step}: {}", self.kind)?,
            None => writeln!(f, "at the end: {}", self.kind)?,
        }
        write!(f, "{}", self.text)
    }
}

/// What was seen of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It returned.
    Returned(Result<Reply, Errno>),
    /// It waits in the layout break.
    Breaking,
    /// It waits somewhere else, or did not come to rest.
    Waiting(String),
    /// Its task is gone.
    Gone,
    /// The system could not say.
    Trouble(String),
}

impl Seen {
    pub(super) fn of(look: Tried<Look>) -> Self {
        match look {
            Ok(Look::Done(Done { result, .. })) => Self::Returned(result),
            Ok(Look::Blocked(Place::LayoutBreak)) => Self::Breaking,
            Ok(Look::Blocked(Place::Elsewhere(place))) => Self::Waiting(place),
            Ok(Look::Running) => Self::Waiting("no place at all".to_owned()),
            Ok(Look::Gone) => Self::Gone,
            Err(trouble) => Self::Trouble(trouble.to_string()),
        }
    }

    /// The same without what no two systems need to agree on.
    pub(super) fn plain(self, action: &Action) -> Self {
        match self {
            // How many faults it takes depends on what a fault brings in.
            Self::Returned(Ok(Reply::Count(_)))
                if matches!(action, Action::Touch { .. } | Action::Store { .. }) =>
            {
                Self::Returned(Ok(Reply::Done))
            }
            // Preallocation is the file system's own business, and so are its numbers.
            Self::Returned(Ok(Reply::Stat { size, links, .. })) => {
                Self::Returned(Ok(Reply::Stat { size, allocated: 0, links, inode: 0 }))
            }
            // Where else it waits has many names.
            Self::Waiting(_) => Self::Waiting(String::new()),
            other => other,
        }
    }

    /// In a word.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Returned(Ok(_)) => "success".to_owned(),
            Self::Returned(Err(errno)) => errno.to_string(),
            Self::Breaking => "blocked in the layout break".to_owned(),
            Self::Waiting(_) => "blocked elsewhere".to_owned(),
            Self::Gone => "gone".to_owned(),
            Self::Trouble(why) => {
                let line = why.lines().next().unwrap_or_default();
                // Without the operands, which are the program's own.
                match (line.find(" {"), line.rfind('}')) {
                    (Some(from), Some(to)) if from < to => {
                        format!("trouble: {}{}", &line[..from], &line[to + 1..])
                    }
                    _ => format!("trouble: {line}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_named_without_operands() {
        let why = "Fallocate { file: FileId(2), span: Span { at: 0 } } did not return\nit sleeps";
        assert_eq!(Seen::Trouble(why.to_owned()).word(), "trouble: Fallocate did not return");
        assert_eq!(Seen::Trouble("no pipe".to_owned()).word(), "trouble: no pipe");
    }
}
