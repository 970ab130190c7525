//! The file systems that can be tested: one row each, in which all that the runner knows of one
//! stands.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The label of every file system that daxtests makes.
pub(crate) const LABEL: &str = "daxtests";

/// What the cases run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FsType {
    /// XFS of the running kernel.
    Xfs,
    /// ext4 of the running kernel.
    Ext4,
    /// The reference implementation: no root, no device.
    Reference,
}

/// A file system of the running kernel.
#[derive(Debug)]
pub(crate) struct FsRow {
    /// As mount(8), `expected/known.toml` and the reports have it.
    pub(crate) name: &'static str,
    /// As people write it.
    pub(crate) title: &'static str,
    /// The mailing lists of those who maintain it.
    pub(crate) lists: &'static [&'static str],
    /// Makes it.
    pub(crate) mkfs: &'static str,
    /// What mkfs is always told: to overwrite, to be quiet, and the label by which daxtests knows
    /// what it made.
    pub(crate) always: &'static [&'static str],
    /// What mkfs is told if nobody says otherwise.
    pub(crate) defaults: &'static [Default],
    /// Has mkfs say whether it could, and write nothing.
    pub(crate) try_on: &'static str,
    /// Checks it, and writes nothing.
    pub(crate) check: &'static [&'static str],
    /// What may help where the kernel refuses a mount with EINVAL, and of which default it comes.
    pub(crate) hint: Option<(&'static str, &'static str)>,
}

/// Options of mkfs that an option of the user's or of a shape's takes the place of.
#[derive(Debug)]
pub(crate) struct Default {
    /// The options; `{block}` is the size of a page, `{stride}` 2 MiB in such blocks.
    pub(crate) words: &'static [&'static str],
    /// What another option of the same has in it.
    pub(crate) replaced_by: &'static [&'static str],
}

/// Huge mappings need extents that begin at a multiple of this.
pub(crate) const HUGE: u64 = 2 << 20;

const XFS: FsRow = FsRow {
    name: "xfs",
    title: "XFS",
    lists: &["linux-xfs@vger.kernel.org"],
    mkfs: "mkfs.xfs",
    always: &["-f", "-q", "-L", LABEL],
    defaults: &[
        // A block must be a page: xfs and ext4 refuse DAX otherwise.
        Default { words: &["-b", "size={block}"], replaced_by: &["-b"] },
        // The stripe unit makes XFS align large extents to 2 MiB.
        Default {
            words: &["-d", "su=2097152,sw=1"],
            replaced_by: &["su=", "sw=", "sunit=", "swidth=", "noalign"],
        },
        Default { words: &["-m", "reflink=1"], replaced_by: &["reflink=", "crc=0"] },
    ],
    try_on: "-N",
    check: &["xfs_repair", "-n"],
    // XFS has DAX and reflink together on whole devices only; on a partition it logs that they
    // "cannot work with multi-partitions", and older kernels cannot have both at all.
    hint: Some(("reflink=1", "; if it cannot have reflink here, run with --no-reflink")),
};

const EXT4: FsRow = FsRow {
    name: "ext4",
    title: "ext4",
    lists: &["linux-ext4@vger.kernel.org"],
    mkfs: "mkfs.ext4",
    always: &["-F", "-q", "-L", LABEL],
    defaults: &[
        Default { words: &["-b", "{block}"], replaced_by: &["-b"] },
        // As xfstests and ndctl do it: the allocator prefers multiples of the stride. The tables
        // are written at once, so that no kernel thread writes them later.
        Default {
            words: &[
                "-E",
                "stride={stride},stripe_width={stride},lazy_itable_init=0,lazy_journal_init=0",
            ],
            replaced_by: &["-E"],
        },
    ],
    try_on: "-n",
    check: &["e2fsck", "-fn"],
    hint: None,
};

impl FsType {
    /// All that is known of it; the reference is no file system of the kernel's.
    pub(crate) fn row(self) -> Option<&'static FsRow> {
        match self {
            Self::Xfs => Some(&XFS),
            Self::Ext4 => Some(&EXT4),
            Self::Reference => None,
        }
    }

    /// Its name, as mount(8) and `expected/known.toml` have it.
    pub(crate) fn name(self) -> &'static str {
        self.row().map_or("reference", |row| row.name)
    }
}
