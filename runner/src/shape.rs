//! The shapes of a run: how the file system is made and mounted, and on what.
//!
//! A shape is a row here. Several go together (`--shape stripe,no-reflink`), of those that say what
//! the device is one.

use anyhow::{bail, ensure};
use program::suggest;

use crate::fs::FsType;

/// A way to make, mount or place a file system.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As typed, and as written in the journal, the reports and `expected/known.toml`.
    pub(crate) name: &'static str,
    /// What it is, in a line.
    pub(crate) about: &'static str,
    /// The file system that has it; none: every one.
    pub(crate) fs: Option<FsType>,
    /// Options of mkfs.
    pub(crate) mkfs: &'static [&'static str],
    /// Mount options.
    pub(crate) mount: &'static [&'static str],
    /// Options of what checks it.
    pub(crate) check: &'static [&'static str],
    /// What is put between the devices and the file system.
    pub(crate) dm_table: Option<DmTable>,
    /// Whether the second of two devices is for the cases: they make file systems of their own on it.
    pub(crate) spare: bool,
}

impl Shape {
    /// Whether a single device is not enough.
    pub(crate) fn needs_two(&self) -> bool {
        self.spare || self.dm_table.is_some_and(DmTable::needs_two)
    }
}

/// What device-mapper makes of the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmTable {
    /// One of them after the other. With a single device that is the device, from [`BEGIN`] on.
    Concat,
    /// Pieces of so many sectors from each in turn.
    Stripe(u64),
    /// The second as XFS's realtime device; the first is what it is.
    Realtime,
}

impl DmTable {
    /// Whether a single device is not enough.
    pub(crate) fn needs_two(self) -> bool {
        matches!(self, Self::Stripe(_) | Self::Realtime)
    }
}

/// Stands for the realtime device in the options of a shape.
pub(crate) const REALTIME: &str = "{realtime}";

/// Sectors in 1 MiB.
const MIB: u64 = 2048;

/// Where a shaped device begins on each of those below, in sectors. No power of two, so that a
/// block is never the page of its own number by chance; what lies before it says whose it is.
pub(crate) const BEGIN: u64 = 66 * MIB;

const NONE: Shape = Shape {
    name: "",
    about: "",
    fs: None,
    mkfs: &[],
    mount: &[],
    check: &[],
    dm_table: None,
    spare: false,
};

/// What all with a realtime device have in common.
const ON_REALTIME: Shape = Shape {
    fs: Some(FsType::Xfs),
    mount: &["rtdev={realtime}"],
    check: &["-r", "{realtime}"],
    dm_table: Some(DmTable::Realtime),
    ..NONE
};

/// All shapes.
pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "linear",
        about: "dm-linear: the device, or several one after the other, from an offset on",
        dm_table: Some(DmTable::Concat),
        ..NONE
    },
    Shape {
        name: "stripe",
        about: "dm-stripe over two devices or more, in pieces of 2 MiB",
        dm_table: Some(DmTable::Stripe(2 * MIB)),
        ..NONE
    },
    Shape {
        name: "stripe-4k",
        about: "dm-stripe over two devices or more, in pieces of 4 KiB: no huge mapping is possible",
        dm_table: Some(DmTable::Stripe(8)),
        ..NONE
    },
    Shape {
        name: "no-reflink",
        about: "XFS without reflink",
        fs: Some(FsType::Xfs),
        mkfs: &["-m", "reflink=0"],
        ..NONE
    },
    Shape {
        name: "rmapbt",
        about: "XFS with the reverse map, which newer mkfs make by default",
        fs: Some(FsType::Xfs),
        mkfs: &["-m", "rmapbt=1"],
        ..NONE
    },
    Shape {
        name: "no-rmapbt",
        about: "XFS without the reverse map",
        fs: Some(FsType::Xfs),
        mkfs: &["-m", "rmapbt=0"],
        ..NONE
    },
    Shape {
        name: "many-groups",
        about: "XFS with 16 allocation groups",
        fs: Some(FsType::Xfs),
        mkfs: &["-d", "agcount=16"],
        ..NONE
    },
    Shape {
        name: "extsize-2m",
        about: "XFS that allocates 2 MiB at a time: extsize hints on every file",
        fs: Some(FsType::Xfs),
        mkfs: &["-d", "extszinherit=512"],
        ..NONE
    },
    Shape {
        name: "realtime",
        about: "XFS with its files on a realtime device, the second of two",
        mkfs: &["-m", "reflink=0", "-r", "rtdev={realtime},extsize=4096", "-d", "rtinherit=1"],
        ..ON_REALTIME
    },
    Shape {
        name: "realtime-2m",
        about: "the same in extents of 2 MiB",
        mkfs: &["-m", "reflink=0", "-r", "rtdev={realtime},extsize=2m", "-d", "rtinherit=1"],
        ..ON_REALTIME
    },
    Shape {
        name: "exchange",
        about: "XFS whose files can exchange ranges: needs mkfs.xfs and a kernel from 6.10 on",
        fs: Some(FsType::Xfs),
        mkfs: &["-i", "exchange=1"],
        ..NONE
    },
    Shape {
        name: "dax-inode",
        about: "dax=inode, each folder and file with the flag: there can be files without DAX beside them",
        mount: &["dax=inode"],
        ..NONE
    },
    Shape {
        name: "spare",
        about: "a second device for what a case does to a whole file system, made anew by each",
        spare: true,
        ..NONE
    },
    Shape {
        name: "no-journal",
        about: "ext4 without a journal",
        fs: Some(FsType::Ext4),
        mkfs: &["-O", "^has_journal"],
        ..NONE
    },
    Shape {
        name: "fast-commit",
        about: "ext4 that commits what changed and not whole blocks, where it can",
        fs: Some(FsType::Ext4),
        mkfs: &["-O", "fast_commit"],
        ..NONE
    },
    Shape {
        name: "bigalloc",
        about: "ext4 that allocates 64 KiB at a time",
        fs: Some(FsType::Ext4),
        mkfs: &["-O", "bigalloc", "-C", "65536"],
        ..NONE
    },
    Shape {
        name: "nodelalloc",
        about: "ext4 that allocates at once",
        fs: Some(FsType::Ext4),
        mount: &["nodelalloc"],
        ..NONE
    },
];

/// The shape of this name.
pub(crate) fn find(name: &str) -> Result<&'static Shape, String> {
    SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| {
        let nearest = suggest::nearest(name, SHAPES.iter().map(|shape| shape.name));
        let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
        format!("there is no shape {name}{hint} (--list-shapes shows all)")
    })
}

/// Those of these names, if they go together on `fs` and so many devices.
pub(crate) fn together(
    names: &[String],
    fs: FsType,
    devices: usize,
) -> anyhow::Result<Vec<&'static Shape>> {
    let shapes: Vec<_> = names
        .iter()
        .map(|name| find(name))
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    for (at, shape) in shapes.iter().enumerate() {
        ensure!(
            shapes[..at].iter().all(|other| other.name != shape.name),
            "--shape {} is given twice",
            shape.name
        );
        if let Some(only) = shape.fs.filter(|only| *only != fs) {
            bail!("--shape {} is for --fs {}: {}", shape.name, only.name(), shape.about);
        }
    }
    for (at, one) in shapes.iter().enumerate() {
        for other in &shapes[..at] {
            if let Some(what) = contradicted(one, other) {
                bail!("--shape {} and --shape {} both set {what}", other.name, one.name);
            }
        }
    }
    let placing: Vec<_> =
        shapes.iter().filter(|shape| shape.dm_table.is_some() || shape.spare).collect();
    if let [one, other, ..] = placing[..] {
        bail!("--shape {} and --shape {} both set the device", one.name, other.name);
    }
    if let Some(spare) = placing.iter().find(|shape| shape.spare) {
        ensure!(devices == 2, "--shape {} needs two devices, not {devices}", spare.name);
        return Ok(shapes);
    }
    match placing.first().and_then(|shape| Some((shape, shape.dm_table?))) {
        Some((shape, table)) if table.needs_two() && devices < 2 => {
            bail!("--shape {} needs two devices: --dev A --dev B", shape.name)
        }
        Some((shape, DmTable::Realtime)) if devices > 2 => {
            bail!("--shape {} needs two devices, not {devices}", shape.name)
        }
        None if devices > 1 => {
            bail!("several devices need a shape that uses them: --shape linear or --shape stripe")
        }
        _ => Ok(shapes),
    }
}

/// The option of mkfs that two shapes give different values.
fn contradicted(one: &Shape, other: &Shape) -> Option<String> {
    let values = settings(other);
    settings(one).into_iter().find_map(|(option, value)| {
        let differs = values.iter().any(|known| known.0 == option && known.1 != value);
        differs.then_some(option)
    })
}

/// The options of mkfs that a shape gives a value, such as `-m reflink`, with their values.
fn settings(shape: &Shape) -> Vec<(String, &'static str)> {
    let pairs = shape.mkfs.chunks(2).filter_map(|words| <&[_; 2]>::try_from(words).ok());
    let single = |&[flag, values]: &[&'static str; 2]| {
        values.split(',').filter_map(move |value| {
            let (name, value) = value.split_once('=')?;
            Some((format!("{flag} {name}"), value))
        })
    };
    pairs.flat_map(single).collect()
}

/// The list of them, for people.
pub(crate) fn list() -> String {
    let line = |shape: &Shape| {
        let fs = shape.fs.map_or("any", FsType::name);
        format!("{:<12} {fs:<5} {}\n", shape.name, shape.about)
    };
    SHAPES.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together(names: &[&str], fs: FsType, devices: usize) -> Result<Vec<&'static str>, String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        super::together(&names, fs, devices)
            .map(|shapes| shapes.iter().map(|shape| shape.name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_words_and_unique() {
        for (at, shape) in SHAPES.iter().enumerate() {
            assert!(
                shape
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            assert!(SHAPES[..at].iter().all(|other| other.name != shape.name), "{}", shape.name);
        }
    }

    #[test]
    fn what_goes_together_does() {
        assert_eq!(together(&[], FsType::Xfs, 1).unwrap(), [""; 0]);
        assert_eq!(
            together(&["stripe", "no-reflink"], FsType::Xfs, 2).unwrap(),
            ["stripe", "no-reflink"]
        );
        assert_eq!(together(&["linear"], FsType::Ext4, 2).unwrap(), ["linear"]);
        assert_eq!(together(&["spare"], FsType::Ext4, 2).unwrap(), ["spare"]);
    }

    #[test]
    fn what_does_not_is_told() {
        for (names, fs, devices, words) in [
            (&["strip"][..], FsType::Xfs, 2, "did you mean stripe?"),
            (&["stripe"], FsType::Xfs, 1, "needs two devices"),
            (&["realtime"], FsType::Xfs, 1, "needs two devices"),
            (&["spare"], FsType::Xfs, 1, "needs two devices, not 1"),
            (&["spare", "stripe"], FsType::Xfs, 2, "both set the device"),
            (&["realtime"], FsType::Xfs, 3, "needs two devices, not 3"),
            (&["realtime", "stripe"], FsType::Xfs, 2, "both set the device"),
            (&["stripe", "linear"], FsType::Xfs, 2, "both set the device"),
            (&["no-reflink"], FsType::Ext4, 1, "is for --fs xfs"),
            (&["rmapbt", "no-rmapbt"], FsType::Xfs, 1, "both set -m rmapbt"),
            (&["linear", "linear"], FsType::Xfs, 1, "twice"),
            (&["no-reflink"], FsType::Xfs, 2, "several devices need a shape"),
        ] {
            let error = together(names, fs, devices).unwrap_err();
            assert!(error.contains(words), "{names:?}: {error}");
        }
    }
}
