/*
 * KVM_RUN for the sake of what follows from it, without an entry into the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Some state of a vCPU follows only from KVM_RUN: which guest interrupt file it
 * has, where a hart begins that is being started.  So QEMU calls it while the
 * machine stands.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "cpu.h"
#include "sbi_ecall_interface.h"
#include "trace/trace-target_riscv_kvm.h"
#include "vcpu.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"
#include "vcpu-wait.h"
#if AIA_FORK
#include "faults/stale-csrs.h"
#include "vcpu-enter.h"
#endif

/*
 * hart_start leaves to the vCPU of the hart that it starts to take over the
 * start address, which no register shows before.  The vCPU does so in
 * KVM_RUN, unless it has left it already to stop with the machine.
 *
 * Whether that may be so: the hart has stopped itself last, or never run.
 */
static bool may_be_starting(CPUState *cs)
{
    uint64_t ra, sp, a6, a7;

    if (kvm_riscv_vcpu_is_stopped(cs) ||
        kvm_riscv_get_reg(cs, CORE_REG(regs.ra), &ra, NULL) < 0 ||
        kvm_riscv_get_reg(cs, CORE_REG(regs.sp), &sp, NULL) < 0 ||
        kvm_riscv_get_reg(cs, CORE_REG(regs.a6), &a6, NULL) < 0 ||
        kvm_riscv_get_reg(cs, CORE_REG(regs.a7), &a7, NULL) < 0) {
        return false;
    }
    return (ra == 0 && sp == 0) ||
           (a6 == SBI_EXT_HSM_HART_STOP && a7 == SBI_EXT_HSM);
}

bool kvm_riscv_kick_timer_create(clockid_t clock, timer_t *timer, Error **errp)
{
    struct sigevent kick = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = SIG_IPI,
        ._sigev_un._tid = qemu_get_thread_id(),
    };

    if (timer_create(clock, &kick, timer)) {
        error_setg_errno(errp, errno, "no timer");
        return false;
    }
    return true;
}

int kvm_riscv_vcpu_put_owed(CPUState *cs, Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

    if (vcpu->owes_mp_state) {
        int ret = kvm_riscv_set_mp_state(cs, vcpu->owed_mp_state, errp);

        if (ret < 0) {
            return ret;
        }
        vcpu->owes_mp_state = false;
    }
#if AIA_FORK
    return kvm_riscv_vcpu_put_entered(cs, errp);
#else
    return 0;
#endif
}

void kvm_riscv_vcpu_forget_owed(CPUState *cs)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

    vcpu->owes_mp_state = false;
#if AIA_FORK
    g_clear_pointer(&vcpu->extra.owed, g_free);
#endif
}

/*
 * In KVM_RUN the kernel first has a stopped hart wait, then serves requests
 * such as a start, gives it the interrupt file that it is to have on this CPU,
 * and then sees whether there is a signal, before it enters the guest.  So the
 * vCPU is made to wait, until a signal comes.  It comes too early where the
 * vCPU has not slept.
 */
int kvm_riscv_vcpu_wait_once(CPUState *cs, int64_t until, Error **errp)
{
    ERRP_GUARD();
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    struct itimerspec delay = { .it_value.tv_nsec = SCALE_MS / 4 };
    struct rusage before, after;
    uint32_t mp_state;
    timer_t timer;
    int ret;

    if (kvm_riscv_vcpu_put_owed(cs, errp) < 0 ||
        kvm_riscv_get_mp_state(cs, &mp_state, errp) < 0 ||
        !kvm_riscv_kick_timer_create(CLOCK_MONOTONIC, &timer, errp)) {
        return -EIO;
    }
    if (kvm_riscv_set_mp_state(cs, KVM_MP_STATE_STOPPED, errp) < 0) {
        timer_delete(timer);
        return -EIO;
    }
    do {
        qatomic_set(&cs->kvm_run->immediate_exit, 0);
        /* Again and again: a signal that comes before KVM_RUN is lost. */
        delay.it_interval = delay.it_value;
        timer_settime(timer, 0, &delay, NULL);
        getrusage(RUSAGE_THREAD, &before);
        ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
        getrusage(RUSAGE_THREAD, &after);
        delay.it_value.tv_nsec = MIN(delay.it_value.tv_nsec * 2,
                                     SCALE_MS * 512);
    } while (ret == -EINTR && after.ru_nvcsw == before.ru_nvcsw &&
             qemu_clock_get_us(QEMU_CLOCK_REALTIME) < until);
    timer_delete(timer);
    qatomic_set(&cs->kvm_run->immediate_exit, 0);
    if (ret == 0 && cs->kvm_run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        ret = -EBUSY;
    } else if (ret == -EINTR) {
        ret = 0;
    } else {
        error_setg(errp, "hart %d cannot wait (KVM_RUN: %d, exit reason %u)",
                   cs->cpu_index, ret, cs->kvm_run->exit_reason);
        ret = -EIO;
    }
    if (mp_state != KVM_MP_STATE_STOPPED &&
        kvm_riscv_set_mp_state(cs, mp_state, *errp ? NULL : errp) < 0) {
        vcpu->owes_mp_state = true;
        vcpu->owed_mp_state = mp_state;
        ret = -EIO;
    }
    return ret;
}

static void do_finish_start(CPUState *cs, run_on_cpu_data arg)
{
    kvm_riscv_vcpu_wait_once(cs, INT64_MAX, arg.host_ptr);
#if AIA_FORK
    kvm_riscv_stale_csrs_entered();
#endif
}

bool kvm_riscv_vcpu_finish_start(CPUState *cs)
{
    Error *err = NULL;

    if (!may_be_starting(cs)) {
        return false;
    }
    run_on_cpu(cs, do_finish_start, RUN_ON_CPU_HOST_PTR(&err));
    trace_kvm_riscv_vcpu_finish_start(cs->cpu_index, !err);
    if (err) {
        error_reportf_err(err, "hart %d may start at a wrong address: ",
                          cs->cpu_index);
    }
    return true;
}
