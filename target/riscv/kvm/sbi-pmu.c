/*
 * Calls of SBI PMU in a vCPU's stead
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "faults/probe-vm.h"
#include "sbi-pmu.h"
#include "vcpu-enter.h"
#include "vcpu-pmu.h"

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

static RISCVPMUCounters counters;

const RISCVPMUCounters *kvm_riscv_sbi_pmu_counters(void)
{
    return &counters;
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

/* What has come of calls that must succeed, but for the last @may_fail */
static int check_calls(RISCVHartCalls *hart, unsigned may_fail, Error **errp)
{
    int ret = hart->ret;

    error_propagate(errp, g_steal_pointer(&hart->err));
    if (ret == -EBUSY) {
        error_setg(errp, "hart %d gets no guest interrupt file on this host, "
                   "and its performance counters cannot be seen or set "
                   "without", hart->cs->cpu_index);
    }
    for (unsigned i = 0; i + may_fail < hart->num && !ret; i++) {
        if (hart->calls[i].error) {
            error_setg(errp, "hart %d: function %d of SBI PMU: error %d",
                       hart->cs->cpu_index, (int)hart->calls[i].fid,
                       (int)hart->calls[i].error);
            ret = -EIO;
        }
    }
    return ret;
}

/* The same, of one hart that is to make them */
static int call_all(CPUState *cs, RISCVSBICall *calls, unsigned num,
                    unsigned may_fail, Error **errp)
{
    RISCVHartCalls hart = { .cs = cs, .calls = calls, .num = num };

    kvm_riscv_vcpu_call_sbi(&hart, 1);
    return check_calls(&hart, may_fail, errp);
}

/* Calls that several harts make at once, @num each */
typedef struct Batch {
    RISCVHartCalls *each;
    RISCVSBICall *calls;
    unsigned harts;
} Batch;

static void batch_init(Batch *batch, GPtrArray *harts, unsigned num)
{
    batch->harts = harts->len;
    batch->each = g_new0(RISCVHartCalls, harts->len);
    batch->calls = g_new0(RISCVSBICall, harts->len * num);
    for (unsigned i = 0; i < harts->len; i++) {
        batch->each[i] = (RISCVHartCalls) {
            .cs = harts->pdata[i], .calls = batch->calls + i * num, .num = num,
        };
    }
}

static void batch_run(Batch *batch)
{
    kvm_riscv_vcpu_call_sbi(batch->each, batch->harts);
}

static void batch_free(Batch *batch)
{
    g_free(batch->each);
    g_free(batch->calls);
}

/* All of them must succeed. */
static int batch_end(Batch *batch, Error **errp)
{
    int ret = 0;

    batch_run(batch);
    for (unsigned i = 0; i < batch->harts; i++) {
        ret = check_calls(&batch->each[i], 0, ret ? NULL : errp) ?: ret;
    }
    batch_free(batch);
    return ret;
}

static int ask_probe(ProbeVM *vm, Error **errp)
{
    uint64_t num, info, firmware = 0;
    int64_t error;

    if (!probe_vm_call_sbi(vm, SBI_EXT_PMU, PMU_NUM_COUNTERS, 0, &error,
                           &num) || error) {
        goto silent;
    }
    if (num > RISCV_PMU_MAX_COUNTERS) {
        error_setg(errp, "this host has %" PRIu64 " performance counters, more "
                   "than this QEMU knows of", num);
        return -ENOTSUP;
    }
    for (unsigned i = 0; i < num; i++) {
        if (!probe_vm_call_sbi(vm, SBI_EXT_PMU, PMU_COUNTER_GET_INFO, i,
                               &error, &info)) {
            goto silent;
        }
        if (!error && info & INFO_FIRMWARE) {
            firmware |= BIT_ULL(i);
        }
    }
    if (!firmware) {
        error_setg(errp, "this host has no performance counter of the SBI's "
                   "own");
        return -ENOTSUP;
    }
    counters = (RISCVPMUCounters) { num, firmware };
    return 0;

silent:
    error_setg(errp, "KVM does not tell how many performance counters this "
               "host has");
    return -EIO;
}

int kvm_riscv_sbi_pmu_learn(Error **errp)
{
    ProbeVM *vm;
    int ret;

    if (counters.num) {
        return 0;
    }
    vm = probe_vm_new(errp);
    if (!vm) {
        return -EIO;
    }
    ret = ask_probe(vm, errp);
    probe_vm_free(vm);
    return ret;
}

/*
 * Which of the SBI's own counters are in use, of those that @stopped has just
 * stopped or found free: these can be stopped only once.  They run on then,
 * from where they were.
 */
static int look_again(CPUState *cs, uint64_t stopped, uint64_t *in_use,
                      Error **errp)
{
    RISCVSBICall calls[2 * RISCV_PMU_MAX_COUNTERS], *call = calls;
    int ret;

    for (unsigned i = 0; i < RISCV_PMU_MAX_COUNTERS; i++) {
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
    for (unsigned i = 0; i < RISCV_PMU_MAX_COUNTERS; i++) {
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
 * A counter of the hardware that is not in use cannot be read.  For one of the
 * SBI's own Linux 6.12 does not look (docs/kernel-facts.md); it is stopped.
 */
static void look_calls(RISCVSBICall *call)
{
    *call++ = stop(NO_COUNTER, STOP_TAKE_SNAPSHOT);
    for (unsigned i = 0; i < counters.num; i++) {
        bool read = i != NO_COUNTER && !(counters.firmware & BIT_ULL(i));

        *call++ = read ? pmu_call(PMU_COUNTER_FW_READ, i, 0, 0, 0)
                       : stop(i, 0);
    }
    /* Says whether any is in use. */
    *call = pmu_call(PMU_COUNTER_STOP, 0, counters.firmware, 0, 0);
}

static int look_at(RISCVHartCalls *hart, RISCVPMUUse *use, Error **errp)
{
    const RISCVSBICall *calls = hart->calls;
    int ret = check_calls(hart, hart->num, errp);
    uint64_t stopped = 0;

    use->has_area = calls[0].error == 0;
    use->counters = 0;
    for (unsigned i = 0; i < counters.num; i++) {
        int64_t error = calls[1 + i].error;

        if (i == NO_COUNTER) {
            continue;
        }
        if (counters.firmware & BIT_ULL(i)) {
            stopped |= error == 0 ? BIT_ULL(i) : 0;
            use->counters |= error == PMU_ALREADY_STOPPED ? BIT_ULL(i) : 0;
        } else {
            use->counters |= error == 0 ? BIT_ULL(i) : 0;
        }
    }
    if (stopped && (ret < 0 || calls[hart->num - 1].error)) {
        ret = look_again(hart->cs, stopped, &use->counters,
                         ret < 0 ? NULL : errp) ?: ret;
    }
    trace_kvm_riscv_pmu_look(hart->cs->cpu_index, use->counters, use->has_area);
    return ret;
}

int kvm_riscv_sbi_pmu_look(GPtrArray *harts, RISCVPMUUse *use, Error **errp)
{
    Batch batch;
    int ret = 0;

    batch_init(&batch, harts, counters.num + 2);
    for (unsigned i = 0; i < harts->len; i++) {
        look_calls(batch.each[i].calls);
        /* The save that this belongs to does so anyway, one after another. */
        batch.each[i].synchronize = true;
    }
    batch_run(&batch);
    /* Each of them, whatever comes of another: none may be left stopped. */
    for (unsigned i = 0; i < harts->len; i++) {
        ret = look_at(&batch.each[i], &use[i], ret ? NULL : errp) ?: ret;
    }
    batch_free(&batch);
    return ret;
}

#define MARK_CALLS      6
#define MARK_READ       2
#define UNMARK_CALLS    3

static void mark_calls(RISCVSBICall *calls, uint64_t value)
{
    unsigned counter = ctz64(counters.firmware);

    calls[0] = pmu_call(PMU_COUNTER_CFG_MATCH, counter, 1, 0, QUIET_EVENT);
    /* KVM reads the area, and takes its first value for the counter's. */
    calls[1] = start(counter, START_INIT_SNAPSHOT, 0);
    calls[MARK_READ] = pmu_call(PMU_COUNTER_FW_READ, counter, 0, 0, 0);
    calls[3] = stop(counter, 0);
    calls[4] = start(counter, START_SET_INIT_VALUE, value);
    calls[5] = stop(counter, STOP_TAKE_SNAPSHOT);
}

int kvm_riscv_sbi_pmu_mark(GPtrArray *harts, uint64_t value, uint64_t *first,
                           Error **errp)
{
    Batch batch;
    int ret = 0;

    batch_init(&batch, harts, MARK_CALLS);
    for (unsigned i = 0; i < harts->len; i++) {
        mark_calls(batch.each[i].calls, value + i);
    }
    batch_run(&batch);
    for (unsigned i = 0; i < harts->len; i++) {
        first[i] = batch.each[i].calls[MARK_READ].value;
        ret = check_calls(&batch.each[i], 0, ret ? NULL : errp) ?: ret;
    }
    /* Harts that have the same area may have read each other's values. */
    for (unsigned i = 0; i < harts->len; i++) {
        while (first[i] - value < harts->len) {
            first[i] = first[first[i] - value];
        }
    }
    batch_free(&batch);
    return ret;
}

static void unmark_calls(RISCVSBICall *calls, uint64_t first)
{
    unsigned counter = ctz64(counters.firmware);

    calls[0] = start(counter, START_SET_INIT_VALUE, first);
    calls[1] = stop(counter, STOP_TAKE_SNAPSHOT);
    /* Says that it is stopped already, and frees it. */
    calls[2] = stop(counter, STOP_RESET);
}

int kvm_riscv_sbi_pmu_unmark(GPtrArray *harts, const uint64_t *first,
                             Error **errp)
{
    Batch batch;
    int ret = 0;

    batch_init(&batch, harts, UNMARK_CALLS);
    for (unsigned i = 0; i < harts->len; i++) {
        unmark_calls(batch.each[i].calls, first[i]);
    }
    batch_run(&batch);
    for (unsigned i = 0; i < harts->len; i++) {
        RISCVHartCalls *hart = &batch.each[i];

        /* It must not be left undone, and can be done twice. */
        if (check_calls(hart, 1, NULL) < 0) {
            unmark_calls(hart->calls, first[i]);
            ret = call_all(hart->cs, hart->calls, UNMARK_CALLS, 1,
                           ret ? NULL : errp) ?: ret;
        }
    }
    batch_free(&batch);
    return ret;
}

static RISCVSBICall set_area(uint64_t area)
{
    /* Both halves of the address say that there is none. */
    return pmu_call(PMU_SNAPSHOT_SET_SHMEM, area,
                    area == RISCV_PMU_NO_AREA ? area : 0, 0, 0);
}

int kvm_riscv_sbi_pmu_set_areas(GPtrArray *harts, const uint64_t *areas,
                                Error **errp)
{
    Batch batch;

    batch_init(&batch, harts, 1);
    for (unsigned i = 0; i < harts->len; i++) {
        batch.calls[i] = set_area(areas[i]);
    }
    return batch_end(&batch, errp);
}

int kvm_riscv_sbi_pmu_read_areas(GPtrArray *harts, Error **errp)
{
    Batch batch;

    batch_init(&batch, harts, 1);
    for (unsigned i = 0; i < harts->len; i++) {
        batch.calls[i] = start(NO_COUNTER, START_INIT_SNAPSHOT, 0);
    }
    return batch_end(&batch, errp);
}

int kvm_riscv_sbi_pmu_close(CPUState *cs, Error **errp)
{
    RISCVSBICall calls[] = {
        set_area(RISCV_PMU_NO_AREA),
        /* Says whether counters had been stopped before. */
        pmu_call(PMU_COUNTER_STOP, 0, MAKE_64BIT_MASK(0, counters.num),
                 STOP_RESET, 0),
    };

    return call_all(cs, calls, ARRAY_SIZE(calls), 1, errp);
}
