/*
 * Accesses to the kernel fail during a save or a load, each in turn
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  By default a sample of accesses and
 * errors, with "-m slow" all of them.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <linux/kvm.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "watched.h"

/*
 * Of asm/kvm.h for RISC-V; this file is built for other hosts as well, where
 * it would find another one.
 */
#define GROUP(subject)  ((subject) >> 32)
#define GROUP_APLIC     3
#define GROUP_IMSIC     4
#define REG_TYPE(id)    ((id) >> 24 & 0xff)
#define REG_TYPE_TIMER  4

/* One access that a save or a load makes, the @nth of its kind */
typedef struct Access {
    uint64_t request;
    uint64_t subject;
    unsigned nth;
} Access;

static const int errors[] = { EFAULT, ENODEV, EINTR, EBUSY, ENOMEM };

#define REG_MODE   0x8030000002000020ULL
#define REG_ZICBOM 0x803000000700000bULL

static const AIACase tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2, .options = "-m 16M",
};

static bool is_attr(const Access *a)
{
    return a->request == KVM_GET_DEVICE_ATTR ||
           a->request == KVM_SET_DEVICE_ATTR;
}

static bool same_group(const Access *a, const Access *b)
{
    return a->request == b->request &&
           (!is_attr(a) || GROUP(a->subject) == GROUP(b->subject));
}

/* What belongs to save and load; QEMU aborts where the timer's fail. */
static bool may_fail(const Access *a)
{
    switch (a->request) {
    case KVM_GET_ONE_REG:
    case KVM_SET_ONE_REG:
        return REG_TYPE(a->subject) != REG_TYPE_TIMER;
    case KVM_GET_DEVICE_ATTR:
    case KVM_SET_DEVICE_ATTR:
    case KVM_GET_MP_STATE:
    case KVM_SET_MP_STATE:
    case KVM_IRQ_LINE:
    case KVM_RUN:
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_SIGNAL_MSI:
        return true;
    default:
        return false;
    }
}

static void log_accesses(AIAWatched *w)
{
    aia_watched_arm(w, FAULT_ANY, 0, 0, 0, 0, 0);
}

/*
 * What has been logged, from the first attribute or entry into the guest on:
 * before, a save reads the registers that QEMU itself carries, and is not good
 * at it if that fails (docs/qemu-facts.md).
 */
static GArray *logged_accesses(AIAWatched *w)
{
    GArray *list = g_array_new(false, false, sizeof(Access));
    unsigned calls = w->fault->calls;

    aia_watched_disarm(w);
    g_assert_cmpuint(calls, <, FAULT_LOG);
    for (unsigned i = 0; i < calls; i++) {
        Access a = {
            w->fault->call[i].request, w->fault->call[i].subject, 1
        };

        for (unsigned j = 0; j < i; j++) {
            a.nth += w->fault->call[j].request == a.request &&
                     w->fault->call[j].subject == a.subject;
        }
        if ((list->len || is_attr(&a) ||
             a.request == KVM_SET_USER_MEMORY_REGION) && may_fail(&a)) {
            g_array_append_val(list, a);
        }
    }
    return list;
}

/* Up to @num of each group, evenly spread; with two or more also the last. */
static GArray *sample(const GArray *all, unsigned num)
{
    GArray *list = g_array_new(false, false, sizeof(Access));

    for (unsigned i = 0; i < all->len; i++) {
        const Access *a = &g_array_index(all, Access, i);
        unsigned before = 0, after = 0;

        for (unsigned j = 0; j < all->len; j++) {
            if (same_group(a, &g_array_index(all, Access, j))) {
                before += j < i;
                after += j > i;
            }
        }
        if (!before || (num > 1 && (!after ||
                        before * (num - 1) / (before + after) >
                        (before - 1) * (num - 1) / (before + after)))) {
            g_array_append_val(list, *a);
        }
    }
    return list;
}

static void arm(AIAWatched *w, const Access *a, int error)
{
    aia_watched_arm(w, a->request, UINT64_MAX, a->subject, a->nth, 1, error);
}

/*
 * The second KVM_RUN of an entry is there to be interrupted, with the store
 * completed; a kernel that did not do that would be none to go on with.
 */
static bool completes_store(const Access *a)
{
    return a->request == KVM_RUN && a->nth % 2 == 0;
}

/* The attributes are tried again; of nothing else the kernel says EINTR. */
static bool succeeds(const Access *a, int error)
{
    return error == EINTR && (is_attr(a) || a->request == KVM_RUN);
}

/* What has failed must be told: which access, of which hart, how. */
static void check_words(const char *words, const Access *a, int error)
{
    uint32_t attr = a->subject;
    g_autofree char *what = NULL;

    switch (a->request) {
    case KVM_GET_DEVICE_ATTR:
    case KVM_SET_DEVICE_ATTR:
        if (GROUP(a->subject) == GROUP_APLIC) {
            what = g_strdup_printf("APLIC register 0x%04x", attr);
        } else if (GROUP(a->subject) == GROUP_IMSIC) {
            what = g_strdup_printf("IMSIC register 0x%02x of hart %u",
                                   attr & 0xfff, attr >> 12);
        }
        break;
    case KVM_GET_ONE_REG:
        what = g_strdup_printf("KVM register 0x%016" PRIx64, a->subject);
        break;
    case KVM_GET_MP_STATE:
    case KVM_SET_MP_STATE:
        what = g_strdup("MP state of hart");
        break;
    case KVM_IRQ_LINE:
        what = g_strdup("APLIC source");
        break;
    case KVM_SET_USER_MEMORY_REGION:
        what = g_strdup("memory slot");
        break;
    case KVM_RUN:
        /* Its number is told. */
        g_assert_nonnull(strstr(words, "KVM_RUN: -"));
        return;
    }
    if ((what && !strstr(words, what)) || !strstr(words, g_strerror(error))) {
        g_test_message("%s is not told: %s", what, words);
        g_test_fail();
    }
}

static void tell(const Access *a, int error)
{
    g_test_message("ioctl 0x%" PRIx64 ", %u., subject 0x%" PRIx64 ": %s",
                   a->request, a->nth, a->subject, g_strerror(error));
}

/* Waits for the end of a migration; returns whether it succeeded. */
static bool migrated(QTestState *qts)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool completed = false, failed = false;

    while (!completed && !failed) {
        QDict *info = migrate_query(qts);
        const char *status = qdict_get_str(info, "status");

        completed = g_str_equal(status, "completed");
        failed = g_str_equal(status, "failed") ||
                 g_str_equal(status, "cancelled");
        if (g_str_equal(status, "failed")) {
            g_assert_cmpstr(qdict_get_str(info, "error-desc"), !=, "");
        }
        qobject_unref(info);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    return completed;
}

/* After a migration that failed the guest goes on by itself. */
static void wait_until_running(AIAWatched *w)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool running = false, stopped = false;

    while (!running) {
        QDict *info = qtest_qmp_assert_success_ref(
            w->qts, "{'execute': 'query-status'}");

        running = qdict_get_bool(info, "running");
        stopped = g_str_equal(qdict_get_str(info, "status"), "internal-error");
        qobject_unref(info);
        if (stopped || g_get_monotonic_time() > end) {
            g_autofree char *words = aia_watched_words(w);

            g_test_message("it does not run: %s", words);
            g_assert_not_reached();
        }
        g_usleep(1000);
    }
}

static void go_on(AIAWatched *w)
{
    wait_until_running(w);
    aia_tick_wait(w->qts, &tick, 1);
}

/*
 * The devices alone, which is over in no time.  It is there for Xen, but
 * there is nothing of Xen in it.
 */
static bool save_devices(QTestState *qts, const char *file)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'xen-save-devices-state', "
                           "'arguments': {'filename': %s, 'live': false}}",
                           file);
    bool ok = !qdict_haskey(rsp, "error");

    qobject_unref(rsp);
    return ok;
}

/*
 * @ok is whether save or load succeeded.  Whether a hart is stopped, a save
 * asks for to spare it an entry into the guest, and can do without knowing.
 */
static void check_failure(AIAWatched *w, const Access *a, int error, bool ok)
{
    g_autofree char *words = aia_watched_words(w);

    aia_watched_disarm(w);
    g_assert_cmpuint(w->fault->failed, ==, 1);
    if (a->request != KVM_GET_MP_STATE) {
        g_assert_true(ok == succeeds(a, error));
    }
    if (!ok) {
        check_words(words, a, error);
    }
}

/* One access of a save fails: so does the save, and the guest goes on. */
static void try_live_save(AIAWatched *w, const AIAFiles *f, const Access *a,
                          int error)
{
    bool ok;

    tell(a, error);
    arm(w, a, error);
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
    tell(a, error);
    arm(w, a, error);
    check_failure(w, a, error, save_devices(w->qts, f->a));
    g_assert_true(save_devices(w->qts, f->a));
    aia_compare_streams(&tick, f->b, f->a);
}

static void start_source(AIAWatched *w)
{
    aia_watched_prepare(w);
    aia_watched_start(w, &tick, tick.from, "");
    aia_tick_wait(w->qts, &tick, 1);
}

static void start_destination(AIAWatched *w)
{
    aia_watched_prepare(w);
    aia_watched_start(w, &tick, tick.to, "-S -incoming defer");
    migrate_set_capability(w->qts, "return-path", true);
}

/* Without a fault it works, and nothing is lost. */
static void move_to_the_end(AIAWatched *from, const AIAFiles *f)
{
    AIAWatched to;

    start_destination(&to);
    migrate_set_capability(from->qts, "return-path", true);
    migrate_incoming_qmp(to.qts, f->socket, NULL, "{}");
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    g_assert_true(migrated(from->qts));
    aia_watched_quit(from);
    qtest_qmp_assert_success(to.qts, "{'execute': 'cont'}");
    aia_tick_wait(to.qts, &tick, 5);
    aia_watched_quit(&to);
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
    g_assert_true(save_devices(w.qts, f.b));
    log_accesses(&w);
    g_assert_true(save_devices(w.qts, f.b));
    all = logged_accesses(&w);
    some = sample(all, g_test_slow() ? all->len : 5);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);

        for (unsigned e = 0; e < (g_test_slow() ? ARRAY_SIZE(errors) : 1);
             e++) {
            try_save(&w, &f, a, errors[(i + e) % ARRAY_SIZE(errors)]);
        }
    }
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    few = sample(all, 1);
    for (unsigned i = 0; i < few->len; i++) {
        try_live_save(&w, &f, &g_array_index(few, Access, i),
                      errors[i % ARRAY_SIZE(errors)]);
    }
    move_to_the_end(&w, &f);
    aia_files_free(&f);
}

static void pin_harts(QTestState *qts, int cpu)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-cpus-fast'}");
    QListEntry *entry;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *hart = qobject_to(QDict, qlist_entry_obj(entry));

        g_assert_cmpint(sched_setaffinity(qdict_get_int(hart, "thread-id"),
                                          sizeof(set), &set), ==, 0);
    }
    qobject_unref(rsp);
}

/* Takes the guest interrupt files of CPU 1, and keeps them though it stands. */
static QTestState *take_files(void)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    uint64_t magic = AIA_REPORT + offsetof(TickReport, magic);
    AIACase c = tick;
    QTestState *qts;

    c.harts = AIA_MANY_FILES + 1;
    qts = aia_start(&c, c.from, "-S");
    pin_harts(qts, 1);
    aia_cont(qts);
    while (qtest_readq(qts, magic) != TICK_MAGIC) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
    }
    aia_stop(qts);
    return qts;
}

/*
 * Has the harts of a guest run on CPU 1, in software files, and leaves it
 * stopped on CPU 0.
 */
static void move_into_software(AIAWatched *w)
{
    pin_harts(w->qts, 1);
    qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    go_on(w);
    qtest_qmp_assert_success(w->qts, "{'execute': 'stop'}");
    pin_harts(w->qts, 0);
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

    if (get_nprocs() < 2) {
        g_test_skip("needs a second CPU");
        return;
    }
    aia_files_init(&f);
    other = take_files();
    aia_watched_prepare(&w);
    aia_watched_start(&w, &tick, tick.from, "-S");
    pin_harts(w.qts, 0);
    aia_cont(w.qts);
    go_on(&w);

    /* The first one also finds out which performance counters there are. */
    g_assert_true(save_devices(w.qts, f.b));
    move_into_software(&w);
    log_accesses(&w);
    g_assert_true(save_devices(w.qts, f.b));
    all = logged_accesses(&w);
    for (unsigned i = 0; i < all->len; i++) {
        enters |= g_array_index(all, Access, i).request == KVM_RUN;
    }
    g_assert_true(enters);
    some = sample(all, g_test_slow() ? all->len : 4);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);
        int error = errors[i % ARRAY_SIZE(errors)];

        if (is_attr(a) && !g_test_slow()) {
            continue;
        }
        tell(a, error);
        move_into_software(&w);
        arm(&w, a, error);
        check_failure(&w, a, error, save_devices(w.qts, f.a));
        /* The next one must not suffer. */
        g_assert_true(save_devices(w.qts, f.a));
    }
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    aia_watched_quit(&w);
    qtest_quit(other);
    aia_files_free(&f);
}

/* One access of a load fails, while the guest is moved live. */
static void try_load(AIAWatched *from, const AIAFiles *f, const Access *a,
                     int error)
{
    AIAWatched to;
    bool ok;

    tell(a, error);
    start_destination(&to);
    migrate_incoming_qmp(to.qts, f->socket, NULL, "{}");
    arm(&to, a, error);
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
    aia_tick_wait(from->qts, &tick, 1);
}

/* What a load accesses, seen at one whose outcome is not used. */
static GArray *accesses_of_load(AIAWatched *from, const AIAFiles *f)
{
    AIAWatched to;
    GArray *all;

    start_destination(&to);
    migrate_incoming_qmp(to.qts, f->socket, NULL, "{}");
    log_accesses(&to);
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    g_assert_true(migrated(from->qts));
    all = logged_accesses(&to);
    aia_watched_quit(&to);
    qtest_qmp_assert_success(from->qts, "{'execute': 'cont'}");
    return all;
}

static void test_load(void)
{
    g_autoptr(GArray) all = NULL;
    g_autoptr(GArray) some = NULL;
    AIAWatched from;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&from);
    migrate_set_capability(from.qts, "return-path", true);
    all = accesses_of_load(&from, &f);
    some = sample(all, g_test_slow() ? 10 : 1);
    for (unsigned i = 0; i < some->len; i++) {
        const Access *a = &g_array_index(some, Access, i);
        int error = errors[i % ARRAY_SIZE(errors)];

        if (!(completes_store(a) && error == EINTR)) {
            try_load(&from, &f, a, error);
        }
    }
    move_to_the_end(&from, &f);
    aia_files_free(&f);
}

/*
 * Whatever happens, at random, the guest goes on
 */

static void random_access(const GArray *all, AIAWatched *w)
{
    unsigned i = g_test_rand_int_range(0, all->len);
    int error = errors[g_test_rand_int_range(0, ARRAY_SIZE(errors))];

    tell(&g_array_index(all, Access, i), error);
    arm(w, &g_array_index(all, Access, i), error);
}

static void random_save(AIAWatched *w, const AIAFiles *f, const GArray *all)
{
    random_access(all, w);
    migrate_qmp(w->qts, NULL, f->uri_a, NULL, "{}");
    if (migrated(w->qts)) {
        qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    }
    aia_watched_disarm(w);
}

/* To a destination that has a fault, or is killed or given up at some time. */
static void random_load(AIAWatched *w, const AIAFiles *f, const GArray *all)
{
    unsigned what = g_test_rand_int_range(0, 3);
    unsigned polls = g_test_rand_int_range(0, 100);
    AIAWatched to;

    start_destination(&to);
    migrate_incoming_qmp(to.qts, f->socket, NULL, "{}");
    if (what == 0) {
        random_access(all, &to);
    }
    migrate_qmp(w->qts, NULL, f->socket, NULL, "{}");
    if (what) {
        g_test_message("%s after %u looks", what == 1 ? "killed" : "cancelled",
                       polls);
        while (polls--) {
            g_free(migrate_query_status(w->qts));
        }
    }
    if (what == 2) {
        migrate_cancel(w->qts);
    }
    if (what) {
        aia_watched_kill(&to);
    }
    if (migrated(w->qts)) {
        qtest_qmp_assert_success(w->qts, "{'execute': 'cont'}");
    }
    if (what == 0) {
        if (!aia_watched_loaded(&to)) {
            g_assert_cmpuint(to.fault->failed, ==, 1);
        }
        aia_watched_quit(&to);
    }
}

static void test_random(void)
{
    unsigned num = g_test_slow() ? 200 : 4;
    g_autoptr(GArray) save = NULL;
    g_autoptr(GArray) load = NULL;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&w);
    migrate_set_capability(w.qts, "return-path", true);
    load = accesses_of_load(&w, &f);
    go_on(&w);
    aia_stop(w.qts);
    log_accesses(&w);
    g_assert_true(save_devices(w.qts, f.b));
    save = logged_accesses(&w);
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");

    for (unsigned i = 0; i < num; i++) {
        if (g_test_rand_bit()) {
            migrate_set_capability(w.qts, "return-path", false);
            random_save(&w, &f, save);
            migrate_set_capability(w.qts, "return-path", true);
        } else {
            random_load(&w, &f, load);
        }
        go_on(&w);
    }
    move_to_the_end(&w, &f);
    aia_files_free(&f);
}

/*
 * A kernel that lacks the attributes, or does not tell all of a vCPU
 */

/**
 * Blocker - a call that fails when QEMU starts, for which migration is blocked
 * @options: further ones of QEMU
 * @nth, @times: as of FaultControl
 * @words: of the reason
 */
typedef struct Blocker {
    const char *options;
    uint64_t request;
    uint64_t mask;
    uint64_t match;
    uint32_t nth;
    uint32_t times;
    int error;
    const char *words;
} Blocker;

static void check_blocked(const Blocker *b)
{
    g_autofree char *info = NULL, *savevm = NULL;
    g_autoptr(GString) json = NULL;
    AIAWatched w;
    QDict *rsp;
    QList *reasons;
    AIAFiles f;

    g_test_message("%s: %s", b->words, g_strerror(b->error));
    aia_files_init(&f);
    aia_watched_prepare(&w);
    aia_watched_arm(&w, b->request, b->mask, b->match, b->nth, b->times,
                    b->error);
    aia_watched_start(&w, &tick, tick.from, b->options ?: "");
    g_assert_cmpuint(w.fault->failed, >, 0);

    rsp = migrate_query(w.qts);
    reasons = qdict_get_qlist(rsp, "blocked-reasons");
    g_assert_nonnull(reasons);
    json = qobject_to_json(QOBJECT(reasons));
    g_assert_nonnull(strstr(json->str, b->words));
    qobject_unref(rsp);
    info = qtest_hmp(w.qts, "info migrate");
    g_assert_nonnull(strstr(info, b->words));

    migrate_qmp_fail(w.qts, f.uri_a, NULL, "{}");
    savevm = qtest_hmp(w.qts, "savevm snap");
    g_assert_nonnull(strstr(savevm, b->words));
    aia_tick_wait(w.qts, &tick, 2);
    aia_watched_quit(&w);
    aia_files_free(&f);
}

static void test_blockers(void)
{
    static const int answers[] = { ENODEV, EINVAL, EOPNOTSUPP };

    static const Blocker vcpus[] = {
        {
            /* QEMU itself asks twice before, for each hart. */
            .request = KVM_GET_REG_LIST, .nth = 3, .times = 1,
            .error = EINVAL, .words = "does not list the registers",
        }, {
            .request = KVM_GET_ONE_REG, .mask = UINT64_MAX, .match = REG_MODE,
            .nth = 1, .times = 1, .error = EIO, .words = "cannot be read",
        }, {
            /* The first hart keeps what the others lose. */
            .options = "-cpu host,zicbom=off", .request = KVM_SET_ONE_REG,
            .mask = UINT64_MAX, .match = REG_ZICBOM, .nth = 1, .times = 1,
            .error = EINVAL, .words = "The harts of the guest differ",
        },
    };

    for (int i = 0; i < ARRAY_SIZE(answers); i++) {
        Blocker attr = {
            .request = KVM_HAS_DEVICE_ATTR, .mask = UINT64_MAX << 32,
            .nth = 1, .times = FAULT_LOG, .error = answers[i],
        };

        if (g_test_slow() || i != 1) {
            attr.match = (uint64_t)GROUP_APLIC << 32;
            attr.words = "APLIC";
            check_blocked(&attr);
        }
        if (g_test_slow() || i == 1) {
            attr.match = (uint64_t)GROUP_IMSIC << 32;
            attr.words = "IMSIC";
            check_blocked(&attr);
        }
    }
    for (int i = 0; i < ARRAY_SIZE(vcpus); i++) {
        check_blocked(&vcpus[i]);
    }
}

/*
 * Memory
 */

/* Bytes that malloc() has given out at the first access of a save */
static uint64_t heap(AIAWatched *w, const AIAFiles *f)
{
    aia_watched_arm(w, KVM_GET_DEVICE_ATTR, 0, 0, 1, 1, 0);
    g_assert_true(save_devices(w->qts, f->a));
    g_assert_cmpuint(w->fault->failed, ==, 1);
    return w->fault->heap;
}

/*
 * What @rounds of them may leave behind, if each leaves @each of its own: some
 * buffer grows once in a while.  Our lists of registers have some hundred
 * bytes for each hart.
 */
static void check_heap(const char *what, const uint64_t *heap, unsigned rounds,
                       unsigned each)
{
    uint64_t first = heap[rounds / 4], last = heap[rounds - 1];

    g_test_message("%s: %" PRIu64 ", then %" PRIu64 " bytes", what, first,
                   last);
    g_assert_cmpuint(last, <, first + 16000 + (rounds - rounds / 4) * each);
}

/*
 * savevm leaks as much as 33 KB each time, none of it ours, and loadvm some
 * 350 bytes (docs/qemu-facts.md); so one is saved and loaded often, and saves
 * are done by other means.
 */
static void test_memory(void)
{
    unsigned rounds = g_test_slow() ? 200 : 12;
    g_autofree uint64_t *bytes = g_new(uint64_t, rounds);
    g_autofree char *saved = NULL;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&w);
    aia_stop(w.qts);
    for (unsigned i = 0; i < rounds; i++) {
        bytes[i] = heap(&w, &f);
    }
    check_heap("saves", bytes, rounds, 0);

    aia_disk_add(w.qts, f.disk);
    saved = qtest_hmp(w.qts, "savevm snap");
    g_assert_cmpstr(saved, ==, "");
    for (unsigned i = 0; i < rounds; i++) {
        g_autofree char *said = qtest_hmp(w.qts, "loadvm snap");

        g_assert_cmpstr(said, ==, "");
        bytes[i] = heap(&w, &f);
        /* pflash would crash with the second load else. */
        qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
        qtest_qmp_assert_success(w.qts, "{'execute': 'stop'}");
    }
    check_heap("loads", bytes, rounds, 400);
    aia_disk_remove(w.qts);
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    aia_watched_quit(&w);
    aia_files_free(&f);
}

void aia_add_fault_tests(void)
{
    qtest_add_func("riscv-aia/faults/save", test_save);
    qtest_add_func("riscv-aia/faults/save-enters", test_save_enters);
    qtest_add_func("riscv-aia/faults/load", test_load);
    qtest_add_func("riscv-aia/faults/random", test_random);
    qtest_add_func("riscv-aia/faults/blockers", test_blockers);
    qtest_add_func("riscv-aia/faults/memory", test_memory);
}
