/*
 * State of an in-kernel AIA: the model by itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "test-state.h"

static void test_model_offsets(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 40, .num_ids = 63, .num_harts = 1,
    };
    static const struct { uint32_t first, last; } there[] = {
        { 0x0000, 0x00a0 }, /* domaincfg, sourcecfg[1..40] */
        { 0x1c00, 0x1c04 }, { 0x1cdc, 0x1cdc }, { 0x1d00, 0x1d04 },
        { 0x1ddc, 0x1ddc }, { 0x1e00, 0x1e04 }, { 0x1edc, 0x1edc },
        { 0x1f00, 0x1f04 }, { 0x1fdc, 0x1fdc }, { 0x2000, 0x2004 },
        { 0x3000, 0x30a0 }, /* genmsi, target[1..40] */
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_new(&shape);
    RISCVAIAModelShape split = shape;
    g_autoptr(RISCVAIAModel) no_aplic = NULL;
    uint32_t val;

    g_assert_cmpint(riscv_aia_model_get_aplic(m, 0, &val), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_set_aplic(m, 0, 0), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_set_input(m, 1, true), ==, -EBUSY);
    g_assert_cmpint(riscv_aia_model_init(m), ==, 0);
    g_assert_cmpint(riscv_aia_model_init(m), ==, -EBUSY);

    for (uint32_t offset = 0; offset < 0x5000; offset++) {
        int expected = offset % 4 ? -EOPNOTSUPP : -ENODEV;

        for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
            if (offset % 4 == 0 && offset >= there[i].first &&
                offset <= there[i].last) {
                expected = 0;
            }
        }
        g_assert_cmpint(riscv_aia_model_get_aplic(m, offset, &val), ==,
                        expected);
        g_assert_cmpint(riscv_aia_model_set_aplic(m, offset, 0), ==, expected);
    }
    g_assert_cmpint(riscv_aia_model_set_input(m, 0, true), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_set_input(m, 40, true), ==, 0);
    g_assert_cmpint(riscv_aia_model_set_input(m, 41, true), ==, -ENODEV);

    split.num_sources = 0;
    no_aplic = riscv_aia_model_ready(&split);
    g_assert_cmpint(riscv_aia_model_get_aplic(no_aplic, 0, &val), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_set_input(no_aplic, 1, 1), ==, -ENODEV);
}

static void test_model_shapes(void)
{
    static const struct {
        uint32_t sources, ids;
        int ret;
    } shapes[] = {
        { 1, 63, 0 }, { 63, 63, 0 }, { 1023, 2047, 0 }, { 0, 63, 0 },
        { 64, 63, -EINVAL }, { 1, 31, -EINVAL }, { 1, 64, -EINVAL },
        { 1, 2111, -EINVAL }, { 1024, 2047, -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        RISCVAIAModelShape shape = {
            .num_sources = shapes[i].sources, .num_ids = shapes[i].ids,
            .num_harts = 1,
        };
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_new(&shape);

        g_assert_cmpint(riscv_aia_model_init(m), ==, shapes[i].ret);
    }
}

static void test_model_aplic(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 40, .num_ids = 63, .num_harts = 2,
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);

    g_assert_cmphex(get(m, AIA_APLIC_DOMAINCFG), ==, 0x80000004);
    put(m, AIA_APLIC_DOMAINCFG, UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_DOMAINCFG), ==, 0x80000104);
    put(m, AIA_APLIC_DOMAINCFG, UINT32_MAX - IE);
    g_assert_cmphex(get(m, AIA_APLIC_DOMAINCFG), ==, 0x80000004);

    put(m, AIA_APLIC_SOURCECFG(1), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SOURCECFG(1)), ==, 0);
    put(m, AIA_APLIC_SOURCECFG(1), UINT32_MAX - BIT(10));
    g_assert_cmphex(get(m, AIA_APLIC_SOURCECFG(1)), ==, 7);
    put(m, AIA_APLIC_TARGET(40), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_TARGET(40)), ==, 0xfffff7ff);
    put(m, AIA_APLIC_GENMSI, 0xffffffff);
    g_assert_cmphex(get(m, AIA_APLIC_GENMSI), ==, 0xfffc0fff);

    /* Only sources that are there, and never 0 */
    put(m, AIA_APLIC_SETIE(0), UINT32_MAX);
    put(m, AIA_APLIC_SETIE(1), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(0)), ==, 0xfffffffe);
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(1)), ==, 0x000001ff);
    g_assert_cmphex(get(m, AIA_APLIC_CLRIE(0)), ==, 0);
    put(m, AIA_APLIC_CLRIE(0), 0xffff0000);
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(0)), ==, 0x0000fffe);
    put(m, 0x1edc, 16); /* setienum */
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(0)), ==, 0x0001fffe);
    put(m, 0x1fdc, 15); /* clrienum */
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(0)), ==, 0x00017ffe);
    put(m, 0x1edc, 0);
    put(m, 0x1edc, 41);
    put(m, 0x1fdc, UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(0)), ==, 0x00017ffe);
    g_assert_cmphex(get(m, AIA_APLIC_SETIE(1)), ==, 0x000001ff);
    put(m, AIA_APLIC_CLRIE(0), UINT32_MAX);
    put(m, AIA_APLIC_CLRIE(1), UINT32_MAX);

    /* Inactive sources do not take a pending bit; they keep one. */
    put(m, AIA_APLIC_SETIP(0), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, BIT(1));
    for (uint32_t source = 2; source <= 7; source++) {
        put(m, AIA_APLIC_SOURCECFG(source), source);
    }
    put(m, AIA_APLIC_SOURCECFG(1), AIA_SM_INACTIVE);
    put(m, AIA_APLIC_IN_CLRIP(0), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, BIT(1));
    put(m, AIA_APLIC_SOURCECFG(1), AIA_SM_DETACHED);
    put(m, AIA_APLIC_IN_CLRIP(0), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0);

    /* A level source takes one while its input is asserted only. */
    g_assert_cmphex(get(m, AIA_APLIC_IN_CLRIP(0)), ==, BIT(5) | BIT(7));
    put(m, AIA_APLIC_SETIP(0), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0xfe & ~BIT(6));
    put(m, AIA_APLIC_IN_CLRIP(0), UINT32_MAX);
    for (uint32_t source = 0; source <= 7; source++) {
        riscv_aia_model_set_input(m, source, true);
    }
    g_assert_cmphex(get(m, AIA_APLIC_IN_CLRIP(0)), ==, 0xfe & ~0xa0);
    put(m, AIA_APLIC_IN_CLRIP(0), UINT32_MAX);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0);
    put(m, 0x2000, 6); /* setipnum_le */
    put(m, 0x2004, bswap32(4)); /* setipnum_be */
    put(m, 0x1cdc, 7); /* setipnum */
    put(m, 0x1cdc, 5);
    put(m, 0x1cdc, 0);
    put(m, 0x1cdc, 41);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0x70);
    put(m, 0x1ddc, 6); /* clripnum */
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0x30);
    for (uint32_t offset = 0x1cdc; offset <= 0x1fdc; offset += 0x100) {
        g_assert_cmphex(get(m, offset), ==, 0);
    }
    g_assert_cmphex(get(m, 0x2000), ==, 0);
    g_assert_cmphex(get(m, 0x2004), ==, 0);
}

static void test_model_wires(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 8, .num_ids = 63, .num_harts = 1,
    };
    /* Which modes pend when their wire is driven so, time after time */
    static const struct { bool level; uint32_t pend; } steps[] = {
        { false, BIT(AIA_SM_LEVEL_LOW) },
        { true,  BIT(AIA_SM_LEVEL_HIGH) | BIT(AIA_SM_EDGE_RISE) },
        { true,  BIT(AIA_SM_LEVEL_HIGH) },
        { false, BIT(AIA_SM_LEVEL_LOW) | BIT(AIA_SM_EDGE_FALL) },
        { false, BIT(AIA_SM_LEVEL_LOW) },
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);

    /* Source 8 is inactive, the others' mode is their number. */
    for (uint32_t source = 1; source <= 7; source++) {
        put(m, AIA_APLIC_SOURCECFG(source), source);
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        for (uint32_t source = 1; source <= 8; source++) {
            drive(m, source, steps[i].level);
            g_assert_cmpint(m->sources[source].input, ==, steps[i].level);
        }
        g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, steps[i].pend);
        put(m, AIA_APLIC_IN_CLRIP(0), UINT32_MAX);
    }

    /* A level source stays pending when its input drops. */
    drive(m, AIA_SM_LEVEL_HIGH, true);
    drive(m, AIA_SM_LEVEL_HIGH, false);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, BIT(AIA_SM_LEVEL_HIGH));
}

static void test_model_forward(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 8, .num_ids = 63, .num_harts = 2,
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);

    for (uint32_t source = 1; source <= 8; source++) {
        put(m, AIA_APLIC_SOURCECFG(source), AIA_SM_DETACHED);
        put(m, AIA_APLIC_TARGET(source), TO(source % 2, source));
    }
    put(m, AIA_APLIC_TARGET(5), TO(1, 0));            /* no identity */
    put(m, AIA_APLIC_TARGET(6), TO(1, 64));           /* none of this file */
    put(m, AIA_APLIC_TARGET(7), TO(2, 7));            /* no hart */
    put(m, AIA_APLIC_TARGET(8), TO(0, 8) | 1 << 12);  /* a guest file */
    put(m, AIA_APLIC_SETIP(0), UINT32_MAX);
    put(m, AIA_APLIC_SETIE(0), UINT32_MAX - BIT(4));
    g_assert_cmpuint(m->msis_taken + m->msis_lost, ==, 0);
    put(m, AIA_APLIC_DOMAINCFG, IE);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, BIT(4));
    g_assert_cmpuint(m->msis_taken, ==, 3);
    g_assert_cmpuint(m->msis_lost, ==, 4);
    for (uint32_t source = 1; source <= 3; source++) {
        g_assert_cmpuint(m->files[source % 2].msis[source], ==, 1);
    }
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIP(0)), ==, BIT(2));
    g_assert_cmphex(get_ei(m, 1, AIA_IMSIC_EIP(0)), ==, BIT(1) | BIT(3));

    /* Any write forwards, one that enables too; so does a wire its source. */
    put(m, AIA_APLIC_SETIE(0), BIT(4));
    g_assert_cmpuint(m->files[0].msis[4], ==, 1);
    g_assert_cmphex(get(m, AIA_APLIC_SETIP(0)), ==, 0);
    put(m, AIA_APLIC_SOURCECFG(1), AIA_SM_LEVEL_HIGH);
    drive(m, 1, true);
    g_assert_cmpuint(m->files[1].msis[1], ==, 2);
    drive(m, 1, true);
    g_assert_cmpuint(m->files[1].msis[1], ==, 3);
    drive(m, 1, false);
    g_assert_cmpuint(m->files[1].msis[1], ==, 3);

    /* genmsi heeds neither IE nor a guest index. */
    put(m, AIA_APLIC_DOMAINCFG, 0);
    put(m, AIA_APLIC_GENMSI, TO(1, 33) | 1 << 12);
    g_assert_cmphex(get(m, AIA_APLIC_GENMSI), ==, TO(1, 33));
    g_assert_cmpuint(m->files[1].msis[33], ==, 1);
}

static void test_model_imsic(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 127, .num_harts = 2, .narrow = true,
        .mode = RISCV_AIA_MODEL_AUTO, .guest_files = 1,
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_new(&shape);
    uint64_t val;

    g_assert_cmpint(riscv_aia_model_get_imsic(m, 0, 0x70, &val), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_set_imsic(m, 0, 0x70, 1), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_send_msi(m, 0, 1), ==, -EBUSY);
    g_assert_cmpint(riscv_aia_model_init(m), ==, 0);

    for (uint32_t iselect = 0; iselect <= 0xfff; iselect++) {
        int expected = -ENOENT;

        if (iselect == 0x70 || iselect == 0x72 || iselect == 0x80 ||
            iselect == 0x82 || iselect == 0xc0 || iselect == 0xc2) {
            expected = 0;
        } else if (iselect >= 0x80 && iselect <= 0xff) {
            expected = -EINVAL;
        }
        g_assert_cmpint(riscv_aia_model_get_imsic(m, 1, iselect, &val), ==,
                        expected);
        g_assert_cmpint(riscv_aia_model_set_imsic(m, 1, iselect, 0), ==,
                        expected);
        g_assert_cmpint(riscv_aia_model_get_imsic(m, 2, iselect, &val), ==,
                        -ENODEV);
    }
    g_assert_cmpint(riscv_aia_model_send_msi(m, 0, 0), ==, -ENODEV);
    g_assert_cmpint(riscv_aia_model_send_msi(m, 0, 128), ==, -EINVAL);
    g_assert_cmpint(riscv_aia_model_send_msi(m, 2, 1), ==, 0);
    g_assert_cmpuint(m->msis_lost, ==, 3);

    put_ei(m, 0, AIA_IMSIC_EIDELIVERY, UINT64_MAX);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIDELIVERY), ==, 1);
    put_ei(m, 0, AIA_IMSIC_EITHRESHOLD, UINT64_MAX);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EITHRESHOLD), ==, 2047);
    put_ei(m, 0, AIA_IMSIC_EITHRESHOLD, 0);

    /* As measured on real kernels; MSIs reach both halves. */
    put_ei(m, 0, AIA_IMSIC_EIP(0), 0xa5a5a5a5deadbeef);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIP(0)), ==, 0xffffffffdeadbeee);
    put_ei(m, 0, AIA_IMSIC_EIP(0), 1);
    g_assert_cmpint(riscv_aia_model_send_msi(m, 0, 40), ==, 0);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIP(0)), ==, 0);
    put_ei(m, 0, AIA_IMSIC_EIP(0), UINT32_MAX);

    /* The hardware file has taken all of it over, and is wide. */
    g_assert_cmpint(riscv_aia_model_enter(m, 0, 0, &error_abort), ==, 0);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIP(0)), ==,
                    BIT_ULL(40) | 0xfffffffe);
    put_ei(m, 0, AIA_IMSIC_EIE(2), 0xa5a5a5a5deadbeef);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIE(2)), ==, 0xa5a5a5a5deadbeef);
    g_assert_cmpint(riscv_aia_model_get_imsic(m, 0, 0x81, &val), ==, -EINVAL);

    /* There was one only; auto goes on without. */
    g_assert_cmpint(riscv_aia_model_enter(m, 1, 0, &error_abort), ==, 0);
    g_assert(!m->files[1].hardware);
    m->free_files[1] = 0;
    g_assert_cmpint(riscv_aia_model_enter(m, 0, 1, &error_abort), ==, 0);
    g_assert(!m->files[0].hardware);
    g_assert_cmphex(get_ei(m, 0, AIA_IMSIC_EIE(2)), ==, 0xffffffffdeadbeef);
    g_assert_cmphex(m->files[0].eie[1], ==, 0xa5a5a5a5deadbeef);
    g_assert_cmpint(riscv_aia_model_enter(m, 1, 0, &error_abort), ==, 0);
    g_assert(m->files[1].hardware);
    riscv_aia_model_reset_vcpu(m, 1);
    g_assert(!m->files[1].hardware);
    riscv_aia_model_reset_vcpu(m, 0);
    g_assert_cmphex(m->files[0].eie[1], ==, 0);
    g_assert_cmpuint(m->free_files[0], ==, 1);
}

static void test_model_modes(void)
{
    RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 63, .num_harts = 1, .narrow = true,
    };
    Error *err = NULL;

    for (int mode = RISCV_AIA_MODEL_EMUL; mode <= RISCV_AIA_MODEL_AUTO;
         mode++) {
        for (uint32_t files = 0; files <= 1; files++) {
            g_autoptr(RISCVAIAModel) m = NULL;
            int expected = 0;

            shape.mode = mode;
            shape.guest_files = files;
            m = riscv_aia_model_ready(&shape);
            if (mode == RISCV_AIA_MODEL_EMUL) {
                expected = -EOPNOTSUPP;
            } else if (!files) {
                expected = -EBUSY;
            }
            g_assert_cmpint(m->access.widen(m, 0, &err), ==, expected);
            if (expected == -EBUSY) {
                assert_error(err, "no guest interrupt file is free", NULL);
                err = NULL;
            }
            g_assert_null(err);
            g_assert_cmpint(riscv_aia_model_is_narrow(m, 0), ==,
                            mode == RISCV_AIA_MODEL_EMUL || !files);
        }
    }
}

static void test_model_seip(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 127, .num_harts = 1,
        .mode = RISCV_AIA_MODEL_AUTO, .guest_files = 1,
    };

    for (int hardware = 0; hardware <= 1; hardware++) {
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);

        if (hardware) {
            riscv_aia_model_enter(m, 0, 0, &error_abort);
        }
        riscv_aia_model_send_msi(m, 0, 100);
        riscv_aia_model_send_msi(m, 0, 70);
        put_ei(m, 0, AIA_IMSIC_EIDELIVERY, 1);
        g_assert_cmpuint(riscv_aia_model_topei(m, 0), ==, 0);
        put_ei(m, 0, AIA_IMSIC_EIE(2), BIT_ULL(100 - 64));
        g_assert_cmpuint(riscv_aia_model_topei(m, 0), ==, 100);
        put_ei(m, 0, AIA_IMSIC_EIE(2), BIT_ULL(100 - 64) | BIT_ULL(70 - 64));
        g_assert_cmpuint(riscv_aia_model_topei(m, 0), ==, 70);
        g_assert(riscv_aia_model_seip(m, 0));
        put_ei(m, 0, AIA_IMSIC_EITHRESHOLD, 70);
        g_assert(!riscv_aia_model_seip(m, 0));
        put_ei(m, 0, AIA_IMSIC_EITHRESHOLD, 71);
        g_assert(riscv_aia_model_seip(m, 0));
        put_ei(m, 0, AIA_IMSIC_EIDELIVERY, 0);
        g_assert(!riscv_aia_model_seip(m, 0));
        put_ei(m, 0, AIA_IMSIC_EIDELIVERY, 1);
        g_assert_cmpuint(m->files[0].seip_rises, ==, 3);

        /* A software file's is forgotten, as measured on real kernels. */
        riscv_aia_model_put_sip(m, 0, false);
        g_assert_cmpint(riscv_aia_model_seip(m, 0), ==, hardware);
        put_ei(m, 0, AIA_IMSIC_EIDELIVERY, 1);
        g_assert(riscv_aia_model_seip(m, 0));
        /* One put on top of a hardware file's stays. */
        riscv_aia_model_put_sip(m, 0, true);
        put_ei(m, 0, AIA_IMSIC_EIDELIVERY, 0);
        g_assert_cmpint(riscv_aia_model_seip(m, 0), ==, hardware);
    }
}

void add_model_tests(void)
{
    g_test_add_func("/riscv-aia/model/offsets", test_model_offsets);
    g_test_add_func("/riscv-aia/model/shapes", test_model_shapes);
    g_test_add_func("/riscv-aia/model/aplic", test_model_aplic);
    g_test_add_func("/riscv-aia/model/wires", test_model_wires);
    g_test_add_func("/riscv-aia/model/forward", test_model_forward);
    g_test_add_func("/riscv-aia/model/imsic", test_model_imsic);
    g_test_add_func("/riscv-aia/model/modes", test_model_modes);
    g_test_add_func("/riscv-aia/model/seip", test_model_seip);
}
