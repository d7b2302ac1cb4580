/*
 * Performance counters of a vCPU (SBI PMU), which no register shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_PMU_H
#define RISCV_KVM_VCPU_PMU_H

#include "migration/vmstate.h"

/* Subsection of vmstate_kvm_riscv_vcpu; the opaque is the RISCVCPU. */
extern const VMStateDescription vmstate_kvm_riscv_pmu;

/* No snapshot area; also what the SBI takes for none */
#define RISCV_PMU_NO_AREA UINT64_MAX

/*
 * Before the source stops, on both sides: has what can be known by then out of
 * the downtime.
 */
void kvm_riscv_pmu_prepare(void);

/**
 * kvm_riscv_pmu_ask - ask all vCPUs for counters in use and snapshot areas
 *
 * Before the first section is saved, and once for each time that the machine
 * stands: this waits for the vCPUs' threads.  Returns false where a counter is
 * in use, which cannot be saved.
 */
bool kvm_riscv_pmu_ask(Error **errp);

/* A new vCPU has nothing. */
void kvm_riscv_pmu_init(CPUState *cs);

/* The guest runs: what was asked is no more true. */
void kvm_riscv_pmu_forget(CPUState *cs);

/*
 * Closes counters and takes the snapshot area away where the guest has run.
 * Before KVM resets the vCPU.
 */
void kvm_riscv_pmu_reset(CPUState *cs);

/* The machine has been reset: all vCPUs have got their registers. */
void kvm_riscv_pmu_was_reset(void);

/* Before the subsection is written, and before a stream may have it */
void kvm_riscv_pmu_pre_save(CPUState *cs);
void kvm_riscv_pmu_pre_load(CPUState *cs);

/**
 * kvm_riscv_pmu_put - give all vCPUs the snapshot areas that were loaded
 *
 * To all at once, in the thread of the first that is put after a load, with all
 * that the stream has loaded, the guest's memory among it: to those that are
 * not stopped, where they have the same counters as on the source.  Others may
 * get their registers later.  Returns 0 or a negative errno.
 */
int kvm_riscv_pmu_put(Error **errp);

#endif
