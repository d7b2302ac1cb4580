/*
 * Sections that must come before the guest's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/queue.h"
#include "qapi/error.h"
#include "migration/precede-ram.h"

typedef struct Demand {
    const char *idstr;
    const char *why;
    const char *hint;
    /* It has begun, and the memory has yet to come. */
    bool seen;
    QTAILQ_ENTRY(Demand) next;
} Demand;

static QTAILQ_HEAD(, Demand) demands = QTAILQ_HEAD_INITIALIZER(demands);

void migration_add_precede_ram(const char *idstr, const char *why,
                               const char *hint)
{
    Demand *demand = g_new0(Demand, 1);

    demand->idstr = idstr;
    demand->why = why;
    demand->hint = hint;
    QTAILQ_INSERT_TAIL(&demands, demand, next);
}

bool migration_section_begins(const char *idstr, Error **errp)
{
    ERRP_GUARD();
    bool is_ram = g_str_equal(idstr, "ram");
    Demand *demand;

    QTAILQ_FOREACH(demand, &demands, next) {
        if (is_ram && !demand->seen) {
            error_setg(errp, "the source sends no section %s: %s",
                       demand->idstr, demand->why);
            error_append_hint(errp, "%s\n", demand->hint);
            return false;
        }
        demand->seen = !is_ram &&
                       (demand->seen || g_str_equal(idstr, demand->idstr));
    }
    return true;
}
