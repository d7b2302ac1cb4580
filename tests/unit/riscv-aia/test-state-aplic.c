/*
 * State of an in-kernel AIA: save and load of the APLIC
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-state.h"

/*
 * Every mode x wire x pending x enabled, a source each, with and without IE:
 * the copy has all of it, forwards what is due once, and goes on the same.
 */
static void test_sources(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 64, .num_ids = 127, .num_harts = 1,
    };

    for (int ie = 0; ie <= 1; ie++) {
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&src->shape);
        uint32_t due = 0;

        src->domaincfg = ie ? IE : 0;
        for (uint32_t i = 0; i < 64; i++) {
            src->sources[i + 1] = (RISCVAIAModelSource) {
                .sourcecfg = i % 8,
                .input = i & 8,
                .pending = i & 16,
                .enabled = i & 32,
                .target = TO(0, i + 1),
            };
        }
        save(src, saved, &error_abort);
        load_aplic(dst, saved, &error_abort);
        load_files(dst, saved, &error_abort);
        g_assert_cmpuint(dst->msis_taken, ==, 0);
        riscv_aia_model_clear_log(dst);
        src->domaincfg = 0;
        assert_same(src, dst);

        /* With IE on, what is due is due at once. */
        riscv_aplic_regs_enable(&dst->access, &saved->aplic, &error_abort);
        put(src, AIA_APLIC_DOMAINCFG, ie ? IE : 0);
        assert_same(src, dst);
        assert_same_log(src, dst);
        g_assert_cmpuint(dst->msis_taken, ==, ie ? 16 : 0);

        put(src, AIA_APLIC_DOMAINCFG, IE);
        put(dst, AIA_APLIC_DOMAINCFG, IE);
        for (uint32_t source = 1; source <= 64; source++) {
            bool forward = (source - 1) >> 4 == 3;

            due += forward;
            g_assert_cmpuint(dst->files[0].msis[source], ==, forward);
            g_assert(!forward || !dst->sources[source].pending);
        }
        g_assert_cmpuint(due, ==, 16);
        g_assert_cmpuint(dst->msis_taken, ==, due);

        for (int step = 0; step < 8; step++) {
            bool level = step >> (step / 4) & 1;

            for (uint32_t source = 1; source <= 64; source++) {
                drive(src, source, level);
                drive(dst, source, level);
            }
            put(src, AIA_APLIC_SETIE(step % 3), 0xf0f0f0f0);
            put(dst, AIA_APLIC_SETIE(step % 3), 0xf0f0f0f0);
            assert_same(src, dst);
            assert_same_log(src, dst);
        }
    }
}

/* Each state of a source alone, as a guest and its devices bring it about */
static void test_source_paths(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 63, .num_harts = 1,
    };

    for (uint32_t path = 0; path < 8 * 8 * 4 * 4 * 2; path++) {
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&src->shape);
        bool ie = path / 1024;

        put(src, AIA_APLIC_TARGET(1), TO(0, 33));
        put(src, AIA_APLIC_DOMAINCFG, ie ? IE : 0);
        put(src, AIA_APLIC_SOURCECFG(1), path % 8);
        put(src, AIA_APLIC_SETIE(0), path / 64 % 2 ? BIT(1) : 0);
        drive(src, 1, path / 256 % 2);
        put(src, AIA_APLIC_SETIP(0), path / 128 % 2 ? BIT(1) : 0);
        drive(src, 1, path / 512 % 2);
        put(src, AIA_APLIC_SOURCECFG(1), path / 8 % 8);

        save(src, saved, &error_abort);
        load(dst, saved, &error_abort);
        assert_same(src, dst);
        g_assert_cmpuint(dst->msis_taken, ==, 0);

        riscv_aia_model_clear_log(src);
        riscv_aia_model_clear_log(dst);
        for (int step = 0; step < 4; step++) {
            drive(src, 1, step % 2);
            drive(dst, 1, step % 2);
            put(src, AIA_APLIC_DOMAINCFG, IE);
            put(dst, AIA_APLIC_DOMAINCFG, IE);
            assert_same(src, dst);
            assert_same_log(src, dst);
        }
    }
}

/* What the wire of a source that does not tell is, only user space knows. */
static void test_driven(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 8, .num_ids = 63, .num_harts = 1,
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
    g_autoptr(Saved) saved = saved_new(&m->shape);
    uint32_t driven;

    for (uint32_t source = 1; source <= 8; source++) {
        put(m, AIA_APLIC_SOURCECFG(source), source % 8);
    }
    for (int high = 0; high <= 1; high++) {
        for (uint32_t source = 1; source <= 8; source++) {
            drive(m, source, high);
        }
        /* Others may be driven past user space, by an irqfd. */
        for (driven = 0; driven <= 0x1fe; driven += 0x1fe) {
            riscv_aplic_regs_save(&m->access, &saved->aplic, &driven,
                                  &error_abort);
            g_assert_cmphex(saved->aplic.input[0], ==,
                            (high ? 0xfc : 0) | (driven & 0x102));
        }
    }
}

/* Into an APLIC that is on and holds what the saved one does not */
static void test_load_over_running(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 96, .num_ids = 255, .num_harts = 2,
    };
    g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
    g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
    g_autoptr(Saved) saved = saved_new(&src->shape);

    for (uint32_t source = 1; source <= 96; source++) {
        bool due = source % 3 == 0;

        src->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = AIA_SM_LEVEL_LOW, .target = TO(1, source),
            .pending = due, .enabled = due,
        };
        dst->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = AIA_SM_LEVEL_HIGH, .target = TO(0, source),
            .pending = source % 2, .enabled = source % 2 == 0, .input = true,
        };
    }
    put(dst, AIA_APLIC_DOMAINCFG, IE);
    save(src, saved, &error_abort);
    load(dst, saved, &error_abort);
    assert_same(src, dst);
    g_assert_cmpuint(dst->msis_taken, ==, 0);
    put(dst, AIA_APLIC_DOMAINCFG, IE);
    g_assert_cmpuint(dst->msis_taken, ==, 96 / 3);
    for (uint32_t source = 1; source <= 96; source++) {
        g_assert_cmpuint(dst->files[1].msis[source], ==, source % 3 == 0);
    }
}

/* The MSI that genmsi sends again does not stay. */
static void test_genmsi(void)
{
    static const uint32_t ids[] = { 1, 31, 32, 40, 63, 64, 95, 96, 255 };

    for (int host = 0; host < 3 * 2; host++) {
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
            RISCVAIAModelShape shape = {
                .num_sources = 1, .num_ids = 255, .num_harts = 2,
                .mode = host % 3, .narrow = host / 3, .guest_files = 2,
            };
            g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
            g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
            g_autoptr(Saved) saved = saved_new(&src->shape);
            uint32_t w = ids[i] / 64 * 2;

            src->genmsi = TO(1, ids[i]);
            save(src, saved, &error_abort);
            load_aplic(dst, saved, &error_abort);
            g_assert_cmpuint(dst->msis_taken, ==, 1);
            g_assert_cmpuint(dst->files[1].msis[ids[i]], ==, 1);
            load_files(dst, saved, &error_abort);
            load_vcpus(dst, saved, &error_abort);
            g_assert_cmpuint(dst->msis_taken, ==, 1);
            g_assert_cmphex(get_ei(dst, 1, AIA_IMSIC_EIP(w)), ==, 0);
            if (riscv_aia_model_is_narrow(dst, 1)) {
                /*
                 * Out of reach, but of the guest too: it can neither read
                 * nor enable that identity.
                 */
                g_assert(shape.mode == RISCV_AIA_MODEL_EMUL ||
                         !(ids[i] & 32));
                put_ei(dst, 1, AIA_IMSIC_EIE(w), UINT64_MAX);
                put_ei(dst, 1, AIA_IMSIC_EIDELIVERY, 1);
                g_assert(!riscv_aia_model_seip(dst, 1));
            } else {
                assert_same(src, dst);
            }
        }
    }
}

/* All that a guest can write into genmsi, target and sourcecfg is taken. */
static void test_writable(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 33, .num_ids = 63, .num_harts = 1,
    };

    for (int bit = -1; bit < 32; bit++) {
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&src->shape);
        uint32_t val = bit < 0 ? UINT32_MAX : BIT(bit);

        put(src, AIA_APLIC_GENMSI, val);
        for (uint32_t source = 1; source <= 33; source++) {
            put(src, AIA_APLIC_SOURCECFG(source), val);
            put(src, AIA_APLIC_TARGET(source), val);
        }
        put_ei(src, 0, AIA_IMSIC_EIDELIVERY, val);
        put_ei(src, 0, AIA_IMSIC_EITHRESHOLD, val);
        put_ei(src, 0, AIA_IMSIC_EIP(0), (uint64_t)val << 32 | val);
        put_ei(src, 0, AIA_IMSIC_EIE(0), (uint64_t)val << 32 | val);
        save(src, saved, &error_abort);
        load(dst, saved, &error_abort);
        assert_same(src, dst);
    }
}

void add_aplic_tests(void)
{
    g_test_add_func("/riscv-aia/state/sources", test_sources);
    g_test_add_func("/riscv-aia/state/source-paths", test_source_paths);
    g_test_add_func("/riscv-aia/state/driven", test_driven);
    g_test_add_func("/riscv-aia/state/load-over-running",
                    test_load_over_running);
    g_test_add_func("/riscv-aia/state/genmsi", test_genmsi);
    g_test_add_func("/riscv-aia/state/writable", test_writable);
}
