/*
 * A model of the in-kernel AIA: the interrupt files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Terms are those of the RISC-V Advanced Interrupt Architecture.  Where the
 * kernel does other than the specification says, a comment tells so.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "model-internal.h"

/* Where an MSI is written to: an offset in the page of a hart */
#define SETEIPNUM_LE        0x0
#define SETEIPNUM_BE        0x4

static uint32_t num_ei_words(const RISCVAIAModel *m)
{
    return (m->shape.num_ids + 1) / 64;
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

void riscv_aia_model_send_by_index(RISCVAIAModel *m, uint32_t hart_index,
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

int riscv_aia_model_has_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect)
{
    uint64_t *reg, mask;

    if (!m->initialized || hart >= m->shape.num_harts) {
        return -ENODEV;
    }
    return imsic_decode(m, &m->files[hart], iselect, &reg, &mask);
}

bool riscv_aia_model_is_narrow(const RISCVAIAModel *m, uint32_t hart)
{
    return m->shape.narrow && !m->files[hart].hardware;
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
    *val = riscv_aia_model_is_narrow(m, hart) ? sextract64(*reg, 0, 32) : *reg;
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
        if (riscv_aia_model_is_narrow(m, hart)) {
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
