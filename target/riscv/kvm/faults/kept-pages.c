/*
 * Pages that the guest keeps though the host has taken them away
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * When the host takes pages away, to make a huge one of them for example,
 * Linux 6.12 does not look at those that follow a part of 2 MiB of the guest's
 * addresses where the guest has no page (gstage_unmap_range()): the guest keeps
 * them, though they are somebody else's by then.  QEMU aligns guest memory, so
 * that a huge page of the host is one of the guest, and nothing follows.  A
 * machine can put memory elsewhere, as -numa with nodes of odd sizes does: it
 * has no transparent huge pages.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/prctl.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "../compat.h"
#include "faults.h"
#include "probe-vm.h"

#define HUGE_PAGE (2 * MiB)

/*
 * Whether the guest loses the second of two pages, the first in a part where
 * it has none.  They are @data, the first two of four pages of @fd.
 */
static RISCVVerdict unmaps_all(ProbeVM *vm, void *data, int fd, Error **errp)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA + HUGE_PAGE;
    uint64_t old = 1, new = 2, val;

    if (pwrite(fd, &old, sizeof(old), page) != sizeof(old) ||
        pwrite(fd, &new, sizeof(new), 3 * page) != sizeof(new) ||
        !probe_vm_set_memory(vm, 1, gpa - page, data, 2 * page, 0) ||
        !probe_vm_read(vm, gpa, &val) || val != old ||
        mmap(data, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             fd, 2 * page) != data || !probe_vm_read(vm, gpa, &val)) {
        error_setg(errp, "the guest of the probe cannot read");
        return RISCV_VERDICT_UNKNOWN;
    }
    return val == new ? RISCV_VERDICT_GOOD : RISCV_VERDICT_FAULTY;
}

static RISCVVerdict probe(Error **errp)
{
    size_t page = qemu_real_host_page_size();

    return probe_vm_with_file(4 * page, 2 * page, MAP_SHARED, unmaps_all,
                              errp);
}

/* By advice would not do: a postcopy takes that back when it ends. */
static void disable_huge_pages(Error *why)
{
    riscv_fault_kept_pages.active = true;
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) {
        warn_report("KVM of this kernel leaves guests pages that the host has "
                    "taken away, and transparent huge pages cannot be switched "
                    "off: %s", strerror(errno));
    } else if (why) {
        warn_reportf_err(error_copy(why), "the guest has no transparent huge "
                         "pages (riscv-fault-kept-pages), because it cannot be "
                         "found out whether KVM of this kernel leaves guests "
                         "pages that the host has taken away: ");
    } else {
        warn_report("the guest has no transparent huge pages "
                    "(riscv-fault-kept-pages): its memory is not aligned to "
                    "them, and KVM of this kernel leaves guests pages that the "
                    "host has taken away");
    }
}

static void region_add(MemoryListener *listener, MemoryRegionSection *section)
{
    MemoryRegion *mr = section->mr;
    uint64_t gpa = section->offset_within_address_space;
    uint64_t size = int128_get64(section->size);
    Error *why = NULL;
    RISCVVerdict verdict;
    char *host;

    if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr) ||
        size < HUGE_PAGE || riscv_fault_kept_pages.active) {
        return;
    }
    host = (char *)memory_region_get_ram_ptr(mr) +
           section->offset_within_region;
    if (QEMU_IS_ALIGNED((uintptr_t)host - gpa, HUGE_PAGE)) {
        return;
    }
    verdict = riscv_fault_verdict(&riscv_fault_kept_pages, &why);
    trace_kvm_riscv_kept_pages_unaligned(gpa, size, verdict);
    if (verdict != RISCV_VERDICT_GOOD) {
        disable_huge_pages(why);
    }
    error_free(why);
}

static MemoryListener kept_pages_listener = {
    .name = "riscv-kept-pages",
    .region_add = region_add,
};

static void init(void)
{
    memory_listener_register(&kept_pages_listener, &address_space_memory);
}

RISCVFault riscv_fault_kept_pages = {
    .name = "kept-pages",
    .kernels = "6.12",
    .harm = "leaves guests pages that the host has taken away, if their memory "
            "is not aligned to 2 MiB",
    .found_out = "a guest reads a page of a file, and reads it again when "
                 "another is mapped there",
    .remedy = "no transparent huge pages for a guest with such memory",
    .cost = "speed",
    .probe = probe,
    .init = init,
};
