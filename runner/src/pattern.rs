//! A regular expression, compiled when it is first asked.
//!
//! `expected/known.toml` has hundreds, of which a run asks a few. To compile them all takes a
//! second on an emulated machine, each time that the runner is started.

use std::cell::OnceCell;

use regex::Regex;

/// When to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compile {
    /// At once, and say what is wrong with it.
    AtOnce,
    /// When it is asked: the tests have compiled it.
    WhenAsked,
}

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    compiled: OnceCell<Regex>,
}

impl Pattern {
    /// What `text` stands for.
    pub(crate) fn new(text: String, when: Compile) -> Result<Self, regex::Error> {
        let pattern = Self { text, compiled: OnceCell::new() };
        if when == Compile::AtOnce {
            let compiled = Regex::new(&pattern.text)?;
            pattern.compiled.get_or_init(|| compiled);
        }
        Ok(pattern)
    }

    /// Whether it is in `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let compile = || Regex::new(&self.text).expect("the tests compile what is built in");
        self.compiled.get_or_init(compile).is_match(text)
    }
}
