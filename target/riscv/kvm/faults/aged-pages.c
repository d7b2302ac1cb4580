/*
 * Pages that age while they are logged
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The code that shared-pages.c is about does not set the A bit that ageing
 * takes away where a guest writes to a page that is logged: without hardware
 * that does (Svadu) the hart hangs until somebody reads the page.  Nothing can
 * be done about it from here, but that Linux itself ages all memory all the
 * time can be switched off.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "aged-pages.h"
#include "faults.h"

void riscv_aged_pages_warn(void)
{
    static const char param[] = "/sys/module/damon_stat/parameters/enabled";
    g_autofree char *enabled = NULL;

    if (riscv_fault_known(&riscv_fault_aged_pages) == RISCV_VERDICT_FAULTY &&
        g_file_get_contents(param, &enabled, NULL, NULL) &&
        enabled[0] == 'Y') {
        warn_report_once("KVM of this kernel may hang a vCPU that writes to "
                         "memory which ages while dirty pages are logged, and "
                         "DAMON ages it; 'echo N >%s' switches that off",
                         param);
    }
}

RISCVFault riscv_fault_aged_pages = {
    .name = "aged-pages",
    .kernels = "7.2",
    .harm = "hangs a hart that writes to a page which has aged while it was "
            "logged",
    .found_out = "with shared-pages: it is in the same code",
    .remedy = "a warning where DAMON ages all memory",
    .cost = "nothing",
    .of = &riscv_fault_shared_pages,
};
