//! All free space of a file system, taken by one file: who is given a block shows there.

use nix::libc;

use crate::action::{Action, Mode, PAGE, Span};
use crate::system::{Errno, MAIN};
use crate::test::{Checked, File, Test, fail};

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is neither free nor the taker's. Whose it is does not show: its file's, or, as XFS takes
    /// blocks for its own lists, nobody's.
    Hidden,
    /// It is free.
    Free,
    /// It is this page of the taker's.
    Taken(u64),
}

impl Given {
    /// The block must not have been given away, for it is pinned.
    pub(crate) fn kept(self, look: &str) -> Checked {
        let seen = match self {
            Self::Hidden => return Ok(()),
            Self::Free => "the file system counts it as free",
            Self::Taken(_) => "another file got it",
        };
        fail("the block is given to nobody while its page is pinned", seen, look)
    }
}

/// Whether each block is the one behind the last.
pub(crate) fn in_a_row(blocks: &[u64]) -> bool {
    blocks.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// A block under watch, and a file that takes all free space.
#[derive(Debug)]
pub(crate) struct Taker {
    /// The file.
    pub(crate) file: File,
    /// Bytes taken.
    size: u64,
    /// The block.
    block: u64,
}

impl Taker {
    /// Takes what is free, and looks whether the block at `block`, once of `any`, is with it.
    pub(crate) fn new(t: &mut Test<'_>, any: File, block: u64) -> Checked<(Self, Given)> {
        let free = t.ask(Action::IsFree { file: any.id, block })? == 1;
        let file = t.file("taker", "")?;
        t.say("give all free space to taker");
        let mut taker = Self { file, size: 0, block };
        taker.take(t)?;
        let given = match taker.look(t)? {
            Given::Hidden if free => Given::Free,
            given => given,
        };
        Ok((taker, given))
    }

    /// Whether the block was given away by now, when its last pin is gone and with it every reason
    /// to keep it. Then the taker gives back what it took.
    ///
    /// A pinned block that was [`Given::Hidden`] was kept if it comes to light now. If it does not,
    /// nobody can say.
    pub(crate) fn has_it_now(mut self, t: &mut Test<'_>) -> Checked<bool> {
        // To look comes first: where space is taken a file system may take some for itself.
        let mut given = self.look(t)?;
        if given == Given::Hidden {
            self.take(t)?;
            given = self.look(t)?;
        }
        silently(t, Action::Truncate { file: self.file.id, size: 0 })?;
        Ok(given != Given::Hidden)
    }

    /// Takes all free space.
    fn take(&mut self, t: &mut Test<'_>) -> Checked {
        // Twice: a failed allocation makes a file system finish what it had put off.
        for _ in 0..2 {
            let mut step = 1 << 30;
            while step >= PAGE {
                let span = Span { at: self.size, len: step };
                let action = Action::Fallocate { file: self.file.id, mode: Mode::Allocate, span };
                match t.quietly(MAIN, action)? {
                    Ok(_) => self.size += step,
                    Err(Errno(libc::ENOSPC)) => step /= 2,
                    Err(errno) => return fail("space can be allocated", &errno.to_string(), ""),
                }
            }
            silently(t, Action::Fsync { file: self.file.id, data_only: false })?;
        }
        Ok(())
    }

    /// Where the block is.
    fn look(&self, t: &mut Test<'_>) -> Checked<Given> {
        let (file, block) = (self.file.id, self.block);
        Ok(match t.ask(Action::FindBlock { file, block })? {
            0 if t.ask(Action::IsFree { file, block })? == 1 => Given::Free,
            0 => Given::Hidden,
            index => Given::Taken(index - 1),
        })
    }
}

/// Does `action`, which must succeed, without a word.
pub(crate) fn silently(t: &mut Test<'_>, action: Action) -> Checked {
    let words = t.names.say(&action);
    match t.quietly(MAIN, action)? {
        Ok(_) => Ok(()),
        Err(errno) => fail(&format!("{words}: success"), &errno.to_string(), ""),
    }
}
