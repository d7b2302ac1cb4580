/*
 * What "info pic" says of a RISC-V AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_INTC_RISCV_AIA_INFO_H
#define HW_INTC_RISCV_AIA_INFO_H

#include "hw/intc/riscv_aplic.h"
#include "target/riscv/kvm/aia-state.h"

/* A line for the domain, one for each source that is in use. */
void riscv_aplic_regs_print(const RISCVAPLICRegs *regs, GString *buf);

/* The same of an emulated APLIC, as with kernel-irqchip=split. */
void riscv_aplic_print(RISCVAPLICState *aplic, GString *buf);

/**
 * riscv_imsic_regs_print - lines for one hart
 * @whole: @regs has what is in upper halves (see riscv_imsic_regs_peek())
 */
void riscv_imsic_regs_print(const RISCVIMSICRegs *regs, uint32_t hart,
                            bool whole, GString *buf);

#endif
