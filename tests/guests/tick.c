/*
 * A guest that uses every kind of interrupt of the AIA and says so in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every hart takes timer interrupts; at each it sends an IPI to the next hart
 * and triggers a wired source of its own in the APLIC, which goes there too;
 * with several sockets the next hart may be in another one.  Hart 1 does its
 * work in user mode, the others in supervisor mode, all with a rounding mode
 * and floating-point registers that must never change.  Before they start,
 * APLIC and IMSIC files are given states that no interrupt comes of: sources
 * of all modes, pending or enabled but not both; identities likewise, in the
 * upper halves too where the file lets the guest enable any there.
 */

#include "guest.h"

#define TICK        50000UL     /* 5 ms at 10 MHz */
#define ID_IPI      1
#define ID_WIRED    8       /* and one more for each hart */
#define ID_UPPER    40
#define WIRED(hart) (60 + (hart))

/* What TICK_DEVICE, QEMU's sifive_test, takes */
#define FINISHER_PASS  0x5555
#define FINISHER_RESET 0x7777

typedef volatile TickHart HartReport; /* changes under the others' eyes */

static volatile TickReport report /* likewise */
    __attribute__((section(".report")));

static volatile bool go; /* set by one hart, read by others */
static volatile bool ready[MAX_HARTS]; /* likewise */

/* The IMSIC files of each socket are a group, 2^24 bytes from the next. */
static unsigned long socket_of(unsigned long hart)
{
    unsigned long nth = report.per_socket ? hart / report.per_socket : 0;

    return report.last_socket ? report.last_socket - nth : nth;
}

static unsigned long index_in_socket(unsigned long hart)
{
    return report.per_socket ? hart % report.per_socket : hart;
}

static void send(unsigned long hart, uint32_t identity)
{
    mmio_write(IMSIC_BASE + (socket_of(hart) << 24) +
               index_in_socket(hart) * IMSIC_PAGE, identity);
}

/* The APLIC's number of a hart: the socket stands above the index in it. */
static uint32_t aplic_target(unsigned long hart, uint32_t identity)
{
    unsigned bits = 0;

    while (report.per_socket > 1UL << bits) {
        bits++;
    }
    return (socket_of(hart) << bits | index_in_socket(hart)) << 18 | identity;
}

/* The hart to which another one's wired interrupts go. */
static unsigned long wired_target(unsigned long hart)
{
    return report.wired_to_hart_0 ? 0 : (hart + 1) % report.harts;
}

static void failed(unsigned long hart, unsigned long what)
{
    report.hart[hart].errors++;
    report.hart[hart].last_error = what;
}

static void external(HartReport *r, unsigned long hart)
{
    unsigned long id;

    while ((id = csr_swap(CSR_STOPEI, 0) >> 16)) {
        switch (id) {
        case ID_IPI:
            r->ipis++;
            break;
        case ID_WIRED ... ID_WIRED + MAX_HARTS - 1:
            report.hart[id - ID_WIRED].wired++;
            if (hart != wired_target(id - ID_WIRED)) {
                failed(hart, 0x7000 + id);
            }
            break;
        case ID_UPPER:
            r->upper++;
            break;
        default:
            failed(hart, 0x1000 + id);
        }
    }
}

static void leave(void)
{
    switch (report.leave) {
    case TICK_POWER_OFF:
        sbi(SBI_SRST, 0, SRST_SHUTDOWN, 0, 0);
        break;
    case TICK_RESET:
        sbi(SBI_SRST, 0, SRST_COLD_REBOOT, 0, 0);
        break;
    default:
        mmio_write(TICK_DEVICE, report.leave == TICK_DEVICE_RESET ?
                   FINISHER_RESET : FINISHER_PASS);
        /* As any kernel does, it has nothing more to do. */
        for (;;) {
            asm volatile("fence");
        }
    }
}

/*
 * An identity is one bit: a second MSI before the first was taken is no loss.
 * So each is only sent again once the one before has come.
 */
static void timer(HartReport *r, unsigned long hart)
{
    unsigned long next = (hart + 1) % report.harts;
    HartReport *n = &report.hart[next];

    if (report.leave && hart == 0) {
        leave();
    }
    r->ticks++;
    set_timer(csr_read(time) + TICK);
    if (n->ipis == r->ipis_sent) {
        r->ipis_sent++;
        send(next, ID_IPI);
    }
    if (r->wired == r->wired_sent) {
        r->wired_sent++;
        aplic_write(APLIC_SETIPNUM, WIRED(hart));
    }
    if (report.has_upper && r->upper == r->upper_sent) {
        r->upper_sent++;
        send(hart, ID_UPPER);
    }
}

__attribute__((interrupt("supervisor"), aligned(4)))
static void trap(void)
{
    unsigned long hart = csr_read(sscratch);
    unsigned long cause = csr_read(scause);
    HartReport *r = &report.hart[hart];
    bool user = !(csr_read(sstatus) & SSTATUS_SPP);

    if (user != (hart == 1)) {
        failed(hart, 0x2000);
    }
    if (cause == CAUSE_TIMER) {
        timer(r, hart);
    } else if (cause == CAUSE_EXTERNAL) {
        external(r, hart);
    } else {
        failed(hart, 0x3000 + cause);
        set_timer(-1UL);
        for (;;) {
            asm volatile("wfi");
        }
    }
}

/* Rounds up: 1 + 2^-60 is then not 1. */
static void work(unsigned long hart)
{
    HartReport *r = &report.hart[hart];
    register double kept asm("fs3") = 1.0 + hart;
    register double tiny asm("fs4") = 1.0 / (1UL << 60);
    uint64_t x = hart + 1, y = hart + 1;

    set_fcsr(3 << 5);
    asm volatile("" : "+f"(kept), "+f"(tiny));
    for (;;) {
        double sum;

        for (int i = 0; i < 1000; i++) {
            x = x * 6364136223846793005UL + 1442695040888963407UL;
        }
        for (int i = 0; i < 1000; i++) {
            y = y * 6364136223846793005UL + 1442695040888963407UL;
            asm volatile("" : "+r"(y));
        }
        asm volatile("fadd.d %0, %1, %2" : "=f"(sum) : "f"(kept), "f"(tiny));
        if (x != y) {
            failed(hart, 0x4000);
        }
        if (sum == kept) {
            failed(hart, 0x5000);
        }
        if (kept != 1.0 + hart) {
            failed(hart, 0x6000);
        }
        r->loops++;
        if (hart == 2) {
            asm volatile("wfi");
        }
    }
}

static void set_up_aplic(void)
{
    static const uint32_t modes[] = { 1, 4, 5, 6, 7 };

    for (unsigned int i = 20; i < 60; i++) {
        aplic_write(APLIC_SOURCECFG(i), modes[i % 5]);
        aplic_write(APLIC_TARGET(i), aplic_target(i % report.harts, 10 + i));
        if (i % 3 == 0) {
            aplic_write(APLIC_SETIPNUM, i);
        } else if (i % 3 == 1 && modes[i % 5] != 7 && modes[i % 5] != 5) {
            aplic_write(APLIC_SETIENUM, i);
        }
    }
    for (unsigned long hart = 0; hart < report.harts; hart++) {
        aplic_write(APLIC_SOURCECFG(WIRED(hart)), 4);
        aplic_write(APLIC_TARGET(WIRED(hart)),
                    aplic_target(wired_target(hart), ID_WIRED + hart));
        aplic_write(APLIC_SETIENUM, WIRED(hart));
    }
    aplic_write(APLIC_DOMAINCFG, APLIC_DOMAINCFG_IE);
}

static void set_up_imsic(unsigned long hart)
{
    unsigned long eie = 1UL << ID_IPI | 0xffffUL << ID_WIRED | 0x50;

    imsic_write(IMSIC_EIDELIVERY, 1);
    imsic_write(IMSIC_EITHRESHOLD, 200 + hart);
    imsic_write(IMSIC_EIE(0), eie | (report.no_upper ? 0 : 1UL << ID_UPPER));
    if (imsic_read(IMSIC_EIE(0)) & 1UL << ID_UPPER) {
        report.has_upper = 1;
        imsic_write(IMSIC_EIE(2), 0xaaaa5555UL << 30);
        imsic_write(IMSIC_EIE(6), ~0UL);
    } else {
        imsic_write(IMSIC_EIE(2), 0x2aaa5555);
    }
    /* Pending, but not enabled */
    send(hart, 24 + hart % 8);
    send(hart, (report.no_upper ? 130 : 50) + hart);
    send(hart, (report.no_upper ? 150 : 160) + hart);
    csr_write(sie, SIE_STIE | SIE_SEIE);
}

void main(unsigned long hart)
{
    csr_write(sscratch, hart);
    csr_write(stvec, (unsigned long)trap);
    csr_set(sstatus, SSTATUS_FS);
    set_up_imsic(hart);
    ready[hart] = true;

    if (!go) {
        go = true;
        report.harts = start_harts(hart);
        /* A hart's start resets its file, MSIs that came before included. */
        for (unsigned long i = 0; i < report.harts; i++) {
            while (!ready[i]) {
                asm volatile("fence");
            }
        }
        set_up_aplic();
        report.magic = TICK_MAGIC;
    }
    while (!report.magic) {
        asm volatile("fence");
    }

    set_timer(csr_read(time) + TICK);
    if (hart == 1) {
        csr_write(sepc, (unsigned long)work);
        csr_set(sstatus, SSTATUS_SPIE);
        asm volatile("csrc sstatus, %0; mv a0, %1; sret"
                     :: "r"(SSTATUS_SPP), "r"(hart) : "a0", "memory");
    }
    csr_set(sstatus, SSTATUS_SIE);
    work(hart);
}
