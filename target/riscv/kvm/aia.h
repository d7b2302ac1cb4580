/*
 * The AIA device of the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_AIA_H
#define RISCV_KVM_AIA_H

#include "qom/object.h"
#include "target/riscv/kvm/aia-state.h"
#include "target/riscv/kvm/shape.h"

#define TYPE_RISCV_AIA_KVM "riscv-aia-kvm"
OBJECT_DECLARE_SIMPLE_TYPE(RISCVAIAKVMState, RISCV_AIA_KVM)

/**
 * struct RISCVAIAKVMState - the AIA device of the kernel
 *
 * A child of the machine.
 *
 * @fd: of the KVM_DEV_TYPE_RISCV_AIA device, or -1 before there is one
 * @mode: KVM_DEV_RISCV_AIA_MODE_*, the one in force
 * @access: the way to it
 * @aplic: stands for its APLIC; with several sockets the board creates one
 *     device each, but the kernel has one
 * @driven: the level last driven on each wire, as in RISCVAPLICRegs.input
 * @off: loaded, to be turned on once all vCPUs have their registers
 * @stale_upper: genmsi has left an identity pending that a narrow access cannot
 *     clear
 * @loaded_shape, @loaded_aplic: have come from a stream since the vCPUs were
 *     put or reset last
 * @accesses: to attributes, ever
 * @narrow: while files are saved: the harts whose files can only be read in
 *     part
 */
struct RISCVAIAKVMState {
    Object parent_obj;

    int fd;
    int mode;
    RISCVAIAAccess access;
    DeviceState *aplic;
    uint32_t driven[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)];
    const RISCVAPLICRegs *off;
    bool stale_upper;
    bool loaded_shape;
    bool loaded_aplic;
    unsigned accesses;
    RISCVAIAFresh fresh;
    RISCVAIAShapeState shape;
#if AIA_FORK
    GPtrArray *narrow;
#endif
};

/**
 * kvm_riscv_aia_get - the machine's one, which is made where there is none yet
 *
 * For the devices, which are made before the kernel's.
 */
RISCVAIAKVMState *kvm_riscv_aia_get(void);

/* The same, or NULL where there is none, or it is not initialised. */
RISCVAIAKVMState *kvm_riscv_aia_find(void);

/**
 * kvm_riscv_aia_created - take over an initialised AIA device
 * @fd: of the KVM_DEV_TYPE_RISCV_AIA device, after KVM_DEV_RISCV_AIA_CTRL_INIT
 * @mode: KVM_DEV_RISCV_AIA_MODE_*, the one in force
 *
 * Called once, by kvm_riscv_aia_create().  Blocks migration where the kernel
 * does not offer its state.
 */
void kvm_riscv_aia_created(int fd, int mode);

/* Of kvm_riscv_aia_created(): what a destination must have in common */
bool kvm_riscv_aia_get_shape(RISCVAIAKVMState *s, Error **errp);

/* Whether a hart's file may hold what a load has to clear. */
bool kvm_riscv_aia_file_is_stale(const RISCVAIAKVMState *s, CPUState *cs);

/* Attributes of the groups CONFIG and ADDR */
bool kvm_riscv_aia_get_config(RISCVAIAKVMState *s, uint32_t attr,
                              uint32_t *val, Error **errp);
bool kvm_riscv_aia_get_addr(RISCVAIAKVMState *s, uint32_t attr, uint64_t *val,
                            Error **errp);

/* For the trace event of a step of save or load */
typedef struct RISCVAIACost {
    int64_t us;
    unsigned accesses;
} RISCVAIACost;

RISCVAIACost kvm_riscv_aia_begin(const RISCVAIAKVMState *s);
RISCVAIACost kvm_riscv_aia_since(const RISCVAIAKVMState *s,
                                 const RISCVAIACost *began);

/**
 * kvm_riscv_aia_drive - a device drives the wire of an APLIC source
 * @irq: source, 1 to the number of sources
 *
 * With the BQL held.
 */
void kvm_riscv_aia_drive(RISCVAIAKVMState *s, int irq, int level);

/*
 * The steps of save and load, in the order of docs/architecture.md, and of
 * reset.  With the BQL held and no vCPU in KVM_RUN: from 7.0 on the kernel
 * takes the mutex of the vCPU for its IMSIC attributes.
 */
bool kvm_riscv_aia_save_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                              Error **errp);
bool kvm_riscv_aia_load_aplic(RISCVAIAKVMState *s, const RISCVAPLICRegs *regs,
                              Error **errp);
bool kvm_riscv_aia_reset_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                               Error **errp);
bool kvm_riscv_aia_save_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              RISCVIMSICRegs *regs, Error **errp);
bool kvm_riscv_aia_load_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              const RISCVIMSICRegs *regs, Error **errp);
bool kvm_riscv_aia_reset_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                               RISCVIMSICRegs *regs, Error **errp);

/* Reads the APLIC for people to look at.  The guest may run; hold the BQL. */
bool kvm_riscv_aia_peek_aplic(RISCVAIAKVMState *s, RISCVAPLICRegs *regs,
                              Error **errp);

/**
 * kvm_riscv_aia_peek_imsic - read the file of a hart for people to look at
 * @whole: as of riscv_imsic_regs_peek()
 *
 * With the BQL held; the guest may run.
 */
bool kvm_riscv_aia_peek_imsic(RISCVAIAKVMState *s, uint32_t hartid,
                              RISCVIMSICRegs *regs, bool *whole, Error **errp);

#endif
