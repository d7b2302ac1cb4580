/*
 * Migration of guests that check one thing each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

static void add(const char *guest, const AIAMove *move, const char *mode,
                unsigned harts)
{
    AIACase c = {
        .move = move, .guest = guest, .from = mode, .to = mode,
        .irqchip = "on", .harts = harts,
    };
    g_autofree char *path = g_strdup_printf("riscv-aia/%s/%s/%s/%u", guest,
                                            move->name, mode, harts);

    aia_add(path, &c, aia_test_check);
}

void aia_add_check_tests(void)
{
    add("aplic_regs", &aia_move_file, "emul", 2);
    add("aplic_regs", &aia_move_snapshot, "auto", 2);
}
