/*
 * Why state is not saved or loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_REFUSED_H
#define MIGRATION_REFUSED_H

/**
 * migration_save_refused - tell why state cannot be saved
 * @err: the reason, which is freed
 *
 * For a pre_save of a VMStateDescription, which returns a negative errno then.
 * The reason is reported, and query-migrate has it in place of the section's
 * name alone, which is what vmstate_save_state_v() of QEMU 10 tells.
 */
void migration_save_refused(Error *err);

/**
 * migration_load_refused - tell why state cannot be loaded
 * @err: the reason, which is freed
 *
 * For a post_load, which returns a negative errno then.  The reason is
 * reported, and query-migrate of the destination has it in place of "load of
 * migration failed", which is all that QEMU 10 tells; so has virsh.
 */
void migration_load_refused(Error *err);

#endif
