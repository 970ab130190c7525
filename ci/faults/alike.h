/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A fault that is the same in XFS and ext4: both do what break_layouts() does,
 * which must be defined before this is included.
 */
#ifndef DAXTESTS_ALIKE_H
#define DAXTESTS_ALIKE_H

static int xfs_break_dax_layouts(struct inode *inode, bool *retry)
{
	return break_layouts(inode);
}

static int ext4_break_layouts(struct inode *inode)
{
	return break_layouts(inode);
}

#endif
