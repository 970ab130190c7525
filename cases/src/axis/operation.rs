//! Operations that give pages of a file away, move them, or change its size. Each must break the
//! layout first.

use std::ops::Range;

use super::value::value;
use crate::action::{Action, FileId, Mode, PAGE, Span};
use crate::origin;
use crate::system::Need;

/// A file that is to be changed, and the pages that are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) file: FileId,
    /// Its pages.
    pub(crate) pages: u64,
    /// Which of them: the pinned one is among them.
    pub(crate) span: Span,
}

/// An operation.
#[derive(Debug)]
pub(crate) struct Operation {
    name: &'static str,
    phrase: &'static str,
    needs: &'static [Need],
    origin: Option<&'static str>,
    /// What is done.
    pub(crate) action: fn(Target) -> Action,
    /// What becomes of the file's pages, a letter each.
    pub(crate) change: fn(&mut Vec<u8>, Target),
    /// The pages whose blocks the file loses, or may lose: zeroing may replace them.
    pub(crate) frees: fn(Target) -> Range<u64>,
    /// Whether it finds the file by its name.
    pub(crate) by_name: bool,
}

value!(Operation, "operation");

impl Target {
    fn range(self) -> Range<u64> {
        self.span.at / PAGE..self.span.end() / PAGE
    }

    /// The range to collapse. It may not reach the end of the file, so that there the pinned page
    /// is not taken but moved.
    fn before_end(self) -> Self {
        let at = self.span.at.min((self.pages - 1) * PAGE - self.span.len);
        Self { span: Span { at, ..self.span }, ..self }
    }

    fn fallocate(self, mode: Mode) -> Action {
        Action::Fallocate { file: self.file, mode, span: self.span }
    }
}

fn zero(content: &mut [u8], range: Range<u64>) {
    content[range.start as usize..range.end as usize].fill(b'.');
}

/// Pages that truncation beyond the end adds.
const ADDED: u64 = 2;

/// All of them.
pub(crate) const ALL: &[Operation] = &[
    Operation {
        name: "truncate-down",
        phrase: "truncate to a smaller size",
        needs: &[],
        origin: None,
        action: |t| Action::Truncate { file: t.file, size: t.span.at },
        change: |content, t| content.truncate(t.range().start as usize),
        frees: |t| t.range().start..t.pages,
        by_name: false,
    },
    Operation {
        name: "truncate-up",
        // A kernel breaks the layout before any change of size.
        phrase: "truncate to a larger size",
        needs: &[],
        origin: None,
        action: |t| Action::Truncate { file: t.file, size: (t.pages + ADDED) * PAGE },
        change: |content, t| content.resize((t.pages + ADDED) as usize, b'.'),
        frees: |_| 0..0,
        by_name: false,
    },
    Operation {
        name: "open-truncate",
        phrase: "open with O_TRUNC",
        needs: &[],
        origin: None,
        action: |t| Action::OpenTruncate { file: t.file },
        change: |content, _| content.clear(),
        frees: |t| 0..t.pages,
        by_name: true,
    },
    Operation {
        name: "punch",
        phrase: "punch hole",
        needs: &[],
        origin: None,
        action: |t| t.fallocate(Mode::Punch),
        change: |content, t| zero(content, t.range()),
        frees: Target::range,
        by_name: false,
    },
    Operation {
        name: "zero",
        phrase: "zero range",
        needs: &[],
        origin: None,
        action: |t| t.fallocate(Mode::Zero),
        change: |content, t| zero(content, t.range()),
        frees: Target::range,
        by_name: false,
    },
    Operation {
        name: "collapse",
        phrase: "collapse range",
        needs: &[Need::Fallocate(Mode::Collapse)],
        origin: None,
        action: |t| t.before_end().fallocate(Mode::Collapse),
        change: |content, t| {
            let range = t.before_end().range();
            content.drain(range.start as usize..range.end as usize);
        },
        frees: |t| t.before_end().range(),
        by_name: false,
    },
    Operation {
        name: "insert",
        phrase: "insert range",
        needs: &[Need::Fallocate(Mode::Insert)],
        origin: None,
        action: |t| t.fallocate(Mode::Insert),
        change: |content, t| {
            let at = t.range().start as usize;
            content.splice(at..at, t.range().map(|_| b'.'));
        },
        frees: |_| 0..0,
        by_name: false,
    },
    Operation {
        name: "unshare",
        phrase: "unshare range",
        needs: &[Need::Fallocate(Mode::Unshare)],
        origin: None,
        action: |t| t.fallocate(Mode::Unshare),
        change: |_, _| (),
        frees: |_| 0..0,
        by_name: false,
    },
];

/// Where an operation comes from, unless its pin or place tells better.
pub(crate) const ORIGIN: &str = origin::BREAK;
