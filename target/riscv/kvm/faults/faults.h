/*
 * Faults of kernels' KVM, and what is done about each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A file for each fault, one table of them all in faults.c.  Nothing outside
 * of this directory needs any of them on a kernel without faults.
 */

#ifndef RISCV_KVM_FAULTS_H
#define RISCV_KVM_FAULTS_H

#include "qapi/qapi-types-common.h"
#include "qom/object.h"

/* What is known of a kernel; what is not is asked again when it matters. */
typedef enum RISCVVerdict {
    RISCV_VERDICT_UNKNOWN,
    RISCV_VERDICT_GOOD,
    RISCV_VERDICT_FAULTY,
} RISCVVerdict;

/**
 * struct RISCVFault - one row of the table
 * @name: as in the accelerator's property riscv-fault-NAME, and the heading in
 *     docs/kernel-faults-*.md
 * @kernels: those that are known to have it
 * @harm: what it does to a guest
 * @found_out: by what @probe finds it
 * @remedy: what QEMU does where the kernel has it
 * @cost: of the remedy
 * @probe: finds it out, or returns RISCV_VERDICT_UNKNOWN and sets @errp; NULL
 *     where @of tells
 * @of: another fault of the same code, whose verdict and switch are this one's
 * @init: called once, before the machine has any memory or vCPU, or NULL
 * @set: the property
 * @verdict: of @probe
 * @active: the remedy is in force at the moment
 */
typedef struct RISCVFault RISCVFault;
struct RISCVFault {
    const char *name;
    const char *kernels;
    const char *harm;
    const char *found_out;
    const char *remedy;
    const char *cost;
    RISCVVerdict (*probe)(Error **errp);
    RISCVFault *of;
    void (*init)(void);
    OnOffAuto set;
    RISCVVerdict verdict;
    bool active;
};

extern RISCVFault riscv_fault_aged_pages;
extern RISCVFault riscv_fault_huge_log;
extern RISCVFault riscv_fault_kept_pages;
extern RISCVFault riscv_fault_shared_pages;
extern RISCVFault riscv_fault_split_pages;
extern RISCVFault riscv_fault_stale_csrs;

/**
 * riscv_fault_known - the verdict as far as it is known, or as it was set
 */
RISCVVerdict riscv_fault_known(const RISCVFault *fault);

/**
 * riscv_fault_verdict - the same, found out where it is not known yet
 * @errp: why it cannot be, with RISCV_VERDICT_UNKNOWN only
 *
 * In any thread, with or without the BQL.  Takes a virtual machine and some
 * entries into it, so ask only when the answer matters.
 */
RISCVVerdict riscv_fault_verdict(RISCVFault *fault, Error **errp);

/* Adds a property for each fault to the accelerator. */
void kvm_riscv_faults_class_init(ObjectClass *oc);

/* From kvm_riscv_vcpu_arch_init(): each fault sees to itself from then on. */
void kvm_riscv_faults_init(void);

#endif
