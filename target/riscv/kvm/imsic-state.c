/*
 * State of an in-kernel AIA: the interrupt files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qapi/error.h"
#include "aia-state.h"

#define WORD_BITS 32

static int imsic_regs_pre_save(void *opaque)
{
    RISCVIMSICRegs *regs = opaque;

    regs->num_sent = regs->num_words;
    while (regs->num_sent && !regs->eip[regs->num_sent - 1] &&
           !regs->eie[regs->num_sent - 1]) {
        regs->num_sent--;
    }
    return 0;
}

static bool imsic_sent_ok(void *opaque, int version_id)
{
    RISCVIMSICRegs *regs = opaque;

    return regs->num_sent <= regs->num_words;
}

static int imsic_regs_post_load(void *opaque, int version_id)
{
    RISCVIMSICRegs *regs = opaque;
    size_t bytes = (regs->num_words - regs->num_sent) * sizeof(uint32_t);

    memset(&regs->eip[regs->num_sent], 0, bytes);
    memset(&regs->eie[regs->num_sent], 0, bytes);
    return 0;
}

/* The shape has seen to it that the number of identities is the same. */
const VMStateDescription vmstate_riscv_imsic_regs = {
    .name = "riscv_imsic_regs",
    .version_id = 2,
    .minimum_version_id = 2,
    .pre_save = imsic_regs_pre_save,
    .post_load = imsic_regs_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(eidelivery, RISCVIMSICRegs),
        VMSTATE_UINT32(eithreshold, RISCVIMSICRegs),
        VMSTATE_UINT32(num_sent, RISCVIMSICRegs),
        VMSTATE_VALIDATE("number of words of an interrupt file",
                         imsic_sent_ok),
        VMSTATE_VARRAY_UINT32(eip, RISCVIMSICRegs, num_sent, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_VARRAY_UINT32(eie, RISCVIMSICRegs, num_sent, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_END_OF_LIST()
    }
};

static bool get_imsic(const RISCVAIAAccess *aia, uint32_t hart,
                      uint32_t iselect, uint64_t *val, Error **errp)
{
    int ret = aia->get_imsic(aia->opaque, hart, iselect, val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read IMSIC register 0x%02x of "
                         "hart %u", iselect, hart);
    }
    return ret >= 0;
}

static bool set_imsic(const RISCVAIAAccess *aia, uint32_t hart,
                      uint32_t iselect, uint64_t val, Error **errp)
{
    int ret = aia->set_imsic(aia->opaque, hart, iselect, val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot set IMSIC register 0x%02x of "
                         "hart %u to 0x%" PRIx64, iselect, hart, val);
    }
    return ret >= 0;
}

void riscv_imsic_regs_init(RISCVIMSICRegs *regs, uint32_t num_ids)
{
    regs->num_words = DIV_ROUND_UP(num_ids + 1, 64) * 2;
    regs->eip = g_new0(uint32_t, regs->num_words);
    regs->eie = g_new0(uint32_t, regs->num_words);
}

void riscv_imsic_regs_free(RISCVIMSICRegs *regs)
{
    g_free(regs->eip);
    g_free(regs->eie);
}

/*
 * Today's kernels reach a software file 32 bits at a time: a read is the sign
 * extension of the lower half, a write leaves the upper half as it was (see
 * docs/kernel-facts.md).  Told apart by flipping an enable bit of an upper
 * half and back: no MSI changes enable bits, and the hart does not run.
 *
 * @eie: what was read of EIE(0)
 */
static bool probe_width(const RISCVAIAAccess *aia, uint32_t hart, uint64_t eie,
                        bool *wide, Error **errp)
{
    uint64_t flipped;
    bool read;

    if (!set_imsic(aia, hart, AIA_IMSIC_EIE(0), eie ^ BIT_ULL(32), errp)) {
        riscv_aia_use_file(aia->fresh, hart);
        return false;
    }
    /*
     * The bit goes back whatever comes of the read, and of the first attempt:
     * the guest may have to go on with it.
     */
    read = get_imsic(aia, hart, AIA_IMSIC_EIE(0), &flipped, errp);
    if (!set_imsic(aia, hart, AIA_IMSIC_EIE(0), eie, read ? errp : NULL)) {
        set_imsic(aia, hart, AIA_IMSIC_EIE(0), eie, NULL);
        riscv_aia_use_file(aia->fresh, hart);
        return false;
    }
    if (!read) {
        return false;
    }
    *wide = flipped != eie;
    return true;
}

bool riscv_imsic_is_wide(const RISCVAIAAccess *aia, uint32_t hart, bool *wide,
                         Error **errp)
{
    uint64_t eie;

    return get_imsic(aia, hart, AIA_IMSIC_EIE(0), &eie, errp) &&
           probe_width(aia, hart, eie, wide, errp);
}

static bool sign_extended(uint64_t val)
{
    return val == (uint64_t)sextract64(val, 0, 32);
}

/*
 * @wide: set where an upper half is no sign extension, and so the access has
 *     all 64 bits; left alone where nothing tells
 */
static bool read_file(const RISCVAIAAccess *aia, uint32_t hart,
                      RISCVIMSICRegs *regs, bool *wide, Error **errp)
{
    uint64_t eidelivery, eithreshold;

    if (!get_imsic(aia, hart, AIA_IMSIC_EIDELIVERY, &eidelivery, errp) ||
        !get_imsic(aia, hart, AIA_IMSIC_EITHRESHOLD, &eithreshold, errp)) {
        return false;
    }
    regs->eidelivery = eidelivery;
    regs->eithreshold = eithreshold;
    for (uint32_t w = 0; w < regs->num_words; w += 2) {
        uint64_t eip, eie;

        if (!get_imsic(aia, hart, AIA_IMSIC_EIP(w), &eip, errp) ||
            !get_imsic(aia, hart, AIA_IMSIC_EIE(w), &eie, errp)) {
            return false;
        }
        regs->eip[w] = eip;
        regs->eie[w] = eie;
        regs->eip[w + 1] = eip >> 32;
        regs->eie[w + 1] = eie >> 32;
        *wide |= !sign_extended(eip) || !sign_extended(eie);
    }
    return true;
}

static uint64_t double_word(const uint32_t *words, uint32_t w, bool wide)
{
    return words[w] | (wide ? (uint64_t)words[w + 1] << 32 : 0);
}

static void drop_upper_halves(RISCVIMSICRegs *regs)
{
    for (uint32_t w = 1; w < regs->num_words; w += 2) {
        regs->eip[w] = 0;
        regs->eie[w] = 0;
    }
}

bool riscv_imsic_regs_peek(const RISCVAIAAccess *aia, uint32_t hart,
                           RISCVIMSICRegs *regs, bool *whole, Error **errp)
{
    *whole = false;
    if (!read_file(aia, hart, regs, whole, errp)) {
        return false;
    }
    if (!*whole && !probe_width(aia, hart, double_word(regs->eie, 0, true),
                                whole, errp)) {
        return false;
    }
    if (!*whole) {
        drop_upper_halves(regs);
    }
    return true;
}

bool riscv_imsic_regs_save(const RISCVAIAAccess *aia, uint32_t hart, bool wide,
                           RISCVIMSICRegs *regs, Error **errp)
{
    ERRP_GUARD();
    int ret;

    if (!read_file(aia, hart, regs, &wide, errp)) {
        return false;
    }
    if (!wide && !probe_width(aia, hart, double_word(regs->eie, 0, true),
                              &wide, errp)) {
        return false;
    }
    if (wide) {
        return true;
    }
    ret = aia->widen(aia->opaque, hart, errp);
    if (ret == 0) {
        /* Only now do reads show upper halves. */
        return read_file(aia, hart, regs, &wide, errp);
    }
    if (ret != -EOPNOTSUPP) {
        error_prepend(errp, "identities 32-63, 96-127 and so on of hart %u "
                      "cannot be read: ", hart);
        return false;
    }
    drop_upper_halves(regs);
    return true;
}

bool riscv_imsic_regs_check(const RISCVIMSICRegs *regs, uint32_t hart,
                            Error **errp)
{
    if (regs->eidelivery > 1) {
        error_setg(errp, "hart %u: eidelivery 0x%x is not 0 or 1", hart,
                   regs->eidelivery);
        return false;
    }
    if (regs->eithreshold > AIA_IMSIC_MAX_IDS) {
        error_setg(errp, "hart %u: eithreshold %u is above %u", hart,
                   regs->eithreshold, AIA_IMSIC_MAX_IDS);
        return false;
    }
    if ((regs->eip[0] | regs->eie[0]) & 1) {
        error_setg(errp, "hart %u: identity 0 is pending or enabled", hart);
        return false;
    }
    return true;
}

/* The lowest identity in an upper half of @words, or 0. */
static uint32_t upper_identity(const RISCVIMSICRegs *regs,
                               const uint32_t *words)
{
    for (uint32_t w = 1; w < regs->num_words; w += 2) {
        if (words[w]) {
            return w * WORD_BITS + ctz32(words[w]);
        }
    }
    return 0;
}

/* Whether the file is wide, which it must be for @enabled if that is not 0. */
static bool imsic_width(const RISCVAIAAccess *aia, uint32_t hart,
                        uint32_t enabled, bool clear, bool *wide, Error **errp)
{
    Error *why = NULL;
    int ret = 0;

    if (!riscv_imsic_is_wide(aia, hart, wide, errp)) {
        return false;
    }
    if (*wide || (!enabled && !clear)) {
        return true;
    }
    ret = aia->widen(aia->opaque, hart, &why);
    if (ret == 0) {
        *wide = true;
        return true;
    }
    if (ret != -EBUSY && ret != -EOPNOTSUPP) {
        error_propagate(errp, why);
        return false;
    }
    if (enabled) {
        error_setg(errp, "identity %u of hart %u is enabled, but this kernel "
                   "cannot set it in a software interrupt file (its access "
                   "is 32 bits wide)%s%s", enabled, hart, why ? ": " : "",
                   why ? error_get_pretty(why) : "");
        error_append_hint(errp, "Use a host with a free guest interrupt file "
                          "and riscv-aia=hwaccel or auto, or a kernel with "
                          "the access mended.\n");
    } else if (why) {
        error_setg(errp, "identities 32-63, 96-127 and so on of hart %u may "
                   "be pending from before and cannot be cleared: %s", hart,
                   error_get_pretty(why));
    }
    ret = !(enabled || why);
    error_free(why);
    return ret;
}

/* @all: also what is 0, which a file that is fresh holds already */
static bool write_imsic(const RISCVAIAAccess *aia, bool all, uint32_t hart,
                        uint32_t iselect, uint64_t val, Error **errp)
{
    return (!all && !val) || set_imsic(aia, hart, iselect, val, errp);
}

static bool write_file(const RISCVAIAAccess *aia, bool all, uint32_t hart,
                       const RISCVIMSICRegs *regs, bool clear, Error **errp)
{
    uint32_t enabled = upper_identity(regs, regs->eie);
    bool wide = false;
    int ret;

    /* Else upper halves get 0 if they get anything. */
    if ((enabled || clear || upper_identity(regs, regs->eip)) &&
        !imsic_width(aia, hart, enabled, clear, &wide, errp)) {
        return false;
    }
    if ((all && !set_imsic(aia, hart, AIA_IMSIC_EIDELIVERY, 0, errp)) ||
        !write_imsic(aia, all, hart, AIA_IMSIC_EITHRESHOLD, regs->eithreshold,
                     errp)) {
        return false;
    }
    for (uint32_t w = 0; w < regs->num_words; w += 2) {
        if (!write_imsic(aia, all, hart, AIA_IMSIC_EIE(w),
                         double_word(regs->eie, w, wide), errp) ||
            !write_imsic(aia, all, hart, AIA_IMSIC_EIP(w),
                         double_word(regs->eip, w, wide), errp)) {
            return false;
        }
        for (uint32_t bit = 0; !wide && bit < WORD_BITS; bit++) {
            uint32_t id = (w + 1) * WORD_BITS + bit;

            ret = 0;
            if (regs->eip[w + 1] & BIT(bit)) {
                ret = aia->send_msi(aia->opaque, hart, id);
            }
            if (ret < 0) {
                error_setg_errno(errp, -ret, "cannot make identity %u of "
                                 "hart %u pending", id, hart);
                return false;
            }
        }
    }
    return write_imsic(aia, all, hart, AIA_IMSIC_EIDELIVERY, regs->eidelivery,
                       errp);
}

bool riscv_imsic_regs_need_wide(const RISCVIMSICRegs *regs, bool clear)
{
    return clear || upper_identity(regs, regs->eie);
}

bool riscv_imsic_regs_load(const RISCVAIAAccess *aia, uint32_t hart,
                           const RISCVIMSICRegs *regs, bool clear,
                           Error **errp)
{
    bool all = clear || !riscv_aia_file_is_fresh(aia->fresh, hart);

    riscv_aia_use_file(aia->fresh, hart);
    return write_file(aia, all, hart, regs, clear, errp);
}

bool riscv_imsic_regs_reset(const RISCVAIAAccess *aia, uint32_t hart,
                            RISCVIMSICRegs *regs, Error **errp)
{
    regs->eidelivery = 0;
    regs->eithreshold = 0;
    memset(regs->eip, 0, regs->num_words * sizeof(uint32_t));
    memset(regs->eie, 0, regs->num_words * sizeof(uint32_t));
    if (!write_file(aia, !riscv_aia_file_is_fresh(aia->fresh, hart), hart,
                    regs, false, errp)) {
        riscv_aia_use_file(aia->fresh, hart);
        return false;
    }
    riscv_aia_file_was_reset(aia->fresh, hart);
    return true;
}

bool riscv_imsic_regs_evaluate(const RISCVAIAAccess *aia, uint32_t hart,
                               Error **errp)
{
    uint64_t eidelivery;

    return get_imsic(aia, hart, AIA_IMSIC_EIDELIVERY, &eidelivery, errp) &&
           set_imsic(aia, hart, AIA_IMSIC_EIDELIVERY, eidelivery, errp);
}
