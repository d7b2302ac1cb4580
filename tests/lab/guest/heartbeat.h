/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the parts of the guest's program share; see heartbeat.c.
 */

#ifndef HEARTBEAT_H
#define HEARTBEAT_H

#include <stdint.h>

enum {
    MAX_HARTS = 64,
    PAGE = 4096,
};

extern int nharts;

/* Counts a case of corruption; the first is described in each heartbeat. */
void corrupted(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Append to the heartbeat: the latter a value for each hart. */
void put(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void put_list(const char *name, const unsigned long *values);

uint64_t now_ns(void);
void sleep_ms(long ms);
uint64_t scramble(uint64_t x);
void pin_to(int hart);
void start(void *(*function)(void *), void *opaque);

/* Begins with the load on every hart. */
void load_start(void);
/* Puts how far each hart is. */
void load_report(void);

/* Begins with the traffic; layout is the value of TRAFFIC. */
void traffic_start(const char *layout);
/* Puts how far the traffic is. */
void traffic_report(void);
/* The other end of the traffic; ends only with an error. */
int traffic_answer(void);

#endif
