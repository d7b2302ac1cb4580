/*
 * What the tests of the guest's memory have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_PAGES_H
#define RISCV_AIA_PAGES_H

#include "framework.h"

/* Which kernels have which faults: docs/kernel-facts.md */
bool aia_is_linux_6(void);

/* What follows @key in a @file of a QEMU's directory in /proc, in bytes */
uint64_t aia_proc_bytes(QTestState *qts, const char *file, const char *key);

/* Begins a migration that loses what it sends. */
void aia_send_to_nobody(QTestState *qts);
/* Likewise, and it will not come to its end. */
void aia_send_slowly(QTestState *qts);

/* What QEMU tells of the faults; free it with g_free(). */
char *aia_query_faults(QTestState *qts);

#endif
