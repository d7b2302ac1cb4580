/*
 * State of a vCPU that the kernel lists and QEMU does not carry elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_H
#define RISCV_KVM_VCPU_H

#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/kvm.h"

/* Subsection of the "cpu" section; the opaque is the RISCVCPU. */
extern const VMStateDescription vmstate_kvm_riscv_vcpu;

/**
 * kvm_riscv_vcpu_init - find out which registers are to be carried
 *
 * From kvm_arch_init_vcpu(), after the vCPU was configured: what the registers
 * hold then is what a reset gives them.  Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_init(CPUState *cs);

/* Adds the property "migratable", an OnOffAuto, to a CPU. */
void kvm_riscv_add_migratable_property(Object *cpu_obj);

/*
 * What a reset does to what the kernel has of the vCPU, if that can be had;
 * from kvm_riscv_reset_vcpu().  The registers follow with kvm_riscv_vcpu_put().
 */
void kvm_riscv_vcpu_reset(CPUState *cs);

/*
 * Whether it can be had: KVM_CAP_RISCV_MP_STATE_RESET, Linux 6.16; which
 * kvm_riscv_vcpu_arch_init() has found out, and asked for.
 */
bool kvm_riscv_vcpu_is_reset_whole(void);

/* From kvm_arch_init(): what comes before any vCPU. */
void kvm_riscv_vcpu_arch_init(KVMState *s);

/**
 * kvm_riscv_vcpu_put - put these registers and, after a load, the MP state
 * @level: as of kvm_arch_put_registers(), which calls this after it has put
 *     what it knows itself
 *
 * Returns 0 or a negative errno, with @errp naming the register.
 */
int kvm_riscv_vcpu_put(CPUState *cs, int level, Error **errp);

/**
 * kvm_riscv_vcpu_set_put_last - have kvm_riscv_vcpu_put() end with @put
 *
 * For the interrupt controller, which has to see to a vCPU after its registers.
 */
typedef int RISCVVCPUPutLast(CPUState *cs, int level, Error **errp);
void kvm_riscv_vcpu_set_put_last(RISCVVCPUPutLast *put);

/**
 * kvm_riscv_vcpu_keep_timer - have a timer that is over interrupt all the same
 *
 * After each put of sip between two runs of the guest.  Without Sstc KVM has a
 * timer of its own, and a put of sip forgets an interrupt of it that has come
 * since sip was read (kvm_riscv_vcpu_general_set_csr()), though it stands until
 * the guest sets its next timer.  Returns 0 or a negative errno, with @errp
 * naming the register.
 */
int kvm_riscv_vcpu_keep_timer(CPUState *cs, Error **errp);

/*
 * Whether all vCPUs have been put in this reset or load, in whatever order.
 * In the thread of a vCPU that just has.
 */
bool kvm_riscv_vcpu_all_put(void);

/*
 * At the end of the load of a vCPU's section: whether its subsection was there.
 * Returns 0 or a negative errno, having said why.
 */
int kvm_riscv_vcpu_check_loaded(CPUState *cs);

/* Whether the hart is stopped in the sense of SBI HSM (section 9). */
bool kvm_riscv_vcpu_is_stopped(CPUState *cs);

/* Whether this kernel has a register that is carried in the list. */
bool kvm_riscv_vcpu_has_reg(uint64_t id);

/**
 * kvm_riscv_vcpu_used_regs - which of these registers are not as at reset
 * @satp_mode: gets the highest satp.MODE of any vCPU
 *
 * Of any vCPU.  With the BQL held; the guest may run.  Returns the ids, sorted,
 * or NULL with @errp set.
 */
GArray *kvm_riscv_vcpu_used_regs(uint64_t *satp_mode, Error **errp);

/**
 * kvm_riscv_vcpu_list_regs - find out which registers are to be carried
 *
 * Once more after an extension was switched off, in the vCPU's reset state.
 * Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_list_regs(CPUState *cs, Error **errp);

#endif
