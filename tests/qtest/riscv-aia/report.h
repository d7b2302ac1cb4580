/*
 * What the freestanding guests of tests/guests and the tests tell each other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lies in the guest's memory at AIA_REPORT; the tests read and write it while
 * the guest runs.  Included by both sides.
 */

#ifndef RISCV_AIA_REPORT_H
#define RISCV_AIA_REPORT_H

#define AIA_REPORT      0x80400000UL
#define AIA_MAX_HARTS   16
#define TICK_MAGIC      0x4149412d7469636bUL
#define CHECK_MAGIC     0x4149412d63686b21UL

/* tick.c */
typedef struct TickHart {
    uint64_t ticks;
    uint64_t ipis_sent;
    uint64_t ipis;
    uint64_t wired_sent;
    uint64_t wired;
    uint64_t upper_sent;
    uint64_t upper;
    uint64_t loops;
    uint64_t errors;
    uint64_t last_error;
} TickHart;

typedef struct TickReport {
    uint64_t magic;
    uint64_t harts;
    uint64_t has_upper;
    /* The test's, before the guest runs */
    uint64_t no_upper;          /* keep away from identities 32-63 and so on */
    uint64_t wired_to_hart_0;   /* see docs/qemu-facts.md */
    uint64_t per_socket;        /* harts of a socket, or 0 */
    uint64_t last_socket;       /* with harts 0 and up, or 0 */
    /* The test's, while it runs */
    uint64_t leave;             /* TICK_* */
    TickHart hart[AIA_MAX_HARTS];
} TickReport;

/*
 * What hart 0 asks for when told to leave, of the SBI or of the device for
 * that.  One byte each: QEMU may write a word byte by byte, as the guest reads
 * it.
 */
enum {
    TICK_POWER_OFF        = 1,
    TICK_RESET            = 2,
    TICK_DEVICE_POWER_OFF = 3,
    TICK_DEVICE_RESET     = 4,
};
#define TICK_DEVICE       0x100000UL

/*
 * The guests that check one thing (see check.h there): they bring about a
 * state, wait to be moved, check, and so on until they are done.
 */
typedef struct CheckReport {
    uint64_t magic;     /* the guest's, last of what it sets at its start */
    uint64_t stage;     /* the guest's: checkpoints it has reached */
    uint64_t go;        /* the test's: checkpoints it may pass */
    uint64_t result;    /* the guest's: CHECK_* */
    char what[128];     /* the guest's: what failed */
    /* The test's, before the guest runs */
    uint64_t harts;
    uint64_t arg[8];
    /* The guest's: whatever a test wants to know of it */
    uint64_t told[32];
    /* The guest's, of this checkpoint */
    uint64_t asked;     /* CHECK_ASK_* */
    uint64_t wires[2];  /* levels of the APLIC's sources, a bit each */
} CheckReport;

/* What the guest asks of the test at a checkpoint */
enum {
    CHECK_ASK_MOVE       = 0,
    /* Drive the wires that no device of the machine drives */
    CHECK_ASK_DRIVE      = 1,
    /* Likewise, while the guest is moved */
    CHECK_ASK_MOVE_DRIVE = 2,
};

/* Sources that the machine's own devices drive, on "virt" */
#define CHECK_WIRE_UART 10
#define CHECK_WIRE_RTC  11

/* What told[] holds for a test that looks into the stream: see imsic.c */
typedef struct CheckFile {
    uint64_t hart;
    uint64_t eidelivery;
    uint64_t eithreshold;
    uint64_t eip[4];
    uint64_t eie[4];
} CheckFile;

typedef struct CheckFiles {
    uint64_t num;
    CheckFile file[2];
} CheckFiles;

enum {
    CHECK_RUNNING = 0,
    CHECK_PASSED  = 1,
    CHECK_FAILED  = 2,
};

#endif
