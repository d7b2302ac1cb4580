/*
 * Timers of a guest without Sstc
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define BY_SBI_TIME
#include "vcpu_timer.c"
