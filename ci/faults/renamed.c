// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "renamed": no bug. The break waits as it should, three calls deeper
 * than in a stock kernel, in layout_nap().
 */
#define FAULT_XFS xfs_layout_quiesce
#define FAULT_EXT4 ext4_layout_quiesce
#define LAYOUT_CALL noinline

#include "renamed.h"

MODULE_DESCRIPTION("daxtests fault: none, a correct layout break in functions of other names");
