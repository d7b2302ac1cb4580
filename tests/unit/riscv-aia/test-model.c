/*
 * The model of the in-kernel AIA against the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Plays the same operations on the model and on the AIA device of a virtual
 * machine and compares every answer.  Needs /dev/kvm of a RISC-V host with AIA
 * that no other guest uses; no QEMU is involved.
 *
 * RISCV_AIA_TEST_SCRIPTS=N   how many random scripts for each shape and mode
 *                            (1, with -m slow 10)
 * RISCV_AIA_TEST_SEED=N      of the first of them, in place of one that follows
 *                            from --seed; the next script has the next number
 *
 * With --verbose each operation is printed, otherwise those before a
 * difference.
 */

#include "qemu/osdep.h"
#include "script.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vm_open_kvm();
    probe_host();
    add_kernel_tests();
    add_config_tests();
    add_script_tests();
    return g_test_run();
}
