/*
 * What differs between the versions of QEMU that this is built on
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_COMPAT_H
#define RISCV_KVM_COMPAT_H

#include "qemu/since.h"

/* Of Linux 6.16; linux/kvm.h of QEMU 10.0 is older. */
#ifndef KVM_CAP_RISCV_MP_STATE_RESET
#define KVM_CAP_RISCV_MP_STATE_RESET 242
#endif

#if QEMU_SINCE(11, 0)
#include "hw/core/boards.h"
#else
#include "hw/boards.h"
#endif

#if AIA_FORK && QEMU_SINCE(11, 1)
#define MIG_EVENT_PRECOPY_SETUP MIG_EVENT_SETUP
#define MIG_EVENT_PRECOPY_FAILED MIG_EVENT_FAILED
#endif

#if QEMU_SINCE(10, 1)
#include "system/address-spaces.h"
#include "system/memory.h"
#include "system/ramblock.h"
typedef const void ClassInitData;
#define RISCV_SATP_MODES(cpu) ((cpu)->satp_modes)
#else
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
typedef void ClassInitData;
#define RISCV_SATP_MODES(cpu) ((cpu)->cfg.satp_mode)
#endif

#endif
