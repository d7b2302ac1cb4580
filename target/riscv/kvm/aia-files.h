/*
 * The interrupt files of all harts: saved, loaded and reset together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_AIA_FILES_H
#define RISCV_KVM_AIA_FILES_H

#include "target/riscv/kvm/aia.h"

/* Of RISCVAIAAccess; in a save it only takes a note of the hart. */
int kvm_riscv_aia_widen(void *opaque, uint32_t hart, Error **errp);

/**
 * kvm_riscv_aia_place_files - get harts their hardware files, if any are free
 *
 * On a destination, before there is anything in a file: so none has to be lent
 * when the guest stands.  With the BQL held, which is released meanwhile.
 */
bool kvm_riscv_aia_place_files(Error **errp);

/**
 * kvm_riscv_aia_save_files - read the files of all harts
 *
 * With the BQL held, which is not released.
 */
bool kvm_riscv_aia_save_files(RISCVAIAKVMState *s, Error **errp);

/* Gives what that has read of a hart's; where it has not, it does so first. */
bool kvm_riscv_aia_take_file(RISCVAIAKVMState *s, uint32_t hartid,
                             RISCVIMSICRegs *regs, Error **errp);

/**
 * kvm_riscv_aia_load_file - write a hart's file, from its section
 * @regs: to be kept until the files of all harts have come
 *
 * The file of a hart that needs a hardware one for it is written when those of
 * all harts have come, together with the others of them.
 */
bool kvm_riscv_aia_load_file(RISCVAIAKVMState *s, uint32_t hartid,
                             const RISCVIMSICRegs *regs, Error **errp);

/**
 * kvm_riscv_aia_reset_files - reset upper halves that access does not reach
 * @hartid: of the file that is about to be reset
 *
 * For kernels that do not reset a vCPU whole: the files of all harts that have
 * run, at the first of them.
 */
bool kvm_riscv_aia_reset_files(RISCVAIAKVMState *s, uint32_t hartid,
                               Error **errp);

/**
 * kvm_riscv_aia_waits_for_file - whether hwaccel keeps a hart from running
 *
 * Since it was reset, for it gives no file away.  With the guest not running.
 */
bool kvm_riscv_aia_waits_for_file(CPUState *cs);

#endif
