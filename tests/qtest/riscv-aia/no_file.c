/*
 * More harts on a CPU than it has guest interrupt files, in hwaccel mode
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  Two of them share a CPU, or all CPUs: the
 * first has files for all its harts, the second for all but some.
 */

#include "qemu/osdep.h"
#include <sys/sysinfo.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "threads.h"
#include "watched.h"

/* After a wait; more than OVER_MS of no-file.c */
#define OVER_S 11

static const AIACase first = {
    .guest = "tick", .from = "hwaccel", .to = "hwaccel", .irqchip = "on",
    .harts = 2,
};

/* One hart too many */
static const AIACase second = {
    .guest = "tick", .from = "hwaccel", .to = "hwaccel", .irqchip = "on",
    .harts = AIA_MANY_FILES - 1,
};

/* On all CPUs, and some harts too many */
static const AIACase crowd = {
    .guest = "tick", .from = "hwaccel", .to = "emul", .irqchip = "on",
    .harts = 2 * AIA_MANY_FILES + 1,
};

/* Waits until QEMU says so of the guest, which is to be once; of which hart? */
static int wait_for_word(AIAWatched *w, const AIACase *c, uint64_t cpus)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    QDict *event = NULL, *data;
    bool said = false;
    int hart;

    while (!event || !said) {
        g_autofree char *words = aia_watched_words(w);

        said |= strstr(words, "waits until CPU") != NULL;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_assert_true(aia_is_running(w->qts));
        g_usleep(5000);
        event = event ?: qtest_qmp_event_ref(w->qts, "RISCV_GUEST_FILE_WAIT");
    }
    data = qdict_get_qdict(event, "data");
    hart = qdict_get_int(data, "cpu-index");
    g_assert_cmpint(hart, <, c->harts);
    g_assert_true(cpus & 1ULL << qdict_get_int(data, "host-cpu"));
    qobject_unref(event);
    return hart;
}

/* What has begun before the end of a wait is not told again. */
static void check_no_word(AIAWatched *w)
{
    g_autofree char *words = aia_watched_words(w);

    g_assert_null(strstr(words, "waits until CPU"));
}

static void start_first(AIAWatched *a)
{
    memset(a, 0, sizeof(*a));
    aia_watched_start(a, &first, first.from, "-S");
    aia_bind_harts(a->qts, &first, CPU_0);
    aia_tick_boot(a->qts, &first);
}

/* Returns the hart of the second guest that waits. */
static int start(AIAWatched *a, AIAWatched *b)
{
    int hart;

    start_first(a);
    memset(b, 0, sizeof(*b));
    aia_watched_start(b, &second, second.from, "-S");
    aia_bind_harts(b->qts, &second, CPU_0);
    aia_cont(b->qts);
    hart = wait_for_word(b, &second, CPU_0);
    /* It stops and goes on as any other, and the first one has no harm. */
    for (int i = 0; i < 3; i++) {
        aia_stop(b->qts);
        aia_cont(b->qts);
    }
    aia_tick_wait(a->qts, &first, 5);
    g_assert_true(aia_is_running(b->qts));
    check_no_word(b);
    check_no_word(a);
    return hart;
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

/* A wait long after another of the same hart is told as the first was. */
static void test_again(void)
{
    int thread[AIA_MAX_HARTS];
    AIAWatched a, b;
    int64_t over;
    int hart;

    if (get_nprocs() < 2 || !aia_harts_may_move()) {
        g_test_skip("harts have but one CPU to run on");
        return;
    }
    hart = start(&a, &b);
    aia_watched_quit(&a);
    aia_tick_wait(b.qts, &second, 5);
    over = g_get_monotonic_time() + OVER_S * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < over) {
        aia_tick_wait(b.qts, &second, 5);
    }
    aia_bind_harts(b.qts, &second, CPU_1);
    aia_tick_wait(b.qts, &second, 5);
    start_first(&a);
    aia_hart_threads(b.qts, &second, thread);
    for (int i = 0; i < second.harts; i++) {
        aia_bind_thread(thread[i], i == hart ? CPU_1 : CPU_0);
    }
    aia_tick_wait(b.qts, &second, 5);
    check_no_word(&b);
    aia_bind_thread(thread[hart], CPU_0);
    g_assert_cmpint(wait_for_word(&b, &second, CPU_0), ==, hart);
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

/* Asserts that the guest moves; else tells why it does not. */
static void check_moves(AIAWatched *from, AIAWatched *to)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool completed = false;
    AIAFiles f;

    aia_files_init(&f);
    aia_incoming(to->qts, f.socket);
    migrate_qmp(from->qts, NULL, f.socket, NULL, "{}");
    while (!completed) {
        QDict *info = migrate_query(from->qts);
        const char *status = qdict_get_str(info, "status");

        if (g_str_equal(status, "failed")) {
            g_autofree char *source = aia_watched_words(from);
            g_autofree char *destination = aia_watched_words(to);

            g_test_message("%s; the source: %s; the destination: %s",
                           qdict_get_str(info, "error-desc"), source,
                           destination);
            g_assert_not_reached();
        }
        completed = g_str_equal(status, "completed");
        qobject_unref(info);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
    wait_for_migration_complete(to->qts);
    aia_files_free(&f);
}

/* Ends them all: the second guest where it has gone to, with the first one. */
static void move_second(AIAWatched *a, AIAWatched *b, AIAWatched *to,
                        const AIACase *c)
{
    check_moves(b, to);
    aia_watched_quit(b);
    qtest_qmp_assert_success(to->qts, "{'execute': 'cont'}");
    aia_tick_wait(to->qts, c, 5);
    aia_tick_wait(a->qts, &first, 5);
    aia_watched_quit(a);
    aia_watched_quit(to);
}

/* Moves meanwhile, to where there are files. */
static void test_migrate(void)
{
    AIAWatched a, b, to;

    if (!aia_needs_two_cpus()) {
        return;
    }
    start(&a, &b);
    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, &second, second.to, "-S -incoming defer");
    aia_bind_harts(to.qts, &second, CPU_1);
    move_second(&a, &b, &to, &second);
}

/*
 * Nobody is bound, so the kernel puts harts of either guest where no file is
 * left.  Where they must not move, half of them is on each CPU.
 */
static void spread(AIAWatched *w, const AIACase *c)
{
    int thread[AIA_MAX_HARTS];

    aia_hart_threads(w->qts, c, thread);
    for (unsigned i = 0; i < c->harts; i++) {
        aia_bind_thread(thread[i], aia_harts_may_move() ? CPU_0 | CPU_1 :
                        i % 2 ? CPU_1 : CPU_0);
    }
}

/* The second guest moves to where it needs no files. */
static void test_all_cpus(void)
{
    AIAWatched a, b, to;

    if (get_nprocs() != 2) {
        g_test_skip("this host has another number of CPUs than two");
        return;
    }
    memset(&a, 0, sizeof(a));
    aia_watched_start(&a, &first, first.from, "-S");
    spread(&a, &first);
    aia_tick_boot(a.qts, &first);
    memset(&b, 0, sizeof(b));
    aia_watched_start(&b, &crowd, crowd.from, "-S");
    spread(&b, &crowd);
    /* What a software file can hold by today's kernels */
    qtest_writeq(b.qts, AIA_REPORT + offsetof(TickReport, no_upper), 1);
    aia_cont(b.qts);
    wait_for_word(&b, &crowd, CPU_0 | CPU_1);
    aia_tick_wait(a.qts, &first, 5);
    g_assert_true(aia_is_running(b.qts));

    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, &crowd, crowd.to, "-S -incoming defer");
    spread(&to, &crowd);
    move_second(&a, &b, &to, &crowd);
}

void aia_add_no_file_tests(void)
{
    qtest_add_func("riscv-aia/no-file/freed", test_freed);
    qtest_add_func("riscv-aia/no-file/again", test_again);
    qtest_add_func("riscv-aia/no-file/other-cpu", test_other_cpu);
    qtest_add_func("riscv-aia/no-file/migrate", test_migrate);
    qtest_add_func("riscv-aia/no-file/all-cpus", test_all_cpus);
}
