// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "no-unmap": the break looks for busy pages and leaves them mapped.
 *
 * dax_layout_busy_page_range() unmaps the range before it scans it: whoever
 * wants to pin a page afterwards must fault, and the fault waits for the break.
 * Without that a page that the scan has found idle can be pinned by
 * get_user_pages_fast(), which takes no lock, and is then freed.
 *
 * The scan must stay the kernel's own, and no file system's function is to be
 * replaced, so this is no livepatch: ftrace sends the one call of
 * unmap_mapping_pages() that the break makes to a function that returns at once.
 * All other callers go on as before.
 */
#include <linux/dax.h>
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>

MODULE_DESCRIPTION("daxtests fault: the break unmaps nothing");
MODULE_LICENSE("GPL");

/* The size of dax_layout_busy_page_range(), in bytes. */
static unsigned long scan_size;

static noinline notrace void unmap_nothing(void)
{
}

static void notrace skip_unmapping(unsigned long ip, unsigned long parent_ip,
				   struct ftrace_ops *ops,
				   struct ftrace_regs *fregs)
{
	unsigned long scan = (unsigned long)dax_layout_busy_page_range;
	struct pt_regs *regs = ftrace_get_regs(fregs);

	if (regs && parent_ip - scan < scan_size)
		instruction_pointer_set(regs, (unsigned long)unmap_nothing);
}

static struct ftrace_ops fault_ops = {
	.func = skip_unmapping,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY |
		 FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT,
};

static int __init fault_init(void)
{
	static char symbol[KSYM_SYMBOL_LEN];
	const char *size;
	int error;

	/* "dax_layout_busy_page_range+0x0/0x2c0" */
	sprint_symbol(symbol, (unsigned long)dax_layout_busy_page_range);
	size = strrchr(symbol, '/');
	if (!size || kstrtoul(size + 1, 16, &scan_size))
		return -ENOENT;

	error = ftrace_set_filter_ip(&fault_ops,
				     (unsigned long)unmap_mapping_pages, 0, 0);
	if (error)
		return error;

	return register_ftrace_function(&fault_ops);
}

/* There is no way back but a reboot, as with the other faults. */
static void __exit fault_exit(void)
{
}

module_init(fault_init);
module_exit(fault_exit);
