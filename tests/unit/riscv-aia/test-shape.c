/*
 * What two hosts must have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/refused.h"
#include "qapi/error.h"
#include "target/riscv/kvm/shape.h"

#if !QEMU_SINCE(10, 2)
/* These are of the section, which is the fuzzer's. */
void migration_save_refused(Error *err)
{
    g_assert_not_reached();
}

void migration_load_refused(Error *err)
{
    g_assert_not_reached();
}
#endif

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
        .num_harts = 2,
        .hart_id = hart_id[host],
        .imsic_addr = imsic_addr[host],
        .cpu = { .id = 12, .minimum = 11 },
    };
}

#define ZBB 0x803000000700000dULL
#define SV48 9

static uint64_t zbb_id = ZBB, zbb_value = RISCV_EXT_ON | RISCV_EXT_TOLD;

static bool has_reg(uint64_t id)
{
    return id == KNOWN_REG;
}

static uint64_t satp_mode(void)
{
    return SV48;
}

static bool yes(const char *name)
{
    return true;
}

/* The destination has no extension. */
static void compare_config(const RISCVHartConfig *source, GString *all,
                           GString *advice, GString *rest)
{
    static const RISCVHartConfig none;
    const RISCVHartConfigHost host = {
        .config = &none, .cpu_has = yes, .has_property = yes,
    };

    riscv_hart_config_compare(source, &host, all, advice, rest);
}

static const RISCVAIAShapeOps ops = {
    .has_reg = has_reg,
    .satp_mode = satp_mode,
    .compare_config = compare_config,
};

static void check_refused(const RISCVAIAShape *source,
                          const RISCVAIAShape *ours, const char *words)
{
    Error *err = NULL;

    g_assert_false(riscv_aia_shape_check(source, ours, &ops, &err));
    if (!strstr(error_get_pretty(err), words)) {
        g_error("'%s' does not say '%s'", error_get_pretty(err), words);
    }
    error_free(err);
}

static void test_same(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    uint64_t used = KNOWN_REG;

    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
    /* All of these are no difference. */
    source.mode = 0;
    source.satp_mode = SV48;
    source.num_used_regs = 1;
    source.used_reg = &used;
    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
    /* Without groups their place means nothing. */
    source.group_bits = ours.group_bits = 0;
    source.group_shift = 33;
    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
}

static void test_versions(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);

    source.cpu.id = 11;
    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
    source.cpu.id = 10;
    check_refused(&source, &ours, "section cpu of QEMU: version 10 on the "
                  "source, 12 on the destination");
    source.cpu.id = 13;
    check_refused(&source, &ours, "section cpu of QEMU: version 13 on the");
    source.cpu.id = 12;
    /* The section is there only where both are split. */
    source.aplic.id = ours.aplic.id = ours.aplic.minimum = 3;
    source.aplic.id = 2;
    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
    source.split = ours.split = 1;
    check_refused(&source, &ours, "section riscv_aplic of QEMU: version 2 on "
                  "the source, 3 on the destination");
}

static void test_fields(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    const struct {
        uint32_t *field;
        uint32_t val;
        const char *words;
    } words32[] = {
        { &source.split, 1, "kernel-irqchip: split on the source, on" },
        { &source.num_sources, 0, "APLIC sources: 0 on the source, 96" },
        { &source.num_ids, 63, "IMSIC identities: 63 on the source, 255" },
        { &source.group_bits, 2, "group index bits: 2 on the source, 1" },
        { &source.group_shift, 33, "group index shift: 33 on the source, 24" },
        { &source.hart_bits, 3, "hart index bits: 3 on the source, 1" },
        { &source.guest_bits, 0, "guest index bits: 0 on the source, 2" },
        { &source.num_harts, 1, "harts: 1 on the source, 2" },
        { &ours.num_harts, 1, "harts: 2 on the source, 1 on the destination" },
    };
    const struct {
        uint64_t *field;
        uint64_t val;
        const char *words;
    } words64[] = {
        { &source.aplic_addr, 0xc000000,
          "APLIC address: 0xc000000 on the source, 0xd000000" },
        { &source.timebase, 24000000,
          "timer frequency (Hz): 24000000 on the source, 10000000" },
        { &source.satp_mode, SV48 + 1,
          "paging: the guest uses sv57, the destination has sv48" },
        { &hart_id[0][1], 4, "hart id: 4 on the source, 1" },
        { &imsic_addr[0][1], 0x28004000, "IMSIC address of hart 1: "
          "0x28004000 on the source, 0x28001000 on the destination" },
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
    g_assert_true(riscv_aia_shape_check(&source, &ours, &ops,
                                        &error_abort));
}

static void test_register(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    uint64_t used[] = { KNOWN_REG, UNKNOWN_REG };

    source.num_used_regs = 2;
    source.used_reg = used;
    check_refused(&source, &ours, "KVM register 0x803000000a000001: used on "
                  "the source, not in the destination's kernel");
}

/* Not only the first */
static void test_all_named(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);

    source.num_ids = 63;
    source.timebase = 1;
    check_refused(&source, &ours, "IMSIC identities: 63 on the source, 255 on "
                  "the destination; timer frequency (Hz): 1 on the source");
    source.config.num = 1;
    source.config.id = &zbb_id;
    source.config.value = &zbb_value;
    check_refused(&source, &ours, "; zbb: on the source, not on the "
                  "destination");
}

/* Such a stream is refused for that alone. */
static void test_damaged(void)
{
    RISCVAIAShape source = make_shape(0), ours = make_shape(1);
    uint64_t id = 1;

    source.num_ids = 63;
    source.config.num = 1;
    source.config.id = &id;
    source.config.value = &zbb_value;
    check_refused(&source, &ours, "the shape of the guest is damaged: KVM "
                  "register 0x0000000000000001 does not configure a vCPU");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-aia/shape/same", test_same);
    g_test_add_func("/riscv-aia/shape/versions", test_versions);
    g_test_add_func("/riscv-aia/shape/fields", test_fields);
    g_test_add_func("/riscv-aia/shape/register", test_register);
    g_test_add_func("/riscv-aia/shape/all-named", test_all_named);
    g_test_add_func("/riscv-aia/shape/damaged", test_damaged);
    return g_test_run();
}
