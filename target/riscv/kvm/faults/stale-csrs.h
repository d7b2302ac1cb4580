/*
 * Another vCPU on each host CPU, for a KVM that forgets which CSRs are there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_STALE_CSRS_H
#define RISCV_KVM_STALE_CSRS_H

/*
 * Finds out whether the kernel needs what follows, and gets ready for it.  The
 * others do so themselves; a destination does it before anything is loaded.
 */
void kvm_riscv_stale_csrs_prepare(void);

/**
 * kvm_riscv_stale_csrs_forget - have the vCPU run with the CSRs that are put
 *
 * To be called in the thread of @cs, for each vCPU, while none of them enters
 * the guest.  Moves the thread to those of its host CPUs where none was moved
 * since kvm_riscv_stale_csrs_entered(); where that is forbidden, as by
 * -sandbox resourcecontrol=deny, it has no effect.
 */
void kvm_riscv_stale_csrs_forget(CPUState *cs);

/* To be called, with the BQL held, where a vCPU was in KVM_RUN, or will be. */
void kvm_riscv_stale_csrs_entered(void);

/* The same where the guest goes on: frees what is not needed meanwhile. */
void kvm_riscv_stale_csrs_release(void);

#endif
