/*
 * The other host of a test that runs on two
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * On each of them one instance runs, of which one has the guest at a time.
 * Their environment tells who is who, QTEST_RISCV_AIA_PEER, and where the
 * destination is, QTEST_RISCV_AIA_PEER_ADDRESS.
 */

#ifndef RISCV_AIA_PEER_H
#define RISCV_AIA_PEER_H

#include "framework.h"

/* Whether there is another host. */
bool aia_has_peer(void);

/* Whether guests of this instance begin here. */
bool aia_is_source(void);

/*
 * Ways to the other host.  The guest is stopped on both when all of it is
 * there, and what is saved on either must be the same.
 */
extern const AIAMove aia_peer_moves[];
extern const int aia_num_peer_moves;

/* What a test tells of a guest along with it */
typedef uint64_t AIAPeerNote[2];

/*
 * Moves the guest of @from, or waits for one.  The latter returns NULL if it
 * has ended on the other host instead; else it stands.
 */
void aia_peer_send(QTestState *from, const AIACase *c,
                   const AIAPeerNote note);
QTestState *aia_peer_receive(const AIACase *c, AIAPeerNote note);

/* For the one that has the guest: it has ended, or (@why) does not begin. */
void aia_peer_end(const char *why);

/* Adds a case, for aia_is_source() one that runs @home, else @away. */
void aia_peer_add(const char *path, const AIACase *c,
                  void (*home)(const void *c), void (*away)(const void *c));

/*
 * For guests of check.h: the first ways, with their wires, and the other side
 * of aia_test_check()
 */
#define AIA_CHECK_PEER_MOVES 2
const AIAMove *aia_check_peer_move(int i);
void aia_check_away(const void *opaque);

/* Likewise, of aia_test_memory() */
void aia_memory_away(const void *opaque);

/* In tick.c */
void aia_add_peer_tick_tests(bool tcg);

/* In peer-guests.c: the guests that check one thing each */
void aia_add_peer_guest_tests(void);

#endif
