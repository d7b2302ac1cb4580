/*
 * Interrupts that the emulated host loses, or tells of once too often
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs in M mode on the machine that the emulated hosts are, without KVM: hart
 * 0 sends to guest interrupt files of hart 1, which claims.  Prints how often
 * either happened.  See docs/lab.md, "Bugs of the emulated host".
 */

#include <stdbool.h>
#include <stdint.h>

#define ROUNDS 100000
/* How often hart 1 looks before it takes a bit of hgeip for final */
#define LOOKS  2000

#define STR_(x) #x
#define STR(x) STR_(x)

#define CSR_MHARTID   0xf14
#define CSR_HSTATUS   0x600
#define CSR_HGEIP     0xe12
#define CSR_VSISELECT 0x250
#define CSR_VSIREG    0x251
#define CSR_VSTOPEI   0x25c

#define ISELECT_EIDELIVERY 0x70
#define ISELECT_EIE0       0xc0

#define csr_read(csr) ({                                             \
    uint64_t val_;                                                   \
    asm volatile("csrr %0, " STR(csr) : "=r"(val_) : : "memory");    \
    val_;                                                            \
})
#define csr_write(csr, val)                                          \
    asm volatile("csrw " STR(csr) ", %0" :: "r"((uint64_t)(val)) : "memory")

#define UART ((volatile uint8_t *)0x10000000) /* a device */
#define TEST ((volatile uint32_t *)0x100000) /* a device */
#define TEST_PASS 0x5555
/* Of hart 1: the supervisor's and three guest interrupt files */
#define FILE_OF_HART_1(n) (0x28004000UL + (n) * 0x1000UL)

static volatile unsigned asked, sent, done; /* seen by the other hart */
static volatile unsigned again, lost, broken; /* likewise */

uint8_t stacks[2][4096] __attribute__((aligned(16)));

static void choose_file(unsigned n)
{
    csr_write(CSR_HSTATUS, n << 12);
}

static void set_up_file(unsigned n)
{
    choose_file(n);
    csr_write(CSR_VSISELECT, ISELECT_EIDELIVERY);
    csr_write(CSR_VSIREG, 1);
    csr_write(CSR_VSISELECT, ISELECT_EIE0);
    csr_write(CSR_VSIREG, 1 << 1);
}

static void send_to(unsigned file)
{
    asm volatile("sw %0, 0(%1)"
                 :: "r"(1), "r"(FILE_OF_HART_1(file)) : "memory");
}

static bool claim(void)
{
    uint64_t id;

    asm volatile("csrrw %0, " STR(CSR_VSTOPEI) ", zero"
                 : "=r"(id) : : "memory");
    return id;
}

/* Whether what hgeip tells of a file becomes @told, and remains so. */
static bool tells(unsigned file, bool told)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if ((csr_read(CSR_HGEIP) >> file & 1) == told) {
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
    done = 1;
}

static void print(const char *what, unsigned num)
{
    char digits[10];
    unsigned n = 0;

    while (*what) {
        *UART = *what++;
    }
    do {
        digits[n++] = '0' + num % 10;
        num /= 10;
    } while (num);
    while (n) {
        *UART = digits[--n];
    }
    *UART = '\n';
}

static void send(void)
{
    for (unsigned i = 1; i <= 2 * ROUNDS; i++) {
        while (asked != i) {
            asm volatile("");
        }
        send_to(i <= ROUNDS ? 1 : 2);
        sent = i;
    }
    while (!done) {
        asm volatile("");
    }
    print("again ", again);
    print("lost ", lost);
    print("broken ", broken);
    *TEST = TEST_PASS;
}

__attribute__((used))
static void run(unsigned long hart)
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

__attribute__((naked, section(".start")))
void _start(void)
{
    asm volatile("csrr a0, " STR(CSR_MHARTID) "\n\t"
                 "la sp, stacks\n\t"
                 "addi t0, a0, 1\n\t"
                 "slli t0, t0, 12\n\t"
                 "add sp, sp, t0\n\t"
                 "tail run");
}
