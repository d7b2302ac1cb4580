/*
 * A VMState in a stream, on each version of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_RISCV_AIA_STREAM_H
#define TESTS_UNIT_RISCV_AIA_STREAM_H

#include "qapi/error.h"
#include "qemu/since.h"
#include "migration/vmstate.h"
#include "../migration/qemu-file.h"

static inline void save_vmstate(QEMUFile *f, const VMStateDescription *vmsd,
                                void *opaque)
{
    int ret;

#if QEMU_SINCE(10, 2)
    ret = vmstate_save_state(f, vmsd, opaque, NULL, &error_abort);
#else
    ret = vmstate_save_state(f, vmsd, opaque, NULL);
#endif
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpint(qemu_fflush(f), ==, 0);
}

/* Returns a negative errno, and an error since 10.2 only. */
static inline int load_vmstate(QEMUFile *f, const VMStateDescription *vmsd,
                               void *opaque, Error **errp)
{
#if QEMU_SINCE(10, 2)
    return vmstate_load_state(f, vmsd, opaque, vmsd->version_id, errp);
#else
    return vmstate_load_state(f, vmsd, opaque, vmsd->version_id);
#endif
}

#endif
