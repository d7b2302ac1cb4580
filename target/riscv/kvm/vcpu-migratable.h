/*
 * What a vCPU is not offered, since it cannot be migrated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_MIGRATABLE_H
#define RISCV_KVM_VCPU_MIGRATABLE_H

/**
 * kvm_riscv_vcpu_leave_out - leave out what cannot be migrated
 *
 * From kvm_riscv_vcpu_init(), before the registers of the vCPU are listed and
 * before it first runs.  With migratable=on; with migratable=off, or where the
 * kernel insists on offering it, blocks migration instead.
 *
 * Returns 0, or a negative errno with @errp set where QEMU was told to allow
 * no blocker (-only-migratable).
 */
int kvm_riscv_vcpu_leave_out(CPUState *cs, Error **errp);

#endif
