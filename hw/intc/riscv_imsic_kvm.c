/*
 * RISC-V IMSIC in the kernel: the interrupt file of one hart
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/intc/intc.h"
#include "hw/intc/riscv_aia_info.h"
#include "hw/intc/riscv_aia_kvm.h"
#include "migration/refused.h"
#include "system/runstate.h"
#include "target/riscv/kvm/aia.h"
#include "target/riscv/kvm/compat.h"

OBJECT_DECLARE_TYPE(RISCVIMSICKVMState, RISCVIMSICKVMClass, RISCV_IMSIC_KVM)

struct RISCVIMSICKVMState {
    RISCVIMSICState parent_obj;

    RISCVAIAKVMState *aia;
    RISCVIMSICRegs regs;
};

struct RISCVIMSICKVMClass {
    SysBusDeviceClass parent_class;

    DeviceRealize parent_realize;
};

static bool riscv_imsic_kvm_pre_save(void *opaque, Error **errp)
{
    RISCVIMSICKVMState *s = opaque;

    return kvm_riscv_aia_save_imsic(s->aia, s->parent_obj.hartid, &s->regs,
                                    errp);
}
VMSTATE_PRE_SAVE_HOOK(riscv_imsic_kvm_pre_save)

static bool riscv_imsic_kvm_post_load(void *opaque, int version_id,
                                      Error **errp)
{
    RISCVIMSICKVMState *s = opaque;

    return kvm_riscv_aia_load_imsic(s->aia, s->parent_obj.hartid, &s->regs,
                                    errp);
}
VMSTATE_POST_LOAD_HOOK(riscv_imsic_kvm_post_load)

static const VMStateDescription vmstate_riscv_imsic_kvm = {
    .name = "riscv_imsic_kvm",
    .version_id = 2,
    .minimum_version_id = 2,
    .priority = MIG_PRI_RISCV_IMSIC,
    VMSTATE_PRE_SAVE(riscv_imsic_kvm_pre_save),
    VMSTATE_POST_LOAD(riscv_imsic_kvm_post_load),
    .fields = (const VMStateField[]) {
        RISCV_VMSTATE_EQUAL(parent_obj.hartid, RISCVIMSICKVMState,
                            "The hart ids must be the same."),
        VMSTATE_STRUCT(regs, RISCVIMSICKVMState, 2, vmstate_riscv_imsic_regs,
                       RISCVIMSICRegs),
        VMSTATE_END_OF_LIST()
    }
};

static void riscv_imsic_kvm_reset_hold(Object *obj, ResetType type)
{
    RISCVIMSICKVMState *s = RISCV_IMSIC_KVM(obj);
    Error *err = NULL;

    if (!kvm_riscv_aia_reset_imsic(s->aia, s->parent_obj.hartid, &s->regs,
                                   &err)) {
        error_reportf_err(err, "reset of the in-kernel IMSIC: ");
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
}

static int print_emulated_aplic(Object *obj, void *opaque)
{
    RISCVAPLICState *aplic =
        (RISCVAPLICState *)object_dynamic_cast(obj, TYPE_RISCV_APLIC);

    if (aplic && riscv_use_emulated_aplic(aplic->msimode)) {
        riscv_aplic_print(aplic, opaque);
    }
    return 0;
}

static void riscv_imsic_kvm_print_info(InterruptStatsProvider *obj,
                                       GString *buf)
{
    RISCVIMSICKVMState *s = RISCV_IMSIC_KVM(obj);
    uint32_t hartid = s->parent_obj.hartid;
    RISCVIMSICRegs regs;
    Error *err = NULL;
    bool whole;

    if (hartid == 0) {
        /* The emulated class of a split irqchip has no say of its own. */
        object_child_foreach_recursive(object_get_root(),
                                       print_emulated_aplic, buf);
    }
    riscv_imsic_regs_init(&regs, s->parent_obj.num_irqs - 1);
    if (kvm_riscv_aia_peek_imsic(s->aia, hartid, &regs, &whole, &err)) {
        riscv_imsic_regs_print(&regs, hartid, whole, buf);
    } else {
        g_string_append_printf(buf, "IMSIC of hart %u: %s\n", hartid,
                               error_get_pretty(err));
        error_free(err);
    }
    riscv_imsic_regs_free(&regs);
}

static void riscv_imsic_kvm_realize(DeviceState *dev, Error **errp)
{
    RISCVIMSICKVMState *s = RISCV_IMSIC_KVM(dev);
    Error *err = NULL;

    RISCV_IMSIC_KVM_GET_CLASS(dev)->parent_realize(dev, &err);
    if (err) {
        error_propagate(errp, err);
        return;
    }
    s->aia = kvm_riscv_aia_get();
    riscv_imsic_regs_init(&s->regs, s->parent_obj.num_irqs - 1);
}

static void riscv_imsic_kvm_finalize(Object *obj)
{
    riscv_imsic_regs_free(&RISCV_IMSIC_KVM(obj)->regs);
}

static void riscv_imsic_kvm_class_init(ObjectClass *klass,
                                       ClassInitData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    device_class_set_parent_realize(dc, riscv_imsic_kvm_realize,
                &RISCV_IMSIC_KVM_CLASS(klass)->parent_realize);
    dc->vmsd = &vmstate_riscv_imsic_kvm;
    rc->phases.hold = riscv_imsic_kvm_reset_hold;
    INTERRUPT_STATS_PROVIDER_CLASS(klass)->print_info =
        riscv_imsic_kvm_print_info;
}

static const TypeInfo riscv_imsic_kvm_info = {
    .name = TYPE_RISCV_IMSIC_KVM,
    .parent = TYPE_RISCV_IMSIC,
    .instance_size = sizeof(RISCVIMSICKVMState),
    .instance_finalize = riscv_imsic_kvm_finalize,
    .class_size = sizeof(RISCVIMSICKVMClass),
    .class_init = riscv_imsic_kvm_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_INTERRUPT_STATS_PROVIDER },
        { }
    },
};

static void riscv_imsic_kvm_register_types(void)
{
    type_register_static(&riscv_imsic_kvm_info);
}

type_init(riscv_imsic_kvm_register_types)
