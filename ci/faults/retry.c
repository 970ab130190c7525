// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "retry": the break scans again only if it really slept.
 *
 * The scan finds a busy page, and by the time the break wants to wait for it
 * the page is idle: the wait callback, which alone asks for another scan, does
 * not run. Pages after it, still pinned, are never waited for. This was so
 * until Linux commits b1f382178d15 ("ext4: close race between direct IO and
 * ext4_break_layouts()") and e25ff835af89 ("xfs: Close race between direct IO
 * and xfs_break_layouts()"), both in v4.19.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: no second scan after a page went idle early");

static void wait_dax_page(struct inode *inode, bool *did_unlock)
{
	*did_unlock = true;
	filemap_invalidate_unlock(inode->i_mapping);
	schedule();
	filemap_invalidate_lock(inode->i_mapping);
}

static int xfs_break_dax_layouts(struct inode *inode, bool *retry)
{
	struct page *page;

	page = dax_layout_busy_page(inode->i_mapping);
	if (!page)
		return 0;

	return ___wait_var_event(&page->_refcount,
			atomic_read(&page->_refcount) == 1, TASK_INTERRUPTIBLE,
			0, 0, wait_dax_page(inode, retry));
}

static int ext4_break_layouts(struct inode *inode)
{
	struct page *page;
	bool retry;
	int error;

	do {
		retry = false;
		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			return 0;

		error = ___wait_var_event(&page->_refcount,
				atomic_read(&page->_refcount) == 1,
				TASK_INTERRUPTIBLE, 0, 0,
				wait_dax_page(inode, &retry));
	} while (error == 0 && retry);

	return error;
}
