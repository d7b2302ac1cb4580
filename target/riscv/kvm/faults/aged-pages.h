/*
 * Pages that age while they are logged
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_FAULTS_AGED_PAGES_H
#define RISCV_KVM_FAULTS_AGED_PAGES_H

/* Where a log begins: says once what can happen, and how that is avoided. */
void riscv_aged_pages_warn(void);

#endif
