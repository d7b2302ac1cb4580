/*
 * Loading by libFuzzer: a vCPU's registers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "aia-load.h"
#include "qapi/error.h"

/* As the CPU has it, see target/riscv/kvm/vcpu.c */

typedef struct VCPU {
    KVMRISCVVCPU *kvm_vcpu;
} VCPU;

static const VMStateDescription vmstate_vcpu = {
    .name = "cpu/kvm-riscv",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, VCPU, vmstate_riscv_vcpu_regs,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};

#define REG(size, type, index) \
    (KVM_REG_RISCV | KVM_REG_SIZE_##size | KVM_REG_RISCV_##type | (index))
#define AIA_CSR(name) REG(U64, CSR, KVM_REG_RISCV_CSR_AIA | \
                          KVM_REG_RISCV_CSR_AIA_REG(name))
#define STATEEN(name) REG(U64, CSR, KVM_REG_RISCV_CSR_SMSTATEEN | \
                          KVM_REG_RISCV_CSR_SMSTATEEN_REG(name))
#define STA(name)     REG(U64, SBI_STATE, KVM_REG_RISCV_SBI_STA | \
                          KVM_REG_RISCV_SBI_STA_REG(name))

/* What no kernel has */
#define NO_MP_STATE 1000

/* What kernels list and kvm-cpu.c does not carry, as of Linux 7.2 */
static const uint64_t listed_id[] = {
    REG(U32, FP_F, KVM_REG_RISCV_FP_F_REG(fcsr)),
    REG(U32, FP_D, KVM_REG_RISCV_FP_D_REG(fcsr)),
    REG(U64, CORE, KVM_REG_RISCV_CORE_REG(mode)),
    AIA_CSR(siselect), AIA_CSR(iprio1), AIA_CSR(iprio2), AIA_CSR(sieh),
    AIA_CSR(siph), AIA_CSR(iprio1h), AIA_CSR(iprio2h),
    STATEEN(sstateen0),
    REG(U64, VECTOR, KVM_REG_RISCV_VECTOR_CSR_REG(vcsr)),
    STA(shmem_lo), STA(shmem_hi),
    /* SBI FWFT is newer than these headers. */
    REG(U64, SBI_STATE, 1 << KVM_REG_RISCV_SUBTYPE_SHIFT),
    REG(U64, SBI_STATE, 1 << KVM_REG_RISCV_SUBTYPE_SHIFT | 1),
};

const RISCVRegList listed = {
    .num = ARRAY_SIZE(listed_id), .id = (uint64_t *)listed_id,
};

uint32_t find_reg(const RISCVRegList *list, uint64_t id)
{
    uint32_t i = 0;

    while (i < list->num && list->id[i] != id) {
        i++;
    }
    return i;
}

/* What a destination can take, told in another way than in vcpu-state.c */
static bool can_take(const KVMRISCVVCPU *vcpu, bool has_d)
{
    const RISCVRegList *stream = &vcpu->stream, *regs = &vcpu->regs;

    if (vcpu->stream_mp_state != KVM_MP_STATE_RUNNABLE &&
        vcpu->stream_mp_state != KVM_MP_STATE_STOPPED) {
        return false;
    }
    for (uint32_t i = 0; i < stream->num; i++) {
        uint64_t id = stream->id[i];
        uint64_t any = stream->value[i] | stream->reset[i];
        uint32_t size = extract64(id, 52, 4);

        if (extract64(id, 56, 8) != 0x80 || extract64(id, 32, 20) ||
            size > 3 || (size < 3 && any >> (8 << size)) ||
            (i && id <= stream->id[i - 1])) {
            return false;
        }
        if (find_reg(regs, id) < regs->num) {
            continue;
        }
        if (stream->value[i] != stream->reset[i] ||
            riscv_reg_is_config(id) || riscv_reg_is_carried(id, has_d)) {
            return false;
        }
        for (size = 0; size < 16; size++) {
            if (find_reg(regs, deposit64(id, 52, 4, size)) < regs->num) {
                return false;
            }
        }
    }
    return true;
}

static bool has_only(const RISCVRegList *regs, const RISCVRegList *stream)
{
    for (uint32_t i = 0; i < regs->num; i++) {
        uint32_t sent = find_reg(stream, regs->id[i]);

        if (regs->reset[i] != i || regs->value[i] !=
            (sent < stream->num ? stream->value[sent] : i)) {
            return false;
        }
    }
    return true;
}

/* What is saved of it loads again, and is no longer than it has to be. */
static void check_saved(KVMRISCVVCPU *vcpu, bool has_d)
{
    RISCVRegList *regs = &vcpu->regs, *stream = &vcpu->stream;
    g_autofree uint64_t *before = g_memdup2(regs->value, regs->num * 8);

    riscv_vcpu_regs_save(vcpu);
    for (uint32_t i = 0; i < stream->num; i++) {
        g_assert(stream->value[i] || stream->reset[i]);
    }
    g_assert(riscv_vcpu_regs_load(vcpu, 0, has_d, &error_abort));
    for (uint32_t i = 0; i < regs->num; i++) {
        g_assert(regs->value[i] == before[i]);
    }
}

void load_vcpu(const Header *h, QEMUFile *f, Input *in)
{
    static const RISCVRegList nothing;
    VCPU cpu = { .kvm_vcpu = g_new0(KVMRISCVVCPU, 1) };
    KVMRISCVVCPU *vcpu = cpu.kvm_vcpu;
    RISCVRegList *regs = &vcpu->regs;
    RISCVRegList *stream = &vcpu->stream;
    bool has_d = h->flags & HAS_D;
    Error *err = NULL;

    vcpu->mp_state = NO_MP_STATE;
    riscv_reg_list_alloc(regs, listed.num);
    regs->num = 0;
    for (uint32_t i = 0; i < listed.num; i++) {
        if (extract32(h->regs[i / 8], i % 8, 1) &&
            !riscv_reg_is_carried(listed_id[i], has_d)) {
            regs->id[regs->num] = listed_id[i];
            regs->value[regs->num] = regs->reset[regs->num] = regs->num;
            regs->num++;
        }
    }

    if (read_section(f, in, &vmstate_vcpu, &cpu)) {
        if (riscv_vcpu_regs_load(vcpu, 0, has_d, &err)) {
            g_assert(can_take(vcpu, has_d));
            g_assert(has_only(regs, stream));
            g_assert(vcpu->mp_state == vcpu->stream_mp_state);
            check_saved(vcpu, has_d);
        } else {
            g_assert_nonnull(err);
            error_free(err);
            g_assert(!can_take(vcpu, has_d));
            g_assert(has_only(regs, &nothing));
            g_assert(vcpu->mp_state == NO_MP_STATE);
        }
    } else {
        g_assert(vcpu->mp_state == NO_MP_STATE);
    }
    riscv_reg_list_free(stream);
    riscv_reg_list_free(regs);
    g_free(vcpu);
}
