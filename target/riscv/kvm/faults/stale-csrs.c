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
 * are resets and loads, but only QEMU's own entries into the guest.  Another
 * vCPU is loaded around them on the CPU where the entry is.  Where the guest
 * has run, nobody knows on which CPU that was, so it is loaded on each before;
 * and once more before the guest goes on, for the thread may have been moved.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <sys/resource.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/processor.h"
#include "qemu/thread.h"
#include "migration/misc.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "../compat.h"
#include "../vcpu.h"
#include "faults.h"
#include "probe-vm.h"
#include "stale-csrs.h"

/* How often a probe is repeated that others came in between */
#define TRIES 3

/* How often an entry is repeated whose thread was moved, on a busy host */
#define ENTRIES 20

/* CPUs of the host, more than any kernel has: it wants room for all its own */
#define MAX_CPUS        (1 << 14)
#define CPUS_SIZE       CPU_ALLOC_SIZE(MAX_CPUS)

/* Of a thread of QEMU's; 0 is the calling one */
static bool get_cpus(pid_t thread, cpu_set_t *cpus)
{
    memset(cpus, 0, CPUS_SIZE);
    return sched_getaffinity(thread, CPUS_SIZE, cpus) == 0;
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

/*
 * What two threads do, each on a CPU of its own: a vCPU of another guest that
 * is loaded on the first one in between hides the fault.  So the first thread
 * keeps its CPU busy, and knows from its context switches that it was alone.
 */
typedef struct Probe {
    ProbeVM *vm;
    int first;
    int second;
    enum { STARTING, READY, LOAD, LOADED, GONE } step;
    RISCVVerdict verdict;
} Probe;

static void *probe_second(void *opaque)
{
    Probe *probe = opaque;

    if (!move_to(probe->second)) {
        qatomic_store_release(&probe->step, GONE);
        return NULL;
    }
    qatomic_store_release(&probe->step, READY);
    while (qatomic_load_acquire(&probe->step) == READY) {
        cpu_relax();
    }
    if (qatomic_load_acquire(&probe->step) == LOAD) {
        qatomic_store_release(&probe->step,
                              probe_vm_load(probe->vm) ? LOADED : GONE);
    }
    return NULL;
}

static bool wait_while(const Probe *probe, int step)
{
    while (qatomic_load_acquire(&probe->step) == step) {
        cpu_relax();
    }
    return qatomic_load_acquire(&probe->step) != GONE;
}

static long context_switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

/* Whether a CSR is what was put, after a load on another CPU */
static RISCVVerdict keeps_csr(Probe *probe)
{
    long switches = context_switches();
    uint64_t val;

    if (!probe_vm_set_sscratch(probe->vm, 1) ||
        !probe_vm_read_sscratch(probe->vm, &val) || val != 1 ||
        !probe_vm_set_sscratch(probe->vm, 2)) {
        return RISCV_VERDICT_UNKNOWN;
    }
    qatomic_store_release(&probe->step, LOAD);
    if (!wait_while(probe, LOAD) ||
        !probe_vm_read_sscratch(probe->vm, &val)) {
        return RISCV_VERDICT_UNKNOWN;
    }
    if (val != 2) {
        return RISCV_VERDICT_FAULTY;
    }
    return context_switches() == switches ? RISCV_VERDICT_GOOD
                                          : RISCV_VERDICT_UNKNOWN;
}

static void *probe_first(void *opaque)
{
    Probe *probe = opaque;

    if (!move_to(probe->first)) {
        return NULL;
    }
    for (int i = 0; i < TRIES && probe->verdict == RISCV_VERDICT_UNKNOWN; i++) {
        QemuThread second;

        probe->step = STARTING;
        qemu_thread_create(&second, "riscv-probe-2", probe_second, probe,
                           QEMU_THREAD_JOINABLE);
        if (wait_while(probe, STARTING)) {
            probe->verdict = keeps_csr(probe);
        }
        qatomic_store_release(&probe->step, GONE);
        qemu_thread_join(&second);
    }
    return NULL;
}

/* The other vCPU, while one is needed; under the BQL */
static ProbeVM *other;
/* The CPUs where it was loaded since a vCPU of the guest was in KVM_RUN */
static cpu_set_t *loaded;
/* Harts are entered at once, and one at a time loads the other vCPU. */
static QemuMutex loading;
/* QEMU has had a hart enter the guest since that has run. */
static bool entered;
/* QEMU may not choose CPUs of the host for its threads. */
static bool forbidden;

static RISCVVerdict probe(Error **errp)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    Probe probe = { .vm = other };
    QemuThread first;

    if (!other) {
        error_setg(errp, "no second virtual machine");
        return RISCV_VERDICT_UNKNOWN;
    }
    if (!get_cpus(0, cpus)) {
        error_setg_errno(errp, errno, "the host's CPUs are not known");
        return RISCV_VERDICT_UNKNOWN;
    }
    probe.first = next_cpu(cpus, 0);
    probe.second = next_cpu(cpus, probe.first + 1);
    if (probe.second < 0) {
        error_setg(errp, "this thread may run on one CPU only");
        return RISCV_VERDICT_UNKNOWN;
    }
    qemu_thread_create(&first, "riscv-probe-1", probe_first, &probe,
                       QEMU_THREAD_JOINABLE);
    qemu_thread_join(&first);
    if (probe.verdict == RISCV_VERDICT_UNKNOWN) {
        error_setg(errp, "the vCPU of the probe is not alone on two CPUs of "
                   "the host, or may not be moved between them");
    }
    return probe.verdict;
}

/* In a thread of its own, which may be left where it is then. */
static void *try_to_bind(void *opaque)
{
    forbidden = !move_to(sched_getcpu());
    return NULL;
}

void kvm_riscv_stale_csrs_prepare(void)
{
    QemuThread thread;

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
        qemu_thread_create(&thread, "riscv-bind", try_to_bind, NULL,
                           QEMU_THREAD_JOINABLE);
        qemu_thread_join(&thread);
    }
}

void kvm_riscv_stale_csrs_entered(void)
{
    if (loaded) {
        memset(loaded, 0, CPUS_SIZE);
    }
}

typedef struct LoadOther {
    const cpu_set_t *cpus;
    int num;
} LoadOther;

/* In a thread of its own: a vCPU's CPUs are the operator's to choose. */
static void *load_other(void *opaque)
{
    LoadOther *load = opaque;
    int cpu = -1;

    while ((cpu = next_cpu(load->cpus, cpu + 1)) >= 0) {
        if (CPU_ISSET_S(cpu, CPUS_SIZE, loaded)) {
            continue;
        }
        if (!move_to(cpu)) {
            warn_report_once("KVM of this kernel can run a hart with CSRs that "
                             "it had before, and QEMU may not choose CPUs of "
                             "the host for a thread to prevent that "
                             "(riscv-fault-stale-csrs)");
        } else if (probe_vm_load(other)) {
            CPU_SET_S(cpu, CPUS_SIZE, loaded);
            load->num++;
        }
    }
    return NULL;
}

static void load_others(CPUState *cs)
{
    g_autofree cpu_set_t *cpus = g_malloc(CPUS_SIZE);
    g_autofree cpu_set_t *left = g_malloc(CPUS_SIZE);
    LoadOther load = { .cpus = cpus };
    QemuThread thread;

    if (!get_cpus(cs->thread_id, cpus)) {
        return;
    }
    riscv_fault_stale_csrs.active = true;
    CPU_AND_S(CPUS_SIZE, left, cpus, loaded);
    if (!CPU_EQUAL_S(CPUS_SIZE, left, cpus)) {
        qemu_thread_create(&thread, "riscv-load", load_other, &load,
                           QEMU_THREAD_JOINABLE);
        qemu_thread_join(&thread);
    }
    trace_kvm_riscv_stale_csrs_forget(cs->cpu_index, load.num);
}

void kvm_riscv_stale_csrs_forget(CPUState *cs)
{
    if (other) {
        QEMU_LOCK_GUARD(&loading);
        load_others(cs);
    }
}

long kvm_riscv_stale_csrs_begin(void)
{
    if (!other) {
        return 0;
    }
    WITH_QEMU_LOCK_GUARD(&loading) {
        probe_vm_load(other);
        entered = true;
    }
    return context_switches();
}

bool kvm_riscv_stale_csrs_end(long began, unsigned tries)
{
    int cpu = sched_getcpu();
    bool there = context_switches() == began;

    if (!other) {
        return true;
    }
    QEMU_LOCK_GUARD(&loading);
    riscv_fault_stale_csrs.active = true;
    began = context_switches();
    there &= probe_vm_load(other) && sched_getcpu() == cpu &&
             context_switches() == began;
    if (there) {
        return true;
    }
    kvm_riscv_stale_csrs_entered();
    /* Else it will be loaded on all of them. */
    return !forbidden || tries >= ENTRIES;
}

static void *free_other(void *opaque)
{
    probe_vm_free(opaque);
    return NULL;
}

/* The guest must not go on with the CSRs of an entry. */
static void end_entries(void)
{
    CPUState *cs;

    if (entered) {
        kvm_riscv_stale_csrs_entered();
        CPU_FOREACH(cs) {
            kvm_riscv_stale_csrs_forget(cs);
        }
    }
    entered = false;
    kvm_riscv_stale_csrs_entered();
}

void kvm_riscv_stale_csrs_release(void)
{
    QemuThread thread;

    /* Migrations keep it, and nobody waits until it has gone: that is slow. */
    if (migration_is_running()) {
        return;
    }
    end_entries();
    riscv_fault_stale_csrs.active = false;
    if (other) {
        qemu_thread_create(&thread, "riscv-end", free_other,
                           g_steal_pointer(&other), QEMU_THREAD_DETACHED);
    }
}

void kvm_riscv_stale_csrs_run(void)
{
    end_entries();
    kvm_riscv_stale_csrs_release();
}

/* What is there before the guest is stopped need not be made then. */
static int migration_event(NotifierWithReturn *notifier, MigrationEvent *event,
                           Error **errp)
{
    if (event->type != MIG_EVENT_PRECOPY_SETUP) {
        kvm_riscv_stale_csrs_release();
    } else if (kvm_riscv_vcpu_is_reset_whole()) {
        kvm_riscv_stale_csrs_prepare();
    }
    return 0;
}

static void init(void)
{
    static NotifierWithReturn notifier;

    qemu_mutex_init(&loading);
    migration_add_notifier(&notifier, migration_event);
}

RISCVFault riscv_fault_stale_csrs = {
    .name = "stale-csrs",
    .kernels = "7.2, 7.3",
    .harm = "can run a hart with CSRs that it had before they were set, if it "
            "is moved to another CPU meanwhile",
    .found_out = "a vCPU whose CSR was set is loaded on a second CPU, and "
                 "reads it on the first, where no other came in between",
    .remedy = "another vCPU is loaded, before QEMU has a hart enter the guest "
              "while the machine stands and after that",
    .cost = "a load after each such entry, at a save on each CPU where a hart "
            "may run; a second virtual machine during a migration",
    .probe = probe,
    .init = init,
};
