/*
 * State of a vCPU that the kernel lists and QEMU does not carry elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_H
#define RISCV_KVM_VCPU_H

#include "migration/vmstate.h"

typedef struct KVMRISCVVCPU KVMRISCVVCPU;

/* Subsection of the "cpu" section; the opaque is the RISCVCPU. */
extern const VMStateDescription vmstate_kvm_riscv_vcpu;

/**
 * kvm_riscv_vcpu_init - find out which registers are to be carried
 *
 * From kvm_arch_init_vcpu(), after the vCPU was configured: what the registers
 * hold then is what a reset gives them.  Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_init(CPUState *cs);

/* What a reset does to these registers; from kvm_riscv_reset_vcpu(). */
void kvm_riscv_vcpu_reset(CPUState *cs);

/**
 * kvm_riscv_vcpu_put - put these registers and, after a load, the MP state
 * @level: as of kvm_arch_put_registers(), which calls this after it has put
 *     what it knows itself
 *
 * Ends with kvm_riscv_aia_put_vcpu().
 *
 * Returns 0 or a negative errno, with @errp naming the register.
 */
int kvm_riscv_vcpu_put(CPUState *cs, int level, Error **errp);

/**
 * kvm_riscv_vcpu_enter_once - enter the guest on a page that does nothing
 *
 * The vCPU executes one store of ours, to an address where nothing is, with
 * interrupts off, and then owns a guest interrupt file.  Its registers and MP
 * state are lost: only to be called while a load has still to put them.  With
 * the BQL held, from outside the vCPU's thread.  Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_enter_once(CPUState *cs, Error **errp);

#endif
