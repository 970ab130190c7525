//! Threads and commits that more than one case comes from.

/// The livelock that the protocol was made for.
pub(crate) const LIVELOCK: &str =
    "Kara on Williams, \"xfs: prepare xfs_break_layouts() for another layout type\", 2018-03-30";
/// DMA and the flush of caches.
pub(crate) const FLUSH_DMA: &str =
    "Chinner and Williams, \"xfs, dax: wire up dax_flush_dma support\", 2018-01-03";
/// Direct I/O that begins while a break ends.
pub(crate) const RACE: &str = "Linux commit b1f382178d15 (\"ext4: close race between direct IO and \
     ext4_break_layouts()\"), thread of 2018-07-27";
/// What is faulted in beside a break.
pub(crate) const HOLES: &str =
    "Linux commit ea3d7209ca01 (\"ext4: fix races between page faults and hole punching\")";
/// Pinned pages and write-back.
pub(crate) const WRITEBACK: &str =
    "Wilcox, Kara and Piggin on pinned pages and write-back, 2018-07-09";
/// The mmap lock held while waiting.
pub(crate) const MMAP_LOCK: &str =
    "Williams and Wong, \"xfs: require mmap lock for xfs_break_layouts()\", 2018-03-19";
/// Dedupe of DAX files.
pub(crate) const DEDUPE: &str = "Linux commit 6f7db3894ae2 (\"fsdax: dedup file range to use a compare function\"); \
     Message-ID 20210511030933.3080921-6-ruansy.fnst@fujitsu.com";
/// Dedupe of files in several extents.
pub(crate) const DEDUPE_TWO: &str =
    "Linux commit 0e79e3736d54 (\"fsdax: dedupe: iter two files at the same time\"), in v6.2";
/// Zeros in part of a page that is shared.
pub(crate) const ZERO_SHARED: &str =
    "Linux commit 64e6edc185da (\"xfs: use dax ops for zero and truncate in fsdax mode\"), in v6.2";
/// What is around a part of a page that copy-on-write prepared a block for.
pub(crate) const COW_EDGES: &str =
    "Linux commit 708dfad2eb41 (\"fsdax: zero the edges if source is HOLE or UNWRITTEN\"), in v6.2";
/// What a system call says that it did.
pub(crate) const WRITE: &str =
    "write(2): on error nothing was written, and a short count is how much was";
/// Copy-on-write of what two files share.
pub(crate) const COW: &str =
    "Ruan, \"fsdax,xfs: Add reflink&dedupe support for fsdax\", 2021 and 2022";
/// Blocks of a file's own for what it shares.
pub(crate) const UNSHARE: &str =
    "Linux commit d984648e428b (\"fsdax,xfs: port unshare to fsdax\"), in v6.2";
/// What DAX was made for: stores and write(2) go to the device itself.
pub(crate) const BESIDE: &str =
    "Linux Documentation/filesystems/dax.rst: \"reads and writes directly to the storage device\"";
/// The layout break itself.
pub(crate) const BREAK: &str = "Linux commit d6dc57e251a4 (\"xfs, dax: introduce \
     xfs_break_dax_layouts()\"), in v4.18";
/// Huge entries.
pub(crate) const PMD: &str =
    "Linux commit d7782145e1ad (\"filesystem-dax: Fix dax_layout_busy_page() livelock\"), in v4.20";
/// Long-term pins.
pub(crate) const LONGTERM: &str =
    "Linux commit 2bb6d2837083 (\"mm: introduce get_user_pages_longterm\"), in v4.15";
/// The end of an inode.
pub(crate) const EVICT: &str = "Linux commit 0e2f80afcfa6 (\"fs/dax: ensure all pages are idle prior to filesystem unmount\"), in v6.15";
/// An inode that leaves memory although it has a name.
pub(crate) const DONT_CACHE: &str =
    "Linux commit dae2f8ed7992 (\"fs: Lift XFS_IDONTCACHE to the VFS layer\"), in v5.8";
/// What was mapped before a block was there.
pub(crate) const INVALIDATE: &str = "Linux commit e3fce68cdbed (\"dax: Avoid page invalidation races and unnecessary radix \
     tree traversals\")";
/// What of a file is in the page cache.
pub(crate) const CACHESTAT: &str =
    "Pham, \"cachestat: implement cachestat syscall\", 2023, in v6.5";
/// Which pages are written, by a bit in the page table.
pub(crate) const SOFT_DIRTY: &str =
    "Linux Documentation/admin-guide/mm/soft-dirty.rst: \"tracking which pages a task writes to\"";
/// Which pages are written, by a scan.
pub(crate) const PAGEMAP_SCAN: &str =
    "Linux Documentation/admin-guide/mm/pagemap.rst, PAGEMAP_SCAN, in v6.7";
/// Which pages are written.
pub(crate) const WRITE_PROTECT: &str =
    "Xu, \"userfaultfd: UFFD_FEATURE_WP_ASYNC\", 2023-08-21, in v6.7";
/// Bytes behind the end of a file.
pub(crate) const BEHIND_END: &str =
    "mmap(2): what is stored behind the end of a file in its last page is not written out";
/// Busy pages without a mapping.
pub(crate) const UNMAPPED: &str = "Linux commit cee91fa13a8e (\"fs/dax: return unmapped busy pages from \
     dax_layout_busy_page_range()\"), in v6.15";
/// An entry that write-back has locked.
pub(crate) const LOCKED: &str = "Linux commit 6be3e21d25ca (\"fs/dax: don't skip locked entries when scanning entries\"), in v6.15";
/// Two files exchange all of their blocks.
pub(crate) const SWAPEXT: &str =
    "Linux commit 1f08af52e7c9 (\"xfs: implement swapext for rmap filesystems\")";
/// Two files exchange ranges.
pub(crate) const EXCHANGE_RANGE: &str =
    "Linux commit 9a64d9b3109d (\"xfs: introduce new file range exchange ioctl\"), in v6.10";
/// A file and the boot loader's inode exchange all of their blocks.
pub(crate) const SWAP_BOOT: &str = "Linux commit 393d1d1d7693 (\"ext4: implementation of a new ioctl called \
     EXT4_IOC_SWAP_BOOT\")";
/// A file's data moves into the blocks of another.
pub(crate) const DEFRAG: &str =
    "Linux commit 73f34a5e2ced (\"ext4: online defrag not supported with DAX\")";
/// What io_uring does in the place of a system call.
pub(crate) const URING: &str =
    "io_uring_enter(2): a request reports what its system call would have returned";
/// What is stored through such a mapping is there after a crash.
pub(crate) const MAP_SYNC: &str = "mmap(2), MAP_SYNC: \"will be visible in the same file at the same offset even after the system crashes\"";
/// What fsync says is on the medium.
pub(crate) const FSYNC: &str = "fsync(2): \"all changed information can be retrieved even if the system crashes or is rebooted\"";
/// The whole file system stands still.
pub(crate) const FREEZE: &str = "Linux Documentation/filesystems/vfs.rst, freeze_fs: \"called when VFS is locking a filesystem\"";
/// The whole file system stops.
pub(crate) const SHUTDOWN: &str =
    "Linux commit 783d94854499 (\"ext4: add EXT4_IOC_GOINGDOWN ioctl\")";
/// The memory of a DAX page fails.
pub(crate) const MEMORY_FAILURE: &str =
    "Linux commit 6f643c57d57c (\"xfs: implement ->notify_failure() for XFS\"), in v6.0";
/// What a device of device-mapper is made of changes.
pub(crate) const MAPPER: &str =
    "dmsetup(8), load and resume: the new table takes the place of the one in use";
/// Blocks that cannot be read.
pub(crate) const BAD_BLOCKS: &str = "Linux Documentation/ABI/testing/sysfs-block, badblocks";
/// Files that nobody may change.
pub(crate) const IMMUTABLE: &str =
    "chattr(1), attribute i: \"A file with the 'i' attribute cannot be modified\"";
/// Who writes whole blocks mends them.
pub(crate) const RECOVERY_WRITE: &str =
    "Linux commit f42e8e5088b9 (\"pmem: implement pmem_recovery_write()\"), in v5.19";
/// The file system becomes larger.
pub(crate) const GROW: &str = "xfs_growfs(8), resize2fs(8): a mounted file system grows";
/// The file system looks at itself.
pub(crate) const SCRUB: &str = "Linux Documentation/filesystems/xfs/xfs-online-fsck-design.rst";
/// The file system becomes read-only.
pub(crate) const REMOUNT: &str = "mount(2): EBUSY, \"it still holds files open for writing\"";
/// The memory of a device goes.
pub(crate) const UNBIND: &str =
    "Linux commit 50f44ee7248a (\"mm/devm_memremap_pages: fix final page put race\")";
/// Inodes leave memory.
pub(crate) const SHRINK: &str = "Linux commit 51b8c1fe250d (\"vfs: keep inodes with page cache off the inode shrinker LRU\"), in v5.16";
