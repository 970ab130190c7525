//! What an action does to the bytes of files: which pages it gives away, which it moves, how long the
//! file is then, and whether it breaks the layout first.
//!
//! The axis of operations, the oracles and the fuzzer ask here. The reference does not: what it makes
//! of a file is its own.

use std::ops::Range;

use crate::action::{Action, Direction, FileId, Mode, PAGE, Partner, Span};

/// Where bytes and pages end that have no other end.
const END: u64 = u64::MAX;

/// What an action does to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Which.
    pub file: FileId,
    /// Which of its bytes it is about.
    bytes: Range<u64>,
    change: Change,
    /// Whether it must break the layout first.
    pub breaks: bool,
}

/// What becomes of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The file ends where they begin.
    Cut,
    /// They are zeros, perhaps in other blocks or in none; the file ends no sooner than they do, if
    /// it `grows`.
    Zeroed { grows: bool },
    /// They are taken out, and what follows is moved there.
    TakenOut,
    /// As many zeros are put in before them.
    PutIn,
    /// Others are written there.
    Written,
    /// They are what they were, perhaps in other blocks.
    Kept,
    /// They are what they were, in the blocks of another file if that has the same.
    Merged,
    /// Another file has them, too.
    Shared,
    /// Whether and what is not known.
    Open,
}

impl Action {
    /// What it does to files if it succeeds. What goes through a mapping is none of it, nor is a
    /// script; and a DAX file refuses to move its extents.
    pub fn effects(&self) -> Vec<Effect> {
        let of = |file: FileId, bytes, change| Effect { file, bytes, change, breaks: true };
        let all = |file, change| of(file, 0..END, change);
        let written = |file, span: Span| Effect {
            breaks: false,
            ..of(file, span.at..span.end(), Change::Written)
        };
        match *self {
            Self::Write { file, span, .. }
            | Self::Gather { file, span, .. }
            | Self::DirectIo { file, span, direction: Direction::FromMemory, .. } => {
                vec![written(file, span)]
            }
            Self::Truncate { file, size } => vec![of(file, size..END, Change::Cut)],
            Self::OpenTruncate { file } => vec![all(file, Change::Cut)],
            Self::Fallocate { file, mode, span } => {
                let change = match mode {
                    Mode::Punch => Change::Zeroed { grows: false },
                    Mode::Zero => Change::Zeroed { grows: true },
                    Mode::Collapse => Change::TakenOut,
                    Mode::Insert => Change::PutIn,
                    Mode::Allocate | Mode::Unshare => Change::Kept,
                };
                vec![of(file, span.at..span.end(), change)]
            }
            Self::CancelledFallocate { file, .. }
            | Self::CancelledOpenTruncate { file }
            | Self::Exchange { file, with: Partner::BootLoader } => vec![all(file, Change::Open)],
            Self::Exchange { file, with: Partner::File(other) | Partner::Range(other) } => {
                vec![all(file, Change::Open), all(other, Change::Open)]
            }
            Self::Clone { from, span, to, at } | Self::Dedupe { from, span, to, at } => {
                // All that there is, if no length is given.
                let len = if span.len == 0 { END } else { span.len };
                let bytes = |at: u64| at..at.saturating_add(len);
                let is_clone = matches!(self, Self::Clone { .. });
                let change = if is_clone { Change::Written } else { Change::Merged };
                vec![of(from, bytes(span.at), Change::Shared), of(to, bytes(at), change)]
            }
            _ => Vec::new(),
        }
    }

    /// The files whose layout it must break.
    pub fn breaks(&self) -> impl Iterator<Item = FileId> {
        self.effects().into_iter().filter(|effect| effect.breaks).map(|effect| effect.file)
    }
}

impl Effect {
    /// The pages that its bytes touch.
    pub(crate) fn pages(&self) -> Range<u64> {
        let end = if self.bytes.end == END { END } else { self.bytes.end.div_ceil(PAGE) };
        self.bytes.start / PAGE..end
    }

    /// The pages of which the file loses all that they hold, and, unless it is written over, most
    /// often the block.
    pub(crate) fn lost(&self) -> Range<u64> {
        let end = if self.bytes.end == END { END } else { self.bytes.end / PAGE };
        match self.change {
            Change::Cut
            | Change::Zeroed { .. }
            | Change::TakenOut
            | Change::Written
            | Change::Open => self.bytes.start.div_ceil(PAGE)..end,
            Change::PutIn | Change::Kept | Change::Merged | Change::Shared => 0..0,
        }
    }

    /// The pages whose blocks the file gives up, or may give up, to nobody in particular.
    pub(crate) fn freed(&self) -> Range<u64> {
        match self.change {
            Change::Merged => self.bytes.start.div_ceil(PAGE)..self.bytes.end / PAGE,
            Change::Open => 0..0,
            _ => self.lost(),
        }
    }

    /// If pages move: those from the first index on begin at the second then.
    pub(crate) fn moved(&self) -> Option<(u64, u64)> {
        let Range { start, end } = self.pages();
        match self.change {
            Change::TakenOut => Some((end, start)),
            Change::PutIn => Some((start, end)),
            _ => None,
        }
    }

    /// The bytes that are not where they were, or not what they were, or not in their blocks.
    pub fn reach(&self) -> Range<u64> {
        let end = if self.moved().is_some() { END } else { self.bytes.end };
        self.bytes.start..end
    }

    /// Whether the file may show something else.
    pub(crate) fn shows(&self) -> bool {
        self.change != Change::Shared
    }

    /// How long the file is that was `size` bytes long, if that follows.
    pub fn size(&self, size: u64) -> Option<u64> {
        let Range { start, end } = self.bytes;
        match self.change {
            Change::Cut => Some(start),
            Change::TakenOut => Some(size.saturating_sub(end - start)),
            Change::PutIn => Some(size + (end - start)),
            Change::Zeroed { grows: false } | Change::Shared => Some(size),
            Change::Zeroed { grows: true } | Change::Written | Change::Kept | Change::Merged => {
                (end != END).then_some(size.max(end))
            }
            Change::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::pages;

    const FILE: FileId = FileId(1);

    fn effect(action: &Action) -> Effect {
        let [effect] = action.effects().try_into().expect("it is about one file");
        effect
    }

    #[test]
    fn only_whole_pages_are_lost() {
        let span = Span { at: PAGE / 2, len: 2 * PAGE };
        let punch = effect(&Action::Fallocate { file: FILE, mode: Mode::Punch, span });
        assert_eq!(punch.lost(), 1..2);
        assert_eq!(punch.pages(), 0..3);
        assert_eq!(punch.size(PAGE), Some(PAGE));
        let cut = effect(&Action::Truncate { file: FILE, size: PAGE + 1 });
        assert_eq!((cut.lost(), cut.size(4 * PAGE)), (2..END, Some(PAGE + 1)));
    }

    #[test]
    fn what_is_taken_out_and_what_is_put_in_move_the_rest() {
        let shift = |mode| effect(&Action::Fallocate { file: FILE, mode, span: pages(1, 2) });
        let (collapse, insert) = (shift(Mode::Collapse), shift(Mode::Insert));
        assert_eq!((collapse.moved(), collapse.lost()), (Some((3, 1)), 1..3));
        assert_eq!((insert.moved(), insert.lost()), (Some((1, 3)), 0..0));
        assert_eq!(collapse.size(4 * PAGE), Some(2 * PAGE));
        assert_eq!(insert.size(4 * PAGE), Some(6 * PAGE));
        assert_eq!(insert.reach(), PAGE..END);
    }

    #[test]
    fn a_copy_breaks_both_files_and_is_shown_by_one() {
        let (span, to) = (pages(1, 2), FileId(2));
        let clone = Action::Clone { from: FILE, span, to, at: 4 * PAGE };
        assert_eq!(clone.breaks().collect::<Vec<_>>(), [FILE, to]);
        let shown: Vec<_> = clone.effects().into_iter().filter(Effect::shows).collect();
        assert_eq!(shown[0].pages(), 4..6);
        assert_eq!(shown[0].size(PAGE), Some(6 * PAGE));
        let all = Action::Clone { from: FILE, span: Span { at: 0, len: 0 }, to, at: 0 };
        assert_eq!(all.effects()[1].size(PAGE), None);
    }
}
