// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "keep-invalidate-lock": the break sleeps with the invalidate lock held.
 *
 * Whoever faults on the file then waits for the pin, too; if that is who holds
 * it, both wait for good.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: layout break keeps the invalidate lock while it waits");

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
				schedule());
	}

	return error;
}

#include "alike.h"
