//! What is filled in when the probes are loaded: the device, and where this kernel has what they read.
//!
//! Offsets come from the running kernel's BTF, so nothing here knows a kernel version.

use core::ptr::read_volatile;

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub(crate) static $name: $type = 0;
        )*
    };
}

globals! {
    /// The `dev_t` of the traced file system.
    DEVICE: u32,
    /// Whether to record for a reader what no rule needs; see [`crate::task::in_detail`].
    DETAIL: u32,
    /// 1 if a DAX page is idle at one reference, 0 if at none.
    IDLE: u32,
    /// Address of the `struct page` of frame 0.
    PAGES: u64,
    /// How many ranges of page frames [`crate::blocks`] has.
    RANGES: u32,
    /// How many segments [`crate::blocks`] has.
    SEGMENTS: u32,
    PAGE_SIZE_OF: u32,
    PAGE_FLAGS: u32,
    PAGE_REFS: u32,
    PAGE_MAPS: u32,
    PAGE_MAPPING: u32,
    PAGE_INDEX: u32,
    /// Bit of `page.flags` that marks a compound page's head; 64 if DAX pages are never compound.
    PAGE_HEAD_BIT: u32,
    FOLIO_LARGE_MAPS: u32,
    MAPPING_HOST: u32,
    MAPPING_LOCK: u32,
    INODE_NUMBER: u32,
    INODE_FLAGS: u32,
    INODE_SB: u32,
    INODE_MAPPING: u32,
    INODE_LOCK: u32,
    SB_DEVICE: u32,
    RWSEM_OWNER: u32,
    TASK_STATE: u32,
    FILE_INODE: u32,
    DENTRY_INODE: u32,
    XFS_INODE_VFS: u32,
    BIO_VECS: u32,
    BIO_COUNT: u32,
    PIPE_BUFFER_PAGE: u32,
    FAULT_VMA: u32,
    FAULT_INDEX: u32,
    VMA_FILE: u32,
    /// What a wait's variable is, counted from its page.
    WAIT_OFFSET: u32,
    /// Where a waiter has the list entry by which it is queued.
    WAIT_ENTRY: u32,
    /// Whether the removal hook has (entry, mapping, truncating) and not only the entry.
    REMOVE_HAS_MAPPING: u32,
    FREE_DEVICE: u32,
    FREE_GROUP: u32,
    FREE_BLOCK: u32,
    FREE_LENGTH: u32,
    /// Whether the free tracepoint gives a group and a 32-bit block in it (XFS).
    FREE_BY_GROUP: u32,
    GROUP_BLOCKS: u32,
}

/// The value of a global as it was set at load.
pub(crate) fn get(global: &'static u32) -> u64 {
    // SAFETY: a reference is valid; volatile, because the loader and not the compiler knows it.
    u64::from(unsafe { read_volatile(global) })
}

/// The same for a wide one.
pub(crate) fn get64(global: &'static u64) -> u64 {
    // SAFETY: as above.
    unsafe { read_volatile(global) }
}
