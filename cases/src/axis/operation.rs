//! Operations that give pages of a file away, move them, or change its size. Each must break the
//! layout first.

use std::ops::Range;

use super::value::value;
use crate::action::{Action, FileId, Mode, PAGE, Partner, Span};
use crate::effect::Effect;
use crate::origin;
use crate::system::Need;

/// A file that is to be changed, and the pages that are meant.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Which.
    pub file: FileId,
    /// How many pages it has.
    pub pages: u64,
    /// Which of them: a pinned one is among them.
    pub span: Span,
    /// The other file, if the operation is about two. It has as many pages.
    pub other: FileId,
}

/// What is known of the other file, where an operation is about two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counterpart {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What a page of it holds before, where the first file's holds this.
    holds: fn(u8) -> u8,
    /// What becomes of the pages of both, if these are meant.
    change: fn(&mut Vec<u8>, &mut Vec<u8>, Range<usize>),
}

/// An operation. What it does to the pages of the file, the action says ([`Action::effects`]).
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What it is called.
    pub name: &'static str,
    phrase: &'static str,
    /// What it cannot do without.
    pub needs: &'static [Need],
    origin: Option<&'static str>,
    /// What is done.
    pub action: fn(Operand) -> Action,
    /// Whether it finds the file by its name.
    pub(crate) by_name: bool,
    /// The other file, if it is about two.
    pub(crate) other: Option<Counterpart>,
}

value!(Operation, "operation");

impl Operation {
    fn effect(&self, target: Operand) -> Effect {
        let mut effects = (self.action)(target).effects().into_iter();
        effects.find(|effect| effect.file == target.file).expect("an operation is about its file")
    }

    /// What the other file holds before, a letter a page, where the first holds `content`.
    pub(crate) fn other_content(&self, content: &[u8]) -> Option<Vec<u8>> {
        let holds = self.other?.holds;
        Some(content.iter().map(|byte| if *byte == HOLE { HOLE } else { holds(*byte) }).collect())
    }

    /// What becomes of the file's pages, a letter each, and of the other file's.
    pub(crate) fn change(&self, content: &mut Vec<u8>, other: &mut Vec<u8>, target: Operand) {
        if let Some(Counterpart { change, .. }) = self.other {
            let Span { at, len } = target.span;
            return change(content, other, (at / PAGE) as usize..((at + len) / PAGE) as usize);
        }
        let (effect, end) = (self.effect(target), content.len() as u64);
        let at = |page: u64| page.min(end) as usize;
        match effect.moved() {
            Some((from, to)) if to < from => drop(content.drain(at(to)..at(from))),
            Some((from, to)) => {
                let hole = std::iter::repeat_n(HOLE, (to - from) as usize);
                drop(content.splice(at(from)..at(from), hole));
            }
            None => {
                let lost = effect.lost();
                content[at(lost.start)..at(lost.end)].fill(HOLE);
            }
        }
        let size = effect.size(end * PAGE).expect("an operation leaves no size open");
        content.resize((size / PAGE) as usize, HOLE);
    }

    /// The pages whose blocks the file loses, or may lose: zeroing may replace them.
    pub(crate) fn frees(&self, target: Operand) -> Range<u64> {
        self.effect(target).freed()
    }
}

impl Operand {
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

/// How a page is written that holds nothing.
const HOLE: u8 = b'.';

/// Pages that truncation beyond the end adds.
const ADDED: u64 = 2;

/// To where the pages begin that are meant.
pub const TRUNCATE_DOWN: Operation = Operation {
    name: "truncate-down",
    phrase: "truncate to a smaller size",
    needs: &[],
    origin: None,
    action: |t| Action::Truncate { file: t.file, size: t.span.at },
    by_name: false,
    other: None,
};

/// A hole.
pub const PUNCH: Operation = Operation {
    name: "punch",
    phrase: "punch hole",
    action: |t| t.fallocate(Mode::Punch),
    ..TRUNCATE_DOWN
};

/// Zeros.
pub const ZERO: Operation = Operation {
    name: "zero",
    phrase: "zero range",
    action: |t| t.fallocate(Mode::Zero),
    ..TRUNCATE_DOWN
};

/// The pages before the last, if those that are meant reach the end.
pub const COLLAPSE: Operation = Operation {
    name: "collapse",
    phrase: "collapse range",
    needs: &[Need::Fallocate(Mode::Collapse)],
    action: |t| t.before_end().fallocate(Mode::Collapse),
    ..TRUNCATE_DOWN
};

/// As many before those that are meant.
pub const INSERT: Operation = Operation {
    name: "insert",
    phrase: "insert range",
    needs: &[Need::Fallocate(Mode::Insert)],
    action: |t| t.fallocate(Mode::Insert),
    ..TRUNCATE_DOWN
};

/// Another file's pages, shared.
pub const CLONE: Operation = Operation {
    name: "clone",
    phrase: "FICLONERANGE onto the file",
    needs: &[Need::Reflink],
    origin: Some(origin::MMAP_LOCK),
    action: |t| Action::Clone { from: t.other, span: t.span, to: t.file, at: t.span.at },
    by_name: false,
    other: Some(Counterpart {
        name: "source",
        holds: |byte| byte.to_ascii_uppercase(),
        change: |file, source, at| file[at.clone()].copy_from_slice(&source[at]),
    }),
};

/// All of them.
pub(crate) const ALL: &[Operation] = &[
    TRUNCATE_DOWN,
    Operation {
        name: "truncate-up",
        // A kernel breaks the layout before any change of size.
        phrase: "truncate to a larger size",
        action: |t| Action::Truncate { file: t.file, size: (t.pages + ADDED) * PAGE },
        ..TRUNCATE_DOWN
    },
    Operation {
        name: "open-truncate",
        phrase: "open with O_TRUNC",
        action: |t| Action::OpenTruncate { file: t.file },
        by_name: true,
        ..TRUNCATE_DOWN
    },
    PUNCH,
    ZERO,
    COLLAPSE,
    INSERT,
    Operation {
        name: "unshare",
        phrase: "unshare range",
        needs: &[Need::Fallocate(Mode::Unshare)],
        action: |t| t.fallocate(Mode::Unshare),
        ..TRUNCATE_DOWN
    },
    CLONE,
    Operation {
        name: "dedupe",
        phrase: "FIDEDUPERANGE onto the file",
        action: |t| Action::Dedupe { from: t.other, span: t.span, to: t.file, at: t.span.at },
        other: Some(Counterpart { name: "source", holds: |byte| byte, change: |_, _, _| () }),
        ..CLONE
    },
    Operation {
        name: "exchange",
        phrase: "XFS_IOC_EXCHANGE_RANGE of all of the file",
        needs: &[Need::ExchangeRange],
        origin: Some(origin::EXCHANGE_RANGE),
        action: |t| Action::Exchange { file: t.file, with: Partner::Range(t.other) },
        other: Some(Counterpart {
            name: "partner",
            holds: |byte| byte.to_ascii_uppercase(),
            change: |file, partner, _| std::mem::swap(file, partner),
        }),
        ..CLONE
    },
];

/// Where an operation comes from, unless its pin or place tells better.
pub(crate) const ORIGIN: &str = origin::BREAK;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::pages;

    #[test]
    fn what_becomes_of_a_file_follows_from_what_is_done() {
        let target = Operand { file: FileId(1), pages: 4, span: pages(2, 2), other: FileId(2) };
        let said: Vec<_> = ALL
            .iter()
            .map(|operation| {
                let mut content = b"ab.d".to_vec();
                let mut other = operation.other_content(&content).unwrap_or_default();
                operation.change(&mut content, &mut other, target);
                let freed: Vec<_> = operation.frees(target).take(4).collect();
                let contents = [content, other].map(|pages| String::from_utf8(pages).unwrap());
                (operation.name, contents.join(" "), freed)
            })
            .collect();
        let told =
            |name, contents: &str, freed: &[u64]| (name, contents.to_owned(), freed.to_vec());
        assert_eq!(
            said,
            [
                told("truncate-down", "ab ", &[2, 3, 4, 5]),
                told("truncate-up", "ab.d.. ", &[6, 7, 8, 9]),
                told("open-truncate", " ", &[0, 1, 2, 3]),
                told("punch", "ab.. ", &[2, 3]),
                told("zero", "ab.. ", &[2, 3]),
                told("collapse", "ad ", &[1, 2]),
                told("insert", "ab...d ", &[]),
                told("unshare", "ab.d ", &[]),
                told("clone", "ab.D AB.D", &[2, 3]),
                told("dedupe", "ab.d ab.d", &[2, 3]),
                told("exchange", "AB.D ab.d", &[]),
            ]
        );
    }
}
