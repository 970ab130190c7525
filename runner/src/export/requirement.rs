//! What a program takes that not every machine and file system has: a row each, with how the
//! program tries it and how a test of xfstests asks for it.
//!
//! Without it nothing can be said about the kernel, so the program looks before the case acts, as
//! the runner does. What a case needs, it says itself; what it does may take more, which the file
//! systems that the runner makes always have.

use std::fmt::Write as _;

use cases::Deed;
use cases::action::{Action, Mode, Partner, PinKind, Sharing};
use cases::system::Need;

use super::Recorded;
use super::pin::PinCode;
use crate::fs::{self, FsType};
use crate::target::PER_FILE;

/// Something that a program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Files with DAX and files without on one file system.
    WithoutDax,
    /// Direct I/O to the files.
    DirectIo,
    /// `FICLONERANGE`.
    Clone,
    /// `FIDEDUPERANGE`.
    Dedupe,
    /// This mode of fallocate(2).
    Fallocate(Mode),
    /// `MAP_SYNC`.
    MapSync,
    /// `XFS_IOC_EXCHANGE_RANGE`.
    ExchangeRange,
    /// `XFS_IOC_SWAPEXT`.
    SwapExtents,
    /// `EXT4_IOC_SWAP_BOOT`.
    SwapBoot,
    /// `EXT4_IOC_MOVE_EXT`.
    MoveExtents,
    /// Buffers registered with io_uring.
    RegisteredBuffer,
    /// Another process that reads or writes this one's memory, and waits meanwhile.
    Peer,
    /// A device that holds direct I/O.
    HeldIo,
    /// Memory that the kernel waits for.
    HoldInCopy,
    /// A file system that nobody else uses, by its mount point.
    Whole,
    /// A device of which blocks can be said to be bad.
    BadBlocks,
    /// Mappings of 2 MiB.
    Huge,
    /// `XFS_IOC_GOINGDOWN`, `EXT4_IOC_SHUTDOWN`.
    ShutDown,
    /// `UFFDIO_WRITEPROTECT` with `UFFD_FEATURE_WP_ASYNC`.
    WriteProtect,
    /// cachestat(2).
    CacheStat,
    /// The bit soft-dirty of `/proc/PID/pagemap`.
    SoftDirty,
}

/// What is known of one.
pub(super) struct Row {
    /// Lines of C that try it, with `probe`, a DAX file: a page, a hole of two, and a page. They free
    /// none of its blocks, and close nothing (`new_probe` in `pieces.c` says why).
    pub(super) tries: String,
    /// The file system that alone has it.
    pub(super) only_on: Option<FsType>,
    /// The group of xfstests whose tests are about it.
    pub(super) group: Option<&'static str>,
    /// How a test of xfstests asks for it.
    pub(super) line: Option<&'static str>,
}

impl Requirement {
    /// All that a program takes; why it cannot be one.
    pub(super) fn all(recorded: &Recorded) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        // What a program cannot have of the page cache is refused where it would be made.
        let needs = recorded.needs.iter().filter(|need| **need != Need::PageCache);
        let needs = needs.map(|need| Self::of_need(*need).map(Some));
        let actions = recorded.deeds.iter().map(|deed| match deed {
            Deed::Start { action, .. } => Ok(Self::of_action(action)),
            _ => Ok(None),
        });
        for one in needs.chain(actions) {
            if let Some(one) = one?
                && !all.contains(&one)
            {
                all.push(one);
            }
        }
        Ok(all)
    }

    /// Whether what a program does tells that it takes this.
    pub(super) fn is_told(need: Need) -> bool {
        Self::of_need(need).is_ok_and(|requirement| {
            !matches!(
                requirement,
                Self::Whole
                    | Self::ShutDown
                    | Self::WriteProtect
                    | Self::CacheStat
                    | Self::SoftDirty
            )
        })
    }

    /// What no program tries yet is refused: a program that goes on without it accuses the kernel.
    fn of_need(need: Need) -> Result<Self, String> {
        Ok(match need {
            Need::Reflink => Self::Clone,
            Need::Fallocate(mode) => Self::Fallocate(mode),
            Need::MapSync => Self::MapSync,
            Need::SwapExtents => Self::SwapExtents,
            Need::ExchangeRange => Self::ExchangeRange,
            Need::SwapBoot => Self::SwapBoot,
            Need::MoveExtents => Self::MoveExtents,
            Need::WithoutDax => Self::WithoutDax,
            Need::Uring => Self::RegisteredBuffer,
            Need::Pin(PinKind::Direct { .. }) | Need::HeldIo => Self::HeldIo,
            Need::Pin(kind) if PinCode::is_tried(kind) => Self::Peer,
            Need::HoldInCopy => Self::HoldInCopy,
            Need::Spare => Self::Whole,
            Need::BadBlocks => Self::BadBlocks,
            Need::Huge => Self::Huge,
            Need::ShutDown => Self::ShutDown,
            Need::WriteProtect => Self::WriteProtect,
            Need::CacheStat => Self::CacheStat,
            Need::SoftDirty => Self::SoftDirty,
            Need::Pin(_)
            | Need::SlowIo
            | Need::PageCache
            | Need::Poison
            | Need::Flushes
            | Need::LargeSpare
            | Need::Immutable
            | Need::PoisonBlock
            | Need::Mapper
            | Need::BulkStat
            | Need::PagemapScan
            | Need::Scrub
            | Need::Repair
            | Need::Unbind
            | Need::Hold(_) => {
                return Err(format!("a program cannot look for what it needs: {need}"));
            }
        })
    }

    fn of_action(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Fallocate { mode, .. } => Self::Fallocate(*mode),
            Action::Clone { .. } => Self::Clone,
            Action::Dedupe { .. } => Self::Dedupe,
            Action::DirectIo { .. } => Self::DirectIo,
            Action::Map { sharing: Sharing::Sync, .. } => Self::MapSync,
            Action::Exchange { with: Partner::File(_), .. } => Self::SwapExtents,
            Action::Exchange { with: Partner::Range(_), .. } => Self::ExchangeRange,
            Action::Exchange { with: Partner::BootLoader, .. } => Self::SwapBoot,
            Action::MoveExtents { .. } => Self::MoveExtents,
            Action::CreateWithoutDax { .. } => Self::WithoutDax,
            Action::PinLongterm { .. } => Self::RegisteredBuffer,
            Action::Pin { kind: PinKind::Direct { .. }, .. } => Self::HeldIo,
            Action::Pin { kind, .. } if PinCode::is_tried(*kind) => Self::Peer,
            _ => return None,
        })
    }

    /// Its row.
    #[expect(clippy::too_many_lines, reason = "one arm per requirement")]
    pub(super) fn row(self) -> Row {
        let tries = |call: &str, what: &str| format!("need({call}, \"{what}\");\n");
        let none = || Row { tries: String::new(), only_on: None, group: None, line: None };
        match self {
            Self::WithoutDax => Row {
                tries: "without_dax(&other);\n".to_owned(),
                line: Some("_require_dax_iflag"),
                ..none()
            },
            Self::DirectIo => Row {
                tries: tries("answer(fcntl(probe, F_SETFL, O_DIRECT))", "direct I/O"),
                line: Some("_require_odirect"),
                ..none()
            },
            Self::Clone => Row {
                tries: tries(
                    "clone_range(probe, 0, PAGE, probe, 2 * PAGE)",
                    "reflink (FICLONERANGE)",
                ),
                group: Some("clone"),
                line: Some("_require_scratch_reflink"),
                ..none()
            },
            Self::Dedupe => Row {
                tries: tries(
                    "dedupe_range(probe, 0, PAGE, probe, 2 * PAGE)",
                    "dedupe (FIDEDUPERANGE)",
                ),
                group: Some("dedupe"),
                line: Some("_require_scratch_dedupe"),
                ..none()
            },
            Self::Fallocate(mode) => {
                let (group, line) = asked(mode);
                let flags = flags(mode);
                let what = match flags {
                    "0" => "fallocate(2)".to_owned(),
                    flags => format!("fallocate(2) with {flags}"),
                };
                Row {
                    tries: tries(&format!("answer(fallocate(probe, {flags}, PAGE, PAGE))"), &what),
                    group: Some(group),
                    line: Some(line),
                    ..none()
                }
            }
            Self::MapSync => Row {
                tries: format!(
                    "{}munmap(map.at, map.length);\n",
                    tries(
                        "map_file(&map, probe, 0, PAGE, MAP_SHARED_VALIDATE | MAP_SYNC)",
                        "MAP_SYNC"
                    )
                ),
                ..none()
            },
            Self::SwapExtents => Row {
                tries: format!(
                    "new_probe(&other);\n{}",
                    tries("swap_extents(probe, other)", "XFS_IOC_SWAPEXT")
                ),
                only_on: Some(FsType::Xfs),
                group: Some("swapext"),
                line: Some("_require_xfs_io_command \"swapext\""),
            },
            Self::ExchangeRange => Row {
                tries: format!(
                    "new_probe(&other);\n{}",
                    tries("exchange_range(probe, other)", "XFS_IOC_EXCHANGE_RANGE")
                ),
                only_on: Some(FsType::Xfs),
                group: Some("fiexchange"),
                line: Some("_require_xfs_io_command \"exchangerange\""),
            },
            Self::SwapBoot => Row {
                tries: tries("can_swap_boot()", "EXT4_IOC_SWAP_BOOT"),
                only_on: Some(FsType::Ext4),
                group: Some("ioctl"),
                line: None,
            },
            Self::MoveExtents => Row {
                // With a DAX file it may crash the kernel.
                tries: format!(
                    "without_dax(&other);\nwithout_dax(&donor);\n{}",
                    tries("move_extents(other, donor)", "EXT4_IOC_MOVE_EXT")
                ),
                only_on: Some(FsType::Ext4),
                group: Some("defrag"),
                line: None,
            },
            Self::RegisteredBuffer => Row {
                tries: format!(
                    "need(map_file(&map, -1, 0, PAGE, MAP_PRIVATE | MAP_ANONYMOUS), \"memory\");\n\
                     {}munmap(map.at, map.length);\n",
                    tries("register_buffer(&map, 0, PAGE)", "buffers registered with io_uring")
                ),
                group: Some("io_uring"),
                line: Some("_require_io_uring"),
                ..none()
            },
            // Each that a program has tries it for itself when it begins. Huge pages cannot be tried without
            // being had; the program says so then.
            Self::Peer | Self::HeldIo | Self::HoldInCopy | Self::Huge => none(),
            Self::Whole => Row {
                tries: tries("find_mount()", "the mount point of a file system of its own"),
                ..none()
            },
            Self::BadBlocks => Row {
                tries: tries(
                    "find_bad_blocks()",
                    "a list of bad blocks of the device, which is empty (/sys/class/block/*/badblocks)",
                ),
                ..none()
            },
            // It cannot be tried without being done; the program says so then.
            Self::ShutDown => {
                Row { group: Some("shutdown"), line: Some("_require_scratch_shutdown"), ..none() }
            }
            Self::WriteProtect => Row {
                tries: format!(
                    "need(map_file(&map, probe, 0, PAGE, MAP_SHARED), \"a mapping\");\n\
                     {}munmap(map.at, map.length);\n",
                    tries("write_protect(&map)", "userfaultfd(2) with UFFD_FEATURE_WP_ASYNC")
                ),
                ..none()
            },
            Self::CacheStat => {
                Row { tries: tries("pages_cached(probe)", "cachestat(2)"), ..none() }
            }
            // A page of memory that was just written to.
            Self::SoftDirty => Row {
                tries: format!(
                    "need(map_file(&map, -1, 0, PAGE, MAP_PRIVATE | MAP_ANONYMOUS), \"memory\");\n\
                     *map.at = 1;\n\
                     {}munmap(map.at, map.length);\n",
                    tries(
                        "stored_to(&map, 0, PAGE) == 1 ? 0 : -EOPNOTSUPP",
                        "soft-dirty pages (CONFIG_MEM_SOFT_DIRTY)"
                    )
                ),
                ..none()
            },
        }
    }
}

/// The group of xfstests that is about a mode of fallocate(2), and how a test asks for it.
fn asked(mode: Mode) -> (&'static str, &'static str) {
    match mode {
        Mode::Allocate => ("prealloc", "_require_xfs_io_command \"falloc\""),
        Mode::Punch => ("punch", "_require_xfs_io_command \"fpunch\""),
        Mode::Zero => ("zero", "_require_xfs_io_command \"fzero\""),
        Mode::Collapse => ("collapse", "_require_xfs_io_command \"fcollapse\""),
        Mode::Insert => ("insert", "_require_xfs_io_command \"finsert\""),
        Mode::Unshare => ("unshare", "_require_xfs_io_command \"funshare\""),
    }
}

/// Lines of C that try all of `requirements` on files of their own.
pub(super) fn tries(requirements: &[Requirement], mount: &str) -> String {
    let tries: String = requirements.iter().map(|one| one.row().tries).collect();
    // What pages a pin holds, and what an operation frees, is counted in pages of the case's size.
    let mut lines =
        "need(sysconf(_SC_PAGESIZE) == PAGE ? 0 : -EOPNOTSUPP, \"pages of 4096 bytes\");\n"
            .to_owned();
    if mount == PER_FILE {
        lines.push_str("need(choose_dax(1), \"a DAX flag in each file\");\n");
    }
    let _ = writeln!(
        lines,
        "need(new_probe(&probe) ? 0 : -EOPNOTSUPP, \"DAX files (mount -o {mount})\");"
    );
    lines.push_str(&tries);
    let others = ["other", "donor"].into_iter().filter(|name| tries.contains(&format!("&{name})")));
    let probes: Vec<_> = ["probe"].into_iter().chain(others).collect();
    let mut declared = format!("int {};\n", probes.join(", "));
    if tries.contains("&map,") {
        declared.push_str("struct map map;\n");
    }
    format!("{declared}\n{lines}")
}

/// The file system that alone has all of `requirements`, if only one does.
pub(super) fn only_on(requirements: &[Requirement]) -> Option<&'static fs::FsRow> {
    requirements.iter().find_map(|one| one.row().only_on)?.row()
}

/// What fallocate(2) is given for a mode, in C.
pub(super) fn flags(mode: Mode) -> &'static str {
    match mode {
        Mode::Allocate => "0",
        Mode::Punch => "FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE",
        Mode::Zero => "FALLOC_FL_ZERO_RANGE",
        Mode::Collapse => "FALLOC_FL_COLLAPSE_RANGE",
        Mode::Insert => "FALLOC_FL_INSERT_RANGE",
        Mode::Unshare => "FALLOC_FL_UNSHARE_RANGE",
    }
}
