/*
 * Performance counters (SBI PMU) that the guest may use where it is moved
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where its snapshot area lies goes with each hart, and so does what is in it;
 * a hart without one gets none, and several may have the same.  While counters
 * are in use it stays, and they count on.
 *
 * told[0]: the counters that each hart has in use, a bit each; 0: none
 * told[1]: whether SBI PMU is there
 */

#include "pmu.h"

#define EVENT_CYCLES    1
#define EVENT_ILLEGAL   0xf0004
#define EVENT_SET_TIMER 0xf0005
#define COUNTER_CYCLES  0

/* With something on either side that must stay as it is */
typedef struct Area {
    uint64_t before[512];
    Snapshot snapshot;
    uint64_t after[512];
} Area;

static Area areas[MAX_HARTS] __attribute__((aligned(4096)));

/* Of the SBI's own, which count exactly */
static unsigned int first_firmware, num_counters;

static volatile uint64_t phase[MAX_HARTS]; /* seen by others */
static volatile uint64_t allowed; /* likewise */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    fail("trap", cause, frame->x[0], hart);
}

/* All harts are here, and are moved if @go. */
static void meet(unsigned long hart, bool go)
{
    phase[hart]++;
    if (hart) {
        WAIT_FOR(allowed >= phase[hart], "move", hart);
        return;
    }
    for (unsigned long i = 1; i < report.harts; i++) {
        WAIT_FOR(phase[i] == phase[0], "hart", i);
    }
    if (go) {
        checkpoint();
    }
    allowed = phase[0];
}

static void move(unsigned long hart)
{
    meet(hart, true);
}

static uint64_t pattern(unsigned long hart, unsigned long word)
{
    return mix(hart << 16 | word);
}

static void fill(unsigned long hart)
{
    uint64_t *word = (uint64_t *)&areas[hart];

    for (unsigned long i = 0; i < sizeof(Area) / 8; i++) {
        word[i] = pattern(hart, i);
    }
}

/* All is as it was, but that the first value has grown. */
static void check_filled(unsigned long hart, uint64_t counted)
{
    volatile uint64_t *word = (uint64_t *)&areas[hart]; /* KVM writes there */
    unsigned long value = offsetof(Area, snapshot.value) / 8;

    for (unsigned long i = 0; i < sizeof(Area) / 8; i++) {
        check_equal("memory", i, word[i],
                    pattern(hart, i) + (i == value ? counted : 0));
    }
}

static void set_address(unsigned long hart, const Snapshot *area)
{
    check_equal("snapshot_set_shmem", hart,
                pmu(SBI_PMU_SET_SHMEM, area ? (long)area : -1, area ? 0 : -1,
                    0, 0).error, 0);
}

static void set_area(unsigned long hart, bool on)
{
    set_address(hart, on ? &areas[hart].snapshot : NULL);
    fill(hart);
}

static void configure(unsigned int counter, long event)
{
    struct sbiret ret = pmu(SBI_PMU_CONFIG, counter, 1, CONFIG_CLEAR, event);

    check_equal("counter_config_matching", counter, ret.error, 0);
    check_equal("counter", event, ret.value, counter);
}

static long start(unsigned int counter, long flags)
{
    return pmu(SBI_PMU_START, counter, 1, flags, 0).error;
}

static long stop(unsigned int counter, long flags)
{
    return pmu(SBI_PMU_STOP, counter, 1, flags, 0).error;
}

static void set_timers(unsigned int times)
{
    while (times--) {
        sbi(SBI_TIME, 0, -1, 0, 0);
    }
}

static void free_counter(unsigned int counter)
{
    check_equal("counter_stop, reset", counter, stop(counter, STOP_RESET),
                SBI_ERR_ALREADY_STOPPED);
}

/*
 * A counter that begins with what is in the area, which is that of @owner, and
 * leaves it there
 */
static void count(unsigned long hart, unsigned long owner)
{
    unsigned int counter = first_firmware + 1, times = 3 + hart;

    check_filled(owner, 0);
    configure(counter, EVENT_SET_TIMER);
    check_equal("counter_start", hart, start(counter, START_FROM_SNAPSHOT), 0);
    set_timers(times);
    check_equal("counter_stop", hart, stop(counter, STOP_TAKE_SNAPSHOT), 0);
    check_filled(owner, times);
    free_counter(counter);
}

/* All harts have the area of the first one. */
static void share_area(unsigned long hart)
{
    meet(hart, false);
    set_address(hart, &areas[0].snapshot);
    meet(hart, false);
    if (hart == 0) {
        fill(0);
    }
    move(hart);
    for (unsigned long i = 0; i < report.harts; i++) {
        if (i == hart) {
            count(hart, 0);
            fill(0);
        }
        meet(hart, false);
    }
}

static void open_counters(unsigned long hart)
{
    unsigned int counter = first_firmware;

    configure(counter, EVENT_SET_TIMER);
    check_equal("counter_start", hart, start(counter, START_FROM_SNAPSHOT), 0);
    set_timers(5);
    configure(num_counters - 1, EVENT_ILLEGAL);
    configure(COUNTER_CYCLES, EVENT_CYCLES);
    check_equal("counter_start", hart,
                start(COUNTER_CYCLES, START_SET_VALUE), 0);
}

static void close_counters(unsigned long hart, uint64_t cycles)
{
    unsigned int counter = first_firmware;

    set_timers(6);
    check_equal("counter_stop", hart, stop(counter, STOP_TAKE_SNAPSHOT), 0);
    check_filled(hart, 11);
    free_counter(counter);

    counter = num_counters - 1;
    check_equal("counter_start", counter, start(counter, 0), 0);
    check_equal("counter_start, again", counter, start(counter, 0),
                SBI_ERR_ALREADY_STARTED);
    check_equal("counter_stop", counter, stop(counter, 0), 0);
    free_counter(counter);

    if (csr_read(cycle) <= cycles) {
        fail("cycle", hart, csr_read(cycle), cycles);
    }
    check_equal("counter_stop", COUNTER_CYCLES, stop(COUNTER_CYCLES, 0), 0);
    free_counter(COUNTER_CYCLES);
}

static void check_hart(unsigned long hart)
{
    uint64_t cycles;

    set_area(hart, true);
    move(hart);
    count(hart, hart);

    set_area(hart, false);
    move(hart);
    check_filled(hart, 0);
    check_equal("counter_stop", hart, stop(first_firmware, STOP_TAKE_SNAPSHOT),
                SBI_ERR_NO_SHMEM);

    set_area(hart, true);
    open_counters(hart);
    cycles = csr_read(cycle);
    if (hart == 0) {
        report.told[0] = 1UL << COUNTER_CYCLES | 1UL << first_firmware |
                         1UL << (num_counters - 1);
    }
    move(hart);
    close_counters(hart, cycles);
    if (hart == 0) {
        report.told[0] = 0;
    }

    fill(hart);
    move(hart);
    count(hart, hart);

    share_area(hart);
}

static void count_counters(void)
{
    num_counters = pmu(SBI_PMU_NUM, 0, 0, 0, 0).value;
    for (first_firmware = num_counters; first_firmware > 2; first_firmware--) {
        if (!(pmu(SBI_PMU_INFO, first_firmware - 1, 0, 0, 0).value &
              INFO_FIRMWARE)) {
            break;
        }
    }
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    if (!has_pmu()) {
        checkpoint();
        pass();
    }
    if (hart == 0) {
        report.told[1] = 1;
        count_counters();
        start_harts(0);
    }
    check_hart(hart);
    phase[hart]++;
    if (hart) {
        for (;;) {
            asm volatile("wfi");
        }
    }
    for (unsigned long i = 1; i < report.harts; i++) {
        WAIT_FOR(phase[i] == phase[0], "hart is done", i);
    }
    pass();
}
