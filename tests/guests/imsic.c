/*
 * Every hart's interrupt file holds and does the same after a move
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hart 0 runs, hart 1 waits in WFI, hart 2 has been stopped, hart 3 was never
 * started (as many of them as there are).  Files are filled behind a mask,
 * each hart behind another one; after the move they are read, then unmasked:
 * each identity that is pending and enabled comes once, lowest first.  What
 * the APLIC's genmsi has sent does not come again.
 *
 * arg[0]: rounds, each with a move
 * arg[1]: number of the first round, which decides on masks and patterns
 * arg[2]: no upper halves are sent to a file that does not let the hart have
 *     them: what is saved of such a file lacks them, and of others does not
 */

#include "aia.h"

#define WORDS 4     /* of 64 identities */

/* Left out of the patterns, the lowest priority that files always have */
#define LAST_ID 223

#define STOPPED_HART 2
#define NEW_HART     3

enum {
    MASK_EIDELIVERY,
    MASK_EITHRESHOLD,
    MASK_EIE,
    MASK_SIE,
    NUM_MASKS
};

typedef struct File {
    uint64_t eidelivery;
    uint64_t eithreshold;
    uint64_t eip[WORDS];
    uint64_t eie[WORDS];
    uint64_t stopei;
    uint64_t seip;
} File;

static File was[MAX_HARTS];
static unsigned long number; /* of the round */
static bool upper;

/*
 * The stopped hart always has something enabled.  With pending bits alone its
 * file may still be narrow when it is saved again, and upper halves that its
 * start will reset are then not worth a way to read them.
 */
static unsigned mask_of(unsigned long hart)
{
    unsigned mask = (number + 2 * hart) % NUM_MASKS;

    return hart == STOPPED_HART && mask == MASK_EIE ? MASK_SIE : mask;
}

static uint64_t random_word(uint64_t seed)
{
    for (unsigned i = 0; i < 3; i++) {
        seed = (seed ^ seed >> 29) * 0xbf58476d1ce4e5b9 + 1;
    }
    return seed;
}

/* Also what reads like the sign extension of a lower half, and what not. */
static uint64_t pattern(unsigned long hart, unsigned word, bool enabled)
{
    static const uint64_t special[] = {
        ~0UL, 0x80000000, 0xffffffff80000000, 0x5a5a5a5a00000000,
    };
    unsigned n = number + hart + word + enabled;
    uint64_t bits = n % 6 < 4 ? special[n % 6]
                    : random_word(number << 8 | hart << 4 | n);

    if (word == 0) {
        bits &= ~1UL;
    }
    if (word == LAST_ID / 64) {
        bits &= ~(1UL << LAST_ID % 64);
    }
    return bits;
}

static void send_all(unsigned long hart)
{
    for (unsigned id = 1; id <= IDENTITIES; id++) {
        uint64_t bits = pattern(hart, id / 64, false);

        if ((report.arg[2] ? usable(upper, bits) : bits) & 1UL << id % 64) {
            send_msi(hart, id);
        }
    }
}

/* What it cannot have from the start it must not get by a move. */
static void write_eie(unsigned long hart)
{
    for (unsigned w = 0; w < WORDS; w++) {
        imsic_write(IMSIC_EIE(2 * w), usable(upper, pattern(hart, w, true)));
    }
}

static void read_file(File *file)
{
    file->eidelivery = imsic_read(IMSIC_EIDELIVERY);
    file->eithreshold = imsic_read(IMSIC_EITHRESHOLD);
    for (unsigned w = 0; w < WORDS; w++) {
        file->eip[w] = usable(upper, imsic_read(IMSIC_EIP(2 * w)));
        file->eie[w] = usable(upper, imsic_read(IMSIC_EIE(2 * w)));
    }
    file->stopei = csr_read(CSR_STOPEI);
    file->seip = csr_read(sip) & SIP_SEIP;
}

static void fill(unsigned long hart)
{
    unsigned mask = mask_of(hart);

    csr_clear(sie, SIE_SEIE);
    imsic_write(IMSIC_EIDELIVERY, 0);
    for (unsigned w = 0; w < WORDS; w++) {
        imsic_write(IMSIC_EIE(2 * w), 0);
        imsic_write(IMSIC_EIP(2 * w), 0);
    }
    send_all(hart);
    /* The last one sent is the last one to arrive. */
    send_msi(hart, LAST_ID);
    while (!(imsic_read(IMSIC_EIP(LAST_ID / 64 * 2)) & 1UL << LAST_ID % 64)) {
        asm volatile("fence");
    }
    csr_clear(CSR_SIREG, 1UL << LAST_ID % 64);

    if (mask != MASK_EIE) {
        write_eie(hart);
    }
    imsic_write(IMSIC_EITHRESHOLD, mask == MASK_EITHRESHOLD ? 1 :
                mask == MASK_EIDELIVERY ? 200 + hart : 0);
    imsic_write(IMSIC_EIDELIVERY, mask != MASK_EIDELIVERY);
    if (mask != MASK_SIE) {
        csr_set(sie, SIE_SEIE);
    }
    read_file(&was[hart]);
    for (unsigned w = 0; w < WORDS; w++) {
        check_equal("eip as sent", w, was[hart].eip[w],
                    usable(upper, pattern(hart, w, false)));
        check_equal("eie as written", w, was[hart].eie[w],
                    mask == MASK_EIE ? 0 :
                    usable(upper, pattern(hart, w, true)));
    }
    check_equal("SEIP", hart, was[hart].seip,
                mask == MASK_SIE ? SIP_SEIP : 0);
}

static void compare(unsigned long hart)
{
    const File *file = &was[hart];
    File now;

    read_file(&now);
    step = hart ? "hart 1" : "hart 0";
    check_equal("eidelivery", 0, now.eidelivery, file->eidelivery);
    check_equal("eithreshold", 0, now.eithreshold, file->eithreshold);
    for (unsigned w = 0; w < WORDS; w++) {
        check_equal("eip", w, now.eip[w], file->eip[w]);
        check_equal("eie", w, now.eie[w], file->eie[w]);
    }
    check_equal("stopei", 0, now.stopei, file->stopei);
    check_equal("SEIP", 0, now.seip, file->seip);
}

/*
 * Takes what is due now: identities below @below that are pending and enabled
 * and have not come yet.  That SEIP tells of them is looked at first: a hart
 * that it does not tell would wait for ever.
 */
static void take(unsigned long hart, unsigned below)
{
    unsigned next = taken[hart].num;

    check_equal("SEIP once unmasked", below, csr_read(sip) & SIP_SEIP,
                csr_read(CSR_STOPEI) ? SIP_SEIP : 0);
    csr_set(sstatus, SSTATUS_SIE);
    while (csr_read(CSR_STOPEI)) {
        asm volatile("fence");
    }
    csr_clear(sstatus, SSTATUS_SIE);

    for (unsigned id = 1; id < below; id++) {
        uint64_t due = was[hart].eip[id / 64] &
                       usable(upper, pattern(hart, id / 64, true));

        if (due & 1UL << id % 64) {
            check_equal("identity taken", next, taken[hart].order[next], id);
            was[hart].eip[id / 64] &= ~(1UL << id % 64);
            next++;
        }
    }
    check_equal("number of interrupts taken", below, taken[hart].num, next);
}

static void deliver(unsigned long hart)
{
    unsigned mask = mask_of(hart);
    unsigned num;

    forget_taken(hart);
    csr_clear(sstatus, SSTATUS_SIE);
    switch (mask) {
    case MASK_EIDELIVERY:
        imsic_write(IMSIC_EIDELIVERY, 1);
        take(hart, was[hart].eithreshold);
        break;
    case MASK_EITHRESHOLD:
        imsic_write(IMSIC_EITHRESHOLD, 130);
        take(hart, 130);
        break;
    case MASK_EIE:
        write_eie(hart);
        break;
    case MASK_SIE:
        csr_set(sie, SIE_SEIE);
        break;
    }
    imsic_write(IMSIC_EITHRESHOLD, 0);
    take(hart, IDENTITIES + 1);

    /* No other one is still under way. */
    num = taken[hart].num;
    imsic_write(IMSIC_EIE(LAST_ID / 64 * 2), 1UL << LAST_ID % 64);
    csr_set(sstatus, SSTATUS_SIE);
    send_msi(hart, LAST_ID);
    while (!taken[hart].of[LAST_ID]) {
        asm volatile("fence");
    }
    check_equal("interrupts taken in the end", 0, taken[hart].num, num + 1);
    for (unsigned w = 0; w < WORDS; w++) {
        check_equal("eip in the end", w,
                    usable(upper, imsic_read(IMSIC_EIP(2 * w))),
                    was[hart].eip[w]);
    }
}

static void check(unsigned long hart)
{
    compare(hart);
    deliver(hart);
}

/*
 * genmsi holds an MSI that it has sent to a hart, which is over: the identity
 * is none that the hart will have pending.  Mostly it is one of an upper half:
 * to be rid of it again all files are made wide.  In every fourth round it is
 * not, and a file that has nothing enabled gets its pending bits by MSIs.
 */
static void use_genmsi(unsigned long hart)
{
    unsigned half = upper && number % 4 ? 32 : 0;
    unsigned id = half ?: 1;

    while (pattern(hart, id / 64, false) & 1UL << id % 64 ||
           (id & 32) != half) {
        id++;
    }
    aplic_write(APLIC_GENMSI, hart << 18 | id);
}

/* What the test is to find in the stream of a hart that cannot look. */
static void tell(unsigned long hart)
{
    volatile CheckFiles *files /* the test reads it */
        = (volatile CheckFiles *)report.told; /* likewise */
    volatile CheckFile *file /* likewise */
        = &files->file[files->num++];

    file->hart = hart;
    file->eidelivery = was[hart].eidelivery;
    file->eithreshold = was[hart].eithreshold;
    for (unsigned w = 0; w < WORDS; w++) {
        file->eip[w] = was[hart].eip[w];
        file->eie[w] = was[hart].eie[w];
    }
}

static void stop(unsigned long hart)
{
    fill(hart);
    sbi(SBI_HSM, SBI_HSM_STOP, 0, 0, 0);
    fail("hart_stop returned on hart", hart, 1, 0);
}

static void fill_stopped(void)
{
    start_hart(STOPPED_HART);
    todo[STOPPED_HART] = stop;
    sbi(SBI_IPI, 0, 1UL << STOPPED_HART, 0, 0);
    while (hart_status(STOPPED_HART) != SBI_HSM_STOPPED) {
        asm volatile("fence");
    }
    todo[STOPPED_HART] = NULL;
    tell(STOPPED_HART);
}

/* Nobody has enabled anything there: lower halves only, as above. */
static void fill_new(void)
{
    for (unsigned id = 1; id <= IDENTITIES; id++) {
        if ((uint32_t)pattern(NEW_HART, id / 64, false) & 1UL << id % 64) {
            send_msi(NEW_HART, id);
            was[NEW_HART].eip[id / 64] |= 1UL << id % 64;
        }
    }
    tell(NEW_HART);
}

static void run(unsigned long harts)
{
    volatile CheckFiles *files /* the test reads it */
        = (volatile CheckFiles *)report.told; /* likewise */

    step = "before the move";
    files->num = 0;
    use_genmsi(harts > 1 ? number % 2 : 0);
    fill(0);
    if (harts > 1) {
        on_hart(1, fill);
    }
    if (harts > STOPPED_HART) {
        fill_stopped();
    }
    if (harts > NEW_HART) {
        fill_new();
    }

    checkpoint();

    check(0);
    if (harts > 1) {
        on_hart(1, check);
    }
    step = "stopped hart";
    if (harts > STOPPED_HART) {
        check_equal("status", STOPPED_HART, hart_status(STOPPED_HART),
                    SBI_HSM_STOPPED);
    }
    step = "hart never started";
    if (harts > NEW_HART) {
        check_equal("status", NEW_HART, hart_status(NEW_HART),
                    SBI_HSM_STOPPED);
    }
}

/* They can be started still, and their files work. */
static void start_others(unsigned long harts)
{
    step = "start after the moves";
    for (unsigned long hart = STOPPED_HART; hart < harts; hart++) {
        start_hart(hart);
        on_hart(hart, fill);
        on_hart(hart, deliver);
    }
}

void main(unsigned long hart)
{
    unsigned long harts = report.harts;

    if (hart) {
        serve(hart);
    }
    start_traps(hart);
    upper = has_upper();
    if (harts > 1) {
        start_hart(1);
    }
    for (unsigned i = 0; i < report.arg[0]; i++) {
        number = report.arg[1] + i;
        run(harts);
    }
    start_others(harts);
    pass();
}
