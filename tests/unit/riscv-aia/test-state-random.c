/*
 * State of an in-kernel AIA: random states, between hosts of every kind
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * RISCV_AIA_TEST_STATES=N   how many random states to restore (20000); all
 *                           that a release should see is 1000000
 * RISCV_AIA_TEST_SEED=N     of the first of them, in place of one that follows
 *                           from --seed; the next state has the next number
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "environment.h"
#include "test-state.h"

#define DEFAULT_STATES 20000

/* Every one of the first with every one of the second that it goes with */
static const uint32_t some_sources[] = { 1, 31, 32, 96, 1023 };
static const uint32_t some_ids[] = { 63, 255, 2047 };

static RISCVAIAModelShape random_shape(GRand *rng)
{
    static const uint32_t sources[] = { 33, 62, 63 };
    RISCVAIAModelShape shape = { .num_harts = 1, .num_ids = 63 };

    switch (below(rng, 256)) {
    case 0:
        shape.num_sources = 1 + below(rng, AIA_APLIC_MAX_SOURCES);
        shape.num_ids = AIA_IMSIC_MAX_IDS;
        break;
    case 1 ... 9:
        do {
            shape.num_sources = some_sources[below(rng,
                                                   ARRAY_SIZE(some_sources))];
            shape.num_ids = some_ids[below(rng, ARRAY_SIZE(some_ids))];
        } while (shape.num_sources > shape.num_ids);
        break;
    case 10 ... 49:
        shape.num_sources = sources[below(rng, ARRAY_SIZE(sources))];
        break;
    case 50 ... 59:
        shape.num_sources = 1 + below(rng, 127);
        shape.num_ids = 127;
        shape.num_harts = 1 + below(rng, RISCV_AIA_MODEL_MAX_HARTS);
        break;
    default:
        shape.num_sources = 1 + below(rng, 40);
        shape.num_harts = 1 + below(rng, 2);
        break;
    }
    return shape;
}

/* What may differ between a source and a destination */
static void random_host(GRand *rng, RISCVAIAModelShape *shape)
{
    shape->mode = below(rng, 3);
    shape->narrow = below(rng, 4) != 0;
    shape->guest_files = below(rng, 4) ? shape->num_harts
                                       : below(rng, shape->num_harts);
}

/* The lowest identity enabled in an upper half of @hart's file, or 0 */
static uint32_t upper_enabled(const RISCVAIAModel *m, uint32_t hart)
{
    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        uint64_t upper = m->files[hart].eie[w] & UPPER_HALF;

        if (upper) {
            return w * 64 + ctz64(upper);
        }
    }
    return 0;
}

static uint32_t count_upper_pending(const RISCVAIAModel *m, uint32_t hart)
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        count += ctpop64(m->files[hart].eip[w] & UPPER_HALF);
    }
    return count;
}

static void drop_upper_halves(RISCVAIAModel *m, uint32_t hart)
{
    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        m->files[hart].eip[w] &= ~UPPER_HALF;
        m->files[hart].eie[w] &= ~UPPER_HALF;
    }
}

/* How many MSIs come of a write of @genmsi */
static uint32_t count_genmsi(const RISCVAIAModel *m, uint32_t genmsi)
{
    uint32_t id = genmsi & AIA_APLIC_EIID_MASK;

    return genmsi >> 18 < m->shape.num_harts && id && id <= m->shape.num_ids;
}

/* Whether a file has upper halves that a save cannot bring to light */
static bool hidden_hart(const RISCVAIAModel *m, uint32_t *hart)
{
    uint32_t files = m->free_files[0];

    for (*hart = 0; *hart < m->shape.num_harts; (*hart)++) {
        if (riscv_aia_model_is_narrow(m, *hart) &&
            m->shape.mode != RISCV_AIA_MODEL_EMUL && files-- == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Turns @expected, a copy of what was saved, into what @dst is to hold after
 * a load, and counts the MSIs that this takes.  Returns false, and the start
 * of the message, where @dst has to refuse.
 */
static bool expect(RISCVAIAModel *expected, RISCVAIAModel *dst,
                   const Saved *saved, uint32_t *msis, char **refusal)
{
    uint32_t files = dst->free_files[0];

    *msis = count_genmsi(dst, saved->aplic.genmsi);
    for (uint32_t hart = 0; hart < dst->shape.num_harts; hart++) {
        uint32_t upper = upper_enabled(expected, hart);

        if (!riscv_aia_model_is_narrow(dst, hart)) {
            continue;
        }
        if ((upper || has_to_clear(saved)) &&
            dst->shape.mode != RISCV_AIA_MODEL_EMUL) {
            if (files) {
                files--;
                continue;
            }
            if (!upper) {
                *refusal = g_strdup_printf("identities 32-63, 96-127 and so "
                                           "on of hart %u may be pending",
                                           hart);
                return false;
            }
        }
        if (upper) {
            *refusal = g_strdup_printf("identity %u of hart %u is enabled, "
                                       "but ", upper, hart);
            return false;
        }

        *msis += count_upper_pending(expected, hart);
        /* Whatever was in the upper halves is out of reach. */
        drop_upper_halves(dst, hart);
        if (count_genmsi(dst, saved->aplic.genmsi) && has_to_clear(saved) &&
            saved->aplic.genmsi >> 18 == hart) {
            uint32_t id = saved->aplic.genmsi & AIA_APLIC_EIID_MASK;

            expected->files[hart].eip[id / 64] |= BIT_ULL(id % 64);
        }
    }
    return true;
}

/*
 * What has become of a destination before it loads: nothing, at times not even
 * a reset; a reset, with devices that drive wires and send MSIs before and
 * after it; or another guest has run there.
 */
typedef enum Past { NEW, RESET, DEVICES, USED, NUM_PAST } Past;

static void make_past(GRand *rng, RISCVAIAModel *m, Past past)
{
    if (past != NEW && (past != USED || below(rng, 2))) {
        reset(m, &error_abort);
    }
    for (uint32_t n = past == DEVICES ? 1 + below(rng, 6) : 0; n; n--) {
        switch (below(rng, 4)) {
        case 0:
            reset(m, &error_abort);
            break;
        case 1:
            device_sends(m, below(rng, m->shape.num_harts),
                         below(rng, m->shape.num_ids + 1));
            break;
        default:
            device_drives(m, 1 + below(rng, m->shape.num_sources),
                          below(rng, 2));
            break;
        }
    }
    if (past == USED) {
        riscv_aia_use(&m->fresh);
        random_state(rng, m);
        if (below(rng, 2)) {
            reset(m, &error_abort);
        }
    }
    riscv_aia_model_clear_log(m);
}

/*
 * Saves a random state and loads it elsewhere; then both have to do the same.
 * Returns false where the destination cannot take it, and has said so.
 */
static bool round_trip(GRand *rng, const RISCVAIAModelShape *from,
                       const RISCVAIAModelShape *to)
{
    g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(from);
    g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(to);
    g_autoptr(RISCVAIAModel) expected = riscv_aia_model_ready(from);
    g_autoptr(Saved) saved = saved_new(&src->shape);
    g_autofree char *refusal = NULL;
    Past past = below(rng, NUM_PAST);
    Error *err = NULL;
    uint32_t msis, hidden;

    random_state(rng, src);
    riscv_aia_model_copy(expected, src);
    if (hidden_hart(src, &hidden)) {
        refusal = g_strdup_printf("so on of hart %u cannot be read", hidden);
        g_assert(!save(src, saved, &err));
        assert_error(err, refusal, "no guest interrupt file");
        assert_same(expected, src);
        return false;
    }
    save(src, saved, &error_abort);
    assert_same(expected, src);
    g_assert_cmpuint(src->msis_taken, ==, 0);
    if (from->num_sources) {
        pass_aplic(&saved->aplic);
    }
    for (uint32_t hart = 0; hart < from->num_harts; hart++) {
        pass_imsic(&saved->imsic[hart]);
    }

    for (uint32_t hart = 0; hart < from->num_harts; hart++) {
        if (riscv_aia_model_is_narrow(src, hart)) {
            drop_upper_halves(expected, hart);
        }
    }
    make_past(rng, dst, past);
    if (!expect(expected, dst, saved, &msis, &refusal)) {
        g_assert(!load(dst, saved, &err));
        assert_error(err, refusal, NULL);
        return false;
    }
    riscv_aia_model_evaluate(expected);

    load_aplic(dst, saved, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==,
                     count_genmsi(dst, saved->aplic.genmsi));
    load_files(dst, saved, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==, msis);
    for (uint32_t hart = 0; past != USED && hart < to->num_harts; hart++) {
        /* Not before the file was whole */
        g_assert_cmpuint(dst->files[hart].seip_rises, ==,
                         riscv_aia_model_seip(expected, hart));
    }
    load_vcpus(dst, saved, &error_abort);
    g_assert_cmpuint(dst->domaincfg, ==, 0);
    riscv_aplic_regs_enable(&dst->access, &saved->aplic, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==, msis);
    assert_same(expected, dst);

    riscv_aia_model_clear_log(expected);
    riscv_aia_model_clear_log(dst);
    for (int n = 0; n < 16; n++) {
        Op op = random_op(rng, to);

        apply(expected, &op);
        apply(dst, &op);
    }
    assert_same(expected, dst);
    assert_same_log(expected, dst);
    return true;
}

/* Random states of every size, between hosts of every kind */
static void test_shapes(void)
{
    GRand *rng = g_rand_new_with_seed(1);

    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            RISCVAIAModelShape from = {
                .num_sources = some_sources[i], .num_ids = some_ids[j],
                .num_harts = 2,
            };
            uint32_t restored = 0;

            if (from.num_sources > from.num_ids) {
                continue; /* The kernel has none such. */
            }
            for (int host = 0; host < 3 * 3 * 2 * 2; host++) {
                RISCVAIAModelShape to = from;

                from.mode = host % 3;
                to.mode = host / 3 % 3;
                from.narrow = host / 9 % 2;
                to.narrow = host / 18;
                from.guest_files = to.guest_files = from.num_harts;
                restored += round_trip(rng, &from, &to);
            }
            g_assert_cmpuint(restored, >, 18);
        }
    }
    g_rand_free(rng);
}

/* From so many on, every shape is sure to have come. */
#define MANY_STATES 100000

static uint32_t state_seed;

/* Of @some_sources by @some_ids, with and without the fault */
static uint32_t restored_shapes[ARRAY_SIZE(some_sources)]
                               [ARRAY_SIZE(some_ids)][2];

static void count_shape(const RISCVAIAModelShape *shape)
{
    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            if (some_sources[i] == shape->num_sources &&
                some_ids[j] == shape->num_ids) {
                restored_shapes[i][j][shape->narrow]++;
            }
        }
    }
}

static void tell_shapes(bool many)
{
    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            uint32_t *restored = restored_shapes[i][j];

            if (some_sources[i] > some_ids[j]) {
                continue;
            }
            g_test_message("%u sources, %u identities: %u restored where "
                           "access is 64 bits wide, %u where it is 32",
                           some_sources[i], some_ids[j], restored[0],
                           restored[1]);
            g_assert(!many || (restored[0] && restored[1]));
        }
    }
}

/* So that one that fails can be had again alone */
static void tell_seed(int sig)
{
    fprintf(stderr, "RISCV_AIA_TEST_SEED=%u RISCV_AIA_TEST_STATES=1\n",
            state_seed);
}

static void test_random(void)
{
    uint32_t states = from_environment("RISCV_AIA_TEST_STATES",
                                       DEFAULT_STATES);
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t restored = 0, refused = 0;
    GRand *rng = g_rand_new();
    struct sigaction old, act = {
        .sa_handler = tell_seed,
        .sa_flags = SA_RESETHAND,
    };

    g_test_message("%u states from RISCV_AIA_TEST_SEED=%u on", states, seed);
    sigaction(SIGABRT, &act, &old);
    while (restored < states) {
        RISCVAIAModelShape from, to;

        state_seed = seed + restored + refused;
        g_rand_set_seed(rng, state_seed);
        from = to = random_shape(rng);
        random_host(rng, &from);
        random_host(rng, &to);
        if (round_trip(rng, &from, &to)) {
            restored++;
            count_shape(&to);
        } else {
            refused++;
        }
    }
    sigaction(SIGABRT, &old, NULL);
    g_test_message("%u restored equal, %u more rightly refused", restored,
                   refused);
    tell_shapes(states >= MANY_STATES);
    g_rand_free(rng);
}

void add_random_tests(void)
{
    g_test_add_func("/riscv-aia/state/shapes", test_shapes);
    g_test_add_func("/riscv-aia/state/random", test_random);
}
