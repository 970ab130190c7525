// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "drop-inode-lock": the break waits with all inode locks dropped, and
 * starts over when it has them again.
 *
 * What was asked about in March 2018, before the break was merged: nothing
 * then keeps others from starting I/O that pins anew, so a break need never
 * come to its end. It scans again each time, whether a page is left or not
 * seen, until no page was busy.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: layout break drops the inode lock while it waits");

static void wait_dax_page(struct inode *inode)
{
	filemap_invalidate_unlock(inode->i_mapping);
	inode_unlock(inode);
	schedule();
	inode_lock(inode);
	filemap_invalidate_lock(inode->i_mapping);
}

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			break;

		error = ___wait_var_event(&page->_refcount,
				atomic_read(&page->_refcount) == 1,
				TASK_INTERRUPTIBLE, 0, 0,
				wait_dax_page(inode));
	}

	return error;
}

#include "alike.h"
