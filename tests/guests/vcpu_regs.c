/*
 * Registers of harts in user and supervisor mode, at work and waiting
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In turn each hart but the first
 *   - counts in user mode, paging on, with a value of its own in each register,
 *   - does the same in supervisor mode,
 *   - holds values in all its CSRs, which the first hart does all the time.
 * Then they are moved.  User mode is told from supervisor mode by what it can
 * do: it leaves by an ecall with cause 8, may not read what is the
 * supervisor's, and executes pages that supervisor mode may not.
 *
 * arg[0]: whether there is sstateen0
 * arg[1]: how often each hart changes
 */

#include "aia.h"
#include "vcpu.h"

#define STATES 3
#define ID_IPI 1

#define CSR_SSTATEEN0 0x10c
#define ISELECT_IPRIO(n) (0x30 + (n))

enum { SSTATUS, SIE, SIP, STVEC, SSCRATCH, SEPC, SCAUSE, STVAL, SATP,
       SCOUNTEREN, SENVCFG, SSTATEEN0, STIMECMP, SISELECT, SIREG, IPRIO0,
       IPRIO2, NUM_CSRS };

static struct Hart {
    unsigned long round;
    unsigned long probed;
    uint64_t csr[NUM_CSRS];
    volatile uint64_t counter; /* these change under the others' eyes */
    volatile unsigned long holding; /* likewise */
    volatile unsigned long verified; /* likewise */
} harts[MAX_HARTS];

static volatile unsigned long released; /* round that is over */

static uint64_t pattern(unsigned long hart, unsigned long i)
{
    return mix(i << 16 | hart << 8 | harts[hart].round);
}

/* Floating point */

static void load_fp(const uint64_t *val, unsigned long fcsr)
{
    set_fcsr(fcsr);
    asm volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, "
                 "15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, "
                 "29, 30, 31\n\t"
                 "fld f\\n, (8 * \\n)(%0)\n\t"
                 ".endr" :: "r"(val) : "memory");
}

static void store_fp(uint64_t *val)
{
    asm volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, "
                 "15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, "
                 "29, 30, 31\n\t"
                 "fsd f\\n, (8 * \\n)(%0)\n\t"
                 ".endr" :: "r"(val) : "memory");
}

/* All flags and rounding modes that there are. */
static unsigned long fcsr_pattern(unsigned long hart)
{
    uint64_t p = pattern(hart, 300);

    return (p >> 8) % 5 << 5 | (p & 0x1f);
}

static void set_fp(unsigned long hart)
{
    uint64_t val[32];

    for (int i = 0; i < 32; i++) {
        val[i] = pattern(hart, 200 + i);
    }
    load_fp(val, fcsr_pattern(hart));
}

static void check_fp(unsigned long hart)
{
    uint64_t val[32];

    store_fp(val);
    for (int i = 0; i < 32; i++) {
        check_equal("f", i, val[i], pattern(hart, 200 + i));
    }
    check_equal("fcsr", hart, csr_read(fcsr), fcsr_pattern(hart));
}

/* CSRs; interrupts are off and nothing traps */

static bool upper;

static void read_csrs(uint64_t *csr)
{
    csr[SSTATUS] = csr_read(sstatus);
    csr[SIE] = csr_read(sie);
    csr[SIP] = csr_read(sip) & (SIP_SSIP | SIP_STIP);
    csr[STVEC] = csr_read(stvec);
    csr[SSCRATCH] = csr_read(sscratch);
    csr[SEPC] = csr_read(sepc);
    csr[SCAUSE] = csr_read(scause);
    csr[STVAL] = csr_read(stval);
    csr[SATP] = csr_read(satp);
    csr[SCOUNTEREN] = csr_read(scounteren);
    csr[SENVCFG] = csr_read(senvcfg);
    csr[SSTATEEN0] = report.arg[0] ? csr_read(CSR_SSTATEEN0) : 0;
    csr[STIMECMP] = csr_read(CSR_STIMECMP);
    /* The register was selected before the move. */
    csr[SIREG] = usable(upper, csr_read(CSR_SIREG));
    csr[SISELECT] = csr_read(CSR_SISELECT);
    csr[IPRIO0] = imsic_read(ISELECT_IPRIO(0));
    csr[IPRIO2] = imsic_read(ISELECT_IPRIO(2));
    csr_write(CSR_SISELECT, csr[SISELECT]);
}

static void set_csrs(unsigned long hart)
{
    struct Hart *h = &harts[hart];
    uint64_t p = pattern(hart, 100);
    unsigned long word = 2 * (p >> 32) % 8;

    csr_write(sstatus, SSTATUS_FS | (p & (SSTATUS_SUM | SSTATUS_MXR |
                                          SSTATUS_SPP | SSTATUS_SPIE)));
    csr_write(sie, p >> 16);
    csr_write(sip, h->round & 1 ? SIP_SSIP : 0);
    csr_write(stvec, (uint64_t)trap_entry | (p & 1));
    csr_write(sscratch, pattern(hart, 101));
    csr_write(sepc, pattern(hart, 102) & ~1UL);
    csr_write(scause, pattern(hart, 103));
    csr_write(stval, pattern(hart, 104));
    csr_write(scounteren, pattern(hart, 105));
    csr_write(senvcfg, pattern(hart, 106));
    if (report.arg[0]) {
        csr_write(CSR_SSTATEEN0, pattern(hart, 107));
    }
    /* One in the past, one in the future */
    csr_write(CSR_STIMECMP, pattern(hart, 108) >> (h->round & 1 ? 1 : 60));
    imsic_write(ISELECT_IPRIO(0), pattern(hart, 109));
    imsic_write(ISELECT_IPRIO(2), pattern(hart, 110));
    imsic_write(IMSIC_EIE(word), usable(upper, pattern(hart, 111)) &
                                 ~(1UL << ID_IPI));
    if (!word) {
        imsic_write(IMSIC_EIE(0), imsic_read(IMSIC_EIE(0)) | 1UL << ID_IPI);
    }

    read_csrs(h->csr);
    check_equal("sscratch", hart, h->csr[SSCRATCH], pattern(hart, 101));
    check_equal("sepc", hart, h->csr[SEPC], pattern(hart, 102) & ~1UL);
    check_equal("stval", hart, h->csr[STVAL], pattern(hart, 104));
    check_equal("sip.SSIP", hart, h->csr[SIP] & SIP_SSIP,
                h->round & 1 ? SIP_SSIP : 0);
}

static void check_csrs(unsigned long hart)
{
    uint64_t now[NUM_CSRS];

    read_csrs(now);
    for (int i = 0; i < NUM_CSRS; i++) {
        check_equal("CSR", i, now[i], harts[hart].csr[i]);
    }
}

static void restore_csrs(unsigned long hart)
{
    csr_write(sie, SIE_SEIE);
    csr_write(sip, 0);
    set_up_traps(hart);
    imsic_write(IMSIC_EIE(0), 1UL << ID_IPI);
}

static void hold_csrs(unsigned long hart)
{
    set_fp(hart);
    set_csrs(hart);
    harts[hart].holding = harts[hart].round;
    while (released != harts[hart].round) {
        asm volatile("");
    }
    check_csrs(hart);
    check_fp(hart);
    restore_csrs(hart);
    /*
     * The interrupt that ends the other ways of holding.  Claims that meet its
     * arrival have an emulated host tell of it again (docs/lab.md).
     */
    WAIT_FOR(csr_read(sip) & SIP_SEIP, "interrupt", hart);
    check_equal("identity", hart, csr_swap(CSR_STOPEI, 0) >> 16, ID_IPI);
}

/* x registers: two of them count, two others in the next round */

#define HOLD(name, counter, address)                                      \
static __attribute__((naked))                                             \
void name(void)                                                           \
{                                                                         \
    asm volatile(".option push\n\t.option norvc\n\t"                      \
                 "1:\n\t"                                                 \
                 "addi x" #counter ", x" #counter ", 1\n\t"               \
                 "sd x" #counter ", 0(x" #address ")\n\t"                 \
                 "j 1b\n\t"                                               \
                 ".option pop");                                          \
}

HOLD(count_in_5, 5, 6)
HOLD(count_in_28, 28, 29)

#define HOLD_BYTES 12

static bool in_user_mode(unsigned long hart)
{
    return (hart + harts[hart].round) % STATES == 1;
}

static bool holds_csrs(unsigned long hart)
{
    return (hart + harts[hart].round) % STATES == 0;
}

static Frame expected_frame(unsigned long hart)
{
    bool odd = harts[hart].round & 1;
    uint64_t alias = in_user_mode(hart) ? USER_ALIAS : 0;
    Frame frame;

    for (int i = 1; i < 32; i++) {
        frame.x[i] = pattern(hart, i);
    }
    frame.x[0] = (uint64_t)(odd ? count_in_5 : count_in_28) + alias;
    frame.x[odd ? 5 : 28] = harts[hart].counter;
    frame.x[odd ? 6 : 29] = (uint64_t)&harts[hart].counter + alias;
    return frame;
}

static void hold_registers(unsigned long hart)
{
    Frame frame;

    set_fp(hart);
    csr_set(sstatus, SSTATUS_SPIE | SSTATUS_SPP);
    if (in_user_mode(hart)) {
        asm volatile("csrc sstatus, %0" :: "r"(SSTATUS_SPP));
    }
    frame = expected_frame(hart);
    trap_areas[hart].frame = frame;
    resume(&trap_areas[hart].frame);
}

static void check_registers(const Frame *frame, unsigned long hart)
{
    Frame expected = expected_frame(hart);
    bool odd = harts[hart].round & 1;
    uint64_t *count = &expected.x[odd ? 5 : 28];

    /* One that is not written yet */
    if (frame->x[odd ? 5 : 28] == *count + 1) {
        ++*count;
    }
    for (int i = 1; i < 32; i++) {
        check_equal("x", i, frame->x[i], expected.x[i]);
    }
    if (frame->x[0] - expected.x[0] >= HOLD_BYTES) {
        fail("pc", hart, frame->x[0], expected.x[0]);
    }
    check_equal("sstatus.SPP", hart, csr_read(sstatus) & SSTATUS_SPP,
                in_user_mode(hart) ? 0 : SSTATUS_SPP);
    check_fp(hart);
}

/* What user mode can and cannot do; a0 is the supervisor's memory. */
static __attribute__((naked))
void user_probe(void)
{
    asm volatile(".option push\n\t.option norvc\n\t"
                 "li a7, " STR(SBI_BASE) "\n\t"
                 "li a6, 0\n\t"
                 "ecall\n\t"
                 "ld a1, 0(a0)\n\t"
                 "ecall\n\t"
                 "ebreak\n\t"
                 ".option pop");
}

static void begin_round(unsigned long hart);

static void end_round(unsigned long hart)
{
    harts[hart].verified = harts[hart].round;
    begin_round(hart);
}

static void begin_round(unsigned long hart)
{
    struct Hart *h = &harts[hart];

    while (released == h->round) {
        h->round++;
        if (h->round > report.arg[1]) {
            h->holding = h->round;
            for (;;) {
                asm volatile("wfi");
            }
        }
    }
    if (holds_csrs(hart)) {
        hold_csrs(hart);
        end_round(hart);
    }
    hold_registers(hart);
}

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    static const unsigned long probe_causes[] = {
        CAUSE_USER_ECALL, CAUSE_LOAD_FAULT, CAUSE_USER_ECALL,
    };
    struct Hart *h = &harts[hart];

    if (cause == CAUSE_EXTERNAL && !h->probed) {
        check_equal("identity", hart, csr_swap(CSR_STOPEI, 0) >> 16, ID_IPI);
        check_registers(frame, hart);
        if (in_user_mode(hart)) {
            h->probed = 1;
            frame->x[0] = (uint64_t)user_probe + USER_ALIAS;
            frame->x[10] = (uint64_t)&report;
        } else {
            go_on_in(frame, hart, end_round);
        }
        return;
    }
    if (!h->probed) {
        fail("trap", cause, frame->x[0], hart);
    }
    check_equal("cause", h->probed, cause, probe_causes[h->probed - 1]);
    check_equal("sstatus.SPP", hart, csr_read(sstatus) & SSTATUS_SPP, 0);
    frame->x[0] += 4;
    if (h->probed++ == 3) {
        h->probed = 0;
        go_on_in(frame, hart, end_round);
    }
}

void main(unsigned long hart)
{
    struct Hart *h = &harts[hart];

    csr_set(sstatus, SSTATUS_FS);
    set_up_traps(hart);
    set_up_paging(hart + 1);
    set_up_imsic(1UL << ID_IPI);
    csr_write(sie, SIE_SEIE);
    h->round = 1;

    if (hart) {
        begin_round(hart);
    }
    upper = has_upper();
    check_equal("harts", 0, start_harts(0), report.harts);
    for (unsigned long round = 1; round <= report.arg[1]; round++) {
        uint64_t count[MAX_HARTS];

        h->round = round;
        set_fp(0);
        set_csrs(0);
        for (unsigned long i = 1; i < report.harts; i++) {
            count[i] = harts[i].counter;
        }
        for (unsigned long i = 1; i < report.harts; i++) {
            WAIT_FOR(harts[i].holding == round ||
                     harts[i].counter != count[i], "hart holds", i);
        }
        checkpoint();
        check_csrs(0);
        check_fp(0);
        /* They still count, or wait. */
        for (unsigned long i = 1; i < report.harts; i++) {
            count[i] = harts[i].counter;
        }
        for (unsigned long i = 1; i < report.harts; i++) {
            WAIT_FOR(harts[i].holding == round ||
                     harts[i].counter != count[i], "hart holds", i);
        }
        restore_csrs(0);
        released = round;
        for (unsigned long i = 1; i < report.harts; i++) {
            send_msi(i, ID_IPI);
            WAIT_FOR(harts[i].verified == round, "hart verifies", i);
        }
    }
    pass();
}
