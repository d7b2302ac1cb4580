/*
 * Migration of a guest with more harts than guest interrupt files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Meant for a host with one file per CPU.  Harts there are in software files
 * with identities in upper halves, which kernels up to 7.2 can neither read
 * nor write where they are.  (A live migration within such a host is refused:
 * the source has all files.)
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "threads.h"

/* One hart has a CPU for itself, the others share another one. */
static void give_file_to(QTestState *qts, const AIACase *c, unsigned hart)
{
    int thread[AIA_MAX_HARTS];

    aia_hart_threads(qts, c, thread);
    for (unsigned i = 0; i < c->harts; i++) {
        aia_bind_thread(thread[i], i == hart ? CPU_1 : CPU_0);
    }
}

static void prepare(QTestState *qts, const AIACase *c)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    for (unsigned hart = 0; hart < c->harts; hart++) {
        uint64_t told = AIA_REPORT + offsetof(CheckReport, told);

        give_file_to(qts, c, hart);
        while (!(qtest_readq(qts, told) & BIT(hart))) {
            g_assert_cmpint(g_get_monotonic_time(), <, end);
            g_usleep(5000);
        }
    }
}

static void add(const AIAMove *move)
{
    AIACase c = {
        .move = move, .guest = "imsic_few", .from = "auto", .to = "auto",
        .irqchip = "on", .harts = 4, .prepare = prepare,
    };
    g_autofree char *path = g_strdup_printf("riscv-aia/few-files/%s",
                                            move->name);

    aia_add(path, &c, aia_test_check_two_cpus);
}

void aia_add_few_files_tests(void)
{
    add(&aia_move_file);
    add(&aia_move_snapshot);
}
