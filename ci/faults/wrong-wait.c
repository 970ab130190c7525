// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "wrong-wait": the break waits, but not for the pin.
 *
 * It finds the busy page, sleeps for some seconds with the locks dropped, in
 * the function and the state in which it should wait for the page, and goes on
 * whether the page is idle by then or not. While it sleeps it looks like a
 * break that waits; only what ends the sleep tells them apart.
 */
#include "fault.h"

MODULE_DESCRIPTION("daxtests fault: layout break waits for something that is not the pin");

#define SECONDS 6

static __always_inline int break_layouts(struct inode *inode)
{
	if (!dax_layout_busy_page(inode->i_mapping))
		return 0;

	filemap_invalidate_unlock(inode->i_mapping);
	schedule_timeout_interruptible(SECONDS * HZ);
	filemap_invalidate_lock(inode->i_mapping);
	return signal_pending(current) ? -ERESTARTSYS : 0;
}

#include "alike.h"
