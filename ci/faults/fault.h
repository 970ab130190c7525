/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the faults have in common: a livepatch that replaces the functions with
 * which XFS and ext4 break a DAX layout, in a stock kernel.
 *
 * Both functions are there from Linux 5.15 on. From 6.15 on they only call
 * dax_break_layout() in fs/dax.c (commit d5b3afea22a5): what a fault does in
 * their place instead would be another bug there, and ci/vm refuses it.
 *
 * Nothing here needs struct xfs_inode or struct ext4_inode_info, which are not
 * in the kernel's headers. XFS's MMAPLOCK and ext4's i_mmap_sem are both
 * inode->i_mapping->invalidate_lock since Linux commits 2433480a7e1d ("xfs:
 * Convert to use invalidate_lock") and d4f5258eae7b ("ext4: Convert to use
 * mapping->invalidate_lock"), in v5.15; XFS's IOLOCK is inode->i_rwsem since
 * "xfs: remove i_iolock and use i_rwsem in the VFS inode instead", in v4.10.
 * All else is exported.
 *
 * A replacement has the name of what it replaces: stacks and wait channels then
 * read as on a kernel that had the bug from the start. A fault may choose others
 * by defining FAULT_XFS and FAULT_EXT4 before it includes this.
 */
#ifndef DAXTESTS_FAULT_H
#define DAXTESTS_FAULT_H

#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/wait_bit.h>

#ifndef FAULT_XFS
#define FAULT_XFS xfs_break_dax_layouts
#define FAULT_EXT4 ext4_break_layouts
#endif

/*
 * Both are called with i_rwsem and the invalidate lock held for writing. XFS
 * calls its own again as long as it sets *retry.
 */
static int FAULT_XFS(struct inode *inode, bool *retry);
static int FAULT_EXT4(struct inode *inode);

static struct klp_func fault_xfs[] = {
	{ .old_name = "xfs_break_dax_layouts", .new_func = FAULT_XFS },
	{ }
};

static struct klp_func fault_ext4[] = {
	{ .old_name = "ext4_break_layouts", .new_func = FAULT_EXT4 },
	{ }
};

/* An object whose module is not loaded is patched when it is. */
static struct klp_object fault_objects[] = {
	{ .name = "xfs", .funcs = fault_xfs },
	{ .name = "ext4", .funcs = fault_ext4 },
	{ }
};

#include "patch.h"

#endif
