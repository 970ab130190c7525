// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "skip-writeback": write-back of a DAX file returns at once.
 *
 * fsync and msync say that all is well and have flushed nothing: what was
 * stored through a mapping is in the caches of the processors until they choose
 * to write it. All reads are right until the power goes.
 *
 * The function is in the kernel itself, whatever the file system.
 */
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/livepatch.h>
#include <linux/module.h>

MODULE_DESCRIPTION("daxtests fault: fsync of a DAX file writes nothing back");

static int skip_writeback(struct address_space *mapping,
			  struct dax_device *dax_dev,
			  struct writeback_control *wbc)
{
	return 0;
}

static struct klp_func fault_vmlinux[] = {
	{ .old_name = "dax_writeback_mapping_range", .new_func = skip_writeback },
	{ }
};

/* An object without a name is the kernel itself. */
static struct klp_object fault_objects[] = {
	{ .funcs = fault_vmlinux },
	{ }
};

#include "patch.h"
