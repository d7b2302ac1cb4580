/*
 * State of an in-kernel AIA: save and load against a model of the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "test-state.h"

/*
 * Accesses that are expected to work
 */

uint32_t get(RISCVAIAModel *m, uint32_t offset)
{
    uint32_t val;

    g_assert_cmpint(riscv_aia_model_get_aplic(m, offset, &val), ==, 0);
    return val;
}

void put(RISCVAIAModel *m, uint32_t offset, uint32_t val)
{
    g_assert_cmpint(riscv_aia_model_set_aplic(m, offset, val), ==, 0);
}

uint64_t get_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect)
{
    uint64_t val;

    g_assert_cmpint(riscv_aia_model_get_imsic(m, hart, iselect, &val), ==, 0);
    return val;
}

void put_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect, uint64_t val)
{
    g_assert_cmpint(riscv_aia_model_set_imsic(m, hart, iselect, val), ==, 0);
}

void drive(RISCVAIAModel *m, uint32_t source, bool level)
{
    g_assert_cmpint(riscv_aia_model_set_input(m, source, level), ==, 0);
}

void device_drives(RISCVAIAModel *m, uint32_t source, bool level)
{
    riscv_aia_use_wire(&m->fresh);
    drive(m, source, level);
}

void device_sends(RISCVAIAModel *m, uint32_t hart, uint32_t id)
{
    riscv_aia_use_file(&m->fresh, hart);
    riscv_aia_model_send_msi(m, hart, id);
}

void assert_error(Error *err, const char *part, const char *part2)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), part) ||
        (part2 && !strstr(error_get_pretty(err), part2))) {
        g_error("'%s' does not say '%s' and '%s'", error_get_pretty(err),
                part, part2 ?: "");
    }
    error_free(err);
}

/*
 * Comparison of all that two models hold, where it is held aside
 */

char *difference(const RISCVAIAModel *a, const RISCVAIAModel *b)
{
    if (a->domaincfg != b->domaincfg || a->genmsi != b->genmsi) {
        return g_strdup_printf("domaincfg 0x%x 0x%x, genmsi 0x%x 0x%x",
                               a->domaincfg, b->domaincfg,
                               a->genmsi, b->genmsi);
    }
    for (uint32_t i = 1; i <= a->shape.num_sources; i++) {
        const RISCVAIAModelSource *s = &a->sources[i], *t = &b->sources[i];

        if (s->sourcecfg != t->sourcecfg || s->target != t->target ||
            s->pending != t->pending || s->enabled != t->enabled ||
            s->input != t->input) {
            return g_strdup_printf("source %u: sourcecfg %u %u, target 0x%x "
                                   "0x%x, pending %d %d, enabled %d %d, "
                                   "input %d %d", i,
                                   s->sourcecfg, t->sourcecfg,
                                   s->target, t->target,
                                   s->pending, t->pending,
                                   s->enabled, t->enabled,
                                   s->input, t->input);
        }
    }
    for (uint32_t hart = 0; hart < a->shape.num_harts; hart++) {
        const RISCVAIAModelFile *f = &a->files[hart], *g = &b->files[hart];

        if (f->eidelivery != g->eidelivery ||
            f->eithreshold != g->eithreshold ||
            riscv_aia_model_seip(a, hart) != riscv_aia_model_seip(b, hart)) {
            return g_strdup_printf("hart %u: eidelivery %" PRIu64 " %" PRIu64
                                   ", eithreshold %" PRIu64 " %" PRIu64
                                   ", seip %d %d", hart,
                                   f->eidelivery, g->eidelivery,
                                   f->eithreshold, g->eithreshold,
                                   riscv_aia_model_seip(a, hart),
                                   riscv_aia_model_seip(b, hart));
        }
        for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
            if (f->eip[w] != g->eip[w] || f->eie[w] != g->eie[w]) {
                return g_strdup_printf("hart %u, identities from %u: eip 0x%"
                                       PRIx64 " 0x%" PRIx64 ", eie 0x%" PRIx64
                                       " 0x%" PRIx64, hart, w * 64,
                                       f->eip[w], g->eip[w],
                                       f->eie[w], g->eie[w]);
            }
        }
    }
    return NULL;
}

char *log_difference(const RISCVAIAModel *a, const RISCVAIAModel *b)
{
    for (uint32_t hart = 0; hart < a->shape.num_harts; hart++) {
        for (uint32_t id = 1; id <= a->shape.num_ids; id++) {
            uint32_t m = a->files[hart].msis[id], n = b->files[hart].msis[id];

            if (m != n) {
                return g_strdup_printf("hart %u: identity %u arrived %u %u "
                                       "times", hart, id, m, n);
            }
        }
    }
    if (a->msis_lost != b->msis_lost) {
        return g_strdup_printf("%" PRIu64 " %" PRIu64 " MSIs reached nobody",
                               a->msis_lost, b->msis_lost);
    }
    return NULL;
}

void assert_no_difference(const char *file, int line, const char *func,
                          char *why)
{
    if (why) {
        g_assertion_message(G_LOG_DOMAIN, file, line, func, why);
    }
    g_free(why);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    add_model_tests();
    add_aplic_tests();
    add_fresh_tests();
    add_imsic_tests();
    add_refused_tests();
    add_random_tests();
    add_stream_tests();
    return g_test_run();
}
