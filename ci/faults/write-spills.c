// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "write-spills": write(2) to a DAX file goes on for a sector behind the
 * last page that it was given, in whatever lies there.
 *
 * As the copy of shared pages does on a stripe (cow-spills): memory of
 * the device is contiguous, and nothing but the length says where a file ends.
 * Nobody notices but the owner of the next block.
 *
 * The function is in the kernel itself, whatever the file system.
 */
#include <linux/blkdev.h>
#include <linux/dax.h>
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uio.h>

MODULE_DESCRIPTION("daxtests fault: write(2) to a DAX file spills into the next block");

static size_t write_spills(struct dax_device *dax_dev, pgoff_t pgoff,
			   void *addr, size_t bytes, struct iov_iter *i)
{
	size_t done = _copy_from_iter_flushcache(addr, bytes, i);

	if (done) {
		u8 last = *((u8 *)addr + done - 1);

		memset(PTR_ALIGN(addr + done, PAGE_SIZE), last, SECTOR_SIZE);
	}
	return done;
}

static struct klp_func fault_vmlinux[] = {
	{ .old_name = "dax_copy_from_iter", .new_func = write_spills },
	{ }
};

/* An object without a name is the kernel itself. */
static struct klp_object fault_objects[] = {
	{ .funcs = fault_vmlinux },
	{ }
};

#include "patch.h"
