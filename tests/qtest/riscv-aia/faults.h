/*
 * What the tests of faults share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_FAULTS_H
#define RISCV_AIA_FAULTS_H

#include "watched.h"

/*
 * Of asm/kvm.h for RISC-V; these files are built for other hosts as well, where
 * they would find another one.
 */
#define GROUP(subject)  ((subject) >> 32)
#define GROUP_APLIC     3
#define GROUP_IMSIC     4

/* One access that a save or a load makes, the @nth of its kind */
typedef struct Access {
    uint64_t request;
    uint64_t subject;
    unsigned nth;
} Access;

#define FAULT_ERRORS 5
extern const int fault_errors[FAULT_ERRORS];

/* The guest, tests/guests/tick.c */
extern const AIACase fault_tick;

bool is_attr(const Access *a);

/* Accesses between the two */
void log_accesses(AIAWatched *w);
GArray *logged_accesses(AIAWatched *w);

/* Up to @num of each group, evenly spread; with two or more also the last. */
GArray *sample_accesses(const GArray *all, unsigned num);

void arm_access(AIAWatched *w, const Access *a, int error);
void tell_access(const Access *a, int error);

/* The attributes are tried again; of nothing else the kernel says EINTR. */
bool succeeds(const Access *a, int error);

/* Waits for the end of a migration; returns whether it succeeded. */
bool migrated(QTestState *qts);

void start_source(AIAWatched *w);

void go_on(AIAWatched *w);

/*
 * The devices alone, which is over in no time.  It is there for Xen, but
 * there is nothing of Xen in it.
 */
bool save_devices(AIAWatched *w, const char *file);

/* What came of it is told; @ok is whether save or load succeeded. */
void check_failure(AIAWatched *w, const Access *a, int error, bool ok);

/* In files of their own */
void test_blockers(void);
void test_memory(void);

#endif
