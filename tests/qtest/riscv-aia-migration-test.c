/*
 * Migration of RISC-V KVM guests with the AIA in the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guests are those of tests/guests, which QTEST_RISCV_AIA_GUESTS names
 * the directory of.  Without /dev/kvm every case is skipped, unless
 * QTEST_RISCV_AIA_TCG is set: then guests move with the emulated AIA, as far
 * as that makes sense.  "-m slow" runs all pairs and long forms.
 * QTEST_RISCV_AIA_FILES tells of a host with few guest interrupt files, where
 * only what is about that runs.  QTEST_QEMU_BINARY_STOCK names a QEMU without
 * our changes, QTEST_QEMU_BINARY_OTHER one with them on another version of
 * QEMU; with either, guests move between these and nothing else runs.  With
 * QTEST_RISCV_AIA_PEER they move to another host and back (riscv-aia/peer.h).
 */

#include "qemu/osdep.h"
#include "riscv-aia/framework.h"
#include "riscv-aia/peer.h"

int main(int argc, char **argv)
{
    bool tcg = g_getenv("QTEST_RISCV_AIA_TCG");
    const char *guests = g_getenv("QTEST_RISCV_AIA_GUESTS");

    g_test_init(&argc, &argv, NULL);
    if (!guests || (!tcg && access("/dev/kvm", R_OK | W_OK))) {
        printf("1..0 # SKIP %s\n", guests ? "/dev/kvm cannot be used"
               : "QTEST_RISCV_AIA_GUESTS names no guests");
        return 0;
    }
    if (aia_has_peer()) {
        aia_add_peer_tick_tests(tcg);
        if (!tcg) {
            aia_add_peer_guest_tests();
        }
        return g_test_run();
    }
    if (aia_add_fleet_tests()) {
        return g_test_run();
    }
    aia_add_tick_tests(tcg);
    if (!tcg && aia_guest_files() == AIA_MANY_FILES) {
        aia_add_check_tests();
        aia_add_confined_tests();
        aia_add_fault_tests();
        aia_add_guest_file_tests();
        aia_add_info_tests();
        aia_add_lost_wakeup_tests();
        aia_add_no_file_tests();
        aia_add_pages_tests();
        aia_add_phase_tests();
        aia_add_populate_tests();
        aia_add_shape_tests();
        aia_add_stream_tests();
        aia_add_system_event_tests();
        aia_add_vcpu_tests();
    }
    if (!tcg && aia_guest_files() == 1) {
        aia_add_few_files_tests();
    }
    return g_test_run();
}
