/*
 * Guest memory of its own, for a KVM that writes to what the host shares
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * While dirty pages are logged, as they are during a migration, Linux 7.2 lets
 * the guest write to each page that it has only read before, also where the
 * host shares that page with others: often it is the host's page of zeros
 * (kvm_riscv_mmu_dirty_log_write_fault_fast() in arch/riscv/kvm/mmu.c).  So
 * before the log begins every private page gets a copy for the guest.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "../compat.h"
#include "dirty-log.h"
#include "probe-vm.h"

/* Whether a guest that writes @data, a private page of @fd, leaves @fd alone */
static bool leaves_shared(ProbeVM *vm, void *data, int fd)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA;
    uint64_t val;

    return probe_vm_set_memory(vm, 1, gpa, data, page, 0) &&
           probe_vm_read(vm, gpa, &val) &&
           probe_vm_set_memory(vm, 1, gpa, data, page,
                               KVM_MEM_LOG_DIRTY_PAGES) &&
           probe_vm_write(vm, gpa, 1) &&
           pread(fd, &val, sizeof(val), 0) == sizeof(val) && val == 0;
}

/* What cannot be found out is taken for no. */
static bool probe(void)
{
    size_t page = qemu_real_host_page_size();

    return probe_vm_with_file(page, page, MAP_PRIVATE, leaves_shared);
}

static int collect_block(RAMBlock *rb, void *opaque)
{
    /* KVM writes to none of these, or to what is not copied anyway. */
    if (!rb->mr->readonly && !rb->mr->rom_device && !rb->mr->ram_device &&
        !qemu_ram_is_shared(rb)) {
        memory_region_ref(rb->mr);
        g_ptr_array_add(opaque, rb);
    }
    return 0;
}

/* Returns how many bytes they have, or -1. */
static int64_t populate(GPtrArray *blocks, Error **errp)
{
    ERRP_GUARD();
    int64_t bytes = 0;

    for (guint i = 0; i < blocks->len; i++) {
        RAMBlock *rb = g_ptr_array_index(blocks, i);
        void *host = qemu_ram_get_host_addr(rb);
        ram_addr_t len = qemu_ram_get_used_length(rb);

        /* Not for a kernel without KSM, where there is nothing to be done. */
        qemu_madvise(host, len, QEMU_MADV_UNMERGEABLE);
        if (!qemu_prealloc_mem(qemu_ram_get_fd(rb), host, len,
                               current_machine->smp.cpus, NULL, false, errp)) {
            error_prepend(errp, "KVM of this kernel writes to memory that the "
                          "host shares while dirty pages are logged, and the "
                          "guest cannot get all memory for itself: ");
            return -1;
        }
        bytes += len;
    }
    return bytes;
}

/*
 * The same kernels do not set the A bit that ageing takes away where a guest
 * writes to a page that is logged: without hardware that does (Svadu) the hart
 * hangs until somebody reads the page.  Nothing can be done about it from here,
 * but that Linux itself ages all memory all the time can be switched off.
 */
static void warn_of_ageing(void)
{
    static const char param[] = "/sys/module/damon_stat/parameters/enabled";
    g_autofree char *enabled = NULL;

    if (g_file_get_contents(param, &enabled, NULL, NULL) &&
        enabled[0] == 'Y') {
        warn_report_once("KVM of this kernel may hang a vCPU that writes to "
                         "memory which ages while dirty pages are logged, and "
                         "DAMON ages it; 'echo N >%s' switches that off",
                         param);
    }
}

/* With the BQL held; @release: it may be let go meanwhile */
static bool own_memory(bool release, Error **errp)
{
    static bool probed, good;
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    int64_t bytes = 0;

    if (!probed) {
        good = probe();
        probed = true;
    }
    if (!good) {
        qemu_ram_foreach_block(collect_block, blocks);
        if (release) {
            bql_unlock();
        }
        bytes = populate(blocks, errp);
        if (release) {
            bql_lock();
        }
        for (guint i = 0; i < blocks->len; i++) {
            memory_region_unref(((RAMBlock *)blocks->pdata[i])->mr);
        }
    }
    trace_kvm_riscv_dirty_log_own(good, bytes, release);
    if (bytes > 0) {
        warn_report_once("KVM of this kernel writes to memory that the host "
                         "shares while dirty pages are logged; the guest has "
                         "got all of its %" PRId64 " MiB for itself",
                         bytes / (int64_t)MiB);
        warn_of_ageing();
    }
    return bytes >= 0;
}

void kvm_riscv_dirty_log_prepare(void)
{
    if (runstate_is_running()) {
        own_memory(true, NULL);
    }
}

static bool logging;

static bool log_global_start(MemoryListener *listener, Error **errp)
{
    /* A guest that stands, for its snapshot perhaps, writes nothing. */
    logging = !runstate_is_running() || own_memory(false, errp);
    return logging;
}

static void log_global_stop(MemoryListener *listener)
{
    logging = false;
}

static void vm_state_change(void *opaque, bool running, RunState state)
{
    Error *err = NULL;

    if (running && logging && !own_memory(false, &err)) {
        error_report_err(err);
        qemu_system_vmstop_request_prepare();
        qemu_system_vmstop_request(RUN_STATE_INTERNAL_ERROR);
    }
}

static MemoryListener dirty_log_listener = {
    .name = "riscv-dirty-log",
    .log_global_start = log_global_start,
    .log_global_stop = log_global_stop,
};

void kvm_riscv_dirty_log_init(void)
{
    memory_listener_register(&dirty_log_listener, &address_space_memory);
    /* When it is known whether the log has ended while the guest stood. */
    qemu_add_vm_change_state_handler_prio(vm_state_change, NULL, 1);
}
