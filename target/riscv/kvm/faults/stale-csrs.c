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

#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
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
static bool keeps_csr(ProbeVM *vm, int first, int second)
{
    uint64_t val;

    return move_to(first) &&
           probe_vm_set_sscratch(vm, 1) &&
           probe_vm_read_sscratch(vm, &val) && val == 1 &&
           probe_vm_set_sscratch(vm, 2) &&
           move_to(second) && probe_vm_load(vm) &&
           move_to(first) &&
           probe_vm_read_sscratch(vm, &val) && val == 2;
}

/* What cannot be found out is taken for no. */
static bool probe(ProbeVM *vm)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    int first, second;
    bool good;

    if (!vm || !get_cpus(cpus)) {
        return false;
    }
    first = next_cpu(cpus, 0);
    second = next_cpu(cpus, first + 1);
    good = second >= 0;
    for (int i = 0; i < TRIES && good; i++) {
        good = keeps_csr(vm, first, second);
    }
    put_back(cpus);
    return good;
}

static bool known, faulty;
/* The other vCPU, while one is needed */
static ProbeVM *other;
/* The CPUs where it was loaded since a vCPU of the guest was in KVM_RUN */
static cpu_set_t *loaded;

void kvm_riscv_stale_csrs_prepare(void)
{
    if (other || (known && !faulty)) {
        return;
    }
    other = probe_vm_new(NULL);
    if (!known) {
        faulty = !probe(other);
        known = true;
        trace_kvm_riscv_stale_csrs_init(!faulty);
    }
    if (!faulty) {
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
}

void kvm_riscv_stale_csrs_forget(CPUState *cs)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    int cpu = -1, num = 0;

    kvm_riscv_stale_csrs_prepare();
    if (!other || !get_cpus(cpus)) {
        return;
    }
    while ((cpu = next_cpu(cpus, cpu + 1)) >= 0) {
        if (!CPU_ISSET_S(cpu, CPUS_SIZE, loaded) && move_to(cpu) &&
            probe_vm_load(other)) {
            CPU_SET_S(cpu, CPUS_SIZE, loaded);
            num++;
        }
    }
    put_back(cpus);
    trace_kvm_riscv_stale_csrs_forget(cs->cpu_index, num);
}
