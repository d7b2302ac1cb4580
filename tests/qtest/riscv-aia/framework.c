/*
 * Framework of the RISC-V AIA migration test: starting and moving guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "migration/migration-qmp.h"
#include "framework.h"
#include "peer.h"

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
 * too, but for auto where there are too few files on one.
 */
static bool must_stay(const AIACase *c, const char *mode)
{
    if (c->tcg) {
        return false;
    }
    if (g_str_equal(mode, "hwaccel") || c->harts == 1) {
        return true;
    }
    return !aia_harts_may_move() &&
           (aia_guest_files() == AIA_MANY_FILES || !g_str_equal(mode, "auto"));
}

static void pin_harts(QTestState *qts)
{
    static unsigned turn;
    QDict *rsp = qtest_qmp(qts, "{'execute': 'query-cpus-fast'}");
    QListEntry *entry;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(turn++ % get_nprocs(), &set);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *hart = qobject_to(QDict, qlist_entry_obj(entry));

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
        pin_harts(qts);
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

/*
 * A section is type 4, id, counted name, instance, version; it ends with 0x7e
 * and its id again.
 */
char *aia_find_section(char *p, char *end, const char *name, size_t *len)
{
    size_t name_len = strlen(name);

    for (; p + name_len + 14 < end; p++) {
        char footer[5] = { 0x7e };
        char *data = p + 6 + name_len + 8, *foot;

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

/*
 * QEMU 10.0 to 10.2 reset neither the floating-point registers nor the timer
 * of a KVM vCPU (docs/qemu-facts.md).
 */
static void forget_what_survives_reset(char *cpu, size_t len)
{
    static const char timer[] = "cpu/kvmtimer";
    char *p = memmem(cpu, len, timer, strlen(timer));

    /* After x0 to x31: f0 to f31; after a version: time, compare. */
    memset(cpu + 32 * 8, 0, 32 * 8);
    g_assert_nonnull(p);
    memset(p + strlen(timer) + 4, 0, 2 * 8);
}

/* Of a vCPU's section leaves our subsection: docs/wire-format.md */
static void keep_subsection(char **cpu, size_t *len)
{
    static const char name[] = "cpu/kvm-riscv";
    /* After a version: mp_state, num */
    char *p = memmem(*cpu, *len, name, strlen(name));

    g_assert_nonnull(p);
    *len -= p - *cpu;
    *cpu = p;
    p += strlen(name) + 4;
    g_assert_cmpuint(*len, >=, p + 8 - *cpu + ldl_be_p(p + 4) * 3 * 8);
    *len = p + 8 - *cpu + ldl_be_p(p + 4) * 3 * 8;
}

/*
 * Whether two hosts have the same in a vCPU: what QEMU has of it, and the
 * registers that the source sends.  Another kernel may have more of them,
 * in another order.
 */
static bool same_on_hosts(char *a, size_t la, char *b, size_t lb)
{
    char *ra = a, *rb = b;
    size_t rest_a = la, rest_b = lb;
    uint32_t num_a, num_b;

    keep_subsection(&ra, &rest_a);
    keep_subsection(&rb, &rest_b);
    if (ra - a != rb - b || !same_section("cpu", a, b, ra - a)) {
        return false;
    }
    ra += strlen("cpu/kvm-riscv") + 4;
    rb += strlen("cpu/kvm-riscv") + 4;
    num_a = ldl_be_p(ra + 4);
    num_b = ldl_be_p(rb + 4);
    if (ldl_be_p(ra) != ldl_be_p(rb)) {
        g_test_message("cpu: MP state %u, was %u", ldl_be_p(rb), ldl_be_p(ra));
        return false;
    }
    ra += 8;
    rb += 8;
    for (uint32_t i = 0, j; i < num_a; i++) {
        uint64_t id = ldq_be_p(ra + i * 8);
        uint64_t was = ldq_be_p(ra + (num_a + i) * 8), is;

        for (j = 0; j < num_b && ldq_be_p(rb + j * 8) != id; j++) {
            continue;
        }
        if (j == num_b) {
            g_test_message("cpu: no register 0x%" PRIx64, id);
            return false;
        }
        is = ldq_be_p(rb + (num_b + j) * 8);
        if (is != was) {
            g_test_message("cpu: register 0x%" PRIx64 " is 0x%" PRIx64
                           ", was 0x%" PRIx64, id, is, was);
            return false;
        }
    }
    return true;
}

static bool same_sections(const char *file_a, const char *file_b,
                          const char *name, unsigned expected, bool reset,
                          bool mixed)
{
    g_autofree char *a = NULL, *b = NULL;
    char *pa, *pb;
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
        if (aia_has_peer() && g_str_equal(name, "cpu")) {
            if (!same_on_hosts(pa, la, pb, lb)) {
                return false;
            }
            count++;
            continue;
        }
        if (mixed && g_str_equal(name, "cpu")) {
            keep_subsection(&pa, &la);
            keep_subsection(&pb, &lb);
        }
        g_assert_cmpuint(la, ==, lb);
        if (reset && g_str_equal(name, "cpu")) {
            forget_what_survives_reset(pa, la);
            forget_what_survives_reset(pb, lb);
        }
        if (!same_section(name, pa, pb, la)) {
            return false;
        }
        count++;
    }
    g_assert_true(!pa && !pb);
    g_assert_cmpuint(count, ==, expected);
    return true;
}

static void compare_sections(const char *file_a, const char *file_b,
                             const char *name, unsigned expected, bool reset,
                             bool mixed)
{
    g_assert_true(same_sections(file_a, file_b, name, expected, reset, mixed));
}

static void compare_streams(const AIACase *c, const char *a, const char *b,
                            bool reset)
{
    unsigned sockets = aia_sockets(c);

    if (c->tcg) {
        /* One each for machine and supervisor level */
        compare_sections(a, b, "riscv_aplic", 2 * sockets, reset, false);
        compare_sections(a, b, "riscv_imsic", 2 * c->harts, reset, false);
        return;
    }
    if (g_str_equal(c->irqchip, "split")) {
        /*
         * QEMU's own, which a reset leaves as it was: docs/qemu-facts.md.
         * Once it does not, this fails.
         */
        g_assert_true(same_sections(a, b, "riscv_aplic", sockets, reset,
                                    c->mixed) == !reset);
    } else {
        /* The kernel has one only. */
        compare_sections(a, b, "riscv_aplic_kvm", 1, reset, c->mixed);
    }
    compare_sections(a, b, "riscv_imsic_kvm", c->harts, reset, c->mixed);
    compare_sections(a, b, "cpu", c->harts, reset, c->mixed);
}

void aia_compare_streams(const AIACase *c, const char *a, const char *b)
{
    compare_streams(c, a, b, false);
}

void aia_compare_reset(const AIACase *c, const char *fresh, const char *reset)
{
    compare_streams(c, fresh, reset, true);
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

bool aia_is_running(QTestState *qts)
{
    QDict *rsp = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'query-status'}");
    bool running = qdict_get_bool(rsp, "running");

    qobject_unref(rsp);
    return running;
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
        migrate_incoming_qmp(to, load, NULL, "{}");
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
    migrate_incoming_qmp(to, uri, NULL, "{}");
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
    migrate_incoming_qmp(to, f.socket, NULL, "{}");
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
