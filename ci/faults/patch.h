/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module of a fault: a livepatch of fault_objects, which must be defined
 * before this is included.
 */
#ifndef DAXTESTS_PATCH_H
#define DAXTESTS_PATCH_H

#include <linux/livepatch.h>
#include <linux/module.h>

static struct klp_patch fault_patch = {
	.mod = THIS_MODULE,
	.objs = fault_objects,
};

static int __init fault_init(void)
{
	return klp_enable_patch(&fault_patch);
}

/* There is no way back but a reboot: unpatching is not what is tested. */
static void __exit fault_exit(void)
{
}

module_init(fault_init);
module_exit(fault_exit);
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");

#endif
