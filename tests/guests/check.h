/*
 * A guest that checks one thing: its checkpoints and its verdict
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It brings about a state, stands at checkpoint() while it is moved, and
 * checks that it finds the same; then the next state.  The other side of this
 * is aia_test_check() in tests/qtest/riscv-aia/check.c.
 */

#ifndef CHECK_H
#define CHECK_H

#include "guest.h"

#define UART_THR 0x10000000UL

static volatile CheckReport report /* the test writes to it */
    __attribute__((section(".report")));

/* What the guest is about, put before what fails; or NULL. */
static const char *step;

/* QEMU's UART takes a byte at any time. */
static inline void say(const char *text)
{
    for (; *text; text++) {
        mmio_write8(UART_THR, *text);
    }
}

static inline char *append(char *at, char *end, const char *text)
{
    while (*text && at < end) {
        *at++ = *text++;
    }
    *at = '\0';
    return at;
}

static inline char *append_hex(char *at, char *end, uint64_t val)
{
    at = append(at, end, "0x");
    for (int shift = 60; shift >= 0; shift -= 4) {
        if (val >> shift || !shift) {
            char digit[] = { "0123456789abcdef"[val >> shift & 15], '\0' };

            at = append(at, end, digit);
        }
    }
    return at;
}

/* Ends the guest: the first hart to call this has the say. */
static inline void finish(uint64_t result)
{
    static bool finished;

    csr_write(sie, 0);
    if (!__atomic_test_and_set(&finished, __ATOMIC_SEQ_CST)) {
        say(result == CHECK_PASSED ? "ok" : "not ok - ");
        say((const char *)report.what);
        say("\n");
        __atomic_store_n(&report.result, result, __ATOMIC_SEQ_CST);
    }
    for (;;) {
        asm volatile("wfi");
    }
}

/* Fails, telling what is wrong with what and which values it has and should. */
static inline void fail(const char *what, uint64_t index, uint64_t is,
                        uint64_t should)
{
    char *at = (char *)report.what, *end = at + sizeof(report.what) - 1;

    if (step) {
        at = append(at, end, step);
        at = append(at, end, ": ");
    }
    at = append(at, end, what);
    at = append(at, end, " [");
    at = append_hex(at, end, index);
    at = append(at, end, "] is ");
    at = append_hex(at, end, is);
    at = append(at, end, ", not ");
    append_hex(at, end, should);
    finish(CHECK_FAILED);
}

static inline void check_equal(const char *what, uint64_t index, uint64_t is,
                               uint64_t should)
{
    if (is != should) {
        fail(what, index, is, should);
    }
}

static inline void pass(void)
{
    finish(CHECK_PASSED);
}

/* One hart only: tells that the state is there, and waits for the test. */
static inline void ask_test(uint64_t asked)
{
    uint64_t stage = report.stage + 1;

    report.asked = asked;
    __atomic_store_n(&report.magic, CHECK_MAGIC, __ATOMIC_SEQ_CST);
    __atomic_store_n(&report.stage, stage, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&report.go, __ATOMIC_SEQ_CST) < stage) {
        asm volatile("");
    }
}

/* Waits to be moved. */
static inline void checkpoint(void)
{
    ask_test(CHECK_ASK_MOVE);
}

#endif
