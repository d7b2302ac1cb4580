/*
 * The AIA device of the kernel: what a destination must have in common with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "hw/intc/riscv_aplic.h"
#include "migration/vmstate.h"
#include "system/kvm.h"
#include "cpu.h"
#include "internals.h"
#include "hw/core/cpu.h"
#include "aia.h"
#include "kvm_riscv.h"
#include "shape.h"
#include "vcpu.h"
#include "vcpu-config.h"
#if AIA_FORK
#include "system/runstate.h"
#include "aia-files.h"
#include "vcpu-pmu.h"
#endif

static bool shape_update(RISCVAIAShape *shape, Error **errp)
{
    GArray *ids = kvm_riscv_vcpu_used_regs(&shape->satp_mode, errp);

    if (!ids) {
        return false;
    }
    shape->num_used_regs = ids->len;
    shape->used_reg = (uint64_t *)g_array_free(ids, false);
    shape->config = *kvm_riscv_vcpu_config_guest();
#if AIA_FORK
    kvm_riscv_pmu_prepare();
#endif
    return true;
}

static bool shape_loaded(const RISCVAIAShape *source, Error **errp)
{
    kvm_riscv_vcpu_config_loaded(&source->config);
    kvm_riscv_aia_find()->loaded_shape = true;
#if AIA_FORK
    kvm_riscv_pmu_prepare();
    /* Here it takes no time of the guest's. */
    return !runstate_check(RUN_STATE_INMIGRATE) ||
           kvm_riscv_aia_place_files(errp);
#else
    return true;
#endif
}

static const RISCVAIAShapeOps shape_ops = {
    .update = shape_update,
    .has_reg = kvm_riscv_vcpu_has_reg,
    .satp_mode = kvm_riscv_vcpu_satp_mode,
    .compare_config = kvm_riscv_vcpu_config_compare,
    .loaded = shape_loaded,
};

static RISCVSectionVersion section_version(const VMStateDescription *vmsd)
{
    return (RISCVSectionVersion) { vmsd->version_id, vmsd->minimum_version_id };
}

bool kvm_riscv_aia_get_shape(RISCVAIAKVMState *s, Error **errp)
{
    RISCVAIAShape *shape = &s->shape.ours;
    const struct {
        uint32_t attr;
        uint32_t *val;
    } config[] = {
        { KVM_DEV_RISCV_AIA_CONFIG_MODE, &shape->mode },
        { KVM_DEV_RISCV_AIA_CONFIG_SRCS, &shape->num_sources },
        { KVM_DEV_RISCV_AIA_CONFIG_IDS, &shape->num_ids },
        { KVM_DEV_RISCV_AIA_CONFIG_GROUP_BITS, &shape->group_bits },
        { KVM_DEV_RISCV_AIA_CONFIG_GROUP_SHIFT, &shape->group_shift },
        { KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, &shape->hart_bits },
        { KVM_DEV_RISCV_AIA_CONFIG_GUEST_BITS, &shape->guest_bits },
    };
    CPUState *cs;

    s->shape.ops = &shape_ops;
    for (int i = 0; i < ARRAY_SIZE(config); i++) {
        if (!kvm_riscv_aia_get_config(s, config[i].attr, config[i].val, errp)) {
            return false;
        }
    }
    shape->cpu = section_version(&vmstate_riscv_cpu);
    shape->split = kvm_kernel_irqchip_split();
    if (shape->split) {
        ObjectClass *aplic = object_class_by_name(TYPE_RISCV_APLIC);

        shape->aplic = section_version(DEVICE_CLASS(aplic)->vmsd);
    } else if (!kvm_riscv_aia_get_addr(s, KVM_DEV_RISCV_AIA_ADDR_APLIC,
                                       &shape->aplic_addr, errp)) {
        return false;
    }
    shape->timebase = kvm_riscv_get_timebase_frequency(RISCV_CPU(first_cpu));
    CPU_FOREACH(cs) {
        shape->num_harts++;
    }
    shape->hart_id = g_new0(uint64_t, shape->num_harts);
    shape->imsic_addr = g_new0(uint64_t, shape->num_harts);
    CPU_FOREACH(cs) {
        uint64_t *hart_id = &shape->hart_id[cs->cpu_index];

        *hart_id = kvm_arch_vcpu_id(cs);
        if (!kvm_riscv_aia_get_addr(s, KVM_DEV_RISCV_AIA_ADDR_IMSIC(*hart_id),
                                    &shape->imsic_addr[cs->cpu_index], errp)) {
            return false;
        }
    }
    return true;
}
