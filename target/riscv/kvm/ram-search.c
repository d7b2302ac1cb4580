/*
 * A word that KVM has written somewhere into the guest's RAM, found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "compat.h"
#include "ram-search.h"

/*
 * Which pages of a slot KVM may have written to since; NULL: any.  Nothing is
 * taken from the log, so it is not to be cleared by being read.
 */
static unsigned long *get_dirty(const KVMSlot *slot)
{
    g_autofree unsigned long *bitmap = NULL;
    struct kvm_dirty_log log = { .slot = slot->slot };

    if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) ||
        !kvm_state->manual_dirty_log_protect) {
        return NULL;
    }
    bitmap = bitmap_new(ROUND_UP(slot->memory_size / qemu_real_host_page_size(),
                                 64));
    log.dirty_bitmap = bitmap;
    if (kvm_vm_ioctl(kvm_state, KVM_GET_DIRTY_LOG, &log) < 0) {
        return NULL;
    }
    return g_steal_pointer(&bitmap);
}

bool kvm_riscv_ram_is_plain(uint64_t gpa, uint64_t size)
{
    MemoryRegionSection section =
        memory_region_find(get_system_memory(), gpa, size);
    bool plain = section.mr && memory_region_is_ram(section.mr) &&
                 !memory_region_is_ram_device(section.mr) &&
                 !section.readonly &&
                 int128_get64(section.size) == size;

    if (section.mr) {
        memory_region_unref(section.mr);
    }
    return plain;
}

static void search_slot(const KVMSlot *slot, uint64_t unit, uint64_t offset,
                        uint64_t first, unsigned num, uint64_t *gpa)
{
    uint64_t units = slot->memory_size / unit;
    g_autofree unsigned long *dirty = get_dirty(slot);
    uint64_t page = qemu_real_host_page_size();

    for (uint64_t i = 0; i < units; i++) {
        uint64_t value;

        if (dirty && !test_bit(i * unit / page, dirty)) {
            continue;
        }
        value = ldq_le_p(slot->ram + i * unit + offset);
        if (value - first < num) {
            gpa[value - first] = slot->start_addr + i * unit;
        }
    }
}

void kvm_riscv_ram_find_words(uint64_t unit, uint64_t offset, uint64_t first,
                              unsigned num, uint64_t *gpa)
{
    const KVMMemoryListener *kml = &kvm_state->memory_listener;

    for (unsigned i = 0; i < kml->nr_slots_allocated; i++) {
        const KVMSlot *slot = &kml->slots[i];

        if (slot->memory_size &&
            kvm_riscv_ram_is_plain(slot->start_addr, unit)) {
            search_slot(slot, unit, offset, first, num, gpa);
        }
    }
}
