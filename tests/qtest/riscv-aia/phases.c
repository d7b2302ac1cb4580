/*
 * Migrations that end before their time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c.  One guest lives through all of a test:
 * whatever becomes of a migration, it goes on at exactly one place, and has
 * lost nothing.  Destinations are started with -S, as libvirt does it.
 */

#include "qemu/osdep.h"
#include <sys/mount.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "link.h"
#include "stream.h"
#include "watched.h"

static const AIACase tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2, .options = "-m 16M",
};

/**
 * Phase - of a migration, in which it is held
 * @status: of the source in it
 * @pauses: it pauses before the switchover to be told to go on
 * @there, @back: which way the link is held up
 */
typedef struct Phase {
    const char *name;
    const char *status;
    bool pauses;
    bool there;
    bool back;
} Phase;

static const Phase phases[] = {
    { "setup", "setup" },
    { "active", "active" },
    { "before switchover", "pre-switchover", true },
    /* All has been sent, not all has arrived. */
    { "device", "device", true, .there = true },
    /* The destination is done and has said so, the source does not know. */
    { "loaded", "device", true, .back = true },
};

typedef struct Scene {
    AIAWatched from;
    AIAWatched to;
    bool has_to;
    AIAFiles f;
    char *link_uri;
    AIALink *link;
    AIADeadEnd dead_end;
} Scene;

/* Whatever other status a migration has meanwhile, unless it cannot get on. */
static void wait_for_status(QTestState *qts, const char *status)
{
    static const char *const ends[] = {
        "completed", "failed", "cancelled", NULL
    };
    const char *others[ARRAY_SIZE(ends)] = { NULL };

    for (int i = 0, n = 0; ends[i]; i++) {
        if (!g_str_equal(ends[i], status)) {
            others[n++] = ends[i];
        }
    }
    wait_for_migration_status(qts, status, others);
}

/* While it stands still, nothing in it has happened since. */
static void check_stands(QTestState *qts)
{
    g_assert_false(aia_is_running(qts));
}

static void start_scene(Scene *s)
{
    memset(s, 0, sizeof(*s));
    aia_files_init(&s->f);
    s->link_uri = g_strdup_printf("%s-link", s->f.socket);
    aia_watched_start(&s->from, &tick, tick.from, "");
    migrate_set_capability(s->from.qts, "return-path", true);
    aia_tick_wait(s->from.qts, &tick, 1);
}

static void start_destination(Scene *s, const char *more)
{
    g_autofree char *options = g_strdup_printf("%s -incoming defer", more);

    memset(&s->to, 0, sizeof(s->to));
    aia_watched_start(&s->to, &tick, tick.to, options);
    s->has_to = true;
    migrate_set_capability(s->to.qts, "return-path", true);
    s->link = aia_link_new(s->link_uri, s->f.socket);
}

static void end_link(Scene *s)
{
    aia_link_free(s->link);
    s->link = NULL;
    unlink(s->link_uri + strlen("unix:"));
}

static void end_scene(Scene *s)
{
    aia_watched_quit(&s->from);
    g_free(s->link_uri);
    aia_files_free(&s->f);
}

static void slow_down(QTestState *qts)
{
    migrate_set_parameter_int(qts, "max-bandwidth", 100000);
    migrate_set_parameter_int(qts, "downtime-limit", 1);
}

static void migrate(Scene *s)
{
    migrate_qmp(s->from.qts, NULL, s->link_uri, NULL, "{}");
}

/* Starts a migration and comes back when it is in that phase. */
static void begin(Scene *s, const Phase *phase)
{
    QTestState *from = s->from.qts;

    g_test_message("%s", phase->name);
    migrate_set_capability(from, "pause-before-switchover", phase->pauses);
    if (phase->pauses) {
        migrate_ensure_converge(from);
    } else {
        slow_down(from);
    }
    if (g_str_equal(phase->status, "setup")) {
        aia_dead_end_open(&s->dead_end, s->link_uri);
        migrate(s);
        wait_for_status(from, "setup");
        return;
    }
    start_destination(s, "-S");
    aia_incoming(s->to.qts, s->f.socket);
    migrate(s);
    if (phase->pauses) {
        wait_for_status(from, "pre-switchover");
        check_stands(from);
        if (phase->there || phase->back) {
            aia_link_hold(s->link, phase->there, phase->back);
            migrate_continue(from, "pre-switchover");
        }
    }
    wait_for_status(from, phase->status);
    if (phase->back) {
        wait_for_migration_complete(s->to.qts);
    }
}

/* It runs where it came from, and nowhere else; it has lost nothing. */
static void check_came_back(Scene *s)
{
    if (s->has_to) {
        end_link(s);
        s->has_to = false;
    }
    aia_wait_for_status(s->from.qts, "running");
    aia_tick_wait(s->from.qts, &tick, 1);
}

static void test_kill(void)
{
    Scene s;

    start_scene(&s);
    for (int i = 0; i < ARRAY_SIZE(phases); i++) {
        const Phase *phase = &phases[i];

        begin(&s, phase);
        if (s.has_to) {
            aia_watched_kill(&s.to);
            aia_link_cut(s.link);
        } else {
            aia_dead_end_close(&s.dead_end);
        }
        if (g_str_equal(phase->status, "pre-switchover")) {
            migrate_continue(s.from.qts, "pre-switchover");
        }
        wait_for_status(s.from.qts, "failed");
        check_came_back(&s);
    }
    end_scene(&s);
}

/*
 * What was cancelled may have failed: migration_cancel() shuts the return path
 * before it tells the migration why (docs/qemu-facts.md).
 */
static void wait_until_cancelled(QTestState *qts)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool over = false;

    while (!over) {
        g_autofree char *status = migrate_query_status(qts);

        g_assert_cmpstr(status, !=, "completed");
        over = g_str_equal(status, "cancelled") ||
               g_str_equal(status, "failed");
        if (g_get_monotonic_time() >= end) {
            g_error("not cancelled in time: %s", status);
        }
        g_usleep(1000);
    }
}

static void test_cancel(void)
{
    Scene s;

    start_scene(&s);
    for (int i = 0; i < ARRAY_SIZE(phases); i++) {
        const Phase *phase = &phases[i];

        begin(&s, phase);
        migrate_cancel(s.from.qts);
        wait_until_cancelled(s.from.qts);
        if (!s.has_to) {
            aia_dead_end_close(&s.dead_end);
        } else {
            aia_link_hold(s.link, false, false);
            /* It may have got all that it needs, but nobody has it go on. */
            if (aia_watched_loaded(&s.to)) {
                g_assert_true(phase->there || phase->back);
                check_stands(s.to.qts);
            }
            aia_watched_quit(&s.to);
        }
        check_came_back(&s);
    }
    end_scene(&s);
}

/* The link is cut while the guest runs, and heals. */
static void test_link(void)
{
    Scene s;

    start_scene(&s);
    begin(&s, &phases[1]);
    aia_link_cut(s.link);
    wait_for_status(s.from.qts, "failed");
    aia_watched_wait_end(&s.to);
    aia_watched_quit(&s.to);
    check_came_back(&s);

    start_destination(&s, "-S");
    aia_incoming(s.to.qts, s.f.socket);
    migrate_ensure_converge(s.from.qts);
    migrate(&s);
    wait_for_status(s.from.qts, "completed");
    check_stands(s.from.qts);
    qtest_qmp_assert_success(s.to.qts, "{'execute': 'cont'}");
    aia_tick_wait(s.to.qts, &tick, 5);
    aia_watched_quit(&s.to);
    end_link(&s);
    end_scene(&s);
}

static void test_second_migrate(void)
{
    Scene s;

    start_scene(&s);
    begin(&s, &phases[1]);
    migrate_qmp_fail(s.from.qts, s.f.uri_a, NULL, "{}");
    migrate_qmp_fail(s.from.qts, s.link_uri, NULL, "{}");
    migrate_qmp_fail(s.to.qts, s.f.uri_a, NULL, "{}");
    wait_for_status(s.from.qts, "active");
    migrate_ensure_converge(s.from.qts);
    wait_for_status(s.from.qts, "completed");
    check_stands(s.from.qts);
    qtest_qmp_assert_success(s.to.qts, "{'execute': 'cont'}");
    aia_tick_wait(s.to.qts, &tick, 5);
    aia_watched_quit(&s.to);
    end_link(&s);
    end_scene(&s);
}

static void fail_to_save(Scene *s, const char *uri, const char *error)
{
    QDict *info;

    migrate_qmp(s->from.qts, NULL, uri, NULL, "{}");
    wait_for_status(s->from.qts, "failed");
    info = migrate_query(s->from.qts);
    if (!strstr(qdict_get_str(info, "error-desc"), error)) {
        g_test_message("not \"%s\" but: %s", error,
                       qdict_get_str(info, "error-desc"));
        g_test_fail();
    }
    qobject_unref(info);
    check_came_back(s);
}

/* The disk is full at once, in the memory, and among the devices' state. */
static void test_disk_full(void)
{
    g_autofree char *dir = NULL, *uri = NULL, *file = NULL;
    AIAStream *stream;
    size_t sizes[2];
    Scene s;

    start_scene(&s);
    /* A file does not answer. */
    migrate_set_capability(s.from.qts, "return-path", false);
    fail_to_save(&s, "exec:cat >/dev/full", g_strerror(EPIPE));

    aia_stop(s.from.qts);
    migrate_qmp(s.from.qts, NULL, s.f.uri_a, NULL, "{}");
    wait_for_status(s.from.qts, "completed");
    aia_cont(s.from.qts);
    stream = aia_stream_read(s.f.a);
    sizes[0] = stream->sections[2].end / 2;
    sizes[1] = (stream->sections[2].end + stream->tail) / 2;
    aia_stream_free(stream);

    dir = g_dir_make_tmp("riscv-aia-XXXXXX", NULL);
    g_assert_nonnull(dir);
    file = g_build_filename(dir, "full", NULL);
    uri = g_strdup_printf("file:%s", file);
    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *size = g_strdup_printf("size=%zu", sizes[i]);

        if (mount("full", dir, "tmpfs", 0, size)) {
            g_test_message("no small file system for a user: %s",
                           g_strerror(errno));
            break;
        }
        fail_to_save(&s, uri, g_strerror(ENOSPC));
        unlink(file);
        g_assert_cmpint(umount(dir), ==, 0);
    }
    g_assert_cmpint(rmdir(dir), ==, 0);
    end_scene(&s);
}

/*
 * Postcopy: from the switchover on the guest is the destination's
 */

static void begin_postcopy(Scene *s)
{
    start_destination(s, "");
    migrate_set_capability(s->from.qts, "postcopy-ram", true);
    migrate_set_capability(s->to.qts, "postcopy-ram", true);
    /* Lest it is over too soon: the guest itself is small. */
    qtest_memset(s->from.qts, AIA_REPORT + 0x200000, 0x5a, 0x200000);
    slow_down(s->from.qts);
    migrate_set_parameter_int(s->from.qts, "max-postcopy-bandwidth", 50000);
    aia_incoming(s->to.qts, s->f.socket);
    migrate(s);
    wait_for_status(s->from.qts, "active");
    qtest_qmp_assert_success(s->from.qts,
                             "{'execute': 'migrate-start-postcopy'}");
    wait_for_status(s->from.qts, "postcopy-active");
    qtest_qmp_eventwait(s->to.qts, "RESUME");
}

/* Two new ends, and both sides are told of them. */
static void recover(Scene *s)
{
    wait_for_status(s->from.qts, "postcopy-paused");
    wait_for_status(s->to.qts, "postcopy-paused");
    check_stands(s->from.qts);
    end_link(s);
    unlink(s->f.socket + strlen("unix:"));
    s->link = aia_link_new(s->link_uri, s->f.socket);
    qtest_qmp_assert_success(s->to.qts, "{'execute': 'migrate-recover', "
                             "'arguments': {'uri': %s}}", s->f.socket);
    migrate_qmp(s->from.qts, NULL, s->link_uri, NULL, "{'resume': true}");
}

static void test_postcopy_recovery(void)
{
    QDict *rsp;
    Scene s;

    start_scene(&s);
    begin_postcopy(&s);
    rsp = qtest_qmp(s.from.qts, "{'execute': 'migrate_cancel'}");
    g_assert_true(qdict_haskey(rsp, "error"));
    qobject_unref(rsp);
    check_stands(s.from.qts);

    migrate_pause(s.from.qts);
    recover(&s);
    wait_for_status(s.from.qts, "postcopy-active");
    aia_link_cut(s.link);
    recover(&s);
    migrate_set_parameter_int(s.from.qts, "max-postcopy-bandwidth", 0);
    wait_for_status(s.from.qts, "completed");
    check_stands(s.from.qts);
    aia_tick_wait(s.to.qts, &tick, 5);
    aia_watched_quit(&s.to);
    end_link(&s);
    end_scene(&s);
}

/* With the destination the guest is gone; the source must not run its old. */
static void test_postcopy_kill(void)
{
    Scene s;

    start_scene(&s);
    begin_postcopy(&s);
    aia_watched_kill(&s.to);
    wait_for_status(s.from.qts, "postcopy-paused");
    check_stands(s.from.qts);
    end_link(&s);
    end_scene(&s);
}

void aia_add_phase_tests(void)
{
    qtest_add_func("riscv-aia/phases/kill", test_kill);
    qtest_add_func("riscv-aia/phases/cancel", test_cancel);
    qtest_add_func("riscv-aia/phases/link", test_link);
    qtest_add_func("riscv-aia/phases/second-migrate", test_second_migrate);
    qtest_add_func("riscv-aia/phases/disk-full", test_disk_full);
    qtest_add_func("riscv-aia/phases/postcopy-recovery",
                   test_postcopy_recovery);
    qtest_add_func("riscv-aia/phases/postcopy-kill", test_postcopy_kill);
}
