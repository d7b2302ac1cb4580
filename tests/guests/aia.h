/*
 * What the guests that check APLIC and IMSIC share: interrupts, other harts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hart 0 runs the check.  The others serve(): they wait in WFI until hart 0
 * has something for them to do.
 */

#ifndef AIA_H
#define AIA_H

#include "check.h"

#define SOURCES    96
#define IDENTITIES 255

#define APLIC_SETIP(w)    (0x1c00 + 4 * (w))
#define APLIC_IN_CLRIP(w) (0x1d00 + 4 * (w))
#define APLIC_SETIE(w)    (0x1e00 + 4 * (w))
#define APLIC_CLRIE(w)    (0x1f00 + 4 * (w))
#define APLIC_GENMSI      0x3000
#define APLIC_WORDS       4

#define IMSIC_EIP(n) (0x80 + (n))

#define SIE_SSIE (1UL << 1)
#define SIP_SSIP (1UL << 1)
#define SIP_SEIP (1UL << 9)

#define CAUSE_SOFTWARE ((1UL << 63) | 1)

#define SBI_IPI           0x735049
#define SBI_HSM_START     0
#define SBI_HSM_STOP      1
#define SBI_HSM_STATUS    2
#define SBI_HSM_STARTED   0
#define SBI_HSM_STOPPED   1

#define csr_clear(csr, val)                                          \
    asm volatile("csrc " STR(csr) ", %0" :: "rK"(val) : "memory")

static inline void mmio_write16(unsigned long addr, uint16_t val)
{
    asm volatile("fence iorw, iorw; sh %0, 0(%1)"
                 :: "r"(val), "r"(addr) : "memory");
}

/* The interrupts a hart has taken, in their order and by identity. */
static volatile struct { /* changes in traps and on other harts */
    uint32_t num;
    uint16_t order[2 * IDENTITIES];
    uint16_t of[IDENTITIES + 1];
} taken[MAX_HARTS];

/* What each hart is to do next. */
static void (*volatile todo[MAX_HARTS])(unsigned long hart);

static volatile bool serving[MAX_HARTS]; /* set on one hart, read on another */

/* One identity a trap: if there is another one, it traps again. */
__attribute__((interrupt("supervisor"), aligned(4)))
static void aia_trap(void)
{
    unsigned long hart = csr_read(sscratch);
    unsigned long cause = csr_read(scause);
    unsigned long id;

    if (cause == CAUSE_SOFTWARE) {
        csr_clear(sip, SIP_SSIP);
        return;
    }
    check_equal("cause of a trap", hart, cause, CAUSE_EXTERNAL);
    id = csr_swap(CSR_STOPEI, 0) >> 16;
    if (!id || id > IDENTITIES ||
        taken[hart].num == sizeof(taken[hart].order) / 2) {
        fail("identity taken by hart", hart, id, 1);
    }
    taken[hart].order[taken[hart].num++] = id;
    taken[hart].of[id]++;
}

static inline void forget_taken(unsigned long hart)
{
    taken[hart].num = 0;
    for (unsigned id = 0; id <= IDENTITIES; id++) {
        taken[hart].of[id] = 0;
    }
}

/*
 * Traps come here from now on, of the interrupts that sie lets through.  They
 * save floating-point registers, as the compiler cannot know better.
 */
static inline void start_traps(unsigned long hart)
{
    csr_set(sstatus, SSTATUS_FS);
    csr_write(sscratch, hart);
    csr_write(stvec, (unsigned long)aia_trap);
    csr_write(sie, SIE_SSIE);
    csr_set(sstatus, SSTATUS_SIE);
}

/*
 * Never returns.  Interrupts are off between the look at todo and the WFI, or
 * what wakes the hart would be over before it sleeps.
 */
static inline void serve(unsigned long hart)
{
    start_traps(hart);
    serving[hart] = true;
    for (;;) {
        csr_clear(sstatus, SSTATUS_SIE);
        if (!todo[hart]) {
            asm volatile("wfi");
        }
        csr_set(sstatus, SSTATUS_SIE);
        if (todo[hart]) {
            todo[hart](hart);
            todo[hart] = NULL;
        }
    }
}

/* The hart that runs this takes all identities from then on; for on_hart() */
static inline void open_file(unsigned long hart)
{
    imsic_write(IMSIC_EITHRESHOLD, 0);
    for (unsigned w = 0; w < 8; w += 2) {
        imsic_write(IMSIC_EIE(w), -1);
    }
    imsic_write(IMSIC_EIDELIVERY, 1);
    csr_set(sie, SIE_SEIE);
    (void)hart;
}

/* Wakes a hart from its WFI, whatever its file tells the host. */
static inline void wake(unsigned long hart)
{
    check_equal("SBI send_ipi to hart", hart,
                sbi(SBI_IPI, 0, 1UL << hart, 0, 0).error, 0);
}

/* Has a hart do something; it may be hart 0, which runs this. */
static inline void on_hart(unsigned long hart, void (*fn)(unsigned long))
{
    if (!hart) {
        fn(hart);
        return;
    }
    todo[hart] = fn;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    wake(hart);
    while (todo[hart]) {
        asm volatile("fence");
    }
}

/* Starts a hart, and waits until it serves. */
static inline void start_hart(unsigned long hart)
{
    serving[hart] = false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    check_equal("SBI hart_start of hart", hart,
                sbi(SBI_HSM, SBI_HSM_START, hart, (long)_start, 0).error, 0);
    while (!serving[hart]) {
        asm volatile("fence");
    }
}

static inline unsigned long hart_status(unsigned long hart)
{
    struct sbiret ret = sbi(SBI_HSM, SBI_HSM_STATUS, hart, 0, 0);

    check_equal("SBI hart_get_status of hart", hart, ret.error, 0);
    return ret.value;
}

/*
 * Whether the file lets the hart enable identities 32-63 and so on: an
 * emulated one does not on today's kernels (docs/kernel-facts.md).
 */
static inline bool has_upper(void)
{
    unsigned long was = imsic_read(IMSIC_EIE(0));
    bool has;

    imsic_write(IMSIC_EIE(0), 1UL << 40);
    has = imsic_read(IMSIC_EIE(0)) & 1UL << 40;
    imsic_write(IMSIC_EIE(0), was);
    return has;
}

/*
 * What a file, with or without @upper, lets the hart have of @bits.  Read from
 * one without, the rest is the lower half's sign; written, it would be there
 * where the hart goes to a file with.
 */
static inline uint64_t usable(bool upper, uint64_t bits)
{
    return upper ? bits : (uint32_t)bits;
}

#endif
