/*
 * Interrupts that the emulated host loses, tells of once too often, or does not
 * tell of
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs in M mode on the machine that the emulated hosts are, without KVM: hart
 * 0 sends to guest interrupt files of hart 1, which claims.  Prints how often
 * each happened.  See docs/lab.md, "Bugs of the emulated host".
 */

#include "guest.h"

#define ROUNDS 100000
/* How often hart 1 looks before it takes a bit of hgeip for final */
#define LOOKS  2000

#define CSR_MIP       0x344
#define MIP_SGEIP     (1 << 12)
#define CSR_HSTATUS   0x600
#define CSR_HGEIE     0x607
#define CSR_HGEIP     0xe12
#define CSR_VSISELECT 0x250
#define CSR_VSIREG    0x251
#define CSR_VSTOPEI   0x25c

#define UART      0x10000000UL
#define TEST      0x100000UL
#define TEST_PASS 0x5555
/* Of hart 1: the supervisor's and three guest interrupt files */
#define FILE_OF_HART_1(n) (IMSIC_BASE + (4 + (n)) * IMSIC_PAGE)

static volatile unsigned asked, sent, done; /* seen by the other hart */
static volatile unsigned again, lost, unheard, broken; /* likewise */

static void choose_file(unsigned n)
{
    csr_write(CSR_HSTATUS, n << 12);
}

static void set_up_file(unsigned n)
{
    choose_file(n);
    csr_write(CSR_VSISELECT, IMSIC_EIDELIVERY);
    csr_write(CSR_VSIREG, 1);
    csr_write(CSR_VSISELECT, IMSIC_EIE(0));
    csr_write(CSR_VSIREG, 1 << 1);
}

static void send_to(unsigned file)
{
    mmio_write(FILE_OF_HART_1(file), 1);
}

static bool claim(void)
{
    return csr_swap(CSR_VSTOPEI, 0);
}

static bool told_of(unsigned file)
{
    return csr_read(CSR_HGEIP) >> file & 1;
}

/* Whether what hgeip tells of a file becomes @told, and remains so. */
static bool tells(unsigned file, bool told)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (told_of(file) == told) {
            return true;
        }
    }
    return false;
}

/* Whether an interrupt that hgeip tells of and hgeie enables comes. */
static bool comes(void)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (csr_read(CSR_MIP) & MIP_SGEIP) {
            return true;
        }
    }
    return false;
}

/* Claims so often that one of them meets the arrival. */
static void claim_all_the_time(unsigned round)
{
    asked = round;
    while (!claim()) {
        asm volatile("");
    }
    if (!tells(1, false)) {
        again++;
        claim();
    }
}

/* The bit of file 1 goes up and down, while that of file 2 is to go up. */
static void claim_from_another_file(unsigned round)
{
    asked = round;
    while (sent != round) {
        send_to(1);
        claim();
    }
    lost += !tells(2, true);
    choose_file(2);
    broken += !claim();
    choose_file(1);
}

/* Enables the file's interrupt so often that once is when it arrives. */
static void enable_all_the_time(unsigned round)
{
    asked = round;
    do {
        csr_write(CSR_HGEIE, 0);
        csr_write(CSR_HGEIE, 1 << 1);
    } while (!told_of(1));
    unheard += !comes();
    broken += !claim();
}

static void receive(void)
{
    set_up_file(2);
    set_up_file(1);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        claim_all_the_time(i);
    }
    for (unsigned i = ROUNDS + 1; i <= 2 * ROUNDS; i++) {
        claim_from_another_file(i);
    }
    for (unsigned i = 2 * ROUNDS + 1; i <= 3 * ROUNDS; i++) {
        enable_all_the_time(i);
    }
    done = 1;
}

static void print(const char *what, unsigned num)
{
    char digits[10];
    unsigned n = 0;

    while (*what) {
        mmio_write8(UART, *what++);
    }
    do {
        digits[n++] = '0' + num % 10;
        num /= 10;
    } while (num);
    while (n) {
        mmio_write8(UART, digits[--n]);
    }
    mmio_write8(UART, '\n');
}

static void send(void)
{
    for (unsigned i = 1; i <= 3 * ROUNDS; i++) {
        while (asked != i) {
            asm volatile("");
        }
        send_to(i > ROUNDS && i <= 2 * ROUNDS ? 2 : 1);
        sent = i;
    }
    while (!done) {
        asm volatile("");
    }
    print("again ", again);
    print("lost ", lost);
    print("unheard ", unheard);
    print("broken ", broken);
    mmio_write(TEST, TEST_PASS);
}

void main(unsigned long hart)
{
    if (hart) {
        receive();
    } else {
        send();
    }
    for (;;) {
        asm volatile("wfi");
    }
}
