/*
 * Memory that QEMU can still get
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_FAULTS_ROOM_H
#define RISCV_KVM_FAULTS_ROOM_H

/**
 * riscv_room - how many bytes the host and all cgroups above QEMU have left
 * @who: set to the one that has least, to be freed with g_free()
 *
 * What can be taken from caches counts as left, swap does not.  Returns
 * UINT64_MAX where nothing tells.
 */
uint64_t riscv_room(char **who);

/* The same by the files below @root, as if that were "/", for the unit test */
uint64_t riscv_room_below(const char *root, char **who);

#endif
