/*
 * Framework of the RISC-V AIA migration test: starting and moving guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "migration/migration-qmp.h"
#include "framework.h"

unsigned aia_guest_files(void)
{
    const char *files = g_getenv("QTEST_RISCV_AIA_FILES");

    return files ? g_ascii_strtoull(files, NULL, 10) : AIA_MANY_FILES;
}

char *aia_proc_status(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", qtest_pid(qts));
    char *status;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    return status;
}

void aia_add(const char *path, const AIACase *c, void (*run)(const void *))
{
    qtest_add_data_func_full(path, g_memdup2(c, sizeof(*c)), run, g_free);
}

bool aia_harts_may_move(void)
{
    struct utsname host;

    g_assert_cmpint(uname(&host), ==, 0);
    return !g_str_has_prefix(host.release, "6.");
}

/*
 * In hwaccel a hart needs a guest interrupt file on whatever CPU it runs, and
 * source and destination together may have more harts than a CPU has files.
 * So the harts of one QEMU are kept on one CPU of the host, those of the next
 * on another.  Where threads must not change CPUs they are in the other modes
 * too, but for auto where there are too few files on one; and where each hart
 * is to have a CPU of its own.
 */
static bool must_stay(const AIACase *c, const char *mode)
{
    if (c->tcg) {
        return false;
    }
    if (g_str_equal(mode, "hwaccel") || c->harts == 1 || c->apart) {
        return true;
    }
    return !aia_harts_may_move() &&
           (aia_guest_files() == AIA_MANY_FILES || !g_str_equal(mode, "auto"));
}

static void pin_harts(QTestState *qts, bool apart)
{
    static unsigned turn;
    unsigned cpu = turn++;
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-cpus-fast'}");
    QListEntry *entry;
    cpu_set_t set;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *hart = qobject_to(QDict, qlist_entry_obj(entry));

        CPU_ZERO(&set);
        CPU_SET(cpu % get_nprocs(), &set);
        cpu += apart;
        g_assert_cmpint(sched_setaffinity(qdict_get_int(hart, "thread-id"),
                                          sizeof(set), &set), ==, 0);
    }
    qobject_unref(rsp);
}

unsigned aia_sockets(const AIACase *c)
{
    return c->per_socket ? DIV_ROUND_UP(c->harts, c->per_socket) : 1;
}

/* The memory of each socket is its share of the 16 MiB. */
static char *socket_options(const AIACase *c)
{
    GString *s = g_string_new("");
    unsigned sockets = aia_sockets(c), memory = 16;

    for (unsigned i = 0; c->per_socket && i < sockets; i++) {
        unsigned nth = c->reversed ? sockets - 1 - i : i;
        unsigned first = nth * c->per_socket;
        unsigned share = memory / (sockets - i);

        memory -= share;
        g_string_append_printf(
            s, "-object memory-backend-ram,id=ram%u,size=%uM "
            "-numa node,memdev=ram%u,cpus=%u-%u ", i, share, i, first,
            MIN(first + c->per_socket, c->harts) - 1);
    }
    return g_string_free(s, false);
}

static QTestState *init(const char *binary, const char *args)
{
#if QEMU_VERSION_MAJOR > 10 || \
    (QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR >= 1)
    return qtest_init_ext(binary, args, NULL, true);
#else
    return qtest_init_with_env(binary, args, true);
#endif
}

QTestState *aia_start(const AIACase *c, const char *mode, const char *more)
{
    g_autofree char *sockets = socket_options(c);
    g_autofree char *accel = c->tcg
        ? g_strdup("-accel tcg -cpu max")
        : g_strdup_printf("-accel kvm,riscv-aia=%s,kernel-irqchip=%s "
                          "-cpu host", mode, c->irqchip);
    /* Harts take turns in having a file, which takes its time. */
    const char *patient = aia_guest_files() < AIA_MANY_FILES
        ? "-global migration.x-downtime-limit=3000" : "";
    g_autofree char *args = g_strdup_printf(
        "-machine virt,aia=aplic-imsic -smp %u -m 16M -nodefaults "
        "-display none %s -kernel %s/%s.elf %s %s %s %s", c->harts, accel,
        g_getenv("QTEST_RISCV_AIA_GUESTS"), c->guest, sockets, patient,
        c->options ?: "", more);
    QTestState *qts = init(c->binary, args);
    QDict *rsp;

    rsp = qtest_qmp_assert_success_ref(qts, "{'execute': 'query-kvm'}");
    g_assert_true(qdict_get_bool(rsp, "enabled") != c->tcg);
    qobject_unref(rsp);
    if (must_stay(c, mode)) {
        pin_harts(qts, c->apart);
    }
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
    f->errors = g_build_filename(f->dir, "errors", NULL);
}

void aia_files_free(AIAFiles *f)
{
    unlink(f->a);
    unlink(f->b);
    unlink(f->disk);
    unlink(f->errors);
    unlink(f->socket + strlen("unix:"));
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->a);
    g_free(f->b);
    g_free(f->uri_a);
    g_free(f->uri_b);
    g_free(f->socket);
    g_free(f->disk);
    g_free(f->errors);
}

static char *status(QTestState *qts)
{
    QDict *info = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'query-status'}");
    char *status = g_strdup(qdict_get_str(info, "status"));

    qobject_unref(info);
    return status;
}

void aia_wait_for_status(QTestState *qts, const char *wanted)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    g_autofree char *now = status(qts);

    while (!g_str_equal(now, wanted)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
        g_free(now);
        now = status(qts);
    }
}

bool aia_is_running(QTestState *qts)
{
    QDict *rsp = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'query-status'}");
    bool running = qdict_get_bool(rsp, "running");

    qobject_unref(rsp);
    return running;
}

void aia_incoming(QTestState *qts, const char *uri)
{
    migrate_set_capability(qts, "events", true);
    qtest_qmp_assert_success(qts, "{'execute': 'migrate-incoming',"
                             " 'arguments': {'uri': %s}}", uri);
    migration_event_wait(qts, "setup");
}

void aia_wait_failed(QTestState *qts)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    qtest_set_expected_status(qts, EXIT_FAILURE);
    while (qtest_probe_child(qts)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
    qtest_quit(qts);
}

void aia_save(QTestState *qts, const char *uri)
{
    migrate_qmp(qts, NULL, uri, NULL, "{}");
    wait_for_migration_complete(qts);
    /* Until then QEMU refuses to go on. */
    aia_wait_for_status(qts, "postmigrate");
}

void aia_save_devices(QTestState *qts, const char *file)
{
    qtest_qmp_assert_success(qts, "{'execute': 'xen-save-devices-state', "
                             "'arguments': {'filename': %s, 'live': false}}",
                             file);
}

void aia_set_capabilities(QTestState *qts, const AIAMove *m, bool on)
{
    migrate_set_capability(qts, "events", true);
    for (int i = 0; i < ARRAY_SIZE(m->capabilities) && m->capabilities[i];
         i++) {
        migrate_set_capability(qts, m->capabilities[i], on);
    }
    if (m->compression) {
        migrate_set_parameter_str(qts, "multifd-compression",
                                  on ? m->compression : "none");
    }
}

static QTestState *move_file(QTestState *from, const AIACase *c)
{
    const AIAMove *m = c->move;
    g_autofree char *save = NULL, *load = NULL;
    QTestState *to;
    AIAFiles f;

    aia_files_init(&f);
    if (g_strcmp0(m->how, "exec") == 0) {
        save = g_strdup_printf("exec:cat >%s", f.a);
        load = g_strdup_printf("exec:cat %s", f.a);
    } else {
        save = g_strdup(f.uri_a);
        load = g_strdup(f.uri_a);
    }

    if (aia_is_running(from)) {
        aia_stop(from);
    }
    aia_set_capabilities(from, m, true);
    aia_save(from, save);
    qtest_quit(from);

    if (g_strcmp0(m->how, "incoming") == 0) {
        g_autofree char *more = g_strdup_printf("-S -incoming %s", load);

        to = aia_start(c, c->to, more);
    } else {
        to = aia_start(c, c->to, "-S -incoming defer");
        aia_set_capabilities(to, m, true);
        aia_incoming(to, load);
    }
    wait_for_migration_complete(to);
    aia_set_capabilities(to, m, false);
    aia_save(to, f.uri_b);
    aia_compare_streams(c, f.a, f.b);
    aia_cont(to);
    aia_files_free(&f);
    return to;
}

const AIAMove aia_move_file = { "file", move_file };
const AIAMove aia_move_exec = { "exec", move_file, .how = "exec" };
const AIAMove aia_move_incoming = { "incoming", move_file, .how = "incoming" };
const AIAMove aia_move_mapped_ram = {
    "mapped-ram", move_file, { "mapped-ram" },
};
const AIAMove aia_move_mapped_ram_multifd = {
    "mapped-ram-multifd", move_file, { "mapped-ram", "multifd" },
};

/* Gives both sides one end of a connection; returns its URI. */
static const char *connect_by_fd(QTestState *from, QTestState *to)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    qtest_qmp_fds_assert_success(from, &pair[0], 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': 'move'}}");
    qtest_qmp_fds_assert_success(to, &pair[1], 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': 'move'}}");
    close(pair[0]);
    close(pair[1]);
    return "fd:move";
}

/*
 * Precopy must not come to its end first: so there is something to send, and
 * next to no bandwidth for it.
 */
void aia_prepare_postcopy(QTestState *from)
{
    qtest_memset(from, AIA_REPORT + 0x200000, 0x5a, 0x200000);
    migrate_set_parameter_int(from, "max-bandwidth", 32768);
}

void aia_start_postcopy(QTestState *from)
{
    static const char *const failed[] = { "completed", "failed", NULL };

    wait_for_migration_status(from, "active", (const char **)failed);
    qtest_qmp_assert_success(from, "{'execute': 'migrate-start-postcopy'}");
    migration_event_wait(from, "postcopy-active");
}

static QTestState *move_live(QTestState *from, const AIACase *c)
{
    const AIAMove *m = c->move;
    bool postcopy = g_strcmp0(m->how, "postcopy") == 0;
    bool running = aia_is_running(from);
    QTestState *to = aia_start(c, c->to, "-incoming defer");
    const char *uri;
    AIAFiles f;

    aia_files_init(&f);
    uri = g_strcmp0(m->how, "fd") ? f.socket : connect_by_fd(from, to);
    aia_set_capabilities(from, m, true);
    aia_set_capabilities(to, m, true);
    if (postcopy) {
        aia_prepare_postcopy(from);
    }
    aia_incoming(to, uri);
    migrate_qmp(from, NULL, uri, NULL, "{}");
    if (postcopy) {
        aia_start_postcopy(from);
    }
    wait_for_migration_complete(from);
    wait_for_migration_complete(to);
    if (running) {
        qtest_qmp_eventwait(to, "RESUME");
    }
    g_assert_true(aia_is_running(to) == running);
    aia_set_capabilities(to, m, false);
    qtest_quit(from);
    aia_files_free(&f);
    return to;
}

/* libvirt sets return-path always. */
const AIAMove aia_move_live = { "live", move_live, { "return-path" } };
const AIAMove aia_move_fd = {
    "fd", move_live, { "return-path" }, .how = "fd",
};
const AIAMove aia_move_multifd = {
    "multifd", move_live, { "return-path", "multifd" },
};
const AIAMove aia_move_multifd_zlib = {
    "multifd-zlib", move_live, { "return-path", "multifd" }, "zlib",
};
const AIAMove aia_move_multifd_zstd = {
    "multifd-zstd", move_live, { "return-path", "multifd" }, "zstd",
};
const AIAMove aia_move_postcopy = {
    "postcopy", move_live, { "return-path", "postcopy-ram" },
    .how = "postcopy",
};

const AIAMove *const aia_moves[] = {
    &aia_move_file,
    &aia_move_exec,
    &aia_move_incoming,
    &aia_move_mapped_ram,
    &aia_move_mapped_ram_multifd,
    &aia_move_live,
    &aia_move_fd,
    &aia_move_multifd,
    &aia_move_multifd_zlib,
    &aia_move_multifd_zstd,
    &aia_move_postcopy,
};
const int aia_num_moves = ARRAY_SIZE(aia_moves);

void aia_move_refused(QTestState *from, const AIACase *c, const char *error)
{
    static const char *const other[] = { "completed", "cancelled", NULL };
    const AIAMove *m = c->move;
    g_autofree char *more = NULL, *said = NULL;
    QTestState *to;
    AIAFiles f;

    aia_files_init(&f);
    more = g_strdup_printf("-incoming defer 2>%s", f.errors);
    to = aia_start(c, c->to, more);
    qtest_set_expected_status(to, EXIT_FAILURE);
    aia_set_capabilities(from, m, true);
    aia_set_capabilities(to, m, true);
    aia_incoming(to, f.socket);
    migrate_qmp(from, NULL, f.socket, NULL, "{}");
    wait_for_migration_status(from, "failed", (const char **)other);
    qtest_qmp_eventwait(from, "RESUME");
    aia_set_capabilities(from, m, false);
    qtest_wait_qemu(to);
    qtest_quit(to);
    g_assert_true(g_file_get_contents(f.errors, &said, NULL, NULL));
    g_test_message("refused: %s", said);
    g_assert_true(g_regex_match_simple(error, said, 0, 0));
    aia_files_free(&f);
}

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

void aia_disk_add(QTestState *qts, const char *file)
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

void aia_disk_remove(QTestState *qts)
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
    aia_disk_add(qts, f.disk);
    if (aia_is_running(qts)) {
        aia_stop(qts);
    }
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
    aia_disk_remove(qts);
    aia_cont(qts);
    aia_files_free(&f);
    return qts;
}

const AIAMove aia_move_snapshot = { "snapshot", move_snapshot };
