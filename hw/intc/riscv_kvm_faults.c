/*
 * Query of the faults of KVM that are worked around
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Built for all targets, as the command is; those that know something register.
 */

#include "qemu/osdep.h"
#include "qapi/qapi-commands-riscv-kvm.h"
#include "qapi/type-helpers.h"
#include "hw/intc/riscv_kvm_faults.h"

static void (*describe_faults)(GString *text);

void riscv_kvm_faults_register(void (*describe)(GString *text))
{
    describe_faults = describe;
}

HumanReadableText *qmp_x_query_riscv_kvm_faults(Error **errp)
{
    g_autoptr(GString) text = g_string_new("");

    if (describe_faults) {
        describe_faults(text);
    } else {
        g_string_append(text, "This machine is not run by KVM of RISC-V.\n");
    }
    return human_readable_text_from_str(text);
}
