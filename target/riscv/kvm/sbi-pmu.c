/*
 * Calls of SBI PMU in a vCPU's stead
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
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

int kvm_riscv_sbi_pmu_learn(CPUState *cs, Error **errp)
{
    RISCVSBICall calls[1 + RISCV_PMU_MAX_COUNTERS];
    int ret;

    if (counters.num) {
        return 0;
    }
    calls[0] = pmu_call(PMU_NUM_COUNTERS, 0, 0, 0, 0);
    for (unsigned i = 0; i < RISCV_PMU_MAX_COUNTERS; i++) {
        calls[1 + i] = pmu_call(PMU_COUNTER_GET_INFO, i, 0, 0, 0);
    }
    ret = call_all(cs, calls, ARRAY_SIZE(calls), RISCV_PMU_MAX_COUNTERS, errp);
    if (ret < 0) {
        return ret;
    }
    if (calls[0].value > RISCV_PMU_MAX_COUNTERS) {
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
int kvm_riscv_sbi_pmu_look(CPUState *cs, uint64_t *in_use, bool *has_area,
                           Error **errp)
{
    RISCVSBICall calls[2 + RISCV_PMU_MAX_COUNTERS], *call = calls;
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

int kvm_riscv_sbi_pmu_mark(CPUState *cs, uint64_t value, uint64_t *first,
                           Error **errp)
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

    *first = calls[2].value;
    return ret;
}

int kvm_riscv_sbi_pmu_unmark(CPUState *cs, uint64_t first, Error **errp)
{
    unsigned counter = ctz64(counters.firmware);
    RISCVSBICall calls[] = {
        start(counter, START_SET_INIT_VALUE, first),
        stop(counter, STOP_TAKE_SNAPSHOT),
        /* Says that it is stopped already, and frees it. */
        stop(counter, STOP_RESET),
    };

    /* It must not be left undone, and can be done twice. */
    if (call_all(cs, calls, ARRAY_SIZE(calls), 1, NULL) == 0) {
        return 0;
    }
    return call_all(cs, calls, ARRAY_SIZE(calls), 1, errp);
}

static RISCVSBICall set_area(uint64_t area)
{
    /* Both halves of the address say that there is none. */
    return pmu_call(PMU_SNAPSHOT_SET_SHMEM, area,
                    area == RISCV_PMU_NO_AREA ? area : 0, 0, 0);
}

int kvm_riscv_sbi_pmu_set_area(CPUState *cs, uint64_t area, Error **errp)
{
    RISCVSBICall call = set_area(area);

    return call_all(cs, &call, 1, 0, errp);
}

int kvm_riscv_sbi_pmu_read_area(CPUState *cs, Error **errp)
{
    RISCVSBICall call = start(NO_COUNTER, START_INIT_SNAPSHOT, 0);

    return call_all(cs, &call, 1, 0, errp);
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
