/*
 * The test device of a KVM guest, by which it resets and switches itself off
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the guest asks for is state of the vCPU: target/riscv/kvm/system-event.c
 */

#ifndef HW_MISC_SIFIVE_TEST_KVM_H
#define HW_MISC_SIFIVE_TEST_KVM_H

#include "system/kvm.h"
#include "hw/misc/sifive_test.h"

#define TYPE_SIFIVE_TEST_KVM "riscv.sifive.test-kvm"

/* For sifive_test_create() */
static inline const char *sifive_test_class_name(void)
{
    return kvm_enabled() ? TYPE_SIFIVE_TEST_KVM : TYPE_SIFIVE_TEST;
}

#endif
