/*
 * Harts that get no guest interrupt file, which riscv-aia=hwaccel demands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A host CPU has a few files, for the harts of all guests that run on it.  A
 * hart that gets none there cannot enter the guest.  It is put on one after
 * another of the CPUs on which it may run; where none of them has a file, it
 * waits, and tries again every now and then.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/qapi-events-riscv-kvm.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "exec/cpu-common.h"
#include "system/kvm.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "no-file.h"
#include "vcpu-state.h"

#define RETRY_MS    100
/* Having run so long without a failure, the next one is told anew. */
#define OVER_MS     10000

/* RISC-V knows KVM_EXIT_FAIL_ENTRY for this reason alone. */
void kvm_riscv_no_file_take(CPUState *cs)
{
    struct kvm_run *run = cs->kvm_run;

    if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        RISCV_CPU(cs)->kvm_vcpu->extra.no_file.failed = true;
        /* An exit for which kvm_cpu_exec() returns, and does nothing else */
        run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
    }
}

bool kvm_riscv_no_file_bind(CPUState *cs, RISCVCPUSearch *search)
{
    g_autofree unsigned long *own = NULL, *one = NULL;

    if (qemu_thread_get_affinity(cs->thread, &own, &search->num)) {
        return false;
    }
    search->next = find_next_bit(own, search->num, search->next);
    if (search->next >= search->num) {
        return false;
    }
    one = bitmap_new(search->num);
    set_bit(search->next++, one);
    if (qemu_thread_set_affinity(cs->thread, one, search->num)) {
        return false;
    }
    search->own = g_steal_pointer(&own);
    return true;
}

void kvm_riscv_no_file_unbind(CPUState *cs, RISCVCPUSearch *search)
{
    qemu_thread_set_affinity(cs->thread, search->own, search->num);
    g_clear_pointer(&search->own, g_free);
}

/* Puts the thread on the next of its CPUs, if it has one that is new. */
static bool move_on(CPUState *cs, RISCVNoFile *no_file)
{
    RISCVCPUSearch search = { .next = no_file->next_cpu };
    bool moved = kvm_riscv_no_file_bind(cs, &search);

    no_file->next_cpu = moved ? search.next : 0;
    if (moved) {
        kvm_riscv_no_file_unbind(cs, &search);
    }
    return moved;
}

void kvm_riscv_no_file_wait(CPUState *cs)
{
    RISCVNoFile *no_file = &RISCV_CPU(cs)->kvm_vcpu->extra.no_file;
    int64_t now;

    if (!no_file->failed) {
        return;
    }
    no_file->failed = false;
    now = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL);
    if (now - no_file->last_ms > OVER_MS) {
        no_file->told = false;
        no_file->next_cpu = 0;
    }
    if (!move_on(cs, no_file)) {
        if (!no_file->told) {
            no_file->told = true;
            warn_report("hart %d waits until CPU %u of the host, or another "
                        "one where it may run, has an IMSIC guest interrupt "
                        "file left for it (riscv-aia=hwaccel)",
                        cs->cpu_index, cs->kvm_run->fail_entry.cpu);
            qapi_event_send_riscv_guest_file_wait(
                cs->cpu_index, cs->kvm_run->fail_entry.cpu);
        }
        trace_kvm_riscv_no_file_wait(cs->cpu_index);
        qemu_cond_timedwait_bql(cs->halt_cond, RETRY_MS);
    }
    no_file->last_ms = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL);
}
