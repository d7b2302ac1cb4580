/*
 * Another vCPU on each host CPU, for a KVM that forgets which CSRs are there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * kvm_arch_vcpu_load() of Linux 7.2 leaves the CSRs of a host CPU alone where
 * it takes them for those of the vCPU: no other vCPU was loaded there since the
 * vCPU has last left the guest there, and none of its CSRs has been set since.
 * But a load on a second CPU already forgets that they have been set.  A vCPU
 * that is moved there and back before it enters the guest runs with what it
 * had before.  A vCPU that the kernel has reset is not concerned, so neither
 * are resets and loads, but only entries of ours into the guest: between them
 * and what the guest has, another vCPU is loaded on each CPU.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "faults.h"
#include "probe-vm.h"
#include "stale-csrs.h"

/* How often a probe is repeated, as guests of others can hide the fault */
#define TRIES 4

/* CPUs of the host, more than any kernel has: it wants room for all its own */
#define MAX_CPUS        (1 << 14)
#define CPUS_SIZE       CPU_ALLOC_SIZE(MAX_CPUS)

static bool get_cpus(cpu_set_t *cpus)
{
    memset(cpus, 0, CPUS_SIZE);
    return sched_getaffinity(0, CPUS_SIZE, cpus) == 0;
}

/* Returns the next CPU from @cpu on, or -1. */
static int next_cpu(const cpu_set_t *cpus, int cpu)
{
    while (cpu < MAX_CPUS && !CPU_ISSET_S(cpu, CPUS_SIZE, cpus)) {
        cpu++;
    }
    return cpu < MAX_CPUS ? cpu : -1;
}

static bool move_to(int cpu)
{
    g_autofree cpu_set_t *only = g_malloc0(CPUS_SIZE);

    CPU_SET_S(cpu, CPUS_SIZE, only);
    return sched_setaffinity(0, CPUS_SIZE, only) == 0;
}

/* Unless the thread was given other CPUs since it was moved to one. */
static void put_back(const cpu_set_t *cpus)
{
    g_autofree cpu_set_t *now = g_malloc0(CPUS_SIZE);

    if (get_cpus(now) && CPU_COUNT_S(CPUS_SIZE, now) == 1) {
        sched_setaffinity(0, CPUS_SIZE, cpus);
    }
}

/* Whether a CSR is what was put, after a load on another CPU */
static RISCVVerdict keeps_csr(ProbeVM *vm, int first, int second, Error **errp)
{
    uint64_t val;

    if (move_to(first) &&
        probe_vm_set_sscratch(vm, 1) &&
        probe_vm_read_sscratch(vm, &val) && val == 1 &&
        probe_vm_set_sscratch(vm, 2) &&
        move_to(second) && probe_vm_load(vm) &&
        move_to(first) &&
        probe_vm_read_sscratch(vm, &val)) {
        return val == 2 ? RISCV_VERDICT_GOOD : RISCV_VERDICT_FAULTY;
    }
    error_setg(errp, "the vCPU of the probe cannot be moved between CPUs of "
               "the host and run there");
    return RISCV_VERDICT_UNKNOWN;
}

/* The other vCPU, while one is needed */
static ProbeVM *other;
/* The CPUs where it was loaded since a vCPU of the guest was in KVM_RUN */
static cpu_set_t *loaded;

static RISCVVerdict probe(Error **errp)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    RISCVVerdict verdict = RISCV_VERDICT_UNKNOWN;
    int first, second;

    if (!other) {
        error_setg(errp, "no second virtual machine");
        return verdict;
    }
    if (!get_cpus(cpus)) {
        error_setg_errno(errp, errno, "the host's CPUs are not known");
        return verdict;
    }
    first = next_cpu(cpus, 0);
    second = next_cpu(cpus, first + 1);
    if (second < 0) {
        error_setg(errp, "this thread may run on one CPU only");
        return verdict;
    }
    for (int i = 0; i < TRIES; i++) {
        verdict = keeps_csr(other, first, second, errp);
        if (verdict != RISCV_VERDICT_GOOD) {
            break;
        }
    }
    put_back(cpus);
    return verdict;
}

void kvm_riscv_stale_csrs_prepare(void)
{
    if (other ||
        riscv_fault_known(&riscv_fault_stale_csrs) == RISCV_VERDICT_GOOD) {
        return;
    }
    /* It finds the fault out, too. */
    other = probe_vm_new(NULL);
    /* Where it is not known, the remedy costs but time. */
    if (riscv_fault_verdict(&riscv_fault_stale_csrs, NULL) ==
        RISCV_VERDICT_GOOD) {
        g_clear_pointer(&other, probe_vm_free);
    } else if (!loaded) {
        loaded = g_malloc0(CPUS_SIZE);
    }
}

void kvm_riscv_stale_csrs_entered(void)
{
    if (loaded) {
        memset(loaded, 0, CPUS_SIZE);
    }
}

void kvm_riscv_stale_csrs_release(void)
{
    kvm_riscv_stale_csrs_entered();
    g_clear_pointer(&other, probe_vm_free);
    riscv_fault_stale_csrs.active = false;
}

void kvm_riscv_stale_csrs_forget(CPUState *cs)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    int cpu = -1, num = 0;

    kvm_riscv_stale_csrs_prepare();
    if (!other || !get_cpus(cpus)) {
        return;
    }
    riscv_fault_stale_csrs.active = true;
    while ((cpu = next_cpu(cpus, cpu + 1)) >= 0) {
        if (CPU_ISSET_S(cpu, CPUS_SIZE, loaded)) {
            continue;
        }
        if (!move_to(cpu)) {
            warn_report_once("KVM of this kernel can run a hart with CSRs that "
                             "it had before, and QEMU may not move threads "
                             "between CPUs of the host to prevent that "
                             "(riscv-fault-stale-csrs)");
        } else if (probe_vm_load(other)) {
            CPU_SET_S(cpu, CPUS_SIZE, loaded);
            num++;
        }
    }
    put_back(cpus);
    trace_kvm_riscv_stale_csrs_forget(cs->cpu_index, num);
}

RISCVFault riscv_fault_stale_csrs = {
    .name = "stale-csrs",
    .kernels = "7.2, 7.3",
    .harm = "can run a hart with CSRs that it had before they were set, if it "
            "is moved to another CPU meanwhile",
    .found_out = "a vCPU whose CSR was set is loaded on a second CPU, and "
                 "reads it on the first",
    .remedy = "another vCPU is loaded on each CPU, before and after QEMU has a "
              "hart enter the guest while the machine stands",
    .cost = "a load on each CPU where a hart may run, for such an entry",
    .probe = probe,
};
