/*
 * The table of the faults, and how each is switched
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qapi-visit-common.h"
#include "qemu/lockable.h"
#include "hw/intc/riscv_kvm_faults.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "faults.h"

static RISCVFault *const faults[] = {
    &riscv_fault_aged_pages,
    &riscv_fault_huge_log,
    &riscv_fault_kept_pages,
    &riscv_fault_shared_pages,
    &riscv_fault_split_pages,
    &riscv_fault_stale_csrs,
};

static QemuMutex probing;

RISCVVerdict riscv_fault_known(const RISCVFault *fault)
{
    const RISCVFault *which = fault->of ?: fault;

    switch (fault->set == ON_OFF_AUTO_AUTO ? which->set : fault->set) {
    case ON_OFF_AUTO_ON:
        return RISCV_VERDICT_FAULTY;
    case ON_OFF_AUTO_OFF:
        return RISCV_VERDICT_GOOD;
    default:
        return qatomic_read(&which->verdict);
    }
}

RISCVVerdict riscv_fault_verdict(RISCVFault *fault, Error **errp)
{
    RISCVFault *which = fault->of ?: fault;

    if (riscv_fault_known(fault) == RISCV_VERDICT_UNKNOWN) {
        QEMU_LOCK_GUARD(&probing);
        if (which->verdict == RISCV_VERDICT_UNKNOWN) {
            qatomic_set(&which->verdict, which->probe(errp));
            trace_kvm_riscv_fault_probe(which->name, which->verdict);
        }
    }
    return riscv_fault_known(fault);
}

static void get_set(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    visit_type_OnOffAuto(v, name, &((RISCVFault *)opaque)->set, errp);
}

void kvm_riscv_faults_class_init(ObjectClass *oc)
{
    for (int i = 0; i < ARRAY_SIZE(faults); i++) {
        RISCVFault *fault = faults[i];
        g_autofree char *name = g_strdup_printf("riscv-fault-%s", fault->name);
        g_autofree char *what =
            g_strdup_printf("Take KVM for one that %s (Linux %s): on, off, or "
                            "auto for what a probe says", fault->harm,
                            fault->kernels);

        object_class_property_add(oc, name, "OnOffAuto", get_set, get_set,
                                  NULL, fault);
        object_class_property_set_description(oc, name, what);
    }
}

static const char *state(const RISCVFault *fault)
{
    static const char *const known[] = {
        [RISCV_VERDICT_UNKNOWN] = "not needed yet",
        [RISCV_VERDICT_GOOD] = "not needed",
        [RISCV_VERDICT_FAULTY] = "ready",
    };

    return fault->active ? "in force" : known[riscv_fault_known(fault)];
}

static void describe(GString *text)
{
    static const char *const verdict[] = {
        [RISCV_VERDICT_UNKNOWN] = "unknown yet",
        [RISCV_VERDICT_GOOD] = "good",
        [RISCV_VERDICT_FAULTY] = "faulty",
    };

    for (int i = 0; i < ARRAY_SIZE(faults); i++) {
        const RISCVFault *fault = faults[i];
        const RISCVFault *which = fault->of ?: fault;

        g_string_append_printf(
            text, "%s: %s\n"
            "  KVM %s (Linux %s)\n"
            "  found out: %s\n"
            "  remedy: %s\n"
            "  its cost: %s\n"
            "  riscv-fault-%s=%s; the remedy is %s\n",
            fault->name, verdict[which->verdict], fault->harm, fault->kernels,
            fault->found_out, fault->remedy, fault->cost, fault->name,
            OnOffAuto_str(fault->set), state(fault));
    }
}

void kvm_riscv_faults_init(void)
{
    qemu_mutex_init(&probing);
    riscv_kvm_faults_register(describe);
    for (int i = 0; i < ARRAY_SIZE(faults); i++) {
        if (faults[i]->init) {
            faults[i]->init();
        }
    }
}
