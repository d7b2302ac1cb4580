/*
 * The AIA device of the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_AIA_H
#define RISCV_KVM_AIA_H

#include "target/riscv/kvm/aia-state.h"

/**
 * kvm_riscv_aia_created - take over an initialised AIA device
 * @fd: of the KVM_DEV_TYPE_RISCV_AIA device, after KVM_DEV_RISCV_AIA_CTRL_INIT
 * @mode: KVM_DEV_RISCV_AIA_MODE_*, the one in force
 *
 * Called once, by kvm_riscv_aia_create().  Blocks migration where the kernel
 * does not offer its state.
 */
void kvm_riscv_aia_created(int fd, int mode);

/**
 * kvm_riscv_aia_drive - a device drives the wire of an APLIC source
 * @irq: source, 1 to the number of sources
 *
 * With the BQL held.
 */
void kvm_riscv_aia_drive(int irq, int level);

/* The guest is about to run: nothing is known to be as at reset any more. */
void kvm_riscv_aia_run(void);

/*
 * The steps of save and load, in the order of docs/architecture.md, and of
 * reset.  With the BQL held and no vCPU in KVM_RUN: from 7.0 on the kernel
 * takes the mutex of the vCPU for its IMSIC attributes.
 */
bool kvm_riscv_aia_save_aplic(RISCVAPLICRegs *regs, Error **errp);
bool kvm_riscv_aia_load_aplic(const RISCVAPLICRegs *regs, Error **errp);
bool kvm_riscv_aia_reset_aplic(RISCVAPLICRegs *regs, Error **errp);
bool kvm_riscv_aia_save_imsic(uint32_t hartid, RISCVIMSICRegs *regs,
                              Error **errp);
bool kvm_riscv_aia_load_imsic(uint32_t hartid, const RISCVIMSICRegs *regs,
                              Error **errp);
bool kvm_riscv_aia_reset_imsic(uint32_t hartid, RISCVIMSICRegs *regs,
                               Error **errp);

/* Reads the APLIC for people to look at.  The guest may run; hold the BQL. */
bool kvm_riscv_aia_peek_aplic(RISCVAPLICRegs *regs, Error **errp);

/**
 * kvm_riscv_aia_peek_imsic - read the file of a hart for people to look at
 * @whole: as of riscv_imsic_regs_peek()
 *
 * With the BQL held; the guest may run.
 */
bool kvm_riscv_aia_peek_imsic(uint32_t hartid, RISCVIMSICRegs *regs,
                              bool *whole, Error **errp);

/**
 * kvm_riscv_aia_waits_for_file - whether hwaccel keeps a hart from running
 *
 * Since it was reset, for it gives no file away.  With the guest not running.
 */
bool kvm_riscv_aia_waits_for_file(CPUState *cs);

/**
 * kvm_riscv_aia_put_vcpu - the AIA's part after a vCPU's registers were put
 * @level: as of kvm_arch_put_registers()
 *
 * In the thread of @cs.  After the last vCPU of a load this sees whether
 * everything was in the stream, and turns the APLIC on.  Returns 0 or a
 * negative errno.
 */
int kvm_riscv_aia_put_vcpu(CPUState *cs, int level, Error **errp);

#endif
