// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "skip-break": the layout break returns at once.
 *
 * As if it did not exist, which was so before Linux commit d6dc57e251a4 ("xfs,
 * dax: introduce xfs_break_dax_layouts()"), in v4.18. Blocks are freed and
 * given to others while DMA still goes to them.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: no layout break");

static int xfs_break_dax_layouts(struct inode *inode, bool *retry)
{
	return 0;
}

static int ext4_break_layouts(struct inode *inode)
{
	return 0;
}
