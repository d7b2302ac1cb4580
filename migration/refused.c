/*
 * Why state is not saved
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "migration.h"
#include "migration/refused.h"

void migration_save_refused(Error *err)
{
    /* The first is kept. */
    migrate_set_error(migrate_get_current(), err);
    error_report_err(err);
}
