/*
 * The G-stage tables of guest memory, made anew
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qemu/error-report.h"
#include "system/accel-blocker.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "tables.h"

static void set_slot(const KVMSlot *slot, uint32_t flags, uint64_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot->slot,
        .flags = size ? slot->flags | flags : 0,
        .guest_phys_addr = slot->start_addr,
        .memory_size = size,
        .userspace_addr = (uintptr_t)slot->ram,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGION, &region);

    /* As kvm-all.c: without its memory there is no guest. */
    if (ret < 0) {
        error_report("KVM memory slot %d at 0x%" PRIx64 " cannot be %s: %s",
                     slot->slot, (uint64_t)slot->start_addr,
                     size ? "made anew" : "removed", strerror(-ret));
        abort();
    }
}

void riscv_tables_remake(const MemoryRegionSection *section, uint32_t flags)
{
    KVMMemoryListener *kml = &kvm_state->memory_listener;
    hwaddr start = section->offset_within_address_space;
    hwaddr end = start + int128_get64(section->size);

    accel_ioctl_inhibit_begin();
    for (unsigned i = 0; i < kml->nr_slots_allocated; i++) {
        const KVMSlot *slot = &kml->slots[i];

        if (slot->memory_size && slot->start_addr >= start &&
            slot->start_addr < end) {
            set_slot(slot, 0, 0);
            set_slot(slot, flags, slot->memory_size);
            trace_kvm_riscv_tables_remake(slot->start_addr, slot->memory_size,
                                          flags);
        }
    }
    accel_ioctl_inhibit_end();
}
