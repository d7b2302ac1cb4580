/*
 * KVM of Linux 6.12 does not wake a hart whose thread changes CPUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Shows lost-wakeup of docs/kernel-facts.md, for which operators have to pin
 * threads: the case fails when the kernel has been mended.
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "threads.h"

/* A hart that takes no interrupt for so long stands. */
#define STANDS_S 5

static const AIACase sleeper = {
    .guest = "wakeup", .from = "auto", .irqchip = "on", .harts = 2,
};

static uint64_t read_report(QTestState *qts, size_t offset)
{
    return qtest_readq(qts, AIA_REPORT + offset);
}

static uint64_t taken(QTestState *qts)
{
    return read_report(qts, offsetof(CheckReport, told));
}

/* Has @thread change CPUs until its hart stands; whether it does. */
static bool stands(QTestState *qts, int thread)
{
    int64_t now = g_get_monotonic_time();
    int64_t end = now + AIA_WAIT_S * G_USEC_PER_SEC, since = now;
    uint64_t last = taken(qts);

    for (unsigned i = 0; now < end; i++, now = g_get_monotonic_time()) {
        uint64_t next = taken(qts);

        if (next != last) {
            last = next;
            since = now;
            aia_bind_thread(thread, i & 1 ? CPU_1 : CPU_0);
        } else if (now > since + STANDS_S * G_USEC_PER_SEC) {
            g_test_message("stands after %" PRIu64 " interrupts", last);
            return true;
        }
    }
    return false;
}

static void test_lost_wakeup(void)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    g_autofree char *registers = NULL;
    int thread[AIA_MAX_HARTS];
    QTestState *qts;
    uint64_t before;

    if (aia_harts_may_move()) {
        g_test_skip("KVM of this kernel finds the file of a hart");
        return;
    }
    qts = aia_start(&sleeper, sleeper.from, "");
    aia_hart_threads(qts, &sleeper, thread);
    aia_bind_thread(thread[0], CPU_0);
    while (!read_report(qts, offsetof(CheckReport, stage))) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    qtest_writeq(qts, AIA_REPORT + offsetof(CheckReport, go), 1);
    g_assert_true(stands(qts, thread[1]));

    before = taken(qts);
    registers = qtest_hmp(qts, "info registers -a");
    end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    while (taken(qts) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    qtest_quit(qts);
}

void aia_add_lost_wakeup_tests(void)
{
    if (g_test_slow()) {
        qtest_add_func("riscv-aia/lost-wakeup", test_lost_wakeup);
    }
}
