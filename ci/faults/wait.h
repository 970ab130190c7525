/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a break sleeps, of faults that are about something else: with the
 * invalidate lock dropped, as XFS and ext4 do.
 */
#ifndef DAXTESTS_WAIT_H
#define DAXTESTS_WAIT_H

static void wait_dax_page(struct inode *inode)
{
	filemap_invalidate_unlock(inode->i_mapping);
	schedule();
	filemap_invalidate_lock(inode->i_mapping);
}

#endif
