/*
 * KVM variants of the RISC-V AIA devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_INTC_RISCV_AIA_KVM_H
#define HW_INTC_RISCV_AIA_KVM_H

#include "system/kvm.h"
#include "migration/vmstate.h"
#include "hw/intc/riscv_aplic.h"
#include "hw/intc/riscv_imsic.h"

#define TYPE_RISCV_APLIC_KVM "riscv.aplic-kvm"
#define TYPE_RISCV_IMSIC_KVM "riscv.imsic-kvm"

/*
 * Loaded before everything else, the APLIC before the IMSICs; the order is
 * told in target/riscv/kvm/aia.c.  No machine has both AIA and GIC.
 */
#define MIG_PRI_RISCV_APLIC MIG_PRI_GICV3
#define MIG_PRI_RISCV_IMSIC MIG_PRI_GICV3_ITS

/* The type of an APLIC: the kernel's one delivers MSIs only. */
static inline const char *riscv_aplic_class_name(bool msimode)
{
    return riscv_use_emulated_aplic(msimode) ? TYPE_RISCV_APLIC
                                             : TYPE_RISCV_APLIC_KVM;
}

/* The type of an IMSIC: with KVM in the kernel, also for a split irqchip. */
static inline const char *riscv_imsic_class_name(void)
{
    return kvm_irqchip_in_kernel() ? TYPE_RISCV_IMSIC_KVM : TYPE_RISCV_IMSIC;
}

#endif
