/*
 * State of an in-kernel AIA: all of it saved and loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In the order of target/riscv/kvm/aia.c, with the model's access, in whose
 * place a test can put its own.
 */

#ifndef TESTS_UNIT_RISCV_AIA_SAVED_H
#define TESTS_UNIT_RISCV_AIA_SAVED_H

#include "model.h"

/* @wires: a bit for each source; those of inactive ones cannot be read back */
typedef struct Saved {
    uint32_t num_harts;
    RISCVAPLICRegs aplic;
    uint32_t wires[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)];
    RISCVIMSICRegs imsic[RISCV_AIA_MODEL_MAX_HARTS];
} Saved;

/* With room for what an AIA of @shape holds */
Saved *saved_new(const RISCVAIAModelShape *shape);
void saved_free(Saved *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Saved, saved_free)

bool save(RISCVAIAModel *m, Saved *s, Error **errp);

/* The reset of a machine, before any load */
bool reset(RISCVAIAModel *m, Error **errp);

/* Each checks first what was saved.  The files of all harts, or of one */
bool load_aplic(RISCVAIAModel *m, const Saved *s, Error **errp);
bool load_imsic(RISCVAIAModel *m, const Saved *s, uint32_t hart, Error **errp);
bool load_files(RISCVAIAModel *m, const Saved *s, Error **errp);

/* Registers of the vCPUs, sip among them, and what has to come after */
bool load_vcpus(RISCVAIAModel *m, const Saved *s, Error **errp);

/* All of that in this order, and last the domain */
bool load(RISCVAIAModel *m, const Saved *s, Error **errp);

/* genmsi may have left an identity in an upper half. */
static inline bool has_to_clear(const Saved *s)
{
    return s->aplic.genmsi & 32;
}

#endif
