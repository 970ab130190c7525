/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A layout break without a bug: it does what Linux 6.12 does, in functions that
 * no released kernel has. Who changes the break renames and splits exactly
 * these functions, and a test that knows them by name cries wolf.
 *
 * LAYOUT_CALL says whether each step is a function of its own.
 */
#include "fault.h"

static LAYOUT_CALL void layout_nap(struct inode *inode)
{
	filemap_invalidate_unlock(inode->i_mapping);
	schedule();
	filemap_invalidate_lock(inode->i_mapping);
}

static LAYOUT_CALL int layout_idle(struct inode *inode, struct page *page)
{
	return ___wait_var_event(&page->_refcount,
			atomic_read(&page->_refcount) == 1,
			TASK_INTERRUPTIBLE, 0, 0, layout_nap(inode));
}

static LAYOUT_CALL int layout_quiesce(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			break;

		error = layout_idle(inode, page);
	}

	return error;
}

static int FAULT_XFS(struct inode *inode, bool *retry)
{
	return layout_quiesce(inode);
}

static int FAULT_EXT4(struct inode *inode)
{
	return layout_quiesce(inode);
}
