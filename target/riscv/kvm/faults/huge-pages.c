/*
 * No huge pages for a KVM that does wrong by them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two faults of arch/riscv/kvm/mmu.c, which docs/kernel-facts.md tells more of.
 *
 * When the host takes pages away, to make a huge one of them for example,
 * Linux 6.12 does not look at those that follow a part of 2 MiB of the guest's
 * addresses where the guest has no page (gstage_unmap_range()): the guest keeps
 * them, though they are somebody else's by then.  QEMU aligns guest memory, so
 * that a huge page of the host is one of the guest, and nothing follows.  A
 * machine can put memory elsewhere, as -numa with nodes of odd sizes does.
 *
 * Linux 7.2 splits huge pages while dirty pages are logged, and does not find
 * the parts again when that has ended (kvm_riscv_gstage_map_page()): a hart
 * that writes to one takes the same fault for ever.  So a guest hangs where its
 * migration fails or is cancelled.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/prctl.h>
#include <linux/kvm.h>

#include "qemu/error-report.h"
#include "qemu/units.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "../compat.h"
#include "huge-pages.h"
#include "probe-vm.h"

#define HUGE_PAGE (2 * MiB)

/* Linux 6.1 */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/*
 * Whether the guest loses the second of two pages, the first in a part where
 * it has none.  They are @data, the first two of four pages of @fd.
 */
static bool unmaps_all(ProbeVM *vm, void *data, int fd)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA + HUGE_PAGE;
    uint64_t old = 1, new = 2, val;

    return pwrite(fd, &old, sizeof(old), page) == sizeof(old) &&
           pwrite(fd, &new, sizeof(new), 3 * page) == sizeof(new) &&
           probe_vm_set_memory(vm, 1, gpa - page, data, 2 * page, 0) &&
           probe_vm_read(vm, gpa, &val) && val == old &&
           mmap(data, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                fd, 2 * page) == data &&
           probe_vm_read(vm, gpa, &val) && val == new;
}

/* What cannot be found out is taken for no. */
static bool probe_unmap(void)
{
    size_t page = qemu_real_host_page_size();

    return probe_vm_with_file(4 * page, 2 * page, MAP_SHARED, unmaps_all);
}

/* Whether the guest can write each page of a huge one, of @data, after a log */
static bool writes_after_log(ProbeVM *vm, void *data)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA;

    return probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE, 0) &&
           probe_vm_write(vm, gpa + page, 1) &&
           probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE,
                               KVM_MEM_LOG_DIRTY_PAGES) &&
           probe_vm_write(vm, gpa + page, 2) &&
           probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE, 0) &&
           probe_vm_write(vm, gpa + 2 * page, 3);
}

/* Without a huge page it cannot be found out, and is taken for no, too. */
static bool probe_log(void)
{
    /* Between others there is a whole one, wherever they are. */
    void *memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *data = QEMU_ALIGN_PTR_UP(memory, HUGE_PAGE);
    ProbeVM *vm = probe_vm_new();
    bool good = vm && memory != MAP_FAILED;

    if (good) {
        memset(data, 0, HUGE_PAGE);
        good = madvise(data, HUGE_PAGE, MADV_COLLAPSE) == 0 &&
               writes_after_log(vm, data);
    }
    probe_vm_free(vm);
    if (memory != MAP_FAILED) {
        munmap(memory, 2 * HUGE_PAGE);
    }
    return good;
}

/* By advice would not do: a postcopy takes that back when it ends. */
static void disable(void)
{
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) {
        warn_report("KVM of this kernel does wrong by transparent huge pages, "
                    "and they cannot be switched off: %s", strerror(errno));
    }
}

static void region_add(MemoryListener *listener, MemoryRegionSection *section)
{
    static bool probed, good;
    MemoryRegion *mr = section->mr;
    uint64_t gpa = section->offset_within_address_space;
    uint64_t size = int128_get64(section->size);
    char *host;

    if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr) ||
        size < HUGE_PAGE) {
        return;
    }
    host = (char *)memory_region_get_ram_ptr(mr) +
           section->offset_within_region;
    if (QEMU_IS_ALIGNED((uintptr_t)host - gpa, HUGE_PAGE)) {
        return;
    }
    if (!probed) {
        good = probe_unmap();
        probed = true;
        if (!good) {
            disable();
        }
    }
    trace_kvm_riscv_huge_pages_unaligned(gpa, size, good);
}

static MemoryListener huge_pages_listener = {
    .name = "riscv-huge-pages",
    .region_add = region_add,
};

void kvm_riscv_huge_pages_init(void)
{
    bool good = probe_log();

    trace_kvm_riscv_huge_pages_log(good);
    if (!good) {
        disable();
        return;
    }
    memory_listener_register(&huge_pages_listener, &address_space_memory);
}
