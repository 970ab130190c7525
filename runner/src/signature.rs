//! What a device carries, as far as it matters before it is overwritten: nothing, a file system
//! that daxtests made, or something of somebody's.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum as _;

use crate::fs::{FsType, LABEL};
use crate::shape::BEGIN;
use crate::tool::{self, Tool};

/// How much at each end of a device must be zero for it to carry nothing. Partition tables, LVM
/// labels, RAID superblocks and the file systems that libblkid knows leave a mark within the
/// first or the last of these.
const EDGE: usize = 4 << 20;

/// Begins a device that is part of one that daxtests puts together.
const MARK: &[u8] = b"daxtests: part of a device-mapper device\n";

const _: () = assert!(EDGE < BEGIN_BYTES, "the mark lies where the shaped device begins");
const BEGIN_BYTES: usize = (BEGIN as usize) * 512;

/// What is written to the beginning of such a device.
pub(crate) fn mark() -> Vec<u8> {
    let mut mark = MARK.to_vec();
    mark.resize(EDGE, 0);
    mark
}

/// What a device carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Zeroes at both ends.
    Nothing,
    /// A file system that daxtests made.
    Ours,
    /// Something else, in words.
    Foreign(String),
}

/// Looks at `device`, which is `size` bytes long. Writes nothing.
///
/// Two opinions are taken. The bytes themselves decide, because blkid(8) may be missing and
/// because data without a known signature is data all the same. blkid knows the names, and
/// sees a second signature beside ours.
pub(crate) fn look(device: &Path, size: u64, patience: Duration) -> io::Result<Carries> {
    let file = File::open(device)?;
    let edge = EDGE.min(usize::try_from(size).unwrap_or(EDGE));
    let mut head = vec![0; edge];
    file.read_exact_at(&mut head, 0)?;
    let mut tail = vec![0; edge];
    file.read_exact_at(&mut tail, size - edge as u64)?;
    drop(file);
    let named = blkid(device, patience);
    Ok(judge(&head, &tail, named.as_deref()))
}

fn judge(head: &[u8], tail: &[u8], blkid: Option<&str>) -> Carries {
    let blkid = blkid.map(Probe::of).unwrap_or_default();
    if let Some(what) = &blkid.foreign {
        return Carries::Foreign(what.clone());
    }
    if is_ours(head) || is_marked(head) {
        return Carries::Ours;
    }
    if head.iter().chain(tail).any(|byte| *byte != 0) {
        return Carries::Foreign("unrecognised data".to_owned());
    }
    Carries::Nothing
}

/// Whether `head` is the mark and nothing else.
fn is_marked(head: &[u8]) -> bool {
    head.strip_prefix(MARK).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
}

/// Whether `head` begins an XFS or ext4 file system with our label and nothing beside it.
fn is_ours(head: &[u8]) -> bool {
    let label = |at: usize, len: usize| -> Option<&[u8]> {
        let field = head.get(at..at + len)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        Some(&field[..end])
    };
    let ours = Some(LABEL.as_bytes());
    // Linux fs/xfs/libxfs/xfs_format.h, struct xfs_dsb: the magic first, sb_sectsize at 102,
    // sb_fname at 108. mkfs.xfs puts the AGF into the next sector, which is of 4096 bytes on
    // persistent memory; a GPT or an LVM label would stand there or before it. Bytes 446 to 511
    // are past the superblock; a partition table would stand there.
    let sector = head.get(102..104).map_or(0, |at| usize::from(at[0]) << 8 | usize::from(at[1]));
    let xfs = head.starts_with(b"XFSB")
        && label(108, 12) == ours
        && head.get(sector..sector + 4) == Some(b"XAGF")
        && head.get(446..sector).is_some_and(|end| end.iter().all(|byte| *byte == 0));
    // Linux fs/ext4/ext4.h, struct ext4_super_block at 1024: s_magic at 56, s_volume_name at 120.
    // The first 1024 bytes are the boot block, zero after mkfs.
    let ext4 = head.get(1080..1082) == Some(&[0x53, 0xef])
        && label(1144, 16) == ours
        && head[..1024].iter().all(|byte| *byte == 0);
    xfs || ext4
}

#[derive(Default)]
struct Probe {
    foreign: Option<String>,
}

impl Probe {
    /// Reads `blkid -p -o export`; the empty text is no signature at all.
    fn of(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.split_once('=').filter(|(k, _)| *k == key))
                .map(|(_, value)| value)
        };
        let ours = value("LABEL") == Some(LABEL)
            && value("TYPE").is_some_and(|kind| {
                let rows = FsType::value_variants().iter().filter_map(|fs| fs.row());
                rows.into_iter().any(|row| row.name == kind)
            });
        let foreign = if let Some(table) = value("PTTYPE") {
            Some(format!("a partition table ({table})"))
        } else if text.contains("ambivalent") {
            Some("several signatures at once".to_owned())
        } else if ours {
            None
        } else {
            value("TYPE").map(|kind| {
                let label = value("LABEL").map_or(String::new(), |l| format!(" labelled \"{l}\""));
                match (kind, value("USAGE")) {
                    ("LVM2_member", _) => "an LVM physical volume".to_owned(),
                    (kind, Some("filesystem")) => {
                        let article =
                            if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                        format!("{article} {kind} file system{label}")
                    }
                    (kind, _) => format!("a signature of {kind}{label}"),
                }
            })
        };
        Self { foreign }
    }
}

/// What blkid finds by reading the device itself; none if it cannot be asked.
fn blkid(device: &Path, patience: Duration) -> Option<String> {
    let output = Tool::new("blkid").args(["-p", "-o", "export"]).arg(device).output(patience);
    match output {
        // blkid(8): 2 is "nothing found", 8 is "ambivalent".
        Ok(tool::ToolOutput { status, text }) => match status.code() {
            Some(0) => Some(text),
            Some(2) => Some(String::new()),
            Some(8) => Some("ambivalent".to_owned()),
            _ => None,
        },
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xfs(label: &[u8]) -> Vec<u8> {
        xfs_of_sectors(label, 512)
    }

    fn xfs_of_sectors(label: &[u8], sector: usize) -> Vec<u8> {
        let mut head = vec![0; 8192];
        head[..4].copy_from_slice(b"XFSB");
        head[102..104].copy_from_slice(&u16::try_from(sector).unwrap().to_be_bytes());
        head[108..108 + label.len()].copy_from_slice(label);
        head[sector..sector + 4].copy_from_slice(b"XAGF");
        head
    }

    fn ext4(label: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 8192];
        head[1080] = 0x53;
        head[1081] = 0xef;
        head[1144..1144 + label.len()].copy_from_slice(label);
        head
    }

    fn foreign(carries: &Carries) -> &str {
        match carries {
            Carries::Foreign(what) => what,
            other => panic!("{other:?}"),
        }
    }

    const ZERO: [u8; 4096] = [0; 4096];

    #[test]
    fn an_empty_device_is_empty_with_and_without_blkid() {
        assert_eq!(judge(&ZERO, &ZERO, Some("")), Carries::Nothing);
        assert_eq!(judge(&ZERO, &ZERO, None), Carries::Nothing);
    }

    #[test]
    fn what_we_made_is_known() {
        let export = "DEVNAME=/dev/pmem0\nLABEL=daxtests\nUUID=1\nTYPE=xfs\nUSAGE=filesystem\n";
        assert_eq!(judge(&xfs(b"daxtests"), &ZERO, Some(export)), Carries::Ours);
        let large = xfs_of_sectors(b"daxtests", 4096);
        assert_eq!(judge(&large, &ZERO, Some(export)), Carries::Ours);
        assert_eq!(judge(&ext4(b"daxtests"), &ZERO, None), Carries::Ours);
    }

    #[test]
    fn a_part_of_what_we_put_together_is_ours() {
        let mut part = mark();
        assert_eq!(judge(&part, &xfs(b"home"), Some("")), Carries::Ours);
        part[9000] = 1;
        assert!(matches!(judge(&part, &ZERO, Some("")), Carries::Foreign(_)));
    }

    #[test]
    fn what_others_made_is_named() {
        for (export, words) in [
            ("LABEL=home\nTYPE=ext4\nUSAGE=filesystem", "an ext4 file system labelled \"home\""),
            ("TYPE=xfs\nUSAGE=filesystem", "a xfs file system"),
            ("TYPE=LVM2_member\nUSAGE=raid", "an LVM physical volume"),
            ("PTUUID=1\nPTTYPE=gpt", "a partition table (gpt)"),
            ("TYPE=swap\nUSAGE=other", "a signature of swap"),
            ("ambivalent", "several signatures at once"),
        ] {
            assert_eq!(foreign(&judge(&ext4(b"home"), &ZERO, Some(export))), words);
        }
    }

    #[test]
    fn foreign_data_is_seen_without_blkid() {
        assert!(matches!(judge(&xfs(b"home"), &ZERO, None), Carries::Foreign(_)));
        assert!(matches!(judge(&ext4(b"daxtests2"), &ZERO, None), Carries::Foreign(_)));
        let mut tail = ZERO;
        tail[4000] = 1;
        assert!(matches!(judge(&ZERO, &tail, Some("")), Carries::Foreign(_)));
    }

    #[test]
    fn a_partition_table_over_our_file_system_is_not_ours() {
        let mut mbr = xfs(b"daxtests");
        mbr[510] = 0x55;
        mbr[511] = 0xaa;
        assert!(matches!(judge(&mbr, &ZERO, None), Carries::Foreign(_)));
        let mut gpt = xfs(b"daxtests");
        gpt[512..520].copy_from_slice(b"EFI PART");
        assert!(matches!(judge(&gpt, &ZERO, None), Carries::Foreign(_)));
        let mut large = xfs_of_sectors(b"daxtests", 4096);
        large[512..520].copy_from_slice(b"EFI PART");
        assert!(matches!(judge(&large, &ZERO, None), Carries::Foreign(_)));
        let mut boot = ext4(b"daxtests");
        boot[510] = 0x55;
        assert!(matches!(judge(&boot, &ZERO, None), Carries::Foreign(_)));
    }
}
