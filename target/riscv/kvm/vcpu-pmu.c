/*
 * Performance counters of a vCPU (SBI PMU), which no register shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Only the guest can ask for them, so calls of the SBI are made in its stead
 * (vcpu-enter.c).  Counters that are in use cannot be carried, and nothing is
 * saved then.  The address of the snapshot area, into which KVM writes the
 * counters that it stops, can be found and set.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/guest-random.h"
#include "qemu/timer.h"
#include "system/kvm.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia.h"
#include "compat.h"
#include "faults/stale-csrs.h"
#include "ram-search.h"
#include "vcpu.h"
#include "vcpu-enter.h"
#include "vcpu-pmu.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"

#define SBI_EXT_PMU             0x504d55
#define PMU_NUM_COUNTERS        0
#define PMU_COUNTER_GET_INFO    1
#define PMU_COUNTER_CFG_MATCH   2
#define PMU_COUNTER_START       3
#define PMU_COUNTER_STOP        4
#define PMU_COUNTER_FW_READ     5
#define PMU_SNAPSHOT_SET_SHMEM  7

#define START_SET_INIT_VALUE    BIT(0)
#define START_INIT_SNAPSHOT     BIT(1)
#define STOP_RESET              BIT(0)
#define STOP_TAKE_SNAPSHOT      BIT(1)

#define PMU_ALREADY_STOPPED     (-8)
/* None of the SBI's errors */
#define NOT_CALLED              1

#define INFO_FIRMWARE           BIT_ULL(63)

/* HFENCE.VVMA with an ASID received: not within a few calls of the SBI */
#define QUIET_EVENT             0xf0015

/* Never in use: it would be the time. */
#define NO_COUNTER              1
#define MAX_COUNTERS            64

/* What a snapshot area is: pages of the SBI, whatever the host's are */
#define AREA_BYTES              4096
#define AREA_VALUE_OFFSET       8

/* The same for each vCPU */
static struct {
    /* 0 where that is not known yet */
    unsigned num;
    /* Those that the SBI itself counts, a bit each */
    uint64_t firmware;
} counters;

static RISCVPMU *get_pmu(CPUState *cs)
{
    return &RISCV_CPU(cs)->kvm_vcpu->pmu;
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

static RISCVSBICall pmu_call(uint64_t fid, uint64_t arg0, uint64_t arg1,
                             uint64_t arg2, uint64_t arg3)
{
    return (RISCVSBICall) {
        .ext = SBI_EXT_PMU, .fid = fid, .arg = { arg0, arg1, arg2, arg3 },
        .error = NOT_CALLED,
    };
}

/* A call for one counter */
static RISCVSBICall start(unsigned counter, uint64_t flags, uint64_t value)
{
    return pmu_call(PMU_COUNTER_START, counter, 1, flags, value);
}

static RISCVSBICall stop(unsigned counter, uint64_t flags)
{
    return pmu_call(PMU_COUNTER_STOP, counter, 1, flags, 0);
}

/* Makes calls that must succeed, but for the last @may_fail. */
static int call_all(CPUState *cs, RISCVSBICall *calls, unsigned num,
                    unsigned may_fail, Error **errp)
{
    int ret = kvm_riscv_vcpu_call_sbi(cs, calls, num, errp);

    if (ret == -EBUSY) {
        error_setg(errp, "hart %d gets no guest interrupt file on this host, "
                   "and its performance counters cannot be seen or set "
                   "without", cs->cpu_index);
    }
    for (unsigned i = 0; i + may_fail < num && !ret; i++) {
        if (calls[i].error) {
            error_setg(errp, "hart %d: function %d of SBI PMU: error %d",
                       cs->cpu_index, (int)calls[i].fid, (int)calls[i].error);
            ret = -EIO;
        }
    }
    return ret;
}

/* The same for what must not be left undone, and can be done twice */
static int call_surely(CPUState *cs, RISCVSBICall *calls, unsigned num,
                       unsigned may_fail, Error **errp)
{
    if (call_all(cs, calls, num, may_fail, NULL) == 0) {
        return 0;
    }
    return call_all(cs, calls, num, may_fail, errp);
}

/* Asks for the counters that there are, once. */
static int learn(CPUState *cs, Error **errp)
{
    RISCVSBICall calls[1 + MAX_COUNTERS];
    int ret;

    if (counters.num) {
        return 0;
    }
    calls[0] = pmu_call(PMU_NUM_COUNTERS, 0, 0, 0, 0);
    for (unsigned i = 0; i < MAX_COUNTERS; i++) {
        calls[1 + i] = pmu_call(PMU_COUNTER_GET_INFO, i, 0, 0, 0);
    }
    ret = call_all(cs, calls, ARRAY_SIZE(calls), MAX_COUNTERS, errp);
    if (ret < 0) {
        return ret;
    }
    if (calls[0].value > MAX_COUNTERS) {
        error_setg(errp, "hart %d has %" PRIu64 " performance counters, more "
                   "than this QEMU knows of", cs->cpu_index, calls[0].value);
        return -ENOTSUP;
    }
    counters.firmware = 0;
    for (unsigned i = 0; i < calls[0].value; i++) {
        if (!calls[1 + i].error && calls[1 + i].value & INFO_FIRMWARE) {
            counters.firmware |= BIT_ULL(i);
        }
    }
    if (!counters.firmware) {
        error_setg(errp, "hart %d has no performance counter of the SBI's own",
                   cs->cpu_index);
        return -ENOTSUP;
    }
    counters.num = calls[0].value;
    return 0;
}

/*
 * Which of the SBI's own counters are in use, of those that @stopped has just
 * stopped or found free: these can be stopped only once.  They run on then,
 * from where they were.
 */
static int look_again(CPUState *cs, uint64_t stopped, uint64_t *in_use,
                      Error **errp)
{
    RISCVSBICall calls[2 * MAX_COUNTERS], *call = calls;
    int ret;

    for (unsigned i = 0; i < MAX_COUNTERS; i++) {
        if (stopped & BIT_ULL(i)) {
            *call++ = stop(i, 0);
            *call++ = start(i, 0, 0);
        }
    }
    ret = call_all(cs, calls, call - calls, call - calls, errp);
    if (ret < 0) {
        /* None may be left stopped; that is seen only the first time. */
        call_all(cs, calls, call - calls, call - calls, NULL);
        return ret;
    }
    call = calls;
    for (unsigned i = 0; i < MAX_COUNTERS; i++) {
        if (stopped & BIT_ULL(i)) {
            if (call->error == PMU_ALREADY_STOPPED) {
                *in_use |= BIT_ULL(i);
            }
            call += 2;
        }
    }
    return 0;
}

/*
 * Which counters are in use, and whether there is an area.
 *
 * A counter of the hardware that is not in use cannot be read.  For one of the
 * SBI's own Linux 6.12 does not look (docs/kernel-facts.md); it is stopped.
 */
static int look(CPUState *cs, uint64_t *in_use, bool *has_area, Error **errp)
{
    RISCVSBICall calls[2 + MAX_COUNTERS], *call = calls;
    uint64_t stopped = 0;
    int ret;

    *call++ = stop(NO_COUNTER, STOP_TAKE_SNAPSHOT);
    for (unsigned i = 0; i < counters.num; i++) {
        bool read = i != NO_COUNTER && !(counters.firmware & BIT_ULL(i));

        *call++ = read ? pmu_call(PMU_COUNTER_FW_READ, i, 0, 0, 0)
                       : stop(i, 0);
    }
    /* Says whether any is in use. */
    *call++ = pmu_call(PMU_COUNTER_STOP, 0, counters.firmware, 0, 0);
    ret = call_all(cs, calls, call - calls, call - calls, errp);

    *has_area = calls[0].error == 0;
    *in_use = 0;
    for (unsigned i = 0; i < counters.num; i++) {
        int64_t error = calls[1 + i].error;

        if (i == NO_COUNTER) {
            continue;
        }
        if (counters.firmware & BIT_ULL(i)) {
            stopped |= error == 0 ? BIT_ULL(i) : 0;
            *in_use |= error == PMU_ALREADY_STOPPED ? BIT_ULL(i) : 0;
        } else {
            *in_use |= error == 0 ? BIT_ULL(i) : 0;
        }
    }
    if (stopped && (ret < 0 || call[-1].error)) {
        ret = look_again(cs, stopped, in_use, ret < 0 ? NULL : errp) ?: ret;
    }
    trace_kvm_riscv_pmu_look(cs->cpu_index, *in_use, *has_area);
    return ret;
}

/*
 * Has KVM write @value into the area, and nothing else that was not there.
 * No counter is in use: one of the SBI's own is taken for it.
 */
static int mark(CPUState *cs, uint64_t value, Error **errp)
{
    unsigned counter = ctz64(counters.firmware);
    RISCVSBICall calls[] = {
        pmu_call(PMU_COUNTER_CFG_MATCH, counter, 1, 0, QUIET_EVENT),
        /* KVM reads the area, and takes its first value for the counter's. */
        start(counter, START_INIT_SNAPSHOT, 0),
        pmu_call(PMU_COUNTER_FW_READ, counter, 0, 0, 0),
        stop(counter, 0),
        start(counter, START_SET_INIT_VALUE, value),
        stop(counter, STOP_TAKE_SNAPSHOT),
    };
    int ret = call_all(cs, calls, ARRAY_SIZE(calls), 0, errp);

    get_pmu(cs)->first_value = calls[2].value;
    return ret;
}

static int unmark(CPUState *cs, Error **errp)
{
    unsigned counter = ctz64(counters.firmware);
    RISCVSBICall calls[] = {
        start(counter, START_SET_INIT_VALUE, get_pmu(cs)->first_value),
        stop(counter, STOP_TAKE_SNAPSHOT),
        /* Says that it is stopped already, and frees it. */
        stop(counter, STOP_RESET),
    };

    return call_surely(cs, calls, ARRAY_SIZE(calls), 1, errp);
}

/*
 * One search for all @harts.  Where several have the same area the last one is
 * found, and the others without it the next time.
 */
static bool find_areas(GPtrArray *harts, Error **errp)
{
    while (harts->len) {
        g_autofree uint64_t *areas = g_new(uint64_t, harts->len);
        unsigned marked = 0;
        uint64_t first;
        bool ok = true, found = false;

        qemu_guest_getrandom_nofail(&first, sizeof(first));
        for (unsigned i = 0; i < harts->len; i++) {
            areas[i] = RISCV_PMU_NO_AREA;
        }
        while (ok && marked < harts->len) {
            ok = mark(harts->pdata[marked], first + marked, errp) == 0;
            marked++;
        }
        if (ok) {
            kvm_riscv_ram_find_words(AREA_BYTES, AREA_VALUE_OFFSET, first,
                                     harts->len, areas);
        }
        /* In the reverse order: what a later one has found is put back. */
        for (unsigned i = marked; i-- > 0; ) {
            CPUState *cs = harts->pdata[i];

            if (unmark(cs, ok ? errp : NULL) < 0) {
                ok = false;
            } else if (areas[i] != RISCV_PMU_NO_AREA) {
                get_pmu(cs)->area = areas[i];
                trace_kvm_riscv_pmu_area(cs->cpu_index, areas[i]);
                g_ptr_array_remove_index(harts, i);
                found = true;
            }
        }
        if (!ok) {
            return false;
        }
        if (!found) {
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
    for (unsigned i = 0; i < MAX_COUNTERS; i++) {
        if (in_use & BIT_ULL(i)) {
            g_string_append_printf(text, "%s%u", comma, i);
            comma = ", ";
        }
    }
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
    g_autoptr(GPtrArray) with_area = g_ptr_array_new();
    g_autoptr(GString) open = g_string_new("");

    for (unsigned i = 0; i < harts->len; i++) {
        CPUState *cs = harts->pdata[i];
        uint64_t in_use;
        bool has_area;

        if (learn(cs, errp) < 0 || look(cs, &in_use, &has_area, errp) < 0) {
            return false;
        }
        if (in_use) {
            append_counters(open, cs->cpu_index, in_use);
        } else if (has_area) {
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
    return kvm_riscv_vcpu_end_entries(ok ? errp : NULL) == 0 && ok;
}

bool kvm_riscv_pmu_ask(Error **errp)
{
    int64_t began = qemu_clock_get_us(QEMU_CLOCK_REALTIME);
    CPUState *cs;
    bool ok;

    /* All are asked at once. */
    if (get_pmu(first_cpu)->asked) {
        return true;
    }
    ok = ask(errp);
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

void kvm_riscv_pmu_init(CPUState *cs)
{
    get_pmu(cs)->area = RISCV_PMU_NO_AREA;
}

static RISCVSBICall set_area(uint64_t area)
{
    /* Both halves of the address say that there is none. */
    return pmu_call(PMU_SNAPSHOT_SET_SHMEM, area,
                    area == RISCV_PMU_NO_AREA ? area : 0, 0, 0);
}

/*
 * Linux 6.12 has no reset for QEMU to ask for, and that of 7.2 leaves counters
 * of the hardware started which it closes (docs/kernel-facts.md).
 */
void kvm_riscv_pmu_reset(CPUState *cs)
{
    RISCVPMU *pmu = get_pmu(cs);
    RISCVSBICall calls[2];
    Error *err = NULL;

    pmu->asked = false;
    pmu->area = RISCV_PMU_NO_AREA;
    pmu->told = false;
    if (!RISCV_CPU(cs)->kvm_vcpu->ran || kvm_riscv_aia_waits_for_file(cs)) {
        return;
    }
    if (is_offered(cs, &err) > 0 && learn(cs, &err) == 0) {
        /* The second says whether counters had been stopped before. */
        calls[0] = set_area(RISCV_PMU_NO_AREA);
        calls[1] = pmu_call(PMU_COUNTER_STOP, 0,
                            MAKE_64BIT_MASK(0, counters.num), STOP_RESET, 0);
        call_all(cs, calls, 2, 1, &err);
    }
    if (err) {
        warn_reportf_err(err, "performance counters of before the reset are "
                         "not closed: ");
    }
}

/* The guest has asked for the counters once, when it booted. */
static int check_counters(CPUState *cs, Error **errp)
{
    const RISCVPMU *pmu = get_pmu(cs);
    Error *err = NULL;
    int ret;

    if (!pmu->stream_num) {
        return 0;
    }
    ret = learn(cs, &err);
    if (ret == -EBUSY) {
        /* A hart that has to wait for a file cannot ask. */
        error_free(err);
        return 0;
    }
    if (ret < 0) {
        error_propagate(errp, err);
        return ret;
    }
    if (pmu->stream_num == counters.num &&
        pmu->stream_firmware == counters.firmware) {
        return 0;
    }
    error_setg(errp, "performance counters (SBI PMU) of hart %d: %u on the "
               "source, 0x%" PRIx64 " of them the SBI's own; %u on the "
               "destination, 0x%" PRIx64 " of them", cs->cpu_index,
               pmu->stream_num, pmu->stream_firmware, counters.num,
               counters.firmware);
    return -EINVAL;
}

int kvm_riscv_pmu_put(CPUState *cs, Error **errp)
{
    const RISCVPMU *pmu = get_pmu(cs);
    RISCVSBICall set = set_area(pmu->area);
    /* Has KVM read the area. */
    RISCVSBICall read = start(NO_COUNTER, START_INIT_SNAPSHOT, 0);
    uint8_t content[AREA_BYTES];
    int ret = check_counters(cs, errp);

    if (ret < 0 || pmu->area == RISCV_PMU_NO_AREA) {
        return ret;
    }
    if (!kvm_riscv_ram_is_plain(pmu->area, AREA_BYTES)) {
        error_setg(errp, "hart %d cannot have its snapshot area (SBI PMU) at 0x"
                   "%" PRIx64 ", where there is no memory", cs->cpu_index,
                   pmu->area);
        return -EINVAL;
    }
    /* KVM empties an area that is set. */
    cpu_physical_memory_read(pmu->area, content, sizeof(content));
    ret = call_all(cs, &set, 1, 0, errp);
    cpu_physical_memory_write(pmu->area, content, sizeof(content));
    return ret ?: call_all(cs, &read, 1, 0, errp);
}

static bool pmu_needed(void *opaque)
{
    return RISCV_CPU(opaque)->kvm_vcpu->pmu.stream_num;
}

void kvm_riscv_pmu_pre_save(CPUState *cs)
{
    RISCVPMU *pmu = get_pmu(cs);

    pmu->stream_area = pmu->area;
    if (!pmu->told) {
        pmu->stream_num = 0;
        pmu->stream_firmware = 0;
    } else if (counters.num) {
        pmu->stream_num = counters.num;
        pmu->stream_firmware = counters.firmware;
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
    uint64_t area = ((KVMRISCVVCPU *)opaque)->pmu.stream_area;

    return area == RISCV_PMU_NO_AREA || area % AREA_BYTES == 0;
}

static const VMStateDescription vmstate_pmu_fields = {
    .name = "cpu/kvm-riscv/pmu/fields",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(pmu.stream_area, KVMRISCVVCPU),
        VMSTATE_VALIDATE("address of the snapshot area of SBI PMU", area_ok),
        VMSTATE_UINT32(pmu.stream_num, KVMRISCVVCPU),
        VMSTATE_UINT64(pmu.stream_firmware, KVMRISCVVCPU),
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
