/*
 * Harts that get no guest interrupt file, which riscv-aia=hwaccel demands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_NO_FILE_H
#define RISCV_KVM_NO_FILE_H

/**
 * kvm_riscv_no_file_take - take note where that is why KVM_RUN has ended
 *
 * In the vCPU's thread, after each KVM_RUN.  kvm_cpu_exec() does not see it.
 */
void kvm_riscv_no_file_take(CPUState *cs);

/**
 * kvm_riscv_no_file_wait - wait, if that is how KVM_RUN has ended
 *
 * In the vCPU's thread, with the BQL held, before the next KVM_RUN.  Ends with
 * a kick, and soon in any case: whether there is a file, only KVM_RUN finds
 * out.
 */
void kvm_riscv_no_file_wait(CPUState *cs);

/**
 * struct RISCVCPUSearch - a search over the CPUs that a thread may run on
 * @next: the one to try next; 0 at first
 * @own, @num: while the thread is bound, where it may run
 */
typedef struct RISCVCPUSearch {
    int next;
    unsigned long *own;
    unsigned long num;
} RISCVCPUSearch;

/**
 * kvm_riscv_no_file_bind - bind a vCPU's thread to the next of its CPUs
 *
 * In that thread.  Returns false where there is none left, or where it must not
 * be bound (-sandbox on,resourcecontrol=deny).
 */
bool kvm_riscv_no_file_bind(CPUState *cs, RISCVCPUSearch *search);

/* Has it run where it might before; after each kvm_riscv_no_file_bind(). */
void kvm_riscv_no_file_unbind(CPUState *cs, RISCVCPUSearch *search);

#endif
