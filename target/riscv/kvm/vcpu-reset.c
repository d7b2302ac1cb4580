/*
 * Reset of a vCPU in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "compat.h"
#if AIA_FORK
#include "faults/faults.h"
#endif
#include "vcpu.h"
#include "vcpu-config.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"
#include "vcpu-wait.h"

/* cycle, time, instret */
#define SCOUNTEREN_FIRMWARE 7

/*
 * KVM resets a vCPU whole: all that no register tells, among it both halves of
 * its interrupt file and on which CPU its CSRs may still be.
 */
static bool kernel_resets;

void kvm_riscv_vcpu_arch_init(KVMState *s)
{
    kernel_resets = kvm_vm_enable_cap(s, KVM_CAP_RISCV_MP_STATE_RESET, 0) == 0;
#if AIA_FORK
    kvm_riscv_faults_init();
#endif
}

bool kvm_riscv_vcpu_is_reset_whole(void)
{
    return kernel_resets;
}

void kvm_riscv_vcpu_reset(CPUState *cs)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    Error *err = NULL;

    /*
     * As firmware leaves it: not every kernel sets it, and without TM nothing
     * in user mode can tell the time.
     */
    RISCV_CPU(cs)->env.scounteren = SCOUNTEREN_FIRMWARE;

    /* The first reset of a CPU comes before its vCPU. */
    if (!vcpu) {
        return;
    }
    /* Else a hart that is being started would begin at its next KVM_RUN. */
    if (vcpu->ran) {
        kvm_riscv_vcpu_finish_start(cs);
    }
#if AIA_FORK
    kvm_riscv_extra_reset(cs);
#endif
    kvm_riscv_vcpu_config_reset();
    if (!kernel_resets) {
        return;
    }
    if (kvm_riscv_set_mp_state(cs, KVM_MP_STATE_INIT_RECEIVED, &err) < 0) {
        error_reportf_err(err, "reset: ");
        vm_stop(RUN_STATE_INTERNAL_ERROR);
        return;
    }
    /* What it has run is forgotten; it may go on right away. */
    vcpu->ran = runstate_is_running();
}
