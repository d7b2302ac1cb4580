/*
 * What the guests that check a vCPU share: traps, user mode, paging
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Such a guest defines trap(), which may change the frame that the hart goes
 * on with, or have it go on in another function altogether.
 */

#ifndef VCPU_H
#define VCPU_H

#include <stddef.h>
#include "check.h"

#define SSTATUS_SUM (1UL << 18)
#define SSTATUS_MXR (1UL << 19)

#define SIE_SSIE (1UL << 1)
#define SIP_SSIP (1UL << 1)
#define SIP_STIP (1UL << 5)

#define CAUSE_SOFTWARE   ((1UL << 63) | 1)
#define CAUSE_USER_ECALL 8
#define CAUSE_LOAD_FAULT 13

#define SBI_BASE 0x10
#define SBI_HSM_START   0
#define SBI_HSM_STOP    1
#define SBI_HSM_STATUS  2
#define SBI_HSM_SUSPEND 3
#define HART_STARTED    0
#define HART_STOPPED    1
#define HART_SUSPENDED  4
#define SBI_IPI  0x735049

#define UART_LSR (UART_THR + 5)

/* The registers at a trap; x[0] is the pc. */
typedef struct Frame {
    uint64_t x[32];
} Frame;

/* The stack of a trap lies below its frame. */
static struct TrapArea {
    uint8_t stack[4096];
    Frame frame;
} trap_areas[MAX_HARTS] __attribute__((aligned(16)));

void trap(Frame *frame, unsigned long hart, unsigned long cause);

static __attribute__((used))
void take_trap(Frame *frame)
{
    trap(frame, ((uint8_t *)frame - (uint8_t *)trap_areas) /
         sizeof(trap_areas[0]), csr_read(scause));
}

#define ALL_BUT_SP_AND_A0 "1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, " \
    "17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31"

/* Goes on with @frame, in the mode of sstatus.SPP. */
static __attribute__((naked, noreturn, used))
void resume(Frame *frame __attribute__((unused)))
{
    asm volatile("csrw sscratch, a0\n\t"
                 "ld t0, 0(a0)\n\t"
                 "csrw sepc, t0\n\t"
                 ".irp n, " ALL_BUT_SP_AND_A0 "\n\t"
                 "ld x\\n, (8 * \\n)(a0)\n\t"
                 ".endr\n\t"
                 "ld sp, 16(a0)\n\t"
                 "ld a0, 80(a0)\n\t"
                 "sret");
}

static __attribute__((naked, aligned(4)))
void trap_entry(void)
{
    asm volatile("csrrw sp, sscratch, sp\n\t"
                 ".irp n, 10, " ALL_BUT_SP_AND_A0 "\n\t"
                 "sd x\\n, (8 * \\n)(sp)\n\t"
                 ".endr\n\t"
                 "csrr t0, sscratch\n\t"
                 "sd t0, 16(sp)\n\t"
                 "csrr t0, sepc\n\t"
                 "sd t0, 0(sp)\n\t"
                 "csrw sscratch, sp\n\t"
                 "mv a0, sp\n\t"
                 "call take_trap\n\t"
                 "mv a0, sp\n\t"
                 "tail resume");
}

static inline void set_up_traps(unsigned long hart)
{
    csr_write(sscratch, &trap_areas[hart].frame);
    csr_write(stvec, trap_entry);
}

/* Has the hart go on in @function(hart), in supervisor mode, on its stack. */
static inline void go_on_in(Frame *frame, unsigned long hart,
                            void (*function)(unsigned long hart))
{
    frame->x[0] = (uint64_t)function;
    frame->x[2] = (uint64_t)stacks[hart + 1];
    frame->x[10] = hart;
    csr_write(sstatus, (csr_read(sstatus) & ~SSTATUS_SPIE) | SSTATUS_SPP);
}

/* User mode sees memory here, supervisor mode where it is. */
#define USER_ALIAS 0x100000000UL

#define PTE_GIB(addr, flags) ((addr) >> 2 | (flags) | 0xc1)
#define PTE_RW   0x06
#define PTE_RWX  0x0e
#define PTE_USER 0x10

static uint64_t page_table[512] __attribute__((aligned(4096)));

static inline void set_up_paging(unsigned long asid)
{
    page_table[0] = PTE_GIB(0UL, PTE_RW);
    page_table[2] = PTE_GIB(0x80000000UL, PTE_RWX);
    page_table[6] = PTE_GIB(0x80000000UL, PTE_RWX | PTE_USER);
    csr_write(satp, 8UL << 60 | asid << 44 | (uint64_t)page_table >> 12);
    asm volatile("sfence.vma" : : : "memory");
}

static inline void set_up_imsic(uint64_t enabled)
{
    imsic_write(IMSIC_EIDELIVERY, 1);
    imsic_write(IMSIC_EIE(0), enabled);
}

/* The machine's time counts at 10 MHz. */
#define SECOND 10000000UL

/* Waits for what must come; a minute is more than any host takes. */
#define WAIT_FOR(condition, what, hart) do {                             \
    uint64_t began_ = csr_read(time);                                    \
    while (!(condition)) {                                               \
        if (csr_read(time) - began_ > 60 * SECOND) {                     \
            fail("waits in vain: " what, hart, 0, 1);                    \
        }                                                                \
    }                                                                    \
} while (0)

/* A value that depends on all of @seed. */
static inline uint64_t mix(uint64_t seed)
{
    seed = (seed + 1) * 0x9e3779b97f4a7c15UL;
    seed = (seed ^ seed >> 31) * 0xbf58476d1ce4e5b9UL;
    return seed ^ seed >> 29;
}

/*
 * Leaves the guest for QEMU and comes back.  What the hypervisor keeps of
 * this hart has then been saved and loaded once.
 */
static inline void leave_and_come_back(void)
{
    uint8_t val;

    asm volatile("lbu %0, 0(%1)" : "=r"(val) : "r"(UART_LSR) : "memory");
}

#endif
