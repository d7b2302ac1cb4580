/*
 * Why state is not saved or loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hooks of a VMStateDescription that return an error.  QEMU has them since
 * 10.2; with an older one a hook of its older kind tells the error:
 *
 *     static bool thing_pre_save(void *opaque, Error **errp);
 *     VMSTATE_PRE_SAVE_HOOK(thing_pre_save)
 *     static bool thing_post_load(void *opaque, int version_id, Error **errp);
 *     VMSTATE_POST_LOAD_HOOK(thing_post_load)
 *     static const VMStateDescription vmstate_thing = {
 *         VMSTATE_PRE_SAVE(thing_pre_save),
 *         VMSTATE_POST_LOAD(thing_post_load),
 */

#ifndef MIGRATION_REFUSED_H
#define MIGRATION_REFUSED_H

#include "qapi/error.h"
#include "qemu/since.h"

#if QEMU_SINCE(10, 2)

#define VMSTATE_PRE_SAVE_HOOK(hook)
#define VMSTATE_POST_LOAD_HOOK(hook)
#define VMSTATE_PRE_SAVE(hook)  .pre_save_errp = (hook)
#define VMSTATE_POST_LOAD(hook) .post_load_errp = (hook)

#else

/**
 * migration_save_refused - tell why state cannot be saved
 * @err: the reason, which is freed
 *
 * The reason is reported, and query-migrate has it in place of the section's
 * name alone, which is what vmstate_save_state_v() tells.
 */
void migration_save_refused(Error *err);

/**
 * migration_load_refused - tell why state cannot be loaded
 * @err: the reason, which is freed
 *
 * The reason is reported, and query-migrate of the destination has it in place
 * of "load of migration failed"; so has virsh.
 */
void migration_load_refused(Error *err);

#if AIA_FORK
/*
 * migration_section_begins() that tells its error, for a
 * qemu_loadvm_section_start_full() without errp
 */
bool migration_section_begins_or_refuse(const char *idstr);
#endif

#define VMSTATE_PRE_SAVE_HOOK(hook)                                     \
    static int hook##_or_refuse(void *opaque)                           \
    {                                                                   \
        Error *err = NULL;                                              \
                                                                        \
        if (!hook(opaque, &err)) {                                      \
            migration_save_refused(err);                                \
            return -EIO;                                                \
        }                                                               \
        return 0;                                                       \
    }
#define VMSTATE_POST_LOAD_HOOK(hook)                                    \
    static int hook##_or_refuse(void *opaque, int version_id)           \
    {                                                                   \
        Error *err = NULL;                                              \
                                                                        \
        if (!hook(opaque, version_id, &err)) {                          \
            migration_load_refused(err);                                \
            return -EINVAL;                                             \
        }                                                               \
        return 0;                                                       \
    }
#define VMSTATE_PRE_SAVE(hook)  .pre_save = hook##_or_refuse
#define VMSTATE_POST_LOAD(hook) .post_load = hook##_or_refuse

#endif

#endif
