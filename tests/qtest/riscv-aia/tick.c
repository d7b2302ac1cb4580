/*
 * Migration of a guest that uses every kind of interrupt of the AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c; it tells in memory what arrived on each
 * hart.
 */

#include "qemu/osdep.h"
#include "migration/migration-qmp.h"
#include "framework.h"
#include "peer.h"

/*
 * What a kernel with narrow access to software files (docs/kernel-facts.md)
 * says of a guest that has enabled an identity it cannot set.
 */
#define REFUSED "identity \\d+ of hart \\d+ is enabled, but this kernel cannot"

/*
 * TickCase - a case as the tables below have it
 * @per_socket, @reversed: see AIACase
 * @lower: the guest keeps away from identities 32-63, 96-127 and so on, which
 *     not every destination can take
 */
typedef struct TickCase {
    const AIAMove *move;
    const char *from;
    const char *to;
    const char *irqchip;
    unsigned harts;
    unsigned per_socket;
    bool reversed;
    bool lower;
} TickCase;

typedef struct TickTest {
    AIACase c;
    bool lower;
} TickTest;

static void wait_for_progress(QTestState *qts, const AIACase *c)
{
    aia_tick_wait(qts, c, 5);
}

/*
 * Tells the guest, which is at its reset, what it cannot find out.  With a
 * split irqchip QEMU 10.0 to 10.2 send all wired interrupts to hart 0,
 * whatever their target (docs/qemu-facts.md); the guest is not to wait for
 * them elsewhere.
 */
static void tell(QTestState *qts, const AIACase *c, bool lower)
{
    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, no_upper), lower);
    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, wired_to_hart_0),
                 g_str_equal(c->irqchip, "split"));
    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, per_socket),
                 c->per_socket);
    qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, last_socket),
                 c->reversed ? aia_sockets(c) - 1 : 0);
}

void aia_tick_boot(QTestState *qts, const AIACase *c)
{
    tell(qts, c, false);
    aia_cont(qts);
    wait_for_progress(qts, c);
}

static void boot(QTestState *qts, const TickTest *t)
{
    tell(qts, &t->c, t->lower);
    aia_cont(qts);
    wait_for_progress(qts, &t->c);
}

static QTestState *start(const TickTest *t)
{
    QTestState *qts = aia_start(&t->c, t->c.from, "-S");

    boot(qts, t);
    return qts;
}

static void test_move(const void *opaque)
{
    const TickTest *t = opaque;
    QTestState *qts = start(t);

    qts = t->c.move->run(qts, &t->c);
    wait_for_progress(qts, &t->c);
    qtest_quit(qts);
}

/* Without a start in between, each time by another way to another mode. */
static void test_in_a_row(const void *opaque)
{
    static const char *const modes[] = { "hwaccel", "auto", "emul" };
    const TickTest *t = opaque;
    unsigned step = g_test_slow() ? 1 : 4;
    QTestState *qts = start(t);
    AIACase c = t->c;

    for (int i = 0; i < aia_num_moves; i += step) {
        c.move = aia_moves[i];
        c.to = modes[i / step % ARRAY_SIZE(modes)];
        g_test_message("%s: %s to %s", c.move->name, c.from, c.to);
        qts = c.move->run(qts, &c);
        wait_for_progress(qts, &c);
        c.from = c.to;
    }
    qtest_quit(qts);
}

/* Refused where its identities cannot be had, and none the worse for it. */
static void test_refused(const void *opaque)
{
    const TickTest *t = opaque;
    QTestState *qts = start(t);
    AIACase c = t->c;

    g_assert_true(aia_tick_report(qts).has_upper);
    aia_move_refused(qts, &c, REFUSED);
    wait_for_progress(qts, &c);
    c.to = c.from;
    qts = c.move->run(qts, &c);
    wait_for_progress(qts, &c);
    qtest_quit(qts);
}

static void stop_and_cont(QTestState *qts, const AIACase *c)
{
    for (int i = 0; i < 10; i++) {
        aia_stop(qts);
        aia_cont(qts);
    }
    wait_for_progress(qts, c);
}

/* What stands arrives standing. */
static void test_stopped(const void *opaque)
{
    const TickTest *t = opaque;
    QTestState *qts = start(t);
    TickReport before, after;

    stop_and_cont(qts, &t->c);
    aia_stop(qts);
    before = aia_tick_report(qts);
    qts = t->c.move->run(qts, &t->c);
    after = aia_tick_report(qts);
    g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
    aia_cont(qts);
    stop_and_cont(qts, &t->c);
    qtest_quit(qts);
}

/* A reset leaves what was there at the first start, and the guest starts. */
static void reset(QTestState *qts, const TickTest *t, const AIAFiles *f)
{
    qtest_system_reset(qts);
    g_assert_cmpuint(aia_tick_report(qts).magic, ==, 0);
    aia_save(qts, f->uri_b);
    aia_compare_reset(&t->c, f->a, f->b);
    boot(qts, t);
}

/* On the source, on a destination that never ran, and on one that did. */
static void test_reset(const void *opaque)
{
    const TickTest *t = opaque;
    QTestState *qts = aia_start(&t->c, t->c.from, "-S");
    AIAFiles f;

    aia_files_init(&f);
    aia_save(qts, f.uri_a);
    boot(qts, t);
    aia_stop(qts);
    reset(qts, t, &f);
    aia_stop(qts);
    qts = t->c.move->run(qts, &t->c);
    reset(qts, t, &f);
    aia_stop(qts);
    reset(qts, t, &f);
    aia_files_free(&f);
    qtest_quit(qts);
}

/* A reset while the guest runs and the harts are in it. */
static void test_reset_running(const void *opaque)
{
    const TickTest *t = opaque;
    QTestState *qts = start(t);
    size_t told = AIA_REPORT + offsetof(TickReport, no_upper);

    qts = t->c.move->run(qts, &t->c);
    /* Read at the start only, and gone with a start from the beginning. */
    qtest_writeq(qts, told, 1);
    qtest_system_reset(qts);
    g_assert_cmpuint(qtest_readq(qts, told), ==, 0);
    wait_for_progress(qts, &t->c);
    qtest_quit(qts);
}

static void start_anew(QTestState *qts, const AIACase *c)
{
    wait_for_progress(qts, c);
    qtest_system_reset(qts);
    wait_for_progress(qts, c);
}

/*
 * The snapshot of a guest that never ran: what it did later leaves nothing,
 * not even after a reset in the midst of that.
 */
static void test_before_start(const void *opaque)
{
    TickTest t = *(const TickTest *)opaque;
    QTestState *qts = aia_start(&t.c, t.c.from, "-S");

    t.c.go_on = start_anew;
    tell(qts, &t.c, t.lower);
    qts = t.c.move->run(qts, &t.c);
    wait_for_progress(qts, &t.c);
    qtest_quit(qts);
}

static void add(const char *name, const TickCase *tick,
                void (*run)(const void *))
{
    TickTest t = {
        .c = {
            .move = tick->move, .guest = "tick", .from = tick->from,
            .to = tick->to, .irqchip = tick->irqchip, .harts = tick->harts,
            .per_socket = tick->per_socket, .reversed = tick->reversed,
            .go_on = wait_for_progress,
            .tcg = g_str_equal(tick->irqchip, "off"),
        },
        .lower = tick->lower,
    };
    g_autoptr(GString) path = g_string_new("riscv-aia/tick/");

    g_string_append_printf(path, "%s/%s-%s/%s/%u", name, tick->from, tick->to,
                           tick->irqchip, tick->harts);
    if (tick->per_socket) {
        g_string_append_printf(path, "-by-%u", tick->per_socket);
    }
    if (tick->reversed) {
        g_string_append(path, "-reversed");
    }
    if (tick->lower) {
        g_string_append(path, "-lower");
    }
    qtest_add_data_func_full(path->str, g_memdup2(&t, sizeof(t)), run, g_free);
}

static void add_moves(const TickCase *ticks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(ticks[i].move->name, &ticks[i], test_move);
    }
}

/*
 * Every way with every pair of modes and both irqchips.  The numbers of harts
 * and sockets take turns.
 */
static void add_all_moves(void)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    static const char *const irqchips[] = { "on", "split" };
    unsigned turn = 0;

    for (int m = 0; m < aia_num_moves; m++) {
        for (int p = 0; p < 9; p++) {
            for (int i = 0; i < ARRAY_SIZE(irqchips); i++) {
                TickCase t = {
                    .move = aia_moves[m], .from = modes[p / 3],
                    .to = modes[p % 3], .irqchip = irqchips[i],
                    .harts = 1 + turn % aia_guest_files(),
                };

                if (turn % 3 == 0 && t.harts > 2) {
                    t.per_socket = DIV_ROUND_UP(t.harts, 2);
                }
                t.lower = p == 3 || p == 6;
                add(t.move->name, &t, test_move);
                turn++;
            }
        }
    }
}

/* A fault of QEMU (docs/qemu-facts.md): this fails when it is mended. */
static void test_error_kept(const void *opaque)
{
    static const struct {
        const char *command;
        const char *said;
    } steps[] = {
        { "savevm snap", "" },
        { "loadvm snap", "Error: Error -22 while loading VM state\r\n" },
        { "savevm snap", "" },
        { "loadvm snap", "" },
    };
    QTestState *qts = aia_start(opaque, "tcg", "-S");
    AIAFiles f;

    aia_files_init(&f);
    aia_disk_add(qts, f.disk);
    for (int i = 0; i < ARRAY_SIZE(steps); i++) {
        g_autofree char *said = qtest_hmp(qts, "%s", steps[i].command);

        g_assert_cmpstr(said, ==, steps[i].said);
        if (i == 0) {
            migrate_qmp_fail(qts, "file:/dev/null/stream", NULL, "{}");
        }
    }
    qtest_quit(qts);
    aia_files_free(&f);
}

static void add_tcg(void)
{
    static const AIACase error_kept = {
        .guest = "tick", .irqchip = "off", .harts = 1, .tcg = true,
    };
    static const TickCase ticks[] = {
        { &aia_move_file, "tcg", "tcg", "off", 1 },
        { &aia_move_file, "tcg", "tcg", "off", 5, 3 },
        { &aia_move_live, "tcg", "tcg", "off", 1 },
        { &aia_move_live, "tcg", "tcg", "off", 4 },
        { &aia_move_snapshot, "tcg", "tcg", "off", 1 },
        { &aia_move_snapshot, "tcg", "tcg", "off", 4 },
    };

    add_moves(ticks, ARRAY_SIZE(ticks));
    aia_add("riscv-aia/error-kept", &error_kept, test_error_kept);
}

/*
 * On a host without guest interrupt files the kernel offers emulation only,
 * and QEMU falls back to it with a warning.
 */
static void add_without_files(void)
{
    static const TickCase ticks[] = {
        { &aia_move_file, "auto", "emul", "on", 4 },
        { &aia_move_file, "emul", "auto", "split", 2 },
        { &aia_move_live, "hwaccel", "auto", "on", 8, 3 },
        { &aia_move_postcopy, "auto", "hwaccel", "on", 1 },
        { &aia_move_snapshot, "auto", "auto", "on", 4 },
    };
    static const TickCase resets = {
        &aia_move_live, "auto", "auto", "on", 3,
    };

    add_moves(ticks, ARRAY_SIZE(ticks));
    add("reset", &resets, test_reset);
}

/*
 * On a host with fewer files than harts some of the harts have one, not always
 * the same.
 */
static void add_few_files(void)
{
    static const TickCase ticks[] = {
        { &aia_move_file, "hwaccel", "auto", "on", 1 },
        { &aia_move_live, "auto", "hwaccel", "split", 1 },
        { &aia_move_file, "auto", "auto", "on", 8, 3, .lower = true },
        { &aia_move_live, "auto", "emul", "on", 4, .lower = true },
        { &aia_move_postcopy, "emul", "auto", "on", 4 },
        { &aia_move_snapshot, "auto", "auto", "split", 4, .lower = true },
    };
    static const TickCase resets = {
        &aia_move_live, "auto", "auto", "on", 3, .lower = true,
    };

    add_moves(ticks, ARRAY_SIZE(ticks));
    add("reset", &resets, test_reset);
}

void aia_add_tick_tests(bool tcg)
{
    /* Each pair of modes, each way, each number of harts */
    static const TickCase moves[] = {
        { &aia_move_file, "hwaccel", "hwaccel", "on", 7, 3 },
        { &aia_move_file, "auto", "auto", "split", 4 },
        { &aia_move_exec, "emul", "auto", "on", 1 },
        { &aia_move_incoming, "auto", "auto", "on", 3 },
        { &aia_move_mapped_ram, "auto", "hwaccel", "on", 2 },
        { &aia_move_mapped_ram_multifd, "emul", "emul", "split", 2 },
        { &aia_move_live, "hwaccel", "emul", "on", 4, .lower = true },
        { &aia_move_live, "auto", "auto", "on", 5, 3, .reversed = true },
        { &aia_move_fd, "hwaccel", "auto", "on", 6, 3 },
        { &aia_move_multifd, "emul", "hwaccel", "on", 5 },
        { &aia_move_multifd_zlib, "auto", "emul", "split", 4, .lower = true },
        { &aia_move_multifd_zstd, "auto", "auto", "on", 8, 4, .lower = true },
        { &aia_move_postcopy, "hwaccel", "hwaccel", "split", 4 },
    };
    static const TickCase snapshots[] = {
        { &aia_move_snapshot, "emul", "emul", "on", 4 },
        { &aia_move_snapshot, "hwaccel", "hwaccel", "split", 4 },
        { &aia_move_snapshot, "auto", "auto", "on", 5, 3 },
    };
    static const TickCase before_start[] = {
        { &aia_move_snapshot, "auto", "auto", "on", 3 },
        { &aia_move_snapshot, "hwaccel", "hwaccel", "on", 3 },
        { &aia_move_snapshot, "emul", "emul", "on", 3 },
    };
    static const TickCase in_a_row = {
        NULL, "emul", "emul", "on", 2,
    };
    static const TickCase refused[] = {
        { &aia_move_live, "hwaccel", "emul", "on", 2 },
        { &aia_move_multifd, "auto", "emul", "on", 3 },
    };
    static const TickCase stopped[] = {
        { &aia_move_live, "auto", "hwaccel", "on", 3 },
        { &aia_move_live, "hwaccel", "auto", "split", 4 },
        { &aia_move_live, "emul", "emul", "on", 3 },
    };
    static const TickCase resets[] = {
        { &aia_move_live, "hwaccel", "auto", "on", 3 },
        { &aia_move_live, "emul", "emul", "on", 4, 2 },
        { &aia_move_live, "auto", "hwaccel", "on", 3 },
        { &aia_move_live, "emul", "emul", "split", 4 },
        { &aia_move_live, "auto", "auto", "split", 4 },
    };
    static const TickCase reset_running = {
        &aia_move_live, "auto", "auto", "on", 4,
    };
    bool slow = g_test_slow();

    if (tcg) {
        add_tcg();
        return;
    }
    if (aia_guest_files() == 0) {
        add_without_files();
        return;
    }
    if (aia_guest_files() < AIA_MANY_FILES) {
        add_few_files();
        return;
    }
    if (slow) {
        add_all_moves();
    } else {
        add_moves(moves, ARRAY_SIZE(moves));
    }
    add_moves(snapshots, ARRAY_SIZE(snapshots));
    for (int i = 0; i < (slow ? ARRAY_SIZE(before_start) : 1); i++) {
        add("before-start", &before_start[i], test_before_start);
    }
    add("in-a-row", &in_a_row, test_in_a_row);
    for (int i = 0; i < ARRAY_SIZE(refused); i++) {
        add("refused", &refused[i], test_refused);
    }
    for (int i = 0; i < (slow ? ARRAY_SIZE(stopped) : 1); i++) {
        add("stopped", &stopped[i], test_stopped);
    }
    for (int i = 0; i < (slow ? ARRAY_SIZE(resets) : 2); i++) {
        add("reset", &resets[i], test_reset);
    }
    add("reset-running", &reset_running, test_reset_running);
}

static void peer_home(const AIACase *c, bool lower)
{
    TickTest t = { .c = *c, .lower = lower };
    QTestState *qts = start(&t);

    qts = c->move->run(qts, c);
    g_assert_nonnull(qts);
    wait_for_progress(qts, c);
    qtest_quit(qts);
    aia_peer_end(NULL);
}

static void peer_home_upper(const void *c)
{
    peer_home(c, false);
}

static void peer_home_lower(const void *c)
{
    peer_home(c, true);
}

static void peer_away(const void *opaque)
{
    const AIACase *c = opaque;
    AIAPeerNote note;
    QTestState *qts = aia_peer_receive(c, note);

    aia_cont(qts);
    wait_for_progress(qts, c);
    qts = c->move->run(qts, c);
    g_assert_null(qts);
}

static void add_peer(const AIAMove *move, const char *from, const char *to,
                     const char *irqchip, unsigned harts, bool lower)
{
    g_autofree char *path = g_strdup_printf(
        "tick/%s/%s-%s/%s/%u%s", move->name, from, to, irqchip, harts,
        lower ? "-lower" : "");
    AIACase c = {
        .move = move, .guest = "tick", .from = from, .to = to,
        .irqchip = irqchip, .harts = harts,
        .tcg = g_str_equal(irqchip, "off"),
    };

    aia_peer_add(path, &c, lower ? peer_home_lower : peer_home_upper,
                 peer_away);
}

void aia_add_peer_tick_tests(bool tcg)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    unsigned turn = 0;

    if (tcg) {
        for (int m = 0; m < aia_num_peer_moves; m++) {
            add_peer(&aia_peer_moves[m], "tcg", "tcg", "off", 1 + m % 3,
                     false);
        }
        return;
    }
    if (!g_test_slow()) {
        add_peer(&aia_peer_moves[1], "auto", "hwaccel", "on", 4, false);
        return;
    }
    for (int m = 0; m < aia_num_peer_moves; m++) {
        for (int p = 0; p < 9; p++) {
            /* Upper identities cannot be had there. */
            bool lower = p && p % 3 == 0;

            add_peer(&aia_peer_moves[m], modes[p / 3], modes[p % 3],
                     turn % 4 == 3 ? "split" : "on", 1 + turn % 5, lower);
            turn++;
        }
    }
}
