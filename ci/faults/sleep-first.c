// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "sleep-first": the break sleeps before it looks whether the page that it
 * waits for is still busy.
 *
 * It queues itself for the wake-up and sleeps at once. A last pin that went
 * before that woke nobody, and nothing comes after it. What ends when the break
 * sleeps already, it notices.
 */
#include "fault.h"
#include "wait.h"

MODULE_DESCRIPTION("daxtests fault: layout break sleeps without looking");

static __always_inline int break_layouts(struct inode *inode)
{
	struct page *page;
	int error = 0;

	while (!error) {
		int slept = 0;

		page = dax_layout_busy_page(inode->i_mapping);
		if (!page)
			break;

		error = ___wait_var_event(&page->_refcount,
				slept++ && atomic_read(&page->_refcount) == 1,
				TASK_INTERRUPTIBLE, 0, 0,
				wait_dax_page(inode));
	}

	return error;
}

#include "alike.h"
