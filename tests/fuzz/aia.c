/*
 * Loading by libFuzzer: the AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "aia-load.h"
#include "qapi/error.h"
#include "tests/unit/riscv-aia/model.h"

/* Where the model looks for a hardware file when it is to widen access */
#define WIDEN_CPU       0

/* Of a bit for each wire */
#define DRIVEN_WORDS    DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)

/* As the devices have them, see hw/intc */

typedef struct APLIC {
    RISCVAPLICRegs regs;
} APLIC;

static const VMStateDescription vmstate_aplic = {
    .name = "riscv_aplic_kvm",
    .version_id = 2,
    .minimum_version_id = 2,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(regs, APLIC, 2, vmstate_riscv_aplic_regs,
                       RISCVAPLICRegs),
        VMSTATE_END_OF_LIST()
    }
};

typedef struct IMSIC {
    uint32_t hartid;
    RISCVIMSICRegs regs;
} IMSIC;

static const VMStateDescription vmstate_imsic = {
    .name = "riscv_imsic_kvm",
    .version_id = 2,
    .minimum_version_id = 2,
    .fields = (const VMStateField[]) {
        RISCV_VMSTATE_EQUAL(hartid, IMSIC, "The hart ids must be the same."),
        VMSTATE_STRUCT(regs, IMSIC, 2, vmstate_riscv_imsic_regs,
                       RISCVIMSICRegs),
        VMSTATE_END_OF_LIST()
    }
};

/*
 * The destination
 */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8 ^ *state << 8;
}

/* All that a guest may have left behind */
static void use(RISCVAIAModel *m, uint32_t seed)
{
    m->domaincfg = seed & 1 ? AIA_APLIC_DOMAINCFG_IE : 0;
    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        uint32_t word = next_random(&seed);

        m->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = extract32(word, 0, 3),
            .pending = extract32(word, 3, 1),
            .enabled = extract32(word, 4, 1),
            .input = extract32(word, 5, 1),
            .target = next_random(&seed) & AIA_APLIC_TARGET_MASK,
        };
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        RISCVAIAModelFile *file = &m->files[hart];
        uint64_t mask = ~1ULL;

        if (next_random(&seed) & 1) {
            riscv_aia_model_enter(m, hart, hart % 2, NULL);
        }
        file->eidelivery = next_random(&seed) & 1;
        file->eithreshold = next_random(&seed) & AIA_IMSIC_MAX_IDS;
        for (uint32_t w = 0; w < (m->shape.num_ids + 1) / 64; w++) {
            file->eip[w] = next_random(&seed) | (uint64_t)next_random(&seed)
                           << 32;
            file->eip[w] &= mask;
            if (m->shape.mode == RISCV_AIA_MODEL_EMUL && m->shape.narrow) {
                mask = extract64(mask, 0, 32);
            }
            file->eie[w] = next_random(&seed) | (uint64_t)next_random(&seed)
                           << 32;
            file->eie[w] &= mask;
            mask = UINT64_MAX;
        }
    }
    riscv_aia_model_evaluate(m);
    riscv_aia_model_clear_log(m);
}

/* As the start of a machine does */
static void reset(RISCVAIAModel *m)
{
    const uint32_t driven[DRIVEN_WORDS] = { };
    RISCVAPLICRegs aplic;

    riscv_aplic_regs_init(&aplic, m->shape.num_sources);
    riscv_aplic_regs_reset(&m->access, &aplic, driven, &error_abort);
    riscv_aplic_regs_free(&aplic);
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        RISCVIMSICRegs imsic;

        riscv_imsic_regs_init(&imsic, m->shape.num_ids);
        riscv_imsic_regs_reset(&m->access, hart, &imsic, &error_abort);
        riscv_imsic_regs_free(&imsic);
    }
    riscv_aia_model_clear_log(m);
}

static RISCVAIAModel *destination(const Header *h)
{
    static const uint32_t sources[] = { 1, 31, 32, 33, 63, 96, 128, 1023 };
    static const uint32_t ids[] = { 63, 127, 255, 2047 };
    RISCVAIAModelShape shape = {
        .num_sources = sources[h->sources % ARRAY_SIZE(sources)],
        .num_ids = ids[h->ids % ARRAY_SIZE(ids)],
        .num_harts = 1 + h->harts % 4,
        .mode = h->mode % 3,
        .narrow = h->flags & NARROW,
        .guest_files = h->files % 6,
    };
    RISCVAIAModel *m;

    /* The kernel has none such. */
    shape.num_sources = MIN(shape.num_sources, shape.num_ids);
    m = riscv_aia_model_ready(&shape);
    if (h->flags & RESET) {
        reset(m);
    }
    if (h->flags & USED) {
        riscv_aia_use(&m->fresh);
        use(m, h->flags + h->mode * 3 + h->files * 7);
    }
    return m;
}

/* Another with the same in it, to compare with */
static RISCVAIAModel *copy_model(const RISCVAIAModel *m)
{
    RISCVAIAModel *copy = riscv_aia_model_ready(&m->shape);

    riscv_aia_model_copy(copy, m);
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        memcpy(copy->files[hart].msis, m->files[hart].msis,
               (m->shape.num_ids + 1) * sizeof(uint32_t));
    }
    copy->msis_taken = m->msis_taken;
    copy->msis_lost = m->msis_lost;
    return copy;
}

/*
 * What is to be there afterwards.  Of the state that is expected, riscv_aia_
 * model_send_msi() is the only operation.
 */

static void expect_sources(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    g_assert_cmphex(m->domaincfg, ==, e->domaincfg);
    g_assert_cmphex(m->genmsi, ==, e->genmsi);
    for (uint32_t i = 1; i <= e->shape.num_sources; i++) {
        g_assert_cmphex(m->sources[i].sourcecfg, ==, e->sources[i].sourcecfg);
        g_assert_cmphex(m->sources[i].target, ==, e->sources[i].target);
        g_assert_cmpint(m->sources[i].pending, ==, e->sources[i].pending);
        g_assert_cmpint(m->sources[i].enabled, ==, e->sources[i].enabled);
        g_assert_cmpint(m->sources[i].input, ==, e->sources[i].input);
    }
}

static void expect_files(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    g_assert_cmpuint(m->msis_lost, ==, e->msis_lost);
    for (uint32_t hart = 0; hart < e->shape.num_harts; hart++) {
        const RISCVAIAModelFile *f = &m->files[hart], *g = &e->files[hart];

        g_assert_cmphex(f->eidelivery, ==, g->eidelivery);
        g_assert_cmphex(f->eithreshold, ==, g->eithreshold);
        g_assert(!memcmp(f->eip, g->eip, sizeof(f->eip)));
        g_assert(!memcmp(f->eie, g->eie, sizeof(f->eie)));
        g_assert(!memcmp(f->msis, g->msis,
                         (e->shape.num_ids + 1) * sizeof(uint32_t)));
    }
}

static void expect(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    expect_sources(e, m);
    expect_files(e, m);
}

static void send_msi(RISCVAIAModel *e, uint32_t msi)
{
    uint32_t hart = extract32(msi, 18, 14);

    if (extract32(msi, 12, 6)) {
        e->msis_lost++;
    } else {
        riscv_aia_model_send_msi(e, hart, msi & AIA_APLIC_EIID_MASK);
    }
}

static bool source_bit(const uint32_t *words, uint32_t source)
{
    return extract32(words[source / 32], source % 32, 1);
}

/*
 * genmsi is sent, the domain is left off.  @fresh: an APLIC to which a genmsi
 * of 0, an MSI that every file loses, need not be written
 */
static void load_expected_aplic(RISCVAIAModel *e, const RISCVAPLICRegs *regs,
                                bool fresh)
{
    e->domaincfg = 0;
    e->genmsi = regs->genmsi;
    if (!fresh || regs->genmsi) {
        send_msi(e, regs->genmsi);
    }
    for (uint32_t source = 1; source <= e->shape.num_sources; source++) {
        e->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = regs->sourcecfg[source - 1],
            .target = regs->target[source - 1],
            .pending = source_bit(regs->pending, source),
            .enabled = source_bit(regs->enabled, source),
            .input = source_bit(regs->input, source),
        };
    }
}

/* What is due is forwarded. */
static void enable_expected_aplic(RISCVAIAModel *e, uint32_t domaincfg)
{
    e->domaincfg = domaincfg & AIA_APLIC_DOMAINCFG_IE;
    for (uint32_t source = 1; source <= e->shape.num_sources; source++) {
        RISCVAIAModelSource *s = &e->sources[source];

        if (e->domaincfg && s->pending && s->enabled) {
            s->pending = false;
            send_msi(e, s->target);
        }
    }
}

static uint64_t both_halves(const uint32_t *words, uint32_t w)
{
    return words[2 * w] | (uint64_t)words[2 * w + 1] << 32;
}

/* @narrow: upper halves can only be added to, by MSIs */
static void load_expected_file(RISCVAIAModel *e, uint32_t hart,
                               const RISCVIMSICRegs *regs, bool narrow)
{
    RISCVAIAModelFile *file = &e->files[hart];

    file->eidelivery = regs->eidelivery;
    file->eithreshold = regs->eithreshold;
    for (uint32_t w = 0; w < regs->num_words / 2; w++) {
        uint64_t eip = both_halves(regs->eip, w);

        file->eie[w] = both_halves(regs->eie, w);
        if (!narrow) {
            file->eip[w] = eip;
            continue;
        }
        file->eip[w] = deposit64(file->eip[w], 0, 32, eip);
        for (uint32_t bit = 32; bit < 64; bit++) {
            if (extract64(eip, bit, 1)) {
                riscv_aia_model_send_msi(e, hart, w * 64 + bit);
            }
        }
    }
}

/*
 * APLIC
 */

/* Whether @m, in which @regs were loaded, saves them so, and sends them so. */
static bool saves_aplic(RISCVAIAModel *m, const RISCVAPLICRegs *regs)
{
    uint32_t driven[DRIVEN_WORDS] = { };
    size_t per_source = regs->num_sources * sizeof(uint32_t);
    size_t per_word = regs->num_words * sizeof(uint32_t);
    RISCVAPLICRegs read, saved;
    bool same;

    riscv_aia_model_get_wires(m, driven);
    riscv_aplic_regs_init(&read, m->shape.num_sources);
    riscv_aplic_regs_init(&saved, m->shape.num_sources);
    riscv_aplic_regs_save(&m->access, &read, driven, &error_abort);
    pass_state(&vmstate_riscv_aplic_regs, &read, &saved);
    riscv_aplic_regs_free(&read);
    /* It is off yet. */
    same = (saved.domaincfg | (regs->domaincfg & AIA_APLIC_DOMAINCFG_IE)) ==
           regs->domaincfg &&
           saved.genmsi == regs->genmsi &&
           !memcmp(saved.sourcecfg, regs->sourcecfg, per_source) &&
           !memcmp(saved.target, regs->target, per_source) &&
           !memcmp(saved.pending, regs->pending, per_word) &&
           !memcmp(saved.enabled, regs->enabled, per_word) &&
           !memcmp(saved.input, regs->input, per_word);
    riscv_aplic_regs_free(&saved);
    return same;
}

static void assert_no_aplic_holds(const RISCVAIAModel *m,
                                  const RISCVAPLICRegs *regs)
{
    g_autoptr(RISCVAIAModel) any = riscv_aia_model_ready(&m->shape);
    const uint32_t driven[DRIVEN_WORDS] = { };

    riscv_aplic_regs_load(&any->access, regs, driven, &error_abort);
    g_assert(!saves_aplic(any, regs));
}

static bool load_aplic(RISCVAIAModel *m, RISCVAIAModel *e, APLIC *aplic,
                       QEMUFile *f)
{
    uint32_t driven[DRIVEN_WORDS] = { }, accesses = m->accesses;
    Error *err = NULL;
    bool fresh;

    if (!read_section(f, NULL, &vmstate_aplic, aplic)) {
        return false;
    }
    if (!riscv_aplic_regs_check(&aplic->regs, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpuint(m->accesses, ==, accesses);
        assert_no_aplic_holds(m, &aplic->regs);
        return false;
    }
    fresh = riscv_aia_aplic_is_fresh(m->access.fresh);
    riscv_aia_model_get_wires(m, driven);
    riscv_aplic_regs_load(&m->access, &aplic->regs, driven, &error_abort);
    load_expected_aplic(e, &aplic->regs, fresh);
    expect(e, m);
    g_assert(saves_aplic(m, &aplic->regs));
    return true;
}

/*
 * IMSIC
 */

/* The same, of a file whose upper halves cannot be read where it is narrow. */
static bool saves_file(RISCVAIAModel *m, uint32_t hart,
                       const RISCVIMSICRegs *regs)
{
    RISCVIMSICRegs read, saved;
    Error *err = NULL;
    bool same;

    riscv_imsic_regs_init(&read, m->shape.num_ids);
    riscv_imsic_regs_init(&saved, m->shape.num_ids);
    if (riscv_imsic_regs_save(&m->access, hart, false, &read, &err)) {
        pass_state(&vmstate_riscv_imsic_regs, &read, &saved);
        same = saved.eidelivery == regs->eidelivery &&
               saved.eithreshold == regs->eithreshold;
        for (uint32_t w = 0; w < regs->num_words; w++) {
            bool seen = !(w % 2) || !riscv_aia_model_is_narrow(m, hart);

            same = same && saved.eip[w] == (seen ? regs->eip[w] : 0) &&
                   saved.eie[w] == (seen ? regs->eie[w] : 0);
        }
    } else {
        g_assert_nonnull(err);
        error_free(err);
        g_assert(riscv_aia_model_is_narrow(m, hart));
        g_assert_cmpint(m->shape.mode, !=, RISCV_AIA_MODEL_EMUL);
        g_assert_cmpuint(m->free_files[WIDEN_CPU], ==, 0);
        same = true;
    }
    riscv_imsic_regs_free(&read);
    riscv_imsic_regs_free(&saved);
    return same;
}

static void assert_no_file_holds(const RISCVAIAModel *m,
                                 const RISCVIMSICRegs *regs)
{
    RISCVAIAModelShape wide = m->shape;
    g_autoptr(RISCVAIAModel) any = NULL;

    wide.narrow = false;
    any = riscv_aia_model_ready(&wide);
    riscv_imsic_regs_load(&any->access, 0, regs, false, &error_abort);
    g_assert(!saves_file(any, 0, regs));
}

/* There is a reason, and nothing came of it. */
static void check_not_taken_over(RISCVAIAModel *m, uint32_t hart,
                                 const RISCVIMSICRegs *regs, bool clear)
{
    uint32_t upper = 0;

    for (uint32_t w = 1; w < regs->num_words; w += 2) {
        upper |= regs->eie[w];
    }
    g_assert(riscv_aia_model_is_narrow(m, hart));
    if (m->shape.mode == RISCV_AIA_MODEL_EMUL) {
        g_assert_cmphex(upper, !=, 0);
    } else {
        g_assert(upper || clear);
        g_assert_cmpuint(m->free_files[WIDEN_CPU], ==, 0);
    }
}

static bool load_file(RISCVAIAModel *m, RISCVAIAModel *e, IMSIC *imsic,
                      bool clear, QEMUFile *f)
{
    uint32_t hart = imsic->hartid, accesses = m->accesses;
    Error *err = NULL;

    if (!read_section(f, NULL, &vmstate_imsic, imsic)) {
        return false;
    }
    if (!riscv_imsic_regs_check(&imsic->regs, hart, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpuint(m->accesses, ==, accesses);
        assert_no_file_holds(m, &imsic->regs);
        return false;
    }
    if (!riscv_imsic_regs_load(&m->access, hart, &imsic->regs, clear, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        check_not_taken_over(m, hart, &imsic->regs, clear);
        expect(e, m);
        return false;
    }
    load_expected_file(e, hart, &imsic->regs,
                       riscv_aia_model_is_narrow(m, hart));
    expect(e, m);
    g_assert(saves_file(m, hart, &imsic->regs));
    return true;
}

/* sip, and what has to come after it */
static void evaluate(RISCVAIAModel *m)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        riscv_aia_model_put_sip(m, hart, false);
        riscv_imsic_regs_evaluate(&m->access, hart, &error_abort);
        g_assert_cmpint(riscv_aia_model_seip(m, hart), ==,
                        m->files[hart].eidelivery &&
                        riscv_aia_model_topei(m, hart));
    }
}

void load_aia(const Header *h, QEMUFile *f)
{
    g_autoptr(RISCVAIAModel) m = destination(h);
    g_autoptr(RISCVAIAModel) e = copy_model(m);
    APLIC aplic = { };
    bool ok = true;

    riscv_aplic_regs_init(&aplic.regs, m->shape.num_sources);
    if (h->flags & WITH_APLIC) {
        ok = load_aplic(m, e, &aplic, f);
    }
    for (uint32_t hart = 0; h->flags & WITH_IMSIC &&
                            hart < m->shape.num_harts && ok; hart++) {
        IMSIC imsic = { .hartid = hart };

        riscv_imsic_regs_init(&imsic.regs, m->shape.num_ids);
        ok = load_file(m, e, &imsic,
                       (aplic.regs.genmsi & 32) || (h->flags & USED), f);
        riscv_imsic_regs_free(&imsic.regs);
    }
    if (ok) {
        evaluate(m);
    }
    if (ok && h->flags & WITH_APLIC) {
        riscv_aplic_regs_enable(&m->access, &aplic.regs, &error_abort);
        enable_expected_aplic(e, aplic.regs.domaincfg);
    }
    expect(e, m);
    riscv_aplic_regs_free(&aplic.regs);
}
