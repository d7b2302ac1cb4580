/*
 * What the CPU of a guest is, as KVM has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_CONFIG_H
#define RISCV_KVM_VCPU_CONFIG_H

#include <linux/kvm.h>
#include "hart-config.h"

/**
 * kvm_riscv_vcpu_config_init - find out what CPU a hart of the guest has
 * @list: of KVM_GET_REG_LIST
 *
 * From kvm_riscv_vcpu_init().  Migration is blocked where the harts differ.
 * Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_config_init(CPUState *cs, const struct kvm_reg_list *list,
                               Error **errp);

/* What a destination must have: the CPU that the guest found when it booted */
const RISCVHartConfig *kvm_riscv_vcpu_config_guest(void);

/**
 * kvm_riscv_vcpu_config_compare - whether the guest can go on on this host
 *
 * See riscv_hart_config_compare().  With the BQL held, before the guest runs.
 */
void kvm_riscv_vcpu_config_compare(const RISCVHartConfig *source, GString *all,
                                   GString *advice, GString *rest);

/* The guest whose CPU that is has come. */
void kvm_riscv_vcpu_config_loaded(const RISCVHartConfig *source);

/* The guest boots anew, and looks at its CPU again. */
void kvm_riscv_vcpu_config_reset(void);

/* The highest satp.MODE that a guest may use on this host */
uint64_t kvm_riscv_vcpu_satp_mode(void);

/*
 * Whether the kernel serves the guest's timers by the vstimecmp of Sstc, which
 * it does on each host that has it, whatever the guest was told.
 */
bool kvm_riscv_vcpu_has_sstc(void);

#endif
