/*
 * Performance counters (SBI PMU) as guests use them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PMU_H
#define PMU_H

#include "vcpu.h"

#define SBI_BASE_PROBE 3

#define SBI_PMU             0x504d55
#define SBI_PMU_NUM         0
#define SBI_PMU_INFO        1
#define SBI_PMU_CONFIG      2
#define SBI_PMU_START       3
#define SBI_PMU_STOP        4
#define SBI_PMU_SET_SHMEM   7
#define SBI_PMU_LAST        8   /* event_get_info */

#define INFO_FIRMWARE       (1UL << 63)
#define CONFIG_CLEAR        (1 << 1)
#define START_SET_VALUE     (1 << 0)
#define START_FROM_SNAPSHOT (1 << 1)
#define STOP_RESET          (1 << 0)
#define STOP_TAKE_SNAPSHOT  (1 << 1)

#define SBI_ERR_NOT_SUPPORTED   -2
#define SBI_ERR_ALREADY_STARTED -7
#define SBI_ERR_ALREADY_STOPPED -8
#define SBI_ERR_NO_SHMEM        -9

/* What a hypervisor writes when a counter is stopped */
typedef struct Snapshot {
    uint64_t overflow;
    volatile uint64_t value[64]; /* the hypervisor's */
    uint64_t reserved[447];
} Snapshot;

static inline struct sbiret pmu(long fid, long arg0, long arg1, long arg2,
                                long arg3)
{
    register long a0 asm("a0") = arg0;
    register long a1 asm("a1") = arg1;
    register long a2 asm("a2") = arg2;
    register long a3 asm("a3") = arg3;
    register long a4 asm("a4") = 0;
    register long a6 asm("a6") = fid;
    register long a7 asm("a7") = SBI_PMU;

    asm volatile("ecall" : "+r"(a0), "+r"(a1)
                 : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbiret){ a0, a1 };
}

static inline bool has_pmu(void)
{
    return sbi(SBI_BASE, SBI_BASE_PROBE, SBI_PMU, 0, 0).value != 0;
}

#endif
