/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the guest of migration-test has its memory, also for assembler
 */

#ifndef RISCV64_A_B_KERNEL_MAP_H
#define RISCV64_A_B_KERNEL_MAP_H

/* Behind the guest, which is where RAM begins, and before the device tree */
#define RISCV64_TEST_MEM_START  0x80100000
#define RISCV64_TEST_MEM_END    0x86400000
#define RISCV64_MACH_VIRT_UART  0x10000000

#endif
