/*
 * Registers and the MP state of a vCPU: access to them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_REG_H
#define RISCV_KVM_VCPU_REG_H

#define CORE_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(name))
#define CSR_REG(name)  (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(name))

#define SBI_EXT_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                           KVM_REG_RISCV_SBI_EXT | KVM_REG_RISCV_SBI_SINGLE | \
                           KVM_RISCV_SBI_EXT_##name)

/**
 * kvm_riscv_get_reg, kvm_riscv_set_reg - KVM_GET_ONE_REG, KVM_SET_ONE_REG
 * @id: KVM_REG_*, of at most 64 bits
 * @value: a 32-bit register fills the lower half
 *
 * In the vCPU's thread, or while the machine stands.  Return 0 or a negative
 * errno, with @errp naming the register and the hart.
 */
int kvm_riscv_get_reg(CPUState *cs, uint64_t id, uint64_t *value,
                      Error **errp);
int kvm_riscv_set_reg(CPUState *cs, uint64_t id, uint64_t value, Error **errp);

/* Puts all registers of the vCPU's list; @value has one for each. */
int kvm_riscv_put_reg_list(CPUState *cs, const uint64_t *value, Error **errp);

/**
 * kvm_riscv_get_mp_state, kvm_riscv_set_mp_state - KVM_MP_STATE_*
 *
 * Likewise.
 */
int kvm_riscv_get_mp_state(CPUState *cs, uint32_t *val, Error **errp);
int kvm_riscv_set_mp_state(CPUState *cs, uint32_t val, Error **errp);

#endif
