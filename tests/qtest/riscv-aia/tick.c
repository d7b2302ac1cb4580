/*
 * Migration of a guest that uses every kind of interrupt of the AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c; it tells in memory what arrived on each
 * hart.
 */

#include "qemu/osdep.h"
#include "framework.h"

static TickReport read_report(QTestState *qts)
{
    TickReport report;

    qtest_memread(qts, AIA_REPORT, &report, sizeof(report));
    return report;
}

static bool went_on(const TickHart *then, const TickHart *now, bool upper,
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
static void wait_for_progress(QTestState *qts, const AIACase *c)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    TickReport then = { 0 }, now;
    unsigned harts = c->harts;
    unsigned done;

    do {
        now = read_report(qts);
        if (now.magic == TICK_MAGIC && then.magic != TICK_MAGIC) {
            then = now;
        }
        for (done = 0; done < harts && now.magic == TICK_MAGIC; done++) {
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
        const TickHart *a = &then.hart[i], *b = &now.hart[i];

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
    g_assert_cmpuint(now.magic, ==, TICK_MAGIC);
    g_assert_cmpuint(now.harts, ==, harts);
    g_assert_cmpuint(done, ==, harts);
}

/*
 * Starts the guest.  With a split irqchip QEMU 10.0 to 10.2 send all wired
 * interrupts to hart 0, whatever their target (docs/qemu-facts.md); the guest
 * is told not to wait for them elsewhere.
 */
static QTestState *start_guest(const AIACase *c)
{
    QTestState *qts = aia_start(c, c->from, "-S");

    if (g_str_equal(c->irqchip, "split")) {
        qtest_writeq(qts, AIA_REPORT + offsetof(TickReport, wired_to_hart_0),
                     1);
    }
    aia_cont(qts);
    return qts;
}

static void test_tick(const void *opaque)
{
    const AIACase *c = opaque;
    QTestState *qts = start_guest(c);

    wait_for_progress(qts, c);
    qts = c->move->run(qts, c);
    wait_for_progress(qts, c);
    qtest_quit(qts);
}

static void add(const AIAMove *move, const char *mode, const char *irqchip,
                unsigned harts)
{
    AIACase c = {
        .move = move, .guest = "tick", .from = mode, .to = mode,
        .irqchip = irqchip, .harts = harts, .go_on = wait_for_progress,
        .tcg = g_str_equal(mode, "tcg"),
    };
    g_autofree char *path = g_strdup_printf("riscv-aia/tick/%s/%s/%s/%u",
                                            move->name, mode, irqchip, harts);

    aia_add(path, &c, test_tick);
}

void aia_add_tick_tests(bool tcg)
{
    static const AIAMove *const moves[] = {
        &aia_move_file, &aia_move_live, &aia_move_snapshot,
    };
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    static const char *const irqchips[] = { "on", "split" };
    static const unsigned harts[] = { 1, 4 };

    for (int m = 0; m < ARRAY_SIZE(moves); m++) {
        for (int h = 0; h < ARRAY_SIZE(harts); h++) {
            if (tcg) {
                add(moves[m], "tcg", "off", harts[h]);
                continue;
            }
            for (int k = 0; k < ARRAY_SIZE(modes); k++) {
                for (int i = 0; i < ARRAY_SIZE(irqchips); i++) {
                    add(moves[m], modes[k], irqchips[i], harts[h]);
                }
            }
        }
    }
}
