/*
 * The G-stage tables of guest memory, made anew
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_FAULTS_TABLES_H
#define RISCV_KVM_FAULTS_TABLES_H

#include "../compat.h"

/**
 * riscv_tables_remake - have KVM forget how it maps memory of the guest
 * @section: memory of the guest; what is not in a slot of KVM's is left alone
 * @flags: KVM_MEM_*, which the slots get besides those that they have
 *
 * The memory is removed from the guest and added again while no vCPU is in
 * KVM_RUN; each page is mapped again when the guest comes to it.  With the BQL
 * held, from a memory listener.
 */
void riscv_tables_remake(const MemoryRegionSection *section, uint32_t flags);

#endif
