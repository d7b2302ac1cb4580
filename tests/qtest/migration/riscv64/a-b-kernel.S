/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest of migration-test for the machine virt, without firmware
 *
 * Runs at 0x80000000 in M mode, or in S mode under KVM: it uses no CSR.  Says
 * 'A' when it begins, then adds 1 to the first byte of each page of the test
 * memory, one page after the other, for ever, and says 'B' every 32 rounds.
 */

#include "a-b-kernel-map.h"

        .globl  _start
_start:
        li      s0, RISCV64_MACH_VIRT_UART
        li      s1, RISCV64_TEST_MEM_START
        li      s2, RISCV64_TEST_MEM_END
        li      s3, 4096        /* TEST_MEM_PAGE_SIZE */

        li      t0, 'A'
        sb      t0, 0(s0)

        mv      t1, s1
clear_page:
        sb      zero, 0(t1)
        add     t1, t1, s3
        bltu    t1, s2, clear_page

next_say:
        li      s4, 32
next_round:
        mv      t1, s1
next_page:
        lbu     t0, 0(t1)
        addi    t0, t0, 1
        sb      t0, 0(t1)
        add     t1, t1, s3
        bltu    t1, s2, next_page
        addi    s4, s4, -1
        bnez    s4, next_round

        li      t0, 'B'
        sb      t0, 0(s0)
        j       next_say
