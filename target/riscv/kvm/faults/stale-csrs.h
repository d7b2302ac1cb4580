/*
 * Another vCPU on each host CPU, for a KVM that forgets which CSRs are there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_STALE_CSRS_H
#define RISCV_KVM_STALE_CSRS_H

/**
 * kvm_riscv_stale_csrs_forget - have the vCPU run with the CSRs that are put
 *
 * To be called in the thread of @cs, for each vCPU, while none of them enters
 * the guest.  Moves the thread to those of its host CPUs where none was moved
 * since kvm_riscv_stale_csrs_entered(); where that is forbidden, as by
 * -sandbox resourcecontrol=deny, it has no effect.  The first call finds out
 * whether the kernel needs it.
 */
void kvm_riscv_stale_csrs_forget(CPUState *cs);

/* To be called, with the BQL held, where a vCPU was in KVM_RUN, or will be. */
void kvm_riscv_stale_csrs_entered(void);

#endif
