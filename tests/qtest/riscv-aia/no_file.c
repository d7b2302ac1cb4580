/*
 * More harts on a CPU than it has guest interrupt files, in hwaccel mode
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  Two of them share a CPU: the first has
 * files for all its harts, the second for all but one.
 */

#include "qemu/osdep.h"
#include <sys/sysinfo.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "threads.h"
#include "watched.h"

static const AIACase first = {
    .guest = "tick", .from = "hwaccel", .to = "hwaccel", .irqchip = "on",
    .harts = 2,
};

/* One hart too many */
static const AIACase second = {
    .guest = "tick", .from = "hwaccel", .to = "hwaccel", .irqchip = "on",
    .harts = AIA_MANY_FILES - 1,
};

/* Waits until QEMU says so of the guest, which is to be once. */
static void wait_for_word(AIAWatched *w)
{
    QDict *event = qtest_qmp_eventwait_ref(w->qts, "RISCV_GUEST_FILE_WAIT");
    QDict *data = qdict_get_qdict(event, "data");
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    g_autofree char *words = NULL;

    g_assert_cmpint(qdict_get_int(data, "cpu-index"), <, second.harts);
    g_assert_cmpint(qdict_get_int(data, "host-cpu"), ==, 0);
    qobject_unref(event);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_assert_true(aia_is_running(w->qts));
        g_usleep(5000);
        g_free(words);
        words = aia_watched_words(w);
    } while (!strstr(words, "waits until CPU"));
}

/* What has begun before the end of a wait is not told again. */
static void check_no_word(AIAWatched *w)
{
    g_autofree char *words = aia_watched_words(w);

    g_assert_null(strstr(words, "waits until CPU"));
}

static void start(AIAWatched *a, AIAWatched *b)
{
    memset(a, 0, sizeof(*a));
    aia_watched_start(a, &first, first.from, "-S");
    aia_bind_harts(a->qts, &first, CPU_0);
    aia_tick_boot(a->qts, &first);
    memset(b, 0, sizeof(*b));
    aia_watched_start(b, &second, second.from, "-S");
    aia_bind_harts(b->qts, &second, CPU_0);
    aia_cont(b->qts);
    wait_for_word(b);
    /* It stops and goes on as any other, and the first one has no harm. */
    for (int i = 0; i < 3; i++) {
        aia_stop(b->qts);
        aia_cont(b->qts);
    }
    aia_tick_wait(a->qts, &first, 5);
    g_assert_true(aia_is_running(b->qts));
    check_no_word(b);
    check_no_word(a);
}

/* Goes on by itself when the first guest is gone. */
static void test_freed(void)
{
    AIAWatched a, b;

    start(&a, &b);
    aia_watched_quit(&a);
    aia_tick_wait(b.qts, &second, 5);
    aia_watched_quit(&b);
}

/* Goes on by itself when it may run on another CPU. */
static void test_other_cpu(void)
{
    AIAWatched a, b;

    if (get_nprocs() < 2 || !aia_harts_may_move()) {
        g_test_skip("harts have but one CPU to run on");
        return;
    }
    start(&a, &b);
    aia_bind_harts(b.qts, &second, CPU_0 | CPU_1);
    aia_tick_wait(b.qts, &second, 5);
    aia_tick_wait(a.qts, &first, 5);
    aia_watched_quit(&a);
    aia_watched_quit(&b);
}

/* Moves meanwhile, to where there are files. */
static void test_migrate(void)
{
    AIAWatched a, b, to;
    AIAFiles f;

    if (get_nprocs() < 2) {
        g_test_skip("this host has but one CPU");
        return;
    }
    aia_files_init(&f);
    start(&a, &b);
    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, &second, second.to, "-S -incoming defer");
    aia_bind_harts(to.qts, &second, CPU_1);
    aia_incoming(to.qts, f.socket);
    migrate_qmp(b.qts, NULL, f.socket, NULL, "{}");
    wait_for_migration_complete(b.qts);
    wait_for_migration_complete(to.qts);
    aia_watched_quit(&b);
    qtest_qmp_assert_success(to.qts, "{'execute': 'cont'}");
    aia_tick_wait(to.qts, &second, 5);
    aia_tick_wait(a.qts, &first, 5);
    aia_watched_quit(&a);
    aia_watched_quit(&to);
    aia_files_free(&f);
}

void aia_add_no_file_tests(void)
{
    qtest_add_func("riscv-aia/no-file/freed", test_freed);
    qtest_add_func("riscv-aia/no-file/other-cpu", test_other_cpu);
    qtest_add_func("riscv-aia/no-file/migrate", test_migrate);
}
