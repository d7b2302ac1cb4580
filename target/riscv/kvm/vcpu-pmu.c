/*
 * Performance counters of a vCPU (SBI PMU), which no register shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Only the guest can ask for them, so calls of the SBI are made in its stead
 * (sbi-pmu.c).  Counters that are in use cannot be carried, and nothing is
 * saved then.  The address of the snapshot area, into which KVM writes the
 * counters that it stops, can be found and set.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/guest-random.h"
#include "qemu/timer.h"
#include "migration/misc.h"
#include "system/kvm.h"
#include "system/runstate.h"
#include "cpu.h"
#include "compat.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia-files.h"
#include "faults/stale-csrs.h"
#include "ram-search.h"
#include "sbi-pmu.h"
#include "vcpu.h"
#include "vcpu-enter.h"
#include "vcpu-pmu.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"

/* What a snapshot area is: pages of the SBI, whatever the host's are */
#define AREA_BYTES              4096
#define AREA_VALUE_OFFSET       8

static RISCVPMU *get_pmu(CPUState *cs)
{
    return &RISCV_CPU(cs)->kvm_vcpu->extra.pmu;
}

/* 1, or 0 where the kernel, the host or QEMU's user does not offer it */
static int is_offered(CPUState *cs, Error **errp)
{
    uint64_t value = 0;
    int ret = kvm_get_one_reg(cs, SBI_EXT_REG(PMU), &value);

    if (ret == -ENOENT || ret == -EINVAL) {
        return 0;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "KVM register 0x%016" PRIx64 " of hart %d "
                         "cannot be read", (uint64_t)SBI_EXT_REG(PMU),
                         cs->cpu_index);
        return ret;
    }
    return value != 0;
}

/* Marks the areas of @harts, finds them, and puts back what was there. */
static bool search_areas(GPtrArray *harts, uint64_t *areas, Error **errp)
{
    g_autofree uint64_t *first = g_new0(uint64_t, harts->len);
    uint64_t value;
    int ret;

    for (unsigned i = 0; i < harts->len; i++) {
        areas[i] = RISCV_PMU_NO_AREA;
    }
    qemu_guest_getrandom_nofail(&value, sizeof(value));
    ret = kvm_riscv_sbi_pmu_mark(harts, value, first, errp);
    if (ret == 0) {
        kvm_riscv_ram_find_words(AREA_BYTES, AREA_VALUE_OFFSET, value,
                                 harts->len, areas);
    }
    return kvm_riscv_sbi_pmu_unmark(harts, first, ret ? NULL : errp) == 0 &&
           ret == 0;
}

/*
 * One search for all @harts.  Where several have the same area one of them is
 * found, and the others without it the next time.
 */
static bool find_areas(GPtrArray *harts, Error **errp)
{
    while (harts->len) {
        g_autofree uint64_t *areas = g_new(uint64_t, harts->len);
        unsigned before = harts->len;

        if (!search_areas(harts, areas, errp)) {
            return false;
        }
        for (unsigned i = before; i-- > 0; ) {
            CPUState *cs = harts->pdata[i];

            if (areas[i] != RISCV_PMU_NO_AREA) {
                get_pmu(cs)->area = areas[i];
                trace_kvm_riscv_pmu_area(cs->cpu_index, areas[i]);
                g_ptr_array_remove_index(harts, i);
            }
        }
        if (harts->len == before) {
            error_setg(errp, "the snapshot area of the performance counters "
                       "of hart %d (SBI PMU) is not found, since it does not "
                       "begin at a page as it has to",
                       ((CPUState *)harts->pdata[0])->cpu_index);
            return false;
        }
    }
    return true;
}

static void append_counters(GString *text, int hart, uint64_t in_use)
{
    const char *comma = "";

    g_string_append_printf(text, "%shart %d: ", text->len ? "; " : "", hart);
    for (unsigned i = 0; i < RISCV_PMU_MAX_COUNTERS; i++) {
        if (in_use & BIT_ULL(i)) {
            g_string_append_printf(text, "%s%u", comma, i);
            comma = ", ";
        }
    }
}

void kvm_riscv_pmu_prepare(void)
{
    Error *err = NULL;

    /* Where that fails it is tried again, and told, when it matters. */
    kvm_riscv_sbi_pmu_learn(&err);
    error_free(err);
}

/* The harts that may have something the kernel does not show */
static GPtrArray *get_harts(Error **errp)
{
    g_autoptr(GPtrArray) harts = g_ptr_array_new();
    CPUState *cs;

    CPU_FOREACH(cs) {
        int offered;

        /* Then there is what was loaded, if anything. */
        if (!RISCV_CPU(cs)->kvm_vcpu->ran) {
            continue;
        }
        get_pmu(cs)->area = RISCV_PMU_NO_AREA;
        offered = is_offered(cs, errp);
        if (offered < 0) {
            return NULL;
        }
        /* The start of a hart resets them. */
        if (offered && !kvm_riscv_vcpu_is_stopped(cs) &&
            !kvm_riscv_aia_waits_for_file(cs)) {
            g_ptr_array_add(harts, cs);
        }
    }
    return g_steal_pointer(&harts);
}

static bool ask_harts(GPtrArray *harts, Error **errp)
{
    g_autofree RISCVPMUUse *use = g_new0(RISCVPMUUse, harts->len);
    g_autoptr(GPtrArray) with_area = g_ptr_array_new();
    g_autoptr(GString) open = g_string_new("");

    if (kvm_riscv_sbi_pmu_learn(errp) < 0 ||
        kvm_riscv_sbi_pmu_look(harts, use, errp) < 0) {
        return false;
    }
    for (unsigned i = 0; i < harts->len; i++) {
        CPUState *cs = harts->pdata[i];

        if (use[i].counters) {
            append_counters(open, cs->cpu_index, use[i].counters);
        } else if (use[i].has_area) {
            g_ptr_array_add(with_area, cs);
        }
    }
    if (open->len) {
        error_setg(errp, "The guest has performance counters in use, which "
                   "KVM does not let QEMU save (%s); close them in the guest "
                   "(perf and the like), or start it with "
                   "'-cpu ...,migratable=on'", open->str);
        return false;
    }
    return find_areas(with_area, errp);
}

static bool ask(Error **errp)
{
    g_autoptr(GPtrArray) harts = get_harts(errp);
    bool ok;

    if (!harts || !harts->len) {
        return harts;
    }
    if (kvm_riscv_vcpu_begin_entries(errp) < 0) {
        return false;
    }
    ok = ask_harts(harts, errp);
    if (ok && migration_is_running()) {
        kvm_riscv_vcpu_leave_pages();
        return true;
    }
    return kvm_riscv_vcpu_end_entries(ok ? errp : NULL) == 0 && ok;
}

/*
 * A reset of the machine, which releases the BQL as does a save: how many have
 * begun, and whether one is under way
 */
static struct {
    unsigned num;
    bool busy;
    QemuCond done;
} reset;

/* The guest must not go on in the midst of one. */
static bool wait_for_reset(void)
{
    bool waits = reset.busy;

    while (reset.busy) {
        qemu_cond_wait_bql(&reset.done);
    }
    return waits;
}

/* Why harts could not be asked when the machine stopped, or NULL */
static Error *failed;

bool kvm_riscv_pmu_ask(Error **errp)
{
    int64_t began = qemu_clock_get_us(QEMU_CLOCK_REALTIME);
    bool was_reset = wait_for_reset();
    unsigned before = reset.num;
    CPUState *cs;
    bool ok;

    /* All are asked at once. */
    if (get_pmu(first_cpu)->asked) {
        return true;
    }
    if (failed) {
        error_propagate(errp, g_steal_pointer(&failed));
        return false;
    }
    ok = ask(errp);
    wait_for_reset();
    if (ok && (was_reset || reset.num != before)) {
        /* The memory has gone, and is that of before. */
        error_setg(errp, "The machine was reset while it was being saved; "
                   "save it again");
        ok = false;
    }
    /* A guest that is saved may not go on. */
    kvm_riscv_stale_csrs_release();
    trace_kvm_riscv_pmu_ask(qemu_clock_get_us(QEMU_CLOCK_REALTIME) - began,
                            ok);
    CPU_FOREACH(cs) {
        get_pmu(cs)->asked = ok;
    }
    return ok;
}

void kvm_riscv_pmu_forget(CPUState *cs)
{
    get_pmu(cs)->asked = false;
    get_pmu(cs)->told = true;
}

void kvm_riscv_pmu_was_reset(void)
{
    reset.busy = false;
    qemu_cond_broadcast(&reset.done);
}

/*
 * The last of all when the machine stops: then harts are asked before the last
 * of the memory is sent.
 */
static void vm_state_change(void *opaque, bool running, RunState state)
{
    error_free(failed);
    failed = NULL;
    if (state == RUN_STATE_FINISH_MIGRATE) {
        kvm_riscv_pmu_ask(&failed);
    }
}

void kvm_riscv_pmu_init(CPUState *cs)
{
    if (cs == first_cpu) {
        qemu_cond_init(&reset.done);
        qemu_add_vm_change_state_handler_prio(vm_state_change, NULL, -1);
    }
    get_pmu(cs)->area = RISCV_PMU_NO_AREA;
}

/*
 * Linux 6.12 has no reset for QEMU to ask for, and that of 7.2 leaves counters
 * of the hardware started which it closes (docs/kernel-facts.md).
 */
void kvm_riscv_pmu_reset(CPUState *cs)
{
    RISCVPMU *pmu = get_pmu(cs);
    Error *err = NULL;

    reset.num += !reset.busy;
    reset.busy = true;
    pmu->asked = false;
    pmu->area = RISCV_PMU_NO_AREA;
    pmu->told = false;
    pmu->to_put = false;
    if (!RISCV_CPU(cs)->kvm_vcpu->ran || kvm_riscv_aia_waits_for_file(cs)) {
        return;
    }
    if (is_offered(cs, &err) > 0 && kvm_riscv_sbi_pmu_learn(&err) == 0) {
        kvm_riscv_sbi_pmu_close(cs, &err);
    }
    if (err) {
        warn_reportf_err(err, "performance counters of before the reset are "
                         "not closed: ");
    }
}

/* The guest has asked for the counters once, when it booted. */
static int check_counters(CPUState *cs, Error **errp)
{
    const RISCVPMUCounters *ours = kvm_riscv_sbi_pmu_counters();
    const RISCVPMU *pmu = get_pmu(cs);
    int ret;

    if (!pmu->stream_num) {
        return 0;
    }
    ret = kvm_riscv_sbi_pmu_learn(errp);
    if (ret < 0) {
        return ret;
    }
    if (pmu->stream_num == ours->num &&
        pmu->stream_firmware == ours->firmware) {
        return 0;
    }
    error_setg(errp, "performance counters (SBI PMU) of hart %d: %u on the "
               "source, 0x%" PRIx64 " of them the SBI's own; %u on the "
               "destination, 0x%" PRIx64 " of them", cs->cpu_index,
               pmu->stream_num, pmu->stream_firmware, ours->num,
               ours->firmware);
    return -EINVAL;
}

static void rw_areas(const uint64_t *areas, unsigned num, uint8_t *content,
                     bool is_write)
{
    for (unsigned i = 0; i < num; i++) {
        address_space_rw(&address_space_memory, areas[i],
                         MEMTXATTRS_UNSPECIFIED, content + i * AREA_BYTES,
                         AREA_BYTES, is_write);
    }
}

static int put_areas(GPtrArray *harts, const uint64_t *areas, Error **errp)
{
    g_autofree uint8_t *content = g_malloc(harts->len * AREA_BYTES);
    int ret;

    /* KVM empties an area that is set. */
    rw_areas(areas, harts->len, content, false);
    ret = kvm_riscv_sbi_pmu_set_areas(harts, areas, errp);
    rw_areas(areas, harts->len, content, true);
    return ret ?: kvm_riscv_sbi_pmu_read_areas(harts, errp);
}

int kvm_riscv_pmu_put(Error **errp)
{
    g_autoptr(GPtrArray) harts = g_ptr_array_new();
    g_autoptr(GArray) areas = g_array_new(false, false, sizeof(uint64_t));
    CPUState *cs;
    int ret = 0;

    CPU_FOREACH(cs) {
        RISCVPMU *pmu = get_pmu(cs);
        uint64_t area = pmu->area;
        bool to_put = pmu->to_put;

        pmu->to_put = false;
        if (!to_put ||
            RISCV_CPU(cs)->kvm_vcpu->mp_state != KVM_MP_STATE_RUNNABLE) {
            continue;
        }
        ret = check_counters(cs, errp);
        if (ret < 0) {
            return ret;
        }
        if (area == RISCV_PMU_NO_AREA) {
            continue;
        }
        if (!kvm_riscv_ram_is_plain(area, AREA_BYTES)) {
            error_setg(errp, "hart %d cannot have its snapshot area (SBI PMU) "
                       "at 0x%" PRIx64 ", where there is no memory",
                       cs->cpu_index, area);
            return -EINVAL;
        }
        g_ptr_array_add(harts, cs);
        g_array_append_val(areas, area);
    }
    if (!harts->len) {
        return 0;
    }
    if (kvm_riscv_vcpu_begin_entries(errp) < 0) {
        return -EIO;
    }
    ret = put_areas(harts, (uint64_t *)areas->data, errp);
    return kvm_riscv_vcpu_end_entries(ret ? NULL : errp) ? -EIO : ret;
}

static bool pmu_needed(void *opaque)
{
    return RISCV_CPU(opaque)->kvm_vcpu->extra.pmu.stream_num;
}

void kvm_riscv_pmu_pre_save(CPUState *cs)
{
    const RISCVPMUCounters *ours = kvm_riscv_sbi_pmu_counters();
    RISCVPMU *pmu = get_pmu(cs);

    pmu->stream_area = pmu->area;
    if (!pmu->told) {
        pmu->stream_num = 0;
        pmu->stream_firmware = 0;
    } else if (ours->num) {
        pmu->stream_num = ours->num;
        pmu->stream_firmware = ours->firmware;
    }
}

void kvm_riscv_pmu_pre_load(CPUState *cs)
{
    RISCVPMU *pmu = get_pmu(cs);

    pmu->stream_area = RISCV_PMU_NO_AREA;
    pmu->stream_num = 0;
    pmu->stream_firmware = 0;
}

static bool area_ok(void *opaque, int version_id)
{
    uint64_t area = ((KVMRISCVVCPU *)opaque)->extra.pmu.stream_area;

    return area == RISCV_PMU_NO_AREA || area % AREA_BYTES == 0;
}

static const VMStateDescription vmstate_pmu_fields = {
    .name = "cpu/kvm-riscv/pmu/fields",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(extra.pmu.stream_area, KVMRISCVVCPU),
        VMSTATE_VALIDATE("address of the snapshot area of SBI PMU", area_ok),
        VMSTATE_UINT32(extra.pmu.stream_num, KVMRISCVVCPU),
        VMSTATE_UINT64(extra.pmu.stream_firmware, KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_kvm_riscv_pmu = {
    .name = "cpu/kvm-riscv/pmu",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = pmu_needed,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, RISCVCPU, vmstate_pmu_fields,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};
