/*
 * Timers and the time they go by
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hart 0 has its timer in the past, not enabled before the move.  Hart 1 sets
 * its one again and again, waits for it, and must be interrupted by it once
 * and not before: without Sstc it may come before at a move, and tells how
 * often.  Hart 2 has none.  All of them watch that time does not go
 * back, and tell the time when the test asks for it: it knows what its own
 * clock says.
 */

#include "vcpu.h"

#define PERIOD (SECOND / 5)
#define LATE   (30 * SECOND)
#define ROUNDS 2

static volatile uint64_t latest; /* changes under the others' eyes */
static volatile uint64_t expected[MAX_HARTS]; /* read by the trap */
static volatile uint64_t fired[MAX_HARTS]; /* changed by the trap */
static volatile uint64_t rounds[MAX_HARTS]; /* seen by others */

static uint64_t now(unsigned long hart)
{
    uint64_t seen = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
    uint64_t t = csr_read(time);

    if (t < seen) {
        fail("time", hart, t, seen);
    }
    while (seen < t) {
        if (__atomic_compare_exchange_n(&latest, &seen, t, false,
                                        __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            break;
        }
    }
    return t;
}

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    uint64_t t = now(hart);

    if (cause != CAUSE_TIMER) {
        fail("trap", cause, frame->x[0], hart);
    }
#ifdef BY_SBI_TIME
    /* Of a load: timer-state in docs/kernel-facts.md */
    if (t < expected[hart]) {
        report.told[2]++;
        set_timer(expected[hart]);
        return;
    }
#endif
    if (t < expected[hart] || t - expected[hart] > LATE) {
        fail("timer comes", hart, t, expected[hart]);
    }
    set_timer(-1UL);
    fired[hart]++;
}

/* Hart 1: for ever */
static void wait_for_timers(unsigned long hart)
{
    for (;;) {
        uint64_t before = fired[hart];

        expected[hart] = now(hart) + PERIOD;
        set_timer(expected[hart]);
        while (fired[hart] == before) {
            now(hart);
            /* Half of them asleep */
            if (before & 1) {
                asm volatile("wfi");
            }
        }
        check_equal("fired", hart, fired[hart], before + 1);
        rounds[hart]++;
    }
}

/* Hart 2: for ever */
static void tell_time(unsigned long hart)
{
    uint64_t told = 0;

    for (;;) {
        uint64_t asked = report.arg[0];

        if (asked != told) {
            report.told[1] = now(hart);
            __atomic_store_n(&report.told[0], asked, __ATOMIC_SEQ_CST);
            told = asked;
        }
        check_equal("sip.STIP", hart, csr_read(sip) & SIP_STIP, 0);
        check_equal("fired", hart, fired[hart], 0);
        now(hart);
    }
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    set_timer(-1UL);
    csr_write(sie, SIE_STIE);
    if (hart == 1) {
        csr_set(sstatus, SSTATUS_SIE);
        wait_for_timers(hart);
    } else if (hart == 2) {
        csr_set(sstatus, SSTATUS_SIE);
        tell_time(hart);
    }

    start_harts(0);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t before;

        expected[0] = now(0);
        set_timer(expected[0]);
        WAIT_FOR(csr_read(sip) & SIP_STIP, "timer", 0);
        before = rounds[1];
        WAIT_FOR(rounds[1] >= before + 2, "timer interrupts", 1);
        checkpoint();
        check_equal("sip.STIP", 0, csr_read(sip) & SIP_STIP, SIP_STIP);
#ifndef BY_SBI_TIME
        check_equal("stimecmp", 0, csr_read(CSR_STIMECMP), expected[0]);
#endif
        check_equal("fired", 0, fired[0], i);
        before = rounds[1];
        WAIT_FOR(rounds[1] >= before + 3, "timer interrupts", 1);
        expected[0] = now(0);
        csr_set(sstatus, SSTATUS_SIE);
        asm volatile("csrc sstatus, %0" :: "r"(SSTATUS_SIE));
        check_equal("fired", 0, fired[0], i + 1);
    }
    pass();
}
