/*
 * State of an in-kernel AIA: the APLIC
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qapi/error.h"
#include "aia-state.h"

#define WORD_BITS 32

static bool source_bit(const uint32_t *words, uint32_t source)
{
    return words[source / WORD_BITS] & BIT(source % WORD_BITS);
}

/* Whether bits are only set for sources that there are. */
static bool is_within(const RISCVAPLICRegs *regs, const uint32_t *words)
{
    uint32_t last = regs->num_words - 1;

    return !(words[0] & 1) &&
           !(words[last] & ~(uint32_t)MAKE_64BIT_MASK(0, regs->num_sources + 1 -
                                                      last * WORD_BITS));
}

/* A majority vote: what more than half of the sources have, or what one has */
static uint32_t usual_target(const RISCVAPLICRegs *regs)
{
    uint32_t usual = 0, lead = 0;

    for (uint32_t i = 0; i < regs->num_sources; i++) {
        if (!lead) {
            usual = regs->target[i];
        }
        lead += regs->target[i] == usual ? 1 : -1;
    }
    return usual;
}

static int aplic_regs_pre_save(void *opaque)
{
    RISCVAPLICRegs *regs = opaque;
    RISCVAPLICSent *sent = &regs->sent;

    sent->usual_target = usual_target(regs);
    sent->num = 0;
    memset(sent->sources, 0, regs->num_words * sizeof(uint32_t));
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        uint32_t source = i + 1;

        if (regs->sourcecfg[i] == AIA_SM_INACTIVE &&
            regs->target[i] == sent->usual_target) {
            continue;
        }
        sent->sources[source / WORD_BITS] |= BIT(source % WORD_BITS);
        sent->sourcecfg[sent->num] = regs->sourcecfg[i];
        sent->target[sent->num++] = regs->target[i];
    }
    return 0;
}

static bool aplic_sent_ok(void *opaque, int version_id)
{
    RISCVAPLICRegs *regs = opaque;
    uint32_t num = 0;

    for (uint32_t w = 0; w < regs->num_words; w++) {
        num += ctpop32(regs->sent.sources[w]);
    }
    return is_within(regs, regs->sent.sources) && regs->sent.num == num;
}

static int aplic_regs_post_load(void *opaque, int version_id)
{
    RISCVAPLICRegs *regs = opaque;
    const RISCVAPLICSent *sent = &regs->sent;
    uint32_t n = 0;

    for (uint32_t i = 0; i < regs->num_sources; i++) {
        if (source_bit(sent->sources, i + 1)) {
            regs->sourcecfg[i] = sent->sourcecfg[n];
            regs->target[i] = sent->target[n++];
        } else {
            regs->sourcecfg[i] = AIA_SM_INACTIVE;
            regs->target[i] = sent->usual_target;
        }
    }
    return 0;
}

const VMStateDescription vmstate_riscv_aplic_regs = {
    .name = "riscv_aplic_regs",
    .version_id = 2,
    .minimum_version_id = 2,
    .pre_save = aplic_regs_pre_save,
    .post_load = aplic_regs_post_load,
    .fields = (const VMStateField[]) {
        RISCV_VMSTATE_EQUAL(num_sources, RISCVAPLICRegs,
                            "The number of APLIC sources must be the same."),
        VMSTATE_UINT32(domaincfg, RISCVAPLICRegs),
        VMSTATE_UINT32(genmsi, RISCVAPLICRegs),
        VMSTATE_VARRAY_UINT32(pending, RISCVAPLICRegs, num_words, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_VARRAY_UINT32(enabled, RISCVAPLICRegs, num_words, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_VARRAY_UINT32(input, RISCVAPLICRegs, num_words, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_UINT32(sent.usual_target, RISCVAPLICRegs),
        VMSTATE_VARRAY_UINT32(sent.sources, RISCVAPLICRegs, num_words, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_UINT32(sent.num, RISCVAPLICRegs),
        VMSTATE_VALIDATE("number of APLIC sources with a mode or a target",
                         aplic_sent_ok),
        VMSTATE_VARRAY_UINT32(sent.sourcecfg, RISCVAPLICRegs, sent.num, 0,
                              vmstate_info_uint8, uint8_t),
        VMSTATE_VARRAY_UINT32(sent.target, RISCVAPLICRegs, sent.num, 0,
                              vmstate_info_uint32, uint32_t),
        VMSTATE_END_OF_LIST()
    }
};

/* Whether a source has what an inactive one may not take */
static bool has_bits(const RISCVAPLICRegs *regs, uint32_t source)
{
    return source_bit(regs->pending, source) ||
           source_bit(regs->enabled, source);
}

static bool get_aplic(const RISCVAIAAccess *aia, uint32_t offset,
                      uint32_t *val, Error **errp)
{
    int ret = aia->get_aplic(aia->opaque, offset, val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read APLIC register 0x%04x",
                         offset);
    }
    return ret >= 0;
}

static bool set_aplic(const RISCVAIAAccess *aia, uint32_t offset,
                      uint32_t val, Error **errp)
{
    int ret = aia->set_aplic(aia->opaque, offset, val);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot set APLIC register 0x%04x to "
                         "0x%08x", offset, val);
    }
    return ret >= 0;
}

void riscv_aplic_regs_init(RISCVAPLICRegs *regs, uint32_t num_sources)
{
    regs->num_sources = num_sources;
    regs->num_words = DIV_ROUND_UP(num_sources + 1, WORD_BITS);
    regs->sourcecfg = g_new0(uint32_t, num_sources);
    regs->target = g_new0(uint32_t, num_sources);
    regs->pending = g_new0(uint32_t, regs->num_words);
    regs->enabled = g_new0(uint32_t, regs->num_words);
    regs->input = g_new0(uint32_t, regs->num_words);
    regs->sent.sources = g_new0(uint32_t, regs->num_words);
    regs->sent.sourcecfg = g_new0(uint8_t, num_sources);
    regs->sent.target = g_new0(uint32_t, num_sources);
}

void riscv_aplic_regs_free(RISCVAPLICRegs *regs)
{
    g_free(regs->sourcecfg);
    g_free(regs->target);
    g_free(regs->pending);
    g_free(regs->enabled);
    g_free(regs->input);
    g_free(regs->sent.sources);
    g_free(regs->sent.sourcecfg);
    g_free(regs->sent.target);
}

/* The wire's level, of which a register shows the rectified value. */
static bool raw_input(uint32_t sourcecfg, bool rectified, bool driven)
{
    switch (sourcecfg & AIA_APLIC_SOURCECFG_SM) {
    case AIA_SM_INACTIVE:
    case AIA_SM_DETACHED:
        /* By the specification both read as 0. */
        return driven;
    case AIA_SM_EDGE_FALL:
    case AIA_SM_LEVEL_LOW:
        return !rectified;
    default:
        return rectified;
    }
}

bool riscv_aplic_regs_save(const RISCVAIAAccess *aia, RISCVAPLICRegs *regs,
                           const uint32_t *driven, Error **errp)
{
    if (!get_aplic(aia, AIA_APLIC_DOMAINCFG, &regs->domaincfg, errp) ||
        !get_aplic(aia, AIA_APLIC_GENMSI, &regs->genmsi, errp)) {
        return false;
    }
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        if (!get_aplic(aia, AIA_APLIC_SOURCECFG(i + 1), &regs->sourcecfg[i],
                       errp) ||
            !get_aplic(aia, AIA_APLIC_TARGET(i + 1), &regs->target[i], errp)) {
            return false;
        }
    }
    for (uint32_t w = 0; w < regs->num_words; w++) {
        if (!get_aplic(aia, AIA_APLIC_SETIP(w), &regs->pending[w], errp) ||
            !get_aplic(aia, AIA_APLIC_SETIE(w), &regs->enabled[w], errp) ||
            !get_aplic(aia, AIA_APLIC_IN_CLRIP(w), &regs->input[w], errp)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        uint32_t source = i + 1;
        uint32_t *word = &regs->input[source / WORD_BITS];

        *word = deposit32(*word, source % WORD_BITS, 1,
                          raw_input(regs->sourcecfg[i],
                                    source_bit(regs->input, source),
                                    source_bit(driven, source)));
    }
    return true;
}

bool riscv_aplic_regs_check(const RISCVAPLICRegs *regs, Error **errp)
{
    if ((regs->domaincfg & ~AIA_APLIC_DOMAINCFG_IE) !=
        AIA_APLIC_DOMAINCFG_FIXED) {
        error_setg(errp, "APLIC: domaincfg 0x%08x is not 0x%08x, with or "
                   "without IE", regs->domaincfg, AIA_APLIC_DOMAINCFG_FIXED);
        return false;
    }
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        switch (regs->sourcecfg[i]) {
        case AIA_SM_INACTIVE:
        case AIA_SM_DETACHED:
        case AIA_SM_EDGE_RISE ... AIA_SM_LEVEL_LOW:
            break;
        case 2:
        case 3:
            /* Reserved, but kernels up to 7.2 let the guest write them. */
            break;
        default:
            error_setg(errp, "APLIC source %u: sourcecfg 0x%08x has reserved "
                       "bits set", i + 1, regs->sourcecfg[i]);
            return false;
        }
        if (regs->target[i] & ~AIA_APLIC_TARGET_MASK) {
            error_setg(errp, "APLIC source %u: target 0x%08x has reserved "
                       "bits set", i + 1, regs->target[i]);
            return false;
        }
    }
    if (regs->genmsi & ~AIA_APLIC_GENMSI_MASK) {
        error_setg(errp, "APLIC: genmsi 0x%08x has reserved bits set",
                   regs->genmsi);
        return false;
    }
    if (!is_within(regs, regs->pending) || !is_within(regs, regs->enabled) ||
        !is_within(regs, regs->input)) {
        error_setg(errp, "APLIC: a source outside of 1 to %u is pending, "
                   "enabled or asserted", regs->num_sources);
        return false;
    }
    return true;
}

/* @all: also what is 0, which an APLIC that is fresh holds already */
static bool write_aplic(const RISCVAIAAccess *aia, bool all, uint32_t offset,
                        uint32_t val, Error **errp)
{
    return (!all && !val) || set_aplic(aia, offset, val, errp);
}

static bool write_regs(const RISCVAIAAccess *aia, bool all,
                       const RISCVAPLICRegs *regs, const uint32_t *driven,
                       Error **errp)
{
    if ((all && !set_aplic(aia, AIA_APLIC_DOMAINCFG, 0, errp)) ||
        !write_aplic(aia, all, AIA_APLIC_GENMSI, regs->genmsi, errp)) {
        return false;
    }

    /*
     * A detached source takes any pending bit, and its wire may move without
     * one coming of it.  That holds for no other mode, so all state goes in
     * while the sources are detached.  One that is inactive takes its wire and
     * target, so that it can stay so if it has no more.
     */
    for (uint32_t source = 1; source <= regs->num_sources; source++) {
        if ((all || has_bits(regs, source)) &&
            !set_aplic(aia, AIA_APLIC_SOURCECFG(source), AIA_SM_DETACHED,
                       errp)) {
            return false;
        }
    }
    for (uint32_t source = 1; source <= regs->num_sources; source++) {
        bool level = source_bit(regs->input, source);
        int ret = 0;

        if (all || level != source_bit(driven, source)) {
            ret = aia->set_input(aia->opaque, source, level);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "cannot drive the wire of APLIC "
                             "source %u to %d", source, level);
            return false;
        }
    }
    for (uint32_t w = 0; w < regs->num_words; w++) {
        if ((all && !set_aplic(aia, AIA_APLIC_IN_CLRIP(w), UINT32_MAX, errp)) ||
            (all && !set_aplic(aia, AIA_APLIC_CLRIE(w), UINT32_MAX, errp)) ||
            !write_aplic(aia, all, AIA_APLIC_SETIP(w), regs->pending[w],
                         errp) ||
            !write_aplic(aia, all, AIA_APLIC_SETIE(w), regs->enabled[w],
                         errp)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        if (!write_aplic(aia, all, AIA_APLIC_TARGET(i + 1), regs->target[i],
                         errp) ||
            !write_aplic(aia, all || has_bits(regs, i + 1),
                         AIA_APLIC_SOURCECFG(i + 1), regs->sourcecfg[i],
                         errp)) {
            return false;
        }
    }
    return true;
}

bool riscv_aplic_regs_load(const RISCVAIAAccess *aia,
                           const RISCVAPLICRegs *regs, const uint32_t *driven,
                           Error **errp)
{
    bool all = !riscv_aia_aplic_is_fresh(aia->fresh);

    riscv_aia_use_aplic(aia->fresh);
    if (regs->genmsi) {
        riscv_aia_use_files(aia->fresh);
    }
    return write_regs(aia, all, regs, driven, errp);
}

bool riscv_aplic_regs_reset(const RISCVAIAAccess *aia, RISCVAPLICRegs *regs,
                            const uint32_t *driven, Error **errp)
{
    regs->domaincfg = 0;
    regs->genmsi = 0;
    memset(regs->sourcecfg, 0, regs->num_sources * sizeof(uint32_t));
    memset(regs->target, 0, regs->num_sources * sizeof(uint32_t));
    memset(regs->pending, 0, regs->num_words * sizeof(uint32_t));
    memset(regs->enabled, 0, regs->num_words * sizeof(uint32_t));
    memcpy(regs->input, driven, regs->num_words * sizeof(uint32_t));
    if (!write_regs(aia, !riscv_aia_aplic_is_fresh(aia->fresh), regs, driven,
                    errp)) {
        return false;
    }
    riscv_aia_aplic_was_reset(aia->fresh);
    return true;
}

bool riscv_aplic_regs_enable(const RISCVAIAAccess *aia,
                             const RISCVAPLICRegs *regs, Error **errp)
{
    riscv_aia_use(aia->fresh);
    return set_aplic(aia, AIA_APLIC_DOMAINCFG, regs->domaincfg, errp);
}
