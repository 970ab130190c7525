//! A case: a function, and what is known about it before it runs.
//!
//! Most cases are cells of a law and are made from their coordinates. What no axis expresses is a
//! function of its own, declared with [`case!`].

use std::fmt::Debug;

use crate::patience::Limit;
use crate::system::Need;
use crate::test::{Checked, Test};

/// The group of cases that can crash a kernel, and run only if they are asked for.
pub const DANGEROUS: &str = "dangerous";

/// What XFS and ext4 say when they are told to shut down, and when they are unmounted then.
const SHUT_DOWN: [&str; 5] = [
    "User initiated shutdown received",
    "Log I/O Error",
    "Please unmount the filesystem",
    "shut down requested",
    "JBD2 abort",
];

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
    pub limit: Limit,
    /// The mail thread or commit that asked for it.
    pub origin: &'static str,
    /// The test itself.
    pub(crate) body: Body,
}

/// What a cell does.
pub(crate) trait Runnable: Debug + Sync {
    /// Does it.
    fn run(&self, t: &mut Test<'_>) -> Checked;
}

/// What a case does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// What this function does.
    Function(fn(&mut Test<'_>) -> Checked),
    /// What its law says.
    Cell(&'static dyn Runnable),
}

impl Case {
    /// Its value on `axis`, if it is a cell that has one: "law", "operation", "pin", "place".
    pub fn coordinate(&self, axis: &str) -> Option<&'static str> {
        self.coordinates.iter().find(|(name, _)| *name == axis).map(|(_, value)| *value)
    }

    /// Whether it holds tasks.
    pub fn holds(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::Hold(_)))
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

    /// What the kernel says because of what the case does to it, as parts of titles: that is no
    /// failure.
    pub fn provokes(&self) -> &'static [&'static str] {
        if self.needs.contains(&Need::Poison) || self.needs.contains(&Need::PoisonBlock) {
            &["memory failure"]
        } else if self.needs.contains(&Need::BadBlocks) {
            // Whoever reads ahead of what it is about meets them as well.
            &["I/O error on"]
        } else if self.needs.contains(&Need::ShutDown) {
            &SHUT_DOWN
        } else {
            &[]
        }
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

/// Every case that is a function, in link order; [`crate::all`] has the cells as well.
#[linkme::distributed_slice]
pub(crate) static CASES: [Case];

/// Declares the case whose function follows it; the doc comment becomes its description.
/// `pins`, if there is any, is a kind of pin that it needs, too.
macro_rules! case {
    (
        $(#[doc = $about:literal])+
        $function:ident: $name:literal,
        groups: [$($group:literal),*],
        needs: [$($need:ident $(($point:ident))?),*],
        $(pins: $kind:expr,)?
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
                needs: &[$(
                    $crate::system::Need::$need $(($crate::system::HoldPoint::$point))?,
                )* $($crate::system::Need::Pin($kind))?],
                limit: $crate::patience::Limit::secs($limit),
                origin: $origin,
                body: $crate::case::Body::Function($function),
            };
        };
    };
}
pub(crate) use case;
