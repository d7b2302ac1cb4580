/*
 * Huge pages in parts, which KVM does not put together again after a log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Linux 7.2 splits its entries for huge pages while dirty pages are logged, and
 * does not find the parts again when that has ended
 * (kvm_riscv_gstage_map_page()): a hart that writes to one takes the same fault
 * for ever.  So when a log has ended, and the guest is still on this host, its
 * tables are made anew.  The guest keeps its huge pages.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/units.h"
#include "cpu.h"
#include "faults.h"
#include "probe-vm.h"
#include "tables.h"

#define HUGE_PAGE (2 * MiB)

/* Linux 6.1 */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Whether the guest can write each page of a huge one, of @data, after a log */
static RISCVVerdict writes_after_log(ProbeVM *vm, void *data, Error **errp)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA;

    if (!probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE, 0) ||
        !probe_vm_write(vm, gpa + page, 1) ||
        !probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE,
                             KVM_MEM_LOG_DIRTY_PAGES) ||
        !probe_vm_write(vm, gpa + page, 2) ||
        !probe_vm_set_memory(vm, 1, gpa, data, HUGE_PAGE, 0)) {
        error_setg(errp, "the guest of the probe cannot write");
        return RISCV_VERDICT_UNKNOWN;
    }
    probe_vm_expect_hang(vm);
    return probe_vm_write(vm, gpa + 2 * page, 3) ? RISCV_VERDICT_GOOD
                                                  : RISCV_VERDICT_FAULTY;
}

static RISCVVerdict probe(Error **errp)
{
    /* Between others there is a whole one, wherever they are. */
    void *memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *data = QEMU_ALIGN_PTR_UP(memory, HUGE_PAGE);
    RISCVVerdict verdict = RISCV_VERDICT_UNKNOWN;
    ProbeVM *vm;

    if (memory == MAP_FAILED) {
        error_setg_errno(errp, errno, "no memory for the probe");
        return verdict;
    }
    memset(data, 0, HUGE_PAGE);
    if (madvise(data, HUGE_PAGE, MADV_COLLAPSE)) {
        error_setg_errno(errp, errno, "no huge page for the probe");
    } else {
        vm = probe_vm_new(errp);
        if (vm) {
            verdict = writes_after_log(vm, data, errp);
            probe_vm_free(vm);
        }
    }
    munmap(memory, 2 * HUGE_PAGE);
    return verdict;
}

/* What is not known costs no more than a fault for each page. */
static void log_stop(MemoryListener *listener, MemoryRegionSection *section,
                     int old, int new)
{
    if (!new && memory_region_is_ram(section->mr) &&
        !memory_region_is_ram_device(section->mr) &&
        int128_get64(section->size) >= HUGE_PAGE &&
        riscv_fault_known(&riscv_fault_split_pages) != RISCV_VERDICT_GOOD) {
        riscv_tables_remake(section, 0);
    }
}

/* Of the lowest priority: comes to log_stop() after KVM. */
static MemoryListener split_pages_listener = {
    .name = "riscv-split-pages",
    .log_stop = log_stop,
};

static void init(void)
{
    memory_listener_register(&split_pages_listener, &address_space_memory);
}

RISCVFault riscv_fault_split_pages = {
    .name = "split-pages",
    .kernels = "7.2",
    .harm = "hangs a hart that writes to a transparent huge page after dirty "
            "pages were logged",
    .found_out = "a guest with one huge page writes to it before, in and after "
                 "a log",
    .remedy = "the tables of guest memory are made anew when a log has ended",
    .cost = "a fault for each page or huge page that the guest comes to again",
    .probe = probe,
    .init = init,
};
