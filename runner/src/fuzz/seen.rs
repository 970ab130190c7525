//! What was seen of an operation, and how two systems differ in it.

use std::fmt::{self, Write as _};

use cases::action::{Action, Reply};
use cases::system::{Done, Errno, Look, Tried, Trouble};
use protocol::Rule;

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
    /// The rule that is broken, if it was found by one.
    pub(crate) rule: Option<Rule>,
    /// Why it is no fault, if it is none.
    pub(crate) tolerated: Option<&'static str>,
    /// What else was seen then, each with a heading: for the file that is kept.
    pub(crate) more: String,
}

impl Divergence {
    /// One that shows when a program is over.
    pub(crate) fn at_end(kind: String, text: String) -> Self {
        Self { step: None, kind, text, rule: None, tolerated: None, more: String::new() }
    }

    /// A rule was broken.
    pub(crate) fn found(rule: Rule, text: String) -> Self {
        Self { rule: Some(rule), ..Self::at_end(format!("finding {rule}"), text) }
    }

    /// Adds what was seen beside it.
    pub(crate) fn add(&mut self, what: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.more, "\n{what}:\n{text}");
    }

    /// All that is known of it.
    pub(crate) fn whole(&self) -> String {
        format!("{self}\n{}", self.more)
    }

    /// Of all that a program showed, the first that is a fault; else the first. What is no fault
    /// hides none.
    pub(crate) fn worst(found: Vec<Self>) -> Option<Self> {
        let at = found.iter().position(|one| one.tolerated.is_none()).unwrap_or(0);
        found.into_iter().nth(at)
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
    /// It waits, here if names tell. For what, the two show when it ends.
    Blocked(String),
    /// It neither waits nor returns.
    Spinning,
    /// Its task is gone.
    Gone,
    /// The system could not say.
    Trouble {
        /// Why, in words that do not depend on the program.
        kind: String,
        /// The whole of it.
        text: String,
    },
}

impl Seen {
    pub(super) fn of(look: Tried<Look>) -> Self {
        match look {
            Ok(Look::Done(Done { result, .. })) => Self::Returned(result),
            Ok(Look::Blocked(place)) => Self::Blocked(place.to_string()),
            Ok(Look::Running) => Self::Spinning,
            Ok(Look::Gone) => Self::Gone,
            Err(trouble) => Self::trouble(&trouble),
        }
    }

    pub(super) fn trouble(trouble: &Trouble) -> Self {
        let kind = match trouble {
            Trouble::Stuck { .. } => "it did not return",
            Trouble::HeldUp { .. } => "it waited for a pin",
            Trouble::NotOffered(why) | Trouble::Machinery { why, .. } => why,
        };
        let kind = kind.lines().next().unwrap_or_default().to_owned();
        Self::Trouble { kind, text: trouble.to_string() }
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
            // Where it waits has as many names as there are kernels.
            Self::Blocked(_) => Self::Blocked(String::new()),
            other => other,
        }
    }

    /// In a word.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Returned(Ok(_)) => "success".to_owned(),
            Self::Returned(Err(errno)) => errno.to_string(),
            Self::Blocked(_) => "blocked".to_owned(),
            Self::Spinning => "spinning".to_owned(),
            Self::Gone => "gone".to_owned(),
            Self::Trouble { kind, .. } => format!("trouble: {kind}"),
        }
    }
}

impl fmt::Display for Seen {
    /// The whole of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(Ok(reply)) => write!(f, "{reply}"),
            Self::Trouble { text, .. } => f.write_str(text),
            other => f.write_str(&other.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fault_hides_none() {
        let tolerated = Divergence {
            tolerated: Some("it may"),
            ..Divergence::at_end("a".to_owned(), String::new())
        };
        let fault = Divergence::at_end("b".to_owned(), String::new());
        let worst = |found: &[&Divergence]| {
            Divergence::worst(found.iter().copied().cloned().collect()).map(|one| one.kind)
        };
        assert_eq!(worst(&[&tolerated, &fault]).unwrap(), "b");
        assert_eq!(worst(&[&tolerated]).unwrap(), "a");
        assert_eq!(worst(&[]), None);
    }

    #[test]
    fn trouble_is_named_without_operands() {
        let (what, state) = ("punch page 2 of f1".to_owned(), "it sleeps".to_owned());
        let seen = Seen::trouble(&Trouble::Stuck { what, seconds: 61, state });
        assert_eq!(seen.word(), "trouble: it did not return");
        assert_eq!(seen.to_string(), "punch page 2 of f1 did not return within 61 s\nit sleeps");
    }
}
