/*
 * A guest resets itself or switches itself off
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_SYSTEM_EVENT_H
#define RISCV_KVM_SYSTEM_EVENT_H

#include "migration/vmstate.h"

/* Subsection of cpu/kvm-riscv; the opaque is the RISCVCPU. */
extern const VMStateDescription vmstate_kvm_riscv_system_event;

/**
 * kvm_riscv_system_event_take - keep what a vCPU has left KVM_RUN with
 *
 * In the vCPU's thread, after each KVM_RUN.  A system event is the vCPU's from
 * here on, until the machine is reset: kvm_cpu_exec() does not see it.
 */
void kvm_riscv_system_event_take(CPUState *cs);

/*
 * In the vCPU's thread, before each KVM_RUN, which is when the machine has gone
 * on: has the main loop serve the event that @cs has, if any.
 */
void kvm_riscv_system_event_serve(CPUState *cs);

/* Whether @type is none, or one that is kept; @errp says that it is neither. */
bool kvm_riscv_system_event_check(uint32_t type, int hart, Error **errp);

#endif
