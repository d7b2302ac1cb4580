/*
 * A model of the in-kernel AIA: the APLIC
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Terms are those of the RISC-V Advanced Interrupt Architecture.  Where the
 * kernel does other than the specification says, a comment tells so.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "model-internal.h"

/* What of an APLIC register's value a write keeps */
#define SOURCECFG_D         BIT(10)
#define GENMSI_WRITABLE     0xfffc0fff

/* Parts of target and genmsi */
#define HART_INDEX(val)     extract32(val, 18, 14)
#define GUEST_INDEX(val)    extract32(val, 12, 6)
#define EIID(val)           extract32(val, 0, 11)

/* Read-only bits of domaincfg: the upper byte, and delivery by MSI */
#define DOMAINCFG_FIXED     0x80000004

typedef enum APLICRegister {
    DOMAINCFG,
    SOURCECFG,
    SETIP,
    SETIPNUM,
    IN_CLRIP,
    CLRIPNUM,
    SETIE,
    SETIENUM,
    CLRIE,
    CLRIENUM,
    SETIPNUM_LE,
    SETIPNUM_BE,
    GENMSI,
    TARGET,
} APLICRegister;

typedef enum APLICCount { ONE, PER_SOURCE, PER_WORD } APLICCount;

static const struct {
    APLICRegister reg;
    uint32_t first;
    APLICCount count;
} aplic_map[] = {
    { DOMAINCFG,   0x0000, ONE },
    { SOURCECFG,   0x0004, PER_SOURCE },
    { SETIP,       0x1c00, PER_WORD },
    { SETIPNUM,    0x1cdc, ONE },
    { IN_CLRIP,    0x1d00, PER_WORD },
    { CLRIPNUM,    0x1ddc, ONE },
    { SETIE,       0x1e00, PER_WORD },
    { SETIENUM,    0x1edc, ONE },
    { CLRIE,       0x1f00, PER_WORD },
    { CLRIENUM,    0x1fdc, ONE },
    { SETIPNUM_LE, 0x2000, ONE },
    { SETIPNUM_BE, 0x2004, ONE },
    { GENMSI,      0x3000, ONE },
    { TARGET,      0x3004, PER_SOURCE },
};

static uint32_t num_source_words(const RISCVAIAModel *m)
{
    return m->shape.num_sources / 32 + 1;
}

/* Finds the register at @offset, and which one of its kind it is. */
static int aplic_decode(const RISCVAIAModel *m, uint64_t offset,
                        APLICRegister *reg, uint32_t *index)
{
    if (!m->initialized || !m->shape.num_sources) {
        return -ENODEV;
    }
    if (offset % 4) {
        return -EOPNOTSUPP;
    }
    for (size_t i = 0; i < ARRAY_SIZE(aplic_map); i++) {
        uint32_t count = 1;

        if (aplic_map[i].count == PER_SOURCE) {
            count = m->shape.num_sources;
        } else if (aplic_map[i].count == PER_WORD) {
            count = num_source_words(m);
        }
        if (offset >= aplic_map[i].first &&
            offset - aplic_map[i].first < 4 * count) {
            *reg = aplic_map[i].reg;
            *index = (offset - aplic_map[i].first) / 4;
            return 0;
        }
    }
    return -ENODEV;
}

int riscv_aia_model_has_aplic(const RISCVAIAModel *m, uint64_t offset)
{
    APLICRegister reg;
    uint32_t index;

    return aplic_decode(m, offset, &reg, &index);
}

static bool inverted(const RISCVAIAModelSource *s)
{
    return s->sourcecfg == AIA_SM_EDGE_FALL ||
           s->sourcecfg == AIA_SM_LEVEL_LOW;
}

/* Unlike in the specification, that of a detached source is its wire. */
static bool rectified_input(const RISCVAIAModelSource *s)
{
    return s->sourcecfg != AIA_SM_INACTIVE && s->input != inverted(s);
}

/* The source of that number, or NULL where there is none. */
static RISCVAIAModelSource *find_source(RISCVAIAModel *m, uint32_t source)
{
    return source && source <= m->shape.num_sources ? &m->sources[source]
                                                    : NULL;
}

static void set_pending(RISCVAIAModel *m, uint32_t source)
{
    RISCVAIAModelSource *s = find_source(m, source);

    if (!s || s->sourcecfg == AIA_SM_INACTIVE) {
        return;
    }
    if ((s->sourcecfg == AIA_SM_LEVEL_HIGH ||
         s->sourcecfg == AIA_SM_LEVEL_LOW) && !rectified_input(s)) {
        return;
    }
    s->pending = true;
}

/* Unlike in the specification, a level source's can be cleared too. */
static void clear_pending(RISCVAIAModel *m, uint32_t source)
{
    RISCVAIAModelSource *s = find_source(m, source);

    if (s && s->sourcecfg != AIA_SM_INACTIVE) {
        s->pending = false;
    }
}

static void set_enabled(RISCVAIAModel *m, uint32_t source)
{
    RISCVAIAModelSource *s = find_source(m, source);

    if (s) {
        s->enabled = true;
    }
}

static void clear_enabled(RISCVAIAModel *m, uint32_t source)
{
    RISCVAIAModelSource *s = find_source(m, source);

    if (s) {
        s->enabled = false;
    }
}

static void for_word(RISCVAIAModel *m, uint32_t word, uint32_t val,
                     void (*change)(RISCVAIAModel *m, uint32_t source))
{
    while (val) {
        change(m, word * 32 + ctz32(val));
        val &= val - 1;
    }
}

/* Forwards a source that is to be; what no file takes is lost. */
static void forward(RISCVAIAModel *m, RISCVAIAModelSource *s)
{
    if (!s->pending || !s->enabled ||
        !(m->domaincfg & AIA_APLIC_DOMAINCFG_IE)) {
        return;
    }
    s->pending = false;
    riscv_aia_model_send_by_index(m, HART_INDEX(s->target),
                                  GUEST_INDEX(s->target), EIID(s->target));
}

int riscv_aia_model_get_aplic(RISCVAIAModel *m, uint64_t offset, uint32_t *val)
{
    APLICRegister reg;
    uint32_t index;
    int ret = aplic_decode(m, offset, &reg, &index);

    if (ret < 0) {
        return ret;
    }
    *val = 0;
    switch (reg) {
    case DOMAINCFG:
        *val = DOMAINCFG_FIXED | m->domaincfg;
        break;
    case SOURCECFG:
        *val = m->sources[index + 1].sourcecfg;
        break;
    case TARGET:
        *val = m->sources[index + 1].target;
        break;
    case GENMSI:
        *val = m->genmsi;
        break;
    case SETIP:
    case SETIE:
    case IN_CLRIP:
        for (uint32_t bit = 0; bit < 32; bit++) {
            RISCVAIAModelSource *s = find_source(m, index * 32 + bit);

            if (s && (reg == SETIP ? s->pending :
                      reg == SETIE ? s->enabled : rectified_input(s))) {
                *val |= BIT(bit);
            }
        }
        break;
    default:
        break;
    }
    return 0;
}

int riscv_aia_model_set_aplic(RISCVAIAModel *m, uint64_t offset, uint32_t val)
{
    APLICRegister reg;
    uint32_t index;
    int ret = aplic_decode(m, offset, &reg, &index);

    if (ret < 0) {
        return ret;
    }
    switch (reg) {
    case DOMAINCFG:
        m->domaincfg = val & AIA_APLIC_DOMAINCFG_IE;
        break;
    case SOURCECFG:
        /* Delegation has nowhere to go; reserved modes are taken. */
        m->sources[index + 1].sourcecfg =
            val & SOURCECFG_D ? AIA_SM_INACTIVE : val & AIA_APLIC_SOURCECFG_SM;
        break;
    case TARGET:
        m->sources[index + 1].target = val & AIA_APLIC_TARGET_MASK;
        break;
    case GENMSI:
        m->genmsi = val & GENMSI_WRITABLE;
        riscv_aia_model_send_by_index(m, HART_INDEX(val), 0, EIID(val));
        break;
    case SETIP:
        for_word(m, index, val, set_pending);
        break;
    case IN_CLRIP:
        for_word(m, index, val, clear_pending);
        break;
    case SETIE:
        for_word(m, index, val, set_enabled);
        break;
    case CLRIE:
        for_word(m, index, val, clear_enabled);
        break;
    case SETIPNUM:
    case SETIPNUM_LE:
        set_pending(m, val);
        break;
    case SETIPNUM_BE:
        set_pending(m, bswap32(val));
        break;
    case CLRIPNUM:
        clear_pending(m, val);
        break;
    case SETIENUM:
        set_enabled(m, val);
        break;
    case CLRIENUM:
        clear_enabled(m, val);
        break;
    }
    /* Every write ends in a scan of all sources. */
    if (m->domaincfg & AIA_APLIC_DOMAINCFG_IE) {
        for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
            forward(m, &m->sources[source]);
        }
    }
    return 0;
}

int riscv_aia_model_set_input(RISCVAIAModel *m, uint32_t source, bool level)
{
    RISCVAIAModelSource *s = find_source(m, source);

    if (!m->initialized) {
        return -EBUSY;
    }
    if (!s) {
        return -ENODEV;
    }
    switch (s->sourcecfg) {
    case AIA_SM_EDGE_RISE:
        s->pending |= level && !s->input;
        break;
    case AIA_SM_EDGE_FALL:
        s->pending |= !level && s->input;
        break;
    case AIA_SM_LEVEL_HIGH:
        /*
         * Here and below: one that stays asserted pends again, and one that
         * is no longer asserted stays pending.
         */
        s->pending |= level;
        break;
    case AIA_SM_LEVEL_LOW:
        s->pending |= !level;
        break;
    }
    s->input = level;
    forward(m, s);
    return 0;
}

void riscv_aia_model_get_wires(const RISCVAIAModel *m, uint32_t *driven)
{
    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        driven[source / 32] |= (uint32_t)m->sources[source].input
                               << (source % 32);
    }
}
