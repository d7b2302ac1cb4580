/*
 * QEMUs whose words and end are watched, and whose accesses can be made to fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_WATCHED_H
#define RISCV_AIA_WATCHED_H

#include "framework.h"
#include "fault.h"

/**
 * AIAWatched - a QEMU under observation
 * @qts: for everything the framework offers
 * @fault: what its calls of ioctl() do, if it was prepared for that
 */
typedef struct AIAWatched {
    QTestState *qts;
    FaultControl *fault;
    char *fault_file;
    char *words_file;
    size_t words_read;
    char *noted;
    bool ended;
} AIAWatched;

/* For a QEMU whose accesses are to fail; before its start, and armed then. */
void aia_watched_prepare(AIAWatched *w);

/* Whether a QEMU that somebody else starts has what @w was prepared for. */
void aia_watched_preload(AIAWatched *w, bool preload);
/* In the place of aia_watched_quit() then. */
void aia_watched_forget(AIAWatched *w);

/* As aia_start(); @w is zeroed or prepared. */
void aia_watched_start(AIAWatched *w, const AIACase *c, const char *mode,
                       const char *more);

/* What it has said on stderr since this was last called; to be freed. */
char *aia_watched_words(AIAWatched *w);
/* Adds what it has said elsewhere: to QMP, since QEMU 10.2. */
void aia_watched_note(AIAWatched *w, const char *words);

/*
 * Whether it has ended by itself.  The one way for a QEMU to do so is to
 * refuse a stream, with EXIT_FAILURE; a signal or another status fail the test.
 */
bool aia_watched_ended(AIAWatched *w);
void aia_watched_wait_end(AIAWatched *w);

/*
 * Waits until a stream that it was told to load has been; returns false if
 * it has ended instead.  Nothing can be asked of it meanwhile.
 */
bool aia_watched_loaded(AIAWatched *w);

/* To be called in any case, also for one that has ended. */
void aia_watched_quit(AIAWatched *w);
/* SIGKILL, and quit. */
void aia_watched_kill(AIAWatched *w);

/*
 * Lets the @nth, counted from now on, of the calls of ioctl() with @request
 * and a subject of @match under @mask fail with @error; see fault.h.
 */
void aia_watched_arm(AIAWatched *w, uint64_t request, uint64_t mask,
                     uint64_t match, unsigned nth, unsigned times, int error);
void aia_watched_disarm(AIAWatched *w);

/* Waits until the preloaded library has counted something, see fault.h. */
void aia_watched_wait_count(const uint32_t *count);

#endif
