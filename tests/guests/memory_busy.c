/*
 * Pages that harts write to all the time, before, during and after moves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A page gets one word each turn, which tells its page and its turn, and after
 * some turns is zeroed again.  A write that is lost is noticed next turn, what
 * somebody else has written to the page when it is to be zeroed.
 */

#include "vcpu.h"

#define PAGE_WORDS 512
#define NUM_PAGES  1536
/* Turns from zeroing a page to zeroing it again, with a word in each between */
#define ROUND      6
/* Words from one of them to the next */
#define STRIDE     17
#define MOVES      2

/* Nothing of the guest's, nor where QEMU puts what it loads */
static volatile uint64_t (*const pages)[PAGE_WORDS] = (void *)0x80600000UL;

static volatile unsigned long harts;       /* by hart 0, when they run */
static volatile bool enough;               /* by hart 0 */
static volatile uint64_t turns[MAX_HARTS]; /* by each hart */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    fail("trap", cause, frame->x[0], hart);
}

static uint64_t word(uint64_t page, uint64_t turn)
{
    return turn % ROUND ? mix(page << 32 | turn) : 0;
}

static uint64_t place(uint64_t turn)
{
    return turn % ROUND * STRIDE;
}

/* Which word of which page after which turn, for the test's output */
static void check_word(uint64_t page, uint64_t turn, uint64_t i,
                       uint64_t should)
{
    check_equal("page", page << 32 | turn << 12 | i, pages[page][i], should);
}

static void check_page(uint64_t page, uint64_t turn)
{
    uint64_t zeroed = turn - turn % ROUND;

    for (uint64_t i = 0; i < PAGE_WORDS; i++) {
        bool written = i % STRIDE == 0 && i <= place(turn);

        check_word(page, turn, i,
                   written ? word(page, zeroed + i / STRIDE) : 0);
    }
}

static void write_page(uint64_t page, uint64_t turn)
{
    check_word(page, turn - 1, place(turn - 1), word(page, turn - 1));
    if (turn % ROUND == 0) {
        check_page(page, turn - 1);
        for (uint64_t i = 0; i < PAGE_WORDS; i++) {
            pages[page][i] = 0;
        }
    } else {
        pages[page][place(turn)] = word(page, turn);
    }
}

static void be_busy(unsigned long hart)
{
    for (uint64_t turn = 1; !enough; turn++) {
        for (uint64_t i = hart - 1; i < NUM_PAGES; i += harts - 1) {
            write_page(i, turn);
        }
        turns[hart] = turn;
    }
    for (uint64_t i = hart - 1; i < NUM_PAGES; i += harts - 1) {
        check_page(i, turns[hart]);
    }
    turns[hart] = 0;
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    if (hart) {
        WAIT_FOR(harts, "number of harts", hart);
        be_busy(hart);
        for (;;) {
            asm volatile("wfi");
        }
    }
    harts = start_harts(0);
    for (int i = 0; i < MOVES; i++) {
        for (unsigned long h = 1; h < harts; h++) {
            uint64_t turn = turns[h];

            WAIT_FOR(turns[h] > turn, "turn", h);
        }
        checkpoint();
    }
    enough = true;
    for (unsigned long h = 1; h < harts; h++) {
        WAIT_FOR(!turns[h], "end", h);
    }
    pass();
}
