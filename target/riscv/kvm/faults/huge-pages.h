/*
 * No huge pages for a KVM that does wrong by them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_HUGE_PAGES_H
#define RISCV_KVM_HUGE_PAGES_H

/* To be called once, when KVM is there and before there is guest memory. */
void kvm_riscv_huge_pages_init(void);

#endif
