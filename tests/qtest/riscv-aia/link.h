/*
 * A link between two QEMUs that can be held up and cut
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_LINK_H
#define RISCV_AIA_LINK_H

typedef struct AIALink AIALink;

/*
 * Takes one connection at @uri (unix:PATH) and passes on what comes to @to,
 * which is a socket's URI as well.
 */
AIALink *aia_link_new(const char *uri, const char *to);

/*
 * Passes on nothing of what either side sends from now on, but keeps it, as far
 * as the sockets' buffers go.  A source that sends more stands still at the
 * switchover, its monitor too: it writes with the BQL held.
 */
void aia_link_hold(AIALink *link, bool there, bool back);

/* Ends the connection for both sides. */
void aia_link_cut(AIALink *link);
void aia_link_free(AIALink *link);

/*
 * A place at which a connection never comes about, until it is closed: its
 * queue is full.
 */
typedef struct AIADeadEnd {
    int listener;
    int queued;
} AIADeadEnd;

void aia_dead_end_open(AIADeadEnd *end, const char *uri);
void aia_dead_end_close(AIADeadEnd *end);

#endif
