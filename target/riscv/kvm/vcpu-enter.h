/*
 * Entries into the guest that are QEMU's, not the guest's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_ENTER_H
#define RISCV_KVM_VCPU_ENTER_H

/**
 * kvm_riscv_vcpu_enter_once - enter the guest on a page that does nothing
 *
 * The vCPU executes one store of ours, to an address where nothing is, with
 * interrupts off.  It is left as it was, but its interrupt file is then where
 * the kernel has it for a vCPU that runs on this CPU of the host.  With the
 * BQL held, the guest not running, from outside the vCPU's thread; the vCPU's
 * external interrupt must be evaluated again before it runs
 * (kvm_riscv_aia_put_vcpu()).
 *
 * Returns 0, -EBUSY (without an error) where the guest interrupt file that
 * hwaccel demands is not to be had, or another negative errno.
 */
int kvm_riscv_vcpu_enter_once(CPUState *cs, Error **errp);

/**
 * kvm_riscv_vcpu_put_owed - give the guest back what an entry has changed
 *
 * Where that failed after the entry: the guest must neither run nor be saved
 * before.  In the vCPU's thread, or while the machine stands.  Returns 0 or a
 * negative errno.
 */
int kvm_riscv_vcpu_put_owed(CPUState *cs, Error **errp);

/**
 * kvm_riscv_vcpu_put_software_interrupt - make a WFI see sip.SSIP as it is put
 *
 * After the registers and the MP state of a hart that is not stopped.  Returns
 * 0 or a negative errno.
 */
int kvm_riscv_vcpu_put_software_interrupt(CPUState *cs, Error **errp);

/**
 * kvm_riscv_vcpu_finish_start - have a hart that is being started begin
 *
 * When the machine stops, before registers are read: after hart_start (SBI HSM,
 * section 9.1) the vCPU takes over its start address only in KVM_RUN.  Reports
 * an error.
 */
void kvm_riscv_vcpu_finish_start(CPUState *cs);

#endif
