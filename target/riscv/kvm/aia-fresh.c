/*
 * What of an in-kernel AIA is known to be as a reset left it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "aia-fresh.h"

bool riscv_aia_aplic_is_fresh(const RISCVAIAFresh *fresh)
{
    return fresh->aplic_reset;
}

bool riscv_aia_file_is_fresh(const RISCVAIAFresh *fresh, uint32_t hart)
{
    return hart < AIA_MAX_HARTS && !fresh->files_used &&
           test_bit(hart, fresh->file_reset) &&
           !test_bit(hart, fresh->file_used);
}

void riscv_aia_aplic_was_reset(RISCVAIAFresh *fresh)
{
    fresh->aplic_reset = true;
}

void riscv_aia_file_was_reset(RISCVAIAFresh *fresh, uint32_t hart)
{
    if (hart < AIA_MAX_HARTS) {
        set_bit(hart, fresh->file_reset);
    }
}

void riscv_aia_use(RISCVAIAFresh *fresh)
{
    riscv_aia_use_aplic(fresh);
    riscv_aia_use_files(fresh);
}

void riscv_aia_use_aplic(RISCVAIAFresh *fresh)
{
    fresh->aplic_reset = false;
}

void riscv_aia_use_files(RISCVAIAFresh *fresh)
{
    fresh->files_used = true;
}

void riscv_aia_use_file(RISCVAIAFresh *fresh, uint32_t hart)
{
    if (hart < AIA_MAX_HARTS) {
        set_bit(hart, fresh->file_used);
    }
}

void riscv_aia_use_wire(RISCVAIAFresh *fresh)
{
    if (!riscv_aia_aplic_is_fresh(fresh)) {
        riscv_aia_use_files(fresh);
    }
}
