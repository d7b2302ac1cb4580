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

/* Asks for the counters that there are, once; before all that follows. */
int kvm_riscv_sbi_pmu_learn(CPUState *cs, Error **errp);

/* Which counters are in use, a bit each, and whether there is an area */
int kvm_riscv_sbi_pmu_look(CPUState *cs, uint64_t *in_use, bool *has_area,
                           Error **errp);

/*
 * Has KVM write @value into the area, and nothing else that was not there.
 * No counter is in use: one of the SBI's own is taken for it, until the second
 * puts back @first, what had been there.
 */
int kvm_riscv_sbi_pmu_mark(CPUState *cs, uint64_t value, uint64_t *first,
                           Error **errp);
int kvm_riscv_sbi_pmu_unmark(CPUState *cs, uint64_t first, Error **errp);

/* @area: a guest physical address, or RISCV_PMU_NO_AREA; KVM empties it. */
int kvm_riscv_sbi_pmu_set_area(CPUState *cs, uint64_t area, Error **errp);

/* Has KVM read the area. */
int kvm_riscv_sbi_pmu_read_area(CPUState *cs, Error **errp);

/* Takes the area away, and stops and frees all counters. */
int kvm_riscv_sbi_pmu_close(CPUState *cs, Error **errp);

#endif
