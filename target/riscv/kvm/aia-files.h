/*
 * The interrupt files of all harts: saved and reset together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What aia.c and aia-files.c have of each other; aia.h is for everybody else.
 */

#ifndef RISCV_KVM_AIA_FILES_H
#define RISCV_KVM_AIA_FILES_H

#include "target/riscv/kvm/aia-state.h"

/* The kernel's AIA */
extern const RISCVAIAAccess kvm_riscv_aia;

/* For the trace event of a step of save or load */
typedef struct RISCVAIACost {
    int64_t us;
    unsigned accesses;
} RISCVAIACost;

RISCVAIACost kvm_riscv_aia_begin(void);
RISCVAIACost kvm_riscv_aia_since(const RISCVAIACost *began);

/* @mode: KVM_DEV_RISCV_AIA_MODE_*, the one in force */
void kvm_riscv_aia_files_init(int mode, uint32_t num_ids);

/* Of kvm_riscv_aia; in a save it only takes a note of the hart. */
int kvm_riscv_aia_widen(void *opaque, uint32_t hart, Error **errp);

/**
 * kvm_riscv_aia_save_files - read the files of all harts
 *
 * With the BQL held, which is not released.  kvm_riscv_aia_save_imsic() takes
 * them from here.
 */
bool kvm_riscv_aia_save_files(Error **errp);

#endif
