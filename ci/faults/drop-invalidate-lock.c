// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "drop-invalidate-lock": the break looks for busy pages without the
 * invalidate lock.
 *
 * Nothing keeps faults out between the unmapping and the removal of the
 * entries: a page that was unmapped is mapped again, and pinned, while the break
 * looks, and after it has looked. So it was until there was a lock to hold:
 * Linux commit ea3d7209ca01 ("ext4: fix races between page faults and hole
 * punching").
 */
#include "fault.h"
#include "wait.h"

MODULE_DESCRIPTION("daxtests fault: faults go on while the layout break looks");

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		filemap_invalidate_unlock(inode->i_mapping);
		page = dax_layout_busy_page(inode->i_mapping);
		filemap_invalidate_lock(inode->i_mapping);
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
