/*
 * Accesses to the kernel fail during a save or a load, each in turn
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  By default a sample of accesses and
 * errors, with "-m slow" all of them.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "migration/migration-qmp.h"
#include "faults.h"
#include "threads.h"

/*
 * The second KVM_RUN of an entry is there to be interrupted, with the store
 * completed; a kernel that did not do that would be none to go on with.
 */
static bool leaves_store(const Access *a, int error)
{
    return a->request == KVM_RUN && a->nth % 2 == 0 && error == EINTR;
}

/* One access of a save fails: so does the save, and the guest goes on. */
static void try_live_save(AIAWatched *w, const AIAFiles *f, const Access *a,
                          int error)
{
    bool ok;

    tell_access(a, error);
    arm_access(w, a, error);
    migrate_qmp(w->qts, NULL, f->uri_a, NULL, "{}");
    ok = migrated(w->qts);
    check_failure(w, a, error, ok);
    if (ok) {
        qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    }
    go_on(w);
}

/* While it stands, all of its state must be the same before and after. */
static void try_save(AIAWatched *w, const AIAFiles *f, const Access *a,
                     int error)
{
    tell_access(a, error);
    arm_access(w, a, error);
    check_failure(w, a, error, save_devices(w, f->a));
    g_assert_true(save_devices(w, f->a));
    aia_compare_streams(&fault_tick, f->b, f->a);
}

/* Its harts are bound to the CPUs of the mask @cpus of the host, if any. */
static void start_destination(AIAWatched *w, uint64_t cpus)
{
    aia_watched_prepare(w);
    aia_watched_start(w, &fault_tick, fault_tick.to, "-S -incoming defer "
                      "-trace kvm_riscv_guest_file_lend");
    migrate_set_capability(w->qts, "return-path", true);
    if (cpus) {
        aia_bind_harts(w->qts, &fault_tick, cpus);
    }
}

/* Without a fault it works, and nothing is lost. */
static void move_to_the_end(AIAWatched *from, const AIAFiles *f)
{
    AIAWatched to;

    start_destination(&to, 0);
    migrate_set_capability(from->qts, "return-path", true);
    aia_incoming(to.qts, f->socket);
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    g_assert_true(migrated(from->qts));
    aia_watched_quit(from);
    qtest_qmp_assert_success(to.qts, "{'execute': 'cont'}");
    aia_tick_wait(to.qts, &fault_tick, 5);
    aia_watched_quit(&to);
}

/*
 * A migration leaves the pages of QEMU's entries to the guest.  They go when it
 * goes on, or it is told that they do not.
 */
static void keep_pages(AIAWatched *w, const AIAFiles *f)
{
    g_autofree char *words = NULL;

    migrate_qmp(w->qts, NULL, f->uri_a, NULL, "{}");
    g_assert_true(migrated(w->qts));
    w->fault->guest_only = true;
    aia_watched_arm(w, KVM_SET_USER_MEMORY_REGION, 0, 0, 1, 1, ENOMEM);
    qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    aia_watched_disarm(w);
    words = aia_watched_words(w);
    g_assert_nonnull(strstr(words, "the guest has pages of QEMU's from now"));
    go_on(w);
}

static void test_save(void)
{
    g_autoptr(GArray) all = NULL;
    g_autoptr(GArray) some = NULL;
    g_autoptr(GArray) few = NULL;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&w);

    aia_stop(w.qts);
    /* The first one also has QEMU read registers, which it has then. */
    g_assert_true(save_devices(&w, f.b));
    log_accesses(&w);
    g_assert_true(save_devices(&w, f.b));
    all = logged_accesses(&w);
    some = sample_accesses(all, g_test_slow() ? all->len : 5);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);

        for (unsigned e = 0; e < (g_test_slow() ? FAULT_ERRORS : 1);
             e++) {
            try_save(&w, &f, a, fault_errors[(i + e) % FAULT_ERRORS]);
        }
    }
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    few = sample_accesses(all, 1);
    for (unsigned i = 0; i < few->len; i++) {
        try_live_save(&w, &f, &g_array_index(few, Access, i),
                      fault_errors[i % FAULT_ERRORS]);
    }
    keep_pages(&w, &f);
    move_to_the_end(&w, &f);
    aia_files_free(&f);
}

/*
 * Has the harts of a guest run on CPU 1, in software files, and leaves it
 * stopped on CPU 0.
 */
static void move_into_software(AIAWatched *w)
{
    aia_bind_harts(w->qts, &fault_tick, CPU_1);
    qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    go_on(w);
    qtest_qmp_assert_success(w->qts, "{'execute': 'stop'}");
    aia_bind_harts(w->qts, &fault_tick, CPU_0);
}

/*
 * A save has KVM_RUN called for each hart to get a hardware file.  Whatever
 * fails then, the guest finds itself as it was.
 */
static void test_save_enters(void)
{
    g_autoptr(GArray) all = NULL;
    g_autoptr(GArray) some = NULL;
    bool enters = false;
    QTestState *other;
    AIAWatched w;
    AIAFiles f;

    if (!aia_needs_two_cpus()) {
        return;
    }
    aia_files_init(&f);
    other = aia_take_files();
    aia_watched_prepare(&w);
    aia_watched_start(&w, &fault_tick, fault_tick.from, "-S");
    aia_bind_harts(w.qts, &fault_tick, CPU_0);
    aia_cont(w.qts);
    go_on(&w);

    /* The first one also finds out which performance counters there are. */
    g_assert_true(save_devices(&w, f.b));
    move_into_software(&w);
    log_accesses(&w);
    g_assert_true(save_devices(&w, f.b));
    all = logged_accesses(&w);
    for (unsigned i = 0; i < all->len; i++) {
        enters |= g_array_index(all, Access, i).request == KVM_RUN;
    }
    g_assert_true(enters);
    some = sample_accesses(all, g_test_slow() ? all->len : 4);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);
        int error = fault_errors[i % FAULT_ERRORS];

        if (is_attr(a) && !g_test_slow()) {
            continue;
        }
        tell_access(a, error);
        move_into_software(&w);
        arm_access(&w, a, error);
        check_failure(&w, a, error, save_devices(&w, f.a));
        /* The next one must not suffer. */
        g_assert_true(save_devices(&w, f.a));
    }
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    aia_watched_quit(&w);
    qtest_quit(other);
    aia_files_free(&f);
}

/* One access of a load fails, while the guest is moved live. */
static void try_load(AIAWatched *from, const AIAFiles *f, uint64_t cpus,
                     const Access *a, int error)
{
    AIAWatched to;
    bool ok;

    tell_access(a, error);
    start_destination(&to, cpus);
    aia_incoming(to.qts, f->socket);
    arm_access(&to, a, error);
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    ok = aia_watched_loaded(&to);
    check_failure(&to, a, error, ok);
    g_assert_true(ok == migrated(from->qts));
    if (!ok) {
        aia_watched_quit(&to);
        go_on(from);
        return;
    }
    aia_watched_quit(from);
    *from = to;
    qtest_qmp_assert_success(from->qts, "{'execute': 'cont'}");
    aia_tick_wait(from->qts, &fault_tick, 1);
}

/*
 * What a load accesses, seen at one whose outcome is not used.  It has to lend
 * files where the harts are bound to @cpus.
 */
static GArray *accesses_of_load(AIAWatched *from, const AIAFiles *f,
                                uint64_t cpus)
{
    g_autofree char *words = NULL;
    AIAWatched to;
    GArray *all;

    start_destination(&to, cpus);
    aia_incoming(to.qts, f->socket);
    log_accesses(&to);
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    g_assert_true(migrated(from->qts));
    all = logged_accesses(&to);
    words = aia_watched_words(&to);
    g_assert_true(!cpus == !strstr(words, "kvm_riscv_guest_file_lend "));
    aia_watched_quit(&to);
    qtest_qmp_assert_success(from->qts, "{'execute': 'cont'}");
    return all;
}

/* As accesses_of_load() */
static void load(uint64_t cpus)
{
    g_autoptr(GArray) all = NULL;
    g_autoptr(GArray) some = NULL;
    QTestState *other = NULL;
    AIAWatched from;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&from);
    if (cpus) {
        /* A guest that begins in software has no upper identities. */
        aia_bind_harts(from.qts, &fault_tick, CPU_0);
        other = aia_take_files();
    }
    migrate_set_capability(from.qts, "return-path", true);
    all = accesses_of_load(&from, &f, cpus);
    some = sample_accesses(all, g_test_slow() ? 10 : 1);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);
        int error = fault_errors[i % FAULT_ERRORS];

        if (!leaves_store(a, error)) {
            try_load(&from, &f, cpus, a, error);
        }
    }
    move_to_the_end(&from, &f);
    g_clear_pointer(&other, qtest_quit);
    aia_files_free(&f);
}

static void test_load(void)
{
    load(0);
}

/* The destination's harts are bound to a CPU that has no file left. */
static void test_load_lends(void)
{
    if (!aia_needs_two_cpus()) {
        return;
    }
    load(CPU_1);
}

/*
 * Whatever happens, at random, the guest goes on
 */

static void random_access(const GArray *all, Access *a, int *error)
{
    do {
        *a = g_array_index(all, Access, g_test_rand_int_range(0, all->len));
        *error = fault_errors[g_test_rand_int_range(0, FAULT_ERRORS)];
    } while (leaves_store(a, *error));
}

/* To a destination that is killed or given up at some time. */
static void lose_destination(AIAWatched *w, const AIAFiles *f, bool cancel)
{
    unsigned polls = g_test_rand_int_range(0, 100);
    AIAWatched to;

    g_test_message("%s after %u looks", cancel ? "cancelled" : "killed", polls);
    start_destination(&to, 0);
    aia_incoming(to.qts, f->socket);
    migrate_qmp(w->qts, NULL, f->socket, NULL, "{}");
    while (polls--) {
        g_free(migrate_query_status(w->qts));
    }
    if (cancel) {
        migrate_cancel(w->qts);
    }
    aia_watched_kill(&to);
    if (migrated(w->qts)) {
        qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    }
}

static void test_random(void)
{
    unsigned num = g_test_slow() ? 200 : 4;
    g_autoptr(GArray) save = NULL;
    g_autoptr(GArray) load = NULL;
    Access a;
    int error;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&w);
    migrate_set_capability(w.qts, "return-path", true);
    load = accesses_of_load(&w, &f, 0);
    go_on(&w);
    aia_stop(w.qts);
    /* The first one enters the guest, which a guest that runs does itself. */
    g_assert_true(save_devices(&w, f.b));
    log_accesses(&w);
    g_assert_true(save_devices(&w, f.b));
    save = logged_accesses(&w);
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);

    for (unsigned i = 0; i < num; i++) {
        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            migrate_set_capability(w.qts, "return-path", false);
            random_access(save, &a, &error);
            try_live_save(&w, &f, &a, error);
            migrate_set_capability(w.qts, "return-path", true);
            break;
        case 1:
            random_access(load, &a, &error);
            try_load(&w, &f, 0, &a, error);
            break;
        default:
            lose_destination(&w, &f, g_test_rand_bit());
            go_on(&w);
        }
    }
    move_to_the_end(&w, &f);
    aia_files_free(&f);
}

void aia_add_fault_tests(void)
{
    qtest_add_func("riscv-aia/faults/save", test_save);
    qtest_add_func("riscv-aia/faults/save-enters", test_save_enters);
    qtest_add_func("riscv-aia/faults/load", test_load);
    qtest_add_func("riscv-aia/faults/load-lends", test_load_lends);
    qtest_add_func("riscv-aia/faults/random", test_random);
    qtest_add_func("riscv-aia/faults/blockers", test_blockers);
    qtest_add_func("riscv-aia/faults/memory", test_memory);
}
