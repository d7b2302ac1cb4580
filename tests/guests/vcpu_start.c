/*
 * A hart that has been started and has not run yet
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test holds hart 1 from one checkpoint to the next, and moves the guest
 * at every second one only.  At first hart 1 has never run, later it has
 * stopped itself.
 */

#include "vcpu.h"

#define ROUNDS 2

static volatile uint64_t started[4]; /* by hart 1, from its registers */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    fail("trap", cause, frame->x[0], hart);
}

#define START_HERE(round)                                                 \
static __attribute__((naked))                                             \
void start_here_##round(void)                                             \
{                                                                         \
    asm volatile("sd a1, 0(%0)\n\t"                                       \
                 "sd a0, 8(%0)\n\t"                                       \
                 "li t0, " #round "\n\t"                                  \
                 "sd t0, 16(%0)\n\t"                                      \
                 "csrr t0, satp\n\t"                                      \
                 "sd t0, 24(%0)\n\t"                                      \
                 "li a7, " STR(SBI_HSM) "\n\t"                            \
                 "li a6, " STR(SBI_HSM_STOP) "\n\t"                       \
                 "ecall" :: "r"(started));                                \
}

START_HERE(1)
START_HERE(2)

static long status(unsigned long hart)
{
    return sbi(SBI_HSM, SBI_HSM_STATUS, hart, 0, 0).value;
}

void main(unsigned long hart)
{
    static void (*const start[])(void) = { start_here_1, start_here_2 };

    set_up_traps(hart);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t opaque = mix(i) | 1;

        started[0] = 0;
        WAIT_FOR(status(1) == HART_STOPPED, "hart stops", 1);
        checkpoint();
        check_equal("hart_start", i, sbi(SBI_HSM, SBI_HSM_START, 1,
                                         (long)start[i], opaque).error, 0);
        check_equal("ran too early", i, started[0], 0);
        checkpoint();
        WAIT_FOR(started[0], "hart starts", 1);
        WAIT_FOR(status(1) == HART_STOPPED, "hart stops", 1);
        check_equal("a0", i, started[1], 1);
        check_equal("a1", i, started[0], opaque);
        check_equal("pc", i, started[2], i + 1);
        check_equal("satp", i, started[3], 0);
    }
    pass();
}
