/*
 * Computations that go on while the guest is moved
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every hart steps linear congruential generators, of which it knows by
 * another way what comes out: in integer registers, exactly in floating-point
 * ones, and in vectors where there are any.  With each step it sees whether
 * the rounding mode and the flags are still its own.  Odd harts do so in user
 * mode; timer interrupts come all the time.
 *
 * arg[0]: set by the test to end this
 * told[]: rounds of each hart
 */

#include "vcpu.h"

#define STEPS 4000
#define LANES 8
#define TICK  (SECOND / 200)

#define SSTATUS_VS (3UL << 9)

#define A 6364136223846793005UL
#define B 1442695040888963407UL

/* Products of these are exact in floating point. */
#define FP_M 67108859UL
#define FP_A 48271UL
#define FP_C 12345UL

#define FLAGS    0x12UL     /* NV and UF, which nothing here raises */
#define FLAG_NX  0x01UL

#define WITH_V(code) \
    ".option push\n\t.option arch, +v\n\t" code "\n\t.option pop"

static struct Wrong {
    const char *what;
    uint64_t index, is, should;
} wrong[MAX_HARTS];

static bool has_vectors;

/* In user mode, what is wrong has to be told by a trap. */
static void check(unsigned long hart, bool user, const char *what,
                  uint64_t index, uint64_t is, uint64_t should)
{
    if (is != should && !user) {
        fail(what, index, is, should);
    } else if (is != should) {
        wrong[hart] = (struct Wrong) { what, index, is, should };
        asm volatile("ecall" : : : "memory");
    }
}

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    bool user = !(csr_read(sstatus) & SSTATUS_SPP);

    if (cause == CAUSE_TIMER) {
        check_equal("user mode", hart, user, hart & 1);
        set_timer(csr_read(time) + TICK);
    } else if (cause == CAUSE_USER_ECALL) {
        struct Wrong *w = &wrong[hart];

        fail(w->what - USER_ALIAS, w->index, w->is, w->should);
    } else {
        fail("trap", cause, frame->x[0], hart);
    }
}

/* The state of x -> a * x + c after n steps, by squaring; m is 0 for 2^64. */
static uint64_t jump(uint64_t x, uint64_t a, uint64_t c, uint64_t n,
                     uint64_t m)
{
    uint64_t all_a = 1, all_c = 0;

    for (; n; n >>= 1) {
        if (n & 1) {
            all_c = all_c * a + c;
            all_a = all_a * a;
        }
        c = c * (a + 1);
        a = a * a;
        if (m) {
            all_c %= m;
            all_a %= m;
            a %= m;
            c %= m;
        }
    }
    x = x * all_a + all_c;
    return m ? x % m : x;
}

/* Exact in all rounding modes, also where the quotient is not. */
static double fp_step(double x)
{
    const double m = FP_M, a = FP_A, c = FP_C;
    double t, q, r;

    asm volatile("fmadd.d %0, %3, %4, %5\n\t"
                 "fdiv.d %1, %0, %6\n\t"
                 "fcvt.l.d t0, %1, rtz\n\t"
                 "fcvt.d.l %1, t0\n\t"
                 "fnmsub.d %2, %1, %6, %0"
                 : "=&f"(t), "=&f"(q), "=&f"(r)
                 : "f"(x), "f"(a), "f"(c), "f"(m) : "t0");
    if (r < 0) {
        r += m;
    }
    return r < m ? r : r - m;
}

static uint64_t bits(double x)
{
    union {
        double d;
        uint64_t u;
    } all = { .d = x };

    return all.u;
}

/* Which of three results are rounded away from zero tells the modes apart. */
static unsigned rounding(void)
{
    const double one = 1, five = 5, half_ulp = 1.0 / (1UL << 53);
    double up, down, fifth;

    asm volatile("fadd.d %0, %3, %5\n\t"
                 "fneg.d %1, %3\n\t"
                 "fsub.d %1, %1, %5\n\t"
                 "fdiv.d %2, %3, %4"
                 : "=&f"(up), "=&f"(down), "=&f"(fifth)
                 : "f"(one), "f"(five), "f"(half_ulp));
    return (bits(up) & 1) | (bits(down) & 1) << 1 |
           (bits(fifth) == 0x3fc999999999999aUL) << 2;
}

static void load_lanes(const uint64_t *x)
{
    asm volatile(WITH_V("vsetivli zero, %1, e64, m8, ta, ma\n\t"
                        "vle64.v v16, (%0)")
                 :: "r"(x), "i"(LANES) : "memory");
}

static void step_lanes(void)
{
    asm volatile(WITH_V("vmul.vx v16, v16, %0\n\t"
                        "vadd.vx v16, v16, %1") :: "r"(A), "r"(B));
}

static void store_lanes(uint64_t *x)
{
    asm volatile(WITH_V("vse64.v v16, (%0)") :: "r"(x) : "memory");
}

static void compute(unsigned long hart, bool user, uint64_t round)
{
    /* By rounding mode: RNE, RTZ, RDN, RUP, RMM */
    static const uint8_t roundings[] = { 4, 0, 2, 5, 7 };
    uint64_t mode = (hart + round) % 5;
    uint64_t seed = mix(round << 8 | hart);
    uint64_t x[LANES], start[LANES], lanes[LANES];
    double y = seed % FP_M;

    for (int i = 0; i < LANES; i++) {
        x[i] = start[i] = seed + i;
    }
    if (has_vectors) {
        load_lanes(start);
    }
    for (int step = 0; step < STEPS; step++) {
        uint64_t fcsr = mode << 5 | FLAGS;

        if (!step) {
            set_fcsr(fcsr);
        }
        for (int i = 0; i < LANES; i++) {
            x[i] = x[i] * A + B;
            asm volatile("" : "+r"(x[i]));
        }
        y = fp_step(y);
        if (has_vectors) {
            step_lanes();
        }
        check(hart, user, "rounding", mode, rounding(), roundings[mode]);
        check(hart, user, "fcsr", step, csr_read(fcsr), fcsr | FLAG_NX);
    }
    for (int i = 0; i < LANES; i++) {
        check(hart, user, "integer", i, x[i], jump(start[i], A, B, STEPS, 0));
    }
    check(hart, user, "floating point", hart, (uint64_t)y,
          jump(seed % FP_M, FP_A, FP_C, STEPS, FP_M));
    if (has_vectors) {
        store_lanes(lanes);
        for (int i = 0; i < LANES; i++) {
            check(hart, user, "vector", i, lanes[i],
                  jump(start[i], A, B, STEPS, 0));
        }
    }
}

static void work(unsigned long hart, bool user)
{
    for (uint64_t round = 1; hart || !report.arg[0]; round++) {
        compute(hart, user, round);
        report.told[hart] = round;
    }
    pass();
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    set_up_paging(hart + 1);
    csr_set(sstatus, SSTATUS_FS | SSTATUS_VS | SSTATUS_SPIE);
    if (hart == 0) {
        has_vectors = csr_read(sstatus) & SSTATUS_VS;
        start_harts(0);
        __atomic_store_n(&report.magic, CHECK_MAGIC, __ATOMIC_SEQ_CST);
    }
    csr_write(sie, SIE_STIE);
    set_timer(csr_read(time) + TICK);
    if (hart & 1) {
        Frame *frame = &trap_areas[hart].frame;

        asm volatile("csrc sstatus, %0" :: "r"(SSTATUS_SPP));
        frame->x[0] = (uint64_t)work + USER_ALIAS;
        frame->x[2] = (uint64_t)stacks[hart + 1] + USER_ALIAS;
        frame->x[10] = hart;
        frame->x[11] = true;
        resume(frame);
    }
    csr_set(sstatus, SSTATUS_SIE);
    work(hart, false);
}
