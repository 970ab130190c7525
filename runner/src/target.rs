//! What a run tests: a file system, made and mounted in a certain way, on certain devices.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use cases::system::kernel::SpareDevice;
use serde::{Deserialize, Serialize};

use crate::fs::{FsRow, FsType, HUGE};
use crate::shape::{self, DmTable, REALTIME, Shape};
use crate::tool::Tool;

/// What is tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The file system.
    pub(crate) fs: FsType,
    /// The devices; the reference needs none, and only some shapes use more than one.
    #[serde(default)]
    pub(crate) devices: Vec<PathBuf>,
    /// The names of its shapes; none: as it is made by default, on the device itself.
    #[serde(default)]
    pub(crate) shapes: Vec<String>,
    /// Options of mkfs, after all others.
    #[serde(default)]
    pub(crate) mkfs_options: Vec<String>,
    /// Mount options, after all others.
    #[serde(default)]
    pub(crate) mount_options: Vec<String>,
    /// Takes the devices whatever they carry.
    #[serde(default)]
    pub(crate) force: bool,
}

/// The mount option that makes every file a DAX file. Linux commit 8d6c3446ec23 ("fs/xfs: Make
/// DAX mount option a tri-state") and 9cb20f94afcd ("fs/ext4: Make DAX mount option a
/// tri-state"), in v5.8.
pub(crate) const DAX: &str = "dax=always";

/// The mount option that leaves it to each file.
pub(crate) const PER_FILE: &str = "dax=inode";

impl Target {
    /// The reference.
    pub(crate) fn reference() -> Self {
        Self {
            fs: FsType::Reference,
            devices: Vec::new(),
            shapes: Vec::new(),
            mkfs_options: Vec::new(),
            mount_options: Vec::new(),
            force: false,
        }
    }

    /// Checks that all that was asked for goes together; nothing is looked at.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Some(row) = self.fs.row() else {
            let given = [
                ("--dev", !self.devices.is_empty()),
                ("--shape", !self.shapes.is_empty()),
                ("--mkfs-options", !self.mkfs_options.is_empty()),
                ("--mount-options", !self.mount_options.is_empty()),
                ("--force", self.force),
            ];
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => {
                    bail!("the reference has no {name}: use it with --fs xfs or --fs ext4")
                }
                None => Ok(()),
            };
        };
        ensure!(!self.devices.is_empty(), "{} needs a device: --dev PATH", row.name);
        for (at, dev) in self.devices.iter().enumerate() {
            ensure!(!self.devices[..at].contains(dev), "--dev {} is given twice", dev.display());
        }
        shape::together(&self.shapes, self.fs, self.devices.len())?;
        ensure!(
            !self.mkfs_options.iter().any(|word| word.starts_with("-L")),
            "--mkfs-options: leave -L out; daxtests recognises its own file systems by their label"
        );
        ensure!(
            !self.mount_options.iter().any(|option| option.starts_with("dax") && option != DAX),
            "--mount-options: only {DAX} makes every file a DAX file; for {PER_FILE} there is \
             --shape dax-inode"
        );
        ensure!(
            !self.is_per_file() || self.mount_options.iter().all(|option| option != DAX),
            "--mount-options {DAX} contradicts --shape dax-inode"
        );
        Ok(())
    }

    fn shapes(&self) -> impl Iterator<Item = &'static Shape> {
        // Those that are none were refused.
        self.shapes.iter().filter_map(|name| shape::find(name).ok())
    }

    /// What device-mapper is to make of the devices, if anything.
    pub(crate) fn dm_table(&self) -> Option<DmTable> {
        self.shapes().find_map(|shape| shape.dm_table)
    }

    /// The device that is left to the cases, if one is, and how the file system there is to be made.
    pub(crate) fn spare(&self) -> Option<SpareDevice> {
        let path = self.devices.get(1).filter(|_| self.shapes().any(|shape| shape.spare))?.clone();
        let mkfs = self.own_mkfs().into_iter().map(fill).collect();
        Some(SpareDevice { path, mkfs })
    }

    /// What mkfs is to get because of the shapes and of `--mkfs-options`.
    fn own_mkfs(&self) -> Vec<&str> {
        let shapes = self.shapes().flat_map(|shape| shape.mkfs.iter().copied());
        shapes.chain(self.mkfs_options.iter().map(String::as_str)).collect()
    }

    /// The only device, or the first.
    pub(crate) fn device(&self) -> anyhow::Result<&Path> {
        let first = self.devices.first().map(PathBuf::as_path);
        first.with_context(|| format!("{} needs a device: --dev PATH", self.fs.name()))
    }

    /// What it is, such that other results are of another: "xfs", "xfs-stripe-no-reflink".
    pub(crate) fn name(&self) -> String {
        let mut name = self.fs.name().to_owned();
        for shape in &self.shapes {
            name.push('-');
            name.push_str(shape);
        }
        if !self.mkfs_options.is_empty() || !self.mount_options.is_empty() {
            name.push_str("-options");
        }
        name
    }

    /// The command that makes it, without the device; `realtime` is what shapes call `{realtime}`.
    pub(crate) fn mkfs(&self, row: &FsRow, realtime: Option<&Path>) -> Tool {
        let own = self.own_mkfs();
        let says = |key: &&str| {
            own.iter().any(|word| match key.strip_prefix('-') {
                // An option and its argument may be one word.
                Some(_) => word.starts_with(*key),
                None => word.trim_start_matches('-').split(',').any(|part| {
                    part.starts_with(*key) || part.get(1..).is_some_and(|p| p.starts_with(*key))
                }),
            })
        };
        let defaults = row
            .defaults
            .iter()
            .filter(|default| !default.replaced_by.iter().any(says))
            .flat_map(|default| default.words.iter().copied().map(fill));
        Tool::new(row.mkfs).args(row.always.iter().copied()).args(defaults).args(own.iter().map(
            |word| match realtime {
                Some(node) => word.replace(REALTIME, &node.display().to_string()),
                None => (*word).to_owned(),
            },
        ))
    }

    /// The options that it is mounted with.
    pub(crate) fn mount(&self) -> Vec<String> {
        let dax = if self.is_per_file() { PER_FILE } else { DAX };
        let shaped = self.shapes().flat_map(|shape| shape.mount.iter().copied());
        let own = self.mount_options.iter().map(String::as_str);
        let others = shaped.chain(own).filter(|option| ![DAX, PER_FILE].contains(option));
        [dax].into_iter().chain(others).map(str::to_owned).collect()
    }

    /// The options of what checks it.
    pub(crate) fn check_options(&self) -> Vec<String> {
        self.shapes().flat_map(|shape| shape.check).map(|word| (*word).to_owned()).collect()
    }

    /// Whether each file says whether it is a DAX file.
    pub(crate) fn is_per_file(&self) -> bool {
        self.shapes().any(|shape| shape.mount.contains(&PER_FILE))
    }

    /// The words that ask for it again, without its first device.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for shape in &self.shapes {
            words.extend(["--shape".to_owned(), shape.clone()]);
        }
        if !self.mkfs_options.is_empty() {
            let options = shlex::try_join(self.mkfs_options.iter().map(String::as_str));
            words.push(format!("--mkfs-options={}", options.unwrap_or_default()));
        }
        if !self.mount_options.is_empty() {
            words.push(format!("--mount-options={}", self.mount_options.join(",")));
        }
        words
    }
}

/// A word for mkfs, with the sizes that it leaves open.
fn fill(word: &str) -> String {
    let block =
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let stride = HUGE / block.cast_unsigned();
    word.replace("{block}", &block.to_string()).replace("{stride}", &stride.to_string())
}

/// The words of mkfs's options, as a shell has them.
pub(crate) fn mkfs_options(text: &str) -> Result<Vec<String>, String> {
    match shlex::split(text) {
        Some(words) if words.is_empty() => Err("empty option list".to_owned()),
        Some(words) => Ok(words),
        None => Err("a quote is not closed".to_owned()),
    }
}

/// Mount options, with or without "-o" before them, as `MOUNT_OPTIONS` of xfstests has them.
pub(crate) fn mount_options(text: &str) -> Result<Vec<String>, String> {
    let options: Vec<String> = text
        .split_whitespace()
        .map(|word| word.strip_prefix("-o").unwrap_or(word))
        .flat_map(|word| word.split(','))
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    if options.is_empty() { Err("empty option list".to_owned()) } else { Ok(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(fs: FsType, shapes: &[&str], mkfs: &str) -> Target {
        Target {
            fs,
            devices: vec!["/dev/pmem0".into()],
            shapes: shapes.iter().map(|name| (*name).to_owned()).collect(),
            mkfs_options: shlex::split(mkfs).unwrap(),
            ..Target::reference()
        }
    }

    fn mkfs(target: &Target) -> String {
        target.mkfs(target.fs.row().unwrap(), None).line()
    }

    #[test]
    fn the_label_tells_what_is_ours_and_blocks_are_pages() {
        assert_eq!(
            mkfs(&target(FsType::Xfs, &[], "")),
            "mkfs.xfs -f -q -L daxtests -b size=4096 -d su=2097152,sw=1 -m reflink=1"
        );
        assert_eq!(
            mkfs(&target(FsType::Ext4, &[], "")),
            "mkfs.ext4 -F -q -L daxtests -b 4096 -E \
             stride=512,stripe_width=512,lazy_itable_init=0,lazy_journal_init=0"
        );
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_a_default() {
        assert_eq!(
            mkfs(&target(FsType::Xfs, &["no-reflink"], "")),
            "mkfs.xfs -f -q -L daxtests -b size=4096 -d su=2097152,sw=1 -m reflink=0"
        );
        let noalign = mkfs(&target(FsType::Xfs, &[], "-d noalign -mreflink=0,rmapbt=1"));
        assert!(!noalign.contains("su=") && !noalign.contains("reflink=1"), "{noalign}");
        let both = mkfs(&target(FsType::Xfs, &["many-groups"], ""));
        assert!(both.ends_with("-d su=2097152,sw=1 -m reflink=1 -d agcount=16"), "{both}");
    }

    #[test]
    fn mount_options_are_as_xfstests_has_them() {
        assert_eq!(mount_options("-o noatime,discard").unwrap(), ["noatime", "discard"]);
        assert_eq!(mount_options("noatime").unwrap(), ["noatime"]);
        assert!(mount_options("-o ").is_err());
        let with = Target {
            mount_options: vec!["noatime".into()],
            ..target(FsType::Ext4, &["nodelalloc"], "")
        };
        assert_eq!(with.mount(), ["dax=always", "nodelalloc", "noatime"]);
        assert_eq!(with.name(), "ext4-nodelalloc-options");
        assert_eq!(target(FsType::Xfs, &["dax-inode"], "").mount(), ["dax=inode"]);
    }

    #[test]
    fn what_cannot_be_is_told_before_anything_is_looked_at() {
        let xfs = || target(FsType::Xfs, &[], "");
        for (target, words) in [
            (Target { devices: Vec::new(), ..xfs() }, "needs a device"),
            (Target { mkfs_options: vec!["-L".into(), "x".into()], ..xfs() }, "leave -L out"),
            (Target { mount_options: vec!["dax=never".into()], ..xfs() }, "only dax=always"),
            (
                Target {
                    mount_options: vec!["dax=always".into()],
                    ..target(FsType::Ext4, &["dax-inode"], "")
                },
                "contradicts --shape dax-inode",
            ),
            (Target { force: true, ..Target::reference() }, "the reference has no --force"),
            (Target { shapes: vec!["stripe".into()], ..xfs() }, "needs two devices"),
            (
                Target { devices: vec!["/dev/pmem0".into(), "/dev/pmem0".into()], ..xfs() },
                "--dev /dev/pmem0 is given twice",
            ),
        ] {
            let error = target.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(Target::reference().check().is_ok());
        assert!(xfs().check().is_ok());
    }
}
