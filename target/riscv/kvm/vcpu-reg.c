/*
 * Registers and the MP state of a vCPU: access to them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "system/kvm.h"
#include "cpu.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"

int kvm_riscv_get_reg(CPUState *cs, uint64_t id, uint64_t *value, Error **errp)
{
    int ret;

    /* A 32-bit register fills the lower half. */
    *value = 0;
    ret = kvm_get_one_reg(cs, id, value);
    if (ret < 0) {
        riscv_reg_error(errp, id, cs->cpu_index, "cannot be read: %s",
                        strerror(-ret));
    }
    return ret;
}

int kvm_riscv_set_reg(CPUState *cs, uint64_t id, uint64_t value, Error **errp)
{
    int ret = kvm_set_one_reg(cs, id, &value);

    if (ret < 0) {
        riscv_reg_error(errp, id, cs->cpu_index, "cannot be set to 0x%" PRIx64
                        ": %s", value, strerror(-ret));
    }
    return ret;
}

int kvm_riscv_set_mp_state(CPUState *cs, uint32_t val, Error **errp)
{
    struct kvm_mp_state mp_state = { .mp_state = val };
    int ret = kvm_vcpu_ioctl(cs, KVM_SET_MP_STATE, &mp_state);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "MP state of hart %d cannot be set "
                         "to %u", cs->cpu_index, val);
    }
    return ret;
}

int kvm_riscv_get_mp_state(CPUState *cs, uint32_t *val, Error **errp)
{
    struct kvm_mp_state mp_state;
    int ret = kvm_vcpu_ioctl(cs, KVM_GET_MP_STATE, &mp_state);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "MP state of hart %d cannot be read",
                         cs->cpu_index);
        return ret;
    }
    *val = mp_state.mp_state;
    return 0;
}

/*
 * Linux 7.2 switches SBI STA off where shmem_hi is set, so that
 * has to come before shmem_lo: the last register is put first.
 */
int kvm_riscv_put_reg_list(CPUState *cs, const uint64_t *value, Error **errp)
{
    const RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;

    for (uint32_t i = regs->num; i > 0; i--) {
        int ret = kvm_riscv_set_reg(cs, regs->id[i - 1], value[i - 1], errp);

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}
