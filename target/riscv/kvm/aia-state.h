/*
 * State of an in-kernel AIA: marshalling between registers and attributes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nothing here knows KVM: every access goes through RISCVAIAAccess, behind
 * which is the kernel (aia.c) or the model of tests/unit.  Register names and
 * offsets are those of the RISC-V Advanced Interrupt Architecture, chapters 3
 * (IMSIC) and 4 (APLIC).
 */

#ifndef RISCV_KVM_AIA_STATE_H
#define RISCV_KVM_AIA_STATE_H

#include "migration/vmstate.h"
#include "qemu/since.h"
#include "target/riscv/kvm/aia-fresh.h"

/* Since then it has no hint. */
#if QEMU_SINCE(11, 1)
#define RISCV_VMSTATE_EQUAL(field, state, hint)                         \
    VMSTATE_UINT32_EQUAL(field, state)
#else
#define RISCV_VMSTATE_EQUAL VMSTATE_UINT32_EQUAL
#endif

/* APLIC, section 4.5 */
#define AIA_APLIC_DOMAINCFG         0x0000
#define AIA_APLIC_DOMAINCFG_IE      BIT(8)
/* What the kernel has there besides: the read-only byte, delivery by MSI */
#define AIA_APLIC_DOMAINCFG_FIXED   0x80000004
#define AIA_APLIC_SOURCECFG(source) (0x0000 + 4 * (source))
#define AIA_APLIC_SOURCECFG_SM      0x7
#define AIA_APLIC_SETIP(word)       (0x1c00 + 4 * (word))
#define AIA_APLIC_IN_CLRIP(word)    (0x1d00 + 4 * (word))
#define AIA_APLIC_SETIE(word)       (0x1e00 + 4 * (word))
#define AIA_APLIC_CLRIE(word)       (0x1f00 + 4 * (word))
#define AIA_APLIC_GENMSI            0x3000
#define AIA_APLIC_TARGET(source)    (0x3000 + 4 * (source))
#define AIA_APLIC_TARGET_MASK       0xfffff7ff
#define AIA_APLIC_GENMSI_MASK       0xfffc0fff
#define AIA_APLIC_EIID_MASK         0x7ff
#define AIA_APLIC_MAX_SOURCES       1023

/* Source modes, section 4.5.2 */
enum {
    AIA_SM_INACTIVE   = 0,
    AIA_SM_DETACHED   = 1,
    AIA_SM_EDGE_RISE  = 4,
    AIA_SM_EDGE_FALL  = 5,
    AIA_SM_LEVEL_HIGH = 6,
    AIA_SM_LEVEL_LOW  = 7,
};

/* IMSIC, section 3.8 */
#define AIA_IMSIC_EIDELIVERY        0x70
#define AIA_IMSIC_EITHRESHOLD       0x72
#define AIA_IMSIC_EIP(word)         (0x80 + (word))
#define AIA_IMSIC_EIE(word)         (0xc0 + (word))
#define AIA_IMSIC_MAX_IDS           2047

/**
 * struct RISCVAIAAccess - the way to one AIA
 *
 * All return 0 or a negative errno.  @hart is the KVM vCPU id; an IMSIC
 * register is 64 bits wide, at even iselects only (RV64).
 *
 * @get_aplic, @set_aplic: one 32-bit register at a byte offset
 * @set_input: drive the wire of a source
 * @get_imsic, @set_imsic: one register of a hart's interrupt file
 * @send_msi: make an identity pending in a hart's file
 * @widen: make the access to a hart's file 64 bits wide, which it is not, and
 *     see that it is; -EOPNOTSUPP without an error where the guest has nothing
 *     in upper halves
 * @fresh: what is known to be as a reset left it
 */
typedef struct RISCVAIAAccess {
    int (*get_aplic)(void *opaque, uint32_t offset, uint32_t *val);
    int (*set_aplic)(void *opaque, uint32_t offset, uint32_t val);
    int (*set_input)(void *opaque, uint32_t source, bool level);
    int (*get_imsic)(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t *val);
    int (*set_imsic)(void *opaque, uint32_t hart, uint32_t iselect,
                     uint64_t val);
    int (*send_msi)(void *opaque, uint32_t hart, uint32_t id);
    int (*widen)(void *opaque, uint32_t hart, Error **errp);
    RISCVAIAFresh *fresh;
    void *opaque;
} RISCVAIAAccess;

/**
 * struct RISCVAPLICSent - the modes and targets that are in the stream
 *
 * A source that is not is inactive, with the target that most of them have:
 * Linux gives each source one when it boots, and uses few.
 *
 * @usual_target: of the sources that are not there
 * @num: how many are
 * @sources: which, one bit per source
 * @sourcecfg, @target: of the nth of them at [n]
 */
typedef struct RISCVAPLICSent {
    uint32_t usual_target;
    uint32_t num;
    uint32_t *sources;
    uint8_t *sourcecfg;
    uint32_t *target;
} RISCVAPLICSent;

/**
 * struct RISCVAPLICRegs - what an APLIC domain holds
 *
 * @sourcecfg, @target: of source i + 1 at [i]
 * @pending, @enabled, @input: one bit per source, bit 0 unused; @input is the
 *     level of the wire, before it is rectified
 * @sent: of vmstate_riscv_aplic_regs
 */
typedef struct RISCVAPLICRegs {
    uint32_t num_sources;
    uint32_t num_words;
    uint32_t domaincfg;
    uint32_t genmsi;
    uint32_t *sourcecfg;
    uint32_t *target;
    uint32_t *pending;
    uint32_t *enabled;
    uint32_t *input;
    RISCVAPLICSent sent;
} RISCVAPLICRegs;

/**
 * struct RISCVIMSICRegs - what one interrupt file holds
 *
 * @eip, @eie: one bit per identity, bit 0 unused; an even number of words
 * @num_sent: of vmstate_riscv_imsic_regs: words of each in the stream, the
 *     rest is 0
 */
typedef struct RISCVIMSICRegs {
    uint32_t num_words;
    uint32_t eidelivery;
    uint32_t eithreshold;
    uint32_t *eip;
    uint32_t *eie;
    uint32_t num_sent;
} RISCVIMSICRegs;

/*
 * As docs/wire-format.md has them; the section around them is the device's.
 * For an APLIC that riscv_aplic_regs_check() refuses there is no room.
 */
extern const VMStateDescription vmstate_riscv_aplic_regs;
extern const VMStateDescription vmstate_riscv_imsic_regs;

/* Allocates zeroed words for @num_sources (1 to AIA_APLIC_MAX_SOURCES). */
void riscv_aplic_regs_init(RISCVAPLICRegs *regs, uint32_t num_sources);
void riscv_aplic_regs_free(RISCVAPLICRegs *regs);

/**
 * riscv_aplic_regs_save - read the registers of an APLIC without changing it
 * @driven: the level last driven on each wire, one bit per source; an inactive
 *     source does not tell its input
 */
bool riscv_aplic_regs_save(const RISCVAIAAccess *aia, RISCVAPLICRegs *regs,
                           const uint32_t *driven, Error **errp);

/* Refuses @regs that no APLIC of this shape can hold, on both sides. */
bool riscv_aplic_regs_check(const RISCVAPLICRegs *regs, Error **errp);

/**
 * riscv_aplic_regs_load - write all but domaincfg; the domain is left off
 * @driven: as of riscv_aplic_regs_save()
 *
 * Forwards nothing, but genmsi sends its MSI again (section 4.5.15): to be
 * called before the interrupt files are loaded.  To an APLIC that is fresh only
 * what it does not hold is written.
 */
bool riscv_aplic_regs_load(const RISCVAIAAccess *aia,
                           const RISCVAPLICRegs *regs, const uint32_t *driven,
                           Error **errp);

/**
 * riscv_aplic_regs_reset - the same with the state after a reset, put in @regs
 *
 * A reset moves no wire.  The APLIC is fresh afterwards, unless it is used.
 */
bool riscv_aplic_regs_reset(const RISCVAIAAccess *aia, RISCVAPLICRegs *regs,
                            const uint32_t *driven, Error **errp);

/* Writes domaincfg: from here on the APLIC forwards.  The last step. */
bool riscv_aplic_regs_enable(const RISCVAIAAccess *aia,
                             const RISCVAPLICRegs *regs, Error **errp);

/* Allocates zeroed words for @num_ids identities (63 to AIA_IMSIC_MAX_IDS). */
void riscv_imsic_regs_init(RISCVIMSICRegs *regs, uint32_t num_ids);
void riscv_imsic_regs_free(RISCVIMSICRegs *regs);

/**
 * riscv_imsic_is_wide - whether the access to a file has all 64 bits
 *
 * Flips one enable bit and puts it back; the hart must not run.
 */
bool riscv_imsic_is_wide(const RISCVAIAAccess *aia, uint32_t hart, bool *wide,
                         Error **errp);

/**
 * riscv_imsic_regs_save - read one interrupt file
 * @wide: the access has been seen to have all 64 bits, and still has
 *
 * Else what is read may tell the width, or one enable bit is flipped as by
 * riscv_imsic_is_wide().  Where the access is 32 bits wide, @widen is asked for
 * help.  Where that does not matter, upper halves are saved as 0, never as the
 * sign extension that is read in their place; where it fails, so does this.
 */
bool riscv_imsic_regs_save(const RISCVAIAAccess *aia, uint32_t hart, bool wide,
                           RISCVIMSICRegs *regs, Error **errp);

/**
 * riscv_imsic_regs_peek - read one interrupt file, which is left as it is
 * @whole: set to whether that shows upper halves; if not they read as 0
 *
 * For people to look at, while the hart is in use but not in the guest.
 */
bool riscv_imsic_regs_peek(const RISCVAIAAccess *aia, uint32_t hart,
                           RISCVIMSICRegs *regs, bool *whole, Error **errp);

/* Refuses @regs that no interrupt file of this shape can hold. */
bool riscv_imsic_regs_check(const RISCVIMSICRegs *regs, uint32_t hart,
                            Error **errp);

/**
 * riscv_imsic_regs_need_wide - whether a load of @regs asks for @widen
 * @clear: as of riscv_imsic_regs_load()
 *
 * Where the access is 32 bits wide.
 */
bool riscv_imsic_regs_need_wide(const RISCVIMSICRegs *regs, bool clear);

/**
 * riscv_imsic_regs_load - write one interrupt file
 * @clear: pending bits in upper halves may be stale and have to be cleared
 *
 * Where the access is 32 bits wide, upper halves are brought over by @widen
 * and, if there are only pending bits in them, by MSIs.  Fails naming the
 * first identity that cannot be restored.  To a file that is fresh, and that
 * @clear does not speak of, only what it does not hold is written.
 */
bool riscv_imsic_regs_load(const RISCVAIAAccess *aia, uint32_t hart,
                           const RISCVIMSICRegs *regs, bool clear,
                           Error **errp);

/**
 * riscv_imsic_regs_reset - the same with the state after a reset, put in @regs
 *
 * Upper halves are left alone where the access does not reach them.  The file
 * is fresh afterwards, unless it is used.
 */
bool riscv_imsic_regs_reset(const RISCVAIAAccess *aia, uint32_t hart,
                            RISCVIMSICRegs *regs, Error **errp);

/**
 * riscv_imsic_regs_evaluate - have the file assert its interrupt again
 *
 * A write of sip forgets a software file's external interrupt: to be called
 * after each.
 */
bool riscv_imsic_regs_evaluate(const RISCVAIAAccess *aia, uint32_t hart,
                               Error **errp);

#endif
