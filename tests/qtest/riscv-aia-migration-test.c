/*
 * Migration of a RISC-V KVM guest with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c, of which QTEST_RISCV_AIA_GUEST names the
 * ELF file; it tells in memory what arrived on each hart.  Without /dev/kvm
 * every case is skipped, unless QTEST_RISCV_AIA_TCG is set: then the same
 * guest moves with the emulated AIA.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/sysinfo.h>
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

#define REPORT      0x80400000ULL
#define MAGIC       0x4149412d7469636bULL
#define MAX_HARTS   8
#define WAIT_S      120

typedef struct HartReport {
    uint64_t ticks;
    uint64_t ipis_sent;
    uint64_t ipis;
    uint64_t wired_sent;
    uint64_t wired;
    uint64_t upper_sent;
    uint64_t upper;
    uint64_t loops;
    uint64_t errors;
    uint64_t last_error;
} HartReport;

typedef struct Report {
    uint64_t magic;
    uint64_t harts;
    uint64_t has_upper;
    uint64_t wired_to_hart_0;
    HartReport hart[MAX_HARTS];
} Report;

typedef struct Case {
    const char *mode;
    const char *irqchip;
    unsigned harts;
    bool tcg;
} Case;

static const char *guest;

static Report read_report(QTestState *qts)
{
    Report report;

    qtest_memread(qts, REPORT, &report, sizeof(report));
    return report;
}

static bool went_on(const HartReport *then, const HartReport *now, bool upper,
                    unsigned by)
{
    return now->ticks >= then->ticks + by && now->ipis >= then->ipis + by &&
           now->wired >= then->wired + by && now->loops > then->loops &&
           (!upper || now->upper >= then->upper + by);
}

/*
 * Waits until every hart has taken more interrupts of every kind.  One that
 * is lost leaves its counter behind for good: the guest sends the next only
 * after it came.
 */
static void wait_for_progress(QTestState *qts, unsigned harts)
{
    int64_t end = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    Report then = { 0 }, now;
    unsigned done;

    do {
        now = read_report(qts);
        if (now.magic == MAGIC && then.magic != MAGIC) {
            then = now;
        }
        for (done = 0; done < harts && now.magic == MAGIC; done++) {
            if (!went_on(&then.hart[done], &now.hart[done], now.has_upper,
                         5)) {
                break;
            }
        }
        if (done == harts) {
            break;
        }
        g_usleep(10000);
    } while (g_get_monotonic_time() < end);

    for (unsigned i = 0; i < harts; i++) {
        const HartReport *a = &then.hart[i], *b = &now.hart[i];

        if (b->errors || done < harts) {
            g_test_message("hart %u: ticks %" PRIu64 "-%" PRIu64 ", IPIs %"
                           PRIu64 "-%" PRIu64 ", wired %" PRIu64 "-%" PRIu64
                           ", upper %" PRIu64 "-%" PRIu64 ", errors %" PRIu64
                           ", last 0x%" PRIx64, i, a->ticks, b->ticks,
                           a->ipis, b->ipis, a->wired, b->wired, a->upper,
                           b->upper, b->errors, b->last_error);
        }
        g_assert_cmpuint(b->errors, ==, 0);
    }
    g_assert_cmpuint(now.magic, ==, MAGIC);
    g_assert_cmpuint(now.harts, ==, harts);
    g_assert_cmpuint(done, ==, harts);
}

/*
 * A hart needs a guest interrupt file on whatever CPU it runs, and source and
 * destination together may have more harts than a CPU has files.  So they
 * take turns in being started on one CPU of the host and on another.
 */
static void pin(const Case *c)
{
    static unsigned turn;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (c->harts > 1 && !g_str_equal(c->mode, "emul")) {
        CPU_SET(turn++ % get_nprocs(), &set);
    } else {
        for (int i = 0; i < get_nprocs(); i++) {
            CPU_SET(i, &set);
        }
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
}

static QTestState *start(const Case *c, const char *more)
{
    g_autofree char *accel = c->tcg
        ? g_strdup("-accel tcg -cpu max")
        : g_strdup_printf("-accel kvm,riscv-aia=%s,kernel-irqchip=%s "
                          "-cpu host", c->mode, c->irqchip);
    QTestState *qts;
    QDict *rsp;

    if (!c->tcg) {
        pin(c);
    }
    qts = qtest_initf(
        "-machine virt,aia=aplic-imsic -smp %u -m 64M -nodefaults "
        "-display none %s -kernel %s %s", c->harts, accel, guest, more);
    rsp = qtest_qmp(qts, "{'execute': 'query-kvm'}");
    g_assert_true(qdict_get_bool(qdict_get_qdict(rsp, "return"), "enabled") !=
                  c->tcg);
    qobject_unref(rsp);
    return qts;
}

/*
 * Starts the guest.  With a split irqchip QEMU 10.0 to 10.2 send all wired
 * interrupts to hart 0, whatever their target (docs/qemu-facts.md); the guest
 * is told not to wait for them elsewhere.
 */
static QTestState *start_guest(const Case *c)
{
    QTestState *qts = start(c, "-S");

    if (g_str_equal(c->irqchip, "split")) {
        qtest_writeq(qts, REPORT + offsetof(Report, wired_to_hart_0), 1);
    }
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    qtest_qmp_eventwait(qts, "RESUME");
    return qts;
}

static char *migration_status(QTestState *qts)
{
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-migrate'}");
    QDict *ret = qdict_get_qdict(rsp, "return");
    char *status = g_strdup(qdict_get_try_str(ret, "status") ?: "none");

    if (g_str_equal(status, "failed")) {
        g_test_message("migration failed: %s",
                       qdict_get_try_str(ret, "error-desc") ?: "no reason");
    }
    qobject_unref(rsp);
    return status;
}

static void wait_for_status(QTestState *qts, const char *wanted)
{
    int64_t end = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    g_autofree char *status = NULL;

    do {
        g_free(status);
        status = migration_status(qts);
        if (g_str_equal(status, wanted) || g_str_equal(status, "failed")) {
            break;
        }
        g_usleep(10000);
    } while (g_get_monotonic_time() < end);
    g_assert_cmpstr(status, ==, wanted);
}

static void migrate(QTestState *qts, const char *uri)
{
    qtest_qmp_assert_success(qts, "{'execute': 'migrate', 'arguments': "
                             "{'uri': %s}}", uri);
    wait_for_status(qts, "completed");
}

static void stop(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    qtest_qmp_eventwait(qts, "STOP");
}

static void cont(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    qtest_qmp_eventwait(qts, "RESUME");
}

/*
 * Finds the next section called @name in a stream: type 4, id, counted name,
 * instance, version; it ends with 0x7e and its id again.
 */
static const char *find_section(const char *p, const char *end,
                                const char *name, size_t *len)
{
    size_t name_len = strlen(name);

    for (; p + name_len + 14 < end; p++) {
        char footer[5] = { 0x7e };
        const char *data = p + 6 + name_len + 8, *foot;

        if (p[0] != 4 || p[5] != name_len || memcmp(p + 6, name, name_len)) {
            continue;
        }
        memcpy(footer + 1, p + 1, 4);
        foot = memmem(data, end - data, footer, sizeof(footer));
        if (foot) {
            *len = foot - data;
            return data;
        }
    }
    return NULL;
}

/*
 * Whether two sections hold the same.  Of a vCPU one bit may differ: in sip
 * the external interrupt, which a software file asserts there and a hardware
 * file does not; the destination has not run and is on the former.
 */
static bool same_section(const char *name, const char *a, const char *b,
                         size_t len)
{
    unsigned differing = 0;

    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            differing++;
            if (!g_str_equal(name, "cpu") || (a[i] ^ b[i]) != 0x02) {
                g_test_message("%s: byte %zu of %zu is %02x, was %02x", name,
                               i, len, (uint8_t)b[i], (uint8_t)a[i]);
                return false;
            }
        }
    }
    return differing <= 1;
}

static void compare_sections(const char *file_a, const char *file_b,
                             const char *name, unsigned expected)
{
    g_autofree char *a = NULL, *b = NULL;
    const char *pa, *pb;
    gsize len_a, len_b;
    unsigned count = 0;

    g_assert_true(g_file_get_contents(file_a, &a, &len_a, NULL));
    g_assert_true(g_file_get_contents(file_b, &b, &len_b, NULL));
    pa = a;
    pb = b;
    for (;;) {
        size_t la = 0, lb = 0;

        pa = find_section(pa, a + len_a, name, &la);
        pb = find_section(pb, b + len_b, name, &lb);
        if (!pa || !pb) {
            break;
        }
        g_assert_cmpuint(la, ==, lb);
        g_assert_true(same_section(name, pa, pb, la));
        count++;
    }
    g_assert_true(!pa && !pb);
    g_assert_cmpuint(count, ==, expected);
}

static void compare_streams(const Case *c, const char *a, const char *b)
{
    bool split = g_str_equal(c->irqchip, "split");

    if (c->tcg) {
        /* One each for machine and supervisor level */
        compare_sections(a, b, "riscv_aplic", 2);
        compare_sections(a, b, "riscv_imsic", 2 * c->harts);
        return;
    }
    compare_sections(a, b, split ? "riscv_aplic" : "riscv_aplic_kvm", 1);
    compare_sections(a, b, "riscv_imsic_kvm", c->harts);
    compare_sections(a, b, "cpu", c->harts);
}

typedef struct Files {
    char *dir;
    char *a;
    char *b;
    char *uri_a;
    char *uri_b;
    char *socket;
    char *disk;
} Files;

static void files_init(Files *f)
{
    f->dir = g_dir_make_tmp("riscv-aia-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
    f->a = g_build_filename(f->dir, "a", NULL);
    f->b = g_build_filename(f->dir, "b", NULL);
    f->uri_a = g_strdup_printf("file:%s", f->a);
    f->uri_b = g_strdup_printf("file:%s", f->b);
    f->socket = g_strdup_printf("unix:%s/socket", f->dir);
    f->disk = g_build_filename(f->dir, "disk.qcow2", NULL);
}

static void files_free(Files *f)
{
    unlink(f->a);
    unlink(f->b);
    unlink(f->disk);
    unlink(f->socket + strlen("unix:"));
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->a);
    g_free(f->b);
    g_free(f->uri_a);
    g_free(f->uri_b);
    g_free(f->socket);
    g_free(f->disk);
}

/* Save to a file, load, save again: the same; and it goes on. */
static void test_file(const void *opaque)
{
    const Case *c = opaque;
    QTestState *from, *to;
    Files f;

    files_init(&f);
    from = start_guest(c);
    wait_for_progress(from, c->harts);
    stop(from);
    migrate(from, f.uri_a);
    qtest_quit(from);

    to = start(c, "-S -incoming defer");
    qtest_qmp_assert_success(to, "{'execute': 'migrate-incoming', "
                             "'arguments': {'uri': %s}}", f.uri_a);
    wait_for_status(to, "completed");
    migrate(to, f.uri_b);
    compare_streams(c, f.a, f.b);
    cont(to);
    wait_for_progress(to, c->harts);
    qtest_quit(to);
    files_free(&f);
}

/* Migrates while the guest runs. */
static void test_live(const void *opaque)
{
    const Case *c = opaque;
    QTestState *from, *to;
    Files f;

    files_init(&f);
    from = start_guest(c);
    to = start(c, "-incoming defer");
    wait_for_progress(from, c->harts);
    qtest_qmp_assert_success(to, "{'execute': 'migrate-incoming', "
                             "'arguments': {'uri': %s}}", f.socket);
    migrate(from, f.socket);
    qtest_qmp_eventwait(to, "RESUME");
    qtest_quit(from);
    wait_for_progress(to, c->harts);
    qtest_quit(to);
    files_free(&f);
}

/* Waits for a job and dismisses it. */
static void run_job(QTestState *qts, const char *id)
{
    int64_t end = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    bool concluded = false;

    while (!concluded) {
        QDict *rsp = qtest_qmp(qts, "{'execute': 'query-jobs'}");
        QListEntry *entry;

        QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
            QDict *job = qobject_to(QDict, qlist_entry_obj(entry));

            if (g_str_equal(qdict_get_str(job, "id"), id) &&
                g_str_equal(qdict_get_str(job, "status"), "concluded")) {
                if (qdict_haskey(job, "error")) {
                    g_test_message("job %s: %s", id,
                                   qdict_get_str(job, "error"));
                }
                g_assert_false(qdict_haskey(job, "error"));
                concluded = true;
            }
        }
        qobject_unref(rsp);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
    qtest_qmp_assert_success(qts, "{'execute': 'job-dismiss', 'arguments': "
                             "{'id': %s}}", id);
}

static void make_disk(QTestState *qts, const char *file)
{
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    qtest_qmp_assert_success(
        qts, "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', "
        "'node-name': 'file0', 'filename': %s}}", file);
    qtest_qmp_assert_success(
        qts, "{'execute': 'blockdev-create', 'arguments': {'job-id': 'create',"
        " 'options': {'driver': 'qcow2', 'file': 'file0', "
        "'size': 1048576}}}");
    run_job(qts, "create");
    qtest_qmp_assert_success(
        qts, "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', "
        "'node-name': 'disk0', 'file': 'file0'}}");
}

static void snapshot(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(
        qts, "{'execute': %s, 'arguments': {'job-id': 'snapshot', "
        "'tag': 'snap', 'vmstate': 'disk0', 'devices': ['disk0']}}", command);
    run_job(qts, "snapshot");
}

/* What the process did after the snapshot was taken leaves nothing behind. */
static void test_snapshot(const void *opaque)
{
    const Case *c = opaque;
    QTestState *qts;
    Report saved, loaded;
    Files f;

    files_init(&f);
    qts = start_guest(c);
    make_disk(qts, f.disk);
    wait_for_progress(qts, c->harts);
    stop(qts);
    saved = read_report(qts);
    snapshot(qts, "snapshot-save");
    migrate(qts, f.uri_a);
    cont(qts);
    wait_for_progress(qts, c->harts);
    stop(qts);
    snapshot(qts, "snapshot-load");
    loaded = read_report(qts);
    g_assert_cmpmem(&loaded, sizeof(loaded), &saved, sizeof(saved));
    migrate(qts, f.uri_b);
    compare_streams(c, f.a, f.b);
    cont(qts);
    wait_for_progress(qts, c->harts);
    qtest_quit(qts);
    files_free(&f);
}

static const struct {
    const char *name;
    void (*run)(const void *);
} tests[] = {
    { "file", test_file },
    { "live", test_live },
    { "snapshot", test_snapshot },
};

static void add_case(int test, const Case *c)
{
    g_autofree char *path = g_strdup_printf("riscv-aia/%s/%s/%s/%u",
                                            tests[test].name, c->mode,
                                            c->irqchip, c->harts);

    qtest_add_data_func_full(path, g_memdup2(c, sizeof(*c)), tests[test].run,
                             g_free);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    static const char *const irqchips[] = { "on", "split" };
    static const unsigned harts[] = { 1, 4 };
    bool tcg = g_getenv("QTEST_RISCV_AIA_TCG");

    g_test_init(&argc, &argv, NULL);
    guest = g_getenv("QTEST_RISCV_AIA_GUEST");
    if (!guest || (!tcg && access("/dev/kvm", R_OK | W_OK))) {
        printf("1..0 # SKIP %s\n", guest ? "/dev/kvm cannot be used"
               : "QTEST_RISCV_AIA_GUEST names no guest");
        return 0;
    }

    for (int t = 0; t < ARRAY_SIZE(tests); t++) {
        for (int h = 0; h < ARRAY_SIZE(harts); h++) {
            if (tcg) {
                add_case(t, &(Case){ "tcg", "off", harts[h], true });
                continue;
            }
            for (int m = 0; m < ARRAY_SIZE(modes); m++) {
                for (int i = 0; i < ARRAY_SIZE(irqchips); i++) {
                    add_case(t, &(Case){ modes[m], irqchips[i], harts[h] });
                }
            }
        }
    }
    return g_test_run();
}
