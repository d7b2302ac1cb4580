/*
 * Calls of SBI PMU in a vCPU's stead
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * By the functions of chapter "Performance Monitoring Unit Extension" of the
 * RISC-V SBI specification, between kvm_riscv_vcpu_begin_entries() and
 * kvm_riscv_vcpu_end_entries() or each with a page of its own.  All return 0 or
 * a negative errno; -EBUSY where the hart gets no guest interrupt file.
 */

#ifndef RISCV_KVM_SBI_PMU_H
#define RISCV_KVM_SBI_PMU_H

/* The SBI has bases and masks of 64 counters. */
#define RISCV_PMU_MAX_COUNTERS 64

/**
 * struct RISCVPMUCounters - the counters, which are the same for each vCPU
 * @num: 0 where that is not known yet
 * @firmware: those that the SBI itself counts, a bit each
 */
typedef struct RISCVPMUCounters {
    unsigned num;
    uint64_t firmware;
} RISCVPMUCounters;

const RISCVPMUCounters *kvm_riscv_sbi_pmu_counters(void);

/*
 * Asks for the counters that there are, once; before all that follows.  Every
 * vCPU of a host has the same (kvm_riscv_vcpu_pmu_init()), so a virtual machine
 * of its own is asked.
 */
int kvm_riscv_sbi_pmu_learn(Error **errp);

/**
 * struct RISCVPMUUse - what a hart has in use
 * @counters: a bit each
 * @has_area: whether there is a snapshot area
 */
typedef struct RISCVPMUUse {
    uint64_t counters;
    bool has_area;
} RISCVPMUUse;

/* Looks at all @harts at once; @use has one for each. */
int kvm_riscv_sbi_pmu_look(GPtrArray *harts, RISCVPMUUse *use, Error **errp);

/*
 * Has KVM write a value into the area of each of @harts, all at once: @value
 * and those after it.  Nothing else is written that was not there.  No counter
 * is in use: one of the SBI's own is taken for it, until the second puts back
 * @first, what had been there.  The second has to be called also where the
 * first has failed.
 */
int kvm_riscv_sbi_pmu_mark(GPtrArray *harts, uint64_t value, uint64_t *first,
                           Error **errp);
int kvm_riscv_sbi_pmu_unmark(GPtrArray *harts, const uint64_t *first,
                             Error **errp);

/* @areas: guest physical addresses, one for each hart; KVM empties them. */
int kvm_riscv_sbi_pmu_set_areas(GPtrArray *harts, const uint64_t *areas,
                                Error **errp);

/* Has KVM read the areas. */
int kvm_riscv_sbi_pmu_read_areas(GPtrArray *harts, Error **errp);

/* Takes the area away, and stops and frees all counters. */
int kvm_riscv_sbi_pmu_close(CPUState *cs, Error **errp);

#endif
