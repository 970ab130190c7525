//! A file with a pinned page, and one beside it that nobody touches: what the cases about the end of
//! an inode, and those about a whole file system, begin with.

use crate::action::{Action, MapId, PinId, page};
use crate::test::{Checked, File, Op, Test};

/// A file with a mapped and pinned page, whose block is under watch, and one that nobody touches.
pub(crate) struct PinnedFile {
    pub(crate) data: File,
    pub(crate) other: File,
    /// Of the pinned page.
    pub(crate) block: u64,
    pub(crate) map: MapId,
    pub(crate) pin: PinId,
}

impl PinnedFile {
    /// On the file system under test.
    pub(crate) fn new(t: &mut Test<'_>) -> Checked<Self> {
        let data = t.file("data", "aaaa")?;
        let other = t.file("other", "o")?;
        let block = t.blocks(data)?[2];
        let map = t.map(data)?;
        let pin = t.pin(map, page(2))?;
        Ok(Self { data, other, block, map, pin })
    }

    /// On the spare file system; the page was stored to.
    pub(crate) fn on_spare(t: &mut Test<'_>) -> Checked<Self> {
        let data = t.file_on_spare("data", "abcd")?;
        let other = t.file_on_spare("other", "o")?;
        let block = t.blocks(data)?[2];
        let map = t.map(data)?;
        t.run(Action::Store { map, span: page(2), byte: b'c' })?;
        let pin = t.pin(map, page(2))?;
        Ok(Self { data, other, block, map, pin })
    }

    /// Begins a truncate of the whole file.
    pub(crate) fn truncate(&self, t: &mut Test<'_>) -> Checked<Op> {
        t.begin(Action::Truncate { file: self.data.id, size: 0 })
    }

    /// A truncate that waits for the pin.
    pub(crate) fn breaking(&self, t: &mut Test<'_>) -> Checked<Op> {
        let truncate = self.truncate(t)?;
        t.blocked(&truncate)?;
        Ok(truncate)
    }
}
