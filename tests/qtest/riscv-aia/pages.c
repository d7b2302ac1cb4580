/*
 * Memory of guests that move: huge pages, hugetlbfs, and how much there is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "qobject/qdict.h"
#include "qemu/units.h"
#include "migration/migration-qmp.h"
#include "pages.h"
#include "watched.h"

bool aia_is_linux_6(void)
{
    struct utsname name;

    g_assert_cmpint(uname(&name), ==, 0);
    return g_str_has_prefix(name.release, "6.");
}

uint64_t aia_proc_bytes(QTestState *qts, const char *file, const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", qtest_pid(qts),
                                            file);
    g_autofree char *text = NULL;
    const char *p;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    p = strstr(text, key);
    g_assert_nonnull(p);
    return g_ascii_strtoull(p + strlen(key), NULL, 10) * KiB;
}

#define HUGE_MIB 64

static void check_huge(QTestState *qts, const char *when)
{
    uint64_t huge = aia_proc_bytes(qts, "smaps_rollup", "AnonHugePages:");

    g_test_message("%s: %" PRIu64 " KiB of transparent huge pages", when,
                   huge / (uint64_t)KiB);
    g_assert_cmpuint(huge, >=, HUGE_MIB * MiB * 3 / 4);
}

void aia_send_to_nobody(QTestState *qts)
{
    migrate_set_capability(qts, "events", true);
    migrate_qmp(qts, NULL, "exec:cat >/dev/null", NULL, "{}");
}

void aia_send_slowly(QTestState *qts)
{
    migrate_set_parameter_int(qts, "max-bandwidth", 4096);
    aia_send_to_nobody(qts);
}

char *aia_query_faults(QTestState *qts)
{
    QDict *rsp = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'x-query-riscv-kvm-faults'}");
    char *text = g_strdup(qdict_get_str(rsp, "human-readable-text"));

    qobject_unref(rsp);
    return text;
}

static bool has_huge_pages(const AIACase *c)
{
    QTestState *qts = aia_start(c, c->from, "-S");
    g_autofree char *status = aia_proc_status(qts);
    bool has = strstr(status, "THP_enabled:\t1");

    g_assert_true(has || strstr(status, "THP_enabled:\t0"));
    qtest_quit(qts);
    return has;
}

/*
 * None where a kernel does wrong by them only: docs/kernel-facts.md.  Once none
 * does wrong by them this fails, and what QEMU does about it can go.
 */
static void test_huge_nodes(const void *opaque)
{
    AIACase c = {
        .guest = "memory_busy", .from = "auto", .irqchip = "on", .harts = 4,
    };

    g_assert_true(has_huge_pages(&c));
    /* The second node begins in the middle of what can be a huge page. */
    c.per_socket = 2;
    c.harts = 5;
    g_assert_true(has_huge_pages(&c) == !aia_is_linux_6());
}

/* As with any QEMU: from the start, where a log has ended, after a move. */
static void test_huge(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "hwaccel",
        .to = "hwaccel", .irqchip = "on", .harts = 2,
        .options = "-m 64M -mem-prealloc",
    };
    AIACase refused = c;
    QTestState *qts = aia_start(&c, c.from, "");

    aia_tick_wait(qts, &c, 1);
    check_huge(qts, "at first");
    refused.to = "emul";
    aia_move_refused(qts, &refused, "identity|identities");
    aia_tick_wait(qts, &c, 5);
    check_huge(qts, "after a move that was refused");
    qts = c.move->run(qts, &c);
    aia_tick_wait(qts, &c, 5);
    check_huge(qts, "after a move");
    qtest_quit(qts);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    ssize_t len = strlen(text);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, text, len), ==, len);
    close(fd);
}

static void hugetlb_init(AIAFiles *f)
{
    aia_files_init(f);
    write_file("/proc/sys/vm/nr_hugepages", "24");
    g_assert_cmpint(mount("hugetlbfs", f->dir, "hugetlbfs", 0, "pagesize=2M"),
                    ==, 0);
}

static void hugetlb_free(AIAFiles *f)
{
    g_assert_cmpint(umount(f->dir), ==, 0);
    write_file("/proc/sys/vm/nr_hugepages", "0");
    aia_files_free(f);
}

/* The guest goes on in a log, after it, and where it gets to. */
static void test_hugetlb(const void *opaque)
{
    AIAFiles f;
    AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2,
    };
    static const char *const ends[] = { "completed", "failed", NULL };
    g_autofree char *options = NULL;
    QTestState *qts;

    hugetlb_init(&f);
    options = g_strdup_printf("-m 16M -mem-path %s", f.dir);
    c.options = options;
    qts = aia_start(&c, c.from, "");
    aia_tick_wait(qts, &c, 1);
    g_assert_cmpuint(aia_proc_bytes(qts, "smaps_rollup", "Private_Hugetlb:"),
                     >, 0);
    aia_send_slowly(qts);
    wait_for_migration_status(qts, "active", (const char **)ends);
    aia_tick_wait(qts, &c, 5);
    migrate_cancel(qts);
    wait_for_migration_status(qts, "cancelled", (const char **)ends);
    migrate_set_parameter_int(qts, "max-bandwidth", 1 << 30);
    aia_tick_wait(qts, &c, 5);
    for (int i = 0; i < 2; i++) {
        qts = c.move->run(qts, &c);
        aia_tick_wait(qts, &c, 5);
    }
    qtest_quit(qts);
    hugetlb_free(&f);
}

/* Why a guest that is sent is refused before that */
static char *refusal(QTestState *qts)
{
    static const char *const other[] = { "completed", "cancelled", NULL };
    QDict *rsp;
    char *said;

    aia_send_to_nobody(qts);
    wait_for_migration_status(qts, "failed", (const char **)other);
    rsp = migrate_query(qts);
    said = g_strdup(qdict_get_str(rsp, "error-desc"));
    qobject_unref(rsp);
    g_test_message("refused: %s", said);
    return said;
}

/*
 * Refused where it would need tables of which a kernel keeps a part: a node
 * that is in two GiB and begins in the midst of one.  A kernel without these
 * faults has no reason to refuse it but that all of it has no room here.
 */
static void test_hugetlb_nodes(const void *opaque)
{
    AIACase c = {
        .guest = "tick", .from = "auto", .irqchip = "on", .harts = 2,
    };
    g_autofree char *options = NULL, *said = NULL;
    AIAFiles f;
    QTestState *qts;

    hugetlb_init(&f);
    options = g_strdup_printf(
        "-m 1026M -object memory-backend-ram,id=a,size=1022M,reserve=off "
        "-object memory-backend-file,id=b,size=4M,mem-path=%s "
        "-numa node,memdev=a,cpus=0 -numa node,memdev=b,cpus=1", f.dir);
    c.options = options;
    qts = aia_start(&c, c.from, "-S");
    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, per_socket), 1);
    aia_cont(qts);
    aia_tick_wait(qts, &c, 1);
    said = refusal(qts);
    g_assert_nonnull(strstr(said, aia_is_linux_6()
                            ? "hugetlbfs, and not do without either where its "
                              "memory begins at 0xbfe00000"
                            : " MiB more "));
    aia_tick_wait(qts, &c, 5);
    qtest_quit(qts);
    hugetlb_free(&f);
}

/* Where Linux ages memory by itself, that is said before it can hang a hart. */
static void test_aged(const void *opaque)
{
    static const char enabled[] = "/sys/module/damon_stat/parameters/enabled";
    static const AIACase c = {
        .guest = "tick", .from = "auto", .irqchip = "on", .harts = 2,
    };
    bool ages = g_file_test(enabled, G_FILE_TEST_EXISTS);
    g_autofree char *words = NULL;
    AIAWatched w = { 0 };

    g_assert_true(ages == !aia_is_linux_6());
    if (ages) {
        write_file(enabled, "Y");
    }
    aia_watched_start(&w, &c, c.from, "");
    aia_send_to_nobody(w.qts);
    wait_for_migration_complete(w.qts);
    words = aia_watched_words(&w);
    g_test_message("%s", words);
    g_assert_true(!!strstr(words, "and DAMON ages it; 'echo N >") == ages);
    aia_watched_quit(&w);
    if (ages) {
        write_file(enabled, "N");
    }
}

/* A cgroup that has no room for all that the guest could have */
typedef struct Room {
    AIAFiles f;
    char *group;
    char *max;
} Room;

static void room_init(Room *r)
{
    g_autofree char *control = NULL;

    aia_files_init(&r->f);
    g_assert_cmpint(mount("cgroup2", r->f.dir, "cgroup2", 0, NULL), ==, 0);
    control = g_build_filename(r->f.dir, "cgroup.subtree_control", NULL);
    r->group = g_build_filename(r->f.dir, "riscv-aia", NULL);
    r->max = g_build_filename(r->group, "memory.max", NULL);
    write_file(control, "+memory");
    g_assert_cmpint(mkdir(r->group, 0755), ==, 0);
    write_file(r->max, "100M");
}

/* With what it takes from now on */
static void room_add(Room *r, QTestState *qts)
{
    g_autofree char *procs = g_build_filename(r->group, "cgroup.procs", NULL);
    g_autofree char *pid = g_strdup_printf("%d", qtest_pid(qts));

    write_file(procs, pid);
}

static void room_free(Room *r)
{
    g_assert_cmpint(rmdir(r->group), ==, 0);
    g_assert_cmpint(umount(r->f.dir), ==, 0);
    aia_files_free(&r->f);
    g_free(r->group);
    g_free(r->max);
}

static const AIACase room = {
    .move = &aia_move_live, .guest = "tick", .from = "auto", .to = "auto",
    .irqchip = "on", .harts = 2, .options = "-m 256M",
};

/* Refused where there is none, and the guest none the worse for it */
static void test_room(const void *opaque)
{
    const AIACase *c = &room;
    g_autofree char *said = NULL;
    QTestState *qts;
    Room r;

    room_init(&r);
    qts = aia_start(c, c->from, "");
    room_add(&r, qts);
    aia_tick_wait(qts, c, 1);
    if (!aia_is_linux_6()) {
        said = refusal(qts);
        g_assert_true(g_regex_match_simple(
            "needs \\d+ MiB more .*, and cgroup .*/riscv-aia has \\d+ MiB left",
            said, 0, 0));
        aia_tick_wait(qts, c, 5);
        write_file(r.max, "max");
    }
    qts = c->move->run(qts, c);
    aia_tick_wait(qts, c, 5);
    qtest_quit(qts);
    room_free(&r);
}

/* Sent while it stands, and to go on before that has ended */
static void test_room_cont(const void *opaque)
{
    static const char *const ends[] = { "completed", "failed", NULL };
    const AIACase *c = &room;
    QTestState *qts;
    Room r;

    room_init(&r);
    qts = aia_start(c, c->from, "");
    room_add(&r, qts);
    aia_tick_wait(qts, c, 1);
    aia_stop(qts);
    aia_send_slowly(qts);
    wait_for_migration_status(qts, "active", (const char **)ends);
    aia_cont(qts);
    if (!aia_is_linux_6()) {
        qtest_qmp_eventwait(qts, "STOP");
        g_assert_false(aia_is_running(qts));
        migrate_cancel(qts);
        wait_for_migration_status(qts, "cancelled", (const char **)ends);
        aia_cont(qts);
    }
    aia_tick_wait(qts, c, 5);
    qtest_quit(qts);
    room_free(&r);
}

/* A guest without the AIA: its migration does not hold the BQL for long. */
static void test_without_aia(const void *opaque)
{
    AIACase c = {
        .move = &aia_move_live, .guest = "vcpu_compute", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2,
    };
    g_autofree char *options = NULL, *said = NULL;
    QTestState *qts;
    AIAFiles f;

    aia_files_init(&f);
    options = g_strdup_printf("-machine aia=none -m 64M "
                              "-trace kvm_riscv_shared_pages_own -D %s", f.a);
    c.options = options;
    qts = aia_start(&c, c.from, "");
    aia_send_to_nobody(qts);
    wait_for_migration_complete(qts);
    g_assert_true(g_file_get_contents(f.a, &said, NULL, NULL));
    g_test_message("%s", said);
    g_assert_true(g_regex_match_simple(
        aia_is_linux_6() ? "verdict:1, bytes:0, BQL released:1"
                         : "verdict:2, bytes:\\d{8}, BQL released:1",
        said, 0, 0));
    qtest_quit(qts);
    aia_files_free(&f);
}

/* Never at the price of the guest's memory: measured by other means, then */
static void test_dirty_rate(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2, .options = "-m 64M",
    };
    QTestState *qts = aia_start(&c, c.from, "");
    uint64_t before, after;
    QDict *rsp;

    aia_tick_wait(qts, &c, 1);
    before = aia_proc_bytes(qts, "status", "RssAnon:");
    rsp = qtest_qmp(qts, "{'execute': 'calc-dirty-rate', 'arguments': "
                    "{'calc-time': 1, 'mode': 'dirty-bitmap'}}");
    if (aia_is_linux_6()) {
        g_assert_true(qdict_haskey(rsp, "return"));
    } else {
        g_assert_true(qdict_haskey(rsp, "error"));
        g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(rsp, "error"),
                                              "desc"), "page-sampling"));
        qobject_unref(rsp);
        rsp = qtest_qmp(qts, "{'execute': 'calc-dirty-rate', 'arguments': "
                        "{'calc-time': 1}}");
        g_assert_true(qdict_haskey(rsp, "return"));
    }
    qobject_unref(rsp);
    for (bool measured = false; !measured; ) {
        g_usleep(10000);
        rsp = qtest_qmp_assert_success_ref(
            qts, "{'execute': 'query-dirty-rate'}");
        measured = g_str_equal(qdict_get_str(rsp, "status"), "measured");
        qobject_unref(rsp);
    }
    aia_tick_wait(qts, &c, 5);
    after = aia_proc_bytes(qts, "status", "RssAnon:");
    g_assert_cmpuint(after, <, before + 32 * MiB);
    qtest_quit(qts);
}

/* What is told of the faults, and that they are switched */
static void test_query(const void *opaque)
{
    static const char *const names[] = {
        "aged-pages", "huge-log", "kept-pages", "shared-pages", "split-pages",
        "stale-csrs",
    };
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 1,
    };
    QTestState *qts = aia_start(&c, c.from, "");
    g_autofree char *at_first = aia_query_faults(qts);
    g_autofree char *later = NULL, *hmp = NULL;

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *line = g_strdup_printf("^%s: unknown", names[i]);
        g_autofree char *property = g_strdup_printf("^  riscv-fault-%s=auto; ",
                                                    names[i]);

        g_assert_true(g_regex_match_simple(line, at_first, G_REGEX_MULTILINE,
                                           0));
        g_assert_true(g_regex_match_simple(property, at_first,
                                           G_REGEX_MULTILINE, 0));
    }
    hmp = qtest_hmp(qts, "info riscv-kvm-faults");
    g_assert_nonnull(strstr(hmp, "shared-pages: unknown"));

    /* Nothing has been needed before this. */
    aia_tick_wait(qts, &c, 1);
    aia_send_to_nobody(qts);
    wait_for_migration_complete(qts);
    later = aia_query_faults(qts);
    g_test_message("%s", later);
    g_assert_nonnull(strstr(later, aia_is_linux_6() ? "shared-pages: good"
                                                    : "shared-pages: faulty"));
    g_assert_nonnull(strstr(later, aia_is_linux_6() ? "split-pages: good"
                                                    : "split-pages: faulty"));
    qtest_quit(qts);

    qts = aia_start(&c, "auto,riscv-fault-shared-pages=off,"
                    "riscv-fault-split-pages=on", "-S");
    g_free(later);
    later = aia_query_faults(qts);
    g_test_message("%s", later);
    g_assert_nonnull(strstr(later, "riscv-fault-shared-pages=off; the remedy "
                            "is not needed"));
    g_assert_nonnull(strstr(later, "riscv-fault-split-pages=on; the remedy is "
                            "ready"));
    qtest_quit(qts);

    /* A destination is ready for entries of QEMU's own into the guest. */
    qts = aia_start(&c, c.to, "-incoming defer");
    g_free(later);
    later = aia_query_faults(qts);
    g_test_message("%s", later);
    g_assert_nonnull(strstr(later, aia_is_linux_6() ? "stale-csrs: unknown"
                            : get_nprocs() < 2 ? "stale-csrs: unknown"
                            : "stale-csrs: faulty"));
    qtest_quit(qts);
}

/*
 * A destination beside a guest that keeps every CPU busy: other vCPUs hide the
 * fault there, and a kernel that was taken for good costs the guest its life.
 */
static void test_query_busy(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 4,
    };
    QTestState *busy = aia_start(&c, c.from, "");

    aia_tick_wait(busy, &c, 1);
    for (int i = 0; i < 3; i++) {
        QTestState *to = aia_start(&c, c.to, "-incoming defer");
        g_autofree char *said = aia_query_faults(to);

        qtest_quit(to);
        g_test_message("%s", strstr(said, "stale-csrs: "));
        g_assert_null(strstr(said, "stale-csrs: good"));
    }
    aia_tick_wait(busy, &c, 1);
    qtest_quit(busy);
}

void aia_add_pages_tests(void)
{
    static const AIACase none;

    aia_add("riscv-aia/pages/huge", &none, test_huge);
    aia_add("riscv-aia/pages/huge-nodes", &none, test_huge_nodes);
    aia_add("riscv-aia/pages/hugetlb", &none, test_hugetlb);
    aia_add("riscv-aia/pages/hugetlb-nodes", &none, test_hugetlb_nodes);
    aia_add("riscv-aia/pages/aged", &none, test_aged);
    aia_add("riscv-aia/pages/room", &none, test_room);
    aia_add("riscv-aia/pages/room-cont", &none, test_room_cont);
    aia_add("riscv-aia/pages/without-aia", &none, test_without_aia);
    aia_add("riscv-aia/pages/dirty-rate", &none, test_dirty_rate);
    aia_add("riscv-aia/pages/query", &none, test_query);
    aia_add("riscv-aia/pages/query-busy", &none, test_query_busy);
}
