/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A load on every hart that would notice corrupted state; see heartbeat.c.
 */

#define _GNU_SOURCE
#include <asm/hwprobe.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "heartbeat.h"

enum {
    SPINS = 50000,          /* how long registers are held, each kind */
    PAGES = 64,             /* memory of a hart; each round rewrites one */
    MAX_VLENB = 256,
    MAX_BLOCK = 1024,       /* of Zicboz */
};

struct hart {
    int id;
    atomic_ulong ticks;
    atomic_ulong gap_ns;
    atomic_uint baton;      /* futex: the neighbour has ended a round */
    uint64_t *memory;
};

static struct hart harts[MAX_HARTS];
static bool has_vector, has_zbb;
static unsigned long zicboz_bytes;      /* of a block; 0 without Zicboz */
static long pause_ms = 10;

static void integers(struct hart *h)
{
    static uint64_t expected[MAX_HARTS];
    uint64_t x = 0x9e3779b97f4a7c15ull + h->id;

    for (int i = 0; i < SPINS / 4; i++) {
        x = scramble(x);
    }
    if (!expected[h->id]) {
        expected[h->id] = x;
    } else if (x != expected[h->id]) {
        corrupted("hart %d: integer result %llx, expected %llx", h->id,
                  (unsigned long long)x,
                  (unsigned long long)expected[h->id]);
    }
}

/* What the kernel has said at the start, before any move */
static uint64_t hwprobe(int64_t key)
{
    struct riscv_hwprobe pair = { .key = key };

    if (syscall(__NR_riscv_hwprobe, &pair, 1, 0, NULL, 0) || pair.key != key) {
        return 0;
    }
    return pair.value;
}

/* Instructions of extensions that the guest was told of when it booted. */
static void extensions(struct hart *h)
{
    static _Alignas(MAX_BLOCK) uint8_t blocks[MAX_HARTS][MAX_BLOCK];
    uint8_t *block = blocks[h->id];
    uint64_t x = scramble(atomic_load(&h->ticks) + 1), bits;

    if (has_zbb) {
        asm volatile(".option push\n"
                     ".option arch, +zbb\n"
                     "cpop %0, %1\n"
                     ".option pop" : "=r"(bits) : "r"(x));
        for (int i = 0; i < 64; i++) {
            bits -= x >> i & 1;
        }
        if (bits) {
            corrupted("hart %d: cpop is wrong", h->id);
        }
    }
    if (zicboz_bytes) {
        memset(block, 0xff, zicboz_bytes);
        asm volatile(".option push\n"
                     ".option arch, +zicboz\n"
                     "cbo.zero (%0)\n"
                     ".option pop" :: "r"(block) : "memory");
        for (unsigned long i = 0; i < zicboz_bytes; i++) {
            if (block[i]) {
                corrupted("hart %d: cbo.zero leaves byte %lu", h->id, i);
                break;
            }
        }
    }
}

/*
 * An emulated host may forget a rounding mode that was set and not yet used:
 * QEMU 10.0.13 marks the floating-point state as changed for the guest, but
 * not for the hypervisor, when only fcsr is written.  An instruction that
 * writes a register makes good for it, and the loop for what happens between
 * the two.  The same holds for vcsr.
 */
static void set_rounding(unsigned long mode)
{
    unsigned long fcsr;

    do {
        asm volatile("fscsr %1\n"
                     "fmv.d.x ft0, zero\n"
                     "frcsr %0" : "=r"(fcsr) : "r"(mode << 5) : "ft0");
    } while (fcsr != mode << 5);
}

/* Arithmetic whose result depends on the rounding mode, one per hart. */
static void floats(struct hart *h)
{
    static uint64_t expected[MAX_HARTS];
    static volatile double third = 3.0; /* to be divided by at run time */
    unsigned long mode = h->id % 4, fcsr;
    double sum = 0;
    uint64_t bits;

    set_rounding(mode);
    for (int i = 1; i < SPINS / 32; i++) {
        sum += i / third;
    }
    asm volatile("frcsr %0" : "=r"(fcsr), "+f"(sum));
    memcpy(&bits, &sum, sizeof(bits));
    if (fcsr != (mode << 5 | 1)) {      /* 1: inexact */
        corrupted("hart %d: fcsr %lx, expected %lx", h->id, fcsr,
                  mode << 5 | 1);
    }
    if (!expected[h->id]) {
        expected[h->id] = bits;
    } else if (bits != expected[h->id]) {
        corrupted("hart %d: floating-point sum %llx, expected %llx", h->id,
                  (unsigned long long)bits,
                  (unsigned long long)expected[h->id]);
    }
    set_rounding(0);
}

/* All floating-point registers hold a pattern for a while. */
static void float_registers(struct hart *h)
{
    uint64_t in[32], out[32];
    unsigned long spins = SPINS;

    for (int i = 0; i < 32; i++) {
        in[i] = (uint64_t)atomic_load(&h->ticks) << 16 | h->id << 8 | i;
    }
    asm volatile(
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,"
        "23,24,25,26,27,28,29,30,31\n"
        "fld f\\n, \\n * 8(%1)\n"
        ".endr\n"
        "1: addi %0, %0, -1\n"
        "bnez %0, 1b\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,"
        "23,24,25,26,27,28,29,30,31\n"
        "fsd f\\n, \\n * 8(%2)\n"
        ".endr\n"
        : "+r"(spins)
        : "r"(in), "r"(out)
        : "memory", "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8",
          "f9", "f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17",
          "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26",
          "f27", "f28", "f29", "f30", "f31");
    for (int i = 0; i < 32; i++) {
        if (in[i] != out[i]) {
            corrupted("hart %d: f%d is %llx, expected %llx", h->id, i,
                      (unsigned long long)out[i], (unsigned long long)in[i]);
        }
    }
}

/*
 * All vector registers and their CSRs hold a pattern for a while.  No system
 * call may come between: the kernel does not keep vectors over one.
 */
static void vector_registers(struct hart *h)
{
    static uint8_t in[MAX_HARTS][32 * MAX_VLENB] __attribute__((aligned(8)));
    static uint8_t out[MAX_HARTS][32 * MAX_VLENB] __attribute__((aligned(8)));
    unsigned long spins = SPINS, vlenb, vl, vtype, vcsr, group;
    unsigned long rounding = (h->id + atomic_load(&h->ticks)) % 4;
    unsigned long set_vl;
    const uint8_t *from = in[h->id];
    uint8_t *to = out[h->id];
    uint64_t word = atomic_load(&h->ticks) + 1;

    asm volatile(".option push\n.option arch, +v\n"
                 "csrr %0, vlenb\n.option pop" : "=r"(vlenb));
    if (vlenb > MAX_VLENB) {
        return;
    }
    for (unsigned i = 0; i < 32 * vlenb; i += 8) {
        word = scramble(word);
        memcpy(in[h->id] + i, &word, 8);
    }
    asm volatile(
        ".option push\n"
        ".option arch, +v\n"
        "slli %[group], %[vlenb], 3\n"
        "vsetvli %[set_vl], zero, e8, m8, ta, ma\n"
        "0: csrw vcsr, %[csr]\n"
        "vmv.v.i v0, 0\n"
        "csrr %[vcsr], vcsr\n"
        "bne %[vcsr], %[csr], 0b\n"
        "vle8.v v0, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v8, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v16, (%[from])\n"
        "add %[from], %[from], %[group]\n"
        "vle8.v v24, (%[from])\n"
        "1: addi %[spins], %[spins], -1\n"
        "bnez %[spins], 1b\n"
        "csrr %[vl], vl\n"
        "csrr %[vtype], vtype\n"
        "csrr %[vcsr], vcsr\n"
        "vsetvli zero, zero, e8, m8, ta, ma\n"
        "vse8.v v0, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v8, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v16, (%[to])\n"
        "add %[to], %[to], %[group]\n"
        "vse8.v v24, (%[to])\n"
        ".option pop\n"
        : [spins] "+&r"(spins), [from] "+&r"(from), [to] "+&r"(to),
          [group] "=&r"(group), [set_vl] "=&r"(set_vl), [vl] "=&r"(vl),
          [vtype] "=&r"(vtype), [vcsr] "=&r"(vcsr)
        : [vlenb] "r"(vlenb), [csr] "r"(rounding << 1 | 1)
        : "memory");
    if (vl != set_vl || vtype != 0xc3 || vcsr != (rounding << 1 | 1)) {
        corrupted("hart %d: vl %lu vtype %lx vcsr %lx, expected %lu c3 %lx",
                  h->id, vl, vtype, vcsr, set_vl, rounding << 1 | 1);
    }
    for (unsigned i = 0; i < 32 * vlenb; i++) {
        if (in[h->id][i] != out[h->id][i]) {
            corrupted("hart %d: v%lu differs at byte %lu", h->id, i / vlenb,
                      i % vlenb);
            break;
        }
    }
}

/* A page a round: what was written when it was its turn last? */
static void memory(struct hart *h)
{
    uint64_t round = atomic_load(&h->ticks);
    uint64_t *page = h->memory + round % PAGES * (PAGE / 8);

    for (int i = 0; i < PAGE / 8; i++) {
        if (round >= PAGES && page[i] != round - PAGES) {
            corrupted("hart %d: memory of round %llu has %llx", h->id,
                      (unsigned long long)round - PAGES,
                      (unsigned long long)page[i]);
            break;
        }
    }
    for (int i = 0; i < PAGE / 8; i++) {
        page[i] = round;
    }
}

/* Harts wake one another, which takes IPIs, or wait for their timers. */
static void pass_baton(struct hart *h)
{
    struct hart *next = &harts[(h->id + 1) % nharts];
    struct timespec ts = { 0, pause_ms * 1000000 };
    unsigned seen = atomic_load(&h->baton);

    if (next != h && atomic_load(&h->ticks) % 2) {
        atomic_fetch_add(&next->baton, 1);
        syscall(SYS_futex, &next->baton, FUTEX_WAKE_PRIVATE, 1);
    }
    syscall(SYS_futex, &h->baton, FUTEX_WAIT_PRIVATE, seen, &ts);
}

static void *work(void *opaque)
{
    struct hart *h = opaque;
    uint64_t last, now, gap;

    pin_to(h->id);
    last = now_ns();
    for (;;) {
        integers(h);
        floats(h);
        float_registers(h);
        if (has_vector) {
            vector_registers(h);
        }
        memory(h);
        extensions(h);
        now = now_ns();
        gap = now - last;
        last = now;
        if (gap > atomic_load(&h->gap_ns)) {
            atomic_store(&h->gap_ns, gap);
        }
        atomic_fetch_add(&h->ticks, 1);
        pass_baton(h);
    }
    return NULL;
}

void load_start(void)
{
    if (getenv("HEARTBEAT_PAUSE_MS")) {
        pause_ms = atol(getenv("HEARTBEAT_PAUSE_MS"));
    }
    has_vector = getauxval(AT_HWCAP) >> ('v' - 'a') & 1 &&
                 !getenv("HEARTBEAT_NO_VECTOR");
    has_zbb = hwprobe(RISCV_HWPROBE_KEY_IMA_EXT_0) & RISCV_HWPROBE_EXT_ZBB;
    if (hwprobe(RISCV_HWPROBE_KEY_IMA_EXT_0) & RISCV_HWPROBE_EXT_ZICBOZ) {
        zicboz_bytes = hwprobe(RISCV_HWPROBE_KEY_ZICBOZ_BLOCK_SIZE);
        zicboz_bytes = zicboz_bytes > MAX_BLOCK ? 0 : zicboz_bytes;
    }
    for (int i = 0; i < nharts; i++) {
        harts[i].id = i;
        harts[i].memory = aligned_alloc(PAGE, PAGES * PAGE);
        memset(harts[i].memory, 0, PAGES * PAGE);
        start(work, &harts[i]);
    }
}

void load_report(void)
{
    unsigned long values[MAX_HARTS];

    put("\"vector\":%d,\"zbb\":%d,\"zicboz\":%lu,", has_vector, has_zbb,
        zicboz_bytes);
    for (int i = 0; i < nharts; i++) {
        values[i] = atomic_load(&harts[i].ticks);
    }
    put_list("ticks", values);
    for (int i = 0; i < nharts; i++) {
        values[i] = atomic_exchange(&harts[i].gap_ns, 0) / 1000000;
    }
    put(",");
    put_list("gap_ms", values);
}
