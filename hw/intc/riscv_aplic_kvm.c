/*
 * RISC-V APLIC in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "hw/pci/msi.h"
#include "hw/intc/intc.h"
#include "hw/intc/riscv_aia_info.h"
#include "hw/intc/riscv_aia_kvm.h"
#include "migration/refused.h"
#include "system/runstate.h"
#include "target/riscv/kvm/aia.h"
#include "target/riscv/kvm/compat.h"

OBJECT_DECLARE_SIMPLE_TYPE(RISCVAPLICKVMState, RISCV_APLIC_KVM)

struct RISCVAPLICKVMState {
    RISCVAPLICState parent_obj;

    RISCVAIAKVMState *aia;
    RISCVAPLICRegs regs;
};

static void riscv_aplic_kvm_set_irq(void *opaque, int irq, int level)
{
    RISCVAPLICKVMState *s = RISCV_APLIC_KVM(opaque);

    kvm_riscv_aia_drive(s->aia, irq, level);
}

/* Whether this one stands for the kernel's. */
static bool is_kernels(RISCVAPLICKVMState *s)
{
    return s->aia && s->aia->aplic == DEVICE(s);
}

static bool riscv_aplic_kvm_pre_save(void *opaque, Error **errp)
{
    RISCVAPLICKVMState *s = opaque;

    return kvm_riscv_aia_save_aplic(s->aia, &s->regs, errp);
}
VMSTATE_PRE_SAVE_HOOK(riscv_aplic_kvm_pre_save)

static bool riscv_aplic_kvm_post_load(void *opaque, int version_id,
                                      Error **errp)
{
    RISCVAPLICKVMState *s = opaque;

    if (!is_kernels(s)) {
        error_setg(errp, "a second APLIC is in the stream, but the kernel has "
                   "one");
        return false;
    }
    return kvm_riscv_aia_load_aplic(s->aia, &s->regs, errp);
}
VMSTATE_POST_LOAD_HOOK(riscv_aplic_kvm_post_load)

static bool riscv_aplic_kvm_needed(void *opaque)
{
    return is_kernels(opaque);
}

static const VMStateDescription vmstate_riscv_aplic_kvm = {
    .name = "riscv_aplic_kvm",
    .version_id = 2,
    .minimum_version_id = 2,
    .priority = MIG_PRI_RISCV_APLIC,
    .needed = riscv_aplic_kvm_needed,
    VMSTATE_PRE_SAVE(riscv_aplic_kvm_pre_save),
    VMSTATE_POST_LOAD(riscv_aplic_kvm_post_load),
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(regs, RISCVAPLICKVMState, 2, vmstate_riscv_aplic_regs,
                       RISCVAPLICRegs),
        VMSTATE_END_OF_LIST()
    }
};

static void riscv_aplic_kvm_reset_hold(Object *obj, ResetType type)
{
    RISCVAPLICKVMState *s = RISCV_APLIC_KVM(obj);
    Error *err = NULL;

    if (is_kernels(s) &&
        !kvm_riscv_aia_reset_aplic(s->aia, &s->regs, &err)) {
        error_reportf_err(err, "reset of the in-kernel APLIC: ");
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
}

static void riscv_aplic_kvm_print_info(InterruptStatsProvider *obj,
                                       GString *buf)
{
    RISCVAPLICKVMState *s = RISCV_APLIC_KVM(obj);
    RISCVAPLICRegs regs;
    Error *err = NULL;

    if (!is_kernels(s)) {
        return;
    }
    riscv_aplic_regs_init(&regs, s->regs.num_sources);
    if (kvm_riscv_aia_peek_aplic(s->aia, &regs, &err)) {
        riscv_aplic_regs_print(&regs, buf);
    } else {
        g_string_append_printf(buf, "APLIC: %s\n", error_get_pretty(err));
        error_free(err);
    }
    riscv_aplic_regs_free(&regs);
}

/* The kernel maps the registers: no part of the emulated device is needed. */
static void riscv_aplic_kvm_realize(DeviceState *dev, Error **errp)
{
    RISCVAPLICKVMState *s = RISCV_APLIC_KVM(dev);
    RISCVAPLICState *aplic = RISCV_APLIC(dev);

    if (aplic->num_irqs < 2 || aplic->num_irqs > AIA_APLIC_MAX_SOURCES + 1) {
        error_setg(errp, "an APLIC has 1 to %d sources, not %d",
                   AIA_APLIC_MAX_SOURCES, (int)aplic->num_irqs - 1);
        return;
    }
    riscv_aplic_regs_init(&s->regs, aplic->num_irqs - 1);
    s->aia = kvm_riscv_aia_get();
    if (!s->aia->aplic) {
        s->aia->aplic = dev;
    }
    qdev_init_gpio_in(dev, riscv_aplic_kvm_set_irq, aplic->num_irqs);
    msi_nonbroken = true;
}

static void riscv_aplic_kvm_finalize(Object *obj)
{
    riscv_aplic_regs_free(&RISCV_APLIC_KVM(obj)->regs);
}

static void riscv_aplic_kvm_class_init(ObjectClass *klass,
                                       ClassInitData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    dc->realize = riscv_aplic_kvm_realize;
    dc->vmsd = &vmstate_riscv_aplic_kvm;
    rc->phases.hold = riscv_aplic_kvm_reset_hold;
    INTERRUPT_STATS_PROVIDER_CLASS(klass)->print_info =
        riscv_aplic_kvm_print_info;
}

static const TypeInfo riscv_aplic_kvm_info = {
    .name = TYPE_RISCV_APLIC_KVM,
    .parent = TYPE_RISCV_APLIC,
    .instance_size = sizeof(RISCVAPLICKVMState),
    .instance_finalize = riscv_aplic_kvm_finalize,
    .class_init = riscv_aplic_kvm_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_INTERRUPT_STATS_PROVIDER },
        { }
    },
};

static void riscv_aplic_kvm_register_types(void)
{
    type_register_static(&riscv_aplic_kvm_info);
}

type_init(riscv_aplic_kvm_register_types)
