/*
 * State of an in-kernel AIA: all of it saved and loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "saved.h"

Saved *saved_new(const RISCVAIAModelShape *shape)
{
    Saved *s = g_new0(Saved, 1);

    s->num_harts = shape->num_harts;
    if (shape->num_sources) {
        riscv_aplic_regs_init(&s->aplic, shape->num_sources);
    }
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_imsic_regs_init(&s->imsic[hart], shape->num_ids);
    }
    return s;
}

void saved_free(Saved *s)
{
    riscv_aplic_regs_free(&s->aplic);
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_imsic_regs_free(&s->imsic[hart]);
    }
    g_free(s);
}

bool save(RISCVAIAModel *m, Saved *s, Error **errp)
{
    memset(s->wires, 0, sizeof(s->wires));
    riscv_aia_model_get_wires(m, s->wires);
    if (m->shape.num_sources &&
        !riscv_aplic_regs_save(&m->access, &s->aplic, s->wires, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        if (!riscv_imsic_regs_save(&m->access, hart, false, &s->imsic[hart],
                                   errp)) {
            return false;
        }
    }
    return true;
}

bool reset(RISCVAIAModel *m, Error **errp)
{
    g_autoptr(Saved) s = saved_new(&m->shape);

    riscv_aia_model_get_wires(m, s->wires);
    if (m->shape.num_sources &&
        !riscv_aplic_regs_reset(&m->access, &s->aplic, s->wires, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        if (!riscv_imsic_regs_reset(&m->access, hart, &s->imsic[hart], errp)) {
            return false;
        }
    }
    return true;
}

bool load_aplic(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    uint32_t driven[ARRAY_SIZE(s->wires)] = { };

    riscv_aia_model_get_wires(m, driven);
    return !m->shape.num_sources ||
           (riscv_aplic_regs_check(&s->aplic, errp) &&
            riscv_aplic_regs_load(&m->access, &s->aplic, driven, errp));
}

bool load_imsic(RISCVAIAModel *m, const Saved *s, uint32_t hart, Error **errp)
{
    return riscv_imsic_regs_check(&s->imsic[hart], hart, errp) &&
           riscv_imsic_regs_load(&m->access, hart, &s->imsic[hart],
                                 has_to_clear(s), errp);
}

bool load_files(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        if (!load_imsic(m, s, hart, errp)) {
            return false;
        }
    }
    return true;
}

bool load_vcpus(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    for (uint32_t hart = 0; hart < s->num_harts; hart++) {
        riscv_aia_model_put_sip(m, hart, false);
        if (!riscv_imsic_regs_evaluate(&m->access, hart, errp)) {
            return false;
        }
    }
    return true;
}

bool load(RISCVAIAModel *m, const Saved *s, Error **errp)
{
    return load_aplic(m, s, errp) && load_files(m, s, errp) &&
           load_vcpus(m, s, errp) &&
           riscv_aplic_regs_enable(&m->access, &s->aplic, errp);
}
