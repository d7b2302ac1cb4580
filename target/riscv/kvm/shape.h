/*
 * Shape of a RISC-V guest with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a destination must have in common with the source before any state of
 * interrupt controllers and vCPUs makes sense there.  Sent before the guest's
 * memory, so that a host that cannot take the guest says so at once.
 */

#ifndef RISCV_KVM_SHAPE_H
#define RISCV_KVM_SHAPE_H

#include "hart-config.h"

/* More than a kernel will ever list; bounds what a stream may claim. */
#define RISCV_AIA_SHAPE_MAX_HARTS 4096
#define RISCV_AIA_SHAPE_MAX_REGS  4096

/**
 * struct RISCVSectionVersion - of a section, 0 if it is not sent
 *
 * @id: the version that this QEMU sends, and the newest that it takes
 * @minimum: the oldest that it takes; not in the stream
 */
typedef struct RISCVSectionVersion {
    uint32_t id;
    uint32_t minimum;
} RISCVSectionVersion;

/**
 * struct RISCVAIAShape - as KVM_DEV_RISCV_AIA_GRP_CONFIG and _ADDR have it
 *
 * @split: the APLIC is QEMU's; then @num_sources and @aplic_addr are 0
 * @mode: KVM_DEV_RISCV_AIA_MODE_*; may differ between the two hosts
 * @timebase: frequency of the guest's time, Hz
 * @hart_id, @imsic_addr: of each hart, @num_harts of them
 * @used_reg: ids (KVM_GET_REG_LIST) of the registers outside of QEMU's own
 *     sections that some hart has changed since its reset, sorted
 * @satp_mode: the highest satp.MODE that a hart has set
 * @config: what CPU the guest found when it booted
 * @cpu, @aplic: versions of QEMU's own sections "cpu" and, if @split,
 *     "riscv_aplic", with which the versions of QEMU differ
 */
typedef struct RISCVAIAShape {
    uint32_t split;
    uint32_t mode;
    uint32_t num_sources;
    uint32_t num_ids;
    uint32_t group_bits;
    uint32_t group_shift;
    uint32_t hart_bits;
    uint32_t guest_bits;
    uint64_t aplic_addr;
    uint64_t timebase;
    uint32_t num_harts;
    uint64_t *hart_id;
    uint64_t *imsic_addr;
    uint32_t num_used_regs;
    uint64_t *used_reg;
    uint64_t satp_mode;
    RISCVHartConfig config;
    RISCVSectionVersion cpu;
    RISCVSectionVersion aplic;
} RISCVAIAShape;

/**
 * struct RISCVAIAShapeOps - what the accelerator tells of the running guest
 *
 * @update: called before the shape is sent; fills in @used_reg, allocated
 *     anew, @satp_mode, and @config, which stays the accelerator's.  Returns
 *     false with @errp set on failure.
 * @has_reg: whether this host has a register of that id
 * @satp_mode: the highest satp.MODE that a guest may use on this host
 * @compare_config: as riscv_hart_config_compare()
 * @loaded: called once the shape of a source has come and fits; the last word
 */
typedef struct RISCVAIAShapeOps {
    bool (*update)(RISCVAIAShape *shape, Error **errp);
    bool (*has_reg)(uint64_t id);
    uint64_t (*satp_mode)(void);
    void (*compare_config)(const RISCVHartConfig *source, GString *all,
                           GString *advice, GString *rest);
    bool (*loaded)(const RISCVAIAShape *source, Error **errp);
} RISCVAIAShapeOps;

/**
 * struct RISCVAIAShapeState - the shape of a guest, and its section
 *
 * @ours: of this host
 * @stream: what is sent or was received
 * @saved: the former, and shares with @ours what it points to
 */
typedef struct RISCVAIAShapeState {
    RISCVAIAShape ours;
    const RISCVAIAShapeOps *ops;
    RISCVAIAShape stream;
    bool saved;
} RISCVAIAShapeState;

/**
 * riscv_aia_shape_register - have a shape sent and compared with each migration
 * @state: with @ours and @ops, to live as long as QEMU does
 *
 * Called once, when the AIA has been created.
 */
void riscv_aia_shape_register(RISCVAIAShapeState *state);

/**
 * riscv_aia_shape_check - whether a guest of one shape can go on in another
 *
 * Otherwise @errp names every difference with both values, and what to do.
 */
bool riscv_aia_shape_check(const RISCVAIAShape *source,
                           const RISCVAIAShape *ours,
                           const RISCVAIAShapeOps *ops, Error **errp);

/* Frees what @shape points to. */
void riscv_aia_shape_clear(RISCVAIAShape *shape);

#endif
