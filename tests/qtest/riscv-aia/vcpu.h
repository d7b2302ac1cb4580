/*
 * What the tests of vCPUs share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_VCPU_H
#define RISCV_AIA_VCPU_H

#include "framework.h"

/**
 * VCPUMove - a way to move with something to do before and after
 * @inner: the way itself, which run_inner() takes
 */
typedef struct VCPUMove {
    AIAMove move;
    const AIAMove *inner;
} VCPUMove;

QTestState *run_inner(QTestState *from, const AIACase *c);

static inline int64_t deadline(void)
{
    return g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
}

static inline void wait_a_little(int64_t end)
{
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    g_usleep(5000);
}

/* The options of vcpu_pmu */
#define VCPU_PMU "-cpu host,migratable=on"

/* Cases of a guest that need more than aia_test_check() */
void test_regs(const void *opaque);
void test_vector(const void *opaque);
void test_counters(const void *opaque);

/* The other side of test_counters() */
void counters_away(const void *opaque);

/* What is done around a move; NULL if the guest has ended on another host. */
QTestState *move_vector(QTestState *from, const AIACase *c);
QTestState *move_timed(QTestState *from, const AIACase *c);
QTestState *move_counters(QTestState *from, const AIACase *c);

/* In a file of their own: a vCPU that is kept from running, or changes CPUs */
QTestState *move_starting(QTestState *from, const AIACase *c);
extern const AIAMove aia_move_reset_starting;
void test_moved(const void *opaque);
void test_moved_confined(const void *opaque);

#endif
