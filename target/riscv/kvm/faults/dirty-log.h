/*
 * Guest memory of its own, for a KVM that writes to what the host shares
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_DIRTY_LOG_H
#define RISCV_KVM_DIRTY_LOG_H

/*
 * Has the guest run only with all its private memory for itself while dirty
 * pages are logged, where KVM needs that.  To be called once for the machine.
 */
void kvm_riscv_dirty_log_init(void);

/**
 * kvm_riscv_dirty_log_prepare - give the guest its memory ahead of the log
 *
 * Called by a migration that is about to start the log, with the BQL held,
 * which is released meanwhile where the guest runs: all its memory may take
 * long, and devices and vCPUs must not wait for it.  What is missing by the
 * start of the log is seen to then, and so is any error.
 */
void kvm_riscv_dirty_log_prepare(void);

#endif
