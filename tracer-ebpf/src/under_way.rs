//! Breaks under way, by task: what the probes of a break hand on to each other.

use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;

use crate::inode::TracedInode;

/// A break under way, by task.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BreakUnderWay {
    pub(crate) inode: u64,
    pub(crate) number: u64,
    /// The second file of a reflink, or 0.
    pub(crate) second: u64,
    pub(crate) second_number: u64,
    /// Address of the page that the last scan found busy, or 0.
    pub(crate) busy: u64,
    pub(crate) busy_index: u64,
    /// The file whose scan that was.
    pub(crate) busy_inode: u64,
    pub(crate) busy_number: u64,
    /// Address of the entry by which it is queued while it waits, or 0.
    pub(crate) queued: u64,
    pub(crate) waiting: u32,
    /// The beginning was seen.
    pub(crate) whole: u32,
}

impl BreakUnderWay {
    /// One whose beginning was not seen.
    pub(crate) fn unseen(inode: TracedInode) -> Self {
        Self {
            inode: inode.address,
            number: inode.number,
            second: 0,
            second_number: 0,
            busy: 0,
            busy_index: 0,
            busy_inode: 0,
            busy_number: 0,
            queued: 0,
            waiting: 0,
            whole: 0,
        }
    }
}

/// `BPF_NOEXIST`: include/uapi/linux/bpf.h.
pub(crate) const ONLY_NEW: u64 = 1;

#[map]
pub(crate) static BREAKS: HashMap<u32, BreakUnderWay> = HashMap::with_max_entries(1024, 0);
