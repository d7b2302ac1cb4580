/*
 * A model of the in-kernel AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Terms are those of the RISC-V Advanced Interrupt Architecture.  Where the
 * kernel does other than the specification says, a comment tells so.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "model.h"

/* What of an APLIC register's value a write keeps */
#define SOURCECFG_D         BIT(10)
#define GENMSI_WRITABLE     0xfffc0fff

/* Parts of target and genmsi */
#define HART_INDEX(val)     extract32(val, 18, 14)
#define GUEST_INDEX(val)    extract32(val, 12, 6)
#define EIID(val)           extract32(val, 0, 11)

/* Read-only bits of domaincfg: the upper byte, and delivery by MSI */
#define DOMAINCFG_FIXED     0x80000004

/* Attributes of the IMSIC group */
#define ISELECT_BITS        12
#define ISELECT_MASK        0xfff

/* Attributes of the config and addr groups */
#define GROUP_SHIFT_MIN     24
#define UNDEFINED_ADDR      UINT64_MAX

/* Where an MSI is written to: a page of a hart, and an offset in it */
#define PAGE_BITS           12
#define SETEIPNUM_LE        0x0
#define SETEIPNUM_BE        0x4

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

static uint32_t num_ei_words(const RISCVAIAModel *m)
{
    return (m->shape.num_ids + 1) / 64;
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

uint32_t riscv_aia_model_topei(const RISCVAIAModel *m, uint32_t hart)
{
    const RISCVAIAModelFile *file = &m->files[hart];

    for (uint32_t w = 0; w < num_ei_words(m); w++) {
        uint64_t both = file->eip[w] & file->eie[w];

        if (both) {
            uint32_t id = w * 64 + ctz64(both);
            uint32_t threshold = file->eithreshold;

            return !threshold || id < threshold ? id : 0;
        }
    }
    return 0;
}

static bool file_asserts(const RISCVAIAModel *m, uint32_t hart)
{
    return m->files[hart].eidelivery && riscv_aia_model_topei(m, hart);
}

bool riscv_aia_model_seip(const RISCVAIAModel *m, uint32_t hart)
{
    return m->files[hart].hvip ||
           (m->files[hart].hardware && file_asserts(m, hart));
}

/* Keeps count of how often the external interrupt rises. */
static void watch_seip(RISCVAIAModel *m, uint32_t hart)
{
    RISCVAIAModelFile *file = &m->files[hart];
    bool seip = riscv_aia_model_seip(m, hart);

    file->seip_rises += seip && !file->seip;
    file->seip = seip;
}

/*
 * A hardware file asserts its interrupt by itself; of a software file's the
 * kernel takes note when it has changed it.
 */
static void file_changed(RISCVAIAModel *m, uint32_t hart)
{
    RISCVAIAModelFile *file = &m->files[hart];

    if (!file->hardware) {
        file->hvip = file_asserts(m, hart);
    }
    watch_seip(m, hart);
}

/* What is written to a page of interrupt files at @offset */
static int write_page(RISCVAIAModel *m, uint32_t hart, uint32_t guest,
                      uint32_t offset, uint32_t data)
{
    RISCVAIAModelFile *file = &m->files[hart];
    uint32_t id = offset == SETEIPNUM_BE ? bswap32(data) : data;
    int ret = 0;

    if (!id || guest || (offset != SETEIPNUM_LE && offset != SETEIPNUM_BE)) {
        ret = -ENODEV;
    } else if (id > m->shape.num_ids) {
        ret = -EINVAL;
    }
    if (ret < 0) {
        m->msis_lost++;
        return ret;
    }
    file->eip[id / 64] |= BIT_ULL(id % 64);
    file->msis[id]++;
    m->msis_taken++;
    file_changed(m, hart);
    return 0;
}

/* Nobody's address: the MSI is gone, and nobody is told. */
static int lose_msi(RISCVAIAModel *m)
{
    m->msis_lost++;
    return 0;
}

/* An MSI of the APLIC's own */
static void send_by_index(RISCVAIAModel *m, uint32_t hart_index,
                          uint32_t guest, uint32_t id)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        if (m->files[hart].hart_index == hart_index) {
            write_page(m, hart, guest, SETEIPNUM_LE, id);
            return;
        }
    }
    lose_msi(m);
}

/* Forwards a source that is to be; what no file takes is lost. */
static void forward(RISCVAIAModel *m, RISCVAIAModelSource *s)
{
    if (!s->pending || !s->enabled ||
        !(m->domaincfg & AIA_APLIC_DOMAINCFG_IE)) {
        return;
    }
    s->pending = false;
    send_by_index(m, HART_INDEX(s->target), GUEST_INDEX(s->target),
                  EIID(s->target));
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
        send_by_index(m, HART_INDEX(val), 0, EIID(val));
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

void riscv_aia_model_evaluate(RISCVAIAModel *m)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        file_changed(m, hart);
    }
}

void riscv_aia_model_put_sip(RISCVAIAModel *m, uint32_t hart, bool seip)
{
    m->files[hart].hvip = seip;
    watch_seip(m, hart);
}

/* Finds a register of a file, and which of its bits can be written. */
static int imsic_decode(RISCVAIAModel *m, RISCVAIAModelFile *file,
                        uint32_t iselect, uint64_t **reg, uint64_t *mask)
{
    uint32_t num;

    switch (iselect & ISELECT_MASK) {
    case AIA_IMSIC_EIDELIVERY:
        *reg = &file->eidelivery;
        *mask = 1;
        return 0;
    case AIA_IMSIC_EITHRESHOLD:
        *reg = &file->eithreshold;
        *mask = AIA_IMSIC_MAX_IDS;
        return 0;
    case AIA_IMSIC_EIP(0) ... AIA_IMSIC_EIP(63):
    case AIA_IMSIC_EIE(0) ... AIA_IMSIC_EIE(63):
        num = iselect % 64;
        if (num % 2 || num / 2 >= num_ei_words(m)) {
            return -EINVAL;
        }
        *reg = (iselect & ISELECT_MASK) < AIA_IMSIC_EIE(0) ?
               &file->eip[num / 2] : &file->eie[num / 2];
        *mask = num ? UINT64_MAX : ~1ULL;
        return 0;
    default:
        return -ENOENT;
    }
}

static bool is_narrow(const RISCVAIAModel *m, const RISCVAIAModelFile *file)
{
    return m->shape.narrow && !file->hardware;
}

int riscv_aia_model_get_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t *val)
{
    uint64_t *reg, mask;
    int ret;

    if (!m->initialized || hart >= m->shape.num_harts) {
        return -ENODEV;
    }
    ret = imsic_decode(m, &m->files[hart], iselect, &reg, &mask);
    if (ret < 0) {
        return ret;
    }
    *val = is_narrow(m, &m->files[hart]) ? sextract64(*reg, 0, 32) : *reg;
    return 0;
}

int riscv_aia_model_set_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t val)
{
    uint64_t *reg, mask;
    int ret;

    if (!m->initialized || hart >= m->shape.num_harts) {
        return -ENODEV;
    }
    ret = imsic_decode(m, &m->files[hart], iselect, &reg, &mask);
    if (ret == 0) {
        if (is_narrow(m, &m->files[hart])) {
            mask = extract64(mask, 0, 32);
        }
        *reg = (*reg & ~mask) | (val & mask);
    }
    /* The kernel evaluates a software file whatever came of the write. */
    file_changed(m, hart);
    return ret;
}

int riscv_aia_model_signal_msi(RISCVAIAModel *m, uint64_t addr, uint32_t data)
{
    uint64_t page = addr >> PAGE_BITS;
    uint32_t guest = page % BIT(m->guest_bits);

    if (!m->initialized) {
        return -EBUSY;
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        if (m->files[hart].addr >> PAGE_BITS == page - guest) {
            return write_page(m, hart, guest, extract64(addr, 0, PAGE_BITS),
                              data);
        }
    }
    return lose_msi(m);
}

int riscv_aia_model_send_msi(RISCVAIAModel *m, uint32_t hart, uint32_t id)
{
    if (!m->initialized) {
        return -EBUSY;
    }
    return hart < m->shape.num_harts ?
           write_page(m, hart, 0, SETEIPNUM_LE, id) : lose_msi(m);
}

/* Back to the software file */
static void release(RISCVAIAModel *m, uint32_t hart)
{
    RISCVAIAModelFile *file = &m->files[hart];

    if (file->hardware) {
        file->hardware = false;
        m->free_files[file->cpu]++;
        file_changed(m, hart);
    }
}

void riscv_aia_model_reset_vcpu(RISCVAIAModel *m, uint32_t hart)
{
    RISCVAIAModelFile *file = &m->files[hart];

    release(m, hart);
    file->eidelivery = 0;
    file->eithreshold = 0;
    memset(file->eip, 0, sizeof(file->eip));
    memset(file->eie, 0, sizeof(file->eie));
    file_changed(m, hart);
}

void riscv_aia_model_start(RISCVAIAModel *m, uint32_t hart)
{
    m->files[hart].starts = true;
}

int riscv_aia_model_enter(RISCVAIAModel *m, uint32_t hart, uint32_t cpu,
                          Error **errp)
{
    RISCVAIAModelFile *file = &m->files[hart];

    if (file->starts) {
        file->starts = false;
        riscv_aia_model_reset_vcpu(m, hart);
    }
    if (m->shape.mode == RISCV_AIA_MODEL_EMUL ||
        (file->hardware && file->cpu == cpu)) {
        return 0;
    }
    if (!m->free_files[cpu]) {
        if (m->shape.mode == RISCV_AIA_MODEL_HWACCEL) {
            error_setg(errp, "hart %u cannot enter the guest: no guest "
                       "interrupt file is free", hart);
            return -EBUSY;
        }
        release(m, hart);
        return 0;
    }
    m->free_files[cpu]--;
    if (file->hardware) {
        m->free_files[file->cpu]++;
    } else {
        file->hvip = false;
    }
    file->hardware = true;
    file->cpu = cpu;
    watch_seip(m, hart);
    return 0;
}

/* The configuration, by attribute, or NULL */
static uint32_t *config(RISCVAIAModel *m, uint64_t attr)
{
    switch (attr) {
    case RISCV_AIA_MODEL_MODE:
        return &m->shape.mode;
    case RISCV_AIA_MODEL_IDS:
        return &m->shape.num_ids;
    case RISCV_AIA_MODEL_SOURCES:
        return &m->shape.num_sources;
    case RISCV_AIA_MODEL_GROUP_BITS:
        return &m->group_bits;
    case RISCV_AIA_MODEL_GROUP_SHIFT:
        return &m->group_shift;
    case RISCV_AIA_MODEL_HART_BITS:
        return &m->hart_bits;
    case RISCV_AIA_MODEL_GUEST_BITS:
        return &m->guest_bits;
    default:
        return NULL;
    }
}

static uint32_t max_ids(const RISCVAIAModelShape *shape)
{
    return shape->max_ids ?: AIA_IMSIC_MAX_IDS;
}

static bool config_ok(const RISCVAIAModel *m, uint64_t attr, uint32_t val)
{
    switch (attr) {
    case RISCV_AIA_MODEL_MODE:
        return val <= (m->shape.no_guest_files ? RISCV_AIA_MODEL_EMUL
                                               : RISCV_AIA_MODEL_AUTO);
    case RISCV_AIA_MODEL_IDS:
        /* Identities come in 64s. */
        return val % 64 == 63 && val <= max_ids(&m->shape);
    case RISCV_AIA_MODEL_SOURCES:
        return val <= AIA_APLIC_MAX_SOURCES && val <= max_ids(&m->shape);
    case RISCV_AIA_MODEL_GROUP_BITS:
    case RISCV_AIA_MODEL_GUEST_BITS:
        return val <= 7;
    case RISCV_AIA_MODEL_GROUP_SHIFT:
        return val >= GROUP_SHIFT_MIN && val <= 55;
    case RISCV_AIA_MODEL_HART_BITS:
        return val <= 15;
    default:
        return false;
    }
}

/* An address of the ADDR group, or NULL */
static uint64_t *address(RISCVAIAModel *m, uint64_t attr)
{
    if (attr > m->shape.num_harts) {
        return NULL;
    }
    return attr ? &m->files[attr - 1].addr : &m->aplic_addr;
}

int riscv_aia_model_has_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr)
{
    uint64_t *reg, mask;
    APLICRegister aplic_reg;
    uint32_t index, hart = attr >> ISELECT_BITS;

    switch (group) {
    case RISCV_AIA_MODEL_CONFIG:
        return config(m, attr) ? 0 : -ENXIO;
    case RISCV_AIA_MODEL_ADDR:
        return address(m, attr) ? 0 : -ENXIO;
    case RISCV_AIA_MODEL_CTRL:
        return attr ? -ENXIO : 0;
    case RISCV_AIA_MODEL_APLIC:
        return aplic_decode(m, attr, &aplic_reg, &index);
    case RISCV_AIA_MODEL_IMSIC:
        if (!m->initialized || hart >= m->shape.num_harts) {
            return -ENODEV;
        }
        return imsic_decode(m, &m->files[hart], attr & ISELECT_MASK, &reg,
                            &mask);
    default:
        return -ENXIO;
    }
}

int riscv_aia_model_get_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr,
                             uint64_t *val)
{
    uint32_t val32;
    int ret;

    switch (group) {
    case RISCV_AIA_MODEL_CONFIG:
        if (!config(m, attr)) {
            return -ENXIO;
        }
        *val = deposit64(*val, 0, 32, *config(m, attr));
        return 0;
    case RISCV_AIA_MODEL_ADDR:
        if (!address(m, attr)) {
            return -ENXIO;
        }
        *val = *address(m, attr);
        return 0;
    case RISCV_AIA_MODEL_APLIC:
        ret = riscv_aia_model_get_aplic(m, attr, &val32);
        if (ret == 0) {
            *val = deposit64(*val, 0, 32, val32);
        }
        return ret;
    case RISCV_AIA_MODEL_IMSIC:
        return riscv_aia_model_get_imsic(m, attr >> ISELECT_BITS,
                                         attr & ISELECT_MASK, val);
    default:
        return -ENXIO;
    }
}

int riscv_aia_model_set_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr,
                             uint64_t val)
{
    switch (group) {
    case RISCV_AIA_MODEL_CONFIG:
        if (m->initialized) {
            return -EBUSY;
        }
        if (!config(m, attr)) {
            return -ENXIO;
        }
        if (!config_ok(m, attr, val)) {
            return -EINVAL;
        }
        *config(m, attr) = val;
        return 0;
    case RISCV_AIA_MODEL_ADDR:
        if (!address(m, attr)) {
            return -ENXIO;
        }
        if (m->initialized) {
            return -EBUSY;
        }
        if (extract64(val, 0, PAGE_BITS)) {
            return -EINVAL;
        }
        *address(m, attr) = val;
        return 0;
    case RISCV_AIA_MODEL_CTRL:
        return attr ? -ENXIO : riscv_aia_model_init(m);
    case RISCV_AIA_MODEL_APLIC:
        return riscv_aia_model_set_aplic(m, attr, val);
    case RISCV_AIA_MODEL_IMSIC:
        return riscv_aia_model_set_imsic(m, attr >> ISELECT_BITS,
                                         attr & ISELECT_MASK, val);
    default:
        return -ENXIO;
    }
}

void riscv_aia_model_fail(RISCVAIAModel *m, uint32_t n, int errnum)
{
    m->fail_at = n ? m->accesses + n : 0;
    m->fail_errno = errnum;
    m->failed = RISCV_AIA_MODEL_NONE;
}

/* Counts an access, and has it fail if its turn has come. */
static int begin(RISCVAIAModel *m, RISCVAIAModelAccess access)
{
    if (++m->accesses != m->fail_at) {
        return 0;
    }
    m->failed = access;
    return -m->fail_errno;
}

static int access_get_aplic(void *opaque, uint32_t offset, uint32_t *val)
{
    return begin(opaque, RISCV_AIA_MODEL_GET_APLIC) ?:
           riscv_aia_model_get_aplic(opaque, offset, val);
}

static int access_set_aplic(void *opaque, uint32_t offset, uint32_t val)
{
    return begin(opaque, RISCV_AIA_MODEL_SET_APLIC) ?:
           riscv_aia_model_set_aplic(opaque, offset, val);
}

static int access_set_input(void *opaque, uint32_t source, bool level)
{
    return begin(opaque, RISCV_AIA_MODEL_SET_INPUT) ?:
           riscv_aia_model_set_input(opaque, source, level);
}

static int access_get_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                            uint64_t *val)
{
    return begin(opaque, RISCV_AIA_MODEL_GET_IMSIC) ?:
           riscv_aia_model_get_imsic(opaque, hart, iselect, val);
}

static int access_set_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                            uint64_t val)
{
    return begin(opaque, RISCV_AIA_MODEL_SET_IMSIC) ?:
           riscv_aia_model_set_imsic(opaque, hart, iselect, val);
}

static int access_send_msi(void *opaque, uint32_t hart, uint32_t id)
{
    return begin(opaque, RISCV_AIA_MODEL_SEND_MSI) ?:
           riscv_aia_model_send_msi(opaque, hart, id);
}

static int access_widen(void *opaque, uint32_t hart, Error **errp)
{
    RISCVAIAModel *m = opaque;
    int ret = begin(m, RISCV_AIA_MODEL_WIDEN);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "hart %u cannot enter the guest", hart);
        return ret;
    }
    if (m->shape.mode == RISCV_AIA_MODEL_EMUL) {
        return -EOPNOTSUPP;
    }
    ret = riscv_aia_model_enter(m, hart, 0, errp);
    if (ret == 0 && !m->files[hart].hardware) {
        error_setg(errp, "hart %u: no guest interrupt file is free", hart);
        ret = -EBUSY;
    }
    return ret;
}

RISCVAIAModel *riscv_aia_model_create(const RISCVAIAModelShape *shape)
{
    RISCVAIAModel *m = g_new0(RISCVAIAModel, 1);

    assert(shape->num_harts && shape->num_harts <= RISCV_AIA_MODEL_MAX_HARTS);
    m->shape = *shape;
    m->shape.num_sources = 0;
    m->shape.num_ids = max_ids(shape);
    m->shape.mode = shape->no_guest_files ? RISCV_AIA_MODEL_EMUL
                                          : RISCV_AIA_MODEL_AUTO;
    m->group_shift = GROUP_SHIFT_MIN;
    m->aplic_addr = UNDEFINED_ADDR;
    for (uint32_t hart = 0; hart < shape->num_harts; hart++) {
        m->files[hart].addr = UNDEFINED_ADDR;
    }
    for (uint32_t cpu = 0; cpu < RISCV_AIA_MODEL_MAX_CPUS; cpu++) {
        m->free_files[cpu] = shape->guest_files;
    }
    m->access = (RISCVAIAAccess) {
        .get_aplic = access_get_aplic,
        .set_aplic = access_set_aplic,
        .set_input = access_set_input,
        .get_imsic = access_get_imsic,
        .set_imsic = access_set_imsic,
        .send_msi = access_send_msi,
        .widen = access_widen,
        .opaque = m,
    };
    return m;
}

RISCVAIAModel *riscv_aia_model_new(const RISCVAIAModelShape *shape)
{
    RISCVAIAModel *m = riscv_aia_model_create(shape);

    m->shape = *shape;
    m->hart_bits = 32 - clz32(shape->num_harts - 1);
    m->aplic_addr = 0xd000000;
    for (uint32_t hart = 0; hart < shape->num_harts; hart++) {
        m->files[hart].addr = 0x28000000 + ((uint64_t)hart << PAGE_BITS);
    }
    return m;
}

/* The bits of a file's address in which those of an AIA may differ */
static uint64_t index_mask(const RISCVAIAModel *m)
{
    return MAKE_64BIT_MASK(0, PAGE_BITS + m->guest_bits + m->hart_bits) |
           (m->group_bits ? MAKE_64BIT_MASK(m->group_shift, m->group_bits) : 0);
}

static uint32_t hart_index(const RISCVAIAModel *m, uint64_t addr)
{
    uint32_t index = 0;

    if (m->hart_bits) {
        index = extract64(addr, PAGE_BITS + m->guest_bits, m->hart_bits);
    }
    if (m->group_bits) {
        index |= extract64(addr, m->group_shift, m->group_bits)
                 << m->hart_bits;
    }
    return index;
}

int riscv_aia_model_init(RISCVAIAModel *m)
{
    if (m->initialized) {
        return -EBUSY;
    }
    for (uint64_t attr = 0; attr < RISCV_AIA_MODEL_NUM_CONFIG; attr++) {
        if (!config_ok(m, attr, *config(m, attr))) {
            return -EINVAL;
        }
    }
    /* Each source must be able to have an identity of its own. */
    if (m->shape.num_sources > m->shape.num_ids ||
        (m->shape.num_sources && m->aplic_addr == UNDEFINED_ADDR)) {
        return -EINVAL;
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        uint64_t differ = m->files[hart].addr ^ m->files[0].addr;

        if (m->files[hart].addr == UNDEFINED_ADDR ||
            (differ & ~index_mask(m))) {
            return -EINVAL;
        }
        m->files[hart].hart_index = hart_index(m, m->files[hart].addr);
    }
    m->sources = g_new0(RISCVAIAModelSource, m->shape.num_sources + 1);
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        m->files[hart].msis = g_new0(uint32_t, m->shape.num_ids + 1);
    }
    m->initialized = true;
    return 0;
}

void riscv_aia_model_free(RISCVAIAModel *m)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        g_free(m->files[hart].msis);
    }
    g_free(m->sources);
    g_free(m);
}

void riscv_aia_model_copy(RISCVAIAModel *to, const RISCVAIAModel *from)
{
    assert(to->shape.num_sources == from->shape.num_sources &&
           to->shape.num_ids == from->shape.num_ids &&
           to->shape.num_harts == from->shape.num_harts);
    to->domaincfg = from->domaincfg;
    to->genmsi = from->genmsi;
    memcpy(to->sources, from->sources,
           (to->shape.num_sources + 1) * sizeof(*to->sources));
    for (uint32_t hart = 0; hart < to->shape.num_harts; hart++) {
        uint32_t *msis = to->files[hart].msis;

        to->files[hart] = from->files[hart];
        to->files[hart].msis = msis;
    }
    memcpy(to->free_files, from->free_files, sizeof(to->free_files));
}

void riscv_aia_model_clear_log(RISCVAIAModel *m)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        memset(m->files[hart].msis, 0,
               (m->shape.num_ids + 1) * sizeof(uint32_t));
        m->files[hart].seip_rises = 0;
    }
    m->msis_taken = 0;
    m->msis_lost = 0;
}
