/*
 * More harts than guest interrupt files: all have identities of upper halves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A hart can enable these only while its file is a hardware one, so the test
 * lets each have one for a while (few_files.c).  After the move each hart
 * must be given exactly what is pending and enabled.
 */

#include "check.h"

#define REGISTERS 4 /* of 64 identities */

static unsigned long done; /* harts */

/* There is no identity 0. */
static uint64_t enabled(unsigned long hart, unsigned i)
{
    return ((0x9000000180000002UL << i) + (hart << (33 + i))) &
           (i ? -1UL : -2UL);
}

static uint64_t pending(unsigned long hart, unsigned i)
{
    return (0xa5c3000193050006UL >> i ^ hart << 40) & (i ? -1UL : -2UL);
}

static bool enable_all(unsigned long hart)
{
    bool all = true;

    for (unsigned i = 0; i < REGISTERS; i++) {
        imsic_write(IMSIC_EIE(2 * i), enabled(hart, i));
        all = all && imsic_read(IMSIC_EIE(2 * i)) == enabled(hart, i);
    }
    return all;
}

static void check_all(unsigned long hart)
{
    imsic_write(IMSIC_EIDELIVERY, 1);
    for (unsigned id = 1; id < 64 * REGISTERS; id++) {
        unsigned i = id / 64;

        if (enabled(hart, i) & pending(hart, i) & 1UL << (id % 64)) {
            check_equal("identity of hart", hart,
                        csr_swap(CSR_STOPEI, 0) >> 16, id);
        }
    }
    check_equal("identities left of hart", hart, csr_read(CSR_STOPEI), 0);
}

void main(unsigned long hart)
{
    if (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !report.told[1]) {
        report.told[1] = 1;
        start_harts(hart);
    }
    __atomic_store_n(&report.magic, CHECK_MAGIC, __ATOMIC_SEQ_CST);
    imsic_write(IMSIC_EIDELIVERY, 0);
    for (unsigned id = 1; id < 64 * REGISTERS; id++) {
        if (pending(hart, id / 64) & 1UL << (id % 64)) {
            send_msi(hart, id);
        }
    }
    do {
        __atomic_store_n(&report.told[2], hart, __ATOMIC_SEQ_CST);
    } while (!enable_all(hart));
    __atomic_fetch_or(&report.told[0], 1UL << hart, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    if (hart == 0) {
        while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < report.harts) {
            asm volatile("");
        }
        checkpoint();
        __atomic_store_n(&report.told[3], 1, __ATOMIC_SEQ_CST);
    }
    while (!__atomic_load_n(&report.told[3], __ATOMIC_SEQ_CST)) {
        asm volatile("");
    }
    check_all(hart);
    if (__atomic_sub_fetch(&done, 1, __ATOMIC_SEQ_CST) == 0) {
        pass();
    }
    for (;;) {
        asm volatile("wfi");
    }
}
