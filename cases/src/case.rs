//! A case: a function, and what is known about it before it runs.
//!
//! Most cases are cells of a law and are made from their coordinates. What no axis expresses is a
//! function of its own, declared with [`case!`].

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use crate::cell::{self, Cell};
use crate::system::Need;
use crate::test::{Checked, Test};

/// One test of the protocol.
#[derive(Debug)]
pub struct Case {
    /// `group/what-must-hold`; of a cell its coordinates, `waits/punch/aio-read/unmapped`.
    pub name: &'static str,
    /// Where a cell stands, its law first: the name of each axis and the value on it. Empty for a
    /// case that no axis expresses.
    pub coordinates: &'static [(&'static str, &'static str)],
    /// What it does and why, one line of its doc comment an element.
    pub about: &'static [&'static str],
    /// Groups it can be selected by, besides the first part of its name.
    pub groups: &'static [&'static str],
    /// What it cannot do without.
    pub needs: &'static [Need],
    /// When it is taken to hang. Generous: these are seconds of an emulated machine.
    pub limit: Duration,
    /// The mail thread or commit that asked for it.
    pub origin: &'static str,
    /// The test itself.
    pub(crate) body: Body,
}

/// What a case does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// What this function does.
    Function(fn(&mut Test<'_>) -> Checked),
    /// What its law says.
    Cell(&'static dyn Cell),
}

impl Case {
    /// Its value on `axis`, if it is a cell that has one: "law", "operation", "pin", "place".
    pub fn coordinate(&self, axis: &str) -> Option<&'static str> {
        self.coordinates.iter().find(|(name, _)| *name == axis).map(|(_, value)| *value)
    }

    /// Whether it is a cell of a law.
    pub fn is_cell(&self) -> bool {
        !self.coordinates.is_empty()
    }

    /// The part of the name before the first slash; of a cell, its law.
    pub fn group(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(group, _)| group)
    }

    /// The description as one line.
    pub fn description(&self) -> String {
        self.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Every group it is in: what its name begins with, and others.
    pub fn all_groups(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.group()).chain(self.groups.iter().copied())
    }

    /// Whether `group` selects this case.
    pub fn is_in(&self, group: &str) -> bool {
        self.all_groups().any(|own| own == group)
    }
}

/// Every case that is a function, in link order; see [`all`].
#[linkme::distributed_slice]
pub(crate) static CASES: [Case];

/// All cases, in the order of their names.
static ALL: LazyLock<Vec<&'static Case>> = LazyLock::new(|| {
    let mut all: Vec<_> = CASES.iter().chain(cell::all()).collect();
    all.sort_by_key(|case| case.name);
    all
});

/// Every case, by name.
pub fn all() -> Vec<&'static Case> {
    ALL.clone()
}

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    ALL.binary_search_by_key(&name, |case| case.name).ok().map(|at| ALL[at])
}

/// Every axis, with the values that some cell has on it.
pub fn axes() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut axes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (axis, value) in ALL.iter().flat_map(|case| case.coordinates) {
        let values = axes.entry(*axis).or_default();
        if !values.contains(value) {
            values.push(*value);
        }
    }
    axes
}

/// Declares the case whose function follows it; the doc comment becomes its description.
macro_rules! case {
    (
        $(#[doc = $about:literal])+
        $function:ident: $name:literal,
        groups: [$($group:literal),*],
        needs: [$($need:ident),*],
        limit: $limit:literal,
        origin: $origin:expr $(,)?
    ) => {
        const _: () = {
            #[linkme::distributed_slice($crate::case::CASES)]
            #[expect(unsafe_code, reason = "linkme places the case in a section of its own")]
            static CASE: $crate::case::Case = $crate::case::Case {
                name: $name,
                coordinates: &[],
                about: &[$($about),+],
                groups: &[$($group),*],
                needs: &[$($crate::system::Need::$need),*],
                limit: std::time::Duration::from_secs($limit),
                origin: $origin,
                body: $crate::case::Body::Function($function),
            };
        };
    };
}
pub(crate) use case;

/// Threads and commits that more than one case comes from.
pub(crate) mod origin {
    /// Seed 1.
    pub(crate) const LIVELOCK: &str = "Kara on Williams, \"xfs: prepare xfs_break_layouts() for another layout type\", 2018-03-30";
    /// Seed 2.
    pub(crate) const FLUSH_DMA: &str =
        "Chinner and Williams, \"xfs, dax: wire up dax_flush_dma support\", 2018-01-03";
    /// Seed 3.
    pub(crate) const RACE: &str = "Linux commit b1f382178d15 (\"ext4: close race between direct IO and \
         ext4_break_layouts()\"), thread of 2018-07-27";
    /// Seed 4.
    pub(crate) const WRITEBACK: &str =
        "Wilcox, Kara and Piggin on pinned pages and write-back, 2018-07-09";
    /// Seed 5.
    pub(crate) const MMAP_LOCK: &str =
        "Williams and Wong, \"xfs: require mmap lock for xfs_break_layouts()\", 2018-03-19";
    /// Dedupe of DAX files.
    pub(crate) const DEDUPE: &str = "Linux commit 6f7db3894ae2 (\"fsdax: dedup file range to use a compare function\"); \
         Message-ID 20210511030933.3080921-6-ruansy.fnst@fujitsu.com";
    /// Dedupe of files in several extents.
    pub(crate) const DEDUPE_TWO: &str =
        "Linux commit 0e79e3736d54 (\"fsdax: dedupe: iter two files at the same time\"), in v6.2";
    /// Zeros in part of a page that is shared.
    pub(crate) const ZERO_SHARED: &str = "Linux commit 64e6edc185da (\"xfs: use dax ops for zero and truncate in fsdax mode\"), in v6.2";
    /// What is around a part of a page that copy-on-write prepared a block for.
    pub(crate) const COW_EDGES: &str = "Linux commit 708dfad2eb41 (\"fsdax: zero the edges if source is HOLE or UNWRITTEN\"), in v6.2";
    /// The layout break itself.
    pub(crate) const BREAK: &str = "Linux commit d6dc57e251a4 (\"xfs, dax: introduce \
         xfs_break_dax_layouts()\"), in v4.18";
    /// Huge entries.
    pub(crate) const PMD: &str = "Linux commit d7782145e1ad (\"filesystem-dax: Fix dax_layout_busy_page() livelock\"), in v4.20";
    /// Long-term pins.
    pub(crate) const LONGTERM: &str =
        "Linux commit 2bb6d2837083 (\"mm: introduce get_user_pages_longterm\"), in v4.15";
    /// The end of an inode.
    pub(crate) const EVICT: &str = "Linux commit 0e2f80afcfa6 (\"fs/dax: ensure all pages are idle prior to filesystem unmount\"), in v6.15";
    /// What was mapped before a block was there.
    pub(crate) const INVALIDATE: &str = "Linux commit e3fce68cdbed (\"dax: Avoid page invalidation races and unnecessary radix \
         tree traversals\")";
    /// Busy pages without a mapping.
    pub(crate) const UNMAPPED: &str = "Linux commit cee91fa13a8e (\"fs/dax: return unmapped busy pages from \
         dax_layout_busy_page_range()\"), in v6.15";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let all = all();
        assert!(!all.is_empty());
        for pair in all.windows(2) {
            assert_ne!(pair[0].name, pair[1].name);
        }
        for case in all {
            let parts: Vec<_> = case.name.split('/').collect();
            let plain = |s: &str| {
                !s.is_empty()
                    && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            assert!(parts.len() == if case.is_cell() { 4 } else { 2 }, "{}", case.name);
            assert!(parts.iter().all(|part| plain(part)), "{}", case.name);
            assert!(case.description().ends_with('.'), "{}", case.name);
        }
    }
}
