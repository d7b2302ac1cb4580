/*
 * A guest resets itself or switches itself off
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * On the way out of KVM_RUN the kernel has stopped all harts; what starts them
 * again is the reset alone.  QEMU's request for it is the main loop's, and is
 * not in the stream.  So where the machine is stopped before the main loop has
 * served it, as at the switchover of a migration, the harts would stand for
 * good.  Likewise a hart that has asked a device, the machine's sifive_test,
 * has nothing more to do; that of a KVM guest is of a subclass.  So the event
 * is state of the vCPU, and is served where and when the machine runs.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "hw/misc/sifive_test_kvm.h"
#include "qemu/main-loop.h"
#include "system/cpus.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "system-event.h"
#include "vcpu-state.h"

/* 0 is none */
QEMU_BUILD_BUG_ON(KVM_SYSTEM_EVENT_SHUTDOWN == 0 ||
                  KVM_SYSTEM_EVENT_RESET == 0);

/*
 * In the main loop, which handles the request next, before the machine can be
 * stopped.  The event stays until a reset takes it away: should the machine be
 * stopped all the same, it is not lost.
 */
static void serve(void *opaque)
{
    CPUState *cs = opaque;
    uint32_t event = RISCV_CPU(cs)->kvm_vcpu->extra.system_event;

    if (!event || !runstate_is_running()) {
        return;
    }
    trace_kvm_riscv_system_event_serve(cs->cpu_index, event);
    if (event == KVM_SYSTEM_EVENT_SHUTDOWN) {
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else if (event == KVM_SYSTEM_EVENT_RESET) {
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

void kvm_riscv_system_event_take(CPUState *cs)
{
    struct kvm_run *run = cs->kvm_run;

    if (run->exit_reason != KVM_EXIT_SYSTEM_EVENT ||
        (run->system_event.type != KVM_SYSTEM_EVENT_SHUTDOWN &&
         run->system_event.type != KVM_SYSTEM_EVENT_RESET)) {
        return;
    }
    trace_kvm_riscv_system_event_take(cs->cpu_index, run->system_event.type);
    RISCV_CPU(cs)->kvm_vcpu->extra.system_event = run->system_event.type;
    /* An exit for which kvm_cpu_exec() returns, and does nothing else */
    run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
}

void kvm_riscv_system_event_serve(CPUState *cs)
{
    if (RISCV_CPU(cs)->kvm_vcpu->extra.system_event) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), serve, cs);
    }
}

static void keep(CPUState *cs, uint32_t event)
{
    trace_kvm_riscv_system_event_take(cs->cpu_index, event);
    RISCV_CPU(cs)->kvm_vcpu->extra.system_event = event;
    /* Where the machine is being stopped it is served once that goes on. */
    if (!cs->stop) {
        kvm_riscv_system_event_serve(cs);
        cpu_stop_current();
    }
}

bool kvm_riscv_system_event_check(uint32_t type, int hart, Error **errp)
{
    switch (type) {
    case 0:
    case KVM_SYSTEM_EVENT_SHUTDOWN:
    case KVM_SYSTEM_EVENT_RESET:
        return true;
    default:
        error_setg(errp, "system event %u of hart %d is neither a reset nor a "
                   "power-off", type, hart);
        return false;
    }
}

static bool event_needed(void *opaque)
{
    return RISCV_CPU(opaque)->kvm_vcpu->extra.stream_system_event;
}

static const VMStateDescription vmstate_system_event_fields = {
    .name = "cpu/kvm-riscv/system-event/fields",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(extra.stream_system_event, KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_kvm_riscv_system_event = {
    .name = "cpu/kvm-riscv/system-event",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = event_needed,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, RISCVCPU, vmstate_system_event_fields,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};

typedef struct SiFiveTestKVMState {
    SiFiveTestState parent_obj;

    /* Of the parent, and with our write */
    const MemoryRegionOps *parent_ops;
    MemoryRegionOps ops;
} SiFiveTestKVMState;

/*
 * A panic is the parent's, which stops the machine first, and so is an exit
 * status, which is of this process alone.
 */
static void sifive_test_kvm_write(void *opaque, hwaddr addr, uint64_t val,
                                  unsigned size)
{
    SiFiveTestKVMState *s = opaque;

    if (addr == 0 && current_cpu && val == FINISHER_RESET) {
        keep(current_cpu, KVM_SYSTEM_EVENT_RESET);
    } else if (addr == 0 && current_cpu && val == FINISHER_PASS) {
        keep(current_cpu, KVM_SYSTEM_EVENT_SHUTDOWN);
    } else {
        s->parent_ops->write(opaque, addr, val, size);
    }
}

static void sifive_test_kvm_init(Object *obj)
{
    SiFiveTestKVMState *s = (SiFiveTestKVMState *)obj;
    MemoryRegion *mmio = &s->parent_obj.mmio;

    s->parent_ops = mmio->ops;
    s->ops = *mmio->ops;
    s->ops.write = sifive_test_kvm_write;
    mmio->ops = &s->ops;
}

static const TypeInfo sifive_test_kvm_info = {
    .name = TYPE_SIFIVE_TEST_KVM,
    .parent = TYPE_SIFIVE_TEST,
    .instance_size = sizeof(SiFiveTestKVMState),
    .instance_init = sifive_test_kvm_init,
};

static void sifive_test_kvm_register_types(void)
{
    type_register_static(&sifive_test_kvm_info);
}

type_init(sifive_test_kvm_register_types)
