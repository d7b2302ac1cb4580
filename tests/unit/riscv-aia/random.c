/*
 * State of an in-kernel AIA: random operations, and states that they reach
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "test-state.h"

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

Op random_op(GRand *rng, const RISCVAIAModelShape *shape)
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

void apply(RISCVAIAModel *m, const Op *op)
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

void random_state(GRand *rng, RISCVAIAModel *m)
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
