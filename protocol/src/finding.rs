//! What a rule reports when it is broken.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::how::How;
use crate::rule::Rule;

/// One violation of one rule, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// In which way.
    pub how: How,
    /// The tasks that took part, the one that broke the rule first.
    pub tasks: Vec<u32>,
    /// The device of the file system, 0 if unknown.
    pub device: u32,
    /// The file, 0 if unknown.
    pub inode: u64,
    /// The page, 0 if the finding is about none.
    pub page: u64,
    /// The page's index in the file, if it is known.
    pub index: Option<u64>,
    /// The function that warned, if whoever recorded it can name it.
    pub function: Option<String>,
    /// The events it rests on, by their number in the history (the first is 0), in order.
    pub events: Vec<u64>,
    /// It concludes from what was not seen: a scan, a sleep, an end. That is worth nothing where
    /// something may have been missed.
    pub absence: bool,
    /// What happened: one sentence, lower case, no full stop.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What a whole history amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Every rule held.
    Holds,
    /// At least one did not.
    Violated(Vec<Finding>),
    /// Nothing was seen to be broken, but records were lost: something may have been.
    Undecided,
}
