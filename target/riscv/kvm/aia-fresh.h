/*
 * What of an in-kernel AIA is known to be as a reset left it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Of what is fresh a load writes only what differs.  It is known, never
 * assumed: a reset has written it (riscv_aplic_regs_reset() and
 * riscv_imsic_regs_reset()), and nothing has been there since that could have
 * changed it.  A file that has been used once is never taken for fresh again:
 * access that is 32 bits wide could not reset all of it.
 */

#ifndef RISCV_KVM_AIA_FRESH_H
#define RISCV_KVM_AIA_FRESH_H

#include "qemu/bitmap.h"

/* The most that APLIC registers can name (AIA specification, section 4.5.16) */
#define AIA_MAX_HARTS 16384

/**
 * struct RISCVAIAFresh - what is known; zeroed: nothing is
 *
 * @aplic_reset: a reset has written the APLIC, and nothing may have changed it
 * @file_reset: a reset has written a file; by KVM vCPU id
 * @file_used: something may have changed it, ever
 * @files_used: likewise any file
 */
typedef struct RISCVAIAFresh {
    bool aplic_reset;
    bool files_used;
    DECLARE_BITMAP(file_reset, AIA_MAX_HARTS);
    DECLARE_BITMAP(file_used, AIA_MAX_HARTS);
} RISCVAIAFresh;

/*
 * Whether it is known.  An APLIC that is fresh holds zeros only, and is off;
 * its wires are where they were driven.  A file that is fresh holds zeros only.
 */
bool riscv_aia_aplic_is_fresh(const RISCVAIAFresh *fresh);
bool riscv_aia_file_is_fresh(const RISCVAIAFresh *fresh, uint32_t hart);

/* A reset has written all of it.  For aia-state.c. */
void riscv_aia_aplic_was_reset(RISCVAIAFresh *fresh);
void riscv_aia_file_was_reset(RISCVAIAFresh *fresh, uint32_t hart);

/*
 * To be called before anything that may change it, with the BQL held: the guest
 * runs; a load or a reset that may fail.
 */
void riscv_aia_use(RISCVAIAFresh *fresh);
void riscv_aia_use_aplic(RISCVAIAFresh *fresh);
void riscv_aia_use_files(RISCVAIAFresh *fresh);
void riscv_aia_use_file(RISCVAIAFresh *fresh, uint32_t hart);

/*
 * Likewise before a wire is driven, by who remembers its level.  A fresh APLIC
 * stays so: it takes note of the wires of inactive sources, no more
 * (docs/kernel-facts.md).  Any other one may send an MSI to any file.
 */
void riscv_aia_use_wire(RISCVAIAFresh *fresh);

#endif
