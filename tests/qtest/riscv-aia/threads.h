/*
 * Threads of harts, and the host's CPUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_THREADS_H
#define RISCV_AIA_THREADS_H

#include "framework.h"

/* Sets of CPUs */
#define CPU_0 1
#define CPU_1 2

/* Skips the test, and returns false, where the host has but one. */
bool aia_needs_two_cpus(void);

/* aia_test_check(), or skipped as above */
void aia_test_check_two_cpus(const void *opaque);

/* Of each hart, by its index */
void aia_hart_threads(QTestState *qts, const AIACase *c, int *thread);

uint64_t aia_thread_cpus(int thread);
void aia_bind_thread(int thread, uint64_t cpus);
void aia_bind_harts(QTestState *qts, const AIACase *c, uint64_t cpus);

/*
 * Starts a guest that takes the guest interrupt files of CPU 1, and keeps them
 * though it stands.
 */
QTestState *aia_take_files(void);

#endif
