/*
 * Threads of harts, and the host's CPUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/sysinfo.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "threads.h"

bool aia_needs_two_cpus(void)
{
    if (get_nprocs() < 2) {
        g_test_skip("this host has but one CPU");
        return false;
    }
    return true;
}

void aia_test_check_two_cpus(const void *opaque)
{
    if (aia_needs_two_cpus()) {
        aia_test_check(opaque);
    }
}

void aia_hart_threads(QTestState *qts, const AIACase *c, int *thread)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-cpus-fast'}");
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *hart = qobject_to(QDict, qlist_entry_obj(entry));
        int64_t index = qdict_get_int(hart, "cpu-index");

        g_assert_cmpint(index, <, c->harts);
        thread[index] = qdict_get_int(hart, "thread-id");
    }
    qobject_unref(rsp);
}

uint64_t aia_thread_cpus(int thread)
{
    uint64_t cpus[16] = { };

    g_assert_cmpint(sched_getaffinity(thread, sizeof(cpus),
                                      (cpu_set_t *)cpus), ==, 0);
    return cpus[0];
}

void aia_bind_thread(int thread, uint64_t cpus)
{
    g_assert_cmpint(sched_setaffinity(thread, sizeof(cpus),
                                      (cpu_set_t *)&cpus), ==, 0);
}

void aia_bind_harts(QTestState *qts, const AIACase *c, uint64_t cpus)
{
    int thread[AIA_MAX_HARTS];

    aia_hart_threads(qts, c, thread);
    for (unsigned i = 0; i < c->harts; i++) {
        aia_bind_thread(thread[i], cpus);
    }
}

static const AIACase taker = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = AIA_MANY_FILES + 1,
};

QTestState *aia_take_files(void)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    uint64_t magic = AIA_REPORT + offsetof(TickReport, magic);
    QTestState *qts = aia_start(&taker, taker.from, "-S");

    aia_bind_harts(qts, &taker, CPU_1);
    aia_cont(qts);
    while (qtest_readq(qts, magic) != TICK_MAGIC) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
    }
    aia_stop(qts);
    return qts;
}
