/*
 * Shape of a RISC-V guest with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a destination must have in common with the source before any state of
 * interrupt controllers and vCPUs makes sense there.  Sent before the guest's
 * memory, so that a host that cannot take the guest says so at once.
 */

#ifndef MIGRATION_RISCV_AIA_SHAPE_H
#define MIGRATION_RISCV_AIA_SHAPE_H

/* More than a kernel will ever list; bounds what a stream may claim. */
#define RISCV_AIA_SHAPE_MAX_HARTS 4096
#define RISCV_AIA_SHAPE_MAX_REGS  4096

/**
 * struct RISCVAIAShape - as KVM_DEV_RISCV_AIA_GRP_CONFIG and _ADDR have it
 *
 * @split: the APLIC is QEMU's; then @num_sources and @aplic_addr are 0
 * @mode: KVM_DEV_RISCV_AIA_MODE_*; may differ between the two hosts
 * @timebase: frequency of the guest's time, Hz
 * @isa: extensions by letter, as KVM_REG_RISCV_CONFIG_REG(isa)
 * @hart_id, @imsic_addr: of each hart, @num_harts of them
 * @used_reg: ids (KVM_GET_REG_LIST) of the registers outside of QEMU's own
 *     sections that some hart has changed since its reset, sorted
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
    uint64_t isa;
    uint32_t num_harts;
    uint64_t *hart_id;
    uint64_t *imsic_addr;
    uint32_t num_used_regs;
    uint64_t *used_reg;
} RISCVAIAShape;

/**
 * struct RISCVAIAShapeOps - what the accelerator tells of the running guest
 *
 * @update: called before the shape is sent; fills in @used_reg, allocated
 *     anew.  Returns false with @errp set on failure.
 * @has_reg: whether this host has a register of that id
 * @loaded: called once the shape of a source has come and fits
 */
typedef struct RISCVAIAShapeOps {
    bool (*update)(RISCVAIAShape *shape, Error **errp);
    bool (*has_reg)(uint64_t id);
    void (*loaded)(void);
} RISCVAIAShapeOps;

/**
 * riscv_aia_shape_register - have a shape sent and compared with each migration
 * @shape: of this host, to live as long as QEMU does
 *
 * Called once, when the AIA has been created.
 */
void riscv_aia_shape_register(const RISCVAIAShape *shape,
                              const RISCVAIAShapeOps *ops);

/**
 * riscv_aia_shape_check - whether a guest of one shape can go on in another
 *
 * Otherwise @errp names every difference with both values.
 */
bool riscv_aia_shape_check(const RISCVAIAShape *source,
                           const RISCVAIAShape *ours,
                           bool (*has_reg)(uint64_t id), Error **errp);

/**
 * riscv_aia_shape_precedes - whether a section may come where it does
 * @idstr: of a section that is about to be loaded
 *
 * The memory may only come after the shape, where one is registered: only what
 * this file is not part of sends none, and nothing else that it sends would
 * tell of the interrupt controllers.  Otherwise @errp is set.
 */
bool riscv_aia_shape_precedes(const char *idstr, Error **errp);

/* Frees what @shape points to. */
void riscv_aia_shape_clear(RISCVAIAShape *shape);

#endif
