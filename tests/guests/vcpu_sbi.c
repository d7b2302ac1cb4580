/*
 * What the SBI keeps of a hart, and interrupts between harts on their way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * arg[0]: leave firmware features (FWFT) alone, which some kernels have
 * told[0]: whether there is steal-time accounting (STA)
 * told[1]: number of firmware features (FWFT) that were set
 */

#include "vcpu.h"

#define ID_IPI 1

#define SBI_BASE_PROBE 3
#define SBI_STA        0x535441
#define SBI_FWFT       0x46574654
#define SBI_FWFT_SET   0
#define SBI_FWFT_GET   1
#define FWFT_LOCK      1

#define SBI_ERR_DENIED_LOCKED -14

/* Pointer masking, misaligned exceptions: each with what it is set to */
static const struct Feature {
    uint32_t id;
    long value;
} features[] = { { 0, 1 }, { 5, 7 } };

#define NUM_FEATURES 2

/* Of SBI STA, with something on either side that must stay as it is */
typedef struct StealTime {
    uint64_t before[8];
    struct {
        volatile uint32_t sequence; /* the hypervisor's, as is all of it */
        volatile uint32_t flags; /* likewise */
        volatile uint64_t steal; /* likewise */
        volatile uint8_t preempted; /* likewise */
        volatile uint8_t pad[47]; /* likewise */
    } shmem;
    uint64_t after[8];
} StealTime;

/* In the page of which the test sees whether a snapshot brings it back */
static StealTime *const steal_time = (StealTime *)(AIA_REPORT + 2048);

static volatile uint64_t traps[MAX_HARTS]; /* seen by others */
static volatile bool ready[MAX_HARTS]; /* likewise */
static volatile uint64_t phase[MAX_HARTS]; /* likewise */
static volatile uint64_t allowed; /* likewise */

void trap(Frame *frame, unsigned long hart, unsigned long cause)
{
    if (cause == CAUSE_SOFTWARE) {
        csr_write(sip, 0);
    } else if (cause == CAUSE_EXTERNAL) {
        check_equal("identity", hart, csr_swap(CSR_STOPEI, 0) >> 16, ID_IPI);
    } else {
        fail("trap", cause, frame->x[0], hart);
    }
    traps[hart]++;
}

static bool has_sbi(long extension)
{
    return sbi(SBI_BASE, SBI_BASE_PROBE, extension, 0, 0).value;
}

/* Steal time */

static void set_up_steal_time(unsigned long hart)
{
    StealTime *s = &steal_time[hart];

    for (int i = 0; i < 8; i++) {
        s->before[i] = mix(hart << 8 | i);
        s->after[i] = mix(hart << 8 | (8 + i));
    }
    check_equal("steal_time_set_shmem", hart,
                sbi(SBI_STA, 0, (long)&s->shmem, 0, 0).error, 0);
}

static void check_steal_time(unsigned long hart)
{
    StealTime *s = &steal_time[hart];
    uint32_t sequence = s->shmem.sequence;
    uint64_t steal = s->shmem.steal;

    WAIT_FOR((leave_and_come_back(), s->shmem.sequence >= sequence + 4),
             "steal time is updated", hart);
    check_equal("sequence is odd", hart, s->shmem.sequence & 1, 0);
    if (s->shmem.steal < steal) {
        fail("steal", hart, s->shmem.steal, steal);
    }
    check_equal("flags", hart, s->shmem.flags, 0);
    check_equal("preempted", hart, s->shmem.preempted, 0);
    for (int i = 0; i < 47; i++) {
        check_equal("pad", i, s->shmem.pad[i], 0);
    }
    for (int i = 0; i < 8; i++) {
        check_equal("before", i, s->before[i], mix(hart << 8 | i));
        check_equal("after", i, s->after[i], mix(hart << 8 | (8 + i)));
    }
}

/* Nobody may write there any more. */
static void end_steal_time(unsigned long hart)
{
    uint32_t *word = (uint32_t *)&steal_time[hart].shmem;

    check_equal("steal_time_set_shmem", hart,
                sbi(SBI_STA, 0, -1, -1, 0).error, 0);
    for (unsigned long i = 0; i < sizeof(steal_time[0].shmem) / 4; i++) {
        word[i] = mix(hart << 8 | i);
    }
}

static void check_no_steal_time(unsigned long hart)
{
    uint32_t *word = (uint32_t *)&steal_time[hart].shmem;

    for (int i = 0; i < 10; i++) {
        leave_and_come_back();
    }
    for (unsigned long i = 0; i < sizeof(steal_time[0].shmem) / 4; i++) {
        check_equal("not steal time", i, word[i],
                    (uint32_t)mix(hart << 8 | i));
    }
}

/* Firmware features; which were set is the same on all harts */

static void set_features(unsigned long hart)
{
    for (int i = 0; i < NUM_FEATURES; i++) {
        const struct Feature *f = &features[i];

        if (sbi(SBI_FWFT, SBI_FWFT_GET, f->id, 0, 0).error == 0 &&
            sbi(SBI_FWFT, SBI_FWFT_SET, f->id, f->value,
                FWFT_LOCK).error == 0 && hart == 0) {
            report.told[1] |= 1UL << i;
        }
    }
}

static void check_features(unsigned long hart)
{
    for (int i = 0; i < NUM_FEATURES; i++) {
        const struct Feature *f = &features[i];
        struct sbiret ret = sbi(SBI_FWFT, SBI_FWFT_GET, f->id, 0, 0);

        if (!(report.told[1] & 1UL << i)) {
            continue;
        }
        check_equal("fwft_get", hart, ret.error, 0);
        check_equal("feature", f->id, ret.value, f->value);
        check_equal("fwft_set", f->id,
                    sbi(SBI_FWFT, SBI_FWFT_SET, f->id, 0, 0).error,
                    SBI_ERR_DENIED_LOCKED);
    }
}

/* All harts run this, in step with hart 0, which calls @move. */
static void check_hart(unsigned long hart, void (*move)(void))
{
    bool sta = has_sbi(SBI_STA);

    /* 1: nothing in use yet; an interrupt of each kind is pending */
    csr_write(sie, SIE_SSIE | SIE_SEIE);
    WAIT_FOR((csr_read(sip) & (SIE_SSIE | SIE_SEIE)) == (SIE_SSIE | SIE_SEIE),
             "interrupts", hart);
    if (hart == 0) {
        report.told[0] = sta;
    }
    end_steal_time(hart);
    move();
    check_no_steal_time(hart);
    check_equal("sip", hart, csr_read(sip) & (SIE_SSIE | SIE_SEIE),
                SIE_SSIE | SIE_SEIE);
    check_equal("traps", hart, traps[hart], 0);
    csr_set(sstatus, SSTATUS_SIE);
    leave_and_come_back();
    asm volatile("csrc sstatus, %0" :: "r"(SSTATUS_SIE));
    check_equal("traps", hart, traps[hart], 2);

    /* 2: in use */
    if (sta) {
        set_up_steal_time(hart);
        check_steal_time(hart);
    }
    if (!report.arg[0] && has_sbi(SBI_FWFT)) {
        set_features(hart);
        check_features(hart);
    }
    move();
    if (sta) {
        check_steal_time(hart);
    }
    check_features(hart);
    check_equal("traps", hart, traps[hart], 2);
}

static void wait_for_move(void)
{
    unsigned long hart = ((uint8_t *)csr_read(sscratch) -
                          (uint8_t *)trap_areas) / sizeof(trap_areas[0]);

    phase[hart]++;
    WAIT_FOR(allowed >= phase[hart], "move", hart);
}

static void move(void)
{
    phase[0]++;
    for (unsigned long i = 1; i < report.harts; i++) {
        WAIT_FOR(phase[i] == phase[0], "hart", i);
    }
    checkpoint();
    allowed = phase[0];
}

void main(unsigned long hart)
{
    set_up_traps(hart);
    set_up_imsic(1UL << ID_IPI);
    ready[hart] = true;
    if (hart) {
        check_hart(hart, wait_for_move);
        phase[hart]++;
        for (;;) {
            asm volatile("wfi");
        }
    }
    start_harts(0);
    for (unsigned long i = 1; i < report.harts; i++) {
        /* Its start would undo what is sent before. */
        WAIT_FOR(ready[i], "hart starts", i);
    }
    check_equal("send_ipi", 0,
                sbi(SBI_IPI, 0, (1L << report.harts) - 1, 0, 0).error, 0);
    for (unsigned long i = 0; i < report.harts; i++) {
        send_msi(i, ID_IPI);
    }
    check_hart(0, move);
    for (unsigned long i = 1; i < report.harts; i++) {
        WAIT_FOR(phase[i] == 3, "hart is done", i);
    }
    pass();
}
