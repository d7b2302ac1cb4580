/*
 * Harts that wait, are stopped, suspended, or were never started
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hart 0 has each of the others bring itself into a state, sees by
 * hart_get_status that it is there, and after the move sees that it still is
 * and what it takes to get it out.
 */

#include "vcpu.h"

#define ID_IPI 1

#define SUSPEND_RETENTIVE     0x00000000L
#define SUSPEND_NON_RETENTIVE 0x80000000L
#define SBI_ERR_NOT_SUPPORTED -2

typedef void Order(unsigned long hart);

static volatile struct Hart { /* changes under the others' eyes */
    Order *order;       /* to be carried out by the hart */
    unsigned long woken;
    unsigned long traps;
    unsigned long trap_cause;
    unsigned long started;
    unsigned long opaque;
    bool go;
} harts[MAX_HARTS];

static long status(unsigned long hart)
{
    struct sbiret ret = sbi(SBI_HSM, SBI_HSM_STATUS, hart, 0, 0);

    return ret.error ?: ret.value;
}

static void serve(unsigned long hart)
{
    volatile struct Hart *h = &harts[hart]; /* as above */

    for (;;) {
        Order *order = h->order;

        if (order) {
            order(hart);
            h->order = NULL;
        }
    }
}

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    volatile struct Hart *h = &harts[hart]; /* as above */

    (void)frame;
    h->trap_cause = cause;
    if (cause == CAUSE_SOFTWARE) {
        csr_write(sip, 0);
    } else if (cause == CAUSE_EXTERNAL) {
        check_equal("identity", hart, csr_swap(CSR_STOPEI, 0) >> 16, ID_IPI);
    } else {
        fail("trap", cause, frame->x[0], hart);
    }
    h->traps++;
}

/* Where a hart starts; nothing of its past may be left. */
static __attribute__((used))
void begin(unsigned long hart, unsigned long opaque)
{
    volatile struct Hart *h = &harts[hart]; /* as above */

    check_equal("satp at start", hart, csr_read(satp), 0);
    check_equal("sstatus.SIE at start", hart,
                csr_read(sstatus) & SSTATUS_SIE, 0);
    check_equal("sie at start", hart, csr_read(sie), 0);
    set_up_traps(hart);
    set_up_imsic(1UL << ID_IPI);
    h->opaque = opaque;
    h->order = NULL;
    h->started++;
    serve(hart);
}

static __attribute__((naked))
void start_here(void)
{
    asm volatile("la sp, %0\n\t"
                 "addi t0, a0, 1\n\t"
                 "li t1, %1\n\t"
                 "mul t0, t0, t1\n\t"
                 "add sp, sp, t0\n\t"
                 "tail begin" :: "i"(stacks), "i"(STACK_BYTES));
}

static void start(unsigned long hart, unsigned long opaque)
{
    unsigned long before = harts[hart].started;

    check_equal("hart_start", hart,
                sbi(SBI_HSM, SBI_HSM_START, hart, (long)start_here,
                    opaque).error, 0);
    WAIT_FOR(harts[hart].started != before, "hart starts", hart);
    check_equal("times started", hart, harts[hart].started, before + 1);
    check_equal("opaque", hart, harts[hart].opaque, opaque);
    check_equal("status", hart, status(hart), HART_STARTED);
}

static void order(unsigned long hart, Order *what)
{
    harts[hart].woken = 0;
    harts[hart].traps = 0;
    harts[hart].go = false;
    harts[hart].order = what;
}

/* Orders */

static void stop(unsigned long hart)
{
    (void)hart;
    sbi(SBI_HSM, SBI_HSM_STOP, 0, 0, 0);
}

/* As an idle kernel: interrupts off, and woken nevertheless. */
static void wait_masked(unsigned long hart)
{
    csr_write(sie, SIE_SEIE);
    do {
        asm volatile("wfi");
    } while (!csr_swap(CSR_STOPEI, 0));
    csr_write(sie, 0);
    harts[hart].woken++;
}

static void wait_for_software_interrupt(unsigned long hart)
{
    volatile struct Hart *h = &harts[hart]; /* as above */

    csr_write(sie, SIE_SSIE);
    csr_set(sstatus, SSTATUS_SIE);
    do {
        asm volatile("wfi");
    } while (!h->traps);
    csr_write(sie, 0);
    asm volatile("csrc sstatus, %0" :: "r"(SSTATUS_SIE));
    h->woken++;
}

static void suspend(unsigned long hart)
{
    csr_write(sie, SIE_SEIE);
    do {
        check_equal("non-retentive suspend", hart,
                    sbi(SBI_HSM, SBI_HSM_SUSPEND, SUSPEND_NON_RETENTIVE,
                        (long)start_here, 0).error, SBI_ERR_NOT_SUPPORTED);
        check_equal("retentive suspend", hart,
                    sbi(SBI_HSM, SBI_HSM_SUSPEND, SUSPEND_RETENTIVE, 0,
                        0).error, 0);
    } while (!csr_swap(CSR_STOPEI, 0));
    csr_write(sie, 0);
    harts[hart].woken++;
}

/* Something is pending already when the hart comes to wait. */
static void wait_with(unsigned long hart, unsigned long enabled)
{
    volatile struct Hart *h = &harts[hart]; /* as above */

    csr_write(sie, enabled);
    WAIT_FOR(csr_read(sip) & enabled, "interrupt", hart);
    h->woken = 1;
    WAIT_FOR(h->go, "go", hart);
    check_equal("sip", hart, csr_read(sip) & enabled, enabled);
    asm volatile("wfi");
    check_equal("sip", hart, csr_read(sip) & enabled, enabled);
    csr_write(sie, 0);
    csr_write(sip, 0);
    set_timer(-1UL);
    csr_swap(CSR_STOPEI, 0);
    h->woken = 2;
}

static void wait_with_software_interrupt(unsigned long hart)
{
    wait_with(hart, SIE_SSIE);
}

static void wait_with_timer_interrupt(unsigned long hart)
{
    set_timer(0);
    wait_with(hart, SIE_STIE);
}

static void wait_with_external_interrupt(unsigned long hart)
{
    wait_with(hart, SIE_SEIE);
}

static void send_ipi(unsigned long hart)
{
    check_equal("send_ipi", hart, sbi(SBI_IPI, 0, 1L << hart, 0, 0).error, 0);
}

/* A hart that waits is woken by the stop, and waits again. */
static void expect_waiting(unsigned long hart)
{
    WAIT_FOR(status(hart) == HART_SUSPENDED, "hart waits", hart);
    check_equal("woken", hart, harts[hart].woken, 0);
}

static void expect_woken(unsigned long hart)
{
    WAIT_FOR(harts[hart].woken, "hart wakes", hart);
    check_equal("woken", hart, harts[hart].woken, 1);
    WAIT_FOR(!harts[hart].order, "hart is done", hart);
}

static void expect_stopped(unsigned long hart)
{
    WAIT_FOR(status(hart) == HART_STOPPED, "hart stops", hart);
}

/* No interrupt starts a hart. */
static void expect_still_stopped(unsigned long hart)
{
    unsigned long before = harts[hart].started;

    check_equal("status", hart, status(hart), HART_STOPPED);
    send_msi(hart, ID_IPI);
    send_ipi(hart);
    for (int i = 0; i < 10; i++) {
        leave_and_come_back();
    }
    check_equal("status", hart, status(hart), HART_STOPPED);
    check_equal("times started", hart, harts[hart].started, before);
}

void main(unsigned long hart)
{
    set_up_traps(hart);

    start(1, 0x1111);
    start(2, 0x2222);
    order(1, wait_masked);
    order(2, stop);
    expect_waiting(1);
    expect_stopped(2);
    check_equal("status", 3, status(3), HART_STOPPED);
    checkpoint();
    expect_waiting(1);
    expect_still_stopped(2);
    expect_still_stopped(3);
    send_msi(1, ID_IPI);
    expect_woken(1);
    start(2, 0x222222);
    start(3, 0x333333);

    order(1, wait_for_software_interrupt);
    order(2, suspend);
    order(3, stop);
    expect_waiting(1);
    expect_waiting(2);
    expect_stopped(3);
    checkpoint();
    expect_waiting(1);
    expect_waiting(2);
    expect_still_stopped(3);
    send_ipi(1);
    expect_woken(1);
    check_equal("traps", 1, harts[1].traps, 1);
    check_equal("cause", 1, harts[1].trap_cause, CAUSE_SOFTWARE);
    send_msi(2, ID_IPI);
    expect_woken(2);
    start(3, -1UL);

    order(1, wait_with_software_interrupt);
    order(2, wait_with_timer_interrupt);
    order(3, wait_with_external_interrupt);
    send_ipi(1);
    send_msi(3, ID_IPI);
    for (unsigned long i = 1; i < 4; i++) {
        WAIT_FOR(harts[i].woken == 1, "interrupt is pending", i);
    }
    checkpoint();
    for (unsigned long i = 1; i < 4; i++) {
        harts[i].go = true;
        WAIT_FOR(harts[i].woken == 2, "hart does not wait", i);
    }
    pass();
}
