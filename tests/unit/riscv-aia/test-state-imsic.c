/*
 * State of an in-kernel AIA: save and load of interrupt files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-state.h"

/*
 * Whatever a narrow file holds, no identity is saved that it does not, and
 * none is left out that the guest could have.
 */
static void test_narrow_save(void)
{
    for (int mode = RISCV_AIA_MODEL_EMUL; mode <= RISCV_AIA_MODEL_AUTO;
         mode++) {
        for (uint32_t id = 1; id <= 127; id++) {
            RISCVAIAModelShape shape = {
                .num_sources = 1, .num_ids = 127, .num_harts = 1,
                .narrow = true, .mode = mode, .guest_files = 1,
            };
            g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
            g_autoptr(RISCVAIAModel) before = riscv_aia_model_ready(&shape);
            g_autoptr(Saved) saved = saved_new(&m->shape);
            const RISCVIMSICRegs *regs = &saved->imsic[0];
            bool seen = mode != RISCV_AIA_MODEL_EMUL || !(id & 32);

            m->files[0].eip[id / 64] = BIT_ULL(id % 64);
            m->files[0].eie[id / 64] = BIT_ULL(id % 64);
            riscv_aia_model_evaluate(m);
            riscv_aia_model_copy(before, m);
            save(m, saved, &error_abort);
            assert_same(before, m);
            for (uint32_t w = 0; w < 4; w++) {
                uint32_t bits = seen && w == id / 32 ? BIT(id % 32) : 0;

                g_assert_cmphex(regs->eip[w], ==, bits);
                g_assert_cmphex(regs->eie[w], ==, bits);
            }
        }
    }

    /* Words that look sign-extended are not taken for it. */
    for (int mode = RISCV_AIA_MODEL_EMUL; mode <= RISCV_AIA_MODEL_AUTO;
         mode++) {
        RISCVAIAModelShape shape = {
            .num_sources = 1, .num_ids = 127, .num_harts = 1,
            .narrow = true, .mode = mode, .guest_files = 1,
        };
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&m->shape);
        const RISCVIMSICRegs *regs = &saved->imsic[0];
        bool seen = mode != RISCV_AIA_MODEL_EMUL;

        for (uint32_t w = 0; w < 2; w++) {
            m->files[0].eip[w] = UPPER_HALF | BIT(31);
            m->files[0].eie[w] = UPPER_HALF | BIT(31);
        }
        save(m, saved, &error_abort);
        for (uint32_t w = 0; w < 4; w++) {
            uint32_t bits = w % 2 == 0 ? BIT(31) : seen ? UINT32_MAX : 0;

            g_assert_cmphex(regs->eip[w], ==, bits);
            g_assert_cmphex(regs->eie[w], ==, bits);
        }
    }
}

/* What cannot be read is not taken for 0. */
static void test_narrow_save_refused(void)
{
    const RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 127, .num_harts = 3, .narrow = true,
        .mode = RISCV_AIA_MODEL_AUTO, .guest_files = 2,
    };
    g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
    g_autoptr(RISCVAIAModel) before = riscv_aia_model_ready(&shape);
    g_autoptr(Saved) saved = saved_new(&m->shape);
    Error *err = NULL;

    riscv_aia_model_copy(before, m);
    g_assert(!save(m, saved, &err));
    assert_error(err, "so on of hart 2 cannot be read",
                 "no guest interrupt file is free");
    assert_same(before, m);
}

/* Upper halves reach a narrow file: pending by MSI, enabled by widening. */
static void test_narrow_load(void)
{
    static const uint32_t ids[] = { 32, 40, 63, 97, 127 };
    const RISCVAIAModelShape from = {
        .num_sources = 1, .num_ids = 127, .num_harts = 3,
    };

    for (int mode = RISCV_AIA_MODEL_EMUL; mode <= RISCV_AIA_MODEL_AUTO;
         mode++) {
        for (uint32_t n = 0; n < ARRAY_SIZE(ids) * 2 * 2; n++) {
            uint32_t id = ids[n / 4];
            bool enabled = n & 1, files = n & 2;
            RISCVAIAModelShape to = {
                .num_sources = 1, .num_ids = 127, .num_harts = 3,
                .mode = mode, .narrow = true, .guest_files = files ? 3 : 0,
            };
            g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&from);
            g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&to);
            g_autoptr(RISCVAIAModel) before = riscv_aia_model_ready(&to);
            g_autoptr(Saved) saved = saved_new(&src->shape);
            g_autofree char *where =
                g_strdup_printf("identity %u of hart 2 ", id);
            Error *err = NULL;

            /* The lowest is the one to be named. */
            src->files[2].eip[id / 64] = BIT_ULL(id % 64) | BIT(5);
            src->files[2].eip[1] |= BIT_ULL(63);
            if (enabled) {
                src->files[2].eie[id / 64] = BIT_ULL(id % 64) | BIT(5);
                src->files[2].eie[1] |= BIT_ULL(63);
            }
            src->files[2].eidelivery = 1;
            riscv_aia_model_evaluate(src);
            save(src, saved, &error_abort);

            load_imsic(dst, saved, 0, &error_abort);
            load_imsic(dst, saved, 1, &error_abort);
            riscv_aia_model_copy(before, dst);
            if (!enabled || (files && mode != RISCV_AIA_MODEL_EMUL)) {
                load(dst, saved, &error_abort);
                assert_same(src, dst);
                g_assert_cmpuint(dst->msis_taken, ==,
                                 enabled ? 0 : id == 127 ? 1 : 2);
                for (uint32_t hart = 0; hart < 3; hart++) {
                    g_assert_cmpint(dst->files[hart].hardware, ==,
                                    enabled && hart == 2);
                }
                continue;
            }
            g_assert(!load_imsic(dst, saved, 2, &err));
            assert_error(err, where, mode == RISCV_AIA_MODEL_EMUL ?
                         "32 bits wide)" : "no guest interrupt file is free");
            assert_same(before, dst);
            g_assert_cmpuint(dst->msis_taken, ==, 0);
        }
    }
}

/* Nothing of the later time survives a load into the same process. */
static void test_narrow_clear(void)
{
    static const RISCVAIAModelShape shape = {
        .num_sources = 1, .num_ids = 127, .num_harts = 1, .narrow = true,
        .mode = RISCV_AIA_MODEL_HWACCEL, .guest_files = 1,
    };
    g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
    g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
    g_autoptr(Saved) saved = saved_new(&src->shape);

    save(src, saved, &error_abort);
    for (uint32_t id = 1; id <= 127; id++) {
        riscv_aia_model_send_msi(dst, 0, id);
    }
    riscv_imsic_regs_load(&dst->access, 0, &saved->imsic[0], true,
                          &error_abort);
    g_assert(dst->files[0].hardware);
    assert_same(src, dst);
}

/* sip is put after the file has been loaded. */
static void test_evaluate(void)
{
    for (int host = 0; host < 3 * 2; host++) {
        RISCVAIAModelShape shape = {
            .num_sources = 1, .num_ids = 63, .num_harts = 1,
            .mode = host % 3, .narrow = host / 3, .guest_files = 1,
        };
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&src->shape);

        src->files[0].eidelivery = 1;
        src->files[0].eip[0] = src->files[0].eie[0] = BIT(7);
        riscv_aia_model_evaluate(src);
        g_assert(riscv_aia_model_seip(src, 0));
        save(src, saved, &error_abort);
        load_files(dst, saved, &error_abort);
        g_assert(riscv_aia_model_seip(dst, 0));
        riscv_aia_model_put_sip(dst, 0, false);
        g_assert(!riscv_aia_model_seip(dst, 0));
        riscv_imsic_regs_evaluate(&dst->access, 0, &error_abort);
        assert_same(src, dst);
    }
}

void add_imsic_tests(void)
{
    g_test_add_func("/riscv-aia/state/narrow-save", test_narrow_save);
    g_test_add_func("/riscv-aia/state/narrow-save-refused",
                    test_narrow_save_refused);
    g_test_add_func("/riscv-aia/state/narrow-load", test_narrow_load);
    g_test_add_func("/riscv-aia/state/narrow-clear", test_narrow_clear);
    g_test_add_func("/riscv-aia/state/evaluate", test_evaluate);
}
