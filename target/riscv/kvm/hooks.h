/*
 * What QEMU's kvm-cpu.c calls of the fork
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_HOOKS_H
#define RISCV_KVM_HOOKS_H

#include "aia.h"
#include "faults/faults.h"
#include "no-file.h"
#include "system-event.h"
#include "vcpu.h"
#include "vcpu-migratable.h"

#endif
