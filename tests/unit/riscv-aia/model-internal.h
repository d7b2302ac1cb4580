/*
 * A model of the in-kernel AIA: what its parts call of each other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_RISCV_AIA_MODEL_INTERNAL_H
#define TESTS_UNIT_RISCV_AIA_MODEL_INTERNAL_H

#include "model.h"

/* Attributes of the IMSIC group: hart and iselect */
#define ISELECT_BITS        12
#define ISELECT_MASK        0xfff

/* Each hart's file is a page of guest physical memory. */
#define PAGE_BITS           12

/* Whether there is such a register: 0 or a negative errno */
int riscv_aia_model_has_aplic(const RISCVAIAModel *m, uint64_t offset);
int riscv_aia_model_has_imsic(RISCVAIAModel *m, uint32_t hart,
                              uint32_t iselect);

/* An MSI of the APLIC's own */
void riscv_aia_model_send_by_index(RISCVAIAModel *m, uint32_t hart_index,
                                   uint32_t guest, uint32_t id);

#endif
