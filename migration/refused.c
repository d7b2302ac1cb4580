/*
 * Why state is not saved or loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "migration.h"
#include "migration/refused.h"
#if AIA_FORK
#include "migration/precede-ram.h"
#endif
#include "system/runstate.h"

void migration_save_refused(Error *err)
{
    /* The first is kept. */
    migrate_set_error(migrate_get_current(), err);
    error_report_err(err);
}

void migration_load_refused(Error *err)
{
    /* An error that is kept would fail the next loadvm. */
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        migrate_set_error(migrate_get_current(), err);
        if (migration_incoming_get_current()->exit_on_error) {
            /* QEMU reports what is kept, and ends. */
            error_free(err);
            return;
        }
    }
    error_report_err(err);
}

#if AIA_FORK
bool migration_section_begins_or_refuse(const char *idstr)
{
    Error *err = NULL;

    if (!migration_section_begins(idstr, &err)) {
        migration_load_refused(err);
        return false;
    }
    return true;
}
#endif
