// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "lost-wakeup": the break sleeps on after the last pin is gone.
 *
 * It waits on the wrong variable: whoever drops the last pin wakes those who
 * wait on the page's _refcount, and this waits on its _mapcount. The condition
 * is right, so a page that is idle before the break sleeps is passed; a signal
 * ends the wait.
 */
#include "fault.h"
#include "wait.h"

MODULE_DESCRIPTION("daxtests fault: layout break is not woken by the last unpin");

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			break;

		error = ___wait_var_event(&page->_mapcount,
				atomic_read(&page->_refcount) == 1,
				TASK_INTERRUPTIBLE, 0, 0,
				wait_dax_page(inode));
	}

	return error;
}

#include "alike.h"
