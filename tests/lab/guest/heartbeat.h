/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the parts of the guest's program share; see heartbeat.c.
 */

#ifndef HEARTBEAT_H
#define HEARTBEAT_H

#include <stdint.h>

extern int nharts;

/* Counts a case of corruption; the first is described in each heartbeat. */
void corrupted(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Appends to the heartbeat. */
void put(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);
void sleep_ms(long ms);
uint64_t scramble(uint64_t x);
void pin_to(int hart);
void start(void *(*function)(void *), void *opaque);

/* Begins with the traffic; layout is the value of TRAFFIC. */
void traffic_start(const char *layout);
/* Puts how far the traffic is. */
void traffic_report(void);
/* The other end of the traffic; ends only with an error. */
int traffic_answer(void);

#endif
