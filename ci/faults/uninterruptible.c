// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "uninterruptible": no signal ends the wait of the break.
 *
 * Pins last as long as whoever took them wants, so the task that waits for them
 * must be killable.
 */
#include "fault.h"
#include "wait.h"

MODULE_DESCRIPTION("daxtests fault: layout break cannot be interrupted");

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;

	while ((page = dax_layout_busy_page(inode->i_mapping)))
		___wait_var_event(&page->_refcount,
				atomic_read(&page->_refcount) == 1,
				TASK_UNINTERRUPTIBLE, 0, 0,
				wait_dax_page(inode));

	return 0;
}

#include "alike.h"
