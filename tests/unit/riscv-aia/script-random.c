/*
 * The model of the AIA against the kernel: random operations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "script.h"

static uint64_t random64(Script *s)
{
    return (uint64_t)g_rand_int(s->rng) << 32 | g_rand_int(s->rng);
}

/* Few bits, many, none, or all the same */
static uint64_t random_bits(Script *s)
{
    uint64_t val = random64(s);

    switch (below(s, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return val | random64(s) | random64(s);
    case 3:
        return val;
    case 4:
        return BIT_ULL(below(s, 64));
    default:
        return val & random64(s) & random64(s);
    }
}

/* Mostly at most @max, or close by, or that with a bit above it */
static uint32_t random_number(Script *s, uint32_t max)
{
    uint32_t val = below(s, max + 2);

    switch (below(s, 16)) {
    case 0:
        return random_bits(s);
    case 1:
        return val | BIT(below(s, 32));
    default:
        return val;
    }
}

static uint32_t random_source(Script *s)
{
    return random_number(s, s->shape->num_sources);
}

static uint32_t random_identity(Script *s)
{
    return random_number(s, s->shape->num_ids);
}

static uint32_t random_hart(Script *s)
{
    return below(s, s->shape->num_harts);
}

/* target and genmsi: mostly one whose hart there is */
static uint32_t random_target(Script *s)
{
    uint32_t hart = random_hart(s);
    uint32_t target = (s->model->files[hart].hart_index << 18) |
                      (random_identity(s) & AIA_APLIC_EIID_MASK);

    switch (below(s, 12)) {
    case 0:
        return random_bits(s);
    case 1:
        return target + (below(s, 4) << 18);
    case 2:
        return target | below(s, 64) << 12;
    case 3:
        return target | BIT(11);
    default:
        return target;
    }
}

static uint32_t random_word(Script *s)
{
    return below(s, 16) ? below(s, s->shape->num_sources / 32 + 1)
                        : below(s, 33);
}

/* An APLIC register and what is to be written there; any of them as likely */
static void random_aplic(Script *s, Op *op)
{
    op->val = random_bits(s);
    switch (below(s, NUM_APLIC + 3)) {
    case DOMAINCFG:
        op->where = AIA_APLIC_DOMAINCFG;
        break;
    case SOURCECFG:
        op->where = AIA_APLIC_SOURCECFG(random_source(s));
        if (below(s, 8)) {
            /* D now and then */
            op->val = below(s, 8) | (below(s, 8) ? 0 : BIT(10));
        }
        break;
    case SETIP:
        op->where = AIA_APLIC_SETIP(random_word(s));
        break;
    case SETIPNUM:
        op->where = 0x1cdc;
        op->val = random_source(s);
        break;
    case IN_CLRIP:
        op->where = AIA_APLIC_IN_CLRIP(random_word(s));
        break;
    case CLRIPNUM:
        op->where = 0x1ddc;
        op->val = random_source(s);
        break;
    case SETIE:
        op->where = AIA_APLIC_SETIE(random_word(s));
        break;
    case SETIENUM:
        op->where = 0x1edc;
        op->val = random_source(s);
        break;
    case CLRIE:
        op->where = AIA_APLIC_CLRIE(random_word(s));
        break;
    case CLRIENUM:
        op->where = 0x1fdc;
        op->val = random_source(s);
        break;
    case SETIPNUM_LE:
        op->where = 0x2000;
        op->val = random_source(s);
        break;
    case SETIPNUM_BE:
        op->where = 0x2004;
        op->val = bswap32(random_source(s));
        break;
    case GENMSI:
        op->where = AIA_APLIC_GENMSI;
        op->val = random_target(s);
        break;
    case TARGET:
        op->where = AIA_APLIC_TARGET(random_source(s));
        op->val = random_target(s);
        break;
    case NUM_APLIC:
        op->where = below(s, 0x5000) & ~3;
        break;
    case NUM_APLIC + 1:
        op->where = below(s, 0x4000);
        break;
    default:
        op->where = random_bits(s);
        break;
    }
}

static void random_imsic(Script *s, Op *op)
{
    uint64_t hart = random_hart(s);
    uint32_t iselect;

    op->val = random_bits(s);
    switch (below(s, 8)) {
    case 0:
        iselect = AIA_IMSIC_EIDELIVERY;
        op->val = below(s, 4) ? 1 : op->val;
        break;
    case 1:
        iselect = AIA_IMSIC_EITHRESHOLD;
        op->val = below(s, 3) ? random_identity(s) : below(s, 2) * op->val;
        break;
    case 2:
        /* Among them odd ones, ones beyond, and reserved ones */
        iselect = below(s, 8) ? below(s, 0x110) : below(s, 0x1000);
        break;
    default:
        iselect = below(s, 2) ? AIA_IMSIC_EIP(0) : AIA_IMSIC_EIE(0);
        iselect += below(s, s->shape->num_ids / 32 + 1) & ~1;
        break;
    }
    switch (below(s, 32)) {
    case 0:
        hart = below(s, 16);
        break;
    case 1:
        hart = random64(s);
        break;
    case 2:
        hart |= BIT_ULL(below(s, 52));
        break;
    }
    op->where = hart << 12 | iselect;
}

static void random_attr(Script *s, Op *op)
{
    op->kind = below(s, 3) ? OP_SET : below(s, 4) ? OP_GET : OP_HAS;
    switch (below(s, 32)) {
    case 0:
        op->group = RISCV_AIA_MODEL_CONFIG;
        op->where = below(s, 8) ? below(s, 8) : random_bits(s);
        break;
    case 1:
        op->group = RISCV_AIA_MODEL_ADDR;
        op->where = below(s, 8) ? below(s, 7) : random_bits(s);
        break;
    case 2:
        op->group = below(s, 4) ? 5 + below(s, 8) : RISCV_AIA_MODEL_CTRL;
        /* Never to initialize it before its time */
        op->where = s->model->initialized ? below(s, 8) : 1 + below(s, 8);
        break;
    case 3 ... 11:
        op->group = RISCV_AIA_MODEL_IMSIC;
        random_imsic(s, op);
        return;
    default:
        op->group = RISCV_AIA_MODEL_APLIC;
        random_aplic(s, op);
        return;
    }
    op->val = random_bits(s);
}

/* To a page of a hart or of its guests, mostly where it takes an MSI */
static void random_msi(Script *s, Op *op)
{
    uint32_t id = random_identity(s);

    op->kind = OP_MSI;
    op->where = s->model->files[random_hart(s)].addr;
    op->val = id;
    switch (below(s, 16)) {
    case 0:
        op->where = random_bits(s);
        break;
    case 1:
        op->where += below(s, 0x1000);
        break;
    case 2:
        op->where += below(s, 16) << 12;
        break;
    case 3:
    case 4:
        op->where += 4;
        op->val = bswap32(id);
        break;
    }
}

Op random_op(Script *s, bool may_enter)
{
    Op op = { .hart = random_hart(s), .cpu = below(s, 4) == 0 };
    RISCVAIAModel *m = s->model;

    switch (below(s, 100)) {
    case 0 ... 69:
        random_attr(s, &op);
        break;
    case 70 ... 84:
        op.kind = OP_LINE;
        op.where = random_source(s);
        op.val = below(s, 2) * (below(s, 16) ? 1 : (uint32_t)random64(s));
        break;
    case 85 ... 94:
        random_msi(s, &op);
        break;
    case 95:
        op.kind = OP_PUT_SEIP;
        op.val = below(s, 2);
        break;
    case 96:
    case 97:
        op.kind = OP_GET_SEIP;
        break;
    default:
        op.kind = OP_GET_SEIP;
        if (!may_enter) {
            break;
        }
        switch (below(s, 16)) {
        case 0:
        case 1:
            if (s->shape->num_harts > 1 && !m->files[op.hart].starts) {
                op.kind = OP_START;
            }
            break;
        case 2:
            op.cpu = 1;
            if (m->shape.mode == RISCV_AIA_MODEL_EMUL) {
                break;
            }
            if (s->owners->len) {
                op.kind = OP_FREE_FILES;
                op.val = s->owners->len;
            } else if (m->free_files[1]) {
                /* All of them or a few less */
                op.kind = OP_TAKE_FILES;
                op.val = below(s, 2) ? UINT32_MAX : m->free_files[1] - 1;
            }
            break;
        default:
            op.kind = OP_ENTER;
            break;
        }
        break;
    }
    return op;
}
