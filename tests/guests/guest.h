/*
 * What the freestanding guests share: one file, no library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest runs in supervisor mode on the machine "virt" with
 * aia=aplic-imsic, from reset with paging off, on any number of harts up to
 * MAX_HARTS.  It defines main(), which every hart runs that was started.
 */

#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "report.h"

#define MAX_HARTS   AIA_MAX_HARTS
#define STACK_BYTES 16384

/* The memory map of "virt" */
#define APLIC_BASE  0x0d000000UL
#define IMSIC_BASE  0x28000000UL
#define IMSIC_PAGE  0x1000UL

#define APLIC_DOMAINCFG      0x0000
#define APLIC_DOMAINCFG_IE   0x100
#define APLIC_SOURCECFG(i)   (0x0000 + 4 * (i))
#define APLIC_SETIPNUM       0x1cdc
#define APLIC_SETIENUM       0x1edc
#define APLIC_TARGET(i)      (0x3000 + 4 * (i))

#define CSR_STIMECMP 0x14d
#define CSR_SISELECT 0x150
#define CSR_SIREG    0x151
#define CSR_STOPEI   0x15c

#define IMSIC_EIDELIVERY  0x70
#define IMSIC_EITHRESHOLD 0x72
#define IMSIC_EIE(n)      (0xc0 + (n))

#define SSTATUS_SIE  (1UL << 1)
#define SSTATUS_SPIE (1UL << 5)
#define SSTATUS_SPP  (1UL << 8)
#define SSTATUS_FS   (3UL << 13)
#define SIE_STIE     (1UL << 5)
#define SIE_SEIE     (1UL << 9)

#define CAUSE_TIMER    ((1UL << 63) | 5)
#define CAUSE_EXTERNAL ((1UL << 63) | 9)

#define SBI_HSM  0x48534d
#define SBI_SRST 0x53525354
#define SRST_SHUTDOWN    0
#define SRST_COLD_REBOOT 1

#define STR_(x) #x
#define STR(x)  STR_(x)
#define csr_read(csr) ({                                             \
    unsigned long v_;                                                \
    asm volatile("csrr %0, " STR(csr) : "=r"(v_) :: "memory");       \
    v_; })
#define csr_write(csr, val)                                          \
    asm volatile("csrw " STR(csr) ", %0" :: "rK"(val) : "memory")
#define csr_set(csr, val)                                            \
    asm volatile("csrs " STR(csr) ", %0" :: "rK"(val) : "memory")
#define csr_swap(csr, val) ({                                        \
    unsigned long v_;                                                \
    asm volatile("csrrw %0, " STR(csr) ", %1"                        \
                 : "=r"(v_) : "rK"(val) : "memory");                 \
    v_; })

/*
 * After a write to fcsr alone the emulated host may not save it (docs/lab.md).
 * The alignment has the register's write in the same block of code.
 */
static inline void set_fcsr(unsigned long fcsr)
{
    asm volatile(".balign 8\n\t"
                 "fmv.d ft0, ft0\n\t"
                 "csrw fcsr, %0" :: "r"(fcsr));
}

#define SBI_TIME 0x54494d45

struct sbiret {
    long error;
    long value;
};

static inline struct sbiret sbi(long eid, long fid, long arg0, long arg1,
                                long arg2)
{
    register long a0 asm("a0") = arg0;
    register long a1 asm("a1") = arg1;
    register long a2 asm("a2") = arg2;
    register long a6 asm("a6") = fid;
    register long a7 asm("a7") = eid;

    asm volatile("ecall" : "+r"(a0), "+r"(a1)
                 : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbiret){ a0, a1 };
}

static inline void mmio_write(unsigned long addr, uint32_t val)
{
    asm volatile("fence iorw, iorw; sw %0, 0(%1)"
                 :: "r"(val), "r"(addr) : "memory");
}

static inline void mmio_write8(unsigned long addr, uint8_t val)
{
    asm volatile("fence iorw, iorw; sb %0, 0(%1)"
                 :: "r"(val), "r"(addr) : "memory");
}

static inline uint32_t mmio_read(unsigned long addr)
{
    uint32_t val;

    asm volatile("lw %0, 0(%1); fence iorw, iorw"
                 : "=r"(val) : "r"(addr) : "memory");
    return val;
}

static inline void aplic_write(unsigned long offset, uint32_t val)
{
    mmio_write(APLIC_BASE + offset, val);
}

static inline uint32_t aplic_read(unsigned long offset)
{
    return mmio_read(APLIC_BASE + offset);
}

static inline unsigned long imsic_read(unsigned long iselect)
{
    csr_write(CSR_SISELECT, iselect);
    return csr_read(CSR_SIREG);
}

static inline void imsic_write(unsigned long iselect, unsigned long val)
{
    csr_write(CSR_SISELECT, iselect);
    csr_write(CSR_SIREG, val);
}

static inline void send_msi(unsigned long hart, uint32_t identity)
{
    mmio_write(IMSIC_BASE + hart * IMSIC_PAGE, identity);
}

/*
 * By Sstc, unless BY_SBI_TIME: on a host with Sstc KVM up to 7.2 at least loses
 * what is set so, where the vCPU is preempted on the way back into the guest
 * (docs/kernel-facts.md).
 */
static inline void set_timer(unsigned long when)
{
#ifdef BY_SBI_TIME
    sbi(SBI_TIME, 0, when, 0, 0);
#else
    csr_write(CSR_STIMECMP, when);
#endif
}

void main(unsigned long hart);

static uint8_t stacks[MAX_HARTS][STACK_BYTES] __attribute__((aligned(16)));

void _start(void);

/* a0 is the hart id, at reset and after hart_start. */
__attribute__((naked, section(".text.start")))
void _start(void)
{
    asm volatile("la sp, %0\n\t"
                 "addi t0, a0, 1\n\t"
                 "li t1, %1\n\t"
                 "mul t0, t0, t1\n\t"
                 "add sp, sp, t0\n\t"
                 "tail main" :: "i"(stacks), "i"(STACK_BYTES));
}

/*
 * Starts all other harts; returns how many harts there are.  hart_get_status
 * would not tell: KVM answers 0 for a hart that does not exist.
 */
static inline unsigned long start_harts(unsigned long self)
{
    unsigned long hart;

    for (hart = 0; hart < MAX_HARTS; hart++) {
        if (hart != self && sbi(SBI_HSM, 0, hart, (long)_start, 0).error) {
            break;
        }
    }
    return hart;
}

#endif
