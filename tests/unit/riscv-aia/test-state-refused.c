/*
 * State of an in-kernel AIA: what no AIA can hold, and access that fails
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-state.h"

typedef struct Refused {
    RISCVAIAModel *m;
    Saved *saved;
} Refused;

/* Puts @word to @bad for one load, which has to be refused with @what. */
static void refuse_word(const Refused *r, uint32_t *word, uint32_t bad,
                        const char *what)
{
    g_autoptr(RISCVAIAModel) untouched = riscv_aia_model_ready(&r->m->shape);
    uint32_t good = *word;
    Error *err = NULL;

    *word = bad;
    r->m->accesses = 0;
    g_assert(!(word == &r->saved->imsic[0].eidelivery ||
               word == &r->saved->imsic[0].eithreshold ||
               word == r->saved->imsic[0].eip ||
               word == r->saved->imsic[0].eie ?
               load_imsic(r->m, r->saved, 0, &err) :
               load_aplic(r->m, r->saved, &err)));
    assert_error(err, what, NULL);
    g_assert_cmpuint(r->m->accesses, ==, 0);
    assert_same(untouched, r->m);
    *word = good;
}

static void test_check(void)
{
    static const uint32_t sources[] = { 1, 31, 32, 96, 1023 };

    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        RISCVAIAModelShape shape = {
            .num_sources = sources[i], .num_ids = AIA_IMSIC_MAX_IDS,
            .num_harts = 1,
        };
        g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(&shape);
        g_autoptr(Saved) saved = saved_new(&m->shape);
        RISCVAPLICRegs *aplic = &saved->aplic;
        RISCVIMSICRegs *imsic = &saved->imsic[0];
        uint32_t *per_source[] = {
            aplic->pending, aplic->enabled, aplic->input,
        };
        Refused r = { m, saved };

        /* Everything is 0, but for the fixed bits of domaincfg. */
        save(m, saved, &error_abort);
        for (uint32_t bit = 0; bit < 32; bit++) {
            uint32_t flipped = aplic->domaincfg ^ BIT(bit);

            if (BIT(bit) != IE) {
                refuse_word(&r, &aplic->domaincfg, flipped, "domaincfg");
                refuse_word(&r, &aplic->domaincfg, flipped | IE, "domaincfg");
            }
        }
        for (uint32_t s = 0; s < sources[i]; s += MAX(1, sources[i] - 1)) {
            g_autofree char *where = g_strdup_printf("source %u:", s + 1);

            for (uint32_t bit = 3; bit < 32; bit++) {
                refuse_word(&r, &aplic->sourcecfg[s], BIT(bit), where);
                refuse_word(&r, &aplic->sourcecfg[s], BIT(bit) | 6, where);
            }
            refuse_word(&r, &aplic->target[s], BIT(11), where);
            refuse_word(&r, &aplic->target[s], UINT32_MAX, where);
        }
        for (uint32_t bit = 12; bit <= 17; bit++) {
            refuse_word(&r, &aplic->genmsi, BIT(bit), "genmsi");
        }
        for (size_t j = 0; j < ARRAY_SIZE(per_source); j++) {
            uint32_t last = sources[i] / 32;

            refuse_word(&r, &per_source[j][0], BIT(0), "source outside");
            for (uint32_t s = sources[i] + 1; s < (last + 1) * 32; s++) {
                refuse_word(&r, &per_source[j][last], BIT(s % 32),
                            "source outside");
            }
        }

        refuse_word(&r, &imsic->eidelivery, 2, "eidelivery");
        refuse_word(&r, &imsic->eidelivery, 0x40000000, "eidelivery");
        refuse_word(&r, &imsic->eidelivery, UINT32_MAX, "hart 0");
        refuse_word(&r, &imsic->eithreshold, 2048, "eithreshold");
        refuse_word(&r, &imsic->eithreshold, UINT32_MAX, "hart 0");
        refuse_word(&r, &imsic->eip[0], BIT(0), "identity 0");
        refuse_word(&r, &imsic->eie[0], UINT32_MAX, "identity 0");

        /* The most there can be */
        aplic->domaincfg |= IE;
        aplic->genmsi = 0xfffc0fff;
        for (uint32_t s = 0; s < sources[i]; s++) {
            aplic->sourcecfg[s] = AIA_SM_LEVEL_LOW;
            aplic->target[s] = AIA_APLIC_TARGET_MASK;
            for (size_t j = 0; j < ARRAY_SIZE(per_source); j++) {
                per_source[j][(s + 1) / 32] |= BIT((s + 1) % 32);
            }
        }
        imsic->eidelivery = 1;
        imsic->eithreshold = AIA_IMSIC_MAX_IDS;
        for (uint32_t w = 0; w < imsic->num_words; w++) {
            imsic->eip[w] = imsic->eie[w] = w ? UINT32_MAX : UINT32_MAX - 1;
        }
        load(m, saved, &error_abort);
    }
}

static const int fault_errnos[] = { EFAULT, ENODEV, EBUSY, ENOMEM };

static const RISCVAIAModelShape fault_hosts[] = {
    {
        .num_sources = 33, .num_ids = 127, .num_harts = 2,
        .mode = RISCV_AIA_MODEL_EMUL,
    }, {
        .num_sources = 33, .num_ids = 127, .num_harts = 2, .narrow = true,
        .mode = RISCV_AIA_MODEL_EMUL,
    }, {
        .num_sources = 33, .num_ids = 127, .num_harts = 2, .narrow = true,
        .mode = RISCV_AIA_MODEL_HWACCEL, .guest_files = 2,
    },
};

/*
 * A state in which no register is 0 and all words of the files are @eip and
 * @eie.  Where there are hardware files all harts have one.
 */
static void fault_state(RISCVAIAModel *m, uint64_t eip, uint64_t eie)
{
    GRand *rng = g_rand_new_with_seed(2);

    random_state(rng, m);
    put(m, AIA_APLIC_DOMAINCFG, IE);
    m->genmsi = TO(1, 3);
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        RISCVAIAModelFile *file = &m->files[hart];

        riscv_aia_model_enter(m, hart, 0, &error_abort);
        file->eidelivery = 1;
        file->eithreshold = 100;
        for (uint32_t w = 0; w < 2; w++) {
            file->eip[w] = eip;
            file->eie[w] = eie;
        }
    }
    g_rand_free(rng);
    riscv_aia_model_evaluate(m);
    riscv_aia_model_clear_log(m);
}

/* Whatever fails, the source guest goes on as if nobody had tried. */
static void test_save_faults(void)
{
    /* Also words that tell wide access from narrow one, or do not */
    static const uint64_t words[] = {
        0x8000100080001000, UPPER_HALF | BIT(31), BIT(30),
    };

    for (size_t i = 0; i < ARRAY_SIZE(fault_hosts) * ARRAY_SIZE(words); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(fault_errnos); j++) {
            const RISCVAIAModelShape *shape =
                &fault_hosts[i / ARRAY_SIZE(words)];
            uint64_t word = words[i % ARRAY_SIZE(words)];
            g_autoptr(RISCVAIAModel) m = riscv_aia_model_ready(shape);
            g_autoptr(RISCVAIAModel) before = riscv_aia_model_ready(shape);
            g_autoptr(Saved) saved = saved_new(&m->shape);
            uint32_t n;

            fault_state(m, word, word);
            riscv_aia_model_copy(before, m);
            for (n = 1;; n++) {
                Error *err = NULL;
                bool ok;

                riscv_aia_model_fail(m, n, fault_errnos[j]);
                ok = save(m, saved, &err);
                if (m->failed == RISCV_AIA_MODEL_NONE) {
                    g_assert(ok);
                    break;
                }
                g_assert(!ok);
                assert_error(err, g_strerror(fault_errnos[j]),
                             m->failed >= RISCV_AIA_MODEL_GET_IMSIC ? "hart"
                                                                    : "APLIC");
                if (m->failed == RISCV_AIA_MODEL_SET_IMSIC) {
                    /*
                     * It may have been the one that puts back the bit by
                     * which the width is told; there is no help then.
                     */
                    for (uint32_t hart = 0; hart < 2; hart++) {
                        uint64_t was = before->files[hart].eie[0];
                        uint64_t *eie = &m->files[hart].eie[0];

                        *eie = deposit64(*eie, 32, 1, extract64(was, 32, 1));
                    }
                    riscv_aia_model_evaluate(m);
                }
                assert_same(before, m);
                g_assert_cmpuint(m->msis_taken + m->msis_lost, ==, 0);
            }
            g_assert_cmpuint(n, >, 33 * 2);
        }
    }
}

/*
 * A load that fails says so, forwards nothing, and can be done again: into a
 * machine that was reset, or that nothing is known of.
 */
static void test_load_faults(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(fault_hosts) * 2; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(fault_errnos); j++) {
            const RISCVAIAModelShape *shape = &fault_hosts[i / 2];
            bool fresh = i % 2;
            bool upper = !shape->narrow || shape->guest_files;
            RISCVAIAModelShape wide = *shape;
            g_autoptr(RISCVAIAModel) src = NULL;
            g_autoptr(Saved) saved = NULL;
            uint32_t kinds = 0;

            wide.narrow = false;
            src = riscv_aia_model_ready(&wide);
            saved = saved_new(&src->shape);
            fault_state(src, 0x8000100080001000,
                        upper ? 0xff00ff00ff00ff00 : 0xff00ff00);
            save(src, saved, &error_abort);
            for (uint32_t n = 1;; n++) {
                g_autoptr(RISCVAIAModel) dst = riscv_aia_model_ready(shape);
                Error *err = NULL;
                bool ok;

                if (fresh) {
                    reset(dst, &error_abort);
                }
                riscv_aia_model_fail(dst, n, fault_errnos[j]);
                ok = load(dst, saved, &err);
                if (dst->failed == RISCV_AIA_MODEL_NONE) {
                    g_assert(ok);
                    assert_same(src, dst);
                    break;
                }
                kinds |= BIT(dst->failed);
                g_assert(!ok);
                assert_error(err, g_strerror(fault_errnos[j]),
                             dst->failed >= RISCV_AIA_MODEL_GET_IMSIC ?
                             "hart" : "APLIC");
                g_assert_cmpuint(dst->msis_taken, <=, 1 + 2 * 4);
                g_assert_cmpuint(dst->domaincfg, ==, 0);
                load(dst, saved, &error_abort);
                assert_same(src, dst);
            }
            /* All kinds but get_aplic */
            g_assert_cmphex(kinds | BIT(RISCV_AIA_MODEL_SEND_MSI) |
                            BIT(RISCV_AIA_MODEL_WIDEN), ==, 0xfc);
            g_assert_cmpint(!!(kinds & BIT(RISCV_AIA_MODEL_SEND_MSI)), ==,
                            shape->narrow && !shape->guest_files);
            g_assert_cmpint(!!(kinds & BIT(RISCV_AIA_MODEL_WIDEN)), ==,
                            shape->narrow && shape->guest_files);
        }
    }
}

void add_refused_tests(void)
{
    g_test_add_func("/riscv-aia/state/check", test_check);
    g_test_add_func("/riscv-aia/state/save-faults", test_save_faults);
    g_test_add_func("/riscv-aia/state/load-faults", test_load_faults);
}
