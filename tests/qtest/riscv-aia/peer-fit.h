/*
 * What two instances of the test must have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_PEER_FIT_H
#define RISCV_AIA_PEER_FIT_H

#define AIA_PEER_ROLE "QTEST_RISCV_AIA_PEER"

/* The name of the other one, for messages */
const char *aia_peer_other(void);

/* What this one tells of itself for the case @name, with @guest */
QDict *aia_peer_introduction(const char *name, const char *guest);

/* Tells all that does not fit. */
bool aia_peer_fits(QDict *mine, QDict *theirs);

#endif
