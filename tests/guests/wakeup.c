/*
 * A hart that sleeps is woken for each interrupt
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hart 0 sends one after the other to hart 1, for ever.  told[0] is how many
 * hart 1 has taken.
 */

#include "aia.h"

#define ID 1

void main(unsigned long hart)
{
    if (hart) {
        serve(hart);
    }
    start_traps(hart);
    start_hart(1);
    on_hart(1, open_file);
    checkpoint();
    for (;;) {
        forget_taken(1);
        send_msi(1, ID);
        while (!taken[1].of[ID]) {
            asm volatile("fence");
        }
        report.told[0]++;
    }
}
