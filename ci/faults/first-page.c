// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "first-page": the break unmaps and looks at the first page of the file,
 * and no other.
 *
 * A range that ends at 0 is one page long, and not the whole file.
 */
#include "fault.h"
#include "wait.h"

MODULE_DESCRIPTION("daxtests fault: layout break looks at the first page only");

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		page = dax_layout_busy_page_range(inode->i_mapping, 0, 0);
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
