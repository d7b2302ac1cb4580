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

#endif
