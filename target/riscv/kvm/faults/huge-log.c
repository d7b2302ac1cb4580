/*
 * Entries for hugetlbfs, which KVM does not split for a log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * While dirty pages are logged Linux 6.12 maps pages of 4 KiB, and answers
 * EEXIST where it has an entry for a huge page already (gstage_set_pte()):
 * KVM_RUN fails with the guest's first write.  So when a log begins, the tables
 * of such memory are made anew: from then on all faults are in the log.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/units.h"
#include "system/kvm_int.h"
#include "cpu.h"
#include "faults.h"
#include "probe-vm.h"
#include "tables.h"

#define HUGE_PAGE (2 * MiB)

/* Whether the guest can write to @data, a huge page, in a log */
static RISCVVerdict writes_in_log(ProbeVM *vm, void *data, Error **errp)
{
    uint64_t gpa = PROBE_VM_FREE_GPA;

    if (!probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE, 0) ||
        !probe_vm_write(vm, gpa, 1) ||
        !probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE,
                             KVM_MEM_LOG_DIRTY_PAGES)) {
        error_setg(errp, "the guest of the probe cannot write");
        return RISCV_VERDICT_UNKNOWN;
    }
    return probe_vm_write(vm, gpa, 2) ? RISCV_VERDICT_GOOD
                                      : RISCV_VERDICT_FAULTY;
}

static RISCVVerdict probe(Error **errp)
{
    /* MAP_HUGETLB, of 2^21 bytes */
    void *data = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
                      (21 << MAP_HUGE_SHIFT), -1, 0);
    RISCVVerdict verdict = RISCV_VERDICT_UNKNOWN;
    ProbeVM *vm;

    if (data == MAP_FAILED) {
        error_setg_errno(errp, errno, "no page of hugetlbfs for the probe");
        return verdict;
    }
    vm = probe_vm_new(errp);
    if (vm) {
        verdict = writes_in_log(vm, data, errp);
        probe_vm_free(vm);
    }
    munmap(data, HUGE_PAGE);
    return verdict;
}

static bool is_hugetlb(const MemoryRegion *mr)
{
    return mr->ram_block &&
           qemu_ram_pagesize(mr->ram_block) > qemu_real_host_page_size();
}

static bool is_concerned(MemoryRegionSection *section)
{
    return is_hugetlb(section->mr) &&
           !memory_region_is_ram_device(section->mr) &&
           riscv_fault_known(&riscv_fault_huge_log) != RISCV_VERDICT_GOOD;
}

/*
 * The same kernels do not remove all of a slot that neither begins at 1 GiB
 * nor ends before the next: see kept-pages.c.
 */
static bool log_global_start(MemoryListener *listener, Error **errp)
{
    const KVMMemoryListener *kml = &kvm_state->memory_listener;

    if (riscv_fault_known(&riscv_fault_huge_log) == RISCV_VERDICT_GOOD) {
        return true;
    }
    for (unsigned i = 0; i < kml->nr_slots_allocated; i++) {
        const KVMSlot *slot = &kml->slots[i];
        hwaddr gpa = slot->start_addr;
        ram_addr_t offset;
        RAMBlock *rb;

        if (!slot->memory_size || QEMU_IS_ALIGNED(gpa, GiB) ||
            gpa / GiB == (gpa + slot->memory_size - 1) / GiB) {
            continue;
        }
        rb = qemu_ram_block_from_host(slot->ram, false, &offset);
        if (rb && qemu_ram_pagesize(rb) > qemu_real_host_page_size() &&
            riscv_fault_verdict(&riscv_fault_huge_log, NULL) !=
            RISCV_VERDICT_GOOD &&
            riscv_fault_verdict(&riscv_fault_kept_pages, NULL) !=
            RISCV_VERDICT_GOOD) {
            error_setg(errp, "KVM of this kernel cannot log dirty pages of "
                       "hugetlbfs, and not do without either where its memory "
                       "begins at 0x%" PRIx64 ", which is not aligned to "
                       "1 GiB", (uint64_t)gpa);
            error_append_hint(errp, "Give each node a multiple of 1 GiB, or "
                              "memory that is not of hugetlbfs.\n");
            return false;
        }
    }
    return true;
}

static void log_start(MemoryListener *listener, MemoryRegionSection *section,
                      int old, int new)
{
    if (!old && is_concerned(section)) {
        riscv_tables_remake(section, KVM_MEM_LOG_DIRTY_PAGES);
    }
}

/* Of the lowest priority: comes to log_start() before KVM. */
static MemoryListener huge_log_listener = {
    .name = "riscv-huge-log",
    .log_global_start = log_global_start,
    .log_start = log_start,
};

static void init(void)
{
    memory_listener_register(&huge_log_listener, &address_space_memory);
}

RISCVFault riscv_fault_huge_log = {
    .name = "huge-log",
    .kernels = "6.12",
    .harm = "cannot run a guest with memory of hugetlbfs while dirty pages are "
            "logged",
    .found_out = "a guest with one page of hugetlbfs writes to it before and "
                 "in a log",
    .remedy = "the tables of such memory are made anew when a log begins",
    .cost = "a fault for each page that the guest comes to again",
    .probe = probe,
    .init = init,
};
