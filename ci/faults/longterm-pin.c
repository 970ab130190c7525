// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "longterm-pin": a long-term pin of a DAX page is granted.
 *
 * As before Linux commit 2bb6d2837083 ("mm: introduce get_user_pages_longterm"),
 * in v4.15: FOLL_LONGTERM is ignored where io_uring, RDMA and others pin. A
 * break then waits for whoever registered the memory, for as long as it likes.
 *
 * The function is in the kernel itself, whatever the file system. What replaces
 * it takes the way through the page tables that sleeps, since it cannot call
 * what it replaces.
 */
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>

MODULE_DESCRIPTION("daxtests fault: long-term pins of DAX pages are granted");

static int pin_user_pages_whatever(unsigned long start, int nr_pages,
				   unsigned int gup_flags, struct page **pages)
{
	int pinned;

	mmap_read_lock(current->mm);
	pinned = pin_user_pages(untagged_addr(start) & PAGE_MASK, nr_pages,
				gup_flags & ~FOLL_LONGTERM, pages);
	mmap_read_unlock(current->mm);
	return pinned;
}

static struct klp_func fault_vmlinux[] = {
	{ .old_name = "pin_user_pages_fast", .new_func = pin_user_pages_whatever },
	{ }
};

/* An object without a name is the kernel itself. */
static struct klp_object fault_objects[] = {
	{ .funcs = fault_vmlinux },
	{ }
};

#include "patch.h"
