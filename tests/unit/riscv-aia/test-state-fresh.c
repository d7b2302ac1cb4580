/*
 * State of an in-kernel AIA: how few accesses a save and a load take, and that
 * none is left out that is needed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-state.h"

/* As the demo's guest has it */
#define SOURCES     96
#define WORDS       4
#define IDS         255
#define HARTS       4

/* Sources of the guest's that are in use, all in one word */
#define USED_SOURCES    8

/* eidelivery, eithreshold, eip and eie */
#define FILE_REGS   (2 + 2 * (IDS + 1) / 64)

/* What a width takes that the reads do not tell: a bit there and back */
#define FLIP        3

static RISCVAIAModelShape demo_shape(RISCVAIAModelMode mode, bool narrow)
{
    return (RISCVAIAModelShape) {
        .num_sources = SOURCES, .num_ids = IDS, .num_harts = HARTS,
        .mode = mode, .narrow = narrow, .guest_files = HARTS,
    };
}

/* Linux with some devices; @upper: their identities are in upper halves. */
static void run_demo(RISCVAIAModel *m, bool upper)
{
    uint32_t first = upper ? 32 : 2;

    riscv_aia_use(&m->fresh);
    put(m, AIA_APLIC_DOMAINCFG, IE);
    for (uint32_t source = 1; source <= USED_SOURCES; source++) {
        put(m, AIA_APLIC_TARGET(source), TO(source % HARTS, first + source));
        put(m, AIA_APLIC_SOURCECFG(source), AIA_SM_LEVEL_HIGH);
    }
    put(m, AIA_APLIC_SETIE(0), MAKE_64BIT_MASK(1, USED_SOURCES));
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        put_ei(m, hart, AIA_IMSIC_EIE(0),
               BIT_ULL(1) | (BIT_ULL(first) << hart));
        put_ei(m, hart, AIA_IMSIC_EIDELIVERY, 1);
    }
}

static uint32_t count_aplic(RISCVAIAModel *m)
{
    return m->counts[RISCV_AIA_MODEL_GET_APLIC] +
           m->counts[RISCV_AIA_MODEL_SET_APLIC];
}

static uint32_t count_imsic(RISCVAIAModel *m)
{
    return m->counts[RISCV_AIA_MODEL_GET_IMSIC] +
           m->counts[RISCV_AIA_MODEL_SET_IMSIC];
}

static void assert_counts(RISCVAIAModel *m, uint32_t aplic, uint32_t wires,
                          uint32_t imsic)
{
    g_assert_cmpuint(count_aplic(m), ==, aplic);
    g_assert_cmpuint(m->counts[RISCV_AIA_MODEL_SET_INPUT], ==, wires);
    g_assert_cmpuint(count_imsic(m), ==, imsic);
    memset(m->counts, 0, sizeof(m->counts));
}

/* Every register of the APLIC, and of a file, with a flip where it takes one */
static void test_save_counts(void)
{
    static const struct {
        bool narrow, upper, hardware;
        RISCVAIAModelMode mode;
        uint32_t imsic, widened;
    } cases[] = {
        /* Nothing but the flip tells of a wide access. */
        { false, false, false, RISCV_AIA_MODEL_EMUL, FILE_REGS + FLIP, 0 },
        { true, false, true, RISCV_AIA_MODEL_AUTO, FILE_REGS + FLIP, 0 },
        { true, false, false, RISCV_AIA_MODEL_EMUL, FILE_REGS + FLIP, 1 },
        /* What is enabled in an upper half does. */
        { false, true, false, RISCV_AIA_MODEL_EMUL, FILE_REGS, 0 },
        { true, true, true, RISCV_AIA_MODEL_AUTO, FILE_REGS, 0 },
        /* A file that is widened is read again. */
        { true, false, false, RISCV_AIA_MODEL_AUTO, 2 * FILE_REGS + FLIP, 1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        RISCVAIAModelShape shape = demo_shape(cases[i].mode, cases[i].narrow);
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&shape);

        for (uint32_t hart = 0; hart < HARTS && cases[i].hardware; hart++) {
            riscv_aia_model_enter(m, hart, 0, &error_abort);
        }
        run_demo(m, cases[i].upper);
        save(m, saved, &error_abort);
        g_assert_cmpuint(m->counts[RISCV_AIA_MODEL_WIDEN], ==,
                         HARTS * cases[i].widened);
        assert_counts(m, 2 + 2 * SOURCES + 3 * WORDS, 0,
                      HARTS * cases[i].imsic);
    }

    /* One that is known to be wide takes no flip. */
    for (int narrow = 0; narrow <= 1; narrow++) {
        RISCVAIAModelShape shape = demo_shape(RISCV_AIA_MODEL_AUTO, narrow);
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&shape);

        riscv_aia_model_enter(m, 0, 0, &error_abort);
        riscv_imsic_regs_save(&m->access, 0, true, &saved->imsic[0],
                              &error_abort);
        assert_counts(m, 0, 0, FILE_REGS);
    }
}

static void test_load_counts(void)
{
    for (int upper = 0; upper <= 1; upper++) {
        RISCVAIAModelShape shape = demo_shape(RISCV_AIA_MODEL_AUTO, true);
        RISCVAIAModelShape wide = demo_shape(RISCV_AIA_MODEL_EMUL, false);
        /* get, flip, get, put back, where upper halves get anything */
        uint32_t width = upper ? 1 + FLIP : 0;
        uint32_t full = 2 + 3 * SOURCES + 4 * WORDS;
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&wide);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) used = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&shape);

        run_demo(src, upper);
        save(src, saved, &error_abort);

        /* The first reset writes all, a second one has nothing to do. */
        reset(dst, &error_abort);
        assert_counts(dst, full, SOURCES, HARTS * (FILE_REGS + 1));
        reset(dst, &error_abort);
        assert_counts(dst, 0, 0, 0);

        /* setie; for a source: detached, target, mode; for a file: eie, on */
        load_aplic(dst, saved, &error_abort);
        load_files(dst, saved, &error_abort);
        assert_counts(dst, 1 + 3 * USED_SOURCES, 0, HARTS * (2 + width));
        load_vcpus(dst, saved, &error_abort);
        assert_counts(dst, 0, 0, HARTS * 2);
        riscv_aplic_regs_enable(&dst->access, &saved->aplic, &error_abort);
        assert_same(src, dst);

        /* Once more into the same, and where nothing is known */
        memset(dst->counts, 0, sizeof(dst->counts));
        for (int i = 0; i < 2; i++) {
            RISCVAIAModel *m = i ? used : dst;

            load_aplic(m, saved, &error_abort);
            load_files(m, saved, &error_abort);
            assert_counts(m, full, SOURCES, HARTS * (FILE_REGS + 1 + width));
            load_vcpus(m, saved, &error_abort);
            riscv_aplic_regs_enable(&m->access, &saved->aplic, &error_abort);
            assert_same(src, m);
        }

        /* A reset makes an APLIC known again, of a file not all */
        riscv_aia_use(&used->fresh);
        reset(used, &error_abort);
        assert_counts(used, 1 + full, SOURCES, HARTS * (2 + FILE_REGS + 1));
        load_aplic(used, saved, &error_abort);
        load_files(used, saved, &error_abort);
        assert_counts(used, 1 + 3 * USED_SOURCES, 0,
                      HARTS * (FILE_REGS + 1 + width));
        load_vcpus(used, saved, &error_abort);
        riscv_aplic_regs_enable(&used->access, &saved->aplic, &error_abort);
        assert_same(src, used);
    }
}

/* Nothing that happens after a reset is there after a load. */

typedef void Between(RISCVAIAModel *m);

static void msi(RISCVAIAModel *m)
{
    device_sends(m, 1, 5);
}

static void wire(RISCVAIAModel *m)
{
    device_drives(m, 7, true);
}

static void wire_and_reset(RISCVAIAModel *m)
{
    device_drives(m, 7, true);
    reset(m, &error_abort);
}

/* Only a file is reset; an APLIC that is on yet sends it an MSI. */
static void wire_before_reset(RISCVAIAModel *m)
{
    RISCVIMSICRegs regs;

    m->fresh.aplic_reset = false;
    m->sources[7] = (RISCVAIAModelSource) {
        .sourcecfg = AIA_SM_EDGE_RISE, .enabled = true, .target = TO(1, 5),
    };
    put(m, AIA_APLIC_DOMAINCFG, IE);
    riscv_imsic_regs_init(&regs, IDS);
    riscv_imsic_regs_reset(&m->access, 1, &regs, &error_abort);
    riscv_imsic_regs_free(&regs);
    device_drives(m, 7, true);
    device_drives(m, 7, false);
}

static void load_genmsi(RISCVAIAModel *m)
{
    g_autoptr(Saved) saved = saved_new(&m->shape);

    save(m, saved, &error_abort);
    saved->aplic.genmsi = TO(1, 5);
    load_aplic(m, saved, &error_abort);
}

static void load_and_forget(RISCVAIAModel *m)
{
    RISCVAIAModelShape shape = demo_shape(RISCV_AIA_MODEL_EMUL, false);
    g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
    g_autoptr(Saved) saved = saved_new(&m->shape);

    run_demo(src, false);
    save(src, saved, &error_abort);
    load(m, saved, &error_abort);
}

static void run(RISCVAIAModel *m)
{
    run_demo(m, false);
}

/* A file that was reset once is not known where the guest ran before. */
static void run_and_reset(RISCVAIAModel *m)
{
    run_demo(m, true);
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        riscv_aia_model_send_msi(m, hart, 40);
    }
    reset(m, &error_abort);
    g_assert(riscv_aia_aplic_is_fresh(&m->fresh));
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        g_assert(!riscv_aia_file_is_fresh(&m->fresh, hart));
    }
}

static void reset_fails(RISCVAIAModel *m)
{
    g_autoptr(Saved) saved = saved_new(&m->shape);
    Error *err = NULL;

    put(m, AIA_APLIC_TARGET(3), TO(1, 9));
    riscv_aia_use_aplic(&m->fresh);
    riscv_aia_model_fail(m, 1, EFAULT);
    g_assert(!riscv_aplic_regs_reset(&m->access, &saved->aplic, saved->wires,
                                     &err));
    assert_error(err, "APLIC", NULL);
    g_assert(!riscv_aia_aplic_is_fresh(&m->fresh));
}

static void test_not_fresh(void)
{
    static Between *const between[] = {
        msi, wire, wire_and_reset, wire_before_reset, load_genmsi,
        load_and_forget, run, run_and_reset, reset_fails,
    };

    for (size_t i = 0; i < ARRAY_SIZE(between); i++) {
        RISCVAIAModelShape shape = demo_shape(RISCV_AIA_MODEL_EMUL, false);
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&shape);

        /* All of it is 0 but what the second load needs to be seen. */
        put(src, AIA_APLIC_TARGET(7), TO(1, 5));
        put(src, AIA_APLIC_SOURCECFG(7), AIA_SM_EDGE_RISE);
        put_ei(src, 1, AIA_IMSIC_EIE(0), BIT(5));
        put_ei(src, 1, AIA_IMSIC_EIDELIVERY, 1);
        save(src, saved, &error_abort);

        reset(dst, &error_abort);
        between[i](dst);
        load(dst, saved, &error_abort);
        assert_same(src, dst);

        riscv_aia_model_clear_log(src);
        riscv_aia_model_clear_log(dst);
        for (int step = 0; step < 2; step++) {
            RISCVAIAModel *m = step ? dst : src;

            put(m, AIA_APLIC_SETIE(0), BIT(7));
            put(m, AIA_APLIC_DOMAINCFG, IE);
            drive(m, 7, true);
            riscv_aia_model_send_msi(m, 0, 33);
        }
        assert_same(src, dst);
        assert_same_log(src, dst);
    }
}

/* A source that is left inactive has its wire, target and bits all the same. */
static void test_inactive(void)
{
    for (int bits = 0; bits < 8; bits++) {
        RISCVAIAModelShape shape = demo_shape(RISCV_AIA_MODEL_EMUL, true);
        g_autoptr(RISCVAIAModel) src = riscv_aia_model_ready(&shape);
        g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&shape);

        src->sources[40] = (RISCVAIAModelSource) {
            .target = TO(2, 17), .pending = bits & 1, .enabled = bits & 2,
            .input = bits & 4,
        };
        save(src, saved, &error_abort);
        reset(dst, &error_abort);
        memset(dst->counts, 0, sizeof(dst->counts));
        load_aplic(dst, saved, &error_abort);
        assert_same(src, dst);
        assert_counts(dst, 1 + !!(bits & 1) + !!(bits & 2) +
                      (bits & 3 ? 2 : 0), bits & 4 ? 1 : 0, 0);
    }
}

void add_fresh_tests(void)
{
    g_test_add_func("/riscv-aia/state/save-counts", test_save_counts);
    g_test_add_func("/riscv-aia/state/load-counts", test_load_counts);
    g_test_add_func("/riscv-aia/state/not-fresh", test_not_fresh);
    g_test_add_func("/riscv-aia/state/inactive", test_inactive);
}
