/*
 * Saves and loads that need guest interrupt files for harts in software files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tick.c or imsic.c of tests/guests in auto mode, with more harts
 * than there are files where they run: some are in software files then, with
 * identities in upper halves, which kernels up to 7.2 can only read and enable
 * in a hardware file.
 */

#include "qemu/osdep.h"
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "threads.h"
#include "watched.h"

#define SAVES 5

/* Ten times that may be spent on files, which an emulated host needs. */
#define PATIENT " -global migration.x-downtime-limit=3000"

#define CONFINED " -sandbox on,obsolete=deny,elevateprivileges=deny," \
                 "spawn=deny,resourcecontrol=deny"

static const AIACase few = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2,
};

static const AIACase many = {
    .move = &aia_move_file,
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2 * AIA_MANY_FILES + 2,
    .options = PATIENT,
};

/* Returns whether it succeeded. */
static bool save(AIAWatched *w, const char *uri)
{
    QTestState *qts = w->qts;
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool completed = false, failed = false;

    migrate_qmp(qts, NULL, uri, NULL, "{}");
    while (!completed && !failed) {
        QDict *info = migrate_query(qts);

        completed = g_str_equal(qdict_get_str(info, "status"), "completed");
        failed = g_str_equal(qdict_get_str(info, "status"), "failed");
        qobject_unref(info);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    return completed;
}

/*
 * Has the harts of a guest, which have enabled identities in upper halves, run
 * on CPU 1, where they get no file, and stop there.
 */
static void move_into_software(AIAWatched *w)
{
    aia_bind_harts(w->qts, &few, CPU_1);
    aia_cont(w->qts);
    aia_tick_wait(w->qts, &few, 5);
    aia_stop(w->qts);
    w->fault->runs = 0;
}

static void start_few(AIAWatched *w, const char *more)
{
    g_autofree char *options = g_strdup_printf("-S" PATIENT "%s", more);

    aia_watched_prepare(w);
    aia_watched_start(w, &few, few.from, options);
    aia_bind_harts(w->qts, &few, CPU_0);
    aia_tick_boot(w->qts, &few);
    aia_stop(w->qts);
    w->fault->watches = true;
    move_into_software(w);
}

/*
 * Whoever calls KVM_RUN does so where he may: harts' own threads on CPU 1,
 * others on @cpus.
 */
static void check_runs(AIAWatched *w, uint64_t cpus)
{
    int thread[AIA_MAX_HARTS];
    unsigned runs = w->fault->runs;

    aia_hart_threads(w->qts, &few, thread);
    g_assert_cmpuint(runs, >, 0);
    g_assert_cmpuint(runs, <=, FAULT_RUNS);
    for (unsigned i = 0; i < runs; i++) {
        const FaultRun *run = &w->fault->run[i];
        uint64_t may = cpus;

        for (unsigned hart = 0; hart < few.harts; hart++) {
            if (run->thread == thread[hart]) {
                may = CPU_1;
            }
        }
        if (!(may & 1ULL << run->cpu)) {
            g_test_message("run %u of %u: thread %d is on CPU %d, where it "
                           "must not be", i, runs, run->thread, run->cpu);
            g_test_fail();
        }
    }
}

static void check_cpus(AIAWatched *w, unsigned hart, uint64_t cpus)
{
    int thread[AIA_MAX_HARTS];

    aia_hart_threads(w->qts, &few, thread);
    g_assert_cmphex(aia_thread_cpus(thread[hart]), ==, cpus);
}

/*
 * A second save in a row, of the devices alone, holds the same: the first has
 * left the harts with files.
 */
static void check_saves(AIAWatched *w)
{
    AIAFiles f;

    aia_files_init(&f);
    if (!save(w, f.uri_a)) {
        g_autofree char *words = aia_watched_words(w);

        g_test_message("not saved: %s", words);
        g_assert_not_reached();
    }
    aia_save_devices(w->qts, f.b);
    aia_compare_streams(&few, f.a, f.b);
    aia_files_free(&f);
}

static void end_few(AIAWatched *w)
{
    aia_bind_harts(w->qts, &few, CPU_1);
    aia_cont(w->qts);
    aia_tick_wait(w->qts, &few, 5);
    aia_watched_quit(w);
}

/* Beside another guest that has taken the files of CPU 1 */
static void with_few(const char *more, void (*check)(AIAWatched *w))
{
    QTestState *other;
    AIAWatched w;

    if (!aia_needs_two_cpus()) {
        return;
    }
    other = aia_take_files();
    start_few(&w, more);
    check(&w);
    end_few(&w);
    qtest_quit(other);
}

/*
 * The threads of harts stay where they are bound to, which an operator may
 * change meanwhile.
 */
static void check_while_bound(AIAWatched *w)
{
    int thread[AIA_MAX_HARTS];

    check_saves(w);
    check_runs(w, CPU_0 | CPU_1);
    for (unsigned hart = 0; hart < few.harts; hart++) {
        check_cpus(w, hart, CPU_1);
    }

    move_into_software(w);
    aia_hart_threads(w->qts, &few, thread);
    w->fault->bound_to = CPU_0 | CPU_1;
    w->fault->bound = thread[0];
    check_saves(w);
    g_assert_cmpint(w->fault->bound, ==, 0);
    check_cpus(w, 0, CPU_0 | CPU_1);
    check_cpus(w, 1, CPU_1);
}

static void test_bound(void)
{
    with_few("", check_while_bound);
}

/*
 * As libvirt starts QEMU, which may not choose CPUs then.  The rest of QEMU is
 * bound to CPU 0, which has files left.
 */
static void check_while_forbidden(AIAWatched *w)
{
    aia_bind_thread(qtest_pid(w->qts), CPU_0);
    check_saves(w);
    check_runs(w, CPU_0);
    for (unsigned hart = 0; hart < few.harts; hart++) {
        check_cpus(w, hart, CPU_1);
    }
}

static void test_forbidden(void)
{
    with_few(CONFINED, check_while_forbidden);
}

/* Asserts that a save is refused, and says so. */
static void check_refused(AIAWatched *w, const char *why)
{
    g_autofree char *words = NULL;
    AIAFiles f;

    aia_files_init(&f);
    g_assert_false(save(w, f.uri_a));
    words = aia_watched_words(w);
    if (!g_regex_match_simple(why, words, 0, 0)) {
        g_test_message("not refused for %s: %s", why, words);
        g_test_fail();
    }
    aia_files_free(&f);
}

/* All of QEMU is bound to CPU 1: there is no file for it, also not on CPU 0. */
static void check_while_refused(AIAWatched *w)
{
    aia_bind_thread(qtest_pid(w->qts), CPU_1);
    check_refused(w, "cannot be read: harts 0, 1 get no .* on CPU 1 of");
    check_runs(w, CPU_1);
}

static void test_refused(void)
{
    with_few("", check_while_refused);
}

/* What takes too long is given up. */
static void check_while_late(AIAWatched *w)
{
    migrate_set_parameter_int(w->qts, "downtime-limit", 50);
    w->fault->delay_ms = 600;
    w->fault->delays_stopped = true;
    check_refused(w, "cannot be read: harts? .*1 gets? no .* 500 ms");
    w->fault->delay_ms = 0;
    migrate_set_parameter_int(w->qts, "downtime-limit", 10000);
    check_saves(w);
}

static void test_late(void)
{
    with_few("", check_while_late);
}

/* What all devices, and what ours of them, have taken of a save, in us */
static double share_of_files(const char *words)
{
    static const char event[] = "vmstate_downtime_save type=non-iterable "
                                "idstr=";
    int64_t all = 0, ours = 0;

    while ((words = strstr(words, event))) {
        const char *took = strstr(words, "downtime=");

        g_assert_nonnull(took);
        words += strlen(event);
        all += g_ascii_strtoll(took + strlen("downtime="), NULL, 10);
        if (g_str_has_prefix(words, "riscv_imsic_kvm") ||
            g_str_has_prefix(words, "riscv_aplic_kvm")) {
            ours += g_ascii_strtoll(took + strlen("downtime="), NULL, 10);
        }
    }
    g_assert_cmpint(all, >, 0);
    g_test_message("APLIC and IMSIC: %" PRId64 " of %" PRId64 " us", ours, all);
    return (double)ours / all;
}

static int compare_shares(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : 1;
}

/*
 * Each CPU is tried once; a first hart gives up its file, which can take as
 * many; then each that gets it gives it up for the next one.
 */
static void check_tries(const char *words)
{
    const char *event = strstr(words, "kvm_riscv_guest_file_lend ");
    const char *asked = strstr(words, "kvm_riscv_pmu_ask ");
    unsigned harts, tries, us, asked_us;

    g_assert_nonnull(event);
    g_assert_nonnull(asked);
    g_assert_cmpint(sscanf(event, "kvm_riscv_guest_file_lend harts:%u, "
                           "tries:%u, us:%u", &harts, &tries, &us), ==, 3);
    g_assert_cmpint(sscanf(asked, "kvm_riscv_pmu_ask us:%u", &asked_us), ==, 1);
    g_test_message("%u harts without a file, %u tries, %u us; SBI PMU: %u us",
                   harts, tries, us, asked_us);
    g_assert_cmpuint(harts, ==, many.harts - 2 * AIA_MANY_FILES);
    g_assert_cmpuint(tries, <=, 2 + 2 + 2 * harts - 1);
    g_assert_null(strstr(event + 1, "kvm_riscv_guest_file_lend "));
}

/*
 * More harts than the host has files: those without take turns.  Half of them
 * is on each CPU, since they must not move.
 */
static void test_many(void)
{
    int thread[AIA_MAX_HARTS];
    double share[SAVES];
    QTestState *to;
    AIAWatched w;
    AIAFiles f;

    if (!aia_needs_two_cpus()) {
        return;
    }
    aia_files_init(&f);
    memset(&w, 0, sizeof(w));
    aia_watched_start(&w, &many, many.from, "-S"
                      " -trace vmstate_downtime_save -trace 'kvm_riscv_*'");
    aia_hart_threads(w.qts, &many, thread);
    for (unsigned i = 0; i < many.harts; i++) {
        aia_bind_thread(thread[i], i % 2 ? CPU_1 : CPU_0);
    }
    /* Harts that start without a file cannot enable identities 32-63. */
    qtest_writeq(w.qts, AIA_REPORT + offsetof(TickReport, no_upper), 1);
    aia_cont(w.qts);
    aia_tick_wait(w.qts, &many, 1);
    for (int i = 0; i < SAVES; i++) {
        g_autofree char *before = aia_watched_words(&w);
        g_autofree char *words = NULL;

        g_assert_true(save(&w, f.uri_a));
        words = aia_watched_words(&w);
        share[i] = share_of_files(words);
        check_tries(words);
        qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
        aia_tick_wait(w.qts, &many, 1);
    }
    /* On a busy host it says little. */
    qsort(share, SAVES, sizeof(share[0]), compare_shares);
    g_test_message("share: %.3f, from %.3f to %.3f", share[SAVES / 2],
                   share[0], share[SAVES - 1]);

    to = aia_move_file.run(w.qts, &many);
    aia_tick_wait(to, &many, 1);
    qtest_quit(to);
    unlink(w.words_file);
    aia_files_free(&f);
}

/* Loads with the harts on @cpus, where @lent_to are lent files, if any. */
static void load_few(const AIAFiles *f, uint64_t cpus, const char *lent_to)
{
    static const char event[] = "kvm_riscv_guest_file_lend ";
    g_autofree char *words = NULL;
    const char *lent;
    AIAWatched to;

    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, &few, few.to, "-S -incoming defer" PATIENT
                      " -trace kvm_riscv_guest_file_lend");
    aia_bind_harts(to.qts, &few, cpus);
    aia_incoming(to.qts, f->uri_a);
    wait_for_migration_complete(to.qts);
    words = aia_watched_words(&to);
    lent = strstr(words, event);
    if (lent_to) {
        g_assert_nonnull(lent);
        g_assert_true(g_str_has_prefix(lent + strlen(event), lent_to));
        g_assert_null(strstr(lent + 1, event));
    } else {
        g_assert_null(lent);
    }
    aia_cont(to.qts);
    aia_tick_wait(to.qts, &few, 5);
    aia_watched_quit(&to);
}

/*
 * Harts of a destination get files before it loads where there are any; else
 * the load lends some to all of them together.
 */
static void test_load(void)
{
    QTestState *other;
    AIAWatched from;
    AIAFiles f;

    if (!aia_needs_two_cpus()) {
        return;
    }
    aia_files_init(&f);
    memset(&from, 0, sizeof(from));
    aia_watched_start(&from, &few, few.from, "-S" PATIENT);
    aia_tick_boot(from.qts, &few);
    aia_stop(from.qts);
    g_assert_true(save(&from, f.uri_a));
    aia_watched_quit(&from);

    load_few(&f, CPU_0, NULL);
    other = aia_take_files();
    load_few(&f, CPU_1, "harts:2, ");
    qtest_quit(other);
    aia_files_free(&f);
}

void aia_add_guest_file_tests(void)
{
    static const AIACase crowded = {
        .move = &aia_move_crowded, .guest = "imsic", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 4, .arg = { 3, 2 },
    };

    qtest_add_func("riscv-aia/guest-files/bound", test_bound);
    qtest_add_func("riscv-aia/guest-files/forbidden", test_forbidden);
    qtest_add_func("riscv-aia/guest-files/refused", test_refused);
    qtest_add_func("riscv-aia/guest-files/late", test_late);
    qtest_add_func("riscv-aia/guest-files/load", test_load);
    qtest_add_func("riscv-aia/guest-files/many", test_many);
    aia_add("riscv-aia/guest-files/crowded", &crowded,
            aia_test_check_two_cpus);
}
