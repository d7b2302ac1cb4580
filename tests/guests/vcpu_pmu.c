/*
 * Performance counters (SBI PMU), whose state KVM shows nobody
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where they are offered a counter that is open while the guest is moved goes
 * on, and one that is opened afterwards counts.  Where they are not, nothing
 * of them answers, before a move and after it.
 *
 * arg[0]: whether they may be offered
 * told[0]: whether SBI PMU is there
 * told[1]: bit 0: cycle is an illegal instruction at the start; bit 1: instret
 * told[2]: whether there is shared memory for counters that are stopped
 */

#include "pmu.h"

#define CAUSE_ILLEGAL 2

/* KVM has each of these events counted by the CSR that is made for it. */
#define EVENT_CYCLES        1
#define EVENT_INSTRUCTIONS  2
#define COUNTER_CYCLES      0
#define COUNTER_INSTRET     2
#define COUNTERS            (1 << COUNTER_CYCLES | 1 << COUNTER_INSTRET)

static const unsigned int counters[] = { COUNTER_CYCLES, COUNTER_INSTRET };

/* More than any host counts while this guest runs */
#define TOO_MANY (1UL << 48)

static Snapshot snapshot __attribute__((aligned(4096)));

/* Whether the next illegal instruction is one to be counted, and how many */
static volatile bool may_trap; /* by what an asm statement does */
static volatile unsigned int traps; /* likewise */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    if (cause != CAUSE_ILLEGAL || !may_trap) {
        fail("trap", cause, frame->x[0], hart);
    }
    traps++;
    frame->x[0] += 4;
}

static uint64_t read_counter(unsigned int counter)
{
    return counter == COUNTER_CYCLES ? csr_read(cycle) : csr_read(instret);
}

/* Which of the two cannot be read */
static unsigned int illegal_counters(void)
{
    unsigned int illegal = 0;

    for (int i = 0; i < 2; i++) {
        traps = 0;
        may_trap = true;
        read_counter(counters[i]);
        may_trap = false;
        illegal |= traps << i;
    }
    return illegal;
}

static void check_not_there(void)
{
    for (long fid = SBI_PMU_NUM; fid <= SBI_PMU_LAST; fid++) {
        check_equal("answer of SBI PMU", fid, pmu(fid, 0, 1, 0, 0).error,
                    SBI_ERR_NOT_SUPPORTED);
    }
    check_equal("illegal counters", 0, illegal_counters(), report.told[1]);
}

static void check_above(const char *what, unsigned int counter, uint64_t is,
                        uint64_t least)
{
    if (is < least || is - least >= TOO_MANY) {
        fail(what, counter, is, least);
    }
}

static void work(void)
{
    for (int i = 0; i < 1000; i++) {
        asm volatile("");
    }
}

static void open_counters(void)
{
    const int events[] = { EVENT_CYCLES, EVENT_INSTRUCTIONS };

    for (int i = 0; i < 2; i++) {
        struct sbiret ret = pmu(SBI_PMU_CONFIG, 0, COUNTERS, CONFIG_CLEAR,
                                events[i]);

        check_equal("counter_config_matching", events[i], ret.error, 0);
        check_equal("counter", events[i], ret.value, counters[i]);
    }
    check_equal("counter_start", 0,
                pmu(SBI_PMU_START, 0, COUNTERS, START_SET_VALUE, 0).error, 0);
}

/* Both counters go on from @value, which is set to what they have then. */
static void check_counting(uint64_t *value)
{
    for (int i = 0; i < 2; i++) {
        uint64_t now;

        work();
        now = read_counter(counters[i]);
        check_above("counter", counters[i], now, value[i] + 1);
        value[i] = now;
    }
}

static void close_counters(const uint64_t *value)
{
    bool has_shmem = report.told[2];

    check_equal("counter_stop", 0,
                pmu(SBI_PMU_STOP, 0, COUNTERS,
                    has_shmem ? STOP_TAKE_SNAPSHOT : 0, 0).error, 0);
    for (int i = 0; i < 2 && has_shmem; i++) {
        check_above("snapshot", counters[i], snapshot.value[counters[i]],
                    value[i]);
    }
    check_equal("counter_stop", 1,
                pmu(SBI_PMU_STOP, 0, COUNTERS, STOP_RESET, 0).error,
                SBI_ERR_ALREADY_STOPPED);
}

static void check_there(void)
{
    uint64_t value[2] = { 0, 0 };

    report.told[2] = pmu(SBI_PMU_SET_SHMEM, (long)&snapshot, 0, 0,
                         0).error == 0;

    step = "open while moved";
    open_counters();
    check_counting(value);
    checkpoint();
    check_counting(value);
    close_counters(value);

    step = "opened after it";
    checkpoint();
    value[0] = value[1] = 0;
    open_counters();
    check_counting(value);
    close_counters(value);
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    /* Without these counters not every kernel sets it. */
    check_equal("scounteren at reset", hart, csr_read(scounteren), 7);
    report.told[0] = has_pmu();
    report.told[1] = illegal_counters();
    if (report.told[0]) {
        check_there();
        step = NULL;
        check_equal("whether SBI PMU is there", 0, 1, report.arg[0]);
    } else {
        check_not_there();
        checkpoint();
        check_not_there();
        check_equal("whether SBI PMU is there", 0, has_pmu(), 0);
    }
    pass();
}
