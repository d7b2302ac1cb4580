/*
 * What the tests of the in-kernel AIA take from the environment
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_RISCV_AIA_ENVIRONMENT_H
#define TESTS_UNIT_RISCV_AIA_ENVIRONMENT_H

#include "qemu/cutils.h"

static inline uint32_t from_environment(const char *name, uint32_t otherwise)
{
    const char *text = g_getenv(name);
    uint32_t val = otherwise;

    if (text && qemu_strtoui(text, NULL, 0, &val) < 0) {
        g_error("%s='%s' is not a number", name, text);
    }
    return val;
}

#endif
