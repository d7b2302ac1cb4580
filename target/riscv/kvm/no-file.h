/*
 * Harts that get no guest interrupt file, which riscv-aia=hwaccel demands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_NO_FILE_H
#define RISCV_KVM_NO_FILE_H

/**
 * kvm_riscv_no_file_fail_entry - for KVM_EXIT_FAIL_ENTRY
 *
 * RISC-V knows it for this reason alone.  Returns what kvm_arch_handle_exit()
 * is to return.
 */
int kvm_riscv_no_file_fail_entry(CPUState *cs);

/**
 * kvm_riscv_no_file_wait - wait, if that is how KVM_RUN has ended
 *
 * In the vCPU's thread, with the BQL held, before the next KVM_RUN.  Ends with
 * a kick, and soon in any case: whether there is a file, only KVM_RUN finds
 * out.
 */
void kvm_riscv_no_file_wait(CPUState *cs);

#endif
