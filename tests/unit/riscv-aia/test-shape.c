/*
 * What two hosts must have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/riscv-aia-shape.h"

#define KNOWN_REG   0x8030000003000000ULL
#define UNKNOWN_REG 0x803000000a000001ULL

static uint64_t hart_id[2][2] = { { 0, 1 }, { 0, 1 } };
static uint64_t imsic_addr[2][2] = {
    { 0x28000000, 0x28001000 }, { 0x28000000, 0x28001000 },
};

static RISCVAIAShape make_shape(int host)
{
    return (RISCVAIAShape) {
        .mode = 2,
        .num_sources = 96,
        .num_ids = 255,
        .group_bits = 1,
        .group_shift = 24,
        .hart_bits = 1,
        .guest_bits = 2,
        .aplic_addr = 0xd000000,
        .timebase = 10000000,
        .isa = 0x14112d,
        .num_harts = 2,
        .hart_id = hart_id[host],
        .imsic_addr = imsic_addr[host],
    };
}

static bool has_reg(uint64_t id)
{
    return id == KNOWN_REG;
}

static void check_refused(const RISCVAIAShape *source,
                          const RISCVAIAShape *ours, const char *words)
{
    Error *err = NULL;

    g_assert_false(riscv_aia_shape_check(source, ours, has_reg, &err));
    if (!strstr(error_get_pretty(err), words)) {
        g_error("'%s' does not say '%s'", error_get_pretty(err), words);
    }
    error_free(err);
}

static void test_same(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    uint64_t used = KNOWN_REG;

    g_assert_true(riscv_aia_shape_check(&source, &ours, has_reg,
                                        &error_abort));
    /* All of these are no difference. */
    source.mode = 0;
    ours.isa |= 1 << 21;
    source.num_used_regs = 1;
    source.used_reg = &used;
    g_assert_true(riscv_aia_shape_check(&source, &ours, has_reg,
                                        &error_abort));
    /* Without groups their place means nothing. */
    source.group_bits = ours.group_bits = 0;
    source.group_shift = 33;
    g_assert_true(riscv_aia_shape_check(&source, &ours, has_reg,
                                        &error_abort));
}

static void test_fields(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    const struct {
        uint32_t *field;
        uint32_t val;
        const char *words;
    } words32[] = {
        { &source.split, 1, "kernel-irqchip: split on the source, on here" },
        { &source.num_sources, 0, "APLIC sources: 0 on the source, 96 here" },
        { &source.num_ids, 63, "IMSIC identities: 63 on the source, 255" },
        { &source.group_bits, 2, "group index bits: 2 on the source, 1 here" },
        { &source.group_shift, 33, "group index shift: 33 on the source, 24" },
        { &source.hart_bits, 3, "hart index bits: 3 on the source, 1 here" },
        { &source.guest_bits, 0, "guest index bits: 0 on the source, 2 here" },
        { &source.num_harts, 1, "harts: 1 on the source, 2 here" },
        { &ours.num_harts, 1, "harts: 2 on the source, 1 here" },
    };
    const struct {
        uint64_t *field;
        uint64_t val;
        const char *words;
    } words64[] = {
        { &source.aplic_addr, 0xc000000,
          "APLIC address: 0xc000000 on the source, 0xd000000 here" },
        { &source.timebase, 24000000,
          "timer frequency (Hz): 24000000 on the source, 10000000 here" },
        { &ours.isa, 0x14110d, "extension F: on the source, not here" },
        { &hart_id[0][1], 4, "hart id: 4 on the source, 1 here" },
        { &imsic_addr[0][1], 0x28004000, "IMSIC address of hart 1: "
          "0x28004000 on the source, 0x28001000 here" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(words32); i++) {
        uint32_t was = *words32[i].field;

        *words32[i].field = words32[i].val;
        check_refused(&source, &ours, words32[i].words);
        *words32[i].field = was;
    }
    for (size_t i = 0; i < ARRAY_SIZE(words64); i++) {
        uint64_t was = *words64[i].field;

        *words64[i].field = words64[i].val;
        check_refused(&source, &ours, words64[i].words);
        *words64[i].field = was;
    }
    g_assert_true(riscv_aia_shape_check(&source, &ours, has_reg,
                                        &error_abort));
}

static void test_register(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    uint64_t used[] = { KNOWN_REG, UNKNOWN_REG };

    source.num_used_regs = 2;
    source.used_reg = used;
    check_refused(&source, &ours, "KVM register 0x803000000a000001: used on "
                  "the source, not in this kernel");
}

/* Not only the first */
static void test_all_named(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);

    source.num_ids = 63;
    source.timebase = 1;
    check_refused(&source, &ours, "IMSIC identities: 63 on the source, 255 "
                  "here; timer frequency (Hz): 1 on the source");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-aia/shape/same", test_same);
    g_test_add_func("/riscv-aia/shape/fields", test_fields);
    g_test_add_func("/riscv-aia/shape/register", test_register);
    g_test_add_func("/riscv-aia/shape/all-named", test_all_named);
    return g_test_run();
}
