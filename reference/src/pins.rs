//! Pages that are pinned, and what their holder reads and writes.

use crate::inode::{Inode, pieces};
use crate::mm::Anon;
use crate::page::Page;
use crate::sync::Arc;

/// Pages pinned by one call.
#[derive(Debug)]
pub struct Pins {
    pub(crate) pages: Vec<PinnedPage>,
    /// Where in the first page the pinned bytes begin.
    pub(crate) at: u64,
    /// How many bytes they are.
    pub(crate) len: u64,
    /// Tells this set from others in events.
    pub(crate) holder: i64,
}

/// One of them.
#[derive(Debug)]
pub(crate) enum PinnedPage {
    Page { page: Arc<Page>, inode: Arc<Inode>, index: u64 },
    Anon(Arc<Anon>),
    Zero,
}

/// Who lets go of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropper {
    /// A process: put_page.
    Process,
    /// A device at the end of a transfer: unpin_user_page.
    Device,
}

impl Pins {
    /// The content of the pinned bytes, as whoever pinned them sees it.
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        let mut rest = bytes.as_mut_slice();
        for (pinned, (_, at, len)) in self.pages.iter().zip(pieces(self.at, self.len)) {
            let (here, behind) = rest.split_at_mut(len as usize);
            match pinned {
                PinnedPage::Page { page, .. } => page.content(|content| content.read(at, here)),
                PinnedPage::Anon(anon) => anon.content(|content| content.read(at, here)),
                PinnedPage::Zero => {}
            }
            rest = behind;
        }
        bytes
    }

    /// Stores into the pinned bytes, or as many of them as there are `bytes`, as a device does:
    /// past every page table.
    pub fn write(&self, bytes: &[u8]) {
        let mut rest = bytes;
        for (pinned, (_, at, len)) in self.pages.iter().zip(pieces(self.at, self.len)) {
            let (here, behind) = rest.split_at(rest.len().min(len as usize));
            match pinned {
                PinnedPage::Page { page, .. } => page.content(|content| content.write(at, here)),
                PinnedPage::Anon(anon) => anon.content(|content| content.write(at, here)),
                PinnedPage::Zero => {}
            }
            rest = behind;
        }
    }

    /// How many bytes are pinned.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
