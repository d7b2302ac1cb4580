/*
 * Pages that are read at first, and written one by one during the move
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For a page that it has only read the host may have the page of zeros, which
 * it shares with others: what is written to one must not be seen in another.
 */

#include "vcpu.h"

#define PAGE_WORDS 512
#define NUM_PAGES  1024
/* Timebase ticks from one page to the next, of a clock of 10 MHz */
#define PACE       50000

/* Nothing of the guest's, nor where QEMU puts what it loads */
static volatile uint64_t (*const pages)[PAGE_WORDS] = (void *)0x80600000UL;

static volatile uint64_t num_written; /* read by hart 0 */
static volatile uint64_t begun;       /* by hart 1 */
static volatile uint64_t enough;      /* by hart 0 */
static volatile uint64_t ended;       /* by hart 1 */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    fail("trap", cause, frame->x[0], hart);
}

static uint64_t rdtime(void)
{
    return csr_read(time);
}

static void write_pages(void)
{
    for (uint64_t i = 0; i < NUM_PAGES; i++) {
        check_equal("page at first", i, pages[i][0], 0);
    }
    begun = 1;
    for (uint64_t i = 0; i < NUM_PAGES && !enough; i++) {
        uint64_t start = rdtime();

        while (rdtime() - start < PACE) {
            asm volatile("");
        }
        pages[i][i % PAGE_WORDS] = mix(i);
        num_written = i + 1;
    }
    ended = 1;
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    if (hart == 1) {
        write_pages();
        for (;;) {
            asm volatile("wfi");
        }
    }
    start_harts(0);
    WAIT_FOR(begun, "hart 1 reads", 1);
    checkpoint();
    enough = 1;
    WAIT_FOR(ended, "hart 1 writes", 1);
    for (uint64_t i = 0; i < NUM_PAGES; i++) {
        for (uint64_t w = 0; w < PAGE_WORDS; w++) {
            bool written = i < num_written && w == i % PAGE_WORDS;

            check_equal("page", i, pages[i][w], written ? mix(i) : 0);
        }
    }
    pass();
}
