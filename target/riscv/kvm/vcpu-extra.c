/*
 * What a vCPU has that no register shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "system/runstate.h"
#include "cpu.h"
#include "faults/stale-csrs.h"
#include "no-file.h"
#include "system-event.h"
#include "vcpu.h"
#include "vcpu-enter.h"
#include "vcpu-extra.h"
#include "vcpu-pmu.h"
#include "vcpu-state.h"

const VMStateDescription *const vmstate_kvm_riscv_extra[] = {
    &vmstate_kvm_riscv_system_event,
    &vmstate_kvm_riscv_pmu,
    NULL
};

static RISCVVCPUExtra *get_extra(CPUState *cs)
{
    return &RISCV_CPU(cs)->kvm_vcpu->extra;
}

void kvm_riscv_extra_wait(CPUState *cs)
{
    kvm_riscv_no_file_wait(cs);
}

void kvm_riscv_extra_enter(CPUState *cs)
{
    kvm_riscv_system_event_serve(cs);
}

void kvm_riscv_extra_leave(CPUState *cs)
{
    kvm_riscv_no_file_take(cs);
    kvm_riscv_system_event_take(cs);
}

void kvm_riscv_extra_init(CPUState *cs)
{
    kvm_riscv_pmu_init(cs);
    if (!cs->cpu_index && kvm_riscv_vcpu_is_reset_whole() &&
        runstate_check(RUN_STATE_INMIGRATE)) {
        kvm_riscv_stale_csrs_prepare();
    }
}

void kvm_riscv_extra_reset(CPUState *cs)
{
    get_extra(cs)->system_event = 0;
    kvm_riscv_pmu_reset(cs);
}

void kvm_riscv_extra_was_reset(CPUState *cs)
{
    if (kvm_riscv_vcpu_all_put()) {
        kvm_riscv_pmu_was_reset();
    }
}

void kvm_riscv_extra_run(CPUState *cs)
{
    kvm_riscv_pmu_forget(cs);
    kvm_riscv_vcpu_drop_pages();
    kvm_riscv_stale_csrs_run();
}

bool kvm_riscv_extra_pre_save(CPUState *cs, Error **errp)
{
    RISCVVCPUExtra *extra = get_extra(cs);

    if (!kvm_riscv_pmu_ask(errp)) {
        return false;
    }
    extra->stream_system_event = extra->system_event;
    kvm_riscv_pmu_pre_save(cs);
    return true;
}

/* The subsections are only there where there is something to tell. */
void kvm_riscv_extra_pre_load(CPUState *cs)
{
    get_extra(cs)->stream_system_event = 0;
    kvm_riscv_pmu_pre_load(cs);
}

bool kvm_riscv_extra_check(CPUState *cs, Error **errp)
{
    return kvm_riscv_system_event_check(get_extra(cs)->stream_system_event,
                                        cs->cpu_index, errp);
}

void kvm_riscv_extra_take(CPUState *cs)
{
    RISCVVCPUExtra *extra = get_extra(cs);

    extra->system_event = extra->stream_system_event;
    extra->pmu.area = extra->pmu.stream_area;
    extra->pmu.told = extra->pmu.stream_num;
    extra->pmu.to_put = extra->pmu.stream_num;
}

int kvm_riscv_extra_put(CPUState *cs, Error **errp)
{
    int ret = kvm_riscv_pmu_put(errp);

    if (ret || RISCV_CPU(cs)->kvm_vcpu->mp_state != KVM_MP_STATE_RUNNABLE) {
        return ret;
    }
    return kvm_riscv_vcpu_put_software_interrupt(cs, errp);
}
