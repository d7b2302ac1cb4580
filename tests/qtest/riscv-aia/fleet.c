/*
 * Migration between this QEMU and others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unpatched ones, which cannot save a guest with the AIA in the kernel, and
 * this fork on another version of QEMU.
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qemu/since.h"
#include "migration/migration-qmp.h"
#include "framework.h"

#define STOCK "QTEST_QEMU_BINARY_STOCK"
#define OTHER "QTEST_QEMU_BINARY_OTHER"
#define NEWEST "QTEST_QEMU_BINARY_NEWEST"

/*
 * FleetCase - source, destination
 * @no_return_path: the source does not hear from the destination
 * @slowly: the memory is still being sent when the destination refuses
 * @by_file: the guest is saved, and the source never hears of the refusal
 * @says: regular expression for what the destination says
 */
typedef struct FleetCase {
    const char *name;
    AIACase from;
    AIACase to;
    bool no_return_path;
    bool slowly;
    bool by_file;
    const char *says;
} FleetCase;

/* The one of the two that is not this fork */
static const char *other_binary(const FleetCase *f)
{
    return f->from.binary ?: f->to.binary;
}

static char *version_of(const char *binary)
{
    g_autofree char *command = g_strdup_printf("%s --version",
                                               g_getenv(binary));
    g_autofree char *said = NULL;
    char version[16];

    g_assert_true(g_spawn_command_line_sync(command, &said, NULL, NULL, NULL));
    g_assert_cmpint(sscanf(said, "QEMU emulator version %15[0-9.]", version),
                    ==, 1);
    return g_strdup(version);
}

/* Sections of QEMU's own differ between 10 and 11. */
static bool differs(const FleetCase *f)
{
    static unsigned major;

    if (!g_getenv(OTHER) || !g_str_equal(other_binary(f), OTHER)) {
        return false;
    }
    if (!major) {
        g_autofree char *version = version_of(OTHER);

        g_assert_cmpint(sscanf(version, "%u.", &major), ==, 1);
    }
    return major != QEMU_VERSION_MAJOR;
}

static bool skipped(const FleetCase *f)
{
    const char *binary = other_binary(f);

    if (QEMU_SINCE(11, 1)) {
        g_test_skip("QEMU's tests of 11.1 start no older QEMU");
        return true;
    }
    if (g_getenv(binary)) {
        return false;
    }
    g_test_skip(g_str_equal(binary, OTHER)
                ? OTHER " names no fork on another version of QEMU"
                : STOCK " or " NEWEST " names no unpatched QEMU");
    return true;
}

/* As docs/compatibility.md has it */
static char *name_of(const AIACase *c)
{
    g_autofree char *version = NULL;

    if (!c->binary) {
        return g_strdup_printf("fork on %d.%d", QEMU_VERSION_MAJOR,
                               QEMU_VERSION_MINOR);
    }
    version = version_of(c->binary);
    if (g_str_equal(c->binary, OTHER)) {
        *strrchr(version, '.') = '\0';
        return g_strdup_printf("fork on %s", version);
    }
    return g_strdup_printf("Debian's %s", version);
}

/* @refusal: or NULL.  tests/runner/fleet.py reads it. */
static void tell(const FleetCase *f, const char *way, const char *refusal)
{
    g_autofree char *from = name_of(&f->from), *to = name_of(&f->to);
    g_autofree char *result = refusal
        ? g_strdup_printf("refused: %s", refusal)
        : g_strdup_printf("moves from %s to %s", f->from.from, f->to.to);

    g_test_message("fleet: %s; %s; %s; %s; %s", from, to,
                   g_str_equal(f->from.guest, "tick") ? f->from.irqchip
                                                      : "aia=none",
                   way, result);
}

/* The line of what was said in which the expected words begin */
static char *line_of(const char *said, const char *words)
{
    g_autoptr(GRegex) regex = g_regex_new(words, 0, 0, NULL);
    g_autoptr(GMatchInfo) info = NULL;
    const char *begin, *end;
    int start;

    if (!g_regex_match(regex, said, 0, &info)) {
        return NULL;
    }
    g_match_info_fetch_pos(info, 0, &start, NULL);
    for (begin = said + start; begin > said && begin[-1] != '\n'; begin--) {
        continue;
    }
    end = strchrnul(begin, '\n');
    return g_strndup(begin, end - begin);
}

static void go_on(QTestState *qts, const AIACase *c)
{
    if (g_str_equal(c->guest, "tick")) {
        aia_tick_wait(qts, c, 5);
    } else {
        aia_compute_wait(qts, c, 1);
    }
}

static QTestState *start(const AIACase *c)
{
    QTestState *qts = aia_start(c, c->from, "-S");

    if (g_str_equal(c->guest, "tick")) {
        aia_tick_boot(qts, c);
    } else {
        aia_cont(qts);
        go_on(qts, c);
    }
    return qts;
}

/* There and back. */
static void test_moves(const void *opaque)
{
    const FleetCase *f = opaque;
    QTestState *qts;
    AIACase back;

    if (skipped(f)) {
        return;
    }
    qts = start(&f->from);
    qts = f->to.move->run(qts, &f->to);
    go_on(qts, &f->to);
    back = f->from;
    back.to = f->from.from;
    back.from = f->to.to;
    qts = back.move->run(qts, &back);
    go_on(qts, &back);
    qtest_quit(qts);
    tell(f, f->to.move->name, NULL);
}

static void say_why(QTestState *from)
{
    QDict *rsp = qtest_qmp_assert_success_ref(from,
                                              "{'execute': 'query-migrate'}");

    g_test_message("the source: %s", qdict_haskey(rsp, "error-desc")
                   ? qdict_get_str(rsp, "error-desc") : "no reason");
    qobject_unref(rsp);
}

static void wait_for_refusal(QTestState *from)
{
    static const char *const other[] = { "completed", "cancelled", NULL };
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    wait_for_migration_status(from, "failed", (const char **)other);
    say_why(from);
    while (!aia_is_running(from)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
}

static void test_refused(const void *opaque)
{
    const FleetCase *f = opaque;
    g_autofree char *more = NULL, *said = NULL, *line = NULL;
    QTestState *from, *to;
    AIAFiles files;

    if (skipped(f)) {
        return;
    }
    aia_files_init(&files);
    from = start(&f->from);
    more = g_strdup_printf("-incoming defer 2>%s", files.errors);
    to = aia_start(&f->to, f->to.to, more);
    if (f->by_file) {
        aia_save(from, files.uri_a);
        g_assert_false(aia_is_running(from));
        aia_incoming(to, files.uri_a);
        aia_wait_failed(to);
        aia_cont(from);
    } else {
        migrate_set_capability(from, "return-path", !f->no_return_path);
        migrate_set_capability(to, "return-path", !f->no_return_path);
        if (f->slowly) {
            migrate_set_parameter_int(from, "max-bandwidth", 32768);
        }
        aia_incoming(to, files.socket);
        migrate_qmp(from, NULL, files.socket, NULL, "{}");
        wait_for_refusal(from);
        aia_wait_failed(to);
    }
    g_assert_true(g_file_get_contents(files.errors, &said, NULL, NULL));
    g_test_message("refused: %s", said);
    line = line_of(said, differs(f) ? "section cpu of QEMU: version" : f->says);
    g_assert_nonnull(line);
    go_on(from, &f->from);
    qtest_quit(from);
    aia_files_free(&files);
    tell(f, f->by_file ? "file" : f->no_return_path ? "live without return-path"
                                                    : "live", line);
}

#define CASE(...) { \
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on", \
    .harts = 3, .move = &aia_move_live, __VA_ARGS__ }
#define NO_AIA \
    .guest = "vcpu_compute", .options = "-machine aia=none"

#define OTHER_SPLIT "section riscv_aplic of QEMU"

#define NO_SHAPE "sends no section riscv_aia_shape.*\n.*has to be started in"
#define NO_VCPU "sends no subsection cpu/kvm-riscv.*\n.*has to be started in"

/*
 * Unpatched, QEMU 10.0 aborts where it would save the state of the in-kernel
 * AIA: a destination that refused then would come too late for the guest.
 * Memory that takes its time is what real guests have.
 */
static const FleetCase refused[] = {
    {
        "from-stock/on", CASE(.binary = STOCK), CASE(),
        .slowly = true, .says = NO_SHAPE,
    }, {
        "from-stock/none", CASE(.binary = STOCK, NO_AIA), CASE(NO_AIA),
        .says = NO_VCPU,
    }, {
        "to-stock/on", CASE(), CASE(.binary = STOCK),
        .says = "'riscv_aia_shape'",
    }, {
        "to-stock/no-return-path", CASE(), CASE(.binary = STOCK),
        .no_return_path = true, .slowly = true, .says = "'riscv_aia_shape'",
    }, {
        "from-newest/on", CASE(.binary = NEWEST), CASE(),
        .slowly = true, .says = NO_SHAPE,
    }, {
        "to-newest/on", CASE(), CASE(.binary = NEWEST),
        .says = "'riscv_aia_shape'",
    }, {
        "from-other/split", CASE(.binary = OTHER, .irqchip = "split"),
        CASE(.irqchip = "split"), .says = OTHER_SPLIT,
    }, {
        "to-other/split", CASE(.irqchip = "split"),
        CASE(.binary = OTHER, .irqchip = "split"),
        .says = OTHER_SPLIT,
    },
};

static const FleetCase refused_slow[] = {
    {
        "from-stock/no-return-path", CASE(.binary = STOCK), CASE(),
        .no_return_path = true, .slowly = true, .says = NO_SHAPE,
    }, {
        "from-stock/split", CASE(.binary = STOCK, .irqchip = "split"),
        CASE(.irqchip = "split"), .slowly = true, .says = NO_SHAPE,
    }, {
        "to-stock/split", CASE(.irqchip = "split"),
        CASE(.binary = STOCK, .irqchip = "split"),
        .says = "'riscv_aia_shape'",
    }, {
        "to-other/split-file", CASE(.irqchip = "split"),
        CASE(.binary = OTHER, .irqchip = "split"),
        .by_file = true, .says = OTHER_SPLIT,
    }, {
        "to-stock/none", CASE(NO_AIA), CASE(.binary = STOCK, NO_AIA),
        .says = "of device 'cpu'",
    }, {
        "from-newest/none", CASE(.binary = NEWEST, NO_AIA), CASE(NO_AIA),
        .says = "'cpu'",
    }, {
        "from-newest/split", CASE(.binary = NEWEST, .irqchip = "split"),
        CASE(.irqchip = "split"), .slowly = true, .says = NO_SHAPE,
    }, {
        "to-newest/none", CASE(NO_AIA), CASE(.binary = NEWEST, NO_AIA),
        .says = "'cpu'",
    }, {
        "to-newest/split", CASE(.irqchip = "split"),
        CASE(.binary = NEWEST, .irqchip = "split"),
        .says = "'riscv_aia_shape'",
    },
};

static const FleetCase moves[] = {
    {
        "from-other/hwaccel-auto",
        CASE(.binary = OTHER, .mixed = true, .from = "hwaccel"),
        CASE(.mixed = true, .move = &aia_move_file),
    }, {
        "to-other/emul-auto", CASE(.mixed = true, .from = "emul"),
        CASE(.binary = OTHER, .mixed = true),
    },
};

static void test_other(const void *opaque)
{
    (differs(opaque) ? test_refused : test_moves)(opaque);
}

static void add(const FleetCase *f, void (*run)(const void *))
{
    g_autofree char *path = g_strdup_printf("riscv-aia/fleet/%s", f->name);

    qtest_add_data_func(path, f, run);
}

/*
 * Each way with each pair of modes, in both directions.  A guest that found
 * upper identities at its start cannot move to emul (docs/kernel-facts.md).
 */
static void add_all_moves(void)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    unsigned turn = 0;

    for (int m = 0; m < aia_num_moves; m++) {
        for (int p = 0; p < 9; p++) {
            const char *from = modes[p / 3], *to = modes[p % 3];
            bool upper = !g_str_equal(from, "emul");

            if (upper && g_str_equal(to, "emul")) {
                continue;
            }
            for (int other = 0; other < 2; other++, turn++) {
                FleetCase f = {
                    .from = CASE(.move = aia_moves[m], .from = from,
                                 .harts = 1 + turn % 4, .mixed = true),
                    .to = CASE(.move = aia_moves[m], .to = to,
                               .harts = 1 + turn % 4, .mixed = true),
                };
                g_autofree char *path = g_strdup_printf(
                    "riscv-aia/fleet/%s-other/%s/%s-%s",
                    other ? "from" : "to", aia_moves[m]->name, from, to);

                *(other ? &f.from.binary : &f.to.binary) = OTHER;
                qtest_add_data_func_full(path, g_memdup2(&f, sizeof(f)),
                                         test_other, g_free);
            }
        }
    }
}

bool aia_add_fleet_tests(void)
{
    if (!g_getenv(STOCK) && !g_getenv(OTHER) && !g_getenv(NEWEST)) {
        return false;
    }
    for (int i = 0; i < ARRAY_SIZE(refused); i++) {
        add(&refused[i], test_refused);
    }
    if (g_test_slow()) {
        for (int i = 0; i < ARRAY_SIZE(refused_slow); i++) {
            add(&refused_slow[i], test_refused);
        }
        add_all_moves();
    } else {
        for (int i = 0; i < ARRAY_SIZE(moves); i++) {
            add(&moves[i], test_other);
        }
    }
    return true;
}
