/*
 * Guests that reset themselves or switch themselves off as the machine stops
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  The library of fault-preload.c holds its
 * request until QEMU kicks the vCPU, which is when it stops the machine.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "watched.h"

static const AIACase tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2, .options = "-action shutdown=pause",
};

/**
 * Leaving - how the guest leaves
 * @event: of QMP, by which it is seen
 */
typedef struct Leaving {
    const char *name;
    uint64_t how;
    const char *event;
} Leaving;

static const Leaving leavings[] = {
    { "reset", TICK_RESET, "RESET" },
    { "power-off", TICK_POWER_OFF, "SHUTDOWN" },
    { "device-reset", TICK_DEVICE_RESET, "RESET" },
    { "device-power-off", TICK_DEVICE_POWER_OFF, "SHUTDOWN" },
};

/* Whether the event has come that the guest has asked for */
static bool has_left(QTestState *qts, const Leaving *l)
{
    QDict *event;
    bool by_guest;

    qtest_qmp_assert_success(qts, "{'execute': 'query-status'}");
    event = qtest_qmp_event_ref(qts, l->event);
    if (!event) {
        return false;
    }
    by_guest = qdict_get_bool(qdict_get_qdict(event, "data"), "guest");
    qobject_unref(event);
    return by_guest;
}

/* It has been reset and has started anew, or is off. */
static void check_leaves(QTestState *qts, const Leaving *l)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    while (!has_left(qts, l)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    if (l->how == TICK_RESET || l->how == TICK_DEVICE_RESET) {
        aia_tick_wait(qts, &tick, 5);
    } else {
        aia_wait_for_status(qts, "shutdown");
    }
}

static void start(AIAWatched *w)
{
    aia_watched_prepare(w);
    aia_watched_start(w, &tick, tick.from, "");
    aia_tick_wait(w->qts, &tick, 1);
}

static void tell_to_leave(AIAWatched *w, const Leaving *l)
{
    qtest_writeq(w->qts, AIA_REPORT + offsetof(TickReport, leave), l->how);
}

/* Comes back when the guest has asked for it, and nobody knows. */
static void leave(AIAWatched *w, const Leaving *l)
{
    w->fault->holds = true;
    tell_to_leave(w, l);
    aia_watched_wait_count(&w->fault->held);
    w->fault->holds = false;
}

/* While nobody stops the machine */
static void test_alone(const void *opaque)
{
    const Leaving *l = opaque;
    AIAWatched w;

    start(&w);
    tell_to_leave(&w, l);
    check_leaves(w.qts, l);
    aia_watched_quit(&w);
}

/* Sends the guest, which leaves at the switchover, as far as to there. */
static void begin(AIAWatched *from, AIAWatched *to, const AIAFiles *f,
                  const Leaving *l, bool pauses)
{
    static const char *const ends[] = { "completed", "failed", NULL };

    memset(to, 0, sizeof(*to));
    aia_watched_start(to, &tick, tick.to, "-S -incoming defer");
    migrate_set_capability(to->qts, "return-path", true);
    aia_incoming(to->qts, f->socket);
    migrate_set_capability(from->qts, "return-path", true);
    migrate_set_capability(from->qts, "pause-before-switchover", pauses);
    migrate_set_parameter_int(from->qts, "max-bandwidth", 100000);
    migrate_set_parameter_int(from->qts, "downtime-limit", 1);
    migrate_qmp(from->qts, NULL, f->socket, NULL, "{}");
    wait_for_migration_status(from->qts, "active", (const char **)ends);
    leave(from, l);
    migrate_ensure_converge(from->qts);
    if (pauses) {
        wait_for_migration_status(from->qts, "pre-switchover",
                                  (const char **)ends);
    }
}

/* The destination does what the guest has asked for, the source does not. */
static void test_migrate(const Leaving *l, bool pauses)
{
    AIAWatched from, to;
    AIAFiles f;

    aia_files_init(&f);
    start(&from);
    begin(&from, &to, &f, l, pauses);
    if (pauses) {
        migrate_continue(from.qts, "pre-switchover");
    }
    wait_for_migration_complete(from.qts);
    wait_for_migration_complete(to.qts);
    g_assert_false(has_left(from.qts, l));
    aia_wait_for_status(from.qts, "postmigrate");
    g_assert_false(has_left(to.qts, l));
    qtest_qmp_assert_success(to.qts, "{'execute': 'cont'}");
    check_leaves(to.qts, l);
    aia_watched_quit(&from);
    aia_watched_quit(&to);
    aia_files_free(&f);
}

static void test_live(const void *opaque)
{
    test_migrate(opaque, false);
}

static void test_pause(const void *opaque)
{
    test_migrate(opaque, true);
}

/* It stays, and leaves where it is. */
static void test_cancel(const void *opaque)
{
    const Leaving *l = opaque;
    AIAWatched from, to;
    AIAFiles f;

    aia_files_init(&f);
    start(&from);
    begin(&from, &to, &f, l, true);
    g_assert_false(has_left(from.qts, l));
    migrate_cancel(from.qts);
    check_leaves(from.qts, l);
    aia_watched_wait_end(&to);
    aia_watched_quit(&to);
    aia_watched_quit(&from);
    aia_files_free(&f);
}

static void test_stop(const void *opaque)
{
    const Leaving *l = opaque;
    AIAWatched w;

    start(&w);
    leave(&w, l);
    aia_stop(w.qts);
    g_assert_false(has_left(w.qts, l));
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    check_leaves(w.qts, l);
    aia_watched_quit(&w);
}

/* After the snapshot, and each time that it is loaded. */
static void test_snapshot(const void *opaque)
{
    const Leaving *l = opaque;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start(&w);
    aia_disk_add(w.qts, f.disk);
    leave(&w, l);
    g_free(qtest_hmp(w.qts, "savevm snap"));
    check_leaves(w.qts, l);
    for (int i = 0; i < 2; i++) {
        g_autofree char *said = NULL;

        /* From where a machine may go on that was off. */
        qtest_qmp_assert_success(w.qts, "{'execute': 'stop'}");
        qtest_system_reset(w.qts);
        said = qtest_hmp(w.qts, "loadvm snap");
        g_assert_cmpstr(said, ==, "");
        qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
        check_leaves(w.qts, l);
    }
    aia_disk_remove(w.qts);
    aia_watched_quit(&w);
    aia_files_free(&f);
}

/* No guest can have asked for what the stream says. */
static void test_damaged(void)
{
    static const char name[] = "cpu/kvm-riscv/system-event";
    const Leaving *l = &leavings[0];
    g_autofree char *stream = NULL, *words = NULL;
    AIAWatched w, to;
    AIAFiles f;
    gsize len;
    char *p;

    aia_files_init(&f);
    start(&w);
    leave(&w, l);
    aia_stop(w.qts);
    aia_save(w.qts, f.uri_a);
    aia_watched_quit(&w);

    g_assert_true(g_file_get_contents(f.a, &stream, &len, NULL));
    p = memmem(stream, len, name, strlen(name));
    g_assert_nonnull(p);
    /* After a version */
    g_assert_cmpuint(ldl_be_p(p + strlen(name) + 4), ==, 2);
    stl_be_p(p + strlen(name) + 4, 3);
    g_assert_true(g_file_set_contents(f.a, stream, len, NULL));

    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, &tick, tick.to, "-S -incoming defer");
    aia_incoming(to.qts, f.uri_a);
    aia_watched_wait_end(&to);
    words = aia_watched_words(&to);
    g_assert_nonnull(strstr(words, "system event 3 of hart 0"));
    aia_watched_quit(&to);
    aia_files_free(&f);
}

/*
 * The operator resets the machine while a save has harts enter the guest, the
 * first of whom waits a while: its memory has been saved before that.
 */
static void test_reset_in_save(void)
{
    static const char *const ends[] = { "completed", NULL };
    AIAWatched w;
    AIAFiles f;
    QDict *info;

    aia_files_init(&f);
    start(&w);
    aia_stop(w.qts);
    w.fault->guest_only = true;
    w.fault->delay_ms = 3000;
    w.fault->runs = 0;
    w.fault->watches = true;
    migrate_qmp(w.qts, NULL, f.uri_a, NULL, "{}");
    aia_watched_wait_count(&w.fault->runs);
    w.fault->watches = false;
    qtest_system_reset(w.qts);
    wait_for_migration_status(w.qts, "failed", (const char **)ends);
    info = migrate_query(w.qts);
    g_assert_nonnull(strstr(qdict_get_str(info, "error-desc"),
                            "The machine was reset while it was being saved"));
    qobject_unref(info);
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    aia_tick_wait(w.qts, &tick, 5);
    aia_watched_quit(&w);
    aia_files_free(&f);
}

void aia_add_system_event_tests(void)
{
    static const struct {
        const char *name;
        void (*run)(const void *);
    } moments[] = {
        { "alone", test_alone },
        { "live", test_live },
        { "pause", test_pause },
        { "cancel", test_cancel },
        { "stop", test_stop },
        { "snapshot", test_snapshot },
    };

    for (int m = 0; m < ARRAY_SIZE(moments); m++) {
        for (int i = 0; i < ARRAY_SIZE(leavings); i++) {
            g_autofree char *path = g_strdup_printf(
                "riscv-aia/system-event/%s/%s", moments[m].name,
                leavings[i].name);

            qtest_add_data_func(path, &leavings[i], moments[m].run);
        }
    }
    qtest_add_func("riscv-aia/system-event/damaged", test_damaged);
    qtest_add_func("riscv-aia/system-event/reset-in-save", test_reset_in_save);
}
