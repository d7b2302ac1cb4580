/*
 * A model of the in-kernel AIA: the device, its attributes, and access to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "model-internal.h"

/* Attributes of the config and addr groups */
#define GROUP_SHIFT_MIN     24
#define UNDEFINED_ADDR      UINT64_MAX

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
    switch (group) {
    case RISCV_AIA_MODEL_CONFIG:
        return config(m, attr) ? 0 : -ENXIO;
    case RISCV_AIA_MODEL_ADDR:
        return address(m, attr) ? 0 : -ENXIO;
    case RISCV_AIA_MODEL_CTRL:
        return attr ? -ENXIO : 0;
    case RISCV_AIA_MODEL_APLIC:
        return riscv_aia_model_has_aplic(m, attr);
    case RISCV_AIA_MODEL_IMSIC:
        return riscv_aia_model_has_imsic(m, attr >> ISELECT_BITS,
                                         attr & ISELECT_MASK);
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
    m->counts[access]++;
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
        .fresh = &m->fresh,
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

/* Of a file's address: the page, the guest file and the hart */
static uint32_t low_bits(const RISCVAIAModel *m)
{
    return PAGE_BITS + m->guest_bits + m->hart_bits;
}

/* The bits of a file's address in which those of an AIA may differ */
static uint64_t index_mask(const RISCVAIAModel *m)
{
    return MAKE_64BIT_MASK(0, low_bits(m)) |
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
    if (m->shape.apart && m->group_bits && m->group_shift < low_bits(m)) {
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

RISCVAIAModel *riscv_aia_model_ready(const RISCVAIAModelShape *shape)
{
    RISCVAIAModel *m = riscv_aia_model_new(shape);

    g_assert_cmpint(riscv_aia_model_init(m), ==, 0);
    return m;
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
