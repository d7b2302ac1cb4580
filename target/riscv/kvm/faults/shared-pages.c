/*
 * Guest memory of its own, for a KVM that writes to what the host shares
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * While dirty pages are logged, as they are during a migration, Linux 7.2 lets
 * the guest write to each page that it has only read before, also where the
 * host shares that page with others: often it is the host's page of zeros
 * (kvm_riscv_mmu_dirty_log_write_fault_fast() in arch/riscv/kvm/mmu.c).  So
 * before the log begins every private page gets a copy for the guest, and
 * keeps it as long as there is a log.
 *
 * Only pages that the guest has for itself already are left out.  Those that
 * nobody has touched cannot be: the guest may read one in the log, which then
 * maps the page of zeros, and write to it thereafter.
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qemu/error-report.h"
#include "qemu/madvise.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "migration/misc.h"
#include "migration/vmstate.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "../compat.h"
#include "aged-pages.h"
#include "faults.h"
#include "probe-vm.h"
#include "room.h"

/* An entry of /proc/self/pagemap: Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_EXCLUSIVE   BIT_ULL(56)
#define PAGEMAP_FILE        BIT_ULL(61)
#define PAGEMAP_SWAPPED     BIT_ULL(62)
#define PAGEMAP_PRESENT     BIT_ULL(63)

/* How much is populated before it is asked again whether there is room */
#define PART                (16 * MiB)
/* What is left to others, and to QEMU itself */
#define RESERVE             (32 * MiB)
/* How often a large guest's progress is told, ms */
#define PROGRESS_MS         10000

/* Whether a guest that writes @data, a private page of @fd, leaves @fd alone */
static RISCVVerdict leaves_shared(ProbeVM *vm, void *data, int fd, Error **errp)
{
    size_t page = qemu_real_host_page_size();
    uint64_t gpa = PROBE_VM_FREE_GPA;
    uint64_t val;

    if (!probe_vm_set_memory(vm, 1, gpa, data, page, 0) ||
        !probe_vm_read(vm, gpa, &val) ||
        !probe_vm_set_memory(vm, 1, gpa, data, page,
                             KVM_MEM_LOG_DIRTY_PAGES) ||
        !probe_vm_write(vm, gpa, 1) ||
        pread(fd, &val, sizeof(val), 0) != sizeof(val)) {
        error_setg(errp, "the guest of the probe cannot write");
        return RISCV_VERDICT_UNKNOWN;
    }
    return val ? RISCV_VERDICT_FAULTY : RISCV_VERDICT_GOOD;
}

static RISCVVerdict probe(Error **errp)
{
    size_t page = qemu_real_host_page_size();

    return probe_vm_with_file(page, page, MAP_PRIVATE, leaves_shared, errp);
}

/* Between the guest's getting its memory and the end of the log */
static struct {
    /* A migration has been told whether its log can begin: not if there is */
    bool asked;
    Error *refusal;
    /* The guest has all its memory, and nobody takes any of it away. */
    bool kept;
    bool logging;
} log_state;

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

static void unref_block(gpointer rb)
{
    memory_region_unref(((RAMBlock *)rb)->mr);
}

static GPtrArray *collect_blocks(void)
{
    GPtrArray *blocks = g_ptr_array_new_with_free_func(unref_block);

    qemu_ram_foreach_block(collect_block, blocks);
    return blocks;
}

static void merge_blocks(GPtrArray *blocks, int advice)
{
    for (guint i = 0; i < blocks->len; i++) {
        RAMBlock *rb = g_ptr_array_index(blocks, i);

        /* Not for a kernel without KSM, where there is nothing to be done. */
        qemu_madvise(qemu_ram_get_host_addr(rb), qemu_ram_get_used_length(rb),
                     advice);
    }
}

/* With the BQL held */
static void keep_no_more(void)
{
    g_autoptr(GPtrArray) blocks = NULL;

    if (!log_state.kept) {
        return;
    }
    log_state.kept = riscv_fault_shared_pages.active = false;
    ram_block_discard_disable(false);
    if (machine_mem_merge(current_machine)) {
        blocks = collect_blocks();
        merge_blocks(blocks, QEMU_MADV_MERGEABLE);
    }
}

/* What the host has of the guest's memory */
typedef struct Populate {
    int pagemap;
    /* Bytes that the guest has not got for itself, of those that count */
    uint64_t lacking;
    uint64_t done;
    int64_t told;
    /* It does not hold the BQL. */
    bool released;
} Populate;

/* Swapped pages come back as the guest's own. */
static bool is_own(uint64_t entry)
{
    return (entry & PAGEMAP_SWAPPED) ||
           ((entry & PAGEMAP_PRESENT) && (entry & PAGEMAP_EXCLUSIVE) &&
            !(entry & PAGEMAP_FILE));
}

static bool populate_run(char *host, size_t len, Error **errp)
{
    int ret;

    do {
        ret = qemu_madvise(host, len, QEMU_MADV_POPULATE_WRITE);
    } while (ret && (errno == EINTR || errno == EAGAIN));
    if (ret) {
        error_setg_errno(errp, errno, "%zu bytes of it cannot be allocated",
                         len);
    }
    return !ret;
}

/*
 * Returns how many bytes at @host, up to PART of them, the guest has not got
 * for itself, and gets them for it if @get.  Without a pagemap these are all,
 * and no harm is done to those that it has.
 */
static uint64_t do_part(Populate *p, char *host, size_t len, bool get,
                        Error **errp)
{
    size_t page = qemu_real_host_page_size(), n = len / page;
    g_autofree uint64_t *entry = g_new0(uint64_t, n);
    uint64_t lacking = 0;
    size_t i = 0;

    if (pread(p->pagemap, entry, n * sizeof(*entry),
              (uintptr_t)host / page * sizeof(*entry)) !=
        n * sizeof(*entry)) {
        memset(entry, 0, n * sizeof(*entry));
    }
    while (i < n) {
        size_t from = i;

        while (i < n && is_own(entry[i]) == is_own(entry[from])) {
            i++;
        }
        if (is_own(entry[from])) {
            continue;
        }
        lacking += (i - from) * page;
        if (get &&
            !populate_run(host + from * page, (i - from) * page, errp)) {
            break;
        }
    }
    return lacking;
}

/* What is of hugetlbfs is set aside already. */
static bool counts(RAMBlock *rb)
{
    return qemu_ram_pagesize(rb) == qemu_real_host_page_size();
}

static bool has_room(uint64_t bytes, const Populate *p, Error **errp)
{
    g_autofree char *who = NULL;
    uint64_t room = riscv_room(&who);
    /* For the tables that map it, of the process and of the guest */
    uint64_t need = bytes + bytes / 256 + RESERVE;

    if (room < need) {
        error_setg(errp, "KVM of this kernel writes to memory that the host "
                   "shares while dirty pages are logged: the guest needs %"
                   PRIu64 " MiB more for itself, with what others need %"
                   PRIu64 " MiB, and %s has %" PRIu64 " MiB left; one that is "
                   "started with -mem-prealloc needs none",
                   DIV_ROUND_UP(p->lacking - p->done, MiB),
                   DIV_ROUND_UP(need, MiB), who, room / MiB);
    }
    return room >= need;
}

static void tell_progress(Populate *p)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (now - p->told >= PROGRESS_MS && p->done < p->lacking) {
        p->told = now;
        info_report("the guest has got %" PRIu64 " of %" PRIu64 " MiB for "
                    "itself", p->done / (uint64_t)MiB,
                    DIV_ROUND_UP(p->lacking, MiB));
    }
}

static bool is_cancelled(Populate *p, Error **errp)
{
    MigrationInfo *info;
    bool cancelled;

    if (!p->released) {
        return false;
    }
    bql_lock();
    info = qmp_query_migrate(NULL);
    cancelled = info && info->has_status &&
                info->status == MIGRATION_STATUS_CANCELLING;
    qapi_free_MigrationInfo(info);
    bql_unlock();
    if (cancelled) {
        error_setg(errp, "the migration has been cancelled");
    }
    return cancelled;
}

/* All of @blocks once, to see how much is lacking, or @get it */
static bool do_blocks(Populate *p, GPtrArray *blocks, bool get, Error **errp)
{
    ERRP_GUARD();

    for (guint i = 0; i < blocks->len; i++) {
        RAMBlock *rb = g_ptr_array_index(blocks, i);
        char *host = qemu_ram_get_host_addr(rb);
        ram_addr_t len = qemu_ram_get_used_length(rb);

        for (ram_addr_t at = 0; at < len; at += PART) {
            size_t part = MIN(PART, len - at);
            uint64_t lacking = do_part(p, host + at, part, false, errp);

            if (!get) {
                p->lacking += counts(rb) ? lacking : 0;
                continue;
            }
            if (lacking && (is_cancelled(p, errp) ||
                            (counts(rb) && !has_room(lacking, p, errp)))) {
                return false;
            }
            do_part(p, host + at, part, true, errp);
            if (*errp) {
                return false;
            }
            p->done += counts(rb) ? lacking : 0;
            tell_progress(p);
        }
    }
    return true;
}

/* Returns how many bytes it took, or -1. */
static int64_t populate(GPtrArray *blocks, bool released, Error **errp)
{
    ERRP_GUARD();
    Populate p = {
        .pagemap = qemu_open("/proc/self/pagemap", O_RDONLY, NULL),
        .told = qemu_clock_get_ms(QEMU_CLOCK_REALTIME),
        .released = released,
    };
    bool ok;

    do_blocks(&p, blocks, false, errp);
    ok = !p.lacking || has_room(p.lacking, &p, errp);
    if (ok && p.lacking) {
        warn_report("KVM of this kernel writes to memory that the host shares "
                    "while dirty pages are logged: the guest gets %" PRIu64
                    " MiB more for itself (riscv-fault-shared-pages)",
                    DIV_ROUND_UP(p.lacking, MiB));
    }
    if (ok) {
        merge_blocks(blocks, QEMU_MADV_UNMERGEABLE);
        ok = do_blocks(&p, blocks, true, errp);
    }
    if (p.pagemap >= 0) {
        qemu_close(p.pagemap);
    }
    return ok ? p.done : -1;
}

/*
 * Has the guest get its memory and keep it.  With the BQL held; @release: it
 * may be let go meanwhile.
 */
static bool own_memory(bool release, Error **errp)
{
    RISCVVerdict verdict = riscv_fault_known(&riscv_fault_shared_pages);
    g_autoptr(GPtrArray) blocks = collect_blocks();
    int64_t bytes = 0;
    Error *why = NULL;

    if (release) {
        bql_unlock();
        verdict = riscv_fault_verdict(&riscv_fault_shared_pages, &why);
        /* There is no time for it when the log begins or ends. */
        riscv_fault_verdict(&riscv_fault_huge_log, NULL);
        riscv_fault_verdict(&riscv_fault_split_pages, NULL);
        bql_lock();
    } else {
        verdict = riscv_fault_verdict(&riscv_fault_shared_pages, &why);
    }
    if (verdict == RISCV_VERDICT_UNKNOWN) {
        error_propagate_prepend(errp, why, "it cannot be found out whether KVM "
                                "of this kernel writes to memory that the host "
                                "shares while dirty pages are logged: ");
        bytes = -1;
    } else if (verdict == RISCV_VERDICT_FAULTY && !log_state.kept) {
        if (ram_block_discard_disable(true)) {
            error_setg(errp, "KVM of this kernel writes to memory that the "
                       "host shares while dirty pages are logged, and a device "
                       "of the guest gives memory back to the host");
            bytes = -1;
        } else {
            log_state.kept = riscv_fault_shared_pages.active = true;
            if (release) {
                bql_unlock();
            }
            bytes = populate(blocks, release, errp);
            if (release) {
                bql_lock();
            }
            if (bytes < 0) {
                keep_no_more();
            } else {
                riscv_aged_pages_warn();
            }
        }
    }
    trace_kvm_riscv_shared_pages_own(verdict, bytes, release);
    return bytes >= 0;
}

/*
 * Early in a migration, in its thread, and before it holds what it must not
 * let go.  There is nothing to be sent.
 */
static bool migration_begins(void *opaque)
{
    /* What an earlier one was told that has failed before it had a log */
    log_state.asked = false;
    error_free(log_state.refusal);
    log_state.refusal = NULL;
    if (runstate_is_running() && migration_is_running() &&
        !migration_in_bg_snapshot()) {
        own_memory(true, &log_state.refusal);
        log_state.asked = true;
    }
    return false;
}

static const VMStateDescription vmstate_migration_begins = {
    .name = "riscv_fault_shared_pages",
    .early_setup = true,
    .priority = MIG_PRI_MAX,
    .needed = migration_begins,
    .fields = (const VMStateField[]) {
        VMSTATE_END_OF_LIST()
    },
};

static bool refuse_dirty_rate(Error **errp)
{
    error_setg(errp, "KVM of this kernel writes to memory that the host shares "
               "while dirty pages are logged, and to measure a rate is no "
               "reason to give the guest all its memory; use page-sampling");
    return false;
}

static bool log_global_start(MemoryListener *listener, Error **errp)
{
    bool asked = log_state.asked;

    log_state.asked = false;
    if (!(global_dirty_tracking & GLOBAL_DIRTY_MIGRATION)) {
        return riscv_fault_verdict(&riscv_fault_shared_pages, NULL) ==
               RISCV_VERDICT_GOOD || refuse_dirty_rate(errp);
    }
    if (asked && log_state.refusal) {
        error_propagate(errp, log_state.refusal);
        log_state.refusal = NULL;
        return false;
    }
    if (runstate_is_running() && !asked &&
        riscv_fault_verdict(&riscv_fault_shared_pages, NULL) !=
        RISCV_VERDICT_GOOD) {
        error_setg(errp, "the guest has begun to run before its migration has "
                   "begun to log dirty pages; try again");
        return false;
    }
    /* A guest that stands, for its snapshot perhaps, writes nothing. */
    log_state.logging = true;
    return true;
}

static void log_global_stop(MemoryListener *listener)
{
    log_state.logging = false;
    keep_no_more();
}

/* A migration that has failed before it had a log */
static int migration_event(NotifierWithReturn *notifier, MigrationEvent *event,
                           Error **errp)
{
    if (event->type == MIG_EVENT_PRECOPY_FAILED && !log_state.logging) {
        keep_no_more();
    }
    return 0;
}

/*
 * The guest is to go on while it is being sent.  This is the last that is told,
 * before the vCPUs are: they are not where the guest stands again by then.
 */
static void vm_state_change(void *opaque, bool running, RunState state)
{
    Error *err = NULL;

    if (running && log_state.logging && !own_memory(false, &err)) {
        error_reportf_err(err, "the guest stands until it has been sent: ");
        vm_stop(RUN_STATE_PAUSED);
    }
}

static MemoryListener shared_pages_listener = {
    .name = "riscv-shared-pages",
    .log_global_start = log_global_start,
    .log_global_stop = log_global_stop,
};

static void init(void)
{
    static NotifierWithReturn notifier;

    memory_listener_register(&shared_pages_listener, &address_space_memory);
    vmstate_register(NULL, 0, &vmstate_migration_begins, &log_state);
    migration_add_notifier(&notifier, migration_event);
    qemu_add_vm_change_state_handler_prio(vm_state_change, NULL, INT_MAX);
}

RISCVFault riscv_fault_shared_pages = {
    .name = "shared-pages",
    .kernels = "7.2",
    .harm = "writes to memory that the host shares while dirty pages are "
            "logged",
    .found_out = "a guest reads and, in a log, writes a private page of a file",
    .remedy = "before a log the guest gets a copy of each page that is not its "
              "own, and keeps it: no balloon, no KSM",
    .cost = "memory of the host that the guest has not used yet",
    .probe = probe,
    .init = init,
};
