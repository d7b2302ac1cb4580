/*
 * What the tests of streams share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_STREAMS_H
#define RISCV_AIA_STREAMS_H

#include "stream.h"
#include "watched.h"

/* The guest, tests/guests/tick.c */
extern const AIACase stream_tick;

/* The stream of a guest that has taken interrupts of every kind */
AIAStream *make_stream(AIAFiles *f);

/* Two streams hold the same in all interrupt controllers. */
void check_same_aia(const AIAStream *a, const AIAStream *b);

/* In a file of their own */
void test_fields(void);
void test_incoming(void);

#endif
