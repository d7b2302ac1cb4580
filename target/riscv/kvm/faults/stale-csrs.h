/*
 * Another vCPU on each host CPU, for a KVM that forgets which CSRs are there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_STALE_CSRS_H
#define RISCV_KVM_STALE_CSRS_H

/*
 * Finds out whether the kernel needs what follows, and gets ready for it; to be
 * called first.  A destination does it before anything is loaded, too.
 */
void kvm_riscv_stale_csrs_prepare(void);

/**
 * kvm_riscv_stale_csrs_forget - have QEMU's entry begin with the CSRs put
 *
 * To be called in the thread of @cs, where the guest has run since a reset,
 * before an entry of QEMU's own.  Loads another vCPU on those of the thread's
 * host CPUs where none was since kvm_riscv_stale_csrs_entered(); where a
 * thread may not be bound to a CPU, as with -sandbox resourcecontrol=deny, it
 * has no effect, and QEMU warns of that once.
 */
void kvm_riscv_stale_csrs_forget(CPUState *cs);

/**
 * kvm_riscv_stale_csrs_begin, kvm_riscv_stale_csrs_end - an entry of QEMU's own
 * @began: what kvm_riscv_stale_csrs_begin() has returned
 * @tries: how often the entry was made before
 *
 * To be called in the thread that makes the entry, right before and after.
 * Both load another vCPU on this CPU, so that the entry is not made with the
 * CSRs of the guest, and the guest does not go on with those of the entry.  The
 * end returns false where the thread may have left the CPU of the entry
 * meanwhile, and QEMU may not bind another to it: then the entry has to be made
 * again.
 */
long kvm_riscv_stale_csrs_begin(void);
bool kvm_riscv_stale_csrs_end(long began, unsigned tries);

/* To be called, with the BQL held, where a vCPU was in KVM_RUN, or will be. */
void kvm_riscv_stale_csrs_entered(void);

/*
 * Where the guest may go on: another vCPU is loaded on all CPUs of its threads
 * if there were entries, and what is not needed meanwhile is freed.  A
 * migration leaves both to kvm_riscv_stale_csrs_run(), for it may not go on.
 */
void kvm_riscv_stale_csrs_release(void);
void kvm_riscv_stale_csrs_run(void);

#endif
