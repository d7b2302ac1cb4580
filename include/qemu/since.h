/*
 * Which QEMU this is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_SINCE_H
#define QEMU_SINCE_H

/*
 * The series for QEMU (make series) leaves out what is between "#if AIA_FORK"
 * and "#endif".
 */
#define AIA_FORK 1

/* The fork is built on this version of QEMU or a later one. */
#define QEMU_SINCE(major, minor)                                        \
    (QEMU_VERSION_MAJOR > (major) ||                                    \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#endif
