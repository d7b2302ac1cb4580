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
 * had before a load or a reset.  So another vCPU is loaded on each CPU after
 * the CSRs have been put.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <linux/kvm.h>

#include "cpu.h"
#include "trace.h"
#include "probe-vm.h"
#include "stale-csrs.h"

/* How often a probe is repeated, as guests of others can hide the fault */
#define TRIES 4

/* The CPUs that the thread may run on */
typedef struct CPUs {
    cpu_set_t *set;
    size_t size;
    int num;
} CPUs;

static bool get_cpus(CPUs *cpus)
{
    bool ok;

    /* More than any kernel has; the kernel wants room for all its own. */
    cpus->num = 1 << 14;
    cpus->size = CPU_ALLOC_SIZE(cpus->num);
    cpus->set = CPU_ALLOC(cpus->num);
    CPU_ZERO_S(cpus->size, cpus->set);
    ok = sched_getaffinity(0, cpus->size, cpus->set) == 0;
    if (!ok) {
        CPU_FREE(cpus->set);
    }
    return ok;
}

/* Returns the next CPU from @cpu on, or -1. */
static int next_cpu(const CPUs *cpus, int cpu)
{
    while (cpu < cpus->num && !CPU_ISSET_S(cpu, cpus->size, cpus->set)) {
        cpu++;
    }
    return cpu < cpus->num ? cpu : -1;
}

static bool move_to(const CPUs *cpus, int cpu)
{
    cpu_set_t *set = CPU_ALLOC(cpus->num);
    bool ok;

    CPU_ZERO_S(cpus->size, set);
    CPU_SET_S(cpu, cpus->size, set);
    ok = sched_setaffinity(0, cpus->size, set) == 0;
    CPU_FREE(set);
    return ok;
}

static void put_back(CPUs *cpus)
{
    sched_setaffinity(0, cpus->size, cpus->set);
    CPU_FREE(cpus->set);
}

/* Whether a CSR is what was put, after a load on another CPU */
static bool keeps_csr(ProbeVM *vm, const CPUs *cpus, int first, int second)
{
    uint64_t val;

    return move_to(cpus, first) &&
           probe_vm_set_sscratch(vm, 1) &&
           probe_vm_read_sscratch(vm, &val) && val == 1 &&
           probe_vm_set_sscratch(vm, 2) &&
           move_to(cpus, second) && probe_vm_load(vm) &&
           move_to(cpus, first) &&
           probe_vm_read_sscratch(vm, &val) && val == 2;
}

/* What cannot be found out is taken for no. */
static bool probe(ProbeVM *vm)
{
    CPUs cpus;
    int first, second;
    bool good;

    if (!vm || !get_cpus(&cpus)) {
        return false;
    }
    first = next_cpu(&cpus, 0);
    second = next_cpu(&cpus, first + 1);
    good = second >= 0;
    for (int i = 0; i < TRIES && good; i++) {
        good = keeps_csr(vm, &cpus, first, second);
    }
    put_back(&cpus);
    return good;
}

/* The other vCPU, if one is needed; ioctls on it wait for one another. */
static ProbeVM *other;

void kvm_riscv_stale_csrs_init(void)
{
    bool good;

    other = probe_vm_new();
    good = probe(other);
    trace_kvm_riscv_stale_csrs_init(good);
    if (good) {
        probe_vm_free(other);
        other = NULL;
    }
}

void kvm_riscv_stale_csrs_forget(CPUState *cs)
{
    CPUs cpus;
    int cpu = -1, loaded = 0;

    if (!other || !get_cpus(&cpus)) {
        return;
    }
    while ((cpu = next_cpu(&cpus, cpu + 1)) >= 0) {
        loaded += move_to(&cpus, cpu) && probe_vm_load(other);
    }
    put_back(&cpus);
    trace_kvm_riscv_stale_csrs_forget(cs->cpu_index, loaded);
}
