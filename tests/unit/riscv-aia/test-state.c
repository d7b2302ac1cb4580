/*
 * State of an in-kernel AIA: save and load against a model of the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * RISCV_AIA_TEST_STATES=N   how many random states to restore (20000); all
 *                           that a release should see is 1000000
 * RISCV_AIA_TEST_SEED=N     of the first of them, in place of one that follows
 *                           from --seed; the next state has the next number
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/host-utils.h"
#include "environment.h"
#include "model.h"

#define DEFAULT_STATES 20000
#define UPPER_HALF     0xffffffff00000000ULL
#define IE             AIA_APLIC_DOMAINCFG_IE

/* target and genmsi */
#define TO(hart, id)   ((hart) << 18 | (id))

typedef struct Saved {
    uint32_t num_harts;
    RISCVAPLICRegs aplic;
    RISCVIMSICRegs imsic[RISCV_AIA_MODEL_MAX_HARTS];
} Saved;

static Saved *saved_new(const RISCVAIAModel *m)
{
    Saved *s = g_new0(Saved, 1);

    s->num_harts = m->shape.num_harts;
    riscv_aplic_regs_init(&s->aplic, m->shape.num_sources);
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_imsic_regs_init(&s->imsic[hart], m->shape.num_ids);
    }
    return s;
}

static void saved_free(Saved *s)
{
    riscv_aplic_regs_free(&s->aplic);
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_imsic_regs_free(&s->imsic[hart]);
    }
    g_free(s);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Saved, saved_free)

static RISCVAIAModel *new_model(const RISCVAIAModelShape *shape)
{
    RISCVAIAModel *m = riscv_aia_model_new(shape);

    g_assert_cmpint(riscv_aia_model_init(m), ==, 0);
    return m;
}

static uint32_t get(RISCVAIAModel *m, uint32_t offset)
{
    uint32_t val;

    g_assert_cmpint(riscv_aia_model_get_aplic(m, offset, &val), ==, 0);
    return val;
}

static void put(RISCVAIAModel *m, uint32_t offset, uint32_t val)
{
    g_assert_cmpint(riscv_aia_model_set_aplic(m, offset, val), ==, 0);
}

static uint64_t get_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect)
{
    uint64_t val;

    g_assert_cmpint(riscv_aia_model_get_imsic(m, hart, iselect, &val), ==, 0);
    return val;
}

static void put_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                   uint64_t val)
{
    g_assert_cmpint(riscv_aia_model_set_imsic(m, hart, iselect, val), ==, 0);
}

static void drive(RISCVAIAModel *m, uint32_t source, bool level)
{
    g_assert_cmpint(riscv_aia_model_set_input(m, source, level), ==, 0);
}

static bool file_is_narrow(const RISCVAIAModel *m, uint32_t hart)
{
    return m->shape.narrow && !m->files[hart].hardware;
}

/* Frees @err, whose message has to have @part in it, or both parts. */
static void assert_error(Error *err, const char *part, const char *part2)
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
 * Save and load of a whole AIA, in the order of target/riscv/kvm/aia.c
 */

static void get_wires(const RISCVAIAModel *m, uint32_t *driven)
{
    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        driven[source / 32] |= (uint32_t)m->sources[source].input
                               << (source % 32);
    }
}

static bool save(RISCVAIAModel *m, Saved *s, Error **errp)
{
    uint32_t driven[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)] = { };

    get_wires(m, driven);
    if (!riscv_aplic_regs_save(&m->access, &s->aplic, driven, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        if (!riscv_imsic_regs_save(&m->access, hart, &s->imsic[hart], errp)) {
            return false;
        }
    }
    return true;
}

static bool load_aplic(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    return riscv_aplic_regs_check(&s->aplic, errp) &&
           riscv_aplic_regs_load(&m->access, &s->aplic, errp);
}

/* genmsi may have left an identity in an upper half. */
static bool has_to_clear(const Saved *s)
{
    return s->aplic.genmsi & 32;
}

static bool load_imsic(RISCVAIAModel *m, const Saved *s, uint32_t hart,
                       Error **errp)
{
    return riscv_imsic_regs_check(&s->imsic[hart], hart, errp) &&
           riscv_imsic_regs_load(&m->access, hart, &s->imsic[hart],
                                 has_to_clear(s), errp);
}

static bool load_files(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        if (!load_imsic(m, s, hart, errp)) {
            return false;
        }
    }
    return true;
}

/* Registers of the vCPUs, sip among them, and what has to come after. */
static bool load_vcpus(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_aia_model_put_sip(m, hart, false);
        if (!riscv_imsic_regs_evaluate(&m->access, hart, errp)) {
            return false;
        }
    }
    return true;
}

static bool load(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    return load_aplic(m, s, errp) && load_files(m, s, errp) &&
           load_vcpus(m, s, errp) &&
           riscv_aplic_regs_enable(&m->access, &s->aplic, errp);
}

/*
 * Comparison of all that two models hold, where it is held aside
 */

static char *difference(const RISCVAIAModel *a, const RISCVAIAModel *b)
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

static char *log_difference(const RISCVAIAModel *a, const RISCVAIAModel *b)
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

static void assert_no_difference(const char *func, int line, char *why)
{
    if (why) {
        g_assertion_message(G_LOG_DOMAIN, __FILE__, line, func, why);
    }
    g_free(why);
}

#define assert_same(a, b) \
    assert_no_difference(G_STRFUNC, __LINE__, difference(a, b))
#define assert_same_log(a, b) \
    assert_no_difference(G_STRFUNC, __LINE__, log_difference(a, b))

/*
 * Random operations, and random states that can be reached by them
 */

typedef struct Op {
    enum {
        OP_INPUT, OP_SOURCECFG, OP_TARGET, OP_SETIP, OP_CLRIP, OP_SETIE,
        OP_CLRIE, OP_SETIPNUM, OP_DOMAINCFG, OP_GENMSI, OP_MSI, OP_COUNT,
    } kind;
    uint32_t where;
    uint32_t val;
} Op;

static uint32_t below(GRand *rng, uint32_t n)
{
    return g_rand_int(rng) % n;
}

/* A target that is mostly one that exists */
static uint32_t random_target(GRand *rng, const RISCVAIAModelShape *shape)
{
    if (below(rng, 16) == 0) {
        return g_rand_int(rng);
    }
    return TO(below(rng, shape->num_harts), below(rng, shape->num_ids + 1));
}

static uint32_t random_sourcecfg(GRand *rng)
{
    static const uint32_t modes[] = {
        AIA_SM_INACTIVE, AIA_SM_DETACHED, AIA_SM_EDGE_RISE, AIA_SM_EDGE_FALL,
        AIA_SM_LEVEL_HIGH, AIA_SM_LEVEL_LOW, AIA_SM_LEVEL_HIGH, 2, 3,
    };

    return modes[below(rng, ARRAY_SIZE(modes))];
}

static uint32_t random_word(GRand *rng)
{
    uint32_t word = g_rand_int(rng);

    switch (below(rng, 4)) {
    case 0:
        return 0;
    case 1:
        return word & g_rand_int(rng) & g_rand_int(rng);
    case 2:
        return word | g_rand_int(rng) | g_rand_int(rng);
    default:
        return word;
    }
}

static Op random_op(GRand *rng, const RISCVAIAModelShape *shape)
{
    uint32_t source = 1 + below(rng, shape->num_sources);
    Op op = { .kind = below(rng, OP_COUNT), .where = source };

    switch (op.kind) {
    case OP_INPUT:
    case OP_DOMAINCFG:
        op.val = below(rng, 2);
        break;
    case OP_SOURCECFG:
        op.val = below(rng, 8) ? random_sourcecfg(rng) : g_rand_int(rng);
        break;
    case OP_TARGET:
    case OP_GENMSI:
        op.val = random_target(rng, shape);
        break;
    case OP_MSI:
        op.where = below(rng, shape->num_harts);
        op.val = below(rng, shape->num_ids + 1);
        break;
    default:
        op.where = source / 32;
        op.val = random_word(rng);
        break;
    }
    return op;
}

static void apply(RISCVAIAModel *m, const Op *op)
{
    switch (op->kind) {
    case OP_INPUT:
        drive(m, op->where, op->val);
        break;
    case OP_SOURCECFG:
        put(m, AIA_APLIC_SOURCECFG(op->where), op->val);
        break;
    case OP_TARGET:
        put(m, AIA_APLIC_TARGET(op->where), op->val);
        break;
    case OP_SETIP:
        put(m, AIA_APLIC_SETIP(op->where), op->val);
        break;
    case OP_CLRIP:
        put(m, AIA_APLIC_IN_CLRIP(op->where), op->val);
        break;
    case OP_SETIE:
        put(m, AIA_APLIC_SETIE(op->where), op->val);
        break;
    case OP_CLRIE:
        put(m, AIA_APLIC_CLRIE(op->where), op->val);
        break;
    case OP_SETIPNUM:
        put(m, 0x1cdc, op->where * 32 + op->val % 32);
        break;
    case OP_DOMAINCFG:
        put(m, AIA_APLIC_DOMAINCFG, op->val ? IE : 0);
        break;
    case OP_GENMSI:
        put(m, AIA_APLIC_GENMSI, op->val);
        break;
    case OP_MSI:
        riscv_aia_model_send_msi(m, op->where, op->val);
        break;
    default:
        g_assert_not_reached();
    }
}

static void random_file(GRand *rng, RISCVAIAModel *m, uint32_t hart)
{
    RISCVAIAModelFile *file = &m->files[hart];
    /* Mostly such that every file can take it */
    bool upper_eip = below(rng, 2), upper_eie = below(rng, 4) == 0;

    if (m->shape.mode != RISCV_AIA_MODEL_EMUL && m->free_files[0] &&
        below(rng, 2)) {
        m->free_files[0]--;
        file->hardware = true;
    }
    file->eidelivery = below(rng, 4) != 0;
    file->eithreshold = below(rng, 2) ? 0 : below(rng, AIA_IMSIC_MAX_IDS + 1);
    for (uint32_t w = 0; w < (m->shape.num_ids + 1) / 64; w++) {
        file->eip[w] = random_word(rng);
        file->eie[w] = random_word(rng);
        if (upper_eip) {
            file->eip[w] |= (uint64_t)random_word(rng) << 32;
        }
        if (upper_eie) {
            file->eie[w] |= (uint64_t)random_word(rng) << 32;
        }
    }
    file->eip[0] &= ~1ULL;
    file->eie[0] &= ~1ULL;
}

static void random_state(GRand *rng, RISCVAIAModel *m)
{
    uint32_t pending = 0, enabled = 0, input = 0;

    m->genmsi = below(rng, 2) ? random_target(rng, &m->shape) & 0xfffc0fff : 0;
    for (uint32_t i = 1; i <= m->shape.num_sources; i++) {
        RISCVAIAModelSource *s = &m->sources[i];

        if (i == 1 || i % 32 == 0) {
            pending = random_word(rng);
            enabled = random_word(rng);
            input = random_word(rng);
        }
        s->sourcecfg = random_sourcecfg(rng);
        s->target = random_target(rng, &m->shape) & AIA_APLIC_TARGET_MASK;
        s->pending = pending >> (i % 32) & 1;
        s->enabled = enabled >> (i % 32) & 1;
        s->input = input >> (i % 32) & 1;
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        random_file(rng, m, hart);
    }
    riscv_aia_model_evaluate(m);

    /* None is left pending, enabled and not forwarded. */
    put(m, AIA_APLIC_DOMAINCFG, below(rng, 2) ? IE : 0);
    if (below(rng, 8) == 0) {
        for (int n = 0; n < 64; n++) {
            Op op = random_op(rng, &m->shape);

            apply(m, &op);
        }
    }
    riscv_aia_model_clear_log(m);
}

/* Every one of the first with every one of the second that it goes with */
static const uint32_t some_sources[] = { 1, 31, 32, 96, 1023 };
static const uint32_t some_ids[] = { 63, 255, 2047 };

static RISCVAIAModelShape random_shape(GRand *rng)
{
    static const uint32_t sources[] = { 33, 62, 63 };
    RISCVAIAModelShape shape = { .num_harts = 1, .num_ids = 63 };

    switch (below(rng, 256)) {
    case 0:
        shape.num_sources = 1 + below(rng, AIA_APLIC_MAX_SOURCES);
        shape.num_ids = AIA_IMSIC_MAX_IDS;
        break;
    case 1 ... 9:
        do {
            shape.num_sources = some_sources[below(rng,
                                                   ARRAY_SIZE(some_sources))];
            shape.num_ids = some_ids[below(rng, ARRAY_SIZE(some_ids))];
        } while (shape.num_sources > shape.num_ids);
        break;
    case 10 ... 49:
        shape.num_sources = sources[below(rng, ARRAY_SIZE(sources))];
        break;
    case 50 ... 59:
        shape.num_sources = 1 + below(rng, 127);
        shape.num_ids = 127;
        shape.num_harts = 1 + below(rng, RISCV_AIA_MODEL_MAX_HARTS);
        break;
    default:
        shape.num_sources = 1 + below(rng, 40);
        shape.num_harts = 1 + below(rng, 2);
        break;
    }
    return shape;
}

/* What may differ between a source and a destination */
static void random_host(GRand *rng, RISCVAIAModelShape *shape)
{
    shape->mode = below(rng, 3);
    shape->narrow = below(rng, 4) != 0;
    shape->guest_files = below(rng, 4) ? shape->num_harts
                                       : below(rng, shape->num_harts);
}

/* The lowest identity enabled in an upper half of @hart's file, or 0 */
static uint32_t upper_enabled(const RISCVAIAModel *m, uint32_t hart)
{
    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        uint64_t upper = m->files[hart].eie[w] & UPPER_HALF;

        if (upper) {
            return w * 64 + ctz64(upper);
        }
    }
    return 0;
}

static uint32_t count_upper_pending(const RISCVAIAModel *m, uint32_t hart)
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        count += ctpop64(m->files[hart].eip[w] & UPPER_HALF);
    }
    return count;
}

static void drop_upper_halves(RISCVAIAModel *m, uint32_t hart)
{
    for (uint32_t w = 0; w < RISCV_AIA_MODEL_EI_WORDS; w++) {
        m->files[hart].eip[w] &= ~UPPER_HALF;
        m->files[hart].eie[w] &= ~UPPER_HALF;
    }
}

/* How many MSIs come of a write of @genmsi */
static uint32_t count_genmsi(const RISCVAIAModel *m, uint32_t genmsi)
{
    uint32_t id = genmsi & AIA_APLIC_EIID_MASK;

    return genmsi >> 18 < m->shape.num_harts && id && id <= m->shape.num_ids;
}

/* Whether a file has upper halves that a save cannot bring to light */
static bool hidden_hart(const RISCVAIAModel *m, uint32_t *hart)
{
    uint32_t files = m->free_files[0];

    for (*hart = 0; *hart < m->shape.num_harts; (*hart)++) {
        if (file_is_narrow(m, *hart) &&
            m->shape.mode != RISCV_AIA_MODEL_EMUL && files-- == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Turns @expected, a copy of what was saved, into what @dst is to hold after
 * a load, and counts the MSIs that this takes.  Returns false, and the start
 * of the message, where @dst has to refuse.
 */
static bool expect(RISCVAIAModel *expected, RISCVAIAModel *dst,
                   const Saved *saved, uint32_t *msis, char **refusal)
{
    uint32_t files = dst->free_files[0];

    *msis = count_genmsi(dst, saved->aplic.genmsi);
    for (uint32_t hart = 0; hart < dst->shape.num_harts; hart++) {
        uint32_t upper = upper_enabled(expected, hart);

        if (!file_is_narrow(dst, hart)) {
            continue;
        }
        if ((upper || has_to_clear(saved)) &&
            dst->shape.mode != RISCV_AIA_MODEL_EMUL) {
            if (files) {
                files--;
                continue;
            }
            if (!upper) {
                *refusal = g_strdup_printf("identities 32-63, 96-127 and so "
                                           "on of hart %u may be pending",
                                           hart);
                return false;
            }
        }
        if (upper) {
            *refusal = g_strdup_printf("identity %u of hart %u is enabled, "
                                       "but ", upper, hart);
            return false;
        }

        *msis += count_upper_pending(expected, hart);
        /* Whatever was in the upper halves is out of reach. */
        drop_upper_halves(dst, hart);
        if (count_genmsi(dst, saved->aplic.genmsi) && has_to_clear(saved) &&
            saved->aplic.genmsi >> 18 == hart) {
            uint32_t id = saved->aplic.genmsi & AIA_APLIC_EIID_MASK;

            expected->files[hart].eip[id / 64] |= BIT_ULL(id % 64);
        }
    }
    return true;
}

/*
 * Saves a random state and loads it elsewhere; then both have to do the same.
 * Returns false where the destination cannot take it, and has said so.
 */
static bool round_trip(GRand *rng, const RISCVAIAModelShape *from,
                       const RISCVAIAModelShape *to)
{
    g_autoptr(RISCVAIAModel) src = new_model(from);
    g_autoptr(RISCVAIAModel) dst = new_model(to);
    g_autoptr(RISCVAIAModel) expected = new_model(from);
    g_autoptr(Saved) saved = saved_new(src);
    g_autofree char *refusal = NULL;
    bool fresh = below(rng, 4) != 0;
    Error *err = NULL;
    uint32_t msis, hidden;

    random_state(rng, src);
    riscv_aia_model_copy(expected, src);
    if (hidden_hart(src, &hidden)) {
        refusal = g_strdup_printf("so on of hart %u cannot be read", hidden);
        g_assert(!save(src, saved, &err));
        assert_error(err, refusal, "no guest interrupt file");
        assert_same(expected, src);
        return false;
    }
    save(src, saved, &error_abort);
    assert_same(expected, src);
    g_assert_cmpuint(src->msis_taken, ==, 0);

    for (uint32_t hart = 0; hart < from->num_harts; hart++) {
        if (file_is_narrow(src, hart)) {
            drop_upper_halves(expected, hart);
        }
    }
    if (!fresh) {
        random_state(rng, dst);
    }
    if (!expect(expected, dst, saved, &msis, &refusal)) {
        g_assert(!load(dst, saved, &err));
        assert_error(err, refusal, NULL);
        return false;
    }
    riscv_aia_model_evaluate(expected);

    load_aplic(dst, saved, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==,
                     count_genmsi(dst, saved->aplic.genmsi));
    load_files(dst, saved, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==, msis);
    for (uint32_t hart = 0; fresh && hart < to->num_harts; hart++) {
        /* Not before the file was whole */
        g_assert_cmpuint(dst->files[hart].seip_rises, ==,
                         riscv_aia_model_seip(expected, hart));
    }
    load_vcpus(dst, saved, &error_abort);
    g_assert_cmpuint(dst->domaincfg, ==, 0);
    riscv_aplic_regs_enable(&dst->access, &saved->aplic, &error_abort);
    g_assert_cmpuint(dst->msis_taken, ==, msis);
    assert_same(expected, dst);

    riscv_aia_model_clear_log(expected);
    riscv_aia_model_clear_log(dst);
    for (int n = 0; n < 16; n++) {
        Op op = random_op(rng, to);

        apply(expected, &op);
        apply(dst, &op);
    }
    assert_same(expected, dst);
    assert_same_log(expected, dst);
    return true;
}

/*
 * The model by itself
 */

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
    no_aplic = new_model(&split);
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
    g_autoptr(RISCVAIAModel) m = new_model(&shape);

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
    g_autoptr(RISCVAIAModel) m = new_model(&shape);

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
    g_autoptr(RISCVAIAModel) m = new_model(&shape);

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
            m = new_model(&shape);
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
            g_assert_cmpint(file_is_narrow(m, 0), ==,
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
        g_autoptr(RISCVAIAModel) m = new_model(&shape);

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

/*
 * Save and load
 */

/* Random states of every size, between hosts of every kind */
static void test_shapes(void)
{
    GRand *rng = g_rand_new_with_seed(1);

    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            RISCVAIAModelShape from = {
                .num_sources = some_sources[i], .num_ids = some_ids[j],
                .num_harts = 2,
            };
            uint32_t restored = 0;

            if (from.num_sources > from.num_ids) {
                continue; /* The kernel has none such. */
            }
            for (int host = 0; host < 3 * 3 * 2 * 2; host++) {
                RISCVAIAModelShape to = from;

                from.mode = host % 3;
                to.mode = host / 3 % 3;
                from.narrow = host / 9 % 2;
                to.narrow = host / 18;
                from.guest_files = to.guest_files = from.num_harts;
                restored += round_trip(rng, &from, &to);
            }
            g_assert_cmpuint(restored, >, 18);
        }
    }
    g_rand_free(rng);
}

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
        g_autoptr(RISCVAIAModel) src = new_model(&shape);
        g_autoptr(RISCVAIAModel) dst = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(src);
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
        g_autoptr(RISCVAIAModel) src = new_model(&shape);
        g_autoptr(RISCVAIAModel) dst = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(src);
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
    g_autoptr(RISCVAIAModel) m = new_model(&shape);
    g_autoptr(Saved) saved = saved_new(m);
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
    g_autoptr(RISCVAIAModel) src = new_model(&shape);
    g_autoptr(RISCVAIAModel) dst = new_model(&shape);
    g_autoptr(Saved) saved = saved_new(src);

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
            g_autoptr(RISCVAIAModel) src = new_model(&shape);
            g_autoptr(RISCVAIAModel) dst = new_model(&shape);
            g_autoptr(Saved) saved = saved_new(src);
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
            if (file_is_narrow(dst, 1)) {
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
        g_autoptr(RISCVAIAModel) src = new_model(&shape);
        g_autoptr(RISCVAIAModel) dst = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(src);
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
            g_autoptr(RISCVAIAModel) m = new_model(&shape);
            g_autoptr(RISCVAIAModel) before = new_model(&shape);
            g_autoptr(Saved) saved = saved_new(m);
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
        g_autoptr(RISCVAIAModel) m = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(m);
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
    g_autoptr(RISCVAIAModel) m = new_model(&shape);
    g_autoptr(RISCVAIAModel) before = new_model(&shape);
    g_autoptr(Saved) saved = saved_new(m);
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
            g_autoptr(RISCVAIAModel) src = new_model(&from);
            g_autoptr(RISCVAIAModel) dst = new_model(&to);
            g_autoptr(RISCVAIAModel) before = new_model(&to);
            g_autoptr(Saved) saved = saved_new(src);
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
    g_autoptr(RISCVAIAModel) src = new_model(&shape);
    g_autoptr(RISCVAIAModel) dst = new_model(&shape);
    g_autoptr(Saved) saved = saved_new(src);

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
        g_autoptr(RISCVAIAModel) src = new_model(&shape);
        g_autoptr(RISCVAIAModel) dst = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(src);

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

/*
 * State that no AIA can hold
 */

typedef struct Refused {
    RISCVAIAModel *m;
    Saved *saved;
} Refused;

/* Puts @word to @bad for one load, which has to be refused with @what. */
static void refuse_word(const Refused *r, uint32_t *word, uint32_t bad,
                        const char *what)
{
    g_autoptr(RISCVAIAModel) untouched = new_model(&r->m->shape);
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
        g_autoptr(RISCVAIAModel) m = new_model(&shape);
        g_autoptr(Saved) saved = saved_new(m);
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

/*
 * Access that fails
 */

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
            g_autoptr(RISCVAIAModel) m = new_model(shape);
            g_autoptr(RISCVAIAModel) before = new_model(shape);
            g_autoptr(Saved) saved = saved_new(m);
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

/* A load that fails says so, forwards nothing, and can be done again. */
static void test_load_faults(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(fault_hosts); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(fault_errnos); j++) {
            const RISCVAIAModelShape *shape = &fault_hosts[i];
            bool upper = !shape->narrow || shape->guest_files;
            RISCVAIAModelShape wide = *shape;
            g_autoptr(RISCVAIAModel) src = NULL;
            g_autoptr(Saved) saved = NULL;
            uint32_t kinds = 0;

            wide.narrow = false;
            src = new_model(&wide);
            saved = saved_new(src);
            fault_state(src, 0x8000100080001000,
                        upper ? 0xff00ff00ff00ff00 : 0xff00ff00);
            save(src, saved, &error_abort);
            for (uint32_t n = 1;; n++) {
                g_autoptr(RISCVAIAModel) dst = new_model(shape);
                Error *err = NULL;
                bool ok;

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

/*
 * Random states
 */

/* From so many on, every shape is sure to have come. */
#define MANY_STATES 100000

static uint32_t state_seed;

/* Of @some_sources by @some_ids, with and without the fault */
static uint32_t restored_shapes[ARRAY_SIZE(some_sources)]
                               [ARRAY_SIZE(some_ids)][2];

static void count_shape(const RISCVAIAModelShape *shape)
{
    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            if (some_sources[i] == shape->num_sources &&
                some_ids[j] == shape->num_ids) {
                restored_shapes[i][j][shape->narrow]++;
            }
        }
    }
}

static void tell_shapes(bool many)
{
    for (size_t i = 0; i < ARRAY_SIZE(some_sources); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(some_ids); j++) {
            uint32_t *restored = restored_shapes[i][j];

            if (some_sources[i] > some_ids[j]) {
                continue;
            }
            g_test_message("%u sources, %u identities: %u restored where "
                           "access is 64 bits wide, %u where it is 32",
                           some_sources[i], some_ids[j], restored[0],
                           restored[1]);
            g_assert(!many || (restored[0] && restored[1]));
        }
    }
}

/* So that one that fails can be had again alone */
static void tell_seed(int sig)
{
    fprintf(stderr, "RISCV_AIA_TEST_SEED=%u RISCV_AIA_TEST_STATES=1\n",
            state_seed);
}

static void test_random(void)
{
    uint32_t states = from_environment("RISCV_AIA_TEST_STATES",
                                       DEFAULT_STATES);
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t restored = 0, refused = 0;
    GRand *rng = g_rand_new();
    struct sigaction old, act = {
        .sa_handler = tell_seed,
        .sa_flags = SA_RESETHAND,
    };

    g_test_message("%u states from RISCV_AIA_TEST_SEED=%u on", states, seed);
    sigaction(SIGABRT, &act, &old);
    while (restored < states) {
        RISCVAIAModelShape from, to;

        state_seed = seed + restored + refused;
        g_rand_set_seed(rng, state_seed);
        from = to = random_shape(rng);
        random_host(rng, &from);
        random_host(rng, &to);
        if (round_trip(rng, &from, &to)) {
            restored++;
            count_shape(&to);
        } else {
            refused++;
        }
    }
    sigaction(SIGABRT, &old, NULL);
    g_test_message("%u restored equal, %u more rightly refused", restored,
                   refused);
    tell_shapes(states >= MANY_STATES);
    g_rand_free(rng);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-aia/model/offsets", test_model_offsets);
    g_test_add_func("/riscv-aia/model/shapes", test_model_shapes);
    g_test_add_func("/riscv-aia/model/aplic", test_model_aplic);
    g_test_add_func("/riscv-aia/model/wires", test_model_wires);
    g_test_add_func("/riscv-aia/model/forward", test_model_forward);
    g_test_add_func("/riscv-aia/model/imsic", test_model_imsic);
    g_test_add_func("/riscv-aia/model/modes", test_model_modes);
    g_test_add_func("/riscv-aia/model/seip", test_model_seip);
    g_test_add_func("/riscv-aia/state/shapes", test_shapes);
    g_test_add_func("/riscv-aia/state/sources", test_sources);
    g_test_add_func("/riscv-aia/state/source-paths", test_source_paths);
    g_test_add_func("/riscv-aia/state/driven", test_driven);
    g_test_add_func("/riscv-aia/state/load-over-running",
                    test_load_over_running);
    g_test_add_func("/riscv-aia/state/genmsi", test_genmsi);
    g_test_add_func("/riscv-aia/state/writable", test_writable);
    g_test_add_func("/riscv-aia/state/narrow-save", test_narrow_save);
    g_test_add_func("/riscv-aia/state/narrow-save-refused",
                    test_narrow_save_refused);
    g_test_add_func("/riscv-aia/state/narrow-load", test_narrow_load);
    g_test_add_func("/riscv-aia/state/narrow-clear", test_narrow_clear);
    g_test_add_func("/riscv-aia/state/evaluate", test_evaluate);
    g_test_add_func("/riscv-aia/state/check", test_check);
    g_test_add_func("/riscv-aia/state/save-faults", test_save_faults);
    g_test_add_func("/riscv-aia/state/load-faults", test_load_faults);
    g_test_add_func("/riscv-aia/state/random", test_random);
    return g_test_run();
}
