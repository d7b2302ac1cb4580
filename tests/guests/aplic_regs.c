/*
 * Every register of the APLIC reads back what it held
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "check.h"

#define SOURCES 96

static uint32_t mode(unsigned i, unsigned round)
{
    static const uint32_t modes[] = { 0, 1, 4, 5, 6, 7 };

    return modes[(i + round) % 6];
}

static uint32_t target(unsigned i, unsigned round)
{
    return (i % report.harts) << 18 | ((i * 7 + round) % 255 + 1);
}

static uint32_t registers[2][SOURCES + 1];

static void read_all(uint32_t (*into)[SOURCES + 1])
{
    for (unsigned i = 1; i <= SOURCES; i++) {
        into[0][i] = aplic_read(APLIC_SOURCECFG(i));
        into[1][i] = aplic_read(APLIC_TARGET(i));
    }
}

void main(unsigned long hart)
{
    uint32_t now[2][SOURCES + 1];

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 1; i <= SOURCES; i++) {
            aplic_write(APLIC_SOURCECFG(i), mode(i, round));
            aplic_write(APLIC_TARGET(i), target(i, round));
        }
        read_all(registers);
        checkpoint();
        read_all(now);
        for (unsigned i = 1; i <= SOURCES; i++) {
            check_equal("sourcecfg", i, now[0][i], registers[0][i]);
            check_equal("target", i, now[1][i], registers[1][i]);
        }
    }
    (void)hart;
    pass();
}
