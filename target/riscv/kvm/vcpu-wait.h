/*
 * KVM_RUN for the sake of what follows from it, without an entry into the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_WAIT_H
#define RISCV_KVM_VCPU_WAIT_H

/*
 * A timer that kicks the calling thread, which has a vCPU, out of KVM_RUN; the
 * caller sets and deletes it.
 */
bool kvm_riscv_kick_timer_create(clockid_t clock, timer_t *timer, Error **errp);

/**
 * kvm_riscv_vcpu_wait_once - KVM_RUN, which does not enter the guest
 * @until: when to give up, of QEMU_CLOCK_REALTIME in us
 *
 * The hart is stopped meanwhile, in the sense of SBI HSM, and then what it was
 * before.  If it is being started, it begins; its interrupt file is where the
 * kernel has it for a vCPU that runs on this CPU of the host.  The machine
 * stands.  In the thread of the vCPU, or in one that has taken it over while
 * the former does not do anything with it.
 *
 * Returns 0, -EBUSY (without an error) where the guest interrupt file that
 * hwaccel demands is not to be had, or another negative errno.
 */
int kvm_riscv_vcpu_wait_once(CPUState *cs, int64_t until, Error **errp);

/**
 * kvm_riscv_vcpu_put_owed - give the guest back what could not be put back
 *
 * The guest must neither run nor be saved before.  In the vCPU's thread, or
 * while the machine stands.  Returns 0 or a negative errno.
 */
int kvm_riscv_vcpu_put_owed(CPUState *cs, Error **errp);

/* All of it is put anew. */
void kvm_riscv_vcpu_forget_owed(CPUState *cs);

/**
 * kvm_riscv_vcpu_finish_start - have a hart that is being started begin
 *
 * When the machine stops, before registers are read, and at a reset, which
 * clears no start that is still to come: after hart_start (SBI HSM, section
 * 9.1) the vCPU takes over its start address only in KVM_RUN.  Reports an
 * error.
 *
 * Returns whether registers may have changed in the kernel.
 */
bool kvm_riscv_vcpu_finish_start(CPUState *cs);

#endif
