/*
 * Migration of guests that check one thing each, to another host and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They are those of check.c and vcpu.c, and begin on the source as there.
 */

#include "qemu/osdep.h"
#include "peer.h"
#include "vcpu.h"

static void compute_home(const void *opaque)
{
    const AIACase *c = opaque;
    QTestState *qts = aia_start(c, c->from, "");

    aia_compute_wait(qts, c, 1);
    for (int i = 0; i < (g_test_slow() ? 5 : 1); i++) {
        qts = c->move->run(qts, c);
        g_assert_nonnull(qts);
    }
    aia_compute_end(qts, c);
    aia_peer_end(NULL);
}

static void compute_away(const void *opaque)
{
    const AIACase *c = opaque;
    AIAPeerNote note;
    QTestState *qts = aia_peer_receive(c, note);

    aia_cont(qts);
    while (qts) {
        aia_compute_wait(qts, c, 1);
        qts = c->move->run(qts, c);
    }
}

/**
 * struct peer_guest - a guest and how it is run
 * @around: done around each move of a guest of check.h, or NULL
 * @upper: it uses identities that mode emul does not have
 * @sends_on_load: as in AIACase
 * @stopped_only: it is not moved while it runs
 * @slow: it is in the long form only
 * @quick: the way and the pair of modes of the short form
 */
static const struct peer_guest {
    const char *name;
    unsigned harts;
    const char *options;
    uint64_t arg[3];
    QTestState *(*around)(QTestState *from, const AIACase *c);
    bool upper;
    bool sends_on_load;
    bool stopped_only;
    bool slow;
    bool apart;
    int quick[2];
    void (*home)(const void *c);
    void (*away)(const void *c);
} peer_guests[] = {
    {
        .name = "aplic", .harts = 2, .arg = { 0x91 }, .quick = { 0, 5 },
        .apart = true, .upper = true,
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "imsic", .harts = 4, .arg = { 3, 1, 1 }, .quick = { 0, 8 },
        .upper = true, .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "devices", .harts = 1, .options = AIA_DEVICES,
        .quick = { 1, 0 }, .upper = true, .sends_on_load = true,
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "memory", .harts = 2, .quick = { 1, 4 },
        .home = aia_test_memory, .away = aia_memory_away,
    }, {
        .name = "memory_busy", .harts = 4, .slow = true,
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "vcpu_regs", .harts = 4, .quick = { 1, 5 },
        .upper = true, .home = test_regs, .away = aia_check_away,
    }, {
        .name = "vcpu_vector", .harts = 2, .quick = { 0, 4 },
        .around = move_vector, .home = test_vector, .away = aia_check_away,
    }, {
        .name = "vcpu_hsm", .harts = 4, .quick = { 0, 8 },
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "vcpu_start", .harts = 2, .quick = { 0, 1 },
        .around = move_starting, .stopped_only = true,
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "vcpu_timer", .harts = 3, .quick = { 1, 6 },
        .around = move_timed, .home = aia_test_check, .away = aia_check_away,
    }, {
        /* It cannot come back with what its own kernel does not have. */
        .name = "vcpu_sbi", .harts = 2, .arg = { 1 }, .quick = { 1, 0 },
        .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "vcpu_pmu", .harts = 1, .options = VCPU_PMU,
        .quick = { 1, 8 }, .home = aia_test_check, .away = aia_check_away,
    }, {
        .name = "vcpu_counters", .harts = 2, .quick = { 0, 7 },
        .around = move_counters, .home = test_counters, .away = counters_away,
    }, {
        .name = "vcpu_compute", .harts = 4, .quick = { 1, 3 },
        .home = compute_home, .away = compute_away,
    },
};

static const AIAMove *move_of(int g, int m)
{
    static VCPUMove moves[ARRAY_SIZE(peer_guests)][AIA_CHECK_PEER_MOVES];
    VCPUMove *move = &moves[g][m];

    if (peer_guests[g].home == compute_home) {
        return &aia_peer_moves[m];
    }
    move->inner = aia_check_peer_move(m);
    if (!peer_guests[g].around) {
        return move->inner;
    }
    move->move = *move->inner;
    move->move.run = peer_guests[g].around;
    return &move->move;
}

static void add(int g, int m, int pair)
{
    static const char *const modes[] = { "emul", "hwaccel", "auto" };
    const struct peer_guest *guest = &peer_guests[g];
    AIACase c = {
        .move = move_of(g, m), .guest = guest->name, .irqchip = "on",
        .from = modes[pair / 3], .to = modes[pair % 3],
        .harts = guest->harts, .apart = guest->apart,
        .options = guest->options,
        .sends_on_load = guest->sends_on_load,
        .arg = { guest->arg[0], guest->arg[1], guest->arg[2] },
    };
    g_autofree char *path = g_strdup_printf("%s/%s/%s-%s", guest->name,
                                            c.move->name, c.from, c.to);

    aia_peer_add(path, &c, guest->home, guest->away);
}

void aia_add_peer_guest_tests(void)
{
    for (int g = 0; g < ARRAY_SIZE(peer_guests); g++) {
        const struct peer_guest *guest = &peer_guests[g];

        if (!g_test_slow()) {
            if (!guest->slow) {
                add(g, guest->quick[0], guest->quick[1]);
            }
            continue;
        }
        for (int m = 0; m < (guest->stopped_only ? 1 : AIA_CHECK_PEER_MOVES);
             m++) {
            for (int pair = 0; pair < 9; pair++) {
                /* From a mode with them to the one without is refused. */
                if (!guest->upper || pair % 3 || !pair) {
                    add(g, m, pair);
                }
            }
        }
    }
}
