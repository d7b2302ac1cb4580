/*
 * Framework of the RISC-V AIA migration test: starting and moving guests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_FRAMEWORK_H
#define RISCV_AIA_FRAMEWORK_H

#include "libqtest.h"
#include "report.h"

/* How long an event may take that will come, in seconds: all is emulated. */
#define AIA_WAIT_S 120

typedef struct AIACase AIACase;

/**
 * AIAMove - a way for a guest to get from one QEMU into another
 * @name: as in the path of the test
 * @run: moves the running guest of @from; returns the QEMU in which it runs
 *     then, which may be @from.  The caller quits that one only.
 */
typedef struct AIAMove {
    const char *name;
    QTestState *(*run)(QTestState *from, const AIACase *c);
} AIAMove;

/**
 * AIACase - what one test runs
 * @guest: file of tests/guests, without ".elf"
 * @from, @to: riscv-aia= of source and destination
 * @irqchip: kernel-irqchip= of both
 * @pinned: keep all harts on one CPU of the host in any mode.  KVM of 6.12
 *     does not wake a hart in WFI whose thread changed CPUs on the way there
 *     (docs/kernel-facts.md).
 * @options: further options of both, or NULL
 * @arg: for guests of check.h
 * @prepare: called once the guest of aia_test_check() runs, or NULL
 * @go_on: lets the guest change its state and comes back when it has; what
 *     a snapshot must undo
 * @tcg: the emulated AIA instead of KVM
 */
struct AIACase {
    const AIAMove *move;
    const char *guest;
    const char *from;
    const char *to;
    const char *irqchip;
    unsigned harts;
    bool pinned;
    const char *options;
    uint64_t arg[8];
    void (*prepare)(QTestState *qts, const AIACase *c);
    void (*go_on)(QTestState *qts, const AIACase *c);
    bool tcg;
};

extern const AIAMove aia_move_file;
extern const AIAMove aia_move_live;
extern const AIAMove aia_move_snapshot;

/* Adds a case with a copy of @c. */
void aia_add(const char *path, const AIACase *c, void (*run)(const void *));

/* Starts a QEMU for the case, with further options; mode as of riscv-aia=. */
QTestState *aia_start(const AIACase *c, const char *mode, const char *more);

void aia_stop(QTestState *qts);
void aia_cont(QTestState *qts);

/* Saves the state of @qts, which stands, in a file. */
void aia_save(QTestState *qts, const char *uri);

/* The temporary files of one move, gone with aia_files_free(). */
typedef struct AIAFiles {
    char *dir;
    char *a;
    char *b;
    char *uri_a;
    char *uri_b;
    char *socket;
    char *disk;
} AIAFiles;

void aia_files_init(AIAFiles *f);
void aia_files_free(AIAFiles *f);

/*
 * Finds the next section called @name between @p and @end, which are in a
 * stream; returns its data, which is followed by a footer of
 * AIA_FOOTER_BYTES, or NULL.
 */
const char *aia_find_section(const char *p, const char *end, const char *name,
                             size_t *len);

#define AIA_FOOTER_BYTES 5

/*
 * Asserts that the interrupt controllers and vCPUs in two streams hold the
 * same, byte for byte; @from and @to are the modes in which they were saved.
 */
void aia_compare_streams(const AIACase *c, const char *a, const char *b);

/* Runs a guest of check.h, moves it at each of its checkpoints. */
void aia_test_check(const void *opaque);

/* The cases, each in a file of that name */
void aia_add_tick_tests(bool tcg);
void aia_add_check_tests(void);
void aia_add_few_files_tests(void);

#endif
