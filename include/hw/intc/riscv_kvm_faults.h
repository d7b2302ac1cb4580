/*
 * Query of the faults of KVM that are worked around
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_INTC_RISCV_KVM_FAULTS_H
#define HW_INTC_RISCV_KVM_FAULTS_H

/**
 * riscv_kvm_faults_register - have the query answered
 * @describe: appends what there is to tell
 */
void riscv_kvm_faults_register(void (*describe)(GString *text));

#endif
