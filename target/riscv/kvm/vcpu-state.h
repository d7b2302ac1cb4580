/*
 * State of a vCPU in the stream: the list of its registers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nothing here calls KVM; of it only the numbers of registers are known, as
 * in its linux/kvm.h for RISC-V.
 */

#ifndef RISCV_KVM_VCPU_STATE_H
#define RISCV_KVM_VCPU_STATE_H

#include "migration/vmstate.h"
#include "qemu/since.h"
#if AIA_FORK
#include "target/riscv/kvm/vcpu-extra.h"
#endif

/* Bytes of the register that a KVM_REG_* number names. */
#define RISCV_REG_BYTES(id) (1ULL << (((id) & KVM_REG_SIZE_MASK) >> \
                                      KVM_REG_SIZE_SHIFT))

/**
 * struct RISCVRegList - registers by their KVM_REG_* numbers
 *
 * @value: a 32-bit register fills the lower half
 * @reset: the value when the vCPU was created
 */
typedef struct RISCVRegList {
    uint32_t num;
    uint64_t *id;
    uint64_t *value;
    uint64_t *reset;
} RISCVRegList;

/**
 * struct KVMRISCVVCPU - what a vCPU has and QEMU's sections do not carry
 *
 * @ran: in this process, perhaps in a state that a load replaced; but not since
 *     the kernel has reset it whole
 * @put: has got its registers in this reset of the machine, or this load
 * @loaded, @loaded_file: its registers, its interrupt file have come from the
 *     stream that is being loaded
 * @owes_mp_state, @owed_mp_state: its MP state could not be put back
 * @regs: what this kernel offers, sorted by id
 * @stream, @stream_mp_state: what the stream holds
 */
typedef struct KVMRISCVVCPU {
    uint32_t mp_state;
    bool ran;
    bool put;
    bool loaded;
    bool loaded_file;
    bool owes_mp_state;
    uint32_t owed_mp_state;
    RISCVRegList regs;
    RISCVRegList stream;
    uint32_t stream_mp_state;
#if AIA_FORK
    RISCVVCPUExtra extra;
#endif
} KVMRISCVVCPU;

/* stream_mp_state and stream */
extern const VMStateDescription vmstate_riscv_vcpu_regs;

void riscv_reg_list_alloc(RISCVRegList *list, uint32_t num);
void riscv_reg_list_free(RISCVRegList *list);

/* Compares two ids, for qsort() and the like. */
int riscv_reg_id_compare(const void *a, const void *b);

/* Whether a register only configures a vCPU. */
bool riscv_reg_is_config(uint64_t id);

/* Whether QEMU's sections hold it; @has_d: the vCPU has extension D. */
bool riscv_reg_is_carried(uint64_t id, bool has_d);

/* Sets an error that begins with the register and the hart it is of. */
void riscv_reg_error(Error **errp, uint64_t id, int hart, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);

/**
 * riscv_vcpu_regs_save - have in the stream what the vCPU has
 *
 * A register that is 0 and was 0 at reset is not sent.
 */
void riscv_vcpu_regs_save(KVMRISCVVCPU *vcpu);

/**
 * riscv_vcpu_regs_load - take over the values of the stream
 *
 * A register that is not in the stream gets its reset value.  Where anything
 * of the stream cannot be taken over, nothing is.
 */
bool riscv_vcpu_regs_load(KVMRISCVVCPU *vcpu, int hart, bool has_d,
                          Error **errp);

#endif
