/*
 * The model of the AIA against the kernel: configuration, and every offset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "environment.h"
#include "script.h"

static const uint32_t config_vals[] = {
    0, 1, 2, 3, 7, 8, 15, 16, 23, 24, 31, 55, 56, 62, 63, 64, 127, 191, 255,
    256, 319, 1023, 1024, 2047, 2048, 2111, UINT32_MAX,
};

/* What each number can be, and without what it cannot be initialized */
static void test_limits(void)
{
    const Shape *shape = &shapes[4];
    g_autoptr(Script) s = script_new(shape, 0, 0);

    play_get_config(s);
    for (uint32_t attr = 0; attr <= RISCV_AIA_MODEL_NUM_CONFIG; attr++) {
        for (size_t i = 0; i < ARRAY_SIZE(config_vals); i++) {
            play_set(s, RISCV_AIA_MODEL_CONFIG, attr, config_vals[i]);
            play_get(s, RISCV_AIA_MODEL_CONFIG, attr);
        }
    }
    play_config(s, RISCV_AIA_MODEL_EMUL);
    for (uint32_t sources = 65; sources >= 63; sources--) {
        play_set(s, RISCV_AIA_MODEL_CONFIG, RISCV_AIA_MODEL_IDS, 63);
        play_set(s, RISCV_AIA_MODEL_CONFIG, RISCV_AIA_MODEL_SOURCES, sources);
        play_init(s);
    }
    play_init(s);

    for (uint32_t lacking = 0; lacking <= shape->num_harts; lacking++) {
        g_autoptr(Script) t = script_new(shape, 0, 0);

        play_numbers(t, RISCV_AIA_MODEL_EMUL);
        for (uint32_t attr = 0; attr <= shape->num_harts; attr++) {
            if (attr != lacking) {
                play_address(t, attr);
            }
        }
        play_init(t);
        play_address(t, lacking);
        /* One that is not of the same AIA as the others' */
        play_set(t, RISCV_AIA_MODEL_ADDR, shape->num_harts,
                 imsic_addr(shape, shape->num_harts - 1) ^ BIT_ULL(40));
        play_init(t);
        play_start(t, RISCV_AIA_MODEL_EMUL);
    }
}

/* The bits of groups right above those of harts, and overlapping them */
static void test_group_bits(void)
{
    const Shape *shape = &shapes[4];

    for (uint32_t overlap = 0; overlap <= 2; overlap++) {
        g_autoptr(Script) s = script_new(shape, 0, 0);

        play_config(s, RISCV_AIA_MODEL_EMUL);
        play_set(s, RISCV_AIA_MODEL_CONFIG, RISCV_AIA_MODEL_HART_BITS,
                 shape->group_shift - shape->guest_bits - 12 + overlap);
        play_init(s);
        g_assert_cmpint(s->model->initialized, ==, !(host.apart && overlap));
        play_get_config(s);
    }
}

/* Configurations that are wrong somewhere or not, and what comes of them */
static void test_config(void)
{
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t configs = g_test_slow() ? 2000 : 100;
    uint32_t initialized = 0;

    for (uint32_t n = 0; n < configs && !g_test_failed(); n++) {
        const Shape *shape = &shapes[n % NUM_SHAPES];
        g_autoptr(Script) s = script_new(shape, 0, seed + n);

        g_test_message("RISCV_AIA_TEST_SEED=%u", seed + n);
        play_config(s, below(s, 4));
        for (uint32_t i = below(s, 4); i; i--) {
            uint32_t val = config_vals[below(s, ARRAY_SIZE(config_vals))];

            play_set(s, RISCV_AIA_MODEL_CONFIG, below(s, 8),
                     below(s, 2) ? val : shape->group_bits + below(s, 3));
        }
        for (uint32_t i = below(s, 3); i; i--) {
            uint32_t attr = below(s, shape->num_harts + 2);
            uint64_t differ = BIT_ULL(below(s, 60));

            play_set(s, RISCV_AIA_MODEL_ADDR, attr,
                     imsic_addr(shape, attr) ^ differ);
        }
        play_get_config(s);
        play_init(s);
        initialized += s->model->initialized;
        for (int i = 0; i < 50; i++) {
            Op op = random_op(s, s->model->initialized);

            play(s, &op);
        }
        play_init(s);
    }
    g_test_message("%u of %u could be initialized", initialized, configs);
    if (!g_test_failed()) {
        g_assert_cmpuint(initialized, >, configs / 10);
        g_assert_cmpuint(initialized, <, configs * 9 / 10);
    }
}

/* Every offset and iselect, also of a hart that there is not */
static void test_offsets(void)
{
    const Shape *shape = &shapes[3];
    g_autoptr(Script) s = script_new(shape, 0, 0);

    play_config(s, RISCV_AIA_MODEL_EMUL);
    for (int initialized = 0; initialized <= 1; initialized++) {
        for (uint32_t offset = 0; offset < 0x4010; offset++) {
            /* Misaligned ones need no more than one way. */
            for (int kind = offset % 4 ? OP_HAS : OP_GET; kind <= OP_HAS;
                 kind++) {
                play(s, &(Op) {
                    .kind = kind, .group = RISCV_AIA_MODEL_APLIC,
                    .where = offset,
                });
            }
        }
        for (uint32_t where = 0; where < 0x1000; where++) {
            for (int kind = OP_GET; kind <= OP_HAS; kind++) {
                play(s, &(Op) {
                    .kind = kind, .group = RISCV_AIA_MODEL_IMSIC,
                    .where = where,
                });
            }
        }
        play_init(s);
    }
}

void add_config_tests(void)
{
    g_test_add_func("/riscv-aia/kernel/limits", test_limits);
    g_test_add_func("/riscv-aia/kernel/group-bits", test_group_bits);
    g_test_add_func("/riscv-aia/kernel/config", test_config);
    g_test_add_func("/riscv-aia/kernel/offsets", test_offsets);
}
