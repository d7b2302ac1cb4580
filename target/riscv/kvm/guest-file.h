/*
 * Guest interrupt files for harts that have none, while the machine stands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_GUEST_FILE_H
#define RISCV_KVM_GUEST_FILE_H

#include "target/riscv/kvm/aia-state.h"

/*
 * Called for a hart while the access to its file is 64 bits wide, in another
 * thread, which does not hold the BQL; the caller, who does, waits for it.
 */
typedef bool GuestFileVisit(CPUState *cs, Error **errp);

/**
 * kvm_riscv_guest_file_lend - give each of some harts a guest interrupt file
 * @harts: CPUStates whose files are in software
 * @others: where the host has no file left, harts that have one give it up:
 *     what is in it moves into software with all its bits
 * @visit: called for each in turn, as it may lose its file to the next one;
 *     or NULL
 *
 * With the BQL held, which is not released, and no vCPU in KVM_RUN.  Threads of
 * vCPUs do nothing for it, and run where they did.
 *
 * Returns 0, -EBUSY where not all of them could be given one, or another
 * negative errno; @errp is set then.
 */
int kvm_riscv_guest_file_lend(const RISCVAIAAccess *aia, GPtrArray *harts,
                              bool others, GuestFileVisit *visit,
                              Error **errp);

#endif
