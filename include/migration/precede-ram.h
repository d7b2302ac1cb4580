/*
 * Sections that must come before the guest's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_PRECEDE_RAM_H
#define MIGRATION_PRECEDE_RAM_H

/**
 * migration_add_precede_ram - demand a section of each stream
 * @idstr: its name, as of its VMStateDescription
 * @why: what a source is that does not send it, for the error
 * @hint: what to do then, a whole line
 *
 * The strings are to live as long as QEMU does.
 */
void migration_add_precede_ram(const char *idstr, const char *why,
                               const char *hint);

/**
 * migration_section_begins - whether a section may come where it does
 * @idstr: of a section that is about to be loaded
 *
 * For qemu_loadvm_section_start_full().  The memory may only come after all
 * sections that were demanded, otherwise @errp is set.
 */
bool migration_section_begins(const char *idstr, Error **errp);

#endif
