// SPDX-License-Identifier: GPL-2.0
/*
 * Fault "renamed-inlined": no bug. The break waits as it should, all of it in
 * one function with a name that no released kernel has.
 */
#define FAULT_XFS xfs_layout_nap
#define FAULT_EXT4 ext4_layout_nap
#define LAYOUT_CALL __always_inline

#include "renamed.h"

MODULE_DESCRIPTION("daxtests fault: none, a correct layout break inlined in one function of another name");
