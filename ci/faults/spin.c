// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "spin": the break scans again and again and never sleeps.
 *
 * It gives the CPU away when asked to and ends on a signal, so the machine
 * lives; a pin that is held makes it burn a CPU.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: layout break rescans without sleeping");

static __always_inline int break_layouts(struct inode *inode)
{
	while (dax_layout_busy_page(inode->i_mapping)) {
		if (signal_pending(current))
			return -ERESTARTSYS;
		filemap_invalidate_unlock(inode->i_mapping);
		cond_resched();
		filemap_invalidate_lock(inode->i_mapping);
	}

	return 0;
}

#include "alike.h"
