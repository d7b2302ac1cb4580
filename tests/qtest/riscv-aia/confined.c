/*
 * Migration by an ordinary user, with QEMU's seccomp sandbox on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The user is in the group that /dev/kvm belongs to, owns nothing but what
 * these QEMUs make, and has no capability.
 */

#include "qemu/osdep.h"
#include <grp.h>
#include "migration/migration-qmp.h"
#include "watched.h"

#define USER 1000

static const AIACase tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2,
    .options = "-m 16M -sandbox on,obsolete=deny,elevateprivileges=deny,"
               "spawn=deny,resourcecontrol=deny",
};

/* Root is kept in reserve; a program that is started has no share in it. */
static void become_user(void)
{
    struct stat st;
    gid_t group;

    g_assert_cmpint(stat("/dev/kvm", &st), ==, 0);
    group = st.st_gid;
    g_assert_cmpint(setgroups(1, &group), ==, 0);
    g_assert_cmpint(setresgid(USER, USER, 0), ==, 0);
    g_assert_cmpint(setresuid(USER, USER, 0), ==, 0);
}

static void become_root(void)
{
    g_assert_cmpint(setresuid(0, 0, 0), ==, 0);
    g_assert_cmpint(setresgid(0, 0, 0), ==, 0);
    g_assert_cmpint(setgroups(0, NULL), ==, 0);
}

static void check_status(QTestState *qts, const char *line)
{
    g_autofree char *status = aia_proc_status(qts);

    if (!g_regex_match_simple(line, status, G_REGEX_MULTILINE, 0)) {
        g_test_message("no %s in %s", line, status);
        g_test_fail();
    }
}

static void check_confined(QTestState *qts)
{
    check_status(qts, "^Uid:\\t(?!0\\t)(\\d+)\\t\\1\\t\\1\\t\\1$");
    check_status(qts, "^Gid:\\t(?!0\\t)(\\d+)\\t\\1\\t\\1\\t\\1$");
    check_status(qts, "^CapPrm:\\t0+$");
    check_status(qts, "^CapEff:\\t0+$");
    check_status(qts, "^Seccomp:\\t2$");
}

static unsigned open_files(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned num = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        num++;
    }
    g_dir_close(dir);
    return num;
}

static void test_confined(void)
{
    bool root = geteuid() == 0;
    QTestState *from, *to;
    unsigned files_from, files_to;
    AIAFiles f;

    if (root) {
        become_user();
    }
    aia_files_init(&f);
    from = aia_start(&tick, tick.from, "");
    aia_tick_wait(from, &tick, 1);
    to = aia_start(&tick, tick.to, "-S -incoming defer");
    if (root) {
        become_root();
    }
    check_confined(from);
    check_confined(to);
    files_from = open_files(from);
    files_to = open_files(to);

    migrate_set_capability(from, "return-path", true);
    migrate_set_capability(to, "return-path", true);
    aia_incoming(to, f.socket);
    migrate_qmp(from, NULL, f.socket, NULL, "{}");
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    g_assert_cmpuint(open_files(from), ==, files_from);
    qtest_qmp_assert_success(to, "{'execute': 'cont'}");
    aia_tick_wait(to, &tick, 5);
    /* A destination may have begun with a virtual machine that finds faults. */
    g_assert_cmpuint(open_files(to), <=, files_to);
    files_to = open_files(to);

    aia_stop(to);
    migrate_set_capability(to, "return-path", false);
    migrate_qmp(to, NULL, f.uri_a, NULL, "{}");
    wait_for_migration_complete(to);
    aia_cont(to);
    aia_tick_wait(to, &tick, 1);
    g_assert_cmpuint(open_files(to), ==, files_to);
    qtest_quit(from);
    qtest_quit(to);
    aia_files_free(&f);
}

void aia_add_confined_tests(void)
{
    qtest_add_func("riscv-aia/confined", test_confined);
}
