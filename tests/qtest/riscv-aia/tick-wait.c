/*
 * Whether every kind of interrupt of the AIA goes on in a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c; it tells in memory what arrived on each
 * hart.
 */

#include "qemu/osdep.h"
#include "framework.h"

TickReport aia_tick_report(QTestState *qts)
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
 * An interrupt that is lost leaves its counter behind for good: the guest
 * sends the next only after it came.
 */
void aia_tick_wait(QTestState *qts, const AIACase *c, unsigned by)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    TickReport then = { 0 }, now;
    unsigned harts = c->harts;
    unsigned done;

    do {
        now = aia_tick_report(qts);
        if (now.magic == TICK_MAGIC && then.magic != TICK_MAGIC) {
            then = now;
        }
        for (done = 0; done < harts && now.magic == TICK_MAGIC; done++) {
            if (!went_on(&then.hart[done], &now.hart[done], now.has_upper,
                         by)) {
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
