/*
 * Vector registers, in use on every hart
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is built without vectors; only the functions here use them, once
 * sstatus.VS is on.
 *
 * arg[0]: number of rounds
 * told[0]: VLEN in bytes; 0 without vectors
 */

#include "vcpu.h"

#define SSTATUS_VS  (3UL << 9)
#define MAX_VLENB   256

#define CSR_VSTART 0x008
#define CSR_VCSR   0x00f
#define CSR_VL     0xc20
#define CSR_VTYPE  0xc21
#define CSR_VLENB  0xc22

#define VTYPE_VILL (1UL << 63)

/* ta and ma, element width and LMUL as in vtype */
#define VTYPE(vma, vta, vsew, vlmul) \
    ((vma) << 7 | (vta) << 6 | (vsew) << 3 | (vlmul))

/* Asked for: the number of elements, of which there may be fewer, and vtype */
static const struct Config {
    unsigned long avl;
    unsigned long vtype;
} configs[] = {
    { -1UL, VTYPE(0, 0, 0, 0) },    /* e8, m1 */
    { 3, VTYPE(1, 1, 1, 7) },       /* e16, mf2 */
    { 5, VTYPE(0, 1, 2, 2) },       /* e32, m4 */
    { 7, VTYPE(1, 0, 3, 3) },       /* e64, m8 */
    { 1, VTYPE(0, 0, 7, 0) },       /* reserved: vill */
};

#define NUM_CONFIGS (sizeof(configs) / sizeof(configs[0]))

typedef struct Vectors {
    uint8_t v[32 * MAX_VLENB];
    uint64_t vl;
    uint64_t vtype;
    uint64_t vstart;
    uint64_t vcsr;
} Vectors;

static Vectors vectors[MAX_HARTS], now[MAX_HARTS];
static volatile uint64_t holding[MAX_HARTS]; /* round, seen by others */
static volatile uint64_t verified[MAX_HARTS]; /* likewise */
static volatile uint64_t released; /* likewise */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    fail("trap", cause, frame->x[0], hart);
}

#define WITH_V(code) \
    ".option push\n\t.option arch, +v\n\t" code "\n\t.option pop"

/*
 * Sets vstart to 0, as every vector instruction does.  The emulated hosts may
 * lose a write to vstart where the hart is preempted after it, see docs/lab.md.
 */
#define CLEAR_VSTART "vsetivli zero, 0, e8, m1, ta, ma\n\t"

static void load_vectors(const uint8_t *v, uint64_t group, const Vectors *x,
                         const struct Config *c)
{
    asm volatile(WITH_V(CLEAR_VSTART
                        "vl8re8.v v0, (%0)\n\t"
                        "vl8re8.v v8, (%1)\n\t"
                        "vl8re8.v v16, (%2)\n\t"
                        "vl8re8.v v24, (%3)\n\t"
                        "vsetvl zero, %4, %5\n\t"
                        "csrw " STR(CSR_VCSR) ", %6\n\t"
                        "csrw " STR(CSR_VSTART) ", %7")
                 :: "r"(v), "r"(v + group), "r"(v + 2 * group),
                    "r"(v + 3 * group), "r"(c->avl), "r"(c->vtype),
                    "r"(x->vcsr), "r"(x->vstart) : "memory");
}

static void store_vectors(uint8_t *v, uint64_t group)
{
    asm volatile(WITH_V(CLEAR_VSTART
                        "vs8r.v v0, (%0)\n\t"
                        "vs8r.v v8, (%1)\n\t"
                        "vs8r.v v16, (%2)\n\t"
                        "vs8r.v v24, (%3)")
                 :: "r"(v), "r"(v + group), "r"(v + 2 * group),
                    "r"(v + 3 * group) : "memory");
}

static void read_vector_csrs(Vectors *x)
{
    x->vl = csr_read(CSR_VL);
    x->vtype = csr_read(CSR_VTYPE);
    x->vstart = csr_read(CSR_VSTART);
    x->vcsr = csr_read(CSR_VCSR);
}

static void set_vectors(unsigned long hart, uint64_t round)
{
    const struct Config *c = &configs[(hart + round) % NUM_CONFIGS];
    uint64_t vlenb = csr_read(CSR_VLENB);
    Vectors *x = &vectors[hart], *is = &now[hart];
    uint64_t p = mix(round << 8 | hart);

    for (uint64_t i = 0; i < 32 * vlenb; i++) {
        x->v[i] = mix(p + i);
    }
    /* Every number that an instruction on bytes can be interrupted at */
    x->vstart = p % vlenb;
    x->vcsr = p >> 32 & 7;
    /* The writes of vcsr and vstart may be lost likewise. */
    do {
        load_vectors(x->v, 8 * vlenb, x, c);
        leave_and_come_back();
        read_vector_csrs(is);
    } while (is->vstart != x->vstart || is->vcsr != x->vcsr);
    x->vl = is->vl;
    x->vtype = is->vtype;
    if (c->vtype >> 3 == 7) {
        check_equal("vtype", hart, x->vtype, VTYPE_VILL);
    } else {
        check_equal("vtype", hart, x->vtype, c->vtype);
        if (c->avl != -1UL) {
            check_equal("vl", hart, x->vl, c->avl);
        }
    }
}

static void check_vectors(unsigned long hart)
{
    uint64_t vlenb = csr_read(CSR_VLENB);
    Vectors *x = &vectors[hart], *is = &now[hart];

    read_vector_csrs(is);
    check_equal("vl", hart, is->vl, x->vl);
    check_equal("vtype", hart, is->vtype, x->vtype);
    check_equal("vstart", hart, is->vstart, x->vstart);
    check_equal("vcsr", hart, is->vcsr, x->vcsr);
    store_vectors(is->v, 8 * vlenb);
    for (uint64_t i = 0; i < 32 * vlenb; i++) {
        check_equal("byte of v0-v31", i, is->v[i], x->v[i]);
    }
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    csr_set(sstatus, SSTATUS_VS);
    if (!(csr_read(sstatus) & SSTATUS_VS)) {
        checkpoint();
        pass();
    }
    if (csr_read(CSR_VLENB) > MAX_VLENB) {
        fail("vlenb", hart, csr_read(CSR_VLENB), MAX_VLENB);
    }
    for (uint64_t round = 1; hart; round++) {
        set_vectors(hart, round);
        holding[hart] = round;
        while (released < round) {
            asm volatile("");
        }
        check_vectors(hart);
        verified[hart] = round;
    }

    report.told[0] = csr_read(CSR_VLENB);
    start_harts(0);
    for (uint64_t round = 1; round <= report.arg[0]; round++) {
        set_vectors(0, round);
        for (unsigned long i = 1; i < report.harts; i++) {
            WAIT_FOR(holding[i] == round, "hart holds", i);
        }
        checkpoint();
        check_vectors(0);
        released = round;
        for (unsigned long i = 1; i < report.harts; i++) {
            WAIT_FOR(verified[i] == round, "hart verifies", i);
        }
    }
    pass();
}
