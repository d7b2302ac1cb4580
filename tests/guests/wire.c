/*
 * An interrupt that comes while the machine stands is not forgotten
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each hart waits for one, and nobody does anything meanwhile that would have
 * its file evaluated again: no other interrupt, no access to the file.
 */

#include "aia.h"

#define SM_EDGE_RISE 4
#define ID           1
#define SOURCE(hart) (20 + (hart))

void main(unsigned long hart)
{
    if (hart) {
        serve(hart);
    }
    start_traps(hart);
    start_hart(1);
    for (unsigned long i = 0; i < 2; i++) {
        on_hart(i, open_file);
        aplic_write(APLIC_SOURCECFG(SOURCE(i)), SM_EDGE_RISE);
        aplic_write(APLIC_TARGET(SOURCE(i)), i << 18 | ID);
        aplic_write(APLIC_SETIENUM, SOURCE(i));
    }
    aplic_write(APLIC_DOMAINCFG, APLIC_DOMAINCFG_IE);
    for (unsigned long i = 0; i < 2; i++) {
        report.wires[0] |= 1UL << SOURCE(i);
        ask_test(CHECK_ASK_MOVE_DRIVE);
        while (!taken[i].of[ID]) {
            asm volatile("");
        }
    }
    check_equal("interrupts of hart", 0, taken[0].num, 1);
    check_equal("interrupts of hart", 1, taken[1].num, 1);
    pass();
}
