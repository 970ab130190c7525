//! The oracle *kept block*: where the blocks of pinned pages are.

use std::collections::{BTreeMap, BTreeSet};

use protocol::oracle::{Whereabouts, kept};

use super::{After, Found, Inspected, Inspection};
use crate::action::{FileId, PAGE, PinId, Span};

/// The pages that pins hold, each with its block.
#[derive(Debug, Default)]
pub(super) struct PinBlocks {
    pins: BTreeMap<PinId, HeldBlocks>,
}

#[derive(Debug)]
struct HeldBlocks {
    file: FileId,
    /// By index; one that was found elsewhere is told once, and taken out.
    blocks: BTreeMap<u64, u64>,
    /// It goes with its process.
    own: bool,
}

/// The pages that `span` of a mapping covers, which begins at byte `at` of its file.
pub(super) fn pages(at: u64, span: Span) -> std::ops::Range<u64> {
    (at + span.at) / PAGE..(at + span.end()).div_ceil(PAGE)
}

impl PinBlocks {
    /// `pin` holds these pages of a file.
    pub(super) fn add(&mut self, pin: PinId, file: FileId, blocks: BTreeMap<u64, u64>, own: bool) {
        self.pins.insert(pin, HeldBlocks { file, blocks, own });
    }

    /// `pin` holds nothing any more.
    pub(super) fn remove(&mut self, pin: PinId) {
        self.pins.remove(&pin);
    }

    /// Pins that go with a process may be gone.
    pub(super) fn forget_own(&mut self) {
        self.pins.retain(|_, held| !held.own);
    }

    /// Whether nothing is pinned.
    pub(super) fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }

    /// The files that have pinned pages.
    pub(super) fn files(&self) -> BTreeSet<FileId> {
        self.pins.values().map(|held| held.file).collect()
    }

    /// The pinned pages of a file, with the block of each.
    pub(super) fn pages(&self, file: FileId) -> Vec<(u64, u64)> {
        let held = self.pins.values().filter(|held| held.file == file);
        let pages: BTreeSet<_> = held.flat_map(|held| held.blocks.clone()).collect();
        pages.into_iter().collect()
    }

    /// What is wrong with what was seen of a file that has this name, after something was done.
    pub(super) fn judge(
        &mut self,
        what: &Inspection,
        seen: &Inspected,
        after: &After,
        name: &str,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for (at, page) in what.pages.iter().enumerate() {
            let (index, block) = *page;
            let now = match seen {
                Inspected::Named { blocks, .. } => {
                    blocks[at].map_or(Whereabouts::Hole, Whereabouts::Block)
                }
                Inspected::Nameless { free } => Whereabouts::Nameless { free: free[at] },
            };
            if let Some((how, wrong)) = kept(block, now) {
                let wrong =
                    format!("page {index} of {name} is pinned in block {block}, and {wrong}");
                let page = Found::new(how, name, index, after, &wrong);
                found.push(Found { block: Some(block), ..page });
                for held in self.pins.values_mut().filter(|held| held.file == what.file) {
                    held.blocks.remove(&index);
                }
            }
        }
        found
    }
}
