/*
 * Framework of the RISC-V AIA migration test: starting and moving guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/sysinfo.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "migration/migration-qmp.h"
#include "framework.h"

void aia_add(const char *path, const AIACase *c, void (*run)(const void *))
{
    qtest_add_data_func_full(path, g_memdup2(c, sizeof(*c)), run, g_free);
}

/*
 * In hwaccel a hart needs a guest interrupt file on whatever CPU it runs, and
 * source and destination together may have more harts than a CPU has files.
 * So they take turns in being started on one CPU of the host and on another.
 */
static void pin(const AIACase *c, const char *mode)
{
    static unsigned turn;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (c->harts > 1 && (g_str_equal(mode, "hwaccel") || c->pinned)) {
        CPU_SET(turn++ % get_nprocs(), &set);
    } else {
        for (int i = 0; i < get_nprocs(); i++) {
            CPU_SET(i, &set);
        }
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
}

QTestState *aia_start(const AIACase *c, const char *mode, const char *more)
{
    g_autofree char *accel = c->tcg
        ? g_strdup("-accel tcg -cpu max")
        : g_strdup_printf("-accel kvm,riscv-aia=%s,kernel-irqchip=%s "
                          "-cpu host", mode, c->irqchip);
    QTestState *qts;
    QDict *rsp;

    if (!c->tcg) {
        pin(c, mode);
    }
    qts = qtest_initf(
        "-machine virt,aia=aplic-imsic -smp %u -m 64M -nodefaults "
        "-display none %s -kernel %s/%s.elf %s %s", c->harts, accel,
        g_getenv("QTEST_RISCV_AIA_GUESTS"), c->guest, c->options ?: "", more);
    rsp = qtest_qmp_assert_success_ref(qts, "{'execute': 'query-kvm'}");
    g_assert_true(qdict_get_bool(rsp, "enabled") != c->tcg);
    qobject_unref(rsp);
    return qts;
}

void aia_stop(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    qtest_qmp_eventwait(qts, "STOP");
}

void aia_cont(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    qtest_qmp_eventwait(qts, "RESUME");
}

/*
 * A section is type 4, id, counted name, instance, version; it ends with 0x7e
 * and its id again.
 */
const char *aia_find_section(const char *p, const char *end, const char *name,
                             size_t *len)
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

        pa = aia_find_section(pa, a + len_a, name, &la);
        pb = aia_find_section(pb, b + len_b, name, &lb);
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

void aia_compare_streams(const AIACase *c, const char *a, const char *b)
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

void aia_files_init(AIAFiles *f)
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

void aia_files_free(AIAFiles *f)
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

void aia_save(QTestState *qts, const char *uri)
{
    migrate_qmp(qts, NULL, uri, NULL, "{}");
    wait_for_migration_complete(qts);
}

/* Save to a file, load, save again: the same. */
static QTestState *move_file(QTestState *from, const AIACase *c)
{
    QTestState *to;
    AIAFiles f;

    aia_files_init(&f);
    aia_stop(from);
    aia_save(from, f.uri_a);
    qtest_quit(from);

    to = aia_start(c, c->to, "-S -incoming defer");
    migrate_incoming_qmp(to, f.uri_a, NULL, "{}");
    wait_for_migration_complete(to);
    aia_save(to, f.uri_b);
    aia_compare_streams(c, f.a, f.b);
    aia_cont(to);
    aia_files_free(&f);
    return to;
}

const AIAMove aia_move_file = { "file", move_file };

/* While the guest runs. */
static QTestState *move_live(QTestState *from, const AIACase *c)
{
    QTestState *to = aia_start(c, c->to, "-incoming defer");
    AIAFiles f;

    aia_files_init(&f);
    migrate_incoming_qmp(to, f.socket, NULL, "{}");
    aia_save(from, f.socket);
    qtest_qmp_eventwait(to, "RESUME");
    qtest_quit(from);
    aia_files_free(&f);
    return to;
}

const AIAMove aia_move_live = { "live", move_live };

/* Waits for a job and dismisses it. */
static void run_job(QTestState *qts, const char *id)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
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

static void remove_disk(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-del', "
                             "'arguments': {'node-name': 'disk0'}}");
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-del', "
                             "'arguments': {'node-name': 'file0'}}");
}

static void snapshot(QTestState *qts, const char *command)
{
    qtest_qmp_assert_success(
        qts, "{'execute': %s, 'arguments': {'job-id': 'snapshot', "
        "'tag': 'snap', 'vmstate': 'disk0', 'devices': ['disk0']}}", command);
    run_job(qts, "snapshot");
}

/* What the process did after the snapshot was taken leaves nothing behind. */
static QTestState *move_snapshot(QTestState *qts, const AIACase *c)
{
    uint8_t saved[4096], loaded[sizeof(saved)];
    AIAFiles f;

    aia_files_init(&f);
    make_disk(qts, f.disk);
    aia_stop(qts);
    qtest_memread(qts, AIA_REPORT, saved, sizeof(saved));
    snapshot(qts, "snapshot-save");
    aia_save(qts, f.uri_a);
    aia_cont(qts);
    c->go_on(qts, c);
    aia_stop(qts);
    snapshot(qts, "snapshot-load");
    qtest_memread(qts, AIA_REPORT, loaded, sizeof(loaded));
    g_assert_cmpmem(loaded, sizeof(loaded), saved, sizeof(saved));
    aia_save(qts, f.uri_b);
    aia_compare_streams(c, f.a, f.b);
    remove_disk(qts);
    aia_cont(qts);
    aia_files_free(&f);
    return qts;
}

const AIAMove aia_move_snapshot = { "snapshot", move_snapshot };
