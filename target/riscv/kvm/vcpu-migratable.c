/*
 * What a vCPU is not offered, since it cannot be migrated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM keeps state for some of what it offers to a guest that no register
 * shows.  "-cpu ...,migratable=on" leaves that out, and "migratable=off" offers
 * it and blocks migration.  On x86 the former is the default; here it is
 * neither, as guests die that do not find SBI PMU (docs/kernel-facts.md).
 * What else KVM keeps, and why it needs no row here, is told in
 * docs/architecture.md.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qapi/qapi-visit-common.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "vcpu.h"
#include "vcpu-migratable.h"
#include "vcpu-reg.h"

typedef struct LeftOut {
    uint64_t id;
    const char *what;
    const char *why;
} LeftOut;

static const LeftOut left_out[] = {
    {
        SBI_EXT_REG(PMU), "SBI PMU",
        "the kernel does not tell of its performance counters",
    },
};

/* All vCPUs are alike: one reason stands for all. */
static int block(const LeftOut *l, const char *way_out, Error **errp)
{
    static Error *blockers[ARRAY_SIZE(left_out)];
    Error **blocker = &blockers[l - left_out];

    if (*blocker) {
        return 0;
    }
    error_setg(blocker, "The guest is offered %s, and %s; %s", l->what, l->why,
               way_out);
    return migrate_add_blocker(blocker, errp);
}

int kvm_riscv_vcpu_leave_out(CPUState *cs, Error **errp)
{
    OnOffAuto migratable = RISCV_CPU(cs)->kvm_migratable;

    if (migratable == ON_OFF_AUTO_AUTO) {
        return 0;
    }
    for (int i = 0; i < ARRAY_SIZE(left_out); i++) {
        const LeftOut *l = &left_out[i];
        bool leave_out = migratable == ON_OFF_AUTO_ON;
        uint64_t value = 0;
        int ret = -EPERM;

        /* A kernel or a host that does not have it */
        if (kvm_get_one_reg(cs, l->id, &value) < 0 || !value) {
            continue;
        }
        if (leave_out) {
            value = 0;
            ret = kvm_set_one_reg(cs, l->id, &value);
        }
        trace_kvm_riscv_vcpu_leave_out(cs->cpu_index, l->what, ret);
        if (ret < 0) {
            ret = block(l, leave_out
                        ? "this kernel cannot leave it out"
                        : "'-cpu ...,migratable=on' leaves it out", errp);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return 0;
}

static void get_migratable(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    OnOffAuto value = RISCV_CPU(obj)->kvm_migratable;

    visit_type_OnOffAuto(v, name, &value, errp);
}

static void set_migratable(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    OnOffAuto value;

    if (visit_type_OnOffAuto(v, name, &value, errp)) {
        RISCV_CPU(obj)->kvm_migratable = value;
    }
}

void kvm_riscv_add_migratable_property(Object *cpu_obj)
{
    RISCV_CPU(cpu_obj)->kvm_migratable = ON_OFF_AUTO_AUTO;
    object_property_add(cpu_obj, "migratable", "OnOffAuto", get_migratable,
                        set_migratable, NULL, NULL);
    object_property_set_description(cpu_obj, "migratable",
                                    "Leave out what cannot be migrated");
}
