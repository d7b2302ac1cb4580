/*
 * Migration of what a vCPU holds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guests are tests/guests/vcpu_*.c, each of which tells what it is about.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "peer.h"
#include "vcpu.h"
#include "watched.h"

static uint64_t read_told(QTestState *qts, unsigned i)
{
    return qtest_readq(qts, AIA_REPORT + offsetof(CheckReport, told) +
                       i * sizeof(uint64_t));
}

static void write_arg(QTestState *qts, unsigned i, uint64_t value)
{
    qtest_writeq(qts, AIA_REPORT + offsetof(CheckReport, arg) +
                 i * sizeof(uint64_t), value);
}

QTestState *run_inner(QTestState *from, const AIACase *c)
{
    AIACase inner = *c;

    inner.move = container_of(c->move, VCPUMove, move)->inner;
    return inner.move->run(from, &inner);
}

/* Whether the harts of guests have an extension: "v" or "smstateen". */
static bool has_extension(const AIACase *c, const char *name)
{
    QTestState *qts = aia_start(c, c->from, "-S");
    QDict *rsp = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': "
                           "{'path': '/machine/soc0/harts[0]', "
                           "'property': %s}}", name);
    bool has;

    g_assert_true(qdict_haskey(rsp, "return"));
    has = qdict_get_bool(rsp, "return");
    qobject_unref(rsp);
    qtest_quit(qts);
    return has;
}

void test_regs(const void *opaque)
{
    static int has_sstateen = -1;
    AIACase c = *(const AIACase *)opaque;

    if (has_sstateen < 0) {
        has_sstateen = has_extension(&c, "smstateen");
    }
    c.arg[0] = has_sstateen;
    c.arg[1] = g_test_slow() ? 3 : 1;
    aia_test_check(&c);
}

void test_vector(const void *opaque)
{
    static int has_vectors = -1;
    AIACase c = *(const AIACase *)opaque;

    if (has_vectors < 0) {
        has_vectors = has_extension(&c, "v");
    }
    if (!has_vectors) {
        g_test_skip("this host has no vectors");
        if (aia_has_peer()) {
            aia_peer_end("the source has no vectors");
        }
        return;
    }
    c.arg[0] = g_test_slow() ? 5 : 2;
    aia_test_check(&c);
}

QTestState *move_vector(QTestState *from, const AIACase *c)
{
    QTestState *to = run_inner(from, c);

    if (!to) {
        return NULL;
    }
    g_assert_cmpuint(read_told(to, 0), >=, 16);
    g_test_message("VLEN is %" PRIu64, 8 * read_told(to, 0));
    return to;
}

static QTestState *move_sbi(QTestState *from, const AIACase *c)
{
    QTestState *to = run_inner(from, c);

    g_test_message("%s steal time, firmware features %" PRIu64,
                   read_told(to, 0) ? "with" : "without", read_told(to, 1));
    return to;
}

static void test_pmu(const void *opaque)
{
    AIACase c = *(const AIACase *)opaque;

    c.options = VCPU_PMU;
    aia_test_check(&c);
}

static QTestState *move_pmu(QTestState *from, const AIACase *c)
{
    QTestState *to = run_inner(from, c);

    g_test_message("%s SBI PMU, illegal counters %" PRIx64,
                   read_told(to, 0) ? "with" : "without", read_told(to, 1));
    return to;
}

/* vcpu_counters: what a source that refuses to move its guest has said */
static char *refusals;

static void run_counters(const AIACase *opaque, void (*run)(const void *))
{
    AIACase c = *opaque;
    g_autofree char *options = NULL;
    int fd = g_file_open_tmp("riscv-aia-refusals-XXXXXX", &refusals, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    options = g_strdup_printf("2>>%s", refusals);
    c.options = options;
    run(&c);
    unlink(refusals);
    g_clear_pointer(&refusals, g_free);
}

void test_counters(const void *opaque)
{
    run_counters(opaque, aia_test_check);
}

void counters_away(const void *opaque)
{
    run_counters(opaque, aia_check_away);
}

/* All harts have the same counters in use; each is named with all of them. */
static void assert_counters_named(const char *said, uint64_t open,
                                  unsigned harts)
{
    g_autoptr(GString) what = g_string_new(NULL);

    g_test_message("refused: %s", said);
    for (unsigned hart = 0; hart < harts; hart++) {
        const char *comma = "";

        g_string_append_printf(what, "%shart %u: ", hart ? "; " : "", hart);
        for (unsigned i = 0; i < 64; i++) {
            if (open >> i & 1) {
                g_string_append_printf(what, "%s%u", comma, i);
                comma = ", ";
            }
        }
    }
    g_assert_nonnull(strstr(said, what->str));
    g_assert_nonnull(strstr(said, "close them in the guest"));
}

/* While counters are in use, no way out; the guest goes on where it was. */
static QTestState *stay_with_counters(QTestState *qts, const AIACase *c,
                                      uint64_t open)
{
    static const char *const other[] = { "completed", "cancelled", NULL };
    g_autofree char *migrate = NULL, *savevm = NULL;
    QDict *info;
    AIAFiles f;

    aia_files_init(&f);
    migrate_set_capability(qts, "events", true);
    migrate_qmp(qts, NULL, f.uri_a, NULL, "{}");
    wait_for_migration_status(qts, "failed", (const char **)other);
    g_assert_true(g_file_get_contents(refusals, &migrate, NULL, NULL));
    assert_counters_named(migrate, open, c->harts);
    info = migrate_query(qts);
    assert_counters_named(qdict_get_str(info, "error-desc"), open, c->harts);
    qobject_unref(info);

    aia_disk_add(qts, f.disk);
    savevm = qtest_hmp(qts, "savevm snap");
    assert_counters_named(savevm, open, c->harts);
    aia_disk_remove(qts);
    aia_files_free(&f);
    if (!aia_is_running(qts)) {
        qtest_qmp_eventwait(qts, "RESUME");
    }
    return qts;
}

/* A host with one counter less is made of the stream of this one. */
static void test_other_counters(const void *opaque)
{
    static const char name[] = "cpu/kvm-riscv/pmu";
    const AIACase *c = opaque;
    g_autofree char *stream = NULL, *words = NULL;
    AIAWatched from, to;
    AIAFiles f;
    gsize len;
    char *num;

    aia_files_init(&f);
    memset(&from, 0, sizeof(from));
    aia_watched_start(&from, c, c->from, "");
    aia_tick_wait(from.qts, c, 1);
    aia_stop(from.qts);
    aia_save(from.qts, f.uri_a);
    aia_watched_quit(&from);

    g_assert_true(g_file_get_contents(f.a, &stream, &len, NULL));
    num = memmem(stream, len, name, strlen(name));
    if (!num) {
        g_test_skip("this host has no SBI PMU");
        aia_files_free(&f);
        return;
    }
    /* After a version and the address of the area */
    num += strlen(name) + 4 + 8;
    stl_be_p(num, ldl_be_p(num) - 1);
    g_assert_true(g_file_set_contents(f.a, stream, len, NULL));

    memset(&to, 0, sizeof(to));
    aia_watched_start(&to, c, c->to, "-S -incoming defer");
    aia_incoming(to.qts, f.uri_a);
    aia_watched_wait_end(&to);
    words = aia_watched_words(&to);
    g_test_message("%s", words);
    g_assert_nonnull(strstr(words, "performance counters (SBI PMU) of hart 0"));
    aia_watched_quit(&to);
    aia_files_free(&f);
}

/* The memory is sent before QEMU asks: the guest goes on once where it is. */
static void save_and_go_on(QTestState *qts)
{
    AIAFiles f;

    aia_files_init(&f);
    aia_save_devices(qts, f.a);
    aia_files_free(&f);
}

QTestState *move_counters(QTestState *from, const AIACase *c)
{
    uint64_t open = read_told(from, 0);

    if (!read_told(from, 1)) {
        g_test_message("without SBI PMU");
    }
    if (open) {
        return stay_with_counters(from, c, open);
    }
    save_and_go_on(from);
    return run_inner(from, c);
}

/* Where the guest has counters all ways out are blocked, and it goes on. */
static QTestState *stay(QTestState *qts, const AIACase *c)
{
    static const char reason[] = "migratable=on";
    QDict *rsp = migrate_query(qts);
    g_autofree char *info = qtest_hmp(qts, "info migrate");
    g_autofree char *savevm = qtest_hmp(qts, "savevm snap");
    g_autoptr(GString) json = NULL;

    g_assert_cmpuint(read_told(qts, 0), ==, 1);
    g_assert_true(qdict_haskey(rsp, "blocked-reasons"));
    json = qobject_to_json(qdict_get(rsp, "blocked-reasons"));
    g_test_message("%s", json->str);
    g_assert_nonnull(strstr(json->str, "SBI PMU"));
    g_assert_nonnull(strstr(json->str, reason));
    g_assert_nonnull(strstr(info, reason));
    g_assert_nonnull(strstr(savevm, reason));
    migrate_qmp_fail(qts, "file:/dev/null", NULL, "{}");
    qobject_unref(rsp);
    return qts;
}

static void test_not_migratable(const void *opaque)
{
    if (!has_extension(opaque, "sscofpmf")) {
        g_test_skip("KVM of this host has no SBI PMU");
        return;
    }
    aia_test_check(opaque);
}

static QDict *expand(const char *props)
{
    return qdict_from_jsonf_nofail(
        "{'execute': 'query-cpu-model-expansion', 'arguments': {'type': "
        "'full', 'model': {'name': 'host', 'props': %p}}}",
        qobject_from_json(props, NULL));
}

static void assert_migratable(QTestState *qts, const char *props,
                              const char *value)
{
    QDict *rsp = qtest_qmp_assert_success_ref(qts, "%p", expand(props));
    QDict *model = qdict_get_qdict(rsp, "model");

    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(model, "props"),
                                  "migratable"), ==, value);
    qobject_unref(rsp);
}

/* As the software above QEMU finds it out */
static void test_property(const void *opaque)
{
    QTestState *qts = aia_start(opaque, "auto", "-S");
    g_autoptr(GString) json = NULL;
    QDict *rsp;

    rsp = qtest_qmp(qts, "{'execute': 'qom-list-properties', 'arguments': "
                    "{'typename': 'host-riscv-cpu'}}");
    json = qobject_to_json(QOBJECT(rsp));
    g_assert_nonnull(strstr(json->str, "\"migratable\""));
    qobject_unref(rsp);

    assert_migratable(qts, "{}", "auto");
    assert_migratable(qts, "{'migratable': 'on'}", "on");
    assert_migratable(qts, "{'migratable': 'off'}", "off");
    rsp = qtest_qmp_assert_failure_ref(qts, "%p",
                                       expand("{'migratable': 'maybe'}"));
    g_test_message("%s", qdict_get_str(rsp, "desc"));
    g_assert_nonnull(strstr(qdict_get_str(rsp, "desc"), "migratable"));
    qobject_unref(rsp);
    qtest_quit(qts);
}

/* vcpu_timer: what time it is, there and here */

static uint64_t ask_time(QTestState *qts)
{
    static uint64_t question;
    int64_t end = deadline();

    write_arg(qts, 0, ++question);
    while (read_told(qts, 0) != question) {
        wait_a_little(end);
    }
    return read_told(qts, 1);
}

static uint64_t ticks_per_second(void)
{
    g_autofree char *be = NULL;
    gsize len;

    if (!g_file_get_contents("/proc/device-tree/cpus/timebase-frequency",
                             &be, &len, NULL) || len != sizeof(uint32_t)) {
        g_test_message("timebase unknown: no check that time does not jump");
        return UINT32_MAX;
    }
    return ldl_be_p(be);
}

/* What passes for the guest passes here too. */
QTestState *move_timed(QTestState *from, const AIACase *c)
{
    int64_t began = g_get_monotonic_time();
    uint64_t before = ask_time(from), after, at_most;
    uint64_t early = read_told(from, 2);
    QTestState *to = run_inner(from, c);

    if (!to) {
        return NULL;
    }
    after = ask_time(to);
    early = read_told(to, 2) - early;
    g_test_message("%" PRIu64 " interrupts of timers came early", early);
    g_assert_cmpuint(early, <=, 1);
    at_most = (g_get_monotonic_time() - began + 1) * ticks_per_second() /
              G_USEC_PER_SEC;
    g_assert_cmpuint(after, >=, before);
    g_assert_cmpuint(after - before, <=, at_most);
    return to;
}

/* vcpu_compute: moves that the guest does not know of */

void aia_compute_wait(QTestState *qts, const AIACase *c, unsigned rounds)
{
    int64_t end = deadline();
    CheckReport first, now;
    unsigned done;

    qtest_memread(qts, AIA_REPORT, &first, sizeof(first));
    do {
        wait_a_little(end);
        qtest_memread(qts, AIA_REPORT, &now, sizeof(now));
        if (now.result == CHECK_FAILED) {
            now.what[sizeof(now.what) - 1] = '\0';
            g_test_message("%s", now.what);
        }
        g_assert_cmpuint(now.result, ==, CHECK_RUNNING);
        for (done = 0; done < c->harts; done++) {
            if (now.told[done] < first.told[done] + rounds) {
                break;
            }
        }
    } while (done < c->harts);
}

void aia_compute_end(QTestState *qts, const AIACase *c)
{
    int64_t end;

    aia_compute_wait(qts, c, 2);
    write_arg(qts, 0, 1);
    end = deadline();
    while (qtest_readq(qts, AIA_REPORT + offsetof(CheckReport, result)) !=
           CHECK_PASSED) {
        wait_a_little(end);
    }
    qtest_quit(qts);
}

static void test_compute(const void *opaque)
{
    AIACase c = *(const AIACase *)opaque;
    QTestState *qts = aia_start(&c, c.from, "");

    aia_compute_wait(qts, &c, 1);
    for (int i = 0; i < (g_test_slow() ? 20 : 3); i++) {
        const char *mode = c.from;

        qts = c.move->run(qts, &c);
        c.from = c.to;
        c.to = mode;
    }
    aia_compute_end(qts, &c);
}

static void add(const char *guest, const AIAMove *move, const char *from,
                const char *to, unsigned harts, void (*run)(const void *))
{
    AIACase c = {
        .move = move, .guest = guest, .from = from, .to = to,
        .irqchip = "on", .harts = harts,
    };
    g_autofree char *modes = g_str_equal(from, to)
        ? g_strdup(from) : g_strdup_printf("%s-%s", from, to);
    g_autofree char *path = g_strdup_printf("riscv-aia/%s/%s/%s/%u", guest,
                                            move->name, modes, harts);

    aia_add(path, &c, run);
}

#define VCPU_MOVES(name, run)                   \
static const VCPUMove name[] = {                \
    { { "file", run }, &aia_move_file },        \
    { { "live", run }, &aia_move_live },        \
    { { "snapshot", run }, &aia_move_snapshot } \
}

VCPU_MOVES(plain, run_inner);
VCPU_MOVES(vector, move_vector);
VCPU_MOVES(starting, move_starting);
VCPU_MOVES(timed, move_timed);
VCPU_MOVES(of_sbi, move_sbi);
VCPU_MOVES(of_pmu, move_pmu);
VCPU_MOVES(counters, move_counters);

/*
 * What is run always: each guest in a mode or two, each mode and each move
 * with some guest.  By move: file, live, snapshot.
 */
static const struct {
    const char *guest;
    const VCPUMove *moves;
    unsigned harts;
    void (*run)(const void *);
    const char *quick[3];
} guests[] = {
    { "vcpu_regs", plain, 4, test_regs, { "emul", "hwaccel", "auto" } },
    { "vcpu_vector", vector, 2, test_vector, { "hwaccel", NULL, "emul" } },
    { "vcpu_hsm", plain, 4, aia_test_check, { "auto", NULL, "emul" } },
    { "vcpu_start", starting, 2, aia_test_check, { "hwaccel", NULL, "auto" } },
    { "vcpu_timer", timed, 3, aia_test_check, { "emul", "auto", NULL } },
    { "vcpu_sbi", of_sbi, 2, aia_test_check, { NULL, "emul", "auto" } },
    { "vcpu_pmu", of_pmu, 1, test_pmu, { "auto", "auto", NULL } },
    { "vcpu_counters", counters, 2, test_counters,
      { "hwaccel", "auto", "emul" } },
};

void aia_add_vcpu_tests(void)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    static const AIACase moved = {
        .move = &aia_move_snapshot, .guest = "vcpu_regs", .irqchip = "on",
        .from = "emul", .to = "emul", .harts = 2,
    };
    static const AIAMove blocked = { "blocked", stay };
    static const AIACase not_migratable = {
        .move = &blocked, .guest = "vcpu_pmu", .irqchip = "on",
        .from = "auto", .to = "auto", .harts = 1,
        .options = "-cpu host,migratable=off", .arg = { 1 },
    };
    static const AIACase other_counters = {
        .guest = "tick", .irqchip = "on", .from = "auto", .to = "auto",
        .harts = 2,
    };
    static const AIACase property = {
        .guest = "vcpu_pmu", .irqchip = "on", .harts = 1,
    };

    for (int g = 0; g < ARRAY_SIZE(guests); g++) {
        for (int m = 0; m < ARRAY_SIZE(plain); m++) {
            if (guests[g].moves == starting && m == 1) {
                /* The machine is stopped, and not moved while it runs. */
                continue;
            }
            for (int i = 0; i < ARRAY_SIZE(modes); i++) {
                if (g_test_slow() ||
                    g_strcmp0(guests[g].quick[m], modes[i]) == 0) {
                    add(guests[g].guest, &guests[g].moves[m].move, modes[i],
                        modes[i], guests[g].harts, guests[g].run);
                }
            }
        }
    }
    /*
     * All other guests need Sstc, and with it KVM loses timers that are set by
     * SBI (docs/kernel-facts.md).
     */
    if (aia_host_lacks_sstc()) {
        for (int m = 0; m < ARRAY_SIZE(timed); m++) {
            add("vcpu_timer_sbi", &timed[m].move, modes[m], modes[m], 3,
                aia_test_check);
        }
    }
    add("vcpu_start", &aia_move_reset_starting, "auto", "auto", 2,
        aia_test_check);
    add("vcpu_compute", &aia_move_live, "emul", "hwaccel", 4, test_compute);
    aia_add("riscv-aia/moved/vcpu_regs", &moved, test_moved);
    aia_add("riscv-aia/moved/vcpu_regs-confined", &moved, test_moved_confined);
    aia_add("riscv-aia/vcpu_pmu/not-migratable", &not_migratable,
            test_not_migratable);
    aia_add("riscv-aia/vcpu_counters/other", &other_counters,
            test_other_counters);
    aia_add("riscv-aia/vcpu_pmu/property", &property, test_property);
    if (g_test_slow()) {
        add("vcpu_compute", &aia_move_live, "auto", "auto", 4, test_compute);
        add("vcpu_compute", &aia_move_file, "hwaccel", "auto", 4,
            test_compute);
    }
}
